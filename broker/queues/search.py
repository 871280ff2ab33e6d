"""What match a ticket completes: candidates from the index, put together by the rules.

A match is looked for from its youngest ticket, among those that have waited longer:
their windows are at least as wide, so its own decides for all. Only who is overdue,
after ``max_wait``, is looked for among the younger ones as well.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from .criteria import agree
from .gather import MOST_LOOKS, Gathering
from .index import Index
from .rules import Rules
from .shape import ANY_ROLE
from .shelf import padded
from .teams import Place
from .tickets import Ticket, able

__all__ = ["Found", "Search"]

_FEWEST_LOOKED_AT = 32
_MOST_YOUNGER = 16
"""Younger tickets from each of which a match with one that is overdue is looked for."""


class Found(NamedTuple):
    """Tickets that make a match."""

    tickets: list[Ticket]
    """Who has waited longest comes first."""
    teams: dict[str, list[Place]]


class Search:
    """Looks for matches.

    Args:
        rules: the policy.
        index: who can be matched.
    """

    def __init__(self, rules: Rules, index: Index) -> None:
        self._rules = rules
        self._index = index
        shape = rules.shape
        self._pairs = shape.full == 2 and not shape.roles
        self._places = list(shape.teams)
        self._needed = [(role, count * len(shape.teams)) for role, count in shape.roles]
        self._most = max(_FEWEST_LOOKED_AT, 3 * shape.full)
        """Candidates of one kind: those that have waited longest, where there are more."""
        self.cost = 0
        """What was looked at since the start."""

    def match(self, ticket: Ticket, now: float, overdue: Collection[int]) -> Found | None:
        """The match that a ticket completes with those who have waited longer.

        Args:
            ticket: the youngest in it.
            now: monotonic seconds.
            overdue: the numbers of the tickets that make do with something else, since their ``max_wait`` is over.
        """
        shape = self._rules.shape
        limit = self._rules.reach(ticket, now)
        others = shape.full - ticket.size
        full: Found | None = None
        if self.lacks(ticket, limit) is None:
            near = self.older(ticket, limit, now, others)
            full = self._full(ticket, near, limit, now) if near or not others else None
        if not overdue:
            return full
        late = self._with_overdue(ticket, limit, now, overdue)
        # Whichever is for who has waited longest; a full one, when it is for the same.
        if late is None or (full is not None and full.tickets[0].place <= late.tickets[0].place):
            return full
        return late

    def _with_overdue(self, ticket: Ticket, limit: float, now: float, overdue: Collection[int]) -> Found | None:
        """The match that a ticket completes for somebody whose ``max_wait`` is over, perhaps itself."""
        rules, shape = self._rules, self._rules.shape

        def any_overdue(tickets: Iterable[Ticket]) -> bool:
            return any(one.number in overdue for one in tickets)

        if rules.queue.then == "wider":
            if self.lacks(ticket, rules.most) is not None:
                return None
            near = self.older(ticket, rules.most, now, shape.full - ticket.size)
            return self._gather([ticket], near, rules.most, shape.full, now, any_overdue)
        near = self.older(ticket, limit, now, 0)
        if not any_overdue([ticket, *near]):
            return None
        until = self.cost + MOST_LOOKS
        for size in self._smaller(near, ticket.size):
            found = self._gather([ticket], near, limit, size, now, any_overdue)
            if found is not None or self.cost > until:
                return found
        return None

    def match_overdue(self, ticket: Ticket, now: float) -> Found | None:
        """The match that a ticket gets when its ``max_wait`` is over, also with those who have waited less."""
        rules, shape = self._rules, self._rules.shape
        if rules.queue.then == "wider":
            near = self.around(ticket, rules.most, now)
            return self._gather([ticket], near, rules.most, shape.full, now, None)
        younger = self.around(
            ticket,
            rules.reach(ticket, now),
            now,
            lambda other: (
                other.place > ticket.place and abs(other.rating - ticket.rating) <= rules.limit(ticket, other, now)
            ),
        )
        younger.sort(key=lambda other: other.place)
        if len(younger) > 2 * _MOST_YOUNGER:
            younger = younger[:_MOST_YOUNGER] + younger[-_MOST_YOUNGER:]
        seeds = [ticket, *younger]
        around = [self.older(seed, rules.reach(seed, now), now, 0) for seed in seeds]
        until = self.cost + MOST_LOOKS
        for size in self._smaller(max(around, key=_players), ticket.size + shape.party):
            for seed, near in zip(seeds, around, strict=True):
                first = [seed] if seed is ticket else [seed, ticket]
                others = [other for other in near if other is not ticket]
                found = self._gather(first, others, rules.reach(seed, now), size, now, None)
                if found is not None or self.cost > until:
                    return found
        return None

    def older(self, ticket: Ticket, limit: float, now: float, players: int) -> list[Ticket]:
        """Those that fit with a ticket and have waited longer; none when there are fewer players than that.

        Where very many of one kind do, those that have waited longest.
        """
        place = ticket.place
        return [other for other in self.around(ticket, limit, now, players=players) if other.place < place]

    def lacks(self, ticket: Ticket, limit: float) -> str | None:
        """A role that too few play around a ticket; None when there are enough of each."""
        low, high = padded(ticket.rating, limit)
        groups = self._index.groups(ticket.signature)
        for role, needed in self._needed:
            have = able(ticket.kind, role)
            for group in groups:
                for kind, shelf in group.shelves.items():
                    if have < needed and shelf:
                        can = able(kind, role)
                        if can:
                            self.cost += 1
                            have += can * shelf.count(low, high, needed)
            if have < needed:
                return role
        return None

    def around(
        self,
        ticket: Ticket,
        limit: float,
        now: float,
        takes: Callable[[Ticket], bool] | None = None,
        players: int = 0,
    ) -> list[Ticket]:
        """Those that fit with a ticket when a window reaches that far; none when there are fewer players than that.

        Where very many of one kind do, those that have waited longest.
        """
        rules = self._rules
        rating, accepted = ticket.rating, ticket.signature
        low, high = padded(rating, limit)
        shelved: list[tuple[bool, Sequence[Ticket]]] = []
        have = 0
        for group in self._index.groups(accepted):
            alike = group.exact and (group.key is accepted or group.key == accepted)
            for shelf in group.shelves.values():
                if not shelf:
                    continue
                inside: Sequence[Ticket] | None = shelf.between(low, high, self._most)
                if inside is None:
                    inside = self._oldest(ticket, shelf.oldest(low, high), now, alike, takes)
                if inside:
                    have += len(inside) * inside[0].size
                    shelved.append((alike, inside))
        self.cost += have
        if have < players:
            return []
        plain = rules.latency is None and not rules.has_fits
        found: list[Ticket] = []
        for alike, inside in shelved:
            for other in inside:
                if (
                    -limit <= other.rating - rating <= limit
                    and (alike or agree(accepted, other.signature))
                    and (takes is None or takes(other))
                    and other is not ticket
                    and (plain or (rules.near(ticket, other, now) and rules.wanted(ticket, other)))
                ):
                    found.append(other)
        return found

    def _oldest(
        self,
        ticket: Ticket,
        oldest: Iterable[Ticket],
        now: float,
        alike: bool,
        takes: Callable[[Ticket], bool] | None,
    ) -> list[Ticket]:
        """The first of very many that agree, are near and may come."""
        rules, accepted = self._rules, ticket.signature
        fitting = (
            other
            for other in islice(oldest, 4 * self._most)
            if (alike or agree(accepted, other.signature))
            and (takes is None or takes(other))
            and (rules.latency is None or rules.near(ticket, other, now))
        )
        return list(islice(fitting, self._most))

    def _full(self, ticket: Ticket, near: list[Ticket], limit: float, now: float) -> Found | None:
        """The full match of a ticket."""
        if not self._pairs or ticket.size == 2:
            return self._gather([ticket], near, limit, self._rules.shape.full, now, None)
        if not near:
            return None
        first = self._rules.ordered(ticket, near)[0] if len(near) > 1 else near[0]
        return Found([first, ticket], self._seat_pair(first, ticket))

    def _seat_pair(self, one: Ticket, other: Ticket) -> dict[str, list[Place]]:
        """As ``seat`` does it: the most frequent of all matches is worth a way of its own."""
        places = self._places
        if len(places) == 1:
            name = places[0][0]
            return {
                name: [Place(one, one.entrants[0], name, ANY_ROLE), Place(other, other.entrants[0], name, ANY_ROLE)]
            }
        stronger, weaker = (one, other) if (-one.rating, one.place) <= (-other.rating, other.place) else (other, one)
        return {
            name: [Place(ticket, ticket.entrants[0], name, ANY_ROLE)]
            for (name, _), ticket in zip(places, (stronger, weaker), strict=True)
        }

    def _gather(
        self,
        first: list[Ticket],
        near: list[Ticket],
        limit: float,
        size: int,
        now: float,
        wants: Callable[[Sequence[Ticket]], bool] | None,
    ) -> Found | None:
        if _players(near) + sum(ticket.size for ticket in first) < size:
            return None
        gathering = Gathering(self._rules, first, self._rules.ordered(first[0], near), limit, size, now, wants)
        tickets = gathering.find()
        self.cost += gathering.looks
        return None if tickets is None else Found(tickets, gathering.teams)

    def _smaller(self, near: Sequence[Ticket], more: int) -> list[int]:
        """The sizes of matches that are not full, as far as there are players, the largest first."""
        shape = self._rules.shape
        players = _players(near) + more
        if self._rules.queue.then == "bots":
            return list(range(min(players, shape.full - 1), shape.fewest - 1, -1))
        return [size for size in shape.sizes[1:] if size <= players]


def _players(tickets: Iterable[Ticket]) -> int:
    return sum(ticket.size for ticket in tickets)
