"""How long it took lately: what an estimate goes by."""

from bisect import bisect_right
from collections import deque

__all__ = ["Waits"]

_KEPT = 256


class Waits:
    """The waits of those who were matched last."""

    def __init__(self) -> None:
        self._waits: deque[float] = deque(maxlen=_KEPT)
        self._sorted: list[float] | None = None

    def add(self, waited: float) -> None:
        """Somebody was matched after so many seconds."""
        self._waits.append(waited)
        self._sorted = None

    def estimate(self, waited: float) -> float | None:
        """Seconds that are left for who has waited so long already.

        The median of those who waited longer than that; None: nobody did, lately.
        """
        if self._sorted is None:
            self._sorted = sorted(self._waits)
        first, count = bisect_right(self._sorted, waited), len(self._sorted)
        return self._sorted[(first + count) // 2] - waited if first < count else None
