"""A client by hand: ZMTP 3.0 as a DEALER over a plain TCP socket, and the way into a room.

The load generator speaks to a server without libzmq, so that thousands of
clients cost one core next to nothing and what is measured is the server.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

from server_room_system.protocol.codec import pack
from server_room_system.protocol.messages import Kind

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


READY = frame(b"\x05READY" + _property(b"Socket-Type", b"DEALER") + _property(b"Identity", b""), COMMAND)


def answer_to_command(body: bytes) -> bytes:
    """What ZMTP wants to hear after a command: a PONG after a PING, nothing after others."""
    if body.startswith(_PING):
        return frame(b"\x04PONG" + body[_PING_HEAD:], COMMAND)
    return b""


class LoadError(Exception):
    """The server said something that no run of a benchmark should hear."""


class Seat(NamedTuple):
    """Which kind of room to ask a match for."""

    type: str
    size: int


class Stage(IntEnum):
    """How far a client has come: what it waits for, until it is a member."""

    CONNECTING = 0
    GREETING = 1
    READY = 2
    WELCOME = 3
    ASSIGNED = 4
    JOINED = 5
    MEMBER = 6


class Client:
    """One connection, from its greeting to its seat in a room, and what is counted of it there.

    ``carry`` holds bytes that came and do not make a whole frame yet. All
    counters are for whoever reads the socket: nothing here touches them.
    """

    __slots__ = ("began", "carry", "fd", "head", "items", "marker", "number", "own", "ref", "room", "seat", "sock",
                 "stage", "stream", "tail")  # fmt: skip

    def __init__(self, port: int, seat: Seat, began: float) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect_ex(("127.0.0.1", port))
        self.fd = self.sock.fileno()
        self.seat = seat
        self.began = began
        self.stage = Stage.CONNECTING
        self.carry: bytes = b""
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

    def start(self) -> bool:
        """Greet, if the connection is open. Returns whether it is."""
        try:
            self.sock.send(GREETING)
        except BlockingIOError:
            return False
        self.stage = Stage.GREETING
        return True

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

    def converse(self, data: bytes | bytearray) -> bool:
        """Go on towards the seat with what came. Returns whether the member is now in its room."""
        self.carry += bytes(data)
        if self.stage is Stage.GREETING:
            if len(self.carry) < len(GREETING):
                return False
            self.carry = self.carry[len(GREETING) :]
            self.stage = Stage.READY
            self.sock.send(READY)
        for flags, body in self._frames():
            if flags & COMMAND:
                self._command(body)
            elif self._message(unpack(body)):
                return True
        return False

    def ping(self, number: int) -> None:
        """Give a sign of life."""
        self._send(Kind.PING, number)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        while len(self.carry) >= 2:
            data = self.carry
            start, length = 2, data[1]
            if data[0] & LONG:
                if len(data) < 9:
                    return
                start, length = 9, LONG_LENGTH.unpack_from(data, 1)[0]
            end = start + length
            if len(data) < end:
                return
            self.carry = data[end:]
            yield data[0], data[start:end]

    def _command(self, body: bytes) -> None:
        if self.stage is Stage.READY:
            if not body.startswith(b"\x05READY"):
                raise LoadError(f"the handshake ended with {body!r:.80}")
            self.stage = Stage.WELCOME
            self._send(Kind.HELLO, 1, [1], "bench", {})
        elif answer := answer_to_command(body):
            self.sock.send(answer)

    def _message(self, message: list[Any]) -> bool:
        kind = message[0]
        if kind == Kind.WELCOME:
            self.stage = Stage.ASSIGNED
            self._send(Kind.MATCH, message[3], 2, [self.seat.size, self.seat.type, {}], {}, 30.0)
        elif kind == Kind.ASSIGNED:
            self.stage = Stage.JOINED
            self._send(Kind.JOIN, 3, message[3], message[5], {})
        elif kind == Kind.JOINED:
            self.stage = Stage.MEMBER
            self.ref, self.room = message[2], message[3]
            return True
        elif kind in (Kind.ERROR, Kind.GOODBYE, Kind.LEFT):
            raise LoadError(f"the server answered {Kind(kind).name} {message[1:]!r:.200} on the way to a seat")
        return False

    def _send(self, kind: Kind, *fields: object) -> None:
        self.sock.send(frame(pack([int(kind), *fields])))
