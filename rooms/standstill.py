"""When a process was held up, or stood still: for how long it heard nobody, and for how long it waits once more."""

__all__ = ["Standstill", "respite"]

_USUAL = 1.0
"""Seconds between two looks."""
_LATE = 1.0
"""Seconds more, from which on it was held up: less costs nobody who is alive."""
_HELD_UP = 0.1
"""Seconds by which a deadline is met late then."""
_LEAST_RESPITE = 1.0
"""What has come meanwhile is read within these seconds."""
_MOST_RESPITES = 3
"""How often: a process that is always late does not keep things for ever."""


def respite(deadline: float, now: float, before: int, longest: float, most: int = _MOST_RESPITES) -> float | None:
    """Until when a client is waited for once more whose time ran out while this process was late, or stood still: what
    it has said may be unread.

    Args:
        deadline: when its time was over, monotonic seconds.
        now: when that is noticed.
        before: how often it was waited for once more already.
        longest: seconds that it is waited for now.
        most: how often that may be.

    Returns:
        Monotonic seconds; None: its time is over.
    """
    late = now - deadline
    if late < _HELD_UP or before >= most:
        return None
    return now + min(max(late, _LEAST_RESPITE), longest)


class Standstill:
    """Told of each look, which comes once a second, it says how much of the time since the one before was missed."""

    def __init__(self) -> None:
        self._last: float | None = None

    def missed(self, now: float) -> float:
        """Seconds in which nobody could be heard since the last look; 0 where it came in time."""
        since = now - self._last if self._last is not None else 0.0
        self._last = now
        return since - _USUAL if since > _USUAL + _LATE else 0.0
