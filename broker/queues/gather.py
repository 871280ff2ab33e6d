"""Finding a match among candidates: who has waited longest is tried first, and nothing is overlooked.

A match is somewhere: one value of each hard criterion, and one region. For each such
venue the search takes candidates in their order, and goes back where that leads
nowhere. Before it takes one it asks whether a window is left that holds enough
players, and enough for each role; so for single players it hardly ever has to go back.
How much it looks at is bounded; past that bound a match can be missed until the next
event of one of its tickets.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from math import inf

from .criteria import Accepted
from .rules import Rules
from .shape import packable
from .shelf import padded
from .teams import Place, assign_roles, covers_roles, seat
from .tickets import Kind, Ticket, able

__all__ = ["MOST_LOOKS", "Gathering"]

MOST_LOOKS = 2000
"""Candidates that one search looks at."""
_COST_OF_SEATING = 50
_MOST_VENUES = 64

Teams = dict[str, list[Place]]
_Venue = tuple[tuple[Accepted | None, ...], str | None]
"""One value of each hard criterion (None: nobody cares), and one region."""


class Gathering:
    """One search for one match.

    Args:
        rules: the policy.
        first: who has to be in it, who may meet each other.
        candidates: who may meet the first of ``first``, in the order of trying.
        limit: the widest spread of ratings.
        size: players that the match needs.
        now: monotonic seconds.
        wants: what a set of tickets has to fulfil besides, once it is complete.
    """

    def __init__(
        self,
        rules: Rules,
        first: Sequence[Ticket],
        candidates: Sequence[Ticket],
        limit: float,
        size: int,
        now: float,
        wants: Callable[[Sequence[Ticket]], bool] | None = None,
    ) -> None:
        self._rules = rules
        self._first = first
        self._candidates = candidates
        self._limit = limit
        self._size = size
        self._now = now
        self._wants = wants
        self._members: list[Ticket] = []
        self._chosen: list[int] = []
        self._starts: list[tuple[float, float]] = []
        self._playable: dict[tuple[int, ...], bool] = {}
        self._kinds: dict[Kind, int] = {}
        self.looks = 0
        """Candidates looked at."""
        self.teams: Teams = {}
        shape = rules.shape
        full = rules.queue.then == "bots" or size == shape.full
        self._places = list(shape.teams) if full else shape.places(size)
        self._team_sizes = tuple(sorted((count for _, count in self._places), reverse=True))
        self._slots = {name: shape.slots(count) for name, count in self._places} if shape.roles else {}
        self._all_slots = [role for slots in self._slots.values() for role in slots]
        self._needed = [(role, count * len(shape.teams)) for role, count in shape.roles] if size == shape.full else []

    def find(self) -> list[Ticket] | None:
        """The tickets of a match, who has waited longest first; None if there is none. Sets ``teams``."""
        ratings = [ticket.rating for ticket in self._first]
        low, high = min(ratings), max(ratings)
        players = sum(ticket.size for ticket in self._first)
        if high - low > self._limit or players > self._size:
            return None
        best: tuple[list[int], list[Ticket], Teams] | None = None
        for venue in islice(self._venues(), _MOST_VENUES):
            usable = self._who_can(venue)
            if usable is None or not self._can_be_enough(usable):
                continue
            self._members, self._chosen = list(self._first), []
            if (
                self._window_is_left(low, high)
                and self._placeable()
                and self._extend(usable, 0, low, high, players)
                and (best is None or self._chosen < best[0])
            ):
                best = (self._chosen, self._members, self.teams)
        if best is None:
            return None
        self.teams = best[2]
        return sorted(best[1], key=lambda ticket: ticket.place)

    def _extend(self, usable: Sequence[int], start: int, low: float, high: float, players: int) -> bool:
        if players == self._size:
            return self._complete()
        rules, members, limit, lacking = self._rules, self._members, self._limit, self._size - players
        refused: set[Kind] = set()
        for at in range(start, len(usable)):
            self.looks += 1
            if self.looks > MOST_LOOKS:
                return False
            ticket = self._candidates[usable[at]]
            rating = ticket.rating
            lower, higher = min(low, rating), max(high, rating)
            if ticket.size > lacking or higher - lower > limit or ticket.kind in refused:
                continue
            if not self._window_is_left(lower, higher):
                continue
            if rules.has_fits and not all(rules.wanted(member, ticket) for member in members):
                continue
            members.append(ticket)
            if not self._placeable():
                refused.add(ticket.kind)  # all of that kind would be as much in the way
            else:
                self._chosen.append(usable[at])
                if self._extend(usable, at + 1, lower, higher, players + ticket.size):
                    return True
                self._chosen.pop()
            members.pop()
        return False

    def _complete(self) -> bool:
        self.looks += _COST_OF_SEATING
        if self._wants is not None and not self._wants(self._members):
            return False
        teams = seat(self._members, self._places, self._slots)
        if teams is None:
            return False
        self.teams = teams
        return True

    # Where.

    def _venues(self) -> Iterator[_Venue]:
        """What a match with ``first`` could agree on."""
        seed, now = self._first[0], self._now
        options: list[list[Accepted | None]] = []
        for at, accepted in enumerate(seed.signature):
            if accepted is None or len(accepted) != 1:
                named: dict[object, Accepted] = {}
                for ticket in (*self._first[1:], *self._candidates):
                    for value in ticket.signature[at] or ():
                        if accepted is None or value in accepted:
                            named.setdefault(value, frozenset((value,)))
                # Where nobody else cares, what it accepts is as good as one value.
                options.append([*named.values()] or [accepted])
            else:
                options.append([accepted])
        regions = self._rules.regions(seed, now)
        for way in product(*options):
            for region in (None,) if regions is None else sorted(regions):
                yield way, region

    def _who_can(self, venue: _Venue) -> list[int] | None:
        """The candidates for a venue; None when one of ``first`` is none."""
        way, region = venue
        rules, now = self._rules, self._now

        def can(ticket: Ticket) -> bool:
            for accepted, value in zip(ticket.signature, way, strict=True):
                if accepted is not None and value is not None and not value <= accepted and accepted != value:
                    return False
            return region is None or region in (rules.regions(ticket, now) or ())

        if not all(map(can, self._first)):
            return None
        if not way and region is None:
            return list(range(len(self._candidates)))
        return [at for at, ticket in enumerate(self._candidates) if can(ticket)]

    # Whether it can still succeed.

    def _can_be_enough(self, usable: Sequence[int]) -> bool:
        """Whether there are players and roles enough; works out in which windows there are."""
        tickets = [*self._first, *(self._candidates[at] for at in usable)]
        if sum(ticket.size for ticket in tickets) < self._size:
            return False
        if self._needed:
            self.looks += len(self._all_slots)
            kinds: dict[Kind, int] = {}
            some: list[Ticket] = []
            for ticket in tickets:
                kinds[ticket.kind] = kinds.get(ticket.kind, 0) + 1
                if kinds[ticket.kind] * ticket.size <= len(self._all_slots):
                    some.append(ticket)
            if not covers_roles([entrant for ticket in some for entrant in ticket.entrants], self._all_slots):
                return False
        if self._limit == inf:
            return True
        tickets.sort(key=lambda ticket: ticket.rating)
        self._starts = _starts([(ticket.rating, ticket.size) for ticket in tickets], self._size, self._limit)
        for role, needed in self._needed:
            can = [(ticket.rating, count) for ticket in tickets if (count := able(ticket.kind, role))]
            self._starts = _overlaps(self._starts, _starts(can, needed, self._limit))
        return bool(self._starts)

    def _window_is_left(self, low: float, high: float) -> bool:
        """Whether some window that holds these ratings holds players enough, and enough for each role."""
        if self._limit == inf:
            return True
        starts = self._starts
        at = bisect_right(starts, (low, inf)) - 1
        return at >= 0 and starts[at][1] >= padded(high, self._limit)[0]

    def _placeable(self) -> bool:
        """Whether the members go into teams by their sizes, and into roles, teams apart."""
        if len(self._team_sizes) > 1 and any(member.size > 1 for member in self._members):
            sizes = tuple(sorted((member.size for member in self._members), reverse=True))
            if not packable(sizes, self._team_sizes):
                return False
        if not self._all_slots:
            return True
        kinds = self._kinds
        key = tuple(sorted(kinds.setdefault(member.kind, len(kinds)) for member in self._members))
        playable = self._playable.get(key)
        if playable is None:
            entrants = [entrant for member in self._members for entrant in member.entrants]
            playable = self._playable[key] = assign_roles(entrants, self._all_slots) is not None
        return playable


def _starts(ratings: Sequence[tuple[float, int]], needed: int, limit: float) -> list[tuple[float, float]]:
    """Where windows may begin that hold so many players, as intervals that do not overlap."""
    found: list[tuple[float, float]] = []
    end = players = 0
    for rating, count in ratings:
        while players < needed:
            if end == len(ratings):
                return found
            players += ratings[end][1]
            end += 1
        low = padded(ratings[end - 1][0], limit)[0]
        if low <= rating:
            if found and found[-1][1] >= low:
                found[-1] = (found[-1][0], rating)
            else:
                found.append((low, rating))
        players -= count
    return found


def _overlaps(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """What two lists of intervals have in common."""
    found: list[tuple[float, float]] = []
    i = j = 0
    while i < len(one) and j < len(other):
        low, high = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if low <= high:
            found.append((low, high))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return found
