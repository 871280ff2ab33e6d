"""How long to wait before trying to connect again."""

from collections.abc import Callable

__all__ = ["Backoff"]

_FIRST = 0.16
"""Seconds: the longest first delay. See docs/adr/0015."""


class Backoff:
    """Delays that grow and never agree with anybody else's.

    The first is a random 32 to 160 ms: few enough that one lost connection is made good
    before a player notices (ADR 15), and random so that the clients of a server that
    restarts do not come back at once. The bounds double, up to 1 and 5 s by default. (Equal
    jitter, as in "Exponential Backoff And Jitter", AWS Architecture Blog, 2015,
    with a wider band.)

    Args:
        random: gives a float in [0, 1).
        longest: seconds of the longest delay.
    """

    def __init__(self, random: Callable[[], float], longest: float = 5.0) -> None:
        self._random = random
        self._longest = longest
        self.attempts = 0

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        longest = min(self._longest, _FIRST * 2.0 ** min(self.attempts, 5))  # a float has no 2.0**1024
        self.attempts += 1
        return longest * (0.2 + 0.8 * self._random())

    def reset(self) -> None:
        """It worked: begin from the shortest delay next time."""
        self.attempts = 0
