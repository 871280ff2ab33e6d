"""Entries: who has asked to wait in a queue, from the first ENQUEUE until a seat or an end."""

from collections.abc import Mapping
from math import inf
from typing import Any

from .queues import Entrant, Match, Ticket
from .sessions import Session

__all__ = ["Entry", "Player", "Proposal"]


class Player:
    """One client of an entry.

    Args:
        session: whose.
        ask: the number of its ENQUEUE.
        roles: that it plays.
        round_trips: seconds to each region, as it says.
        options: for the room's ``on_join``.
    """

    __slots__ = ("ask", "options", "roles", "round_trips", "session")

    def __init__(
        self,
        session: Session,
        ask: int,
        roles: frozenset[str],
        round_trips: Mapping[str, float],
        options: dict[str, Any],
    ) -> None:
        self.session = session
        self.ask = ask
        self.roles = roles
        self.round_trips = round_trips
        self.options = options

    def entrant(self) -> Entrant:
        """As the queue's policy sees it."""
        return Entrant(self.session, self.session.data.ID, None, self.roles, self.round_trips)


class Entry:
    """One request to wait in a queue, of a client or a party.

    It gathers until everybody expected has asked; then it has a ticket.

    Args:
        queue: its name.
        criteria: what the leader asks for, as ``MatchQueue.read`` gives it.
        expected: who has to ask, the leader first.
    """

    __slots__ = ("criteria", "deadline", "expected", "next_progress", "players", "proposal", "queue", "rated", "ticket")

    def __init__(self, queue: str, criteria: Mapping[str, Any], expected: tuple[Session, ...]) -> None:
        self.queue = queue
        self.criteria = criteria
        self.expected = expected
        self.deadline = inf
        """Until when it waits at most, monotonic seconds."""
        self.players: dict[Session, Player] = {}
        self.ticket: Ticket | None = None
        self.proposal: Proposal | None = None
        """The match that it is in."""
        self.rated = False
        """Whether ``on_ticket`` has given its ratings: then the matcher has its ticket."""
        self.next_progress = 1.0
        """Seconds until it is told again how it stands."""

    @property
    def gathering(self) -> bool:
        """Whether somebody has yet to ask."""
        return len(self.players) < len(self.expected)

    @property
    def here(self) -> bool:
        """Whether everybody has a connection."""
        return all(session.connected for session in self.players)


class Proposal:
    """A match on its way to a room: first it may have to be accepted, then seats are held.

    Args:
        number: for FOUND and ACCEPT.
        match: what the matcher made.
        deadline: until when all have to accept.
    """

    __slots__ = ("broken", "deadline", "match", "missing", "number", "seating")

    def __init__(self, number: int, match: Match, deadline: float) -> None:
        self.number = number
        self.match = match
        self.deadline = deadline
        self.missing: set[Session] = set()
        """Who has not accepted."""
        self.seating = False
        """Whether a worker was asked for seats."""
        self.broken = False
        """Whether somebody of it is gone, while the worker was asked."""

    @property
    def entries(self) -> list[Entry]:
        """Who plays it."""
        return [ticket.owner for ticket in self.match.tickets if isinstance(ticket.owner, Entry)]
