"""When tickets come: at a rate, or as they were recorded."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from ..protocol.errors import ConfigError

__all__ = ["Daily", "Even", "Poisson", "Rate", "parse_rate"]

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}
_DAY = 86400.0
_FASTEST = 100_000.0
"""Tickets a second."""
_RATE = re.compile(r"(?:(poisson|daily):)?(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?/(s|min|h|day)")


@dataclass(frozen=True, slots=True)
class Even:
    """One after the other, in even steps. ``rate`` is a second."""

    rate: float

    def times(self, random: Random, until: float) -> Iterator[float]:
        """Seconds from the beginning; ``until`` is not reached."""
        count = 0
        while (at := count / self.rate) < until:
            yield at
            count += 1


@dataclass(frozen=True, slots=True)
class Poisson:
    """Whenever it happens, independent of each other, as people come. ``rate`` is a second, in the mean."""

    rate: float

    def times(self, random: Random, until: float) -> Iterator[float]:
        """Seconds from the beginning; ``until`` is not reached."""
        at = random.expovariate(self.rate)
        while at < until:
            yield at
            at += random.expovariate(self.rate)


@dataclass(frozen=True, slots=True)
class Daily:
    """As people come over a day: a wave from ``low`` to ``high`` a second and back. It begins at the lowest."""

    low: float
    high: float

    def times(self, random: Random, until: float) -> Iterator[float]:
        """Seconds from the beginning; ``until`` is not reached."""
        # By thinning (Lewis and Shedler, 1979): as many as at the highest, of which so many stay as the hour has.
        for at in Poisson(self.high).times(random, until):
            share = (1 - math.cos(2 * math.pi * at / _DAY)) / 2
            if random.random() * self.high < self.low + share * (self.high - self.low):
                yield at


Rate = Even | Poisson | Daily


def parse_rate(text: str) -> Rate | None:
    """``600/h``, ``poisson:10/s`` or ``daily:100-2000/h``; None if it does not look like one of them.

    Raises:
        ConfigError: a rate of nothing, too high, or a range where there is none.
    """
    found = _RATE.fullmatch(text)
    if found is None:
        return None
    kind, first, second, unit = found.groups()
    low = float(first) / _SECONDS[unit]
    high = low if second is None else float(second) / _SECONDS[unit]
    if (kind == "daily") != (second is not None):
        raise ConfigError(
            f"{text!r:.60}: a day has a lowest and a highest rate, like daily:100-2000/h; others have one."
        )
    if not 0 < high <= _FASTEST or low > high:
        raise ConfigError(
            f"{text!r:.60}: a rate is above 0 and at most {_FASTEST:,.0f}/s, and the lower one comes first."
        )
    if kind == "daily":
        return Daily(low, high)
    return Poisson(high) if kind == "poisson" else Even(high)
