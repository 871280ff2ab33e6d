"""One life of a running server: network, port, worker and broker, put together on one port."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from ..protocol.cluster import ClusterMessage
from ..protocol.errors import Code, ConfigError, RemoteError, ServerStopping
from ..protocol.ids import Entropy
from ..protocol.messages import Join
from ..rooms.addresses import AddressBook
from ..rooms.beside import descriptors_each, open_beside
from ..rooms.connection import Connection
from ..rooms.control import Failed, Inspected, RoomReport
from ..rooms.doors import Doors
from ..rooms.life import RoomState
from ..rooms.load import LoadMeter
from ..rooms.mailbox import Mailbox
from ..rooms.port import Port
from ..rooms.registration import WorkerDescription
from ..rooms.room import Room
from ..rooms.seats import SeatState
from ..rooms.watchdog import Watchdog
from ..rooms.worker import Worker
from ..transport.descriptors import connections_allowed
from ..transport.entropy import EntropyPool
from ..transport.locks import key_to_text
from ..transport.network import Network, Sent
from ..transport.zeromq import ZmqNetwork
from .administration import AdminDesk, Administration
from .auth import Asking
from .auth_hook import AuthHook
from .broker import MOST_SESSIONS, Broker
from .cluster import Cluster, ClusterOptions
from .command import WorkerCommand
from .exposure import check_clients_port, check_workers_port, is_public
from .hosting import Application, HostOptions
from .metrics import CONTENT_TYPE, Look, exposition
from .placement import Load, RoomNeeds
from .queues import MatchQueue, Ticket
from .scrape import MetricsPort
from .sessions import Session
from .succession import Succession
from .ticket_hook import TicketHook
from .tokens import TokenMint
from .workers import LOCAL, WorkerRecord

__all__ = ["Host"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".server")

_MOST_WAITING = 1024
"""Messages for ``Server.handle_response`` that wait while an async one runs."""
_STOP_TIME = 6.0
"""Seconds that rooms have to end; a room's own limit is 5."""
_LAST_WORDS = 0.5
"""Seconds that clients have to hang up, once they are told that the server stops."""
_SWEEP = 1.0
_MOST_ROOMS = 1 << 30


class Host:
    """A server that runs. Use it with ``async with``.

    It is the outbox of the broker. Its worker is the one in this process; with
    a cluster, there is none, and rooms live in the processes that come to it.
    """

    def __init__(
        self,
        server: Application,
        host: str,
        port: int,
        network: Network | None = None,
        entropy: Entropy | None = None,
        options: HostOptions | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._server = server
        self._where = host, port
        self._network = network
        self._own_network: ZmqNetwork | None = None
        self._entropy = entropy or EntropyPool()
        self._wall = wall
        self._options = options or HostOptions()
        self._cluster: Cluster | None = None
        self._stop = asyncio.Event()
        self._opened = ExitStack()
        """Closes what is open, last first."""
        self._meter: LoadMeter | None = None
        self.load = Load()
        """How much this process has to do, as of the last second. On other networks than real sockets: nothing."""
        self._metrics = MetricsPort(CONTENT_TYPE, lambda: exposition(self._look()))
        self._unflushed = False

    @property
    def address(self) -> str:
        """Where clients connect to: ``tcp://host:port``."""
        return self._port.listener.address

    @property
    def worker_address(self) -> str | None:
        """Where workers connect to; None without a cluster."""
        return self._cluster.address if self._cluster is not None else None

    @property
    def metrics_address(self) -> str | None:
        """Where Prometheus finds the metrics; None: nowhere."""
        return self._metrics.address

    def stop_soon(self) -> None:
        """Let ``stopped()`` return."""
        self._stop.set()

    async def stopped(self) -> None:
        """Wait until somebody asks the server to stop."""
        await self._stop.wait()

    async def __aenter__(self) -> "Host":
        self._server.bind(self)
        try:
            self._start()
            if self._options.metrics_port is not None:
                await self._metrics.open(self._where[0], self._options.metrics_port)
        except BaseException:
            self._server.bind(None)
            self._opened.close()
            if self._own_network is not None:
                self._own_network.close()
            raise
        logger.info("listening on %s", self.address)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the rooms, tell the clients, and leave nothing behind."""
        self.broker.reception.stopping = True
        self._port.touch()
        self.worker.close_rooms(Code.SERVER_STOPPING, ServerStopping.meaning)
        if self._cluster is not None:
            await self._cluster.stop(_STOP_TIME)
        if not await self.worker.emptied(_STOP_TIME):
            logger.warning("%d rooms did not end in time", len(self.worker.rooms))
        self.broker.reception.say_goodbye(Code.SERVER_STOPPING, ServerStopping.meaning)
        await self._port.emptied(_LAST_WORDS)
        await self._auth.close()
        await self._ticket_hook.close()
        await self.worker.stop()
        await self._metrics.close()
        self._opened.close()
        if self._own_network is not None:
            await self._own_network.end()
        self._server.bind(None)
        logger.info("stopped")

    async def vanish(self) -> None:
        """Be gone from one moment to the next: tests in memory need what processes do when they are killed."""
        self._opened.pop_all()  # what it has kept for its successor stays
        self._port.close()
        if self._cluster is not None:
            self._cluster.close()
        await self._auth.close()
        await self._ticket_hook.close()
        await self.worker.stop()
        await self._metrics.close()
        self._server.bind(None)

    def _start(self) -> None:
        limits = self._server.broker_limits
        if self._network is None:
            self._check_exposure()
            self._own_network = ZmqNetwork()
            each = 1 if self._options.cluster is not None else descriptors_each(self._server.rooms)
            allowed = connections_allowed(limits.sessions, MOST_SESSIONS, each)
            if allowed < 1:
                raise ConfigError(
                    "this process may have too few open files to serve anybody: raise the limit (ulimit -n)."
                )
            limits = replace(limits, sessions=allowed)
        network = self._network or self._own_network
        assert network is not None
        book = AddressBook(self._server.address_limits)
        self._port = Port(self._server.limits, self._entropy, book=book)
        self._port.on_flush = self._flush
        options = self._options
        self._doors = Doors(options.keys, options.authorised, options.passwords, self._port.failed)
        self._port.open(network, *self._where, self._doors.for_clients())
        self._opened.callback(self._port.close)
        self._port.touch()
        port = int(self.address.rpartition(":")[2])
        self._succession = Succession.open(options, port, self._entropy, self._wall)
        self._opened.callback(self._succession.close)
        key = self._succession.key
        self._doors.join(key)
        self.worker = Worker(
            self._port,
            self._server.make_room,
            self._on_report,
            self._entropy,
            lambda sink: open_beside(network, *self._where, sink, self._server.limits, self._port.lock),
            carries_sessions=True,
        )
        self._port.on_begin = self._begin
        self.broker = Broker(
            self._server.limits,
            self,
            self._entropy,
            limits,
            TokenMint(key, self._succession.life),
            {name: _needs(name, room_class) for name, room_class in self._server.rooms.items()},
            self._server.placement,
            self._succession.first_client,
            book,
            {name: queue() for name, queue in self._server.queues.items()},
            asks=self._server.asks,
        )
        self._ticket_hook = TicketHook(self.broker.tickets.rated, self._port.touch, self.policy_failed)
        self._auth = AuthHook(
            self._server.on_auth, self.broker.admission, self.worker, self._port.touch, self._auth_failed
        )
        self._application = Mailbox("", self.worker, self._server.on_error)
        self._administration = Administration(key, self.broker, self, self._entropy, self._options.software)
        self._port.on_broker_message = self.broker.on_message
        self._port.on_cluster_message = self._on_admin_message
        if self._options.cluster is None:
            self._host_rooms()
        else:
            self._open_cluster(network, self._options.cluster, key)
        self._since = self.now
        self._port.alarm(self.now + _SWEEP, self._sweep)
        if isinstance(network, ZmqNetwork):
            self._opened.callback(Watchdog(self.worker).stop)
            self._meter = LoadMeter(self._port, self.worker)
            self._opened.callback(self._meter.close)

    def _check_exposure(self) -> None:
        options = self._options
        keys = options.keys is not None
        check_clients_port(
            self._where[0],
            asks=self._server.asks,
            keys=keys,
            authorised=options.authorised is not None,
            plain=options.passwords is not None,
            insecure=options.insecure,
        )
        if options.cluster is not None:
            check_workers_port(options.cluster.host, keys=keys, insecure=options.insecure)
        if is_public(self._where[0]) and not keys and not options.insecure:
            logger.warning("%s is public and nothing is encrypted: who is on the way reads it all", self._where[0])

    def _host_rooms(self) -> None:
        for name, room_class in self._server.rooms.items():
            if room_class.isolated:
                raise ConfigError(
                    f"rooms of type {name!r} are isolated: each needs a process of its own. "
                    "Run with workers: Server(workers=1), or srs serve --workers 1."
                )
        here = WorkerDescription(sorted(self._server.rooms), [], _MOST_ROOMS, False, os.getpid(), socket.gethostname())
        self.local = WorkerRecord(LOCAL, 0, None, here, self.worker, self.now)
        self.broker.workers.add(self.local)

    def _open_cluster(self, network: Network, options: ClusterOptions, key: bytes) -> None:
        self._cluster = Cluster(
            self.broker,
            replace(options, settle=self._succession.settle),
            key,
            self._doors,
            self._server.limits,
            self._server.address_limits,
            self._entropy,
            self._flush,
            self._succession.begin_generations(),
        )
        self._cluster.open(network)
        self._opened.callback(self._cluster.close)
        self._succession.keep_numbers(self.broker.sessions.next_client)
        launch = self._options.launch
        if launch is not None:
            key_file = self._succession.file if self._options.key is None else None
            command = WorkerCommand(
                launch.target,
                self._cluster.address,
                "",
                key_file,
                broker_key=key_to_text(self._options.keys.public) if self._options.keys is not None else None,
                labels=launch.labels,
                log_level=launch.log_level,
                log_format=launch.log_format,
            )
            self._cluster.launch(launch.make, command, launch.count)

    def _on_report(self, report: RoomReport) -> None:
        self.broker.on_report(self.local, report)

    def _begin(self, now: float) -> None:
        self.worker.begin()

    def _flush(self) -> None:
        self._unflushed = False
        self.worker.flush()
        self.broker.reception.flush()
        if self._cluster is not None:
            self._cluster.flush()

    def _sweep(self) -> None:
        self._port.sweep(self.now)
        if self._cluster is not None:
            self._succession.keep_numbers(self.broker.sessions.next_client)
        if self._meter is not None:
            self.load = Load.from_wire(self._meter.read())
            if self._cluster is None:
                self.local.load = self.load
        self._port.alarm(self.now + _SWEEP, self._sweep)

    def _look(self) -> Look:
        ports = {"clients": self._port} | ({} if self._cluster is None else {"workers": self._cluster.port})
        return Look(
            self.broker,
            self.load,
            self.now - self._since,
            frozenset(self._server.rooms),
            {name: len(port) for name, port in ports.items()},
            {name: port.received for name, port in ports.items()},
            {name: port.counts + port.book.counts for name, port in ports.items()},
        )

    def _on_admin_message(self, connection: Connection, message: ClusterMessage) -> None:
        desk = connection.desk
        if desk is None:
            desk = connection.desk = AdminDesk(connection)
        assert isinstance(desk, AdminDesk)
        self._administration.on_message(desk, message)

    # The outbox of the broker.

    @property
    def now(self) -> float:
        """The time of this turn, wherever it began."""
        now = self._port.now
        return now if self._cluster is None else max(now, self._cluster.now)

    def send(self, peer: bytes, frame: bytes) -> Sent:
        """See ``Listener.send``."""
        return self._port.listener.send(peer, frame)

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]:
        """See ``Listener.send_all``."""
        return self._port.listener.send_all(peers, frame)

    @property
    def workers_expected(self) -> int:
        """See ``SeatingOutbox.workers_expected``."""
        return self._cluster.expected if self._cluster is not None else 0

    @property
    def settled_at(self) -> float:
        """See ``SeatingOutbox.settled_at``."""
        return self._cluster.settled_at if self._cluster is not None else 0.0

    @property
    def workers_starting(self) -> bool:
        """See ``SeatingOutbox.workers_starting``."""
        return self._cluster is not None and self._cluster.starting

    def want_spare(self) -> bool:
        """See ``SeatingOutbox.want_spare``."""
        return self._cluster is not None and self._cluster.want_spare()

    def enter(self, session: Session, join: Join) -> bool:
        """See ``SearchesOutbox.enter``."""
        connection = session.connection
        assert isinstance(connection, Connection)
        try:
            self.worker.on_room_message(connection, join)
        except RemoteError:
            return False  # it will say JOIN, and hear why
        return True

    def seat_in(self, session: Session, room: str) -> SeatState | None:
        """See ``SearchesOutbox.seat_in``."""
        runner = self.worker.rooms.get(room)
        seats = runner.seats.of(session.session) if runner is not None and runner.state is RoomState.OPEN else ()
        return seats[0].state if seats else None

    def inspected(self, report: Inspected | Failed) -> None:
        """See ``BrokerOutbox.inspected``."""
        self._administration.inspected(report)

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        """See ``Port.alarm``."""
        self._port.alarm(when, callback, *args)

    def clear_alarm(self, callback: Callable[..., None], *args: Hashable) -> None:
        """See ``Port.clear_alarm``."""
        self._port.clear_alarm(callback, *args)

    def flush_later(self) -> None:
        """See ``BrokerOutbox.flush_later``."""
        if not self._unflushed:
            self._unflushed = True
            self._port.touch()
            self._port.wake()

    def application_message(self, session: Session, name: str, data: Any) -> bool:
        """See ``BrokerOutbox.application_message``."""
        if len(self._application) >= _MOST_WAITING:
            return False
        args = (name, data, session, session.data)
        hook = self._server.handle_response
        self._application.post(self._application.call, "handle_response", hook, args, None, session, session.uplink)
        return True

    def check_credentials(self, asking: Asking) -> None:
        """See ``AdmissionOutbox.check_credentials``."""
        self._auth.start(asking)

    def stop_checking(self, asking: Asking) -> None:
        """See ``AdmissionOutbox.stop_checking``."""
        self._auth.stop(asking)

    def auth_refused(self, address: str) -> None:
        """See ``AdmissionOutbox.auth_refused``."""
        self._port.failed(address)

    def _auth_failed(self, error: BaseException) -> None:
        if len(self._application) < _MOST_WAITING:
            self._application.post(self._application.call, "on_error", self._server.on_error, ("on_auth", error))

    def rate(self, queue: MatchQueue, ticket: Ticket) -> None:
        """See ``TicketsOutbox.rate``."""
        self._ticket_hook.start(queue, ticket)

    def stop_rating(self, ticket: Ticket) -> None:
        """See ``TicketsOutbox.stop_rating``."""
        self._ticket_hook.stop(ticket)

    def policy_failed(self, queue: str, error: BaseException) -> None:
        """See ``TicketsOutbox.policy_failed``."""
        logger.error("queue %s: a hook raised %s", queue, type(error).__name__, exc_info=error)

    def after_application(self, then: Callable[[], None]) -> None:
        """See ``BrokerOutbox.after_application``."""
        self._application.post_last(then)


def _needs(name: str, room_class: type[Room]) -> RoomNeeds:
    seats = room_class.max_clients
    return RoomNeeds(
        name, frozenset(room_class.requires), room_class.isolated, seats if isinstance(seats, int) else None
    )
