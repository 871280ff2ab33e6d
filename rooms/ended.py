"""Rooms that are over: what they said last is kept for a while, for those who have not got it; why, for longer."""

from ..protocol.alarms import AlarmClock
from ..protocol.errors import Code, RemoteError, RoomNotFound, WorkerLost, error_for
from ..protocol.recent import Recent
from .farewells import KEPT, Farewells

__all__ = ["EndedRooms"]

_MOST = 4096
_MOST_KEPT = 64 * 1024 * 1024
"""Rooms, and bytes, about, that are kept at once; the oldest are forgotten first."""
_MOST_CODES = 4096
_CODE_KEPT = 600.0
"""Rooms of which no more is known than why they ended, and seconds for which that is kept: up to 2 MiB. Members ask
within a minute: for more to be needed, 68 rooms have to end each second."""


class EndedRooms:
    """Those of one worker.

    Args:
        clock: calls back when their time is over.
    """

    __slots__ = ("_clock", "_codes", "_kept", "_size")

    def __init__(self, clock: AlarmClock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[Farewells, int]] = {}
        """By id, the oldest first, with their bytes."""
        self._size = 0
        self._codes: Recent[str, Code] = Recent(_MOST_CODES, _CODE_KEPT)
        """Why rooms ended."""

    def keep(self, room: str, farewells: Farewells, code: Code) -> None:
        """A room is over; ``code`` says why."""
        self._codes.put(room, code, self._clock.now)
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

    def why(self, room: str) -> RemoteError:
        """Why a room is not here, for one of its members."""
        code = self._codes.get(room)
        if code is not None:
            return error_for(int(code))  # what was said about it is the members' own; the code is no secret
        if self._codes.forgot:
            return RoomNotFound()
        return WorkerLost("the room is gone: its worker was started anew")

    def clear(self) -> None:
        """Forget all of them."""
        self._codes.clear()
        for room in list(self._kept):
            self._forget(room)

    def _forget(self, room: str) -> None:
        self._clock.clear_alarm(self._forget, room)
        farewells, size = self._kept.pop(room)
        self._size -= size
        farewells.forget()
