# pyright: reportArgumentType=false, reportAssignmentType=false, reportOperatorIssue=false
# (msgpack has no types: what packb returns is unknown.)
"""Peers that keep no rules: ZMTP on a plain TCP socket, and the protocol's messages on top of it.

Nothing here is made with the package's own code, so that both can't be wrong in
the same way.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol

import msgpack
import zmq

PATIENCE = 10.0

HELLO, RESUME, WELCOME, PING, PONG, GOODBYE, ERROR = range(1, 8)
MATCH, CANCEL, CREATE, JOIN_BY_ID, LIST, TICKET, ASSIGNED, ROOMS = range(16, 24)
ROOM_LOST, LIST_ENDPOINTS, ENDPOINTS = range(24, 27)
JOIN_OR_CREATE, JOIN_WHERE, WATCH, UNWATCH, LISTED = range(27, 32)
JOIN, RECOVER, LEAVE, JOINED, RESET, LEFT, REKEYED = range(32, 39)
SEND, REQUEST, ACK, DELIVER = range(40, 44)

MORE, LONG, COMMAND = 1, 2, 4

_GREETING = b"\xff" + bytes(8) + b"\x7f"


def greeting(major: int = 3, minor: int = 1, mechanism: bytes = b"NULL", as_server: int = 0) -> bytes:
    """The first 64 bytes of a ZMTP connection."""
    return _GREETING + bytes((major, minor)) + mechanism.ljust(20, b"\0") + bytes((as_server,)) + bytes(31)


def framed(body: bytes, flags: int = 0) -> bytes:
    """One ZMTP frame."""
    if len(body) > 255:
        return bytes((flags | LONG,)) + struct.pack(">Q", len(body)) + body
    return bytes((flags, len(body))) + body


def ready(kind: bytes = b"DEALER", identity: bytes | None = None) -> bytes:
    """The READY command of the NULL mechanism."""
    properties = [(b"Socket-Type", kind)]
    if identity is not None:
        properties.append((b"Identity", identity))
    body = b"\x05READY" + b"".join(
        bytes((len(name),)) + name + struct.pack(">I", len(value)) + value for name, value in properties
    )
    return framed(body, COMMAND)


class Gone(Exception):
    """The server closed the connection."""


class Link(Protocol):
    """Carries frames to the server and back."""

    def send(self, frame: bytes) -> None:
        """Send a message of one frame. Raises Gone."""

    def receive(self, timeout: float) -> bytes | None:
        """The next message, None if there is none in time. Raises Gone."""


class Zmtp:
    """A ZMTP connection on a plain socket, as far as it is told to be one.

    Args:
        address: ``tcp://host:port``.
        identity: a routing id of our own.
        shake: whether to shake hands.
        source: the address to come from: all of 127.0.0.0/8 are ours.
    """

    def __init__(
        self, address: str, identity: bytes | None = None, *, shake: bool = True, source: str = "127.0.0.1"
    ) -> None:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        try:
            self.socket = socket.create_connection((host, int(port)), PATIENCE, (source, 0))
        except (ConnectionResetError, BrokenPipeError) as error:  # so soon
            raise Gone from error
        with contextlib.suppress(OSError):  # likewise
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        if shake:
            try:
                self.raw(greeting() + ready(identity=identity))
                self._take(64, PATIENCE)
                flags, _ = self.frame(PATIENCE)
            except Gone:
                self.close()
                raise
            assert flags & COMMAND

    def __enter__(self) -> "Zmtp":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, *, reset: bool = False) -> None:
        """Close it; with ``reset`` without the usual politeness."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.sendall(data)
        except ConnectionError as error:
            raise Gone from error

    def send(self, frame: bytes) -> None:
        """Send a message of one frame."""
        self.raw(framed(frame))

    def frame(self, timeout: float) -> tuple[int, bytes]:
        """The next ZMTP frame: flags and body. Raises TimeoutError, Gone."""
        head = self._take(2, timeout)
        size, length = (8, 9) if head[0] & LONG else (1, 2)
        head = self._take(length, timeout, keep=True)
        size = int.from_bytes(head[1 : 1 + size], "big")
        whole = self._take(length + size, timeout)
        return head[0], whole[length:]

    def receive(self, timeout: float = PATIENCE) -> bytes | None:
        """The next message; the server's heartbeats are answered."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                flags, body = self.frame(max(0.0001, deadline - time.monotonic()))
            except TimeoutError:
                return None
            if not flags & COMMAND:
                return body
            if body.startswith(b"\x04PING"):
                self.raw(framed(b"\x04PONG" + body[7:], COMMAND))

    def is_cut(self, within: float = PATIENCE) -> bool:
        """Whether the server closes the connection in time."""
        try:
            deadline = time.monotonic() + within
            while time.monotonic() < deadline:
                self.receive(deadline - time.monotonic())
        except Gone:
            return True
        return False

    def _take(self, count: int, timeout: float, *, keep: bool = False) -> bytes:
        deadline = time.monotonic() + timeout
        keep = keep or count == 2
        while len(self._data) < count:
            self.socket.settimeout(max(0.0001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(262_144)
            except ConnectionError as error:
                raise Gone from error
            if not data:
                raise Gone
            self._data += data
        taken = self._data[:count]
        if not keep:
            self._data = self._data[count:]
        return taken


class Dealer:
    """A DEALER socket of libzmq's, with options that honest clients don't set."""

    def __init__(self, address: str, routing_id: bytes | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.set(zmq.LINGER, 0)
        if routing_id is not None:
            self.socket.set(zmq.ROUTING_ID, routing_id)
        self.socket.connect(address)

    def __enter__(self) -> "Dealer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(0)

    def send(self, frame: bytes) -> None:
        """Send a message of one frame."""
        self.socket.send(frame)

    def receive(self, timeout: float = PATIENCE) -> bytes | None:
        """The next message, if there is one in time."""
        if not self.socket.poll(int(timeout * 1000)):
            return None
        frame = self.socket.recv()
        assert not self.socket.get(zmq.RCVMORE)
        return frame


class Peer:
    """Speaks the protocol, well or badly, and remembers every byte that it hears."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.heard: list[bytes] = []
        self.ref = 0
        self.session = ""
        self.token = b""
        self.client_id = 0
        self._ask = 1 << 31

    def say(self, *message: Any) -> None:
        """Send a message, whatever it is."""
        self.link.send(msgpack.packb(message))

    def hear(self, timeout: float = PATIENCE) -> list[Any] | None:
        """The next message, decoded; None if there is none in time."""
        frame = self.link.receive(timeout)
        if frame is None:
            return None
        self.heard.append(frame)
        message: list[Any] = msgpack.unpackb(frame, strict_map_key=False)
        return message

    def wait(self, *kinds: int) -> list[Any]:
        """The next message of one of these kinds; others are passed over."""
        deadline = time.monotonic() + PATIENCE
        while (message := self.hear(max(0.001, deadline - time.monotonic()))) is not None:
            if message[0] in kinds:
                return message
        raise AssertionError(f"no message of the kinds {kinds} came")

    def error(self) -> int:
        """The code of the next ERROR."""
        code: int = self.wait(ERROR)[3]
        return code

    def all(self) -> list[list[Any]]:
        """Everything up to the answer to a PING: what was said before has been handled then."""
        mark = time.monotonic_ns() & 0xFFFFFFFF
        self.say(PING, mark)
        messages: list[list[Any]] = []
        while (message := self.hear()) is not None and message != [PONG, mark]:
            messages.append(message)
        assert message is not None, "no answer to PING"
        return messages

    def ask(self, kind: int, *fields: Any) -> list[Any]:
        """Ask the broker something in our session; the message that answers it."""
        self._ask += 1
        number = self._ask
        self.say(kind, self.ref, number, *fields)
        while True:
            message = self.wait(ERROR, ASSIGNED, ROOMS)
            if message[2] == number:
                return message

    def hello(self) -> "Peer":
        """Open a session."""
        self.say(HELLO, 1, [1], "adversary", {})
        _, _, _, self.ref, self.session, self.token, self.client_id, *_ = self.wait(WELCOME)
        self.say(ACK, self.ref, 0)
        self.wait(ACK)
        return self

    def create(self, room_type: str, seats: int = 4) -> "Seat":
        """Make a room and join it."""
        return self.take(self.ask(CREATE, [seats, room_type, {}], {}, {}))

    def enter(self, room: str) -> "Seat":
        """Join a room that is there."""
        return self.take(self.ask(JOIN_BY_ID, room, {}, {}))

    def take(self, assigned: list[Any]) -> "Seat":
        """Join with a reservation."""
        assert assigned[0] == ASSIGNED, assigned
        _, _, _, room, _, reservation, _ = assigned
        self.say(JOIN, 77, room, reservation, {})
        joined = self.wait(JOINED)
        self.say(ACK, joined[2], 0)
        self.wait(ACK)
        return Seat(self, room, reservation, joined)


class Seat:
    """A membership of a peer."""

    def __init__(self, peer: Peer, room: str, reservation: bytes, joined: list[Any]) -> None:
        self.peer = peer
        self.room = room
        self.reservation = reservation
        _, _, self.ref, _, _, self.epoch, self.offset, self.direct, self.uplink, self.token, downlink, self.info = (
            joined
        )
        self.downlink: list[Any] | None = downlink
        """Port and token, in topic rooms."""
        self.number: int = self.uplink

    def send(self, name: Any, data: Any = None) -> int:
        """Send a message properly numbered; its number."""
        self.number += 1
        self.peer.say(SEND, self.ref, self.number, name, data)
        return self.number


@contextlib.contextmanager
def peer(address: str, identity: bytes | None = None, source: str = "127.0.0.1") -> Iterator[Peer]:
    """A peer on a plain socket, connected; it has said nothing yet."""
    with Zmtp(address, identity, source=source) as link:
        yield Peer(link)
