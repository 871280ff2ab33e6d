"""Rooms that are over: what they said last is kept for a while, for those who have not got it."""

from .farewells import KEPT, Farewells
from .timers import AlarmClock

__all__ = ["EndedRooms"]

_MOST = 4096
_MOST_KEPT = 64 * 1024 * 1024
"""Rooms, and bytes, about, that are kept at once; the oldest are forgotten first."""


class EndedRooms:
    """Those of one worker.

    Args:
        clock: calls back when their time is over.
    """

    __slots__ = ("_clock", "_kept", "_size")

    def __init__(self, clock: AlarmClock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[Farewells, int]] = {}
        """By id, the oldest first, with their bytes."""
        self._size = 0

    def keep(self, room: str, farewells: Farewells) -> None:
        """A room is over."""
        if not farewells:
            return
        size = farewells.size
        self._kept[room] = farewells, size
        self._size += size
        self._clock.alarm(self._clock.now + KEPT, self._forget, room)
        while len(self._kept) > _MOST or self._size > _MOST_KEPT:
            self._forget(next(iter(self._kept)))

    def get(self, room: str) -> Farewells | None:
        """What is kept of a room."""
        kept = self._kept.get(room)
        return kept[0] if kept is not None else None

    def clear(self) -> None:
        """Forget all of them."""
        for room in list(self._kept):
            self._forget(room)

    def _forget(self, room: str) -> None:
        self._clock.clear_alarm(self._forget, room)
        farewells, size = self._kept.pop(room)
        self._size -= size
        farewells.forget()
