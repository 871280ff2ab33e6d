"""What broker and worker say to each other about rooms.

Plain values, so that they can cross a socket as well as a function call.
"""

from typing import Any, NamedTuple

from ..protocol.names import ClientData
from ..protocol.rulesets import RuleSet

__all__ = [
    "OpenRoom",
    "Refused",
    "ReleaseSeats",
    "ReserveSeats",
    "Reserved",
    "RoomEnded",
    "RoomReport",
    "RoomUpdated",
    "SeatWish",
    "Seated",
    "Unseated",
]


class SeatWish(NamedTuple):
    """A seat that the broker wants for a session."""

    session: str
    client: ClientData
    options: dict[str, Any]


class OpenRoom(NamedTuple):
    """broker → worker: make a room and hold these seats. Answer: Reserved or Refused."""

    ask: int
    room: str
    ruleset: RuleSet
    options: dict[str, Any]
    matched: bool
    seats: list[SeatWish]


class ReserveSeats(NamedTuple):
    """broker → worker: hold these seats in a room that is there. Answer: Reserved or Refused."""

    ask: int
    room: str
    seats: list[SeatWish]


class ReleaseSeats(NamedTuple):
    """broker → worker: a session gives up its seats in these rooms, joined or reserved."""

    session: str
    rooms: list[str]


class Reserved(NamedTuple):
    """worker → broker: one reservation for each wish, in order; each is good for ``timeout`` seconds."""

    ask: int
    room: str
    reservations: list[bytes]
    timeout: float


class Refused(NamedTuple):
    """worker → broker: no seat was taken, no room was made."""

    ask: int
    code: int
    text: str


class RoomUpdated(NamedTuple):
    """worker → broker: what the directory knows of a room has changed."""

    room: str
    type: str
    clients: int
    free: int
    max_clients: int
    locked: bool
    metadata: dict[str, Any]


class Seated(NamedTuple):
    """worker → broker: this session has joined the room."""

    room: str
    session: str


class Unseated(NamedTuple):
    """worker → broker: this session is no member of the room any more."""

    room: str
    session: str


class RoomEnded(NamedTuple):
    """worker → broker: the room is no more."""

    room: str


RoomReport = Reserved | Refused | RoomUpdated | Seated | Unseated | RoomEnded
