"""The life of a room.

creating ──open──▶ open ──close──▶ closing ──dispose──▶ disposed
    │                                                      ▲
    └───────────────────────fail───────────────────────────┘
"""

from enum import Enum

from ..protocol.lifecycle import Table

__all__ = ["ROOM", "RoomEvent", "RoomState"]


class RoomState(Enum):
    """Where a room is in its life."""

    CREATING = "creating"
    OPEN = "open"
    CLOSING = "closing"
    DISPOSED = "disposed"


class RoomEvent(Enum):
    """What happens to a room."""

    OPEN = "open"
    FAIL = "fail"
    CLOSE = "close"
    DISPOSE = "dispose"


ROOM: Table[RoomState, RoomEvent] = {
    RoomState.CREATING: {RoomEvent.OPEN: RoomState.OPEN, RoomEvent.FAIL: RoomState.DISPOSED},
    RoomState.OPEN: {RoomEvent.CLOSE: RoomState.CLOSING},
    RoomState.CLOSING: {RoomEvent.DISPOSE: RoomState.DISPOSED},
    RoomState.DISPOSED: {},
}
