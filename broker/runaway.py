"""When a worker process takes too much: memory over its limit, or a loop that spins and no longer turns."""

__all__ = ["Runaway"]

_BUSY = 0.2
"""The part of the silence that must be CPU time. A loop that turns says so each second, for which a few milliseconds
are enough: less is no sign of innocence, but of a crowded machine. On one with a load of six on two cores, a room that
spun got less than half."""
_HELD_UP = 2.0
"""Seconds between two looks after which it was us who slept, and what we did not hear proves nothing."""


class Runaway:
    """Judges one worker process.

    A loop that is silent and uses no CPU waits, or was stopped: that is for its
    lease to decide, not for us.

    Args:
        memory: bytes that it may hold; None for no limit.
        stall: seconds that its loop may be silent while it computes; None for no limit.
    """

    def __init__(self, memory: int | None, stall: float | None) -> None:
        self._memory = memory
        self._stall = stall
        self._heard: tuple[float, float] | None = None
        self._looked: float | None = None

    def alive(self, now: float, cpu: float) -> None:
        """Its loop turned; ``cpu`` seconds has the process computed so far. The watch begins with the first call."""
        self._heard = now, cpu

    def judge(self, now: float, memory: int, cpu: float) -> str | None:
        """What is wrong with it, in words, or None.

        Args:
            now: the time.
            memory: bytes that it holds.
            cpu: seconds that it has computed.
        """
        if self._looked is not None and now - self._looked > _HELD_UP and self._heard is not None:
            self._heard = now, cpu
        self._looked = now
        if self._memory is not None and memory > self._memory:
            return f"it holds {memory / 2**20:.1f} MiB, and may hold {self._memory / 2**20:.1f}"
        if self._stall is None or self._heard is None:
            return None
        silence, computed = now - self._heard[0], cpu - self._heard[1]
        if silence >= self._stall and computed >= _BUSY * silence:
            return (
                f"its loop has not turned for {silence:.1f} s while it computed for {computed:.1f} s, "
                f"and may be away for {self._stall:.1f}"
            )
        return None
