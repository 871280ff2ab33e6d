"""Many clients in one process, and the loop that counts what comes for them without decoding it."""

import select
import struct
import time
from collections.abc import Callable

from benchmarks.wire import (
    COMMAND,
    LONG,
    LONG_LENGTH,
    NUMBER,
    Client,
    LoadError,
    Seat,
    Stage,
    answer_to_command,
    unpack,
)
from server_room_system.protocol.messages import HEAD_SIZE, Kind

_DELIVER, _ACK, _PONG = int(Kind.DELIVER), int(Kind.ACK), int(Kind.PONG)
_PLACE = struct.Struct(">QxH")
"""Offset and number of items, where a bundle's head has them."""
_PLACE_AT = HEAD_SIZE - _PLACE.size
_STAMP = struct.Struct(">Q")
_STAMP_MARK = b"\xa1t\xcf"
"""What comes before the time in a tick's payload: the key ``t``, and an integer of eight bytes."""

_BUFFER = 1 << 20
_PING_EVERY = 5.0
_PATIENCE = 30.0
_AT_ONCE = 50
"""How many may be on their way to a seat, unless a room has more: they wait for each other."""


class Crowd:
    """All clients of a run, and the one loop that reads them.

    Args:
        port: where the server listens on the loopback.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._entering = 0
        self.members: list[Client] = []
        self.stamps: list[int] | None = None
        """Delays of timed ticks in ns, when they are wanted."""
        self.on_own: Callable[[Client], None] | None = None
        """Called after a sender got messages of its own back."""
        self._ping_next = 0.0
        self._pinged = 0

    def join(self, count: int, seat: Seat) -> list[float]:
        """Bring ``count`` clients into rooms, 50 on their way at a time, or as many as a room has.

        Returns:
            For each the seconds from connecting to being a member.
        """
        took: list[float] = []
        target = len(self.members) + count
        started = len(self.members)
        deadline = time.monotonic() + _PATIENCE + count / 100
        most = max(_AT_ONCE, seat.size)
        while len(self.members) < target:
            for _ in range(min(target - started, most - self._entering, _AT_ONCE)):
                self._enter(seat)
                started += 1
            before = len(self.members)
            self.turn(0.1)
            now = time.monotonic()
            took.extend(now - client.began for client in self.members[before:])
            if now > deadline:
                raise LoadError(f"{target - len(self.members)} of {count} clients did not get into a room in time")
        return took

    def turn(self, timeout: float) -> bool:
        """Wait for something to come, and take it. Returns whether something did."""
        clients, read, member = self._clients, self.read, Stage.MEMBER
        events = self._epoll.poll(timeout)
        for fd, _ in events:
            client = clients[fd]
            if client.stage is member:
                read(client)
            else:
                self._converse(client)
        return bool(events)

    def settle(self) -> None:
        """Take what comes until nothing comes any more, for 10 seconds at most."""
        deadline = time.monotonic() + 10.0
        while self.turn(0.2) and time.monotonic() < deadline:
            pass

    def run(self, seconds: float, pinging: bool) -> None:
        """Take what comes for so long; with ``pinging``, each client gives a sign of life now and then."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            if pinging and now >= self._ping_next:
                self._ping_next = now + _PING_EVERY / len(self.members)
                self._pinged += 1
                self.members[self._pinged % len(self.members)].ping(self._pinged)
            self.turn(min(0.01, end - now))

    def push(self, client: Client, count: int) -> None:
        """Send the next ``count`` messages of a member in one go."""
        number, head, tail, pack = client.number + 1, client.head, client.tail, NUMBER.pack
        client.number += count
        if count == 1:
            data = head + pack(number) + tail
        else:
            data = b"".join([head + pack(each) + tail for each in range(number, number + count)])
        if client.sock.send(data) != len(data):
            raise LoadError("the kernel took only part of a burst: the window is too large for its buffers")

    def _enter(self, seat: Seat) -> None:
        client = Client(self._port, seat, time.monotonic())
        self._clients[client.fd] = client
        self._entering += 1
        # On the loopback the connection is there at once, unless the listener's queue is full.
        self._epoll.register(client.fd, select.EPOLLIN if client.start() else select.EPOLLOUT)

    def _converse(self, client: Client) -> None:
        if client.stage is Stage.CONNECTING:
            if not client.start():
                raise LoadError("a connection was not accepted")
            self._epoll.modify(client.fd, select.EPOLLIN)
            return
        size = client.sock.recv_into(self._buffer)
        if not size:
            raise LoadError(f"the server closed a connection on the way to a seat, at {client.stage.name}")
        if client.converse(self._buffer[:size]):
            self._entering -= 1
            self.members.append(client)
            if client.carry:
                self._count(client, self._take_carry(client))

    def _take_carry(self, client: Client) -> int:
        size = len(client.carry)
        self._buffer[:size] = client.carry
        client.carry = b""
        return size

    def read(self, client: Client) -> None:
        """Take what has come for one member; with its socket set to block, wait for it."""
        if client.carry:
            start = self._take_carry(client)
            size = client.sock.recv_into(self._view[start:])
        else:
            start = 0
            size = client.sock.recv_into(self._buffer)
        if not size:
            raise LoadError("the server closed a member's connection")
        self._count(client, start + size)

    def _count(self, client: Client, size: int) -> None:
        """Walk over the frames in the first ``size`` bytes of the buffer; keep a last piece for later."""
        buffer = self._buffer
        at = 0
        while size - at >= 2:
            flags = buffer[at]
            if not flags & LONG:
                body = at + 2
                end = body + buffer[at + 1]
            else:
                body = at + 9
                if body > size:
                    break
                end = body + LONG_LENGTH.unpack_from(buffer, at + 1)[0]
            if end > size:
                break
            kind = buffer[body + 1]
            if flags & COMMAND:
                if answer := answer_to_command(bytes(buffer[body:end])):
                    client.sock.send(answer)
            elif kind == _DELIVER:
                offset, items = _PLACE.unpack_from(buffer, body + _PLACE_AT)
                if client.stream not in (offset, -1):
                    raise LoadError(f"a bundle begins at {offset}, and the one before ended at {client.stream}")
                client.stream = offset + items
                client.items += items
            elif kind not in (_ACK, _PONG):
                raise LoadError(f"the server said {unpack(bytes(buffer[body:end]))!r:.200}")
            at = end
        if at < size:
            client.carry = bytes(buffer[at:size])
        if client.marker:
            own = buffer.count(client.marker, 0, at)
            if own:
                client.own += own
                if self.on_own is not None:
                    self.on_own(client)
        if self.stamps is not None:
            self._read_stamps(at)

    def _read_stamps(self, size: int) -> None:
        assert self.stamps is not None
        now = time.monotonic_ns()
        at = self._buffer.find(_STAMP_MARK, 0, size)
        while at >= 0:
            at += len(_STAMP_MARK)
            self.stamps.append(now - _STAMP.unpack_from(self._buffer, at)[0])
            at = self._buffer.find(_STAMP_MARK, at + _STAMP.size, size)
