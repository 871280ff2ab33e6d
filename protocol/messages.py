"""Every message: its kind, its fields in order, and what each may hold.

One message is one ZeroMQ frame: a msgpack array ``[kind, field, ...]``. The
named tuples below are the only description of the fields: ``parse`` checks what
a peer sent against their annotations, ``encode`` writes them, and
``docs/protocol.md`` is compared with them by a test.

Messages that carry a room's traffic by the thousand (SEND and DELIVER) are
described here as well; the port and the fan-out read and write them in place.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

from .codec import pack
from .errors import BadMessage, UnknownKind

__all__ = [
    "VERSION",
    "Ack",
    "Assigned",
    "Cancel",
    "Create",
    "Deliver",
    "Error",
    "Goodbye",
    "Hello",
    "Item",
    "Join",
    "JoinById",
    "Joined",
    "Kind",
    "Leave",
    "LeftRoom",
    "ListRooms",
    "Match",
    "Message",
    "Ping",
    "Pong",
    "Recover",
    "Request",
    "Reset",
    "Resume",
    "Rooms",
    "Send",
    "Ticket",
    "Welcome",
    "bundle",
    "encode",
    "encode_item",
    "parse",
]

VERSION = 1
"""The protocol's version that this package speaks."""


class Kind(IntEnum):
    """First element of every message."""

    HELLO = 1
    RESUME = 2
    WELCOME = 3
    PING = 4
    PONG = 5
    GOODBYE = 6
    ERROR = 7

    MATCH = 16
    CANCEL = 17
    CREATE = 18
    JOIN_BY_ID = 19
    LIST = 20
    TICKET = 21
    ASSIGNED = 22
    ROOMS = 23

    JOIN = 32
    RECOVER = 33
    LEAVE = 34
    JOINED = 35
    RESET = 36
    LEFT = 37
    SEND = 40
    REQUEST = 41
    ACK = 42
    DELIVER = 43


class Item(IntEnum):
    """First element of every item of a bundle."""

    BROADCAST = 0
    SKIP = 1
    DIRECT = 2
    REPLY = 3
    FAILURE = 4
    PRESENCE = 5


@dataclass(frozen=True, slots=True)
class _Field:
    """What a field may hold: the words of the documentation, and the check."""

    label: str
    accepts: Callable[[Any], bool]


def _uint(bits: int) -> _Field:
    most = (1 << bits) - 1
    return _Field(f"uint{bits}", lambda value: type(value) is int and 0 <= value <= most)


def _text(most: int) -> _Field:
    return _Field(f"str, at most {most} characters", lambda value: type(value) is str and len(value) <= most)


def _optional(field: _Field) -> _Field:
    return _Field(f"{field.label}, or nil", lambda value: value is None or field.accepts(value))


_BIN16 = _Field("bin, 16 bytes", lambda value: type(value) is bytes and len(value) == 16)
_MAP = _Field("map with str keys", lambda value: type(value) is dict and all(type(key) is str for key in value))
_ARRAY = _Field("array", lambda value: type(value) is list)
_ANY = _Field("any", lambda value: True)
_BOOL = _Field("bool", lambda value: type(value) is bool)
_SECONDS = _Field("seconds, over 0", lambda value: type(value) in (int, float) and 0 < value < 1e9)
_VERSIONS = _Field(
    "array of uint16, 1 to 16 of them",
    lambda value: type(value) is list and 1 <= len(value) <= 16 and all(_uint(16).accepts(item) for item in value),
)

Ref = Annotated[int, _uint(32)]
Number = Annotated[int, _uint(53)]
Epoch = Annotated[int, _uint(53)]
Ask = Annotated[int, _uint(32)]
Secret = Annotated[bytes, _BIN16]
SessionId = Annotated[str, _text(32)]
RoomId = Annotated[str, _text(32)]
TypeName = Annotated[str, _text(64)]
Sentence = Annotated[str, _text(512)]
Map = Annotated[dict[str, Any], _MAP]
Data = Annotated[Any, _ANY]
Seconds = Annotated[float, _SECONDS]


class Hello(NamedTuple):
    """client → broker: open a session. Answer: WELCOME, or GOODBYE with a code."""

    ask: Ask
    versions: Annotated[list[int], _VERSIONS]
    software: TypeName
    options: Map


class Resume(NamedTuple):
    """client → broker: take a session back on this connection. Answer: WELCOME, or GOODBYE."""

    ask: Ask
    versions: Annotated[list[int], _VERSIONS]
    session: SessionId
    token: Secret
    direct: Number


class Welcome(NamedTuple):
    """broker → client: the session is open on this connection."""

    ask: Ask
    version: Annotated[int, _uint(16)]
    ref: Ref
    session: SessionId
    token: Secret
    client_id: Number
    address: TypeName
    epoch: Epoch
    direct: Number
    uplink: Number
    resumed: Annotated[bool, _BOOL]
    limits: Map


class Ping(NamedTuple):
    """client → server: a sign of life. Answer: PONG with the same number."""

    number: Number


class Pong(NamedTuple):
    """server → client: the answer to PING."""

    number: Number


class Goodbye(NamedTuple):
    """both ways: the session ends, with its memberships. From a server with ref 0: the whole connection."""

    ref: Ref
    code: Annotated[int, _uint(16)]
    text: Sentence


class Error(NamedTuple):
    """server → client: a request or message failed, and nothing else did."""

    ref: Ref
    ask: Number
    code: Annotated[int, _uint(16)]
    text: Sentence
    data: Data


class Match(NamedTuple):
    """client → broker: be matched. Answer: TICKET if it takes longer; in the end ASSIGNED or ERROR."""

    ref: Ref
    ask: Ask
    ruleset: Annotated[list[Any], _ARRAY]
    options: Map
    timeout: Seconds


class Cancel(NamedTuple):
    """client → broker: give up the ticket of MATCH ``ask``. Answer: ERROR 1021 for that MATCH."""

    ref: Ref
    ask: Ask


class Create(NamedTuple):
    """client → broker: make a room and take a seat in it. Answer: ASSIGNED or ERROR."""

    ref: Ref
    ask: Ask
    ruleset: Annotated[list[Any], _ARRAY]
    options: Map


class JoinById(NamedTuple):
    """client → broker: take a seat in this room. Answer: ASSIGNED or ERROR."""

    ref: Ref
    ask: Ask
    room: RoomId
    options: Map


class ListRooms(NamedTuple):
    """client → broker: which rooms are there. Answer: ROOMS."""

    ref: Ref
    ask: Ask
    type: Annotated[str | None, _optional(_text(64))]


class Ticket(NamedTuple):
    """broker → client: waiting for a match until the deadline, ``timeout`` seconds from now."""

    ref: Ref
    ask: Ask
    timeout: Seconds


class Assigned(NamedTuple):
    """broker → client: a seat is reserved; JOIN it at ``endpoint`` (nil: this connection) within ``timeout``."""

    ref: Ref
    ask: Ask
    room: RoomId
    endpoint: Annotated[str | None, _optional(_text(256))]
    reservation: Secret
    timeout: Seconds


class Rooms(NamedTuple):
    """broker → client: the rooms that are not unlisted, one map each."""

    ref: Ref
    ask: Ask
    rooms: Annotated[list[Any], _ARRAY]


class Join(NamedTuple):
    """client → worker: consume a seat reservation. Answer: JOINED or ERROR."""

    ask: Ask
    room: RoomId
    reservation: Secret
    options: Map


class Recover(NamedTuple):
    """client → worker: take a membership back from this position. Answer: JOINED, then what was missed; or ERROR."""

    ask: Ask
    room: RoomId
    token: Secret
    epoch: Epoch
    offset: Number
    direct: Number


class Leave(NamedTuple):
    """client → worker: leave the room. Answer: LEFT 3100."""

    ref: Ref


class Joined(NamedTuple):
    """worker → client: the membership, and the position that its bundles go on from."""

    ask: Ask
    ref: Ref
    room: RoomId
    type: TypeName
    epoch: Epoch
    offset: Number
    direct: Number
    uplink: Number
    token: Secret
    info: Map


class Reset(NamedTuple):
    """worker → client: what was missed is gone from the history; go on from this position and snapshot."""

    ref: Ref
    epoch: Epoch
    offset: Number
    direct: Number
    snapshot: Data


class LeftRoom(NamedTuple):
    """worker → client: the membership ended."""

    ref: Ref
    code: Annotated[int, _uint(16)]
    text: Sentence


class Send(NamedTuple):
    """client → worker or broker: a numbered message. More pairs of type and data may follow."""

    ref: Ref
    number: Number
    type: TypeName
    data: Data


class Request(NamedTuple):
    """client → worker: a numbered message that wants a reply. Answer: an item REPLY or FAILURE."""

    ref: Ref
    number: Number
    type: TypeName
    data: Data


class Ack(NamedTuple):
    """worker → client: applied up to this number. client → worker: say so."""

    ref: Ref
    number: Number


class Deliver(NamedTuple):
    """server → client: a bundle. ``offset`` is the stream's place before its first item."""

    epoch: Epoch
    ref: Ref
    offset: Number
    items: Annotated[list[Any], _ARRAY]


Message = (
    Hello | Resume | Welcome | Ping | Pong | Goodbye | Error
    | Match | Cancel | Create | JoinById | ListRooms | Ticket | Assigned | Rooms
    | Join | Recover | Leave | Joined | Reset | LeftRoom
    | Send | Request | Ack | Deliver
)  # fmt: skip

SHAPES: dict[Kind, type[Message]] = {
    Kind.HELLO: Hello, Kind.RESUME: Resume, Kind.WELCOME: Welcome, Kind.PING: Ping, Kind.PONG: Pong,
    Kind.GOODBYE: Goodbye, Kind.ERROR: Error,
    Kind.MATCH: Match, Kind.CANCEL: Cancel, Kind.CREATE: Create, Kind.JOIN_BY_ID: JoinById, Kind.LIST: ListRooms,
    Kind.TICKET: Ticket, Kind.ASSIGNED: Assigned, Kind.ROOMS: Rooms,
    Kind.JOIN: Join, Kind.RECOVER: Recover, Kind.LEAVE: Leave, Kind.JOINED: Joined, Kind.RESET: Reset,
    Kind.LEFT: LeftRoom, Kind.SEND: Send, Kind.REQUEST: Request, Kind.ACK: Ack, Kind.DELIVER: Deliver,
}  # fmt: skip

_KIND_OF = {shape: int(kind) for kind, shape in SHAPES.items()}


def fields_of(shape: type[Message]) -> dict[str, str]:
    """The fields of a message in order, each with what it may hold in words."""
    return {name: check.label for name, check in _checks(shape)}


def _checks(shape: type[Message]) -> list[tuple[str, _Field]]:
    hints = get_type_hints(shape, include_extras=True)
    return [(name, hints[name].__metadata__[0]) for name in shape._fields]


_CHECKS = {int(kind): (shape, _checks(shape)) for kind, shape in SHAPES.items()}

M = TypeVar("M", bound=Message)


def encode(message: Message) -> bytes:
    """The frame of a message that we made. Payloads in it are checked before."""
    return pack((_KIND_OF[type(message)], *message))


def parse(value: object) -> Message:
    """Check a decoded frame field by field.

    Raises:
        UnknownKind: no message has this kind.
        BadMessage: the fields are too few, too many or of wrong types or sizes.
    """
    if type(value) is not list or not value or type(value[0]) is not int:
        raise BadMessage("a message is an array that begins with its kind")
    known = _CHECKS.get(value[0])
    if known is None:
        raise UnknownKind(f"unknown kind {value[0]:.0f}" if abs(value[0]) < 1e6 else "unknown kind")
    shape, checks = known
    if len(value) != len(checks) + 1:
        raise BadMessage(f"{Kind(value[0]).name} has {len(checks)} fields, not {len(value) - 1}")
    for (name, check), field in zip(checks, value[1:], strict=True):
        if not check.accepts(field):
            raise BadMessage(f"{Kind(value[0]).name}: {name} is not {check.label}")
    return shape._make(value[1:])


# A bundle's head has a fixed width (28 bytes), so that one is made without a
# msgpack call and a reader of frames finds the offset at its place.
_HEAD = struct.Struct(">BBBQBIBQBH")
HEAD_SIZE = _HEAD.size
_DELIVER = int(Kind.DELIVER)


def bundle(epoch: int, ref: int, offset: int, items: list[bytes]) -> bytes:
    """The frame of a DELIVER around items that are encoded already, at most 65,535."""
    return _HEAD.pack(0x95, _DELIVER, 0xCF, epoch, 0xCE, ref, 0xCF, offset, 0xDC, len(items)) + b"".join(items)


def encode_item(kind: Item, *fields: object) -> bytes:
    """One item of a bundle that holds no payload of a user."""
    return pack((int(kind), *fields))
