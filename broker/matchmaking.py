"""Matchmaking by ruleset: who wants the same is put together, first come, first served.

    waiting ──match──▶ matched
       │ ──cancel──▶ cancelled
       │ ──expire──▶ expired

A ticket is one standing request with a deadline. The tickets of a client whose
connection is lost are set aside: they keep their place and their deadline, and
can't be matched until the client is back.
"""

from collections import Counter
from enum import Enum
from typing import Any

from ..protocol.lifecycle import Table, step
from ..protocol.rulesets import RuleSet
from ..rooms.room import Room
from .sessions import Session

__all__ = ["TICKET", "MatchMaker", "Queues", "Ticket", "TicketEvent", "TicketState"]


class MatchMaker:
    """The policy that users subclass."""

    def create_room(self, ruleset: RuleSet) -> Room | None:
        """The room for clients who were put together.

        Called in the process that will host the room, for rulesets that name no
        room type.

        Args:
            ruleset: what they all asked for.

        Returns:
            A new room. None leaves the choice to the server: the one room type
            that it registered.
        """
        return None


class TicketState(Enum):
    """Where a ticket is in its life."""

    WAITING = "waiting"
    MATCHED = "matched"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class TicketEvent(Enum):
    """What happens to a ticket."""

    MATCH = "match"
    CANCEL = "cancel"
    EXPIRE = "expire"


TICKET: Table[TicketState, TicketEvent] = {
    TicketState.WAITING: {
        TicketEvent.MATCH: TicketState.MATCHED,
        TicketEvent.CANCEL: TicketState.CANCELLED,
        TicketEvent.EXPIRE: TicketState.EXPIRED,
    },
    TicketState.MATCHED: {},
    TicketState.CANCELLED: {},
    TicketState.EXPIRED: {},
}


class Ticket:
    """One standing request to be matched."""

    __slots__ = ("ask", "deadline", "number", "options", "ruleset", "session", "state")

    def __init__(
        self, number: int, session: Session, ask: int, ruleset: RuleSet, options: dict[str, Any], deadline: float
    ) -> None:
        self.number = number
        self.session = session
        self.ask = ask
        self.ruleset = ruleset
        self.options = options
        self.deadline = deadline
        self.state = TicketState.WAITING

    def step(self, event: TicketEvent) -> None:
        self.state = step(TICKET, self.state, event)


class Queues:
    """One queue for each ruleset that somebody waits with."""

    def __init__(self) -> None:
        self._queues: dict[bytes, dict[int, Ticket]] = {}
        self._aside: dict[int, Ticket] = {}
        self._next_number = 1
        self.ended: Counter[TicketState] = Counter({state: 0 for state, ways in TICKET.items() if not ways})
        """How many tickets have ended how, since the start."""

    def __len__(self) -> int:
        """Tickets that wait, those set aside included."""
        return sum(map(len, self._queues.values())) + len(self._aside)

    def add(
        self, session: Session, ask: int, ruleset: RuleSet, options: dict[str, Any], deadline: float
    ) -> tuple[Ticket, list[Ticket] | None]:
        """A new ticket, and the match that it completes, if it does."""
        ticket = Ticket(self._next_number, session, ask, ruleset, options, deadline)
        self._next_number += 1
        self._queues.setdefault(ruleset.key, {})[ticket.number] = ticket
        return ticket, self._take(ruleset)

    def cancel(self, ticket: Ticket) -> None:
        """End a ticket by its owner's wish."""
        self._end(ticket, TicketEvent.CANCEL)

    def expire(self, ticket: Ticket) -> None:
        """End a ticket whose deadline has passed."""
        self._end(ticket, TicketEvent.EXPIRE)

    def set_aside(self, ticket: Ticket) -> None:
        """Its owner is away: it can't be matched."""
        self._remove(ticket)
        self._aside[ticket.number] = ticket

    def bring_back(self, ticket: Ticket) -> list[Ticket] | None:
        """Its owner is back: it has its old place. The match that it completes, if it does."""
        del self._aside[ticket.number]
        queue = self._queues.setdefault(ticket.ruleset.key, {})
        queue[ticket.number] = ticket
        self._queues[ticket.ruleset.key] = dict(sorted(queue.items()))
        return self._take(ticket.ruleset)

    def _take(self, ruleset: RuleSet) -> list[Ticket] | None:
        queue = self._queues[ruleset.key]
        if len(queue) < ruleset.clients:
            return None
        matched = list(queue.values())[: ruleset.clients]
        for ticket in matched:
            self._end(ticket, TicketEvent.MATCH)
        return matched

    def _end(self, ticket: Ticket, how: TicketEvent) -> None:
        ticket.step(how)
        self.ended[ticket.state] += 1
        self._remove(ticket)

    def _remove(self, ticket: Ticket) -> None:
        if self._aside.pop(ticket.number, None) is not None:
            return
        queue = self._queues[ticket.ruleset.key]
        del queue[ticket.number]
        if not queue:
            del self._queues[ticket.ruleset.key]
