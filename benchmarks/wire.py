"""A client by hand: ZMTP 3.0 over plain TCP sockets, and the way into a room.

The load generator speaks to a server without libzmq, so that thousands of
clients cost one core next to nothing and what is measured is the server.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

from server_room_system.protocol.codec import pack
from server_room_system.protocol.ids import TOPIC_SIZE
from server_room_system.protocol.messages import Kind

__all__ = [
    "COMMAND",
    "LONG",
    "LONG_LENGTH",
    "NUMBER",
    "Client",
    "Connection",
    "LoadError",
    "Seat",
    "Stage",
    "answer_to_command",
    "unpack",
]

unpack: Callable[[bytes], Any] = msgpack.unpackb
"""Decode what a server said, with no limits: it is our own."""

COMMAND = 0x04
"""Bit of a frame's flags: a command of ZMTP itself, not a message."""
LONG = 0x02
"""Bit of a frame's flags: the length has eight bytes, not one."""

LONG_LENGTH = struct.Struct(">Q")
NUMBER = struct.Struct(">I")

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_PING = b"\x04PING"
_PING_HEAD = len(_PING) + 2


def frame(body: bytes, flags: int = 0) -> bytes:
    """One ZMTP frame around a message or command."""
    if len(body) < 256:
        return bytes((flags, len(body))) + body
    return bytes((flags | LONG,)) + LONG_LENGTH.pack(len(body)) + body


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + NUMBER.pack(len(value)) + value


def _ready(socket_type: bytes) -> bytes:
    return frame(b"\x05READY" + _property(b"Socket-Type", socket_type) + _property(b"Identity", b""), COMMAND)


_DEALER, _XSUB = _ready(b"DEALER"), _ready(b"XSUB")


def answer_to_command(body: bytes) -> bytes:
    """What ZMTP wants to hear after a command: a PONG after a PING, nothing after others."""
    if body.startswith(_PING):
        return frame(b"\x04PONG" + body[_PING_HEAD:], COMMAND)
    return b""


class LoadError(Exception):
    """The server said something that no run of a benchmark should hear."""


class Seat(NamedTuple):
    """Which kind of room to ask a seat in, and how."""

    type: str
    size: int
    way: Kind = Kind.MATCH
    """MATCH, JOIN_OR_CREATE, or ENQUEUE for the queue ``duel``."""
    at_once: bool = True
    """Whether it is asked for as soon as the client is welcome."""

    def request(self, ref: int) -> list[object]:
        """What a client says for it."""
        ruleset = [self.size, self.type, {}]
        if self.way is Kind.ENQUEUE:
            return [int(self.way), ref, 2, "duel", {}, [], {}, {}, 120.0, ""]
        if self.way is Kind.JOIN_OR_CREATE:
            return [int(self.way), ref, 2, ruleset, {}, {}]
        return [int(self.way), ref, 2, ruleset, {}, 30.0]


class Stage(IntEnum):
    """How far a connection has come."""

    CONNECTING = 0
    GREETING = 1
    READY = 2
    TALKING = 3
    """What comes on it is read message by message."""
    COUNTED = 4
    """A room's stream comes on it, which is counted and not decoded."""


class Connection:
    """One connection of a client, from its greeting on.

    ``carry`` holds bytes that came and do not make a whole frame yet.

    Args:
        port: of the server, on the loopback.
        client: whose it is.
        first: the frame to begin with.
        downlink: whether it goes to a publisher, whose frames begin with a topic.
    """

    __slots__ = ("_ready", "carry", "client", "fd", "first", "skip", "sock", "stage")

    def __init__(self, port: int, client: "Client", first: bytes, *, downlink: bool = False) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect_ex(("127.0.0.1", port))
        self.fd = self.sock.fileno()
        self.client = client
        self.first = first
        self.skip = TOPIC_SIZE if downlink else 0
        """Bytes of each frame before its message."""
        self.stage = Stage.CONNECTING
        self.carry: bytes = b""
        self._ready = _XSUB if downlink else _DEALER

    def start(self) -> bool:
        """Greet, if the connection is open. Returns whether it is."""
        try:
            self.sock.send(GREETING)
        except BlockingIOError:
            return False
        self.stage = Stage.GREETING
        return True

    def converse(self, data: bytes | bytearray) -> Iterator[bytes]:
        """Go on with what came: the messages in it, until the connection is to be counted."""
        self.carry += bytes(data)
        if self.stage is Stage.GREETING:
            if len(self.carry) < len(GREETING):
                return
            self.carry = self.carry[len(GREETING) :]
            self.stage = Stage.READY
            self.sock.send(self._ready)
        while self.stage is not Stage.COUNTED and (found := self._next()) is not None:
            flags, body = found
            if flags & COMMAND:
                self._command(body)
            else:
                yield body

    def say(self, kind: Kind, *fields: object) -> None:
        """Send one message."""
        self.sock.send(frame(pack([int(kind), *fields])))

    def present(self) -> None:
        """Say again what it began with."""
        self.sock.send(self.first)

    def _next(self) -> tuple[int, bytes] | None:
        data = self.carry
        if len(data) < 2:
            return None
        start, length = 2, data[1]
        if data[0] & LONG:
            if len(data) < 9:
                return None
            start, length = 9, LONG_LENGTH.unpack_from(data, 1)[0]
        end = start + length
        if len(data) < end:
            return None
        self.carry = data[end:]
        return data[0], data[start:end]

    def _command(self, body: bytes) -> None:
        if self.stage is Stage.READY:
            if not body.startswith(b"\x05READY"):
                raise LoadError(f"the handshake ended with {body!r:.80}")
            self.present()
            if self.skip:
                self.client.tuned_in(self)
            else:
                self.stage = Stage.TALKING
        elif answer := answer_to_command(body):
            self.sock.send(answer)


class Client:
    """One client, from its first connection to its seat in a room, and what is counted of it there.

    It has one connection to the broker; one more where the room is on a worker
    of its own; and one more for what a topic room says.

    All counters are for whoever reads the sockets: nothing here touches them.
    """

    __slots__ = ("began", "endpoint", "head", "items", "link", "marker", "member", "number", "own", "ref", "request",
                 "room", "seat", "session", "sock", "stream", "tail", "welcomed")  # fmt: skip

    def __init__(self, port: int, seat: Seat, began: float) -> None:
        self.seat = seat
        self.began = began
        self.request = b""
        """The frame that asks for its seat, once it is welcome."""
        self.welcomed = 0.0
        """When the server took it in, monotonic seconds."""
        self.member = False
        """Whether it is in its room, and hears what the room says."""
        self.session = Connection(port, self, frame(pack([int(Kind.HELLO), 1, [1], "bench", {"enter": True}])))
        """To the broker."""
        self.link = self.session
        """To where its room is."""
        self.sock = self.link.sock
        self.endpoint: str | None = None
        """Where its room is; None: with the broker."""
        self.ref = 0
        self.room = ""
        self.number = 0
        """How many messages were sent."""
        self.own = 0
        """How many of them came back."""
        self.items = 0
        """How many items came, one's own and the others'."""
        self.stream = -1
        """The room's offset after the last bundle; -1 before the first."""
        self.marker = b""
        self.head = b""
        self.tail = b""

    def compose(self, name: str, data: object, marker: bytes) -> None:
        """Prepare the message that this member sends over and over: only its number changes.

        Args:
            name: the message's type.
            data: its payload.
            marker: bytes of the payload by which a sender finds its own messages among the others'.
        """
        packed = pack(name) + pack(data)
        if packed.count(marker) != 1:
            raise ValueError("the marker is to be in the payload once")
        body = b"\x95" + bytes((Kind.SEND,)) + b"\xce" + NUMBER.pack(self.ref) + b"\xce" + bytes(4) + packed
        whole = frame(body)
        split = len(whole) - len(packed) - NUMBER.size
        self.head, self.tail, self.marker = whole[:split], whole[split + NUMBER.size :], marker

    def ask(self) -> None:
        """Ask for its seat."""
        self.session.sock.send(self.request)

    def ping(self, number: int) -> None:
        """Give a sign of life, wherever one is expected."""
        self.session.say(Kind.PING, number)
        if self.link is not self.session:
            self.link.say(Kind.PING, number)

    def hear(self, body: bytes) -> Connection | None:
        """Go on towards the seat with a message. Returns the connection that it needs for that, if it is a new one."""
        message: list[Any] = unpack(body)
        kind = message[0]
        if kind == Kind.WELCOME:
            self.welcomed = time.monotonic()
            self.request = frame(pack(self.seat.request(message[3])))
            if self.seat.at_once:
                self.ask()
        elif kind == Kind.ASSIGNED:
            return self._assigned(message)
        elif kind == Kind.JOINED:
            return self._joined(message)
        elif kind not in (Kind.TICKET, Kind.PROGRESS, Kind.PONG, Kind.ACK, Kind.DELIVER):
            raise LoadError(f"the server said {Kind(kind).name} {message[1:]!r:.200} outside of a room's stream")
        return None

    def tuned_in(self, connection: Connection) -> None:
        """The room's stream comes on this connection from now on."""
        connection.stage = Stage.COUNTED
        self.member = True

    def _assigned(self, message: list[Any]) -> Connection | None:
        join = frame(pack([int(Kind.JOIN), 3, message[3], message[5], {}]))
        self.endpoint = message[4]
        if self.endpoint is None:
            self.sock.send(join)
            return None
        self.link = Connection(int(self.endpoint.rpartition(":")[2]), self, join)
        self.sock = self.link.sock
        return self.link

    def _joined(self, message: list[Any]) -> Connection | None:
        self.ref, self.room, downlink = message[2], message[3], message[10]
        if downlink is None:
            self.tuned_in(self.link)
            return None
        self.link.stage = Stage.COUNTED
        port, token = downlink
        return Connection(port, self, frame(b"\x01" + token), downlink=True)
