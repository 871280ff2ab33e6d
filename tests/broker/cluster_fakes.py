"""What stands around a registrar in these tests: connections, probes, a clock that is moved, and workers to play."""

from collections.abc import Callable, Hashable
from random import Random
from typing import Any

from server_room_system.broker.directory import Directory
from server_room_system.broker.placement import Placement
from server_room_system.broker.registrar import Registrar, WorkerDesk
from server_room_system.broker.workers import WorkerRecord, Workers
from server_room_system.protocol import (
    Alarms,
    Challenge,
    ClusterMessage,
    Limits,
    Probed,
    Prove,
    Register,
    Registered,
    Reports,
    download_decoder,
    encode_cluster,
    parse_cluster,
    prove,
)
from server_room_system.rooms.control import RoomReport, report_to_wire

START = 1000.0
KEY = bytes(range(32))
ENDPOINT = "tcp://127.0.0.1:7001"
DESCRIPTION: dict[str, Any] = {
    "types": ["duel"],
    "labels": [],
    "max_rooms": 100,
    "isolated": False,
    "pid": 4711,
    "host": "alpha",
}

_decode = download_decoder(Limits(nesting=32))


def read_cluster(frame: bytes) -> ClusterMessage:
    """The message that a worker or administrator makes of a frame."""
    return parse_cluster(_decode(frame))


class FakeConnection:
    """A connection at the workers' address, or an administrator's."""

    def __init__(self) -> None:
        self.address = "10.0.0.1"
        self.frames: list[bytes] = []
        self.hung_up = False
        self.on_gone: Callable[[], None] = lambda: None
        self._read = 0

    def say_frame(self, frame: bytes) -> None:
        self.frames.append(frame)

    def hang_up(self) -> None:
        """As the port does it: everybody on the connection hears so at once."""
        if not self.hung_up:
            self.hung_up = True
            self.on_gone()

    def take(self) -> list[bytes]:
        """What was sent since the last time."""
        frames = self.frames[self._read :]
        self._read = len(self.frames)
        return frames

    def heard(self) -> list[ClusterMessage]:
        return [read_cluster(frame) for frame in self.take()]


class FakeClock:
    """Alarms, and a clock that is moved."""

    def __init__(self) -> None:
        self.now = START
        self.alarms: Alarms[tuple[Callable[..., None], tuple[Hashable, ...]]] = Alarms()

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        self.alarms.set((callback, args), when)

    def clear_alarm(self, callback: Callable[..., None], *args: Hashable) -> None:
        self.alarms.clear((callback, args))

    def advance(self, seconds: float) -> None:
        """Let time pass. Each deadline is met in a turn of its own."""
        end = self.now + seconds
        while (when := self.alarms.next()) is not None and when <= end:
            self.now = max(self.now, when)
            self.ring()
        self.now = end

    def jump(self, seconds: float) -> None:
        """Let time pass while nothing runs: nothing is met yet."""
        self.now += seconds

    def ring(self) -> None:
        """Meet what is due."""
        for callback, args in self.alarms.due(self.now):
            callback(*args)


Then = Callable[[Probed | None], None]


class FakeRegistrarOutbox(FakeClock):
    """Notes what the registrar tells, and lets the test answer probes."""

    def __init__(self) -> None:
        super().__init__()
        self.probes: list[tuple[str, bytes, Then]] = []
        self.registered: list[WorkerRecord] = []
        self.renewed: list[WorkerRecord] = []
        self.returned: list[WorkerRecord] = []
        self.gone: list[WorkerRecord] = []
        self.settled: list[WorkerRecord] = []
        self.refused: list[str] = []
        """Addresses of those who have shown a wrong key."""
        self.reports: list[tuple[WorkerRecord, RoomReport]] = []
        self.wants_flush = False

    def flush_later(self) -> None:
        self.wants_flush = True

    def probe(self, endpoint: str, nonce: bytes, then: Then) -> None:
        self.probes.append((endpoint, nonce, then))

    def worker_registered(self, record: WorkerRecord) -> None:
        self.registered.append(record)

    def worker_report(self, record: WorkerRecord, report: RoomReport) -> None:
        self.reports.append((record, report))

    def worker_renewed(self, record: WorkerRecord) -> None:
        self.renewed.append(record)

    def worker_returned(self, record: WorkerRecord) -> None:
        self.returned.append(record)

    def worker_settled(self, record: WorkerRecord) -> None:
        self.settled.append(record)

    def auth_refused(self, address: str) -> None:
        self.refused.append(address)

    def worker_gone(self, record: WorkerRecord) -> None:
        self.gone.append(record)


class Office:
    """A registrar, and applicants that come to it."""

    def __init__(self, first_generation: int = 1000) -> None:
        self.out = FakeRegistrarOutbox()
        self.workers = Workers(Placement())
        self.directory = Directory()
        self.registrar = Registrar(KEY, self.workers, self.directory, self.out, Random(1).randbytes, first_generation)
        self.registrar.start()

    def connect(self) -> "Applicant":
        return Applicant(self)

    def register(self, name: str = "w1", **said: Any) -> "Applicant":
        """A worker that is let in."""
        applicant = self.connect()
        applicant.register(name, **said)
        assert isinstance(applicant.answer, Registered), applicant.answer
        return applicant

    def record(self, name: str = "w1") -> WorkerRecord:
        record = self.workers.get(name)
        assert record is not None
        return record


class Applicant:
    """A connection at the workers' address, and what it says there."""

    def __init__(self, office: Office, key: bytes = KEY) -> None:
        self.office = office
        self.connection = FakeConnection()
        self.desk = WorkerDesk(office.registrar, self.connection)
        self.connection.on_gone = self.desk.lost
        self.key = key
        self.name = ""
        self.nonce = b""
        self.answer: ClusterMessage | None = None
        """What PROVE was answered with."""

    def say(self, message: ClusterMessage) -> list[ClusterMessage]:
        """What is answered at once. What is said crosses a wire."""
        self.office.registrar.on_message(self.desk, read_cluster(encode_cluster(message)))
        return self.connection.heard()

    def challenge(self, name: str = "w1", nonce: bytes = b"n" * 16) -> Challenge:
        self.name, self.nonce = name, nonce
        (challenge,) = self.say(Register([1], name, nonce))
        assert isinstance(challenge, Challenge)
        return challenge

    def proof(self, challenge: Challenge, endpoint: str = ENDPOINT) -> bytes:
        return prove(self.key, "worker", challenge.nonce, self.nonce, self.name.encode(), endpoint.encode())

    def register(
        self,
        name: str = "w1",
        *,
        endpoint: str = ENDPOINT,
        generation: int = 0,
        probed: bool = True,
        **described: Any,
    ) -> None:
        """All that an applicant does; ``probed``: whether it answers at its endpoint."""
        challenge = self.challenge(name)
        answers = self.say(Prove(self.proof(challenge, endpoint), endpoint, generation, {**DESCRIPTION, **described}))
        if answers:
            (self.answer,) = answers
        elif probed:
            self.answer_probe()

    def answer_probe(self, name: str | None = None, key: bytes = KEY) -> None:
        _, nonce, then = self.office.out.probes.pop()
        name = self.name if name is None else name
        then(Probed(name, prove(key, "endpoint", nonce, name.encode())))
        heard = self.connection.heard()
        self.answer = heard[-1] if heard else None

    @property
    def generation(self) -> int:
        assert isinstance(self.answer, Registered)
        return self.answer.generation

    def report(self, *reports: RoomReport) -> list[ClusterMessage]:
        return self.say(Reports(self.generation, [report_to_wire(report) for report in reports]))

    def lose(self) -> None:
        """The connection is lost."""
        if not self.connection.hung_up:
            self.connection.hung_up = True
            self.desk.lost()
