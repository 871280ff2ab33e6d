"""The rules that decide whether tickets may meet. Who asks why gets the answer of these very functions."""

import math
from collections.abc import Iterable

from .criteria import agree
from .queue import MatchQueue
from .shelf import Key
from .tickets import Backfill, Ticket

__all__ = ["Rules"]

_LONGEST_SCORE = 3600.0


class Rules:
    """One policy, as the matcher asks it.

    Args:
        queue: the policy.
    """

    def __init__(self, queue: MatchQueue) -> None:
        queue.shape = MatchQueue.shape_of(queue)
        self.queue = queue
        self.shape = queue.shape
        self.window = queue.window
        self.most = math.inf if queue.window is None else queue.window.most
        """How far windows ever reach."""
        self.latency = queue.latency
        self.max_wait = math.inf if queue.max_wait is None else queue.max_wait
        kind = type(queue)
        self.has_fits = kind.fits is not MatchQueue.fits
        self.has_score = kind.score is not MatchQueue.score
        self.scored = self.has_score or bool(queue.prefer)
        self.failure: Exception | None = None
        """The last that a hook raised, for whoever runs the matcher to tell."""

    # What a ticket may do by now.

    def reach(self, ticket: Ticket, now: float) -> float:
        """How far from its rating it looks."""
        return math.inf if self.window is None else self.window.after(now - ticket.since)

    def overdue(self, ticket: Ticket, now: float) -> bool:
        """Whether it has waited as long as it is to wait for a full match."""
        return now >= ticket.since + self.max_wait

    def regions(self, ticket: Ticket, now: float) -> frozenset[str] | None:
        """The regions that are near enough; None: regions don't matter."""
        if self.latency is None:
            return None
        limit = self.latency.after(now - ticket.since)
        return frozenset(region for region, seconds in ticket.round_trips.items() if seconds <= limit)

    # Whether two may meet.

    def limit(self, one: Ticket, other: Ticket, now: float) -> float:
        """How far apart the ratings of two may be: the window of who has waited less.

        It is within the other's too, which is at least as wide. With ``then='wider'``,
        one of them being overdue makes it as wide as windows get.
        """
        if self.window is None:
            return math.inf
        if self.queue.then == "wider" and (self.overdue(one, now) or self.overdue(other, now)):
            return self.most
        return self.window.after(now - max(one.since, other.since))

    def meet(self, one: Ticket, other: Ticket, now: float) -> bool:
        """Whether two tickets may be in one match."""
        return (
            agree(one.signature, other.signature)
            and abs(one.rating - other.rating) <= self.limit(one, other, now)
            and self.near(one, other, now)
            and self.wanted(one, other)
        )

    def near(self, one: Ticket, other: Ticket, now: float) -> bool:
        """Whether some region is near enough to both."""
        mine, theirs = self.regions(one, now), self.regions(other, now)
        return mine is None or theirs is None or not mine.isdisjoint(theirs)

    def wanted(self, one: Ticket, other: Ticket) -> bool:
        """What the policy's own ``fits`` says."""
        if not self.has_fits:
            return True
        try:
            return bool(self.queue.fits(one, other))
        except Exception as error:  # noqa: BLE001  # a user's hook: it costs this pair, never the queue
            self.failure = error
            return False

    def bonus(self, one: Ticket, other: Ticket) -> float:
        """Seconds of waiting that it makes up that these two meet."""
        seconds = 0.0
        for name, weight in self.queue.prefer.items():
            mine, theirs = one.criteria.get(name), other.criteria.get(name)
            if mine is not None and theirs is not None and not set(mine).isdisjoint(theirs):
                seconds += weight
        if self.has_score:
            try:
                score = float(self.queue.score(one, other))
            except Exception as error:  # noqa: BLE001  # a user's hook: it costs this pair, never the queue
                self.failure = error
                score = 0.0
            if math.isfinite(score):
                seconds += max(-_LONGEST_SCORE, min(_LONGEST_SCORE, score))
        return seconds

    def ordered(self, seed: Ticket, candidates: Iterable[Ticket]) -> list[Ticket]:
        """Who is to be tried first with a ticket: who has waited longest, preferences made up for."""
        if not self.scored:
            return sorted(candidates, key=_place)
        return sorted(candidates, key=lambda other: (other.since - self.bonus(seed, other), other.place))

    # Whether one may come into a room.

    def room_limit(self, ticket: Ticket, backfill: Backfill, now: float) -> float:
        """How far a room's rating may be from a ticket's: the window of who has waited less."""
        if self.window is None or backfill.rating is None:
            return math.inf
        return self.window.after(now - max(ticket.since, backfill.since))

    def room_near(self, ticket: Ticket, backfill: Backfill, now: float) -> bool:
        """Whether a room's region is near enough."""
        regions = self.regions(ticket, now)
        return regions is None or backfill.region in regions

    def enters(self, ticket: Ticket, backfill: Backfill, now: float) -> bool:
        """Whether a ticket may come into a room, places apart."""
        return (
            backfill.room not in ticket.shunned
            and agree(ticket.signature, backfill.signature)
            and (
                backfill.rating is None
                or abs(ticket.rating - backfill.rating) <= self.room_limit(ticket, backfill, now)
            )
            and self.room_near(ticket, backfill, now)
        )


def _place(ticket: Ticket) -> Key:
    return ticket.place
