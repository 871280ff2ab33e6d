"""The registrar: lets workers in, keeps their leases, and carries orders and reports.

A worker proves that it has the cluster key, and that the endpoint which it
announces is its own: the broker connects there and asks. Each registration has
a generation; whatever comes with an older one is refused.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from ..protocol.alarms import AlarmClock
from ..protocol.cluster import (
    CLUSTER_VERSION,
    Challenge,
    ClusterMessage,
    Denied,
    Leased,
    Orders,
    Probed,
    Prove,
    Register,
    Registered,
    Renew,
    Reports,
    encode_cluster,
)
from ..protocol.errors import (
    BadMessage,
    Code,
    FinalClose,
    RemoteError,
    StaleGeneration,
    UnknownKind,
    VersionMismatch,
    WorkerRefused,
    WrongKey,
)
from ..protocol.ids import Entropy, new_token, same_secret
from ..protocol.proof import prove
from ..rooms.control import (
    Drain,
    Draining,
    Order,
    RoomEnded,
    RoomReport,
    RoomUpdated,
    Seated,
    Settled,
    Unseated,
    order_to_wire,
    report_from_wire,
)
from .announcements import check_endpoint, read_description
from .directory import Directory
from .placement import Load
from .workers import LOCAL, WorkerEvent, WorkerRecord, Workers, WorkerState

__all__ = ["LEASE", "Registrar", "RegistrarOutbox", "WorkerDesk"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".workers")

LEASE = 5.0
"""Seconds that a worker stays known after its last renewal."""
_RETURN_TIME = 0.6
"""Seconds that a worker whose connection is lost has to come back: a blip is no death."""
_BEAT = 0.5
_STALLED = 1.5
_MOST_WORKERS = 1024
_MOST_ITEMS = 512
"""Orders in one frame."""


class WorkerConnection(Protocol):
    """A connection at the workers' address."""

    @property
    def address(self) -> str:
        """The IP address that it comes from."""
        ...

    def say_frame(self, frame: bytes) -> None:
        """Send a frame, as soon as its queue takes it."""

    def hang_up(self) -> None:
        """Close it, when what was said has left."""


class RegistrarOutbox(AlarmClock, Protocol):
    """Where the registrar writes what must happen."""

    def auth_refused(self, address: str) -> None:
        """Somebody from there has shown that it does not have the cluster key."""

    def flush_later(self) -> None:
        """Call ``flush`` before this turn ends."""

    def probe(self, endpoint: str, nonce: bytes, then: Callable[[Probed | None], None]) -> None:
        """Ask who is at an endpoint; None: nobody answered in time."""

    def worker_registered(self, record: WorkerRecord) -> None:
        """A worker serves."""

    def worker_report(self, record: WorkerRecord, report: RoomReport) -> None:
        """A worker tells something."""

    def worker_renewed(self, record: WorkerRecord) -> None:
        """A worker is alive, and has told its load."""

    def worker_returned(self, record: WorkerRecord) -> None:
        """A worker is back; what it was asked and had not answered may be lost."""

    def worker_settled(self, record: WorkerRecord) -> None:
        """A worker that came back has told all that it has."""

    def worker_gone(self, record: WorkerRecord) -> None:
        """A worker and its rooms are no more."""


class WorkerDesk:
    """One connection at the workers' address: an applicant, and the worker that it becomes."""

    __slots__ = ("_registrar", "broker_nonce", "connection", "name", "nonce", "orders", "proven", "record")

    def __init__(self, registrar: "Registrar", connection: WorkerConnection) -> None:
        self.connection = connection
        self.name = ""
        self.nonce = b""
        self.broker_nonce = b""
        self.proven: Prove | None = None
        self.record: WorkerRecord | None = None
        self.orders: list[tuple[Any, ...]] = []
        self._registrar = registrar

    @property
    def trusted(self) -> bool:
        """Whether a worker has registered here."""
        return self.record is not None

    def order(self, order: Order) -> None:
        """Have something done, before the turn ends."""
        self.orders.append(order_to_wire(order))
        self._registrar.flush_later(self)

    def say(self, message: ClusterMessage) -> None:
        """Say something to the worker."""
        self.connection.say_frame(encode_cluster(message))

    def deny(self, error: RemoteError) -> None:
        """Send it away."""
        self.say(Denied(int(error.code), error.text[:512]))
        self.connection.hang_up()

    def lost(self) -> None:
        """The connection is gone."""
        self._registrar.lost(self)


class Registrar:
    """Everything that workers and broker say to each other.

    Args:
        key: the cluster key.
        workers: the table.
        directory: what is known of their rooms.
        out: where to write.
        entropy: where nonces come from.
        first_generation: above every generation of an earlier broker: by the
            wall clock, say.
    """

    def __init__(
        self,
        key: bytes,
        workers: Workers,
        directory: Directory,
        out: RegistrarOutbox,
        entropy: Entropy,
        first_generation: int,
    ) -> None:
        self._key = key
        self._workers = workers
        self._directory = directory
        self._out = out
        self._entropy = entropy
        self._first_generation = self._workers.next_generation(first_generation)
        self._to_flush: list[WorkerDesk] = []
        self._unconfirmed: dict[WorkerRecord, set[tuple[str, str]]] = {}
        """Rooms, and seats in them, that a worker which came back has not named again yet."""
        self._beat_at = 0.0
        self._stalled_until = 0.0

    def start(self) -> None:
        """Begin to watch our own clock."""
        self._beat_at = self._out.now
        self._out.alarm(self._out.now + _BEAT, self._beat)

    # What workers say.

    def on_message(self, desk: WorkerDesk, message: ClusterMessage) -> None:
        """Handle what came at the workers' address."""
        if isinstance(message, Register):
            self._challenge(desk, message)
        elif isinstance(message, Prove):
            self._check_proof(desk, message)
        elif isinstance(message, Renew | Reports):
            self._from_worker(desk, message)
        else:
            desk.deny(WorkerRefused("this is the address for workers"))

    def _challenge(self, desk: WorkerDesk, message: Register) -> None:
        if desk.broker_nonce:
            desk.deny(WorkerRefused("a connection registers one worker"))
        elif CLUSTER_VERSION not in message.versions:
            desk.deny(VersionMismatch(f"this broker speaks version {CLUSTER_VERSION} with workers: update the older"))
        elif not message.name.isprintable() or not message.name.strip() or message.name == LOCAL:
            desk.deny(WorkerRefused("a worker's name has 1 to 64 printable characters, and is not 'local'"))
        else:
            desk.name, desk.nonce = message.name, message.nonce
            desk.broker_nonce = new_token(self._entropy)
            proof = prove(self._key, "broker", desk.nonce, desk.broker_nonce, desk.name.encode())
            desk.say(Challenge(desk.broker_nonce, proof))

    def _check_proof(self, desk: WorkerDesk, message: Prove) -> None:
        wanted = prove(
            self._key, "worker", desk.broker_nonce, desk.nonce, desk.name.encode(), message.endpoint.encode()
        )
        if not desk.broker_nonce or desk.proven is not None or not same_secret(message.proof, wanted):
            logger.warning(
                "worker %r from %s: wrong cluster key",
                desk.name,
                desk.connection.address,
                extra={"worker": desk.name},
            )
            self._out.auth_refused(desk.connection.address)
            desk.deny(WrongKey())
            return
        desk.proven = message
        try:
            check_endpoint(message.endpoint)
            read_description(message.description)
        except FinalClose as error:
            self._refuse(desk, error)
            return
        nonce = new_token(self._entropy)
        self._out.probe(message.endpoint, nonce, lambda answer: self._probed(desk, message, nonce, answer))

    def _probed(self, desk: WorkerDesk, message: Prove, nonce: bytes, answer: Probed | None) -> None:
        if desk.proven is not message:
            return  # the connection is gone meanwhile
        if answer is None:
            self._unreachable(desk, message)
            return
        name = desk.name.encode()
        if answer.name != desk.name or not same_secret(answer.proof, prove(self._key, "endpoint", nonce, name)):
            self._refuse(desk, WorkerRefused(f"{message.endpoint} is not this worker's: somebody else answers there"))
            return
        self._register(desk, message)

    def _unreachable(self, desk: WorkerDesk, message: Prove) -> None:
        error = WorkerRefused(f"nobody answers at {message.endpoint}: is --public right, and open?")
        if not message.generation:
            self._refuse(desk, error)
            return
        # Its rooms are reached there, and would end with it: it was busy, perhaps, and asks again.
        logger.warning("worker %r has to try again: %s", desk.name, error, extra={"worker": desk.name})
        desk.connection.hang_up()

    def _refuse(self, desk: WorkerDesk, error: FinalClose) -> None:
        logger.warning(
            "worker %r from %s refused: %s", desk.name, desk.connection.address, error, extra={"worker": desk.name}
        )
        desk.deny(error)

    def _register(self, desk: WorkerDesk, message: Prove) -> None:
        out, known = self._out, self._workers.get(desk.name)
        if known is not None and message.generation == known.generation:
            self._return(desk, known)
            return
        if known is not None and known.state is WorkerState.MISSING:
            self.gone(known)  # its process was started anew
        elif known is not None:
            self._refuse(desk, WorkerRefused(f"a worker named {desk.name!r} is here already: take another --name"))
            return
        if self._first_generation <= message.generation <= self._workers.last_generation:
            desk.deny(StaleGeneration())  # we have given its rooms up
            return
        if len(list(self._workers)) >= _MOST_WORKERS:
            self._refuse(desk, WorkerRefused(f"there are {_MOST_WORKERS} workers already"))
            return
        adopted = message.generation > 0
        record = WorkerRecord(
            desk.name,
            self._workers.next_generation(message.generation),
            message.endpoint,
            read_description(message.description),
            desk,
            out.now,
        )
        record.adopted = adopted
        desk.record = record
        self._workers.add(record)
        self._renew_lease(record)
        desk.say(Registered(record.generation, LEASE, adopted))
        logger.info(
            "worker %s registered from %s, at %s",
            record.name,
            desk.connection.address,
            record.endpoint,
            extra={"worker": record.name},
        )
        out.worker_registered(record)

    def _return(self, desk: WorkerDesk, record: WorkerRecord) -> None:
        older = record.desk
        record.step(WorkerEvent.RETURN)
        record.desk = desk
        desk.record = record
        if isinstance(older, WorkerDesk):
            older.record = None
            older.deny(StaleGeneration("this worker has another connection now"))
        self._out.clear_alarm(self._not_back, record)
        self._renew_lease(record)
        entries = [entry for entry in self._directory if entry.worker is record]
        self._unconfirmed[record] = {(entry.report.room, "") for entry in entries} | {
            (entry.report.room, session) for entry in entries for session in entry.sessions
        }
        desk.say(Registered(record.generation, LEASE, True))
        if record.drain_until is not None:  # the order may be lost with the connection; twice is once
            desk.order(Drain(max(0.1, record.drain_until - self._out.now), int(Code.WORKER_DRAINED)))
        logger.info("worker %s is back", record.name, extra={"worker": record.name})
        self._out.worker_returned(record)

    def _from_worker(self, desk: WorkerDesk, message: Renew | Reports) -> None:
        record = desk.record
        if record is None or record.desk is not desk or message.generation != record.generation:
            desk.deny(StaleGeneration() if desk.proven is not None else WrongKey("register first"))
            return
        if isinstance(message, Renew):
            record.load = Load.from_wire(message.load)
            self._renew_lease(record)
            desk.say(Leased(record.generation, message.number))
            self._out.worker_renewed(record)
            return
        for item in message.items:
            try:
                report = report_from_wire(item)
            except (BadMessage, UnknownKind) as error:
                logger.error(
                    "worker %s said nonsense (%s): it is given up",
                    record.name,
                    error,
                    extra={"worker": record.name},
                )
                desk.deny(WorkerRefused(f"nonsense among reports: {error}"))
                self.gone(record)
                return
            self._report(record, report)

    def _report(self, record: WorkerRecord, report: RoomReport) -> None:
        if isinstance(report, Draining):
            record.draining = True
            logger.info("worker %s is draining", record.name, extra={"worker": record.name})
        elif isinstance(report, Settled):
            for room, session in sorted(self._unconfirmed.pop(record, ()), key=lambda one: not one[1]):
                self._out.worker_report(record, Unseated(room, session) if session else RoomEnded(room))
            self._out.worker_settled(record)
        else:
            unconfirmed = self._unconfirmed.get(record)
            if unconfirmed is not None and isinstance(report, RoomUpdated | Seated):
                unconfirmed.discard((report.room, report.session if isinstance(report, Seated) else ""))
            self._out.worker_report(record, report)

    # Leases.

    def _renew_lease(self, record: WorkerRecord) -> None:
        record.lease_until = self._out.now + LEASE
        self._out.alarm(record.lease_until, self._lease_over, record)

    def _beat(self) -> None:
        # A broker that was stopped finds every lease over and every renewal unread: first hear, then judge.
        now = self._out.now
        if now - self._beat_at > _STALLED:
            self._stalled_until = now + 1.0
        self._beat_at = now
        self._out.alarm(now + _BEAT, self._beat)

    def _judges_later(self, judge: Callable[[WorkerRecord], None], record: WorkerRecord) -> bool:
        now = self._out.now
        if now - self._beat_at > _STALLED:
            self._beat()
        if now >= self._stalled_until:
            return False
        self._out.alarm(self._stalled_until, judge, record)
        return True

    def _lease_over(self, record: WorkerRecord) -> None:
        if self._judges_later(self._lease_over, record):
            return
        logger.warning(
            "worker %s has not renewed its lease for %.0f s", record.name, LEASE, extra={"worker": record.name}
        )
        desk = record.desk
        self.gone(record)
        if isinstance(desk, WorkerDesk):
            desk.deny(StaleGeneration())

    def lost(self, desk: WorkerDesk) -> None:
        """A connection at the workers' address is gone."""
        desk.proven = None
        record, desk.record = desk.record, None
        if record is None or record.desk is not desk:
            return
        record.step(WorkerEvent.LOSE)
        record.desk = None
        self._out.clear_alarm(self._lease_over, record)
        if record.draining and not record.busy:
            logger.info("worker %s has ended", record.name, extra={"worker": record.name})
            self.gone(record)
        else:
            self._out.alarm(self._out.now + _RETURN_TIME, self._not_back, record)

    def _not_back(self, record: WorkerRecord) -> None:
        if self._judges_later(self._not_back, record):
            return
        logger.warning(
            "worker %s is lost, with %d rooms", record.name, len(record.rooms), extra={"worker": record.name}
        )
        self.gone(record)

    def gone(self, record: WorkerRecord) -> None:
        """A worker is no more: whoever knows that its process has ended says so at once."""
        if record.state is WorkerState.GONE:
            return
        self._out.clear_alarm(self._lease_over, record)
        self._out.clear_alarm(self._not_back, record)
        self._unconfirmed.pop(record, None)
        desk = record.desk
        if isinstance(desk, WorkerDesk):
            desk.record = None
        self._workers.remove(record)
        self._out.worker_gone(record)

    # Orders.

    def flush_later(self, desk: WorkerDesk) -> None:
        """Orders are to leave before the turn ends."""
        if len(desk.orders) == 1:
            self._to_flush.append(desk)
        self._out.flush_later()

    def flush(self) -> None:
        """Send the orders of this turn."""
        desks, self._to_flush = self._to_flush, []
        for desk in desks:
            orders, desk.orders = desk.orders, []
            if desk.record is None:
                continue
            for start in range(0, len(orders), _MOST_ITEMS):
                desk.say(Orders(desk.record.generation, orders[start : start + _MOST_ITEMS]))
