"""MatchQueue: the policy of one queue, which users subclass."""

import math
from collections.abc import Awaitable, Mapping, Sequence
from difflib import get_close_matches
from typing import Literal

from ...protocol.errors import ConfigError, TicketError
from .criteria import Scalar, read_criteria, signature
from .shape import Shape
from .tickets import Backfill, Ticket
from .window import Window

__all__ = ["MatchQueue"]

_MOST_CRITERIA = 16
_MOST_REGIONS = 32
_MOST_ROLES = 32
_LONGEST_NAME = 64
_FARTHEST = 1e12
_SLOWEST = 60.0
_STRONGEST = 3600.0
_THENS = ("refuse", "smaller", "bots", "wider")


class MatchQueue:
    """How the tickets of one queue are put together. Subclass it, and give the class to the server.

    ::

        class Ranked(MatchQueue):
            room = "arena"
            teams = {"red": 5, "blue": 5}
            window = Window(start=100, per_second=10, most=500)
            hard = ("mode", "map")

            def on_ticket(self, ticket):
                for entrant in ticket.entrants:
                    entrant.rating = ratings[entrant.client]

    Two tickets fit when they agree in all that is ``hard`` and their ratings are no
    farther apart than the window of the one that has waited less (the other's is at
    least as wide). A match holds when its ratings' whole spread is within everybody's
    window. Who enters gets the match that it completes, with those who have waited
    longest among those that it fits with; so does who is reached by a window that
    widens, at the moment when it does.
    """

    room: str | None = None
    """The room type of its matches. None leaves it to the server."""
    least: int | None = None
    """Players of the smallest match; None: only full ones. Below ``most`` it needs ``then``."""
    most: int | None = None
    """Players of a full match: what ``teams`` come to, or 2."""
    multiple: int = 1
    """A match's players are a multiple of it."""
    teams: Mapping[str, int] | None = None
    """The places of each team by its name. A smaller match has smaller teams in the same proportion."""
    roles: Mapping[str, int] | None = None
    """How many of each role a team needs (without teams: a match). Places beyond are anybody's."""
    window: Window | None = None
    """How far apart ratings may be; None: ratings don't matter."""
    hard: Sequence[str] = ()
    """Criteria that have to agree: one value that everybody in the match accepts. Who doesn't name one takes any."""
    prefer: Mapping[str, float] = {}
    """Criteria that had better agree: for how many seconds of longer waiting an agreement makes up."""
    latency: Window | None = None
    """How many seconds a round trip to the match's region may take, for each player; None: regions don't matter."""
    regions: Sequence[str] = ()
    """The regions that there are; empty: those that the clients name. Needs ``latency``."""
    max_wait: float | None = None
    """Seconds after which ``then`` comes."""
    then: Literal["refuse", "smaller", "bots", "wider"] = "refuse"
    """What comes after ``max_wait``: a refusal; a smaller match (from ``least`` up); places filled by bots (from
    ``least`` players up, one if not said); or anybody within ``window.most``, whatever their own window is by then."""
    accept: float | None = None
    """Seconds in which everybody has to accept a match; None: nobody is asked."""
    prefer_backfill: bool = False
    """Whether rooms that seek members come before new matches, the nearly complete first."""
    most_party: int | None = None
    """Players of the largest party: at most, and by default, those of the largest team."""
    tickets_of_a_session: int = 1
    """Tickets that one session may have in this queue at once."""

    shape: Shape
    """What the numbers above come to. Worked out when the class is made, and when a matcher takes it."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        try:
            _check_spelling(cls)
            cls.shape = cls.shape_of(cls)
        except ConfigError as error:
            raise ConfigError(f"{cls.__name__}: {error}") from error

    # What users override.

    def on_ticket(self, ticket: Ticket) -> Awaitable[None] | None:
        """Give each of ``ticket.entrants`` its rating. Runs in the broker's process before the ticket enters.

        May be ``async def``. What it raises refuses the ticket: raise TicketError with a sentence for the client.
        """
        return None

    def fits(self, one: Ticket, other: Ticket) -> bool:
        """Whether two tickets may meet that all other rules let meet. Runs in the broker's process.

        Has to be quick, give the same for both orders, and stay the same for as long as both wait. What it raises
        counts as no.
        """
        return True

    def score(self, one: Ticket, other: Ticket) -> float:
        """For how many seconds of longer waiting it makes up that these two meet. Runs in the broker's process.

        At most an hour either way counts; what it raises counts as nothing.
        """
        return 0.0

    # What the server and the matcher call.

    def read(self, criteria: Mapping[str, object]) -> dict[str, tuple[Scalar, ...]]:
        """Check what a client asks for. Raises TicketError."""
        return read_criteria(criteria, (*self.hard, *self.prefer))

    def check(self, ticket: Ticket) -> None:
        """Check all of a ticket but its ratings, and work out what the matcher compares. Raises TicketError."""
        shape = self.shape
        if not 1 <= ticket.size <= shape.party:
            raise TicketError(f"a party of {ticket.size}: this queue takes 1 to {shape.party}")
        known = shape.role_names
        for entrant in ticket.entrants:
            if entrant.roles and (len(entrant.roles) > _MOST_ROLES or not entrant.roles <= known):
                unknown = sorted(map(str, entrant.roles - known))[:3]
                raise TicketError(f"roles {unknown!r:.100}: this queue has {', '.join(sorted(known)) or 'none'}")
        if ticket.criteria and ticket.criteria.keys() - {*self.hard, *self.prefer}:
            raise TicketError(f"this queue's criteria are {', '.join((*self.hard, *self.prefer)) or 'none'}")
        if self.hard:
            ticket.signature = signature(ticket.criteria, self.hard)
        if known:
            ticket.kind = tuple(entrant.roles for entrant in ticket.entrants)
        if self.latency is not None:
            self._check_regions(ticket)

    def check_rating(self, ticket: Ticket) -> None:
        """Check what ``on_ticket`` gave, and work out the party's rating. Raises TicketError."""
        total = 0.0
        for entrant in ticket.entrants:
            rating = entrant.rating
            if rating is None and self.window is None:
                rating = 0.0
            if type(rating) is not float and (type(rating) is not int or abs(rating) > _FARTHEST):
                raise TicketError(f"a rating is a number that the queue's on_ticket gives, not {rating!r:.40}")
            total += rating
        # NaN and the infinities fail this comparison, or a sum of them does.
        if not -_FARTHEST <= total <= _FARTHEST:
            raise TicketError(f"a rating is a finite number up to {_FARTHEST:.0e}, not {total!r:.40}")
        ticket.rating = total / ticket.size
        ticket.key = (ticket.rating, ticket.number)

    def check_backfill(self, backfill: Backfill) -> None:
        """Check what a room seeks. Raises TicketError."""
        places = dict(self.shape.teams)
        known = self.shape.role_names | {""}
        for team, roles in backfill.vacancies.items():
            if team not in places:
                raise TicketError(f"team {team!r:.70}: this queue has {', '.join(places)}")
            if not roles.keys() <= known or sum(roles.values()) > places[team]:
                raise TicketError(f"team {team} has {places[team]} places, and roles {sorted(known)}")
        if backfill.criteria.keys() - {*self.hard, *self.prefer}:
            raise TicketError(f"this queue's criteria are {', '.join((*self.hard, *self.prefer)) or 'none'}")
        if self.latency is not None and backfill.region is None:
            raise TicketError("a room of a queue with regions says in which it is")
        backfill.signature = signature(backfill.criteria, self.hard)

    @staticmethod
    def shape_of(policy: "MatchQueue | type[MatchQueue]") -> Shape:
        """Check the declarations. Raises ConfigError."""
        for name, kind in (("window", Window), ("latency", Window)):
            value = getattr(policy, name)
            if value is not None and not isinstance(value, kind):
                raise ConfigError(f"{name} is a Window or None, not {value!r:.40}")
        if not isinstance(policy.prefer, Mapping):
            raise ConfigError(
                f"prefer is a mapping of names to seconds, like {{'map': 20.0}}, not {policy.prefer!r:.60}"
            )
        _names("hard", policy.hard, _MOST_CRITERIA)
        _names("prefer", tuple(policy.prefer), _MOST_CRITERIA)
        _names("regions", policy.regions, _MOST_REGIONS)
        if set(policy.hard) & set(policy.prefer):
            raise ConfigError(f"{sorted(set(policy.hard) & set(policy.prefer))}: hard and preferred; decide on one")
        for name, weight in policy.prefer.items():
            if not _number(weight) or not 0 <= weight <= _STRONGEST:
                raise ConfigError(f"prefer: {name} is a number of seconds from 0 to {_STRONGEST:.0f}, not {weight!r}")
        if policy.regions and policy.latency is None:
            raise ConfigError("regions need latency: how far away they may be")
        if policy.then not in _THENS:
            raise ConfigError(f"then is one of {', '.join(_THENS)}, not {policy.then!r:.40}")
        if policy.max_wait is not None and (not _number(policy.max_wait) or policy.max_wait < 0):
            raise ConfigError(f"max_wait is a number of seconds or None, not {policy.max_wait!r:.40}")
        if policy.then != "refuse" and policy.max_wait is None:
            raise ConfigError(f"then='{policy.then}' needs max_wait: after how many seconds")
        if policy.then == "wider" and policy.window is None:
            raise ConfigError("then='wider' needs a window")
        if policy.accept is not None and (not _number(policy.accept) or policy.accept <= 0):
            raise ConfigError(f"accept is a number of seconds above 0, or None, not {policy.accept!r:.40}")
        if type(policy.tickets_of_a_session) is not int or policy.tickets_of_a_session < 1:
            raise ConfigError(f"tickets_of_a_session is a number from 1 up, not {policy.tickets_of_a_session!r:.40}")
        if policy.then == "smaller" and policy.roles:
            raise ConfigError("then='smaller' does not go with roles: a smaller team could not have them all")
        least = 1 if policy.then == "bots" and policy.least is None else policy.least
        shape = Shape.of(
            least, policy.most, policy.multiple, policy.teams, policy.roles, policy.most_party, policy.then
        )
        if policy.then == "smaller" and len(shape.sizes) == 1:
            raise ConfigError("then='smaller' needs a least below most that the multiple and the teams allow")
        return shape

    def _check_regions(self, ticket: Ticket) -> None:
        assert self.latency is not None
        for entrant in ticket.entrants:
            if len(entrant.round_trips) > _MOST_REGIONS:
                raise TicketError(f"{len(entrant.round_trips)} regions: at most {_MOST_REGIONS}")
            for region, seconds in entrant.round_trips.items():
                if not isinstance(region, str) or not 1 <= len(region) <= _LONGEST_NAME:
                    raise TicketError(f"a region's name has 1 to {_LONGEST_NAME} characters, not {region!r:.70}")
                if self.regions and region not in self.regions:
                    raise TicketError(f"region {region!r:.70}: this queue has {', '.join(self.regions)}")
                if not _number(seconds) or not 0 <= seconds <= _SLOWEST:
                    raise TicketError(f"{region}: a round trip is a number of seconds from 0 to {_SLOWEST:.0f}")
        first, *others = (entrant.round_trips for entrant in ticket.entrants)
        shared = {
            region: max([float(seconds), *(float(other[region]) for other in others)])
            for region, seconds in first.items()
            if all(region in other for other in others)
        }
        ticket.round_trips = {region: worst for region, worst in shared.items() if worst <= self.latency.most}
        if not ticket.round_trips:
            raise TicketError(
                f"this queue needs the round trip to a region that is within {self.latency.most} s of every player"
                + (f": {', '.join(self.regions)}" if self.regions else "")
            )


def _check_spelling(cls: type[MatchQueue]) -> None:
    """Refuse what is nearly the name of a declaration, and would be ignored. Raises ConfigError."""
    declared = MatchQueue.__annotations__.keys()
    for name, value in vars(cls).items():
        if name.startswith("_") or name in declared or callable(value):
            continue
        for meant in get_close_matches(name, declared, 1, cutoff=0.85):
            if name != f"{meant}s":  # rooms, mosts: a word of their own
                raise ConfigError(f"it declares {name}, which means nothing to a queue. Did you mean {meant}?")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _names(what: str, given: object, most: int) -> None:
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) > most or len(set(given)) < len(given):
        raise ConfigError(f"{what} is a tuple of at most {most} different names, like ('mode',), not {given!r:.100}")
    for name in given:
        if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME:
            raise ConfigError(f"{what}: a name has 1 to {_LONGEST_NAME} characters, not {name!r:.80}")


MatchQueue.shape = MatchQueue.shape_of(MatchQueue)
