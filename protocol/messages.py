"""Every message: its kind, its fields in order, and what each may hold.

One message is one ZeroMQ frame: a msgpack array ``[kind, field, ...]``. The
named tuples below are the only description of the fields: ``parse`` checks what
a peer sent against their annotations, ``encode`` writes them, and
``docs/protocol.md`` is compared with them by a test.

Messages that carry a room's traffic by the thousand (SEND and DELIVER) are
described here as well; the port and the fan-out read and write them in place.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from .codec import pack
from .fields import (
    Ask,
    Code16,
    Data,
    Epoch,
    Flag,
    Items,
    Map,
    Number,
    OptionalDownlink,
    OptionalEndpoint,
    OptionalTypeName,
    Ref,
    RoomId,
    Seconds,
    Secret,
    Sentence,
    SessionId,
    Shapes,
    Token,
    TypeName,
    Version,
    Versions,
)
from .queue_messages import Accept, Enqueue, Found, Party, PartyState, Progress, Reasons, Rematch, Why
from .room_messages import JoinOrCreate, JoinWhere, Listed, Unwatch, Watch

__all__ = [
    "VERSION",
    "WAYS_IN",
    "Ack",
    "Assigned",
    "Cancel",
    "Create",
    "Deliver",
    "Endpoints",
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
    "ListEndpoints",
    "ListRooms",
    "Match",
    "Message",
    "Ping",
    "Pong",
    "Recover",
    "Rekeyed",
    "Request",
    "Reset",
    "Resume",
    "RoomLost",
    "Rooms",
    "Send",
    "Ticket",
    "Welcome",
    "bundle",
    "encode",
    "encode_item",
    "listed",
    "listed_body",
    "parse",
    "to_wire",
    "what_is_wrong",
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
    ROOM_LOST = 24
    LIST_ENDPOINTS = 25
    ENDPOINTS = 26
    JOIN_OR_CREATE = 27
    JOIN_WHERE = 28
    WATCH = 29
    UNWATCH = 30
    LISTED = 31

    JOIN = 32
    RECOVER = 33
    LEAVE = 34
    JOINED = 35
    RESET = 36
    LEFT = 37
    REKEYED = 38
    SEND = 40
    REQUEST = 41
    ACK = 42
    DELIVER = 43

    ENQUEUE = 48
    PROGRESS = 49
    FOUND = 50
    ACCEPT = 51
    WHY = 52
    REASONS = 53
    PARTY = 54
    PARTY_STATE = 55
    REMATCH = 56


class Item(IntEnum):
    """First element of every item of a bundle."""

    BROADCAST = 0
    SKIP = 1
    DIRECT = 2
    REPLY = 3
    FAILURE = 4
    PRESENCE = 5
    MARK = 6
    OUTDATED = 7
    OUTDATED_DIRECT = 8


class Hello(NamedTuple):
    """client → broker: open a session. Answer: WELCOME, or GOODBYE with a code."""

    ask: Ask
    versions: Versions
    software: TypeName
    options: Map


class Resume(NamedTuple):
    """client → broker: take a session back on this connection. Answer: WELCOME, or GOODBYE."""

    ask: Ask
    versions: Versions
    session: SessionId
    token: Token
    direct: Number
    options: Map = {}  # noqa: RUF012  # nobody writes to it


class Welcome(NamedTuple):
    """broker → client: the session is open on this connection."""

    ask: Ask
    version: Version
    ref: Ref
    session: SessionId
    token: Token
    client_id: Number
    address: TypeName
    epoch: Epoch
    direct: Number
    uplink: Number
    resumed: Flag
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
    code: Code16
    text: Sentence


class Error(NamedTuple):
    """server → client: a request or message failed, and nothing else did."""

    ref: Ref
    ask: Number
    code: Code16
    text: Sentence
    data: Data


class Match(NamedTuple):
    """client → broker: be matched. Answer: TICKET if it takes longer; in the end ASSIGNED or ERROR."""

    ref: Ref
    ask: Ask
    ruleset: Items
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
    ruleset: Items
    options: Map
    access: Map = {}  # noqa: RUF012  # nobody writes to it


class JoinById(NamedTuple):
    """client → broker: take a seat in this room. Answer: ASSIGNED or ERROR."""

    ref: Ref
    ask: Ask
    room: RoomId
    options: Map
    access: Map = {}  # noqa: RUF012  # nobody writes to it


class ListRooms(NamedTuple):
    """client → broker: which rooms are there. Answer: ROOMS."""

    ref: Ref
    ask: Ask
    type: OptionalTypeName
    filter: Map = {}  # noqa: RUF012  # nobody writes to it


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
    endpoint: OptionalEndpoint
    reservation: Secret
    timeout: Seconds


class Rooms(NamedTuple):
    """broker → client: the rooms that are not unlisted, one map each."""

    ref: Ref
    ask: Ask
    rooms: Items


class RoomLost(NamedTuple):
    """broker → client: a room that this session is in is gone, and its worker can't say so itself."""

    ref: Ref
    room: RoomId
    code: Code16
    text: Sentence


class ListEndpoints(NamedTuple):
    """client → broker: where the workers are that a seat may be assigned at. Answer: ENDPOINTS."""

    ref: Ref
    ask: Ask


class Endpoints(NamedTuple):
    """broker → client: the endpoints that ASSIGNED may name; none where the broker hosts the rooms itself."""

    ref: Ref
    ask: Ask
    endpoints: Items


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
    downlink: OptionalDownlink
    info: Map


class Reset(NamedTuple):
    """worker → client: what was missed is gone from the history; go on from this position and snapshot."""

    ref: Ref
    epoch: Epoch
    offset: Number
    direct: Number
    snapshot: Data


class LeftRoom(NamedTuple):
    """worker → client: the membership ended, and what was said to it ends at this position."""

    ref: Ref
    code: Code16
    text: Sentence
    offset: Number
    direct: Number


class Rekeyed(NamedTuple):
    """worker → client: the downlink of this membership carries nothing any more. RECOVER, and open the new one."""

    ref: Ref


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
    items: Items


Message = (
    Hello | Resume | Welcome | Ping | Pong | Goodbye | Error
    | Match | Cancel | Create | JoinById | ListRooms | Ticket | Assigned | Rooms
    | RoomLost | ListEndpoints | Endpoints
    | JoinOrCreate | JoinWhere | Watch | Unwatch | Listed
    | Join | Recover | Leave | Joined | Reset | LeftRoom | Rekeyed
    | Send | Request | Ack | Deliver
    | Enqueue | Progress | Found | Accept | Why | Reasons | Party | PartyState | Rematch
)  # fmt: skip

WAYS_IN = (Match, Create, JoinById, JoinOrCreate, JoinWhere)
"""What asks for a room at once, and is answered with a seat there. (Tickets of queues and rematches wait first.)"""

SHAPES: dict[Kind, type[Message]] = {
    Kind.HELLO: Hello, Kind.RESUME: Resume, Kind.WELCOME: Welcome, Kind.PING: Ping, Kind.PONG: Pong,
    Kind.GOODBYE: Goodbye, Kind.ERROR: Error,
    Kind.MATCH: Match, Kind.CANCEL: Cancel, Kind.CREATE: Create, Kind.JOIN_BY_ID: JoinById, Kind.LIST: ListRooms,
    Kind.TICKET: Ticket, Kind.ASSIGNED: Assigned, Kind.ROOMS: Rooms,
    Kind.ROOM_LOST: RoomLost, Kind.LIST_ENDPOINTS: ListEndpoints, Kind.ENDPOINTS: Endpoints,
    Kind.JOIN_OR_CREATE: JoinOrCreate, Kind.JOIN_WHERE: JoinWhere,
    Kind.WATCH: Watch, Kind.UNWATCH: Unwatch, Kind.LISTED: Listed,
    Kind.JOIN: Join, Kind.RECOVER: Recover, Kind.LEAVE: Leave, Kind.JOINED: Joined, Kind.RESET: Reset,
    Kind.LEFT: LeftRoom, Kind.REKEYED: Rekeyed, Kind.SEND: Send, Kind.REQUEST: Request, Kind.ACK: Ack,
    Kind.DELIVER: Deliver,
    Kind.ENQUEUE: Enqueue, Kind.PROGRESS: Progress, Kind.FOUND: Found, Kind.ACCEPT: Accept, Kind.WHY: Why,
    Kind.REASONS: Reasons, Kind.PARTY: Party, Kind.PARTY_STATE: PartyState, Kind.REMATCH: Rematch,
}  # fmt: skip

_shapes: Shapes[Message] = Shapes(SHAPES)
fields_of = _shapes.fields_of
encode = _shapes.encode
to_wire = _shapes.to_wire
what_is_wrong = _shapes.what_is_wrong
parse = _shapes.parse


# A bundle's head has a fixed width (28 bytes), so that one is made without a
# msgpack call and a reader of frames finds the offset at its place.
_HEAD = struct.Struct(">BBBQBIBQBH")
HEAD_SIZE = _HEAD.size
_DELIVER = int(Kind.DELIVER)


def bundle(epoch: int, ref: int, offset: int, items: list[bytes]) -> bytes:
    """The frame of a DELIVER around items that are encoded already, at most 65,535."""
    return _HEAD.pack(0x95, _DELIVER, 0xCF, epoch, 0xCE, ref, 0xCF, offset, 0xDC, len(items)) + b"".join(items)


# The same for LISTED, whose end is that of all who watch.
_LISTED_HEAD = struct.Struct(">BBBIBI")
_LISTED_BODY = struct.Struct(">BQBQBH")
_LISTED = int(Kind.LISTED)


def listed_body(epoch: int, offset: int, changes: list[bytes]) -> bytes:
    """The end of a LISTED, from its epoch on, around changes that are encoded already, at most 65,535."""
    return _LISTED_BODY.pack(0xCF, epoch, 0xCF, offset, 0xDC, len(changes)) + b"".join(changes)


def listed(ref: int, ask: int, body: bytes) -> bytes:
    """The frame of a LISTED for one of those who watch."""
    return _LISTED_HEAD.pack(0x96, _LISTED, 0xCE, ref, 0xCE, ask) + body


def encode_item(kind: Item, *fields: object) -> bytes:
    """One item of a bundle that holds no payload of a user."""
    return pack((int(kind), *fields))
