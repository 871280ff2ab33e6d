"""A window: how far apart two may be, which grows with waiting."""

import math
from dataclasses import dataclass

from ...protocol.errors import ConfigError

__all__ = ["Window"]

_EARLY = 1e-6
"""Seconds that a window runs ahead, so that what it is to hold at a time that was worked out it does hold then."""


@dataclass(frozen=True, slots=True)
class Window:
    """A distance that grows evenly with waiting, up to a bound.

    Args:
        start: the distance at once, in the unit of what is compared (points of rating; seconds of round trip).
        per_second: how much it grows with each second of waiting.
        most: where it stops growing. Without it, and without growth, it stays at ``start``.

    Raises:
        ConfigError: a number is negative or not finite, or ``most`` is below ``start``.
    """

    start: float
    per_second: float = 0.0
    most: float = -1.0

    def __post_init__(self) -> None:
        if self.most == -1.0 and self.per_second == 0:
            object.__setattr__(self, "most", self.start)
        for name in ("start", "per_second", "most"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise ConfigError(f"Window: {name} is a finite number from 0 up, not {value!r:.40}")
        if self.most < self.start:
            raise ConfigError(f"Window: most ({self.most}) is below start ({self.start})")
        if self.per_second == 0 and self.most > self.start:
            raise ConfigError("Window: most is above start, and per_second is 0: it would never get there")

    def after(self, waited: float) -> float:
        """How far it reaches after so many seconds of waiting."""
        return min(self.most, self.start + self.per_second * (max(0.0, waited) + _EARLY))

    def reached(self, distance: float) -> float:
        """After how many seconds of waiting it reaches so far; infinite if never."""
        if distance <= self.start:
            return 0.0
        if distance > self.most:
            return math.inf
        return (distance - self.start) / self.per_second
