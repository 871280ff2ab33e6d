"""Tickets: who waits, with what, and where each is in its life.

    waiting ──propose──▶ proposed ──match──▶ matched
       │ ──leave──▶ aside │ ──return──▶ waiting      (its owner is away, and back)
       │ ──cancel──▶ cancelled, ──expire──▶ expired, ──refuse──▶ refused
    proposed ──put back──▶ waiting, ──cancel──▶ cancelled, ──expire──▶ expired, ──refuse──▶ refused

A ticket is proposed from when the matcher has put it into a match until everybody
has accepted. Put back, it has the place that it had: who declines costs the others
no waiting.
"""

import math
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache

from ...protocol.errors import TicketError
from ...protocol.lifecycle import Table, step
from .criteria import Scalar, Signature
from .shelf import Key

__all__ = ["TICKET", "Backfill", "Entrant", "Kind", "Ticket", "TicketEvent", "TicketState", "able"]

Kind = int | tuple[frozenset[str], ...]
"""A party's size; in a queue with roles, those of each player."""

_NO_ROLES: frozenset[str] = frozenset()
_NOTHING: Mapping[str, float] = {}
_NO_CRITERIA: Mapping[str, tuple[Scalar, ...]] = {}


class TicketState(Enum):
    """Where a ticket is in its life."""

    WAITING = "waiting"
    ASIDE = "aside"
    PROPOSED = "proposed"
    MATCHED = "matched"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REFUSED = "refused"


class TicketEvent(Enum):
    """What happens to a ticket."""

    LEAVE = "leave"
    RETURN = "return"
    PROPOSE = "propose"
    PUT_BACK = "put back"
    MATCH = "match"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REFUSE = "refuse"


_ENDS = {
    TicketEvent.CANCEL: TicketState.CANCELLED,
    TicketEvent.EXPIRE: TicketState.EXPIRED,
    TicketEvent.REFUSE: TicketState.REFUSED,
}

TICKET: Table[TicketState, TicketEvent] = {
    TicketState.WAITING: {
        TicketEvent.PROPOSE: TicketState.PROPOSED,
        TicketEvent.LEAVE: TicketState.ASIDE,
        **_ENDS,
    },
    TicketState.ASIDE: {TicketEvent.RETURN: TicketState.WAITING, **_ENDS},
    TicketState.PROPOSED: {
        TicketEvent.MATCH: TicketState.MATCHED,
        TicketEvent.PUT_BACK: TicketState.WAITING,
        **_ENDS,
    },
    TicketState.MATCHED: {},
    TicketState.CANCELLED: {},
    TicketState.EXPIRED: {},
    TicketState.REFUSED: {},
}


class Entrant:
    """One player of a ticket.

    Args:
        session: who it is, for the server.
        client: the number of the client, as in ``ClientData.ID``.
        rating: how well it plays. Given by the queue's ``on_ticket``, never by the client.
        roles: those that it plays; none means any.
        round_trips: seconds to each region, as the client has measured them.
    """

    __slots__ = ("client", "rating", "roles", "round_trips", "session")

    def __init__(
        self,
        session: object,
        client: int = 0,
        rating: float | None = None,
        roles: frozenset[str] = _NO_ROLES,
        round_trips: Mapping[str, float] = _NOTHING,
    ) -> None:
        self.session = session
        self.client = client
        self.rating = rating
        self.roles = roles
        self.round_trips = round_trips

    def __repr__(self) -> str:
        return f"Entrant({self.session!r:.40}, rating={self.rating})"


class Ticket:
    """One standing request to be matched, by one client or a party: all of it, or nothing.

    Args:
        number: counts up with each ticket of the server.
        entrants: the players, the leader first.
        criteria: what each asked-for name accepts, as ``MatchQueue.read`` gives it.
        since: when it entered, in monotonic seconds. Later tickets have later times.
        owner: whatever the server wants to find again.
    """

    __slots__ = (
        "criteria",
        "due",
        "entrants",
        "key",
        "kind",
        "number",
        "owner",
        "place",
        "rating",
        "round_trips",
        "shunned",
        "signature",
        "since",
        "size",
        "state",
    )

    def __init__(
        self,
        number: int,
        entrants: tuple[Entrant, ...],
        since: float,
        criteria: Mapping[str, tuple[Scalar, ...]] = _NO_CRITERIA,
        owner: object = None,
    ) -> None:
        self.number = number
        self.entrants = entrants
        self.since = since
        self.criteria = criteria
        self.owner = owner
        self.state = TicketState.WAITING
        self.size = len(entrants)
        self.place: Key = (since, number)
        """Its place in the queue: the lowest has waited longest."""
        self.rating = 0.0
        """Of the party: the mean. Set when it enters the queue."""
        self.key: Key = (0.0, number)
        """Its place by rating."""
        self.kind: Kind = self.size
        """What it takes of a match: whoever has the same can stand in for it."""
        self.round_trips: Mapping[str, float] = _NOTHING
        """Of the party: the worst to each region that all can reach."""
        self.signature: Signature = ()
        """What it accepts of the queue's hard criteria."""
        self.shunned: frozenset[str] = frozenset()
        """Rooms that it does not come into: one of the party is in there already."""
        self.due = math.inf
        """When it may be able to be matched without anybody coming. Kept by the matcher."""

    def step(self, event: TicketEvent) -> None:
        """Raises IllegalTransition."""
        self.state = step(TICKET, self.state, event)

    def __repr__(self) -> str:
        return f"Ticket({self.number}, {self.size} players, rating={self.rating:.0f}, {self.state.value})"


class Backfill:
    """A running room that seeks members.

    Args:
        room: its id.
        vacancies: for each team (``""`` when the queue has none) how many of each role are missing; the
            role ``""`` is any.
        since: when it began to seek, in monotonic seconds.
        rating: of its members: the mean. None: any will do.
        criteria: what it plays, as ``MatchQueue.read`` gives it.
        region: where it runs; None when regions don't matter.
    """

    __slots__ = ("criteria", "key", "place", "rating", "region", "room", "signature", "since", "vacancies")

    def __init__(
        self,
        room: str,
        vacancies: Mapping[str, Mapping[str, int]],
        since: float,
        rating: float | None = None,
        criteria: Mapping[str, tuple[Scalar, ...]] = _NO_CRITERIA,
        region: str | None = None,
    ) -> None:
        if rating is not None and not math.isfinite(rating):
            raise TicketError(f"a room's rating is a finite number, not {rating}")
        if any(type(count) is not int or count < 0 for team in vacancies.values() for count in team.values()):
            raise TicketError("a room's vacancies are numbers from 0 up")
        self.room = room
        self.vacancies = {team: dict(roles) for team, roles in vacancies.items()}
        self.since = since
        self.rating = rating
        self.criteria = criteria
        self.region = region
        self.key: Key = (0.0, 0)
        """Its place by rating, and by when it was told of. Given when it begins to seek."""
        self.place: Key = (since, 0)
        self.signature: Signature = ()

    @property
    def missing(self) -> int:
        """How many members it lacks."""
        return sum(count for team in self.vacancies.values() for count in team.values())

    def __repr__(self) -> str:
        return f"Backfill({self.room!r}, missing {self.missing})"


@lru_cache(maxsize=4096)
def able(kind: Kind, role: str) -> int:
    """How many players of a kind can play a role."""
    return 0 if isinstance(kind, int) else sum(not roles or role in roles for roles in kind)
