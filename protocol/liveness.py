"""When to ask for a sign of life, and when to give a peer up."""

__all__ = ["Liveness"]


class Liveness:
    """One side's view of the other: any frame is a sign of life.

    Args:
        interval: seconds of silence after which ``should_ping`` is true.
        timeout: seconds of silence after which ``is_dead`` is true.
        now: monotonic seconds.
    """

    __slots__ = ("_heard", "_pinged", "interval", "timeout")

    def __init__(self, interval: float, timeout: float, now: float) -> None:
        self.interval = interval
        self.timeout = timeout
        self._heard = now
        self._pinged = now

    def heard(self, now: float) -> None:
        """Something came from the peer."""
        self._heard = now

    def pinged(self, now: float) -> None:
        """We asked for a sign of life."""
        self._pinged = now

    def should_ping(self, now: float) -> bool:
        """Whether both the last sign and the last question are ``interval`` old."""
        return now - max(self._heard, self._pinged) >= self.interval

    def is_dead(self, now: float) -> bool:
        """Whether the last sign of life is ``timeout`` old."""
        return now - self._heard >= self.timeout
