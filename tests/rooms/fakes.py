"""What stands around a room in these tests: connections, a network that records, a clock that is moved."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from server_room_system import ClientData, Code, Room, RuleSet
from server_room_system.protocol import (
    Ack,
    Alarms,
    Deliver,
    Error,
    Item,
    Joined,
    Kind,
    LeftRoom,
    Limits,
    Message,
    Position,
    RemoteError,
    Reset,
    StreamReader,
    download_decoder,
    encode,
    parse,
)
from server_room_system.rooms.audience import DownlinkOfMember
from server_room_system.rooms.control import RoomReport
from server_room_system.rooms.life import RoomState
from server_room_system.rooms.mailbox import Mailbox, Then
from server_room_system.rooms.member import Member
from server_room_system.rooms.pulses import Pulses
from server_room_system.rooms.runner import Runner
from server_room_system.rooms.seats import Seat
from server_room_system.rooms.uplink import Uplink
from server_room_system.transport import (
    Key,
    Link,
    LinkSink,
    Listener,
    ListenerSink,
    Lock,
    Publisher,
    PublisherSink,
    Sent,
    Subscription,
)
from server_room_system.transport.locks import NOBODY

START = 1000.0

_decode = download_decoder(Limits())


def read(frame: bytes) -> Message:
    """The message that a client makes of a frame."""
    return parse(_decode(frame))


class Gate:
    """Something that a hook waits for until the test opens it."""

    def __init__(self) -> None:
        self._is_open = False
        self._error: BaseException | None = None
        self._value: Any = None

    def open(self, value: Any = None) -> None:
        self._is_open, self._value = True, value

    def fail(self, error: BaseException) -> None:
        self._is_open, self._error = True, error

    def __await__(self) -> Generator[None, None, Any]:
        while not self._is_open:
            yield
        if self._error is not None:
            raise self._error
        return self._value


class Hooks:
    """Runs the hooks that wait, one step at a time."""

    def __init__(self) -> None:
        self.current: Mailbox | None = None
        self.stopped: set[Mailbox] = set()
        self._waiting: dict[Mailbox, tuple[Generator[Any, Any, Any], Then]] = {}

    def run(self, mailbox: Mailbox, waiting: Awaitable[Any], then: Then) -> None:
        assert mailbox not in self._waiting, "a second hook of a room began while the first waited"
        self._waiting[mailbox] = waiting.__await__(), then

    def settle(self) -> bool:
        """Let hooks run on, as far as they can. Returns whether any is done."""
        done = False
        for mailbox, (hook, then) in list(self._waiting.items()):
            result: Any = None
            error: BaseException | None = None
            try:
                if mailbox in self.stopped:
                    self.stopped.discard(mailbox)
                    hook.throw(Cancelled())
                next(hook)
            except StopIteration as stop:
                result = stop.value
            except BaseException as raised:  # noqa: BLE001  # as the worker does
                error = raised
            else:
                continue
            del self._waiting[mailbox]
            mailbox.finished(then, result, error)
            done = True
        return done


class Cancelled(BaseException):
    """In the place of asyncio's."""


class FakeOutbox(Hooks):
    """A room's outbox that records what is written, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.frames: list[tuple[bytes, bytes]] = []
        self.full: set[bytes] = set()
        self.gone: set[bytes] = set()
        self.takes: dict[bytes, int] = {}
        """How many frames a queue takes before it is full."""
        self.reports: list[RoomReport] = []
        self.summary: Callable[[], RoomReport]
        """How the room is now."""
        self.alarms: Alarms[tuple[Callable[..., None], tuple[Hashable, ...]]] = Alarms()
        self.pulses = Pulses(self)
        self.offers: dict[bytes, DownlinkOfMember] = {}
        """Tokens for downlinks that are good."""
        self.published: list[tuple[int, bytes, bytes]] = []
        """Publisher, topic and frame."""
        self.can_cut = True
        """Whether a downlink that is taken back can be closed."""
        self._unflushed: list[Runner] = []
        self._tokens = 0

    # What runners call.

    def publish(self, shard: int, topic: bytes, frame: bytes) -> None:
        self.published.append((shard, topic, frame))

    def offer(self, holder: DownlinkOfMember) -> tuple[int, bytes]:
        self._tokens += 1
        token = self._tokens.to_bytes(16, "big")
        self.offers[token] = holder
        return 7777, token

    def revoke(self, token: bytes) -> bool:
        del self.offers[token]
        return self.can_cut

    def send(self, peer: bytes, frame: bytes) -> Sent:
        if peer in self.gone:
            return Sent.GONE
        if peer in self.full or not self.takes.get(peer, 1):
            return Sent.FULL
        if peer in self.takes:
            self.takes[peer] -= 1
        self.frames.append((peer, frame))
        return Sent.TAKEN

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]:
        outcomes = [(peer, self.send(peer, frame)) for peer in peers]
        return [(peer, sent) for peer, sent in outcomes if sent is not Sent.TAKEN]

    def flush_later(self, runner: Runner) -> None:
        self._unflushed.append(runner)

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        self.alarms.set((callback, args), when)

    def clear_alarm(self, callback: Callable[..., None], *args: Hashable) -> None:
        self.alarms.clear((callback, args))

    def stop_hook(self, mailbox: Mailbox) -> None:
        self.stopped.add(mailbox)

    def report(self, report: RoomReport) -> None:
        self.reports.append(report)

    def changed(self, room: str) -> None:
        self.reports.append(self.summary())

    # What tests call.

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A turn of the loop: what rooms say in it leaves at its end."""
        yield
        self._flush()
        while self.settle():
            self._flush()

    def advance(self, seconds: float) -> None:
        """Let time pass. Each deadline is met in a turn of its own."""
        end = self.now + seconds
        while (when := self.alarms.next()) is not None and when <= end:
            self.now = max(self.now, when)
            with self.turn():
                for callback, args in self.alarms.due(self.now):
                    callback(*args)
        self.now = end

    def block(self, seconds: float) -> None:
        """Let time pass while nothing runs: all that is due then comes in one turn."""
        self.now += seconds
        with self.turn():
            for callback, args in self.alarms.due(self.now):
                callback(*args)

    def _flush(self) -> None:
        while self._unflushed:
            runners, self._unflushed = self._unflushed, []
            for runner in runners:
                runner.flush()


class FakeCaller:
    """A connection."""

    _count = 0

    def __init__(self, out: FakeOutbox, *sessions: str) -> None:
        FakeCaller._count += 1
        self.peer = b"peer %d" % FakeCaller._count
        self.address = "10.0.0.1"
        self.clogged = False
        self.vouched = NOBODY
        self.sessions = frozenset(sessions)
        self.refs: dict[int, Uplink] = {}
        self.refusals: list[tuple[int, int]] = []
        """Code and number of the messages that were refused."""
        self._out = out
        self._next_ref = 1000 * FakeCaller._count

    @property
    def now(self) -> float:
        return self._out.now

    def add(self, uplink: Uplink) -> int:
        self._next_ref += 1
        self.refs[self._next_ref] = uplink
        return self._next_ref

    def say(self, message: Message) -> None:
        self._out.send(self.peer, encode(message))

    def say_frame(self, frame: bytes) -> None:
        self._out.send(self.peer, frame)

    def refuse(self, error: RemoteError, ref: int = 0, ask: int = 0) -> None:
        self.refusals.append((int(error.code), ask))
        self._out.send(self.peer, encode(Error(ref, ask, int(error.code), error.text, error.data)))

    def hang_up(self) -> None:
        self.lose()

    def lose(self) -> None:
        """The connection is gone."""
        while self.refs:
            _, uplink = self.refs.popitem()
            uplink.lost()

    @property
    def heard(self) -> list[Message]:
        """Everything that was sent on it."""
        return [read(frame) for peer, frame in self._out.frames if peer == self.peer]


@dataclass
class Guest:
    """A client of a room: one membership, over as many connections as it takes."""

    bench: "Bench"
    seat: Seat
    caller: FakeCaller
    number: int = 0
    items: list[list[Any]] = field(default_factory=list)
    """What it saw of the room's stream, each once."""
    resets: list[Reset] = field(default_factory=list)
    joins: list[Joined] = field(default_factory=list)
    left: LeftRoom | None = None
    reader: StreamReader | None = None
    acked: list[int] = field(default_factory=list)
    errors: list[Error] = field(default_factory=list)
    _read: int = 0

    def listen(self) -> "Guest":
        """Take in what has come on its connection."""
        frames = self.bench.out.frames
        while self._read < len(frames):
            peer, frame = frames[self._read]
            self._read += 1
            if peer == self.caller.peer:
                self._take(read(frame))
        return self

    def _take(self, message: Message) -> None:
        if isinstance(message, Joined):
            self.joins.append(message)
            position = Position(message.epoch, message.offset, message.direct)
            if self.reader is None:
                self.reader = StreamReader(position)
            assert self.reader.epoch == message.epoch
        elif isinstance(message, Deliver):
            assert self.reader is not None, "a bundle came before JOINED"
            if message.ref in (0, self.ref):
                assert message.epoch == self.reader.epoch
                self.items += [item for item, _ in self.reader.read(message.offset, message.items)]
        elif isinstance(message, Reset):
            self.resets.append(message)
            self.reader = StreamReader(Position(message.epoch, message.offset, message.direct))
        elif isinstance(message, LeftRoom) and message.ref == self.ref:
            self.left = message
        elif isinstance(message, Ack):
            self.acked.append(message.number)
        elif isinstance(message, Error):
            self.errors.append(message)

    @property
    def ref(self) -> int:
        return self.joins[-1].ref if self.joins else 0

    @property
    def token(self) -> bytes:
        return self.listen().joins[-1].token

    @property
    def member(self) -> Member:
        return self.bench.runner.members[self.seat.key]

    @property
    def position(self) -> Position:
        self.listen()
        assert self.reader is not None
        return self.reader.position

    @property
    def heard(self) -> list[Any]:
        """The data of the broadcasts and direct messages that it saw."""
        self.listen()
        return [item[-1] for item in self.items if item[0] in (Item.BROADCAST, Item.DIRECT)]

    @property
    def presence(self) -> list[tuple[str, int]]:
        """What it was told of the others."""
        self.listen()
        return [(item[1], item[2]) for item in self.items if item[0] == Item.PRESENCE]

    @property
    def replies(self) -> dict[int, Any]:
        """By the number of the request: the reply, or the failure's code, text and data."""
        self.listen()
        return {
            item[2]: tuple(item[3:]) if item[0] == Item.FAILURE else item[3]
            for item in self.items
            if item[0] in (Item.REPLY, Item.FAILURE)
        }

    def send(self, name: str, data: Any = None) -> int:
        """Say something to the room, in a turn of its own; its number."""
        with self.bench.out.turn():
            return self.say(name, data)

    def say(self, name: str, data: Any = None, kind: Kind = Kind.SEND) -> int:
        """Say something within a turn; its number."""
        self.listen()
        self.number += 1
        uplink = self.caller.refs[self.ref]
        message = [int(kind), self.ref, self.number, name, data]
        if kind is Kind.SEND:
            uplink.on_send(message)
        else:
            uplink.on_request(message)
        return self.number

    def request(self, name: str, data: Any = None) -> int:
        """Ask the room something, in a turn of its own; the number of the request."""
        with self.bench.out.turn():
            return self.say(name, data, Kind.REQUEST)

    def confirm(self, known: int = 0) -> None:
        """Say that JOINED has arrived, and what became of messages up to ``known``; ask how far they are applied."""
        self.listen()
        with self.bench.out.turn():
            self.caller.refs[self.ref].on_ack(known)

    def leave(self) -> None:
        self.listen()
        with self.bench.out.turn():
            self.caller.refs[self.ref].on_leave()

    def drop(self) -> None:
        """Its connection is lost."""
        self.listen()
        with self.bench.out.turn():
            self.caller.lose()

    def come_back(self, caller: FakeCaller | None = None) -> None:
        """On a new connection, from where it was."""
        bench, position = self.bench, self.position
        with bench.out.turn():
            seat = bench.runner.seats.reclaim(self.token)
            assert seat is self.seat
            self.caller = caller or FakeCaller(bench.out, seat.session)
            self._read = len(bench.out.frames)
            bench.runner.attendance.come_back(seat, self.caller, 77, position)


class Diary(Room):
    """A room that writes down what happens to it."""

    def __init__(self, ruleset: RuleSet | None = None) -> None:
        super().__init__(ruleset)
        self.events: list[tuple[Any, ...]] = []

    def on_create(self, options: dict[str, Any]) -> Any:
        self.events.append(("create", options))

    def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        self.events.append(("join", client.id, options))

    def ready(self) -> Any:
        self.events.append(("ready",))

    def on_drop(self, client: Member) -> Any:
        self.events.append(("drop", client.id))

    def on_reconnect(self, client: Member) -> Any:
        self.events.append(("reconnect", client.id))

    def on_leave(self, client: Member, reason: Code) -> Any:
        self.events.append(("leave", client.id, reason))

    def on_dispose(self) -> Any:
        self.events.append(("dispose",))

    def on_error(self, hook: str, error: BaseException) -> Any:
        self.events.append(("error", hook, type(error)))

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: ClientData) -> Any:
        self.events.append(("message", client_data.ID, protocol, data))

    @property
    def names(self) -> list[str]:
        """What happened, without the details."""
        return [str(event[0]) for event in self.events]


class Bench:
    """One room at work, with a recording outbox, and the clients that come to it.

    Args:
        room: what runs.
        clients: seats, unless the room says.
        matched: whether the first members were matched.
        limits: sizes of messages.
        create: whether to open it at once.
    """

    def __init__(
        self,
        room: Room,
        clients: int = 4,
        *,
        matched: bool = False,
        limits: Limits | None = None,
        create: bool = True,
        entropy: Callable[[int], bytes] | None = None,
    ) -> None:
        self.out = FakeOutbox()
        self.room = room
        self.born: list[BaseException | None] = []
        """How on_create ended."""
        self._clients = 0
        self.runner = Runner(
            room,
            "r1",
            "diary",
            RuleSet(clients),
            matched=matched,
            limits=limits or Limits(),
            out=self.out,
            entropy=entropy or Random(7).randbytes,
        )
        self.out.summary = self.runner.reports.summary
        if create:
            self.create()

    def create(self, options: dict[str, Any] | None = None) -> None:
        with self.out.turn():
            self.runner.create(options or {}, self.born.append)

    def state(self) -> RoomState:
        return self.runner.state

    def reserve(self, **options: Any) -> Seat:
        """Hold a seat for a new client, as the worker does."""
        self._clients += 1
        number = self._clients
        deadline = self.out.now + self.room.reservation_time
        seat = self.runner.seats.reserve(f"session {number}", ClientData(number, f"10.0.0.{number}"), options, deadline)
        self.out.alarm(deadline, self.runner.attendance.time_is_up, seat.key)
        return seat

    def take(self, seat: Seat, caller: FakeCaller | None = None, **options: Any) -> Guest:
        """Consume a reservation."""
        caller = caller or FakeCaller(self.out, seat.session)
        with self.out.turn():
            self.runner.seats.claim(seat.reservation, frozenset((seat.session,)))
            self.runner.attendance.join(seat, caller, 70 + seat.key, options)
        return Guest(self, seat, caller)

    def join(self, caller: FakeCaller | None = None, **options: Any) -> Guest:
        """A new client comes in."""
        return self.take(self.reserve(), caller, **options)

    def reported(self, kind: type[RoomReport]) -> list[RoomReport]:
        return [report for report in self.out.reports if isinstance(report, kind)]


# --- around a port and a worker: a listener that records, a loop that is moved ------------------------------------


class FakeHandle:
    """In the place of asyncio.TimerHandle."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.is_cancelled = False
        self._when = when

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeTask:
    """In the place of asyncio.Task: runs one step when it is told to."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.is_over = False
        self.error: BaseException | None = None
        self._coroutine = coroutine
        self._is_cancelled = False

    def cancel(self) -> None:
        self._is_cancelled = True

    def step(self) -> None:
        try:
            if self._is_cancelled:
                self._is_cancelled = False
                self._coroutine.throw(asyncio.CancelledError())
            else:
                self._coroutine.send(None)
        except StopIteration:
            self.is_over = True
        except BaseException as error:  # noqa: BLE001  # asked for by the test
            self.is_over, self.error = True, error


class FakeLoop:
    """In the place of the event loop: time, one timer after the other, and tasks."""

    def __init__(self) -> None:
        self.now = START
        self.handles: list[FakeHandle] = []
        self.tasks: list[FakeTask] = []
        self.soon: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeHandle:
        handle = FakeHandle(when, callback)
        self.handles.append(handle)
        return handle

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> FakeTask:
        task = FakeTask(coroutine)
        self.tasks.append(task)
        return task

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.soon.append((callback, args))

    @property
    def armed(self) -> list[float]:
        """When it will call back."""
        return sorted(handle.when() for handle in self.handles if not handle.is_cancelled)

    def settle(self) -> None:
        """Let tasks run on, as far as they can."""
        over = True
        while over:
            over = False
            for task in [task for task in self.tasks if not task.is_over]:
                task.step()
                over |= task.is_over
            over |= bool(self.soon)
            while self.soon:  # after the first steps of tasks that began before
                callback, args = self.soon.pop(0)
                callback(*args)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.armed and self.armed[0] <= end:
            handle = min((handle for handle in self.handles if not handle.is_cancelled), key=FakeHandle.when)
            self.handles.remove(handle)
            self.now = max(self.now, handle.when())
            handle.callback()
            self.settle()
        self.now = end


class FakeListener:
    """A listener that records."""

    address = "tcp://127.0.0.1:1234"

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, bytes]] = []
        self.full: set[bytes] = set()
        self.cuts: list[bytes] = []
        self.silent_before: list[float] = []
        self.wakes = 0
        self.is_closed = False

    def send(self, peer: bytes, frame: bytes) -> Sent:
        if peer in self.full:
            return Sent.FULL
        self.frames.append((peer, frame))
        return Sent.TAKEN

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]:
        outcomes = [(peer, self.send(peer, frame)) for peer in peers]
        return [(peer, sent) for peer, sent in outcomes if sent is not Sent.TAKEN]

    def together(self, work: Callable[[], None]) -> None:
        work()

    def cut(self, peer: bytes) -> None:
        self.cuts.append(peer)

    def cut_silent(self, before: float) -> None:
        self.silent_before.append(before)

    def wake(self) -> None:
        self.wakes += 1

    def close(self) -> None:
        self.is_closed = True

    def heard(self, peer: bytes) -> list[Message]:
        """What was sent to a peer."""
        return [read(frame) for to, frame in self.frames if to == peer]


class FakePublisher:
    """A publisher that records, and whose subscribers are the tests."""

    connections = 0

    def __init__(self, number: int) -> None:
        self.address = f"tcp://127.0.0.1:{7000 + number}"
        self.published: list[tuple[bytes, bytes]] = []
        self.cuts: list[int] = []
        self.pumps = 0
        self.is_closed = False

    def publish(self, topic: bytes, frame: bytes) -> None:
        self.published.append((topic, frame))

    def cut(self, peer: int) -> bool:
        self.cuts.append(peer)
        return True

    def pump(self) -> None:
        self.pumps += 1

    def close(self) -> None:
        self.is_closed = True


class FakeNetwork:
    """Makes the listener."""

    def __init__(self) -> None:
        self.listener = FakeListener()
        self.bound: tuple[str, int, int] | None = None
        self.lock: Lock | None = None

    def listen(self, host: str, port: int, sink: ListenerSink, largest: int, lock: Lock | None = None) -> Listener:
        self.bound = (host, port, largest)
        self.lock = lock
        return self.listener

    def publish(self, host: str, port: int, sink: PublisherSink, largest: int, lock: Lock | None = None) -> Publisher:
        raise AssertionError("a port publishes nothing")

    def subscribe(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Subscription:
        raise AssertionError("a port subscribes to nothing")

    def connect(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Link:
        raise AssertionError("a port makes no links")

    def close(self) -> None:
        raise AssertionError("a port closes no network")
