"""How often something may happen."""

__all__ = ["TokenBucket"]


class TokenBucket:
    """Allows ``rate`` events a second and ``burst`` at once.

    The usual token bucket, kept as the time at which it would be full again
    (the generic cell rate algorithm, ITU-T I.371): one float, no refill.
    """

    __slots__ = ("_full_at", "_span", "_step")

    def __init__(self, rate: float, burst: int) -> None:
        self._step = 1.0 / rate
        # A thousandth of an event more, so that rounding at large times refuses nobody.
        self._span = (burst + 0.001) * self._step
        self._full_at = 0.0

    def allow(self, now: float) -> bool:
        """Whether one more event may happen at ``now`` (monotonic seconds); if so, it is counted."""
        full_at = (self._full_at if self._full_at > now else now) + self._step
        if full_at - now > self._span:
            return False
        self._full_at = full_at
        return True
