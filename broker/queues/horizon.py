"""When a ticket may be able to be matched without anybody coming: worked out, so that nothing has to be polled.

A match's spread has to be within the window of its youngest ticket, and those that
have waited longer than it only become fewer. So each ticket needs one time: when its
window reaches the least spread that holds enough players around it. Nothing can
happen before; at that time it is looked at again.
"""

import math
from bisect import bisect_right

from .criteria import agree
from .index import Index
from .rooms import MOST_NEAR, SeekingRooms
from .rules import Rules
from .tickets import Ticket, able

__all__ = ["Horizon"]

_SEEN = 32
"""Neighbours on each side of each shelf that are looked at, besides those that a match needs."""
_CROWDED = 1.0
"""Seconds after which it is looked at again where more rooms seek members than are looked at."""
_STEPS = 64
"""Where more are crowded together than are looked at, a window is looked at again this often while it widens."""


class Horizon:
    """Works out when windows reach what they need.

    Args:
        rules: the policy.
        index: who can be matched.
        rooms: who seeks members.
    """

    def __init__(self, rules: Rules, index: Index, rooms: SeekingRooms) -> None:
        self._rules = rules
        self._index = index
        self._rooms = rooms
        self._needed = [(role, count * len(rules.shape.teams)) for role, count in rules.shape.roles]

    def next(self, ticket: Ticket, now: float, needed: int) -> float:
        """When a ticket's window reaches enough of those that have waited longer; infinite if never.

        Args:
            ticket: for which no match was found now.
            now: monotonic seconds.
            needed: players of the smallest match that it could be in.
        """
        window = self._rules.window
        if window is None:
            return math.inf
        nearest = self._next_room(ticket, now) if self._rooms else math.inf
        limit = window.after(now - ticket.since)
        if limit >= window.most:
            return nearest
        lacking = max(1, needed - ticket.size)
        within = self._roles_within(ticket) if self._needed and needed == self._rules.shape.full else 0.0
        if within > window.most:
            return nearest
        pairs = self._rules.shape.full == 2
        reach = self._next_beyond(ticket, limit) if pairs else self._next_spread(ticket, limit, lacking)
        return min(nearest, ticket.since + window.reached(max(reach, within)))

    def _next_room(self, ticket: Ticket, now: float) -> float:
        """When the window reaches a room that it does not reach yet: that of who has waited less."""
        window = self._rules.window
        assert window is not None
        rooms = self._rooms.near(ticket, window.most)
        times = [
            max(ticket.since, room.since) + window.reached(abs(ticket.rating - room.rating))
            for room in rooms
            if room.rating is not None
        ]
        soonest = min((time for time in times if time > now), default=math.inf)
        return soonest if len(rooms) < MOST_NEAR else min(soonest, now + _CROWDED)

    def _next_beyond(self, ticket: Ticket, limit: float) -> float:
        """The distance of the nearest beyond a window."""
        nearest = math.inf
        rating, place, accepted = ticket.rating, ticket.place, ticket.signature
        for group in self._index.groups(accepted):
            alike = group.exact and group.key == accepted
            for shelf in group.shelves.values():
                if not shelf:
                    continue
                for below in (True, False):
                    seen = 4
                    while True:
                        items = (
                            shelf.before(rating - limit, seen)
                            if below
                            else shelf.after((rating + limit, math.inf), seen)
                        )
                        for other in items:
                            distance = abs(other.rating - rating)
                            if distance >= nearest:
                                break
                            if other.place < place and distance > limit and (alike or agree(accepted, other.signature)):
                                nearest = distance
                                break
                        else:
                            if len(items) == seen:
                                if seen < _SEEN:
                                    seen = _SEEN
                                    continue
                                nearest = max(abs(items[-1].rating - rating), self._step(limit))
                        break
        return nearest

    def _next_spread(self, ticket: Ticket, limit: float, lacking: int) -> float:
        """The least spread beyond a window that holds enough players and this ticket."""
        rating, place, accepted = ticket.rating, ticket.place, ticket.signature
        assert self._rules.window is not None
        seen = _SEEN + lacking
        sides: list[list[tuple[float, int]]] = [[], []]
        unseen = math.inf
        for group in self._index.groups(accepted):
            alike = group.exact and group.key == accepted
            for shelf in group.shelves.values():
                if not shelf:
                    continue
                for side, items in zip(
                    sides, (shelf.before(rating, seen), shelf.after((rating, -math.inf), seen)), strict=True
                ):
                    if len(items) == seen:
                        unseen = min(unseen, abs(items[-1].rating - rating))
                        if unseen <= limit and self._needed:
                            return self._step(limit)  # a crowd that lacks somebody: all of it need not be counted
                    side += [
                        (abs(other.rating - rating), other.size)
                        for other in items
                        if other.place < place and (alike or agree(accepted, other.signature))
                    ]
        least = math.inf if unseen == math.inf else max(unseen, self._step(limit))
        lefts, rights = sorted(sides[0]), sorted(sides[1])
        reaches: list[float] = [0.0]
        players = [0]
        for distance, size in rights:
            reaches.append(distance)
            players.append(players[-1] + size)
        together = 0
        for left, size in ((0.0, 0), *lefts):
            together += size
            if left > self._rules.window.most:
                break
            # The first on the other side with whom there are enough, and whose spread was not looked at already.
            enough = _first_with(players, lacking - together)
            beyond = bisect_right(reaches, limit - left)
            at = max(enough, beyond)
            # limit - left may be rounded: the spread itself decides.
            while at < len(reaches) and left + reaches[at] <= limit:
                at += 1
            if at < len(reaches):
                least = min(least, left + reaches[at])
            if left > limit and together >= lacking:
                least = min(least, left)
                break
        return least

    def _roles_within(self, ticket: Ticket) -> float:
        """The distance within which there is somebody for each role."""
        rating = ticket.rating
        farthest = 0.0
        for role, needed in self._needed:
            lacking = needed - able(ticket.kind, role)
            if lacking <= 0:
                continue
            distances: list[float] = []
            for group in self._index.groups(ticket.signature):
                for kind, shelf in group.shelves.items():
                    can = able(kind, role)
                    if can and shelf:
                        for other in (*shelf.before(rating, lacking), *shelf.after((rating, -math.inf), lacking)):
                            distances += [abs(other.rating - rating)] * can
            if len(distances) < lacking:
                return math.inf
            distances.sort()
            farthest = max(farthest, distances[lacking - 1])
        return farthest

    def _step(self, limit: float) -> float:
        assert self._rules.window is not None
        return min(self._rules.window.most, limit + (self._rules.window.most - self._rules.window.start) / _STEPS)


def _first_with(players: list[int], lacking: int) -> int:
    """The first index at which there are so many players."""
    for index, count in enumerate(players):
        if count >= lacking:
            return index
    return len(players)
