"""Tickets of queues, and parties, as programs see them."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..protocol.errors import NotAMember, PartyNotFound, TimedOut
from ..protocol.messages import Message
from ..protocol.queue_messages import Enqueue, Found, PartyState, Progress, Reasons, Why
from ..protocol.queue_messages import Party as PartyMessage
from .membership import Membership
from .room import ClientRoom
from .shell import Shell

__all__ = ["ClientParty", "MatchFound", "PartyMember", "QueueProgress", "QueueTicket", "ask_party"]

_MOST_EVENTS = 64


class QueueProgress(NamedTuple):
    """How a ticket stands."""

    state: str
    """``gathering`` (its party has not all entered), ``waiting``, ``away`` or ``found``."""
    left: float
    """Seconds until its deadline."""
    position: int | None = None
    """Its place in the queue; 1 has waited longest."""
    waiting: int | None = None
    """Tickets that wait in the queue."""
    estimate: float | None = None
    """Seconds that it takes yet, going by those who were matched lately."""
    window: float | None = None
    """How far from ours a rating may be by now."""
    missing: int | None = None
    """Members of the party who have not entered."""

    @classmethod
    def read(cls, info: Mapping[str, Any]) -> "QueueProgress":
        """The map of a PROGRESS; what is no number there is left out."""

        def number(name: str) -> Any:
            value = info.get(name)
            return value if type(value) in (int, float) else None

        return cls(
            str(info.get("state", "waiting")),
            number("left") or 0.0,
            number("position"),
            number("waiting"),
            number("estimate"),
            number("window"),
            number("missing"),
        )


class MatchFound(NamedTuple):
    """A match that everybody has to accept: ``QueueTicket.accept``."""

    match: int
    players: int
    seconds: float
    """Until when all have to."""


class QueueTicket:
    """A place in a queue; ``AsyncClient.enqueue`` makes it. Iterate over it for what happens, or await ``room()``."""

    def __init__(self, shell: Shell, enqueue: Callable[[int], Enqueue]) -> None:
        self.number = 0
        """The ticket's number, for people; 0 until the broker has told it."""
        self._shell = shell
        self._events: deque[QueueProgress | MatchFound] = deque(maxlen=_MOST_EVENTS)
        self._found: MatchFound | None = None
        self._accepted = 0
        self._ask, self._answer = shell.begin(enqueue, self._told)

    @property
    def ended(self) -> bool:
        """Whether it has led to a room, or will not."""
        return self._answer.done()

    async def room(self, timeout: float | None = None, *, accept: bool = True) -> ClientRoom:
        """Wait for the room that it leads to.

        Args:
            timeout: seconds to wait at most; the ticket stays, and can be waited for again.
            accept: accept the matches that are found meanwhile.

        Raises:
            MatchExpired: nobody came by the ticket's deadline.
            MatchCancelled: it was cancelled, or declined, or the party has changed.
            TicketRefused, UnknownQueue, RoomFailed, JoinRefused, NoWorker, CapacityReached: the server's answer.
            TimedOut: ``timeout`` is over.
        """
        try:
            async with asyncio.timeout(timeout):
                while not self._answer.done():
                    if accept and self._found is not None and self._accepted != self._found.match:
                        await self.accept()
                    await self._changed()
        except TimeoutError as error:
            raise TimedOut("match", timeout or 0.0) from error
        return ClientRoom(self._shell, _membership(self._answer.result()))

    async def accept(self) -> None:
        """Accept the match that was found. Nothing happens where none was."""
        if self._found is not None:
            self._accepted = self._found.match
            self._shell.core.requests.accept(self._ask, self._found.match, yes=True)

    async def decline(self) -> None:
        """Decline the match that was found: the ticket ends, the others' do not."""
        if self._found is not None:
            self._shell.core.requests.accept(self._ask, self._found.match, yes=False)

    async def cancel(self, timeout: float = 10.0) -> None:
        """Give it up. When this returns, the client is in no match of it, and comes into none.

        Raises:
            TimedOut: the server did not answer.
        """
        self._shell.core.requests.cancel(self._ask)
        try:
            async with asyncio.timeout(timeout):
                while not self._answer.done():
                    await self._changed()
        except TimeoutError as error:
            raise TimedOut("answer", timeout) from error
        if self._answer.exception() is None:
            await ClientRoom(self._shell, _membership(self._answer.result())).leave()  # the match was faster

    async def why(self, timeout: float = 10.0) -> dict[str, Any]:
        """Why it still waits: ``summary``, and ``obstacles`` with the rule that keeps each candidate away.

        Raises:
            NotAMember: it waits no more.
            TimedOut: no answer.
        """
        ask = self._ask
        if self.ended:
            raise NotAMember("this ticket waits no more")
        answer = await self._shell.ask(lambda number: Why(self._shell.core.home.ref, number, ask), timeout)
        assert isinstance(answer, Reasons)
        return answer.report

    def __aiter__(self) -> "QueueTicket":
        return self

    async def __anext__(self) -> QueueProgress | MatchFound:
        while not self._events:
            if self._answer.done():
                raise StopAsyncIteration
            await self._changed()
        return self._events.popleft()

    async def _changed(self) -> None:
        before = len(self._events), self._found
        await self._shell.wait_until(
            lambda: self._answer.done() or (len(self._events), self._found) != before, None, "progress"
        )

    def _told(self, message: Progress | Found) -> None:
        if isinstance(message, Found):
            self._found = MatchFound(message.match, message.players, message.timeout)
            if self._accepted == message.match:  # said again, because what we said may be lost
                self._shell.core.requests.accept(self._ask, message.match, yes=True)
                return
            self._events.append(self._found)
            return
        self.number = message.ticket or self.number
        self._events.append(QueueProgress.read(message.info))


class PartyMember(NamedTuple):
    """A client of a party."""

    client: int
    here: bool
    """Whether it has a connection."""


class ClientParty:
    """Clients who stay together; ``AsyncClient.party`` and ``join_party`` make it. Iterate over it for its changes."""

    def __init__(self, shell: Shell, state: Mapping[str, Any]) -> None:
        self._shell = shell
        self._state = dict(state)
        self._changes = 0
        self._seen = 0
        shell.on_party = self.changed
        shell.party_code = self.code

    @property
    def code(self) -> str:
        """What others join it with. A secret."""
        return str(self._state.get("code", ""))

    @property
    def leader(self) -> int:
        """The number of the client that leads; 0 when we are out."""
        return int(self._state.get("leader", 0))

    @property
    def members(self) -> list[PartyMember]:
        """Who is in it, the leader first; empty when we are out."""
        return [PartyMember(int(one["client"]), bool(one["here"])) for one in self._state.get("members", ())]

    @property
    def queue(self) -> str | None:
        """The queue that its leader has entered, if any: ``enqueue``, to come along."""
        queue = self._state.get("queue")
        return queue if isinstance(queue, str) else None

    @property
    def over(self) -> bool:
        """Whether we are out: we left, or were kicked."""
        return not self._state

    async def enqueue(
        self,
        *,
        roles: Sequence[str] = (),
        regions: Mapping[str, float] | None = None,
        options: dict[str, Any] | None = None,
        timeout: float = 60.0,
    ) -> QueueTicket:
        """Come along into the queue that the leader enters; waits until it does. Not for the leader itself.

        Args: see ``AsyncClient.enqueue``.

        Raises:
            PartyNotFound: we are out.
            TimedOut: the leader has entered none.
        """
        await self._shell.wait_until(lambda: self.queue is not None or self.over, timeout, "queue to come along into")
        if self.over or self.queue is None:
            raise PartyNotFound("this client is in no party")
        criteria: dict[str, Any] = {}
        wishes = (self.queue, criteria, list(roles), dict(regions or {}), options or {}, timeout, self.code)
        return QueueTicket(self._shell, lambda ask: Enqueue(self._shell.core.home.ref, ask, *wishes))

    async def promote(self, client: int, *, timeout: float = 10.0) -> None:
        """Let another member lead. Raises NotLeader, PartyNotFound, TimedOut."""
        await self._act("promote", client, timeout)

    async def kick(self, client: int, *, timeout: float = 10.0) -> None:
        """Remove a member. Raises NotLeader, PartyNotFound, TimedOut."""
        await self._act("kick", client, timeout)

    async def leave(self, *, timeout: float = 10.0) -> None:
        """Leave it. Raises PartyNotFound, TimedOut."""
        await self._act("leave", None, timeout)

    def __aiter__(self) -> "ClientParty":
        return self

    async def __anext__(self) -> "ClientParty":
        """The party as it is after a change. Ends when we are out."""
        if self.over and self._seen == self._changes:
            raise StopAsyncIteration
        await self._shell.wait_until(lambda: self._changes != self._seen, None, "change")
        self._seen = self._changes
        return self

    def changed(self, state: Mapping[str, Any]) -> None:
        """The shell: the broker has told how it is now. Once we are out, another party is another object's."""
        if self.over and state:
            return
        self._state = dict(state)
        self._changes += 1
        self._shell.party_code = self.code

    async def _act(self, action: str, argument: object, timeout: float) -> None:
        self.changed(await ask_party(self._shell, action, argument, timeout))


async def ask_party(shell: Shell, action: str, argument: object, timeout: float) -> dict[str, Any]:
    """Send a PARTY and wait for the state that answers it. Raises what the server refuses with, or TimedOut."""

    def make(ask: int) -> Message:
        return PartyMessage(shell.core.home.ref, ask, action, argument)

    try:
        answer = await shell.ask(make, timeout)
    except (TimedOut, asyncio.CancelledError):
        if action in ("make", "join") and not shell.closed:  # we may be in one by now, and nobody here would know
            shell.core.requests.ask(lambda ask: PartyMessage(shell.core.home.ref, ask, "leave", None))
        raise
    assert isinstance(answer, PartyState)
    return answer.party


def _membership(answer: object) -> Membership:
    assert isinstance(answer, Membership)
    return answer
