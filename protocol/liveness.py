"""When to give a peer up."""

__all__ = ["Liveness"]


class Liveness:
    """One side's view of the other: any frame is a sign of life.

    Args:
        timeout: seconds of silence after which ``is_dead`` is true.
        now: monotonic seconds.
    """

    __slots__ = ("_heard", "timeout")

    def __init__(self, timeout: float, now: float) -> None:
        self.timeout = timeout
        self._heard = now

    def heard(self, now: float) -> None:
        """Something came from the peer."""
        self._heard = now

    def is_dead(self, now: float) -> bool:
        """Whether the last sign of life is ``timeout`` old."""
        return now - self._heard >= self.timeout
