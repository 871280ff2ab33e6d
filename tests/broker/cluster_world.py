"""A broker and its workers without a network: connections, clocks, processes and rooms are played.

Time goes by in steps of a twentieth of a second, in which everything that is said arrives.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from server_room_system import BrokerLimits, ClientData, Code, Limits, RemoteError
from server_room_system.broker.broker import Broker
from server_room_system.broker.registrar import Registrar, WorkerDesk
from server_room_system.broker.tokens import TokenMint
from server_room_system.broker.workers import WorkerRecord
from server_room_system.protocol import (
    Assigned,
    ClusterMessage,
    Hello,
    Message,
    Probed,
    Resume,
    RoomLost,
    Welcome,
    encode_cluster,
    prove,
)
from server_room_system.rooms.control import (
    CloseRoom,
    OpenRoom,
    Refused,
    ReleaseSeats,
    Reserved,
    ReserveSeats,
    RoomEnded,
    RoomReport,
    RoomUpdated,
    Seated,
    SeatWish,
    Settled,
    Unseated,
    order_from_wire,
    report_to_wire,
)
from server_room_system.rooms.registration import Registration, RegistrationState, WorkerDescription

from .cluster_fakes import KEY, read_cluster
from .fakes import FakeCaller, FakeOutbox

START = 1000.0
STEP = 0.05
SEATS = 3
NAMES = ("w1", "w2", "w3")


class Wire:
    """One connection from a worker to the broker. While it is held, nothing arrives and no end is noticed."""

    def __init__(self, process: "Process", side: "Side") -> None:
        self.process = process
        self.address = "10.0.0.1"
        self.up_frames: deque[bytes] = deque()
        self.down_frames: deque[bytes] = deque()
        self.held = False
        self.closed_by_worker = False
        self.closed_by_broker = False
        self.desk = WorkerDesk(side.registrar, self)

    # The broker's end.

    def say_frame(self, frame: bytes) -> None:
        if not self.closed_by_broker:
            self.down_frames.append(frame)

    def hang_up(self) -> None:
        if not self.closed_by_broker:
            self.closed_by_broker = True
            self.desk.lost()


class Process:
    """One life of a worker process: its registration, and rooms that do what they are told."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.endpoint = f"tcp://127.0.0.1:{7000 + NAMES.index(name)}"
        self.rooms: dict[str, dict[str, ClientData]] = {}
        self.held: dict[str, set[str]] = {}
        """Sessions that have a seat reserved, by room."""
        self.generations: list[int] = []
        self.wire: Wire | None = None
        self.dial_at: float | None = world.now
        self.stopped = False
        self.dead = False
        self.pending: list[RoomReport] = []
        self.registration = Registration(
            name,
            KEY,
            self.endpoint,
            lambda: WorkerDescription(["duel"], [], 100, False, 1, "alpha"),
            dict,
            self,
            world.random.randbytes,
        )

    @property
    def is_serving(self) -> bool:
        return self.registration.state is RegistrationState.SERVING and not self.dead

    # The outbox of the registration.

    def dial_later(self) -> None:
        if self.dial_at is None:
            self.dial_at = self.world.now + 0.1

    def hang_up(self) -> None:
        if self.wire is not None:
            self.wire.closed_by_worker = True
            self.wire = None

    def transmit(self, message: ClusterMessage) -> None:
        if self.wire is not None:
            self.wire.up_frames.append(encode_cluster(message))

    def obey(self, items: list[Any]) -> None:
        assert self.is_serving, "an order was obeyed without a lease"
        assert self.world.now < self.registration._lease_until, "an order was obeyed after the lease"
        for item in items:
            self.order(order_from_wire(item))

    def serving(self, keep: bool) -> None:
        generation = self.registration.generation
        if self.generations:
            assert generation > self.generations[-1] or (keep and generation == self.generations[-1])
        self.generations.append(generation)
        self.pending.clear()
        if keep:
            for room, members in self.rooms.items():
                self.pending.append(self.summary(room))
                self.pending += [Seated(room, session, client) for session, client in members.items()]
            self.pending.append(Settled())
        else:
            assert not self.rooms, "rooms outlived the registration that they were made under"

    def drop_rooms(self) -> None:
        for room, members in self.rooms.items():
            for session in members:
                self.world.told_left[session, room] += 1
        self.rooms.clear()
        self.held.clear()
        self.pending.clear()

    def over(self, error: RemoteError) -> None:
        # Its name is taken: what it was before is not known to be gone yet. Its supervisor starts it again.
        assert error.code == Code.WORKER_REFUSED
        self.world.restart(self)

    # Rooms.

    def summary(self, room: str) -> RoomUpdated:
        taken = len(self.rooms[room]) + len(self.held[room])
        return RoomUpdated(room, "duel", len(self.rooms[room]), SEATS - taken, SEATS, False, {})

    def order(self, order: Any) -> None:
        if isinstance(order, OpenRoom):
            assert order.room not in self.rooms
            self.rooms[order.room], self.held[order.room] = {}, set()
            self.reserve(order.ask, order.room, order.seats)
        elif isinstance(order, ReserveSeats):
            if order.room in self.rooms:
                self.reserve(order.ask, order.room, order.seats)
            else:
                self.pending.append(Refused(order.ask, int(Code.ROOM_NOT_FOUND), ""))
        elif isinstance(order, ReleaseSeats):
            for room in order.rooms:
                self.held.get(room, set()).discard(order.session)
                if order.joined and self.rooms.get(room, {}).pop(order.session, None) is not None:
                    self.world.told_left[order.session, room] += 1
                    self.pending += [Unseated(room, order.session), self.summary(room)]
        else:
            assert isinstance(order, CloseRoom)
            self.close(order.room)

    def reserve(self, ask: int, room: str, seats: list[SeatWish]) -> None:
        if len(self.rooms[room]) + len(self.held[room]) + len(seats) > SEATS:
            self.pending.append(Refused(ask, int(Code.ROOM_FULL), ""))
            return
        self.held[room] |= {seat.session for seat in seats}
        secrets = [self.world.random.randbytes(16) for _ in seats]
        self.pending += [self.summary(room), Reserved(ask, room, secrets, 15.0)]

    def join(self, room: str, session: str, client: ClientData) -> bool:
        if self.dead or self.stopped or not self.registration.check(self.world.now):
            return False
        if session not in self.held.get(room, set()):
            return False
        self.held[room].remove(session)
        self.rooms[room][session] = client
        self.pending += [Seated(room, session, client), self.summary(room)]
        return True

    def close(self, room: str) -> None:
        members = self.rooms.pop(room, {})
        self.held.pop(room, None)
        for session in members:
            self.world.told_left[session, room] += 1
            self.pending.append(Unseated(room, session))
        self.pending.append(RoomEnded(room))

    # Turns.

    def turn(self) -> None:
        """As the worker's shell: look at the clock, do what is due, report."""
        now = self.world.now
        self.registration.check(now)
        if self.dial_at is not None and now >= self.dial_at:
            self.dial_at = None
            self.world.dial(self)
        self.registration.tick(now)
        reports, self.pending = self.pending, []
        if reports:
            self.registration.report([report_to_wire(report) for report in reports])


class Side(FakeOutbox):
    """One life of the broker: the outbox of everything in it."""

    def __init__(self, world: "World", life: int) -> None:
        super().__init__()
        self.world = world
        self.now = world.now
        self.stopped = False
        self.settled_at = world.now + 6.0 if life > 1 else world.now
        mint = TokenMint(KEY, life)
        first_client = 10_000 * life
        self.broker = Broker(Limits(), self, world.random.randbytes, BrokerLimits(), mint, first_client=first_client)
        self.registrar = Registrar(
            KEY, self.broker.workers, self.broker.directory, self, world.random.randbytes, life << 20
        )
        self.registrar.start()
        self.flush = self.flush_all
        self.wires: list[Wire] = []
        self.probes: list[tuple[float, str, bytes, Callable[[Probed | None], None]]] = []

    def flush_all(self) -> None:
        self.broker.reception.flush()
        self.registrar.flush()

    @property
    def workers_expected(self) -> int:
        return int(self.now < self.settled_at)

    def probe(self, endpoint: str, nonce: bytes, then: Callable[[Probed | None], None]) -> None:
        self.probes.append((self.now + 2.0, endpoint, nonce, then))

    def worker_registered(self, record: WorkerRecord) -> None:
        self.broker.seating.retry()

    def worker_report(self, record: WorkerRecord, report: RoomReport) -> None:
        self.broker.on_report(record, report)

    def worker_renewed(self, record: WorkerRecord) -> None:
        self.broker.seating.retry()

    def worker_returned(self, record: WorkerRecord) -> None:
        self.broker.seating.unheard(record)

    def worker_settled(self, record: WorkerRecord) -> None:
        record.order_again()

    def auth_refused(self, address: str) -> None:
        raise AssertionError("everybody here has the cluster key")

    def worker_gone(self, record: WorkerRecord) -> None:
        self.world.judged(record)
        self.broker.worker_gone(record)

    def go_on(self) -> None:
        self.now = self.world.now
        with self.turn():
            for callback, args in self.alarms.due(self.now):
                callback(*args)


@dataclass(eq=False)
class Client:
    """A client: its session, and the rooms that it believes to be in."""

    caller: FakeCaller
    welcome: Welcome
    rooms: dict[str, int] = field(default_factory=dict)
    """Where it has joined, and in which life of the broker."""
    seats: dict[str, str] = field(default_factory=dict)
    """Rooms that it has a seat assigned in, and where."""
    known: set[str] = field(default_factory=set)
    """Rooms that it ever had a seat assigned in."""
    lost: "Counter[str]" = field(default_factory=Counter)
    """How often it was told that a room is lost, by the broker."""
    over: bool = False
    asks: int = 100

    @property
    def session(self) -> str:
        return self.welcome.session


class World:
    """Everybody, and the time."""

    def __init__(self, seed: int) -> None:
        self.now = START
        self.random = Random(seed)
        self.told_left: Counter[tuple[str, str]] = Counter()
        """How often members were told by their worker that they are out."""
        self.life = 1
        self.side = Side(self, 1)
        self.processes = {name: self.start(name) for name in NAMES}
        self.clients: list[Client] = []
        self.buried: set[str] = set()
        """Rooms whose worker this broker gave up."""

    def start(self, name: str) -> Process:
        return Process(self, name)

    def restart(self, process: Process) -> None:
        """A new process takes the place of one that ends."""
        self.kill(process)
        fresh = self.processes[process.name] = self.start(process.name)
        fresh.dial_at = self.now + 1.0

    def kill(self, process: Process) -> None:
        process.dead = True
        for room, members in process.rooms.items():
            for session in members:
                self.told_left[session, room] += 0  # nobody says anything any more
        process.rooms.clear()
        process.hang_up()

    def dial(self, process: Process) -> None:
        if self.side.stopped:
            process.dial_later()
            return
        wire = process.wire = Wire(process, self.side)
        self.side.wires.append(wire)
        process.registration.up(self.now)

    def judged(self, record: WorkerRecord) -> None:
        """The broker gives a worker up. By its lease: then it does not serve any more, by its own clock."""
        process = self.processes[record.name]
        self.buried |= {entry.report.room for entry in self.side.broker.directory if entry.worker is record}
        by_lease = self.now >= record.lease_until and any(
            wire.process is process and not wire.closed_by_broker for wire in self.side.wires
        )
        if by_lease and process.registration.generation == record.generation:
            may_serve = process.is_serving and self.now < process.registration._lease_until
            assert not may_serve, "a worker could serve when the broker gave its lease up"

    def restart_broker(self) -> None:
        """It is killed, and another begins at the same address."""
        unnoticed = [wire for wire in self.side.wires if wire.process.wire is wire]
        for wire in unnoticed:
            wire.closed_by_broker = True
        self.life += 1
        self.buried.clear()
        self.side = Side(self, self.life)
        self.side.wires += unnoticed  # each worker notices when it runs, and the wire is not held
        for client in self.clients:
            client.caller = FakeCaller(self.side)
            client.seats.clear()

    # Time.

    def step(self) -> None:
        self.now += STEP
        if not self.side.stopped:
            self.side.go_on()
        for process in list(self.processes.values()):
            if not process.stopped and not process.dead:
                process.turn()
        for _ in range(6):
            self.deliver()

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.step()

    def deliver(self) -> None:
        side = self.side
        if not side.stopped:
            self.answer_probes()
        for wire in list(side.wires):
            if wire.held:
                continue
            process = wire.process
            if not side.stopped and not wire.closed_by_broker:
                while wire.up_frames and not wire.closed_by_broker:
                    with side.turn():
                        side.registrar.on_message(wire.desk, read_cluster(wire.up_frames.popleft()))
                if wire.closed_by_worker and not wire.closed_by_broker:
                    wire.closed_by_broker = True
                    with side.turn():
                        wire.desk.lost()
            if process.wire is wire and not process.stopped and not process.dead:
                while wire.down_frames and process.wire is wire:
                    process.registration.receive(read_cluster(wire.down_frames.popleft()), self.now)
                    process.registration.tick(self.now)
                if wire.closed_by_broker and process.wire is wire:
                    process.wire = None
                    process.registration.down(self.now)
            if wire.closed_by_broker and (wire.closed_by_worker or process.wire is not wire):
                side.wires.remove(wire)
        for client in self.clients:
            self.hear(client)

    def answer_probes(self) -> None:
        side = self.side
        waiting, side.probes = side.probes, []
        for deadline, endpoint, nonce, then in waiting:
            process = next(one for one in self.processes.values() if one.endpoint == endpoint)
            answer: Probed | None = None
            if process.stopped and self.now < deadline:
                side.probes.append((deadline, endpoint, nonce, then))
                continue
            if not (process.stopped or process.dead):
                answer = Probed(process.name, prove(KEY, "endpoint", nonce, process.name.encode()))
            with side.turn():
                then(answer)

    # Clients.

    def hear(self, client: Client) -> None:
        for message in client.caller.heard():
            if isinstance(message, Assigned):
                assert message.endpoint is not None
                client.seats[message.room] = message.endpoint
                client.known.add(message.room)
            elif isinstance(message, RoomLost):
                assert message.room in client.known, "told of a room of others"
                client.lost[message.room] += 1
                assert client.lost[message.room] == 1, "told twice"
                client.seats.pop(message.room, None)
            elif isinstance(message, Welcome):
                client.welcome = message

    def say(self, client: Client, message: Message) -> None:
        if self.side.stopped or client.over:
            return
        with self.side.turn():
            try:
                self.side.broker.on_message(client.caller, message)
            except RemoteError as error:
                client.caller.refuse(error)

    def come(self) -> None:
        caller = FakeCaller(self.side)
        with self.side.turn():
            self.side.broker.on_message(caller, Hello(1, [1], "test", {}))
        (welcome,) = caller.heard()
        assert isinstance(welcome, Welcome)
        self.clients.append(Client(caller, welcome))

    def resume(self, client: Client) -> None:
        if client.caller.refs or self.side.stopped or client.over:
            return
        self.say(client, Resume(2, [1], client.session, client.welcome.token, 0))
        self.hear(client)
        client.over = not client.caller.refs
        if not client.over:
            with self.side.turn():
                client.caller.refs[client.welcome.ref].on_ack(0)

    def join(self, client: Client, room: str) -> None:
        endpoint = client.seats.pop(room)
        process = next(one for one in self.processes.values() if one.endpoint == endpoint)
        data = ClientData(client.welcome.client_id, "")
        if process.join(room, client.session, data):
            client.rooms[room] = self.life
