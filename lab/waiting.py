"""What became of those who waited in a queue: counted during a simulation, and read as figures after it."""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Counts", "Longest", "QueueFigures", "Spread", "percentile", "waits_by_rating"]


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The least value that so many per cent do not exceed (nearest rank); None of nothing.

    Args:
        ordered: values, growing.
        percent: from 0 to 100.
    """
    if not ordered:
        return None
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of something; None where nothing was counted."""

    p50: float | None
    p90: float | None
    p99: float | None
    most: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of values in any order."""
        ordered = sorted(values)
        return cls(*(percentile(ordered, percent) for percent in (50, 90, 99, 100)))


@dataclass(frozen=True, slots=True)
class Longest:
    """The ticket that waited longest."""

    wait: float
    rating: float
    ended: str


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """One policy with one crowd. Times are seconds, ratings as they were given."""

    policy: str
    seconds: float
    """How long it ran."""
    tickets: int
    players: int
    ended: dict[str, int]
    """How many tickets ended how: matched, cancelled or refused; or were still waiting."""
    matched: float
    """Shares of all tickets; those that still waited when it was over are in neither."""
    unmatched: float
    matches: int
    short: int
    """Matches with fewer players than the policy wants at most."""
    bots: int
    """In all matches."""
    wait: Spread
    """Of the tickets that were matched."""
    longest: Longest | None
    """Of all, however they ended."""
    rating_spread: Spread
    """From the lowest to the highest rating of a match."""
    team_gap: Spread
    """From the weakest to the strongest team of a match, by their mean ratings."""
    waiting: Spread
    """Tickets in the queue, over the time."""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


@dataclass(slots=True)
class Counts:
    """What is counted while it happens."""

    policy: str
    waits: "array[float]" = field(default_factory=lambda: array("d"))
    """One for each ticket that has ended, with ``ratings`` and ``matched``: whether it was."""
    ratings: "array[float]" = field(default_factory=lambda: array("d"))
    matched: bytearray = field(default_factory=bytearray)
    spreads: "array[float]" = field(default_factory=lambda: array("d"))
    """One for each match of two players or more."""
    gaps: "array[float]" = field(default_factory=lambda: array("d"))
    """One for each match of two teams or more."""
    moments: "array[float]" = field(default_factory=lambda: array("d"))
    """When it was counted how many wait."""
    waiting: "array[float]" = field(default_factory=lambda: array("d"))
    ended: Counter[str] = field(default_factory=Counter[str])
    players: int = 0
    matches: int = 0
    short: int = 0
    bots: int = 0
    now: float = 0.0
    longest: Longest | None = None

    def end(self, how: str, wait: float, rating: float, players: int) -> None:
        """A ticket has ended.

        Args:
            how: matched, cancelled or refused; waiting, if it was still there when all was over.
            wait: seconds since it came.
            rating: the mean of its players.
            players: who they are.
        """
        self.ended[how] += 1
        self.players += players
        self.waits.append(wait)
        self.ratings.append(rating)
        self.matched.append(how == "matched")
        if self.longest is None or wait > self.longest.wait:
            self.longest = Longest(wait, rating, how)

    def match(self, teams: Sequence[Sequence[float]], *, short: bool, bots: int) -> None:
        """A match was made.

        Args:
            teams: the ratings of the players in each.
            short: whether it has fewer players than the policy wants at most.
            bots: that fill it up.
        """
        self.matches += 1
        self.short += short
        self.bots += bots
        everybody = [rating for team in teams for rating in team]
        if len(everybody) > 1:
            self.spreads.append(max(everybody) - min(everybody))
        means = [sum(team) / len(team) for team in teams if team]
        if len(means) > 1:
            self.gaps.append(max(means) - min(means))

    def sample(self, now: float, waiting: int) -> None:
        """So many tickets wait now."""
        self.moments.append(now)
        self.waiting.append(waiting)

    def figures(self) -> QueueFigures:
        """What it came to."""
        tickets = len(self.waits)
        return QueueFigures(
            policy=self.policy,
            seconds=self.now,
            tickets=tickets,
            players=self.players,
            ended=dict(self.ended.most_common()),
            matched=self.ended["matched"] / max(1, tickets),
            unmatched=(tickets - self.ended["matched"] - self.ended["waiting"]) / max(1, tickets),
            matches=self.matches,
            short=self.short,
            bots=self.bots,
            wait=Spread.of([wait for wait, matched in zip(self.waits, self.matched, strict=True) if matched]),
            longest=self.longest,
            rating_spread=Spread.of(self.spreads),
            team_gap=Spread.of(self.gaps),
            waiting=Spread.of(self.waiting),
        )


def waits_by_rating(
    counts: Counts, percent: float, *, groups: int = 20, least: int = 10
) -> tuple[list[float], list[float]]:
    """How long a percentile of those with about the same rating waited, however they ended.

    Args:
        counts: of a run.
        percent: of the waits of a group.
        groups: of equal width, from the lowest rating to the highest.
        least: tickets of a group that is told: of fewer, a percentile says nothing.

    Returns:
        The middle of each group, and the wait.
    """
    if not counts.ratings:
        return [], []
    low, high = min(counts.ratings), max(counts.ratings)
    edges = [low + (high - low) * (index + 1) / groups for index in range(groups)]
    waits: list[list[float]] = [[] for _ in range(groups)]
    for wait, rating in zip(counts.waits, counts.ratings, strict=True):
        waits[min(bisect_left(edges, rating), groups - 1)].append(wait)
    middles: list[float] = []
    told: list[float] = []
    for edge, group in zip(edges, waits, strict=True):
        if len(group) >= least:
            middles.append(edge - (high - low) / groups / 2)
            told.append(percentile(sorted(group), percent) or 0.0)
    return middles, told
