"""Many clients in one process, and the loop that counts what comes for them without decoding it."""

import select
import struct
import time
from collections import deque
from collections.abc import Callable

from benchmarks.wire import (
    COMMAND,
    LONG,
    LONG_LENGTH,
    NUMBER,
    Client,
    Connection,
    LoadError,
    Seat,
    Stage,
    answer_to_command,
    unpack,
)
from server_room_system.protocol.ids import MEMBER_TOPIC
from server_room_system.protocol.messages import HEAD_SIZE, Kind

_DELIVER, _ACK, _PONG = int(Kind.DELIVER), int(Kind.ACK), int(Kind.PONG)
_PLACE = struct.Struct(">QxH")
"""Offset and number of items, where a bundle's head has them."""
_OWN_TOPIC = MEMBER_TOPIC[0]
_PLACE_AT = HEAD_SIZE - _PLACE.size
_STAMP = struct.Struct(">Q")
_STAMP_MARK = b"\xa1t\xcf"
"""What comes before the time in a tick's payload: the key ``t``, and an integer of eight bytes."""
_LOOP_MARK = b"\xa4loop\xcf"
"""The same for what the server's loop has computed so far."""

_BUFFER = 1 << 20
_PING_EVERY = 5.0
_PATIENCE = 30.0
_AT_ONCE = 50
"""How many may be on their way to a seat, unless a room has more: they wait for each other."""
_PRESENT_AGAIN = 0.5
"""Seconds after which a downlink on which nothing came shows its token again, as clients do."""


class Crowd:
    """All clients of a run, and the one loop that reads them.

    Args:
        port: where the server listens on the loopback.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._entering = 0
        self.members: list[Client] = []
        self.stamps: list[int] | None = None
        """Delays of timed ticks in ns, when they are wanted."""
        self.loop_times: set[int] = set()
        """What ticks said of their server's loop: ns that it had computed."""
        self.on_own: Callable[[Client], None] | None = None
        """Called after a sender got messages of its own back."""
        self._downlinks: list[Connection] = []
        self._silent: deque[tuple[float, Client]] = deque()
        """Who was brought, and when it gave its last sign of life, the oldest first."""
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

    def bring(self, count: int, seat: Seat) -> list[Client]:
        """Connect ``count`` clients, and have them welcome. What they ask for is not waited for."""
        sent = 0
        brought: list[Client] = []
        on_the_way: list[Client] = []
        deadline = time.monotonic() + _PATIENCE + count / 100
        while sent < count or on_the_way:
            while sent < count and len(on_the_way) < _AT_ONCE:
                on_the_way.append(self._enter(seat))
                sent += 1
            self.turn(0.1)
            welcome = [client for client in on_the_way if client.welcomed]
            self._silent.extend((client.welcomed, client) for client in welcome)
            brought += welcome
            on_the_way = [client for client in on_the_way if not client.welcomed]
            self.ping_some()
            if time.monotonic() > deadline:
                raise LoadError(f"{len(on_the_way)} clients were not welcome in time")
        return brought

    def wait(self, seconds: float) -> None:
        """Take what comes for so long; those who were brought give signs of life."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(0.05)
            self.ping_some()

    def ping_some(self) -> None:
        """Signs of life of those who were brought and gave the last one five seconds ago."""
        now = time.monotonic()
        while self._silent and self._silent[0][0] <= now - _PING_EVERY:
            _, client = self._silent.popleft()
            self._pinged += 1
            client.ping(self._pinged & 0xFFFF)
            self._silent.append((now, client))

    def turn(self, timeout: float) -> bool:
        """Wait for something to come, and take it. Returns whether something did."""
        connections, read, counted = self._connections, self._read, Stage.COUNTED
        events = self._epoll.poll(timeout)
        for fd, _ in events:
            connection = connections[fd]
            if connection.stage is counted:
                read(connection)
            else:
                self._converse(connection)
        return bool(events)

    def settle(self) -> None:
        """Take what comes until nothing comes any more, for 10 seconds at most; first see that all hear their room."""
        self.tune_in()
        deadline = time.monotonic() + 10.0
        while self.turn(0.2) and time.monotonic() < deadline:
            pass

    def tune_in(self) -> None:
        """See that something has come for each member of a topic room.

        A publisher says nothing to a token that it could not answer: it is shown until something comes.
        """
        deadline = time.monotonic() + 10.0
        again = time.monotonic() + _PRESENT_AGAIN
        while untuned := self._untuned():
            self.turn(0.1)
            now = time.monotonic()
            if now > deadline:
                raise LoadError(f"{len(untuned)} members of a topic room hear nothing")
            if now >= again:
                again = now + _PRESENT_AGAIN
                for connection in untuned:
                    connection.present()

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

    def _untuned(self) -> list[Connection]:
        self._downlinks = [connection for connection in self._downlinks if not connection.client.items]
        return self._downlinks

    def _enter(self, seat: Seat) -> Client:
        self._entering += 1
        client = Client(self._port, seat, time.monotonic())
        self._register(client.session)
        return client

    def _register(self, connection: Connection) -> None:
        self._connections[connection.fd] = connection
        # On the loopback the connection is there at once, unless the listener's queue is full.
        self._epoll.register(connection.fd, select.EPOLLIN if connection.start() else select.EPOLLOUT)

    def _converse(self, connection: Connection) -> None:
        if connection.stage is Stage.CONNECTING:
            if not connection.start():
                raise LoadError("a connection was not accepted")
            self._epoll.modify(connection.fd, select.EPOLLIN)
            return
        size = connection.sock.recv_into(self._buffer)
        if not size:
            raise LoadError(f"the server closed a connection on the way to a seat, at {connection.stage.name}")
        client = connection.client
        was_member = client.member
        for body in connection.converse(self._buffer[:size]):
            another = client.hear(body)
            if another is not None:
                self._register(another)
        if client.member and not was_member:
            self._entering -= 1
            self.members.append(client)
            if connection.skip:
                self._downlinks.append(connection)
        if connection.stage is Stage.COUNTED and connection.carry:
            self._count(connection, self._take_carry(connection))

    def _take_carry(self, connection: Connection) -> int:
        size = len(connection.carry)
        self._buffer[:size] = connection.carry
        connection.carry = b""
        return size

    def read(self, client: Client) -> None:
        """Take what has come for one member; with its socket set to block, wait for it."""
        self._read(client.link)

    def _read(self, connection: Connection) -> None:
        if connection.carry:
            start = self._take_carry(connection)
            size = connection.sock.recv_into(self._view[start:])
        else:
            start = 0
            size = connection.sock.recv_into(self._buffer)
        if not size:
            raise LoadError("the server closed a member's connection")
        self._count(connection, start + size)

    def _count(self, connection: Connection, size: int) -> None:
        """Walk over the frames in the first ``size`` bytes of the buffer; keep a last piece for later."""
        buffer = self._buffer
        client, skip = connection.client, connection.skip
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
            if flags & COMMAND:
                if answer := answer_to_command(bytes(buffer[body:end])):
                    connection.sock.send(answer)
                at = end
                continue
            body += skip
            kind = buffer[body + 1]
            if kind == _DELIVER:
                offset, items = _PLACE.unpack_from(buffer, body + _PLACE_AT)
                if client.stream not in (offset, -1):
                    if not (skip and buffer[body - skip] == _OWN_TOPIC and offset < client.stream):
                        raise LoadError(f"a bundle begins at {offset}, and the one before ended at {client.stream}")
                    # It was brought up to what had been published when it tuned in; some of that it has heard.
                    items = max(0, offset + items - client.stream)
                    offset = client.stream
                client.stream = offset + items
                client.items += items
            elif kind not in (_ACK, _PONG):
                raise LoadError(f"the server said {unpack(bytes(buffer[body:end]))!r:.200}")
            at = end
        if at < size:
            connection.carry = bytes(buffer[at:size])
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
        at = self._buffer.find(_LOOP_MARK, 0, size)
        if at >= 0:
            self.loop_times.add(_STAMP.unpack_from(self._buffer, at + len(_LOOP_MARK))[0])
        at = self._buffer.find(_STAMP_MARK, 0, size)
        while at >= 0:
            at += len(_STAMP_MARK)
            self.stamps.append(now - _STAMP.unpack_from(self._buffer, at)[0])
            at = self._buffer.find(_STAMP_MARK, at + _STAMP.size, size)
