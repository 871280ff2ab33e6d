"""Finding a match among candidates: who has waited longest is tried first, and nothing is overlooked.

The search takes candidates in their order and goes back where that leads nowhere.
Before it takes one, it asks whether enough players are left within a window, so
that for single players in a queue without roles it never has to go back. How many
it looks at is bounded; past that bound a match can be missed until the next event
of one of its tickets.
"""

from collections.abc import Callable, Sequence

from .criteria import Signature, common
from .rules import Rules
from .shape import packable
from .teams import Place, assign_roles, covers_roles, seat
from .tickets import Ticket

__all__ = ["MOST_LOOKS", "Gathering"]

MOST_LOOKS = 2000
"""Candidates that one search looks at."""

Teams = dict[str, list[Place]]


class Gathering:
    """One search for one match.

    Args:
        rules: the policy.
        first: who has to be in it, who may meet each other.
        candidates: who may meet ``first``, in the order of trying.
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
        self._candidates = candidates
        self._limit = limit
        self._size = size
        self._now = now
        self._wants = wants
        self._members = list(first)
        self.looks = 0
        """Candidates looked at."""
        self.teams: Teams = {}
        shape = rules.shape
        full = rules.queue.then == "bots" or size == shape.full
        self._places = list(shape.teams) if full else shape.places(size)
        self._team_sizes = tuple(sorted((count for _, count in self._places), reverse=True))
        self._slots = {name: shape.slots(count) for name, count in self._places} if shape.roles else {}
        self._all_slots = [role for slots in self._slots.values() for role in slots]
        self._by_rating = sorted((ticket.rating, ticket.size) for ticket in (*first, *candidates))

    def find(self) -> list[Ticket] | None:
        """The tickets of a match, who has waited longest first; None if there is none. Sets ``teams``."""
        low = min(ticket.rating for ticket in self._members)
        high = max(ticket.rating for ticket in self._members)
        players = sum(ticket.size for ticket in self._members)
        if high - low > self._limit or players > self._size or not self._enough(low, high):
            return None
        if self._all_slots and self._size == len(self._all_slots):
            everybody = [entrant for ticket in (*self._members, *self._candidates) for entrant in ticket.entrants]
            self.looks += len(everybody)
            if not covers_roles(everybody, self._all_slots):
                return None
        accepted: Signature | None = self._members[0].signature
        regions = self._rules.regions(self._members[0], self._now)
        for member in self._members[1:]:
            accepted = None if accepted is None else common(accepted, member.signature)
            if regions is not None:
                regions &= self._rules.regions(member, self._now) or frozenset()
        if accepted is None or (regions is not None and not regions) or not self._placeable():
            return None
        if self._extend(0, low, high, players, accepted, regions):
            return sorted(self._members, key=lambda ticket: ticket.place)
        return None

    def _extend(
        self, index: int, low: float, high: float, players: int, accepted: Signature, regions: frozenset[str] | None
    ) -> bool:
        if players == self._size:
            return self._complete()
        rules, members = self._rules, self._members
        for at in range(index, len(self._candidates)):
            self.looks += 1
            if self.looks > MOST_LOOKS:
                return False
            ticket = self._candidates[at]
            lower, higher = min(low, ticket.rating), max(high, ticket.rating)
            if players + ticket.size > self._size or higher - lower > self._limit:
                continue
            shared = common(accepted, ticket.signature)
            if shared is None:
                continue
            near = regions
            if near is not None:
                near &= rules.regions(ticket, self._now) or frozenset()
                if not near:
                    continue
            if rules.has_fits and not all(rules.wanted(member, ticket) for member in members):
                continue
            members.append(ticket)
            if (
                self._enough(lower, higher)
                and self._placeable()
                and self._extend(at + 1, lower, higher, players + ticket.size, shared, near)
            ):
                return True
            members.pop()
        return False

    def _complete(self) -> bool:
        if self._wants is not None and not self._wants(self._members):
            return False
        teams = seat(self._members, self._places, self._slots)
        if teams is None:
            return False
        self.teams = teams
        return True

    def _enough(self, low: float, high: float) -> bool:
        """Whether some window that holds these ratings holds players enough."""
        ratings, limit, size = self._by_rating, self._limit, self._size
        end = players = 0
        for rating, count in ratings:
            if rating > low:
                return False
            while end < len(ratings) and ratings[end][0] - rating <= limit:
                players += ratings[end][1]
                end += 1
            if players >= size and high - rating <= limit:
                return True
            players -= count
        return False

    def _placeable(self) -> bool:
        """Whether the members go into teams by their sizes, and into roles, teams apart."""
        if len(self._team_sizes) > 1 and any(member.size > 1 for member in self._members):
            sizes = tuple(sorted((member.size for member in self._members), reverse=True))
            if not packable(sizes, self._team_sizes):
                return False
        if not self._all_slots:
            return True
        entrants = [entrant for member in self._members for entrant in member.entrants]
        return assign_roles(entrants, self._all_slots) is not None
