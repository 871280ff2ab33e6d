"""Entries: who has asked to wait in a queue, from the first ENQUEUE until a seat or an end."""

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Self

from ..protocol.errors import BadMessage
from ..protocol.queue_messages import Enqueue
from .queues import Entrant, Match, Matcher, Ticket, TicketState
from .sessions import Session

if TYPE_CHECKING:
    from .proposals import Proposal

__all__ = ["Entries", "Entry", "Player", "entries_of"]

_MOST_ROLES = 32
_MOST_REGIONS = 32


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

    @classmethod
    def read(cls, session: Session, message: Enqueue) -> Self:
        """What a client says of itself. Raises BadMessage."""
        roles, regions = message.roles, message.regions
        if len(roles) > _MOST_ROLES or not all(type(role) is str and len(role) <= 64 for role in roles):
            raise BadMessage(f"roles are at most {_MOST_ROLES} names")
        if len(regions) > _MOST_REGIONS or not all(type(value) in (int, float) for value in regions.values()):
            raise BadMessage(f"regions are at most {_MOST_REGIONS} names, with seconds for each")
        return cls(session, message.ask, frozenset(roles), dict(regions), message.options)

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

    def progress(self, matcher: Matcher, now: float) -> dict[str, Any]:
        """How it stands, as PROGRESS carries it; ``matcher``: its queue's."""
        info: dict[str, Any] = {"left": max(0.0, self.deadline - now)}
        if self.ticket is None:
            info |= {"state": "gathering", "missing": len(self.expected) - len(self.players)}
        elif self.proposal is not None:
            info["state"] = "found"
        else:
            info["state"] = "away" if self.ticket.state is TicketState.ASIDE else "waiting"
            if self.rated:
                progress = matcher.progress(self.ticket, now)
                info |= {
                    name: value for name, value in zip(progress._fields, progress, strict=True) if value is not None
                }
        return info

    def why(self, matcher: Matcher, now: float) -> dict[str, Any]:
        """Why it still waits, as REASONS carries it; ``matcher``: its queue's."""
        if self.ticket is None:
            missing = len(self.expected) - len(self.players)
            return {
                "ticket": 0, "queue": self.queue, "state": "gathering", "considered": 0, "obstacles": [],
                "summary": f"{missing} of the party have not entered the queue",
            }  # fmt: skip
        why = matcher.why(self.ticket, now)
        return {**why._asdict(), "queue": self.queue, "obstacles": [one._asdict() for one in why.obstacles]}


class Entries:
    """All entries: by who plays, and by the numbers of their tickets."""

    def __init__(self) -> None:
        self._of: dict[Session, list[Entry]] = {}
        self._by_number: dict[int, Entry] = {}

    def __len__(self) -> int:
        """Those that have a ticket."""
        return len(self._by_number)

    def of(self, session: Session) -> tuple[Entry, ...]:
        """Those that a session plays in, the oldest first."""
        return tuple(self._of.get(session, ()))

    def find(self, session: Session, ask: int) -> Entry | None:
        """The one that a session has asked for by this number."""
        return next((entry for entry in self._of.get(session, ()) if entry.players[session].ask == ask), None)

    def get(self, number: int) -> Entry | None:
        """The one with the ticket of this number."""
        return self._by_number.get(number)

    def that_expects(self, session: Session, leader: Session, queue: str) -> Entry | None:
        """The one that its leader has opened in a queue, and that waits for this member."""
        for entry in self._of.get(leader, ()):
            if entry.queue == queue and entry.gathering and session in entry.expected and session not in entry.players:
                return entry
        return None

    def add(self, entry: Entry, player: Player) -> None:
        """Somebody plays in it."""
        entry.players[player.session] = player
        self._of.setdefault(player.session, []).append(entry)

    def number(self, entry: Entry, ticket: Ticket) -> None:
        """It has a ticket."""
        entry.ticket = ticket
        self._by_number[ticket.number] = entry

    def remove(self, entry: Entry) -> None:
        """It is over."""
        if entry.ticket is not None:
            self._by_number.pop(entry.ticket.number, None)
        for session in entry.players:
            left = [other for other in self._of[session] if other is not entry]
            if left:
                self._of[session] = left
            else:
                del self._of[session]


def entries_of(match: Match) -> list[Entry]:
    """Those that a match was made of."""
    return [ticket.owner for ticket in match.tickets if isinstance(ticket.owner, Entry)]
