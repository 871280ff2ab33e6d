"""What stands around the broker in these tests: connections, a worker, a clock that is moved."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar

from server_room_system import BrokerLimits, ClientData, Limits, RemoteError, Session
from server_room_system.broker.auth import Asking
from server_room_system.broker.broker import Broker
from server_room_system.broker.queues import MatchQueue, Ticket
from server_room_system.broker.tokens import TokenMint
from server_room_system.broker.workers import LOCAL, Desk, WorkerRecord
from server_room_system.protocol import Ack, Alarms, Error, Join, Message, Welcome, download_decoder, encode, parse
from server_room_system.rooms.control import (
    Failed,
    Inspected,
    OpenRoom,
    Order,
    Refused,
    Reserved,
    ReserveSeats,
    RoomReport,
    RoomUpdated,
    Seated,
)
from server_room_system.rooms.registration import WorkerDescription
from server_room_system.rooms.seats import SeatState
from server_room_system.rooms.uplink import Uplink
from server_room_system.transport import Sent
from server_room_system.transport.locks import NOBODY

START = 1000.0

M = TypeVar("M")

_decode = download_decoder(Limits())
_DESCRIBED: dict[str, Any] = {
    "types": [],
    "labels": [],
    "max_rooms": 1 << 30,
    "isolated": False,
    "pid": 0,
    "host": "",
}


class FakeOutbox:
    """The outbox of reception and broker: records what is written, and has a clock."""

    def __init__(self) -> None:
        self.now = START
        self.frames: list[tuple[bytes, bytes]] = []
        self.full: set[bytes] = set()
        self.alarms: Alarms[tuple[Callable[..., None], tuple[Hashable, ...]]] = Alarms()
        self.asked: list[Order] = []
        """What was asked of the worker."""
        self.application: list[tuple[Session, str, Any]] = []
        self.application_is_full = False
        self.to_check: list[Asking] = []
        """What ``on_auth`` was asked."""
        self.unwanted: list[Asking] = []
        """Whose answers are not wanted any more."""
        self.refused_at: list[str] = []
        """Where credentials were shown that are not good."""
        self.later: list[Callable[[], None]] = []
        """What waits for the application."""
        self.to_rate: list[tuple[MatchQueue, Ticket]] = []
        self.rated: Callable[[Ticket, BaseException | None], None] | None = None
        """Called at once with each ticket that is to be rated; None: tests answer themselves."""
        self.failures: list[tuple[str, BaseException]] = []
        """What hooks of queues have raised."""
        self.flush: Callable[[], None] = lambda: None
        self.settled_at = 0.0
        self.entered: list[tuple[Session, Join]] = []
        """Who was to take its seat at once."""
        self.takes_in = True
        """Whether the room lets them."""
        self.seats: dict[tuple[str, str], SeatState] = {}
        """How the seats of those stand whom it has taken in, by session and room."""

    # What the broker calls.

    def send(self, peer: bytes, frame: bytes) -> Sent:
        if peer in self.full:
            return Sent.FULL
        self.frames.append((peer, frame))
        return Sent.TAKEN

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]:
        outcomes = [(peer, self.send(peer, frame)) for peer in peers]
        return [(peer, sent) for peer, sent in outcomes if sent is not Sent.TAKEN]

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        self.alarms.set((callback, args), when)

    def clear_alarm(self, callback: Callable[..., None], *args: Hashable) -> None:
        self.alarms.clear((callback, args))

    def flush_later(self) -> None:
        """Every turn of these tests ends with a flush."""

    def application_message(self, session: Session, name: str, data: Any) -> bool:
        if self.application_is_full:
            return False
        self.application.append((session, name, data))
        return True

    def after_application(self, then: Callable[[], None]) -> None:
        self.later.append(then)

    @property
    def workers_expected(self) -> int:
        return 0

    @property
    def workers_starting(self) -> bool:
        return False

    def want_spare(self) -> bool:
        return False

    def enter(self, session: Session, join: Join) -> bool:
        self.entered.append((session, join))
        if self.takes_in:
            self.seats[session.session, join.room] = SeatState.JOINED
        return self.takes_in

    def seat_in(self, session: Session, room: str) -> SeatState | None:
        return self.seats.get((session.session, room))

    def inspected(self, report: Inspected | Failed) -> None:
        raise AssertionError("nobody has asked")

    def check_credentials(self, asking: Asking) -> None:
        self.to_check.append(asking)

    def stop_checking(self, asking: Asking) -> None:
        self.unwanted.append(asking)

    def auth_refused(self, address: str) -> None:
        self.refused_at.append(address)

    def rate(self, queue: MatchQueue, ticket: Ticket) -> None:
        self.to_rate.append((queue, ticket))
        if self.rated is not None:
            queue.on_ticket(ticket)
            self.rated(ticket, None)

    def stop_rating(self, ticket: Ticket) -> None:
        self.to_rate = [asked for asked in self.to_rate if asked[1] is not ticket]

    def policy_failed(self, queue: str, error: BaseException) -> None:
        self.failures.append((queue, error))

    def order(self, order: Order) -> None:
        """The desk of the worker."""
        self.asked.append(order)

    # What tests call.

    @contextmanager
    def turn(self) -> Iterator[None]:
        yield
        self.flush()

    def advance(self, seconds: float) -> None:
        """Let time pass. Each deadline is met in a turn of its own."""
        end = self.now + seconds
        while (when := self.alarms.next()) is not None and when <= end:
            self.now = max(self.now, when)
            with self.turn():
                for callback, args in self.alarms.due(self.now):
                    callback(*args)
        self.now = end

    def asked_for(self, kind: type[M]) -> list[M]:
        return [message for message in self.asked if isinstance(message, kind)]


def a_worker(name: str, desk: Desk, endpoint: str | None = None, **described: Any) -> WorkerRecord:
    """A worker that serves; without an endpoint it is the one in the broker's own process."""
    description = WorkerDescription(**{**_DESCRIBED, **described})
    return WorkerRecord(name, 0, endpoint, description, desk, START)


class FakeCaller:
    """A connection."""

    _count = 0

    def __init__(self, out: FakeOutbox) -> None:
        FakeCaller._count += 1
        self.peer = b"peer %d" % FakeCaller._count
        self.address = f"10.0.0.{FakeCaller._count % 250}"
        self.clogged = False
        self.vouched = NOBODY
        self.hung_up = False
        self.sessions: frozenset[str] = frozenset()
        self.refs: dict[int, Uplink] = {}
        self._out = out
        self._next_ref = 1000 * FakeCaller._count
        self._read = 0

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
        self.say(Error(ref, ask, int(error.code), error.text, error.data))

    def hang_up(self) -> None:
        self.hung_up = True
        self.lose()

    def lose(self) -> None:
        """The connection is gone."""
        with self._out.turn():
            while self.refs:
                _, uplink = self.refs.popitem()
                uplink.lost()

    def heard(self) -> list[Message]:
        """What was sent on it since the last time."""
        frames = self._out.frames[self._read :]
        self._read = len(self._out.frames)
        return [parse(_decode(frame)) for peer, frame in frames if peer == self.peer]


class Guest:
    """A client of a broker: one session, over as many connections as it takes."""

    def __init__(self, bench: "Bench", caller: FakeCaller, welcome: Welcome) -> None:
        self.bench = bench
        self.caller = caller
        self.welcome = welcome
        self.number = 0

    @property
    def ref(self) -> int:
        return self.welcome.ref

    @property
    def session(self) -> Session:
        session = self.bench.broker.sessions.get(self.welcome.session)
        assert session is not None
        return session

    def ask(self, message: Message) -> list[Message]:
        """What is answered at once."""
        self.bench.say(self.caller, message)
        return self.caller.heard()

    def confirm(self) -> None:
        with self.bench.out.turn():
            self.caller.refs[self.ref].on_ack(0)

    def lose(self) -> None:
        self.caller.lose()

    def heard(self) -> list[Message]:
        return self.caller.heard()

    def acks(self) -> list[int]:
        return [message.number for message in self.heard() if isinstance(message, Ack)]


class Bench:
    """A broker with a recording outbox, and the clients that come to it."""

    def __init__(
        self,
        limits: BrokerLimits | None = None,
        announced: Limits | None = None,
        *,
        asks: bool = False,
        life: int = 1,
        queues: dict[str, MatchQueue] | None = None,
    ) -> None:
        self.out = FakeOutbox()
        mint = TokenMint(b"key of these tests", life)
        self.broker = Broker(
            announced or Limits(),
            self.out,
            Random(life + 4).randbytes,
            limits or BrokerLimits(),
            mint,
            match_queues=queues,
            asks=asks,
        )
        self.out.rated = self.broker.tickets.rated
        self.worker = a_worker(LOCAL, self.out)
        self.broker.workers.add(self.worker)
        self.out.flush = self.broker.reception.flush

    def say(self, caller: FakeCaller, message: Message) -> None:
        """A client says something, in a turn of its own. What the broker raises is answered, as the port does it."""
        with self.out.turn():
            try:
                self.broker.on_message(caller, message)
            except RemoteError as error:
                caller.refuse(error, getattr(message, "ref", 0), getattr(message, "ask", 0))

    # The worker.

    def report(self, report: RoomReport) -> None:
        self.broker.on_report(self.worker, report)

    def grant(self, wanted: OpenRoom | ReserveSeats, *, timeout: float = 15.0) -> None:
        """The worker holds the seats."""
        reservations = [Random(f"{wanted.ask} {number}").randbytes(16) for number in range(len(wanted.seats))]
        with self.out.turn():
            if isinstance(wanted, OpenRoom):
                self.report(RoomUpdated(wanted.room, "duel", 0, 0, len(wanted.seats), wanted.matched, {}))
            self.report(Reserved(wanted.ask, wanted.room, reservations, timeout))

    def refuse(self, wanted: OpenRoom | ReserveSeats, code: int, text: str = "no") -> None:
        with self.out.turn():
            self.report(Refused(wanted.ask, code, text))

    def seat(self, guest: Guest, room: str) -> None:
        """The worker tells that a client has joined."""
        with self.out.turn():
            self.report(Seated(room, guest.welcome.session, ClientData(guest.welcome.client_id, "")))

    @property
    def wanted(self) -> OpenRoom | ReserveSeats:
        """The last seats that the worker was asked for."""
        return next(one for one in reversed(self.out.asked) if isinstance(one, OpenRoom | ReserveSeats))
