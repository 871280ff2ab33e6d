"""How memory and descriptors of a process grow over its life."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Sample", "Slope", "slope_of"]

WARM_UP = 180.0
"""Seconds of each life that do not count: modules, pools and caches fill."""
LEAST = 600.0
"""Seconds that a life has to last for its slope to say something."""


class Sample(NamedTuple):
    """One look at a process."""

    time: float
    """Seconds."""
    rss: float
    """MiB."""
    fds: float


class Slope(NamedTuple):
    """Growth over one life."""

    seconds: float
    """How long the life was."""
    first: Sample
    """Where the fit begins."""
    last: Sample
    rss: float | None
    """MiB an hour; None: too short a life."""
    fds: float | None
    """Descriptors an hour."""


def slope_of(samples: Sequence[Sample], warm_up: float = WARM_UP, least: float = LEAST) -> Slope:
    """The least-squares slope of one life.

    Args:
        samples: in order of time; at least one.
        warm_up: seconds that are left out at the beginning.
        least: seconds that the life has to last.
    """
    begin, end = samples[0].time, samples[-1].time
    fitted = [sample for sample in samples if sample.time >= begin + warm_up]
    if end - begin < least or len(fitted) < 3:
        return Slope(end - begin, samples[0], samples[-1], None, None)
    times = [sample.time / 3600.0 for sample in fitted]
    return Slope(
        end - begin,
        fitted[0],
        fitted[-1],
        _fit(times, [sample.rss for sample in fitted]),
        _fit(times, [sample.fds for sample in fitted]),
    )


def _fit(xs: Sequence[float], ys: Sequence[float]) -> float:
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
