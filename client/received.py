"""What a client gets."""

from typing import Any, NamedTuple

from ..protocol.streams import Position

__all__ = ["Received"]


class Received(NamedTuple):
    """What a client gets from a room, or from the server."""

    type: str
    """The message type; for presence ``join``, ``drop``, ``reconnect`` or ``leave``."""
    data: Any
    """What was sent; for presence the client's number; for a reset the room's snapshot."""
    position: Position
    """Where it stands in the stream."""
    kind: str
    """``broadcast``, ``direct``, ``presence`` or ``reset``: messages are missing before this one."""
