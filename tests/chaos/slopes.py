"""How memory and descriptors of a process grow over its life.

What a leak raises is the floor, not the peaks: a fault fills queues and histories
for a while, and the allocator gives back what they took when it likes. So each
minute counts by its lowest sample, and the slope is the median of the slopes
between all pairs of minutes (Theil, 1950; Sen, Journal of the American Statistical
Association 63, 1968), which some odd minutes do not move.
"""

import itertools
import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

__all__ = ["Line", "Sample", "Slope", "slope_of"]

WARM_UP = 900.0
"""Seconds of each life that do not count: modules, pools and caches fill."""
LEAST = 1800.0
"""Seconds that a life has to last for its slope to say something."""
_MINUTE = 60.0
_MOST_POINTS = 300
"""Of a longer life, points are farther apart: the pairs grow with the square of their number."""
_NORMAL_90 = 1.645
"""Standard deviations on either side of the middle that hold 90 % of a normal distribution."""


class Sample(NamedTuple):
    """One look at a process."""

    time: float
    """Seconds."""
    rss: float
    """MiB."""
    fds: float


class Line(NamedTuple):
    """Growth an hour."""

    slope: float
    low: float
    """By Sen's test, nine of ten times the slope is between these two. Neighbouring minutes are taken for
    independent, which they are not quite: it is somewhat wider in truth."""
    high: float


class Slope(NamedTuple):
    """Growth over one life."""

    seconds: float
    """How long the life was."""
    first: Sample
    """Where the fit begins."""
    last: Sample
    rss: Line | None
    """MiB an hour; None: too short a life."""
    fds: Line | None
    """Descriptors an hour."""


def slope_of(samples: Sequence[Sample], warm_up: float = WARM_UP, least: float = LEAST) -> Slope:
    """The slope of the floor of one life.

    Args:
        samples: in order of time; at least one.
        warm_up: seconds that are left out at the beginning.
        least: seconds that the life has to last.
    """
    begin, end = samples[0].time, samples[-1].time
    fitted = [sample for sample in samples if sample.time >= begin + warm_up]
    if end - begin < least or not fitted:
        return Slope(end - begin, samples[0], samples[-1], None, None)
    every = max(_MINUTE, (end - fitted[0].time) / _MOST_POINTS)
    minutes = [list(some) for _, some in itertools.groupby(fitted, lambda one: (one.time - fitted[0].time) // every)]
    if minutes[-1][-1].time - minutes[-1][0].time < every / 2:
        minutes.pop()  # too little of it to have seen its floor
    return Slope(
        end - begin,
        fitted[0],
        fitted[-1],
        _line([min((one.rss, one.time) for one in some) for some in minutes]),
        _line([min((one.fds, one.time) for one in some) for some in minutes]),
    )


def _line(points: Sequence[tuple[float, float]]) -> Line | None:
    """The line through points of a value and its time in seconds; None: there are too few."""
    slopes = sorted((y2 - y1) / (x2 - x1) * 3600.0 for (y1, x1), (y2, x2) in itertools.combinations(points, 2))
    if len(points) < 3:
        return None
    count = len(points)
    spread = _NORMAL_90 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, math.floor((len(slopes) - spread) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + spread) / 2))
    return Line(median(slopes), slopes[low], slopes[high])
