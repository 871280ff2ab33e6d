"""What one player does in queues and parties: waits, accepts or not, cancels, invites, follows, and goes."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from server_room_system import (
    AsyncClient,
    ClientParty,
    ClientRoom,
    MatchCancelled,
    MatchExpired,
    MatchFound,
    QueueTicket,
    RemoteError,
    ServerRoomError,
    TicketRefused,
    TimedOut,
)

from .ledger import Ledger, Visit, Wanted
from .queues import MODES, QUEUES

__all__ = ["Queueing"]


class Queueing:
    """One player's tickets, one after the other, and its party.

    Args:
        ledger: where it notes what it wants.
        random: its own.
        codes: the codes of the parties that there are.
    """

    def __init__(self, ledger: Ledger, random: Random, codes: Callable[[], Sequence[str]]) -> None:
        self._ledger = ledger
        self._random = random
        self._codes = codes
        self._party: tuple[AsyncClient, ClientParty] | None = None

    def party_of(self, client: AsyncClient | None) -> ClientParty | None:
        """The party that this client is in, as far as it knows."""
        return self._party[1] if self._party is not None and self._party[0] is client and not self._over else None

    @property
    def _over(self) -> bool:
        return self._party is None or self._party[1].over

    async def enter(self, client: AsyncClient, last: str | None) -> tuple[Visit, ClientRoom]:
        """Wait in a queue, or for the rematch of the last game. Raises what the client raises."""
        visit = self._ledger.asks(client.id, None)
        party, timeout = self.party_of(client), self._random.choice((3.0, 8.0, 15.0))
        options = {"visit": visit.number}
        if last is not None and party is None and self._random.random() < 0.6:
            visit.wanted = Wanted(rematch=last)
            return visit, await client.rematch(last, options=options, timeout=timeout)
        if party is not None and party.leader != client.id:
            visit.wanted = Wanted()
            ticket = await party.enqueue(options=options, timeout=timeout)
            visit.wanted.party = client._shell.party_code
        else:
            queue = self._random.choice(list(QUEUES))
            modes = self._random.choice((MODES[:1], MODES[1:], MODES))
            visit.wanted = Wanted(queue, modes if queue == "duel" else None, client._shell.party_code)
            criteria = {"mode": list(modes)} if queue == "duel" else {}
            ticket = await client.enqueue(queue, criteria, options=options, timeout=timeout)
        self._ledger.counts["tickets"] += 1
        return visit, await self._wait(ticket, visit.wanted, timeout)

    async def _wait(self, ticket: QueueTicket, wanted: Wanted, timeout: float) -> ClientRoom:
        patience = self._random.choice((1.0, 100.0, 100.0, 100.0))
        try:
            async with asyncio.timeout(patience):
                async for event in ticket:
                    if isinstance(event, MatchFound):
                        await self._answer(ticket)
                    elif self._random.random() < 0.2 and not ticket.ended:
                        await self._ask_why(ticket)
                return await ticket.room(accept=False)
        except (MatchCancelled, MatchExpired, TicketRefused):
            wanted.ended = True
            raise
        except TimeoutError:
            await self._give_up(ticket, wanted)
            raise

    async def _answer(self, ticket: QueueTicket) -> None:
        what = self._random.random()
        if what < 0.8:
            await ticket.accept()
        elif what < 0.9:
            self._ledger.counts["declined"] += 1
            await ticket.decline()

    async def _ask_why(self, ticket: QueueTicket) -> None:
        try:
            why = await ticket.why(2.0)
        except (TimedOut, RemoteError, ServerRoomError):
            return  # it may have ended since
        self._ledger.counts["told why"] += 1
        if not why["summary"]:
            self._ledger.mistake(f"nobody says why: {why}")

    async def _give_up(self, ticket: QueueTicket, wanted: Wanted) -> None:
        """Until that is acknowledged, or the session is over."""
        while True:
            try:
                await ticket.cancel(4.0)
            except TimedOut:
                continue
            except ServerRoomError:
                return  # it was matched before, and its room could not be left any more
            wanted.ended = True
            self._ledger.counts["cancelled"] += 1
            return

    async def about_parties(self, client: AsyncClient) -> None:
        """Make one, join one, leave it, or lead it. Raises what the client raises."""
        party, random = self.party_of(client), self._random
        if party is None:
            codes = self._codes()
            if codes and random.random() < 0.9:
                self._party = client, await client.join_party(random.choice(codes), timeout=3.0)
                self._ledger.counts["joined a party"] += 1
            else:
                self._party = client, await client.party(timeout=3.0)
            return
        others = [one.client for one in party.members if one.client != client.id]
        what = random.random()
        if what < 0.15:
            await party.leave(timeout=3.0)
        elif what < 0.25 and others:
            await party.kick(random.choice(others), timeout=3.0)
        elif what < 0.5 and others:
            await party.promote(random.choice(others), timeout=3.0)
