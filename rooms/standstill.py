"""For how long a process heard nobody because it was held up itself, or stood still."""

__all__ = ["Standstill"]

_USUAL = 1.0
"""Seconds between two looks."""
_LATE = 1.0
"""Seconds more, from which on it was held up: less costs nobody who is alive."""


class Standstill:
    """Told of each look, which comes once a second, it says how much of the time since the one before was missed."""

    def __init__(self) -> None:
        self._last: float | None = None

    def missed(self, now: float) -> float:
        """Seconds in which nobody could be heard since the last look; 0 where it came in time."""
        since = now - self._last if self._last is not None else 0.0
        self._last = now
        return since - _USUAL if since > _USUAL + _LATE else 0.0
