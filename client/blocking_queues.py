"""What the blocking client does in queues and parties.

Everything of it that is awaited runs on the thread of the asynchronous client.
"""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ..protocol.errors import ClientClosedError, UsageError
from .async_client import AsyncClient
from .blocking_rooms import RoomsFace
from .room import ClientRoom
from .ticket import ClientParty, MatchFound, QueueProgress, QueueTicket

__all__ = ["QueueFace"]

logger = logging.getLogger(__name__.partition(".client")[0] + ".client")

_AT_MOST = 10.0
"""Seconds to say whether we play: it waits for nobody."""


class QueueFace(RoomsFace):
    """The part of ``Client`` that waits in queues, alone or with a party."""

    match_timeout: float
    party: ClientParty | None = None
    """The party that we are in: read its ``code``, ``leader``, ``members`` and ``queue``."""

    _ticket: QueueTicket | None = None

    # Override these.

    def match_found(self, found: MatchFound) -> bool:
        """A queue has found a match: do we play it? Yes unless overridden; runs where ``handle_response`` does."""
        return True

    def queue_progress(self, progress: QueueProgress) -> None:
        """How our ticket in a queue stands. Does nothing unless overridden; runs where ``handle_response`` does."""

    # Use these.

    def enqueue(
        self,
        queue: str,
        criteria: Mapping[str, Any] | None = None,
        *,
        roles: Sequence[str] = (),
        regions: Mapping[str, float] | None = None,
        options: dict[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> None:
        """Wait in a queue of the server's for ``match_timeout`` seconds at most; this does not wait for the match.

        Args: see ``AsyncClient.enqueue``; ``timeout`` is the seconds until the request is on its way.
        """
        wishes: dict[str, Any] = {"roles": roles, "regions": regions, "options": options}

        async def wait(client: AsyncClient) -> ClientRoom:
            return await self._wait(await client.enqueue(queue, criteria, timeout=self.match_timeout, **wishes))

        self._call(self._begin(wait), timeout)

    def follow(
        self, *, roles: Sequence[str] = (), options: dict[str, Any] | None = None, timeout: float = 10.0
    ) -> None:
        """Come along into the queue that our party's leader enters; this does not wait for it."""

        async def wait(client: AsyncClient) -> ClientRoom:
            party = self._in_party()
            return await self._wait(await party.enqueue(roles=roles, options=options, timeout=self.match_timeout))

        self._call(self._begin(wait), timeout)

    def rematch(self, room_id: str, *, options: dict[str, Any] | None = None, timeout: float = 10.0) -> None:
        """Play again with those who were in this room; this does not wait for them. See ``AsyncClient.rematch``."""
        wait = self.match_timeout
        self._call(self._begin(lambda client: client.rematch(room_id, options=options, timeout=wait)), timeout)

    def cancel(self, *, timeout: float = 10.0) -> None:
        """Give up our ticket in a queue, if we have one: when this returns, we are in no match of it.

        Raises:
            TimedOut: the server did not answer.
        """

        async def cancel() -> None:
            if self._ticket is not None:
                await self._ticket.cancel(timeout)

        self._call(cancel(), timeout + 1.0)

    def why(self, *, timeout: float = 10.0) -> dict[str, Any]:
        """Why our ticket in a queue still waits. Raises what ``QueueTicket.why`` raises; UsageError without one."""

        async def why() -> dict[str, Any]:
            if self._ticket is None:
                raise UsageError("we wait in no queue")
            return await self._ticket.why(timeout)

        return self._call(why(), timeout + 1.0)

    def make_party(self, *, timeout: float = 10.0) -> str:
        """Make a party and lead it; the code that others join it with. Raises AlreadyWaiting, TimedOut."""

        async def make() -> str:
            assert self._client is not None
            self.party = await self._client.party(timeout=timeout)
            return self.party.code

        return self._call(make(), timeout + 1.0)

    def join_party(self, code: str, *, timeout: float = 10.0) -> None:
        """Join the party that has this code. Raises what ``AsyncClient.join_party`` raises."""

        async def join() -> None:
            assert self._client is not None
            self.party = await self._client.join_party(code, timeout=timeout)

        self._call(join(), timeout + 1.0)

    def leave_party(self, *, timeout: float = 10.0) -> None:
        """Leave our party. Raises UsageError where we are in none, PartyNotFound, TimedOut."""

        async def leave() -> None:
            await self._in_party().leave(timeout=timeout)

        self._call(leave(), timeout + 1.0)

    # On the thread of the asynchronous client.

    async def _wait(self, ticket: QueueTicket) -> ClientRoom:
        self._ticket = ticket
        try:
            async for event in ticket:
                await self._hand_over(self._tell, ticket, event)
            return await ticket.room()
        finally:
            self._ticket = None

    def _tell(self, ticket: QueueTicket, event: QueueProgress | MatchFound) -> None:
        plays = False
        try:
            if isinstance(event, QueueProgress):
                self.queue_progress(event)
                return
            plays = self.match_found(event)
        except Exception:
            logger.exception("match_found or queue_progress raised")
        if isinstance(event, MatchFound):
            with contextlib.suppress(ClientClosedError):
                self._call(ticket.accept() if plays else ticket.decline(), _AT_MOST)

    def _in_party(self) -> ClientParty:
        if self.party is None:
            raise UsageError("we are in no party")
        return self.party
