"""The workers' side of a running broker: their address, their registrations, and the launcher of local ones."""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from ..protocol.cluster import ClusterMessage, Probed
from ..protocol.errors import AddressInUse, Code, ConfigError, TooLarge, UnknownKind
from ..protocol.ids import Entropy
from ..protocol.limits import AddressLimits, Limits
from ..rooms.addresses import AddressBook
from ..rooms.connection import Connection
from ..rooms.control import Drain, RoomReport
from ..rooms.doors import Doors
from ..rooms.port import Port
from ..transport.network import Network
from .broker import Broker
from .command import WorkerCommand
from .launcher import Launcher
from .probe import EndpointProbe, ask_endpoint
from .registrar import Registrar, WorkerDesk
from .supervision import Supervisor
from .workers import WorkerRecord, WorkerState

__all__ = ["Cluster", "ClusterOptions", "LauncherFactory"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".workers")

_LARGEST_REPORTS = 4 * 1024 * 1024
"""Bytes of one frame from a worker."""
_MOST_ITEMS = 65_536
_WRAPPED = 4
"""Containers around a room's metadata in REPORTS."""
_MOST_PROBES = 64
_END_OF_PROCESS = 0.05
"""Seconds after the end of a process within which its connection is known to be lost."""
_MOST_CONNECTIONS = 2048
_PROVING_TIME = 10.0
"""Seconds from its first word in which a connection has to become a worker's."""
_STARTING = 5.0
"""Seconds that rooms wait at most for all of the first workers."""
_AT_ONCE = 0.05
"""Seconds that rooms get when the whole server stops: they close at once, as they do in one process."""

LauncherFactory = Callable[[Callable[[str, bool], WorkerCommand], Callable[[str, int], None]], Launcher]
"""Makes a launcher from what to start for a name (and whether it is for one room only), and whom to tell of an end."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How a broker keeps workers."""

    host: str = "127.0.0.1"
    """The address to listen on for workers."""
    port: int = 0
    settle: float = 0.0
    """Seconds that workers of a broker before us have to come by themselves."""


class Cluster:
    """Workers come here. It is the outbox of the registrar.

    Args:
        broker: told of workers and what they report.
        options: where to listen.
        key: the cluster key.
        doors: what our port asks of those who connect, and what we connect to workers with.
        limits: of clients: what their payloads may hold.
        address_limits: what the workers of one address may do together.
        entropy: where nonces come from.
        flush: sends what was said in a turn.
        first_generation: above every generation of an earlier broker.
    """

    def __init__(
        self,
        broker: Broker,
        options: ClusterOptions,
        key: bytes,
        doors: Doors,
        limits: Limits,
        address_limits: AddressLimits,
        entropy: Entropy,
        flush: Callable[[], None],
        first_generation: int,
    ) -> None:
        self._broker = broker
        self._options = options
        self._doors = doors
        self._flush = flush
        self._probes: dict[EndpointProbe, None] = {}
        self._probes_waiting: deque[tuple[str, bytes, Callable[[Probed | None], None]]] = deque()
        """At most one for each worker that has proved that it has the key."""
        self._launcher: Launcher | None = None
        self._supervisor: Supervisor | None = None
        self.settled_at = 0.0
        """See ``SeatingOutbox.settled_at``."""
        self._started_at = 0.0
        self._all_ended = asyncio.Event()
        self._port = Port(
            replace(
                limits,
                upload=_LARGEST_REPORTS,
                array=_MOST_ITEMS,
                map=_MOST_ITEMS,  # the metadata of rooms are the servers' owner's: what clients may send is no measure
                nesting=limits.nesting + _WRAPPED,
            ),
            entropy,
            _Applicant,
            AddressBook(address_limits),
        )
        self._port.on_room_message = _refuse
        self._port.on_cluster_message = self._on_message
        self._port.on_flush = flush
        self.registrar = Registrar(key, broker.workers, broker.directory, self, entropy, first_generation)

    @property
    def address(self) -> str:
        """Where workers connect to."""
        return self._port.listener.address

    @property
    def port(self) -> Port:
        """The workers' port: for who counts what comes there."""
        return self._port

    @property
    def expected(self) -> int:
        """Workers that may serve soon."""
        launched = self._supervisor.expected if self._supervisor is not None else 0
        return max(launched, int(self.now < self.settled_at))

    @property
    def starting(self) -> bool:
        """Whether the first workers are just starting."""
        return self._supervisor is not None and self.now < self._started_at and self._supervisor.expected > 0

    def open(self, network: Network) -> None:
        """Listen. Raises AddressInUse or ConfigError."""
        self._network = network
        where = self._options
        try:
            self._port.open(network, where.host, where.port, self._doors.for_workers())
        except AddressInUse as error:
            raise ConfigError(
                f"the workers' address {error.address} is in use by another program: "
                "stop that one, or choose another with --worker-address."
            ) from error
        self._port.touch()
        self.settled_at = self.now + self._options.settle
        self._port.alarm(self.now + 1.0, self._sweep)
        if self._options.settle:
            self._port.alarm(self.settled_at, self._say_who_was_here)
        self.registrar.start()

    def _say_who_was_here(self) -> None:
        adopted = [record for record in self._broker.workers if record.adopted]
        if adopted:
            logger.warning(
                "took over %d workers with %d rooms from a broker before this one. "
                "They run the program as it was then: 'srs drain NAME' lets one end, and it is started anew",
                len(adopted),
                sum(len(record.rooms) for record in adopted),
            )

    def launch(self, make: LauncherFactory, command: WorkerCommand, count: int) -> None:
        """Start workers, and keep them running: ``count`` of them, and others for isolated rooms."""

        def named(name: str, isolated: bool) -> WorkerCommand:
            return replace(command, name=name, isolated=isolated)

        launcher = make(named, self._process_ended)
        self._launcher = launcher
        self._broker.workers.spares = True
        self._supervisor = Supervisor(count, self.now, launcher, random.SystemRandom().random, self._options.settle)
        self._started_at = self.now + _STARTING
        self._port.alarm(self._started_at, self._broker.seating.retry)
        self._supervise()

    def _supervise(self) -> None:
        assert self._supervisor is not None
        when = self._supervisor.tick(self.now)
        if when is not None:
            self._port.alarm(when, self._supervise)
        if self._supervisor.done:
            self._all_ended.set()

    def _process_ended(self, name: str, code: int) -> None:
        self._port.touch()
        assert self._supervisor is not None
        record = self._broker.workers.get(name)
        self._supervisor.ended(name, code, self.now)
        if record is not None:
            self._port.alarm(self.now + _END_OF_PROCESS, self._whose_end, record)
        self._supervise()
        self._port.wake()

    def _whose_end(self, record: WorkerRecord) -> None:
        # A process that we started may have been refused, because a worker of a broker before us has the name.
        if record.state is WorkerState.MISSING:  # nobody needs to wait for it to come back
            self.registrar.gone(record)
        elif record.state is WorkerState.SERVING and self._supervisor is not None:
            self._supervisor.adopt(record.name, self.now)
            self._supervise()

    async def stop(self, within: float) -> None:
        """End the workers that we started, or took over; others go on without us."""
        if self._supervisor is None or self._launcher is None:
            return
        self._port.touch()
        told: set[str] = set()
        for record in self._broker.workers:
            if record.desk is not None and record.name in self._supervisor.states:
                record.desk.order(Drain(_AT_ONCE, int(Code.SERVER_STOPPING)))
                told.add(record.name)
        self._supervisor.stop(self.now, within, told)
        self._supervise()
        self._flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._all_ended.wait()
        await self._launcher.close(_AT_ONCE)

    def close(self) -> None:
        """Leave nothing behind."""
        self._probes_waiting.clear()
        for probe in list(self._probes):
            probe.close()
        self._port.close()

    def flush(self) -> None:
        """Send the orders of this turn."""
        self.registrar.flush()

    def want_spare(self) -> bool:
        """Start one more worker, for one isolated room."""
        if self._supervisor is None:
            return False
        self._supervisor.spare(self.now)
        self._supervise()
        return True

    def _on_message(self, connection: Connection, message: ClusterMessage) -> None:
        desk = connection.desk
        if desk is None and len(self._port) > _MOST_CONNECTIONS:
            connection.hang_up()
            return
        if desk is None:
            desk = connection.desk = WorkerDesk(self.registrar, connection)
        assert isinstance(desk, WorkerDesk)
        self.registrar.on_message(desk, message)

    def _sweep(self) -> None:
        self._port.sweep(self.now)
        for connection in self._port:
            desk = connection.desk
            proven = isinstance(desk, WorkerDesk) and desk.proven is not None
            if connection.since < self.now - _PROVING_TIME and not proven:
                connection.hang_up()  # whoever is no worker has no business here
        self._port.alarm(self.now + 1.0, self._sweep)

    # The outbox of the registrar.

    @property
    def now(self) -> float:
        """The time of this turn."""
        return self._port.now

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        """See ``Port.alarm``."""
        self._port.alarm(when, callback, *args)

    def clear_alarm(self, callback: Callable[..., None], *args: Hashable) -> None:
        """See ``Port.clear_alarm``."""
        self._port.clear_alarm(callback, *args)

    def auth_refused(self, address: str) -> None:
        """See ``RegistrarOutbox.auth_refused``."""
        self._port.failed(address)

    def flush_later(self) -> None:
        """See ``RegistrarOutbox.flush_later``."""
        self._port.wake()

    def probe(self, endpoint: str, nonce: bytes, then: Callable[[Probed | None], None]) -> None:
        """See ``RegistrarOutbox.probe``."""
        if len(self._probes) >= _MOST_PROBES:  # all workers of a broker before us come at once
            self._probes_waiting.append((endpoint, nonce, then))
            return

        def answered(answer: Probed | None) -> None:
            self._probes.pop(probe, None)
            if self._probes_waiting:
                self.probe(*self._probes_waiting.popleft())
            self._port.touch()
            then(answer)
            self._port.wake()

        probe = ask_endpoint(self._network, endpoint, self._doors.cluster, nonce, answered)
        self._probes[probe] = None

    def worker_registered(self, record: WorkerRecord) -> None:
        """See ``RegistrarOutbox.worker_registered``."""
        if self._supervisor is not None:
            if record.description.isolated and record.name not in self._supervisor.states:
                self._supervisor.adopt(record.name, self.now)  # a broker before us started it
            self._supervisor.registered(record.name, self.now)
            self._supervise()
        if self._launcher is not None:
            self._launcher.alive(record.name, self.now)
        self._broker.seating.retry()

    def worker_report(self, record: WorkerRecord, report: RoomReport) -> None:
        """See ``RegistrarOutbox.worker_report``."""
        self._broker.on_report(record, report)

    def worker_renewed(self, record: WorkerRecord) -> None:
        """See ``RegistrarOutbox.worker_renewed``."""
        if self._launcher is not None:
            self._launcher.alive(record.name, self.now)
        self._broker.seating.retry()

    def worker_returned(self, record: WorkerRecord) -> None:
        """See ``RegistrarOutbox.worker_returned``."""
        self._broker.seating.unheard(record)

    def worker_settled(self, record: WorkerRecord) -> None:
        """See ``RegistrarOutbox.worker_settled``."""
        record.order_again()

    def worker_gone(self, record: WorkerRecord) -> None:
        """See ``RegistrarOutbox.worker_gone``."""
        if self._supervisor is not None:
            self._supervisor.lost(record.name, self.now, drained=record.draining)
            self._supervise()
        self._broker.worker_gone(record)


class _Applicant(Connection):
    """A connection at the workers' address: who has proved nothing says little there."""

    __slots__ = ()

    def receive(self, frame: bytes) -> None:
        """See ``Connection.receive``."""
        # Before it is decoded: REPORTS may be large, and 4 MiB of empty lists hold the loop up for seconds.
        if len(frame) > self.port.limits.control and (self.desk is None or not self.desk.trusted):
            self.seen = self.port.now
            self.refuse(TooLarge(f"{len(frame)} bytes are over the limit of {self.port.limits.control} for requests"))
        else:
            super().receive(frame)


def _refuse(connection: object, message: object) -> None:
    raise UnknownKind("workers register here; rooms are elsewhere")
