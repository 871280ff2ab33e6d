"""One life of a worker process: its port, its rooms, and its link to the broker, put together."""

import asyncio
import logging
import os
import random
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..protocol.backoff import Backoff
from ..protocol.cluster import ClusterMessage, Probe, Probed, encode_cluster, parse_cluster
from ..protocol.codec import decoder
from ..protocol.errors import AddressInUse, BadMessage, Code, ConfigError, RemoteError, UnknownKind, WrongKey
from ..protocol.ids import Entropy
from ..protocol.limits import AddressLimits, Limits
from ..protocol.proof import prove
from ..protocol.rulesets import RuleSet
from ..transport.curve import make_pair
from ..transport.descriptors import connections_allowed
from ..transport.entropy import EntropyPool
from ..transport.locks import endpoint_of
from ..transport.network import Failure, Link, Network, Publisher, PublisherSink, Sent
from ..transport.zeromq import ZmqNetwork
from .addresses import AddressBook
from .beside import descriptors_each, open_beside
from .connection import Connection
from .control import Draining, RoomEnded, RoomReport, Settled, order_from_wire, report_to_wire
from .doors import Doors
from .load import LoadMeter
from .port import Port
from .registration import Registration, RegistrationState, WorkerDescription
from .room import Room
from .watchdog import Watchdog
from .worker import Worker

__all__ = ["WorkerHost", "WorkerOptions"]

logger = logging.getLogger(__name__.partition(".rooms")[0] + ".worker")

_LARGEST_ORDERS = 64 * 1024 * 1024
"""Bytes of one frame from the broker, which has proved who it is."""
_LARGEST_UNPROVED = 4096
_WRAPPED = 6
"""Containers around a client's options in ORDERS."""
_ITEMS = 128
"""Reports in one frame."""
_MOST_UNSENT = 4096
_RETRY = 0.02
_LONGEST_PAUSE = 1.0
"""Seconds between attempts to reach the broker, at most: one that is started anew must know us soon."""
_PORTS = range(20_000, 32_000)
_SWEEP = 1.0
_LAST_WORDS = 0.5
_STOP_TIME = 6.0
_MOST_CONNECTIONS = 50_000


class WorkerApplication(Protocol):
    """What a worker needs of a Server."""

    limits: Limits
    address_limits: AddressLimits
    rooms: dict[str, type[Room]]

    def make_room(self, ruleset: RuleSet) -> tuple[str, Room]:
        """The room for a ruleset, and the name of its type."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker serves."""

    broker: str
    """The broker's address for workers: ``tcp://host:port``."""
    name: str
    host: str = "127.0.0.1"
    """The address to listen on for clients."""
    port: int = 0
    public: str | None = None
    """Where clients reach us: ``tcp://ip:port``. None: where we listen."""
    labels: tuple[str, ...] = ()
    max_rooms: int = 10_000
    isolated: bool = False
    """Take one room, and end with it."""
    drain_seconds: float = 30.0
    """How long rooms have to end when the process is asked to stop."""
    orphan_seconds: float | None = None
    """End after so long without a broker and without rooms. None: wait for a broker forever."""
    broker_key: bytes | None = None
    """The public key of the broker's address for workers. Our own ports encrypt if that one does."""


class WorkerHost:
    """A worker that runs. Use it with ``async with``; ``ended()`` returns when it is to stop.

    It is the outbox of its registration, and the sink of the link to the broker.
    """

    def __init__(
        self,
        application: WorkerApplication,
        options: WorkerOptions,
        key: bytes,
        network: Network | None = None,
        entropy: Entropy | None = None,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self._application = application
        self._options = options
        self._fields = {"worker": options.name}
        """Of the log records about this worker."""
        self._key = key
        self._doors = _doors(options, key, self._key_refused)
        self._network = network
        self._own_network: ZmqNetwork | None = None
        self._entropy = entropy or EntropyPool()
        self._link: Link | None = None
        self._redial: asyncio.TimerHandle | None = None
        self._backoff = Backoff(jitter or random.SystemRandom().random, _LONGEST_PAUSE)
        self._unsent: deque[bytes] = deque()
        self._reports: list[tuple[Any, ...]] = []
        self._decode = decoder(_LARGEST_ORDERS, _LARGEST_ORDERS, application.limits.nesting + _WRAPPED, _LARGEST_ORDERS)
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._first_lease = asyncio.Event()
        self._missed = False
        self._alone_since = asyncio.get_running_loop().time()
        self._watchdog: Watchdog | None = None

    @property
    def address(self) -> str:
        """Where we listen for clients."""
        return self._port.listener.address

    @property
    def registered(self) -> bool:
        """Whether the broker has us."""
        return self.registration.state is RegistrationState.SERVING

    async def has_registered(self) -> None:
        """Wait until the broker has us for the first time."""
        await self._first_lease.wait()

    async def ended(self) -> None:
        """Wait until this worker is to stop: drained, or its one room is over.

        Raises:
            RemoteError: the broker will not have us.
        """
        drained = asyncio.ensure_future(self.worker.drained())
        try:
            await asyncio.wait((self._end, drained), return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
        if self._end.done():
            self._end.result()

    def drain(self) -> None:
        """Take no new rooms, and end when those that are there have ended, or their time is over."""
        self._port.touch()
        self.worker.drain(self._options.drain_seconds)

    def stop_soon(self) -> None:
        """Let ``ended()`` return."""
        if not self._end.done():
            self._end.set_result(None)

    async def __aenter__(self) -> "WorkerHost":
        try:
            self._start()
        except BaseException:
            if self._own_network is not None:
                self._own_network.close()
            raise
        logger.info("worker %s listens at %s", self._options.name, self.address, extra=self._fields)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the rooms that are left, tell the clients, and leave nothing behind."""
        self._port.touch()
        if not self.worker.draining:
            self._report(Draining())  # so that the broker knows that it is no accident
        self.worker.close_rooms(Code.WORKER_DRAINED, "the worker stops")
        if not await self.worker.emptied(_STOP_TIME):
            logger.warning(
                "worker %s: %d rooms did not end in time",
                self._options.name,
                len(self.worker.rooms),
                extra=self._fields,
            )
        await self._port.emptied(_LAST_WORDS)
        await self.vanish()
        logger.info("worker %s has ended", self._options.name, extra=self._fields)

    async def vanish(self) -> None:
        """Be gone from one moment to the next: tests need what processes do when they are killed."""
        self.registration.stop()
        self._port.close()
        if self._link is not None:
            self._link.close()
        await self.worker.stop()
        self._meter.close()
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._redial is not None:
            self._redial.cancel()
        if self._own_network is not None:
            await self._own_network.end()

    def _start(self) -> None:
        options, limits = self._options, self._application.limits
        if self._network is None:
            self._network = self._own_network = ZmqNetwork()
            if connections_allowed(None, _MOST_CONNECTIONS, descriptors_each(self._application.rooms)) < 1:
                raise ConfigError("this process may have too few open files to serve anybody: raise ulimit -n.")
        self._port = port = Port(limits, self._entropy, book=AddressBook(self._application.address_limits))
        self.worker = Worker(
            port, self._application.make_room, self._report, self._entropy, self._open_publisher, carries_sessions=False
        )
        port.on_flush = self._flush
        port.on_begin = self._begin
        port.on_cluster_message = self._on_cluster_message
        # What the whole simulation computes would make two runs of one seed differ.
        self._meter = LoadMeter(port, self.worker, time.process_time if self._own_network is not None else _no_time)
        self._listen(port)
        keys = self._doors.keys
        self.registration = Registration(
            options.name,
            self._key,
            endpoint_of(options.public or self.address, keys.public if keys is not None else None),
            self._describe,
            self._meter.read,
            self,
            self._entropy,
        )
        port.touch()
        port.alarm(port.now + _SWEEP, self._sweep)
        self._dial()
        if isinstance(self._network, ZmqNetwork):
            self._watchdog = Watchdog(self.worker)

    def _listen(self, port: Port) -> None:
        assert self._network is not None
        host, chosen = self._options.host, self._options.port
        lock = self._doors.for_clients()
        if chosen or self._own_network is None:
            port.open(self._network, host, chosen, lock)
            return
        # Not where the system takes ports for outgoing connections: a client that looks for us after our end might get
        # our very port for its own end, and reach itself.
        for candidate in random.SystemRandom().sample(_PORTS, 50):
            try:
                port.open(self._network, host, candidate, lock)
            except AddressInUse:
                continue
            return
        port.open(self._network, host, 0, lock)

    def _describe(self) -> WorkerDescription:
        options = self._options
        types = sorted(self._application.rooms)
        most = 1 if options.isolated else options.max_rooms
        return WorkerDescription(
            types, sorted(options.labels), most, options.isolated, os.getpid(), socket.gethostname()
        )

    # Turns.

    def _begin(self, now: float) -> None:
        self.registration.check(now)
        self.worker.begin()

    def _open_publisher(self, sink: PublisherSink) -> Publisher:
        assert self._network is not None
        port = int(self.address.rpartition(":")[2]) if self._own_network is not None else self._options.port
        return open_beside(self._network, self._options.host, port, sink, self._application.limits, self._port.lock)

    def _flush(self) -> None:
        self.worker.flush()
        reports, self._reports = self._reports, []
        for start in range(0, len(reports), _ITEMS):
            self.registration.report(reports[start : start + _ITEMS])

    def _report(self, report: RoomReport) -> None:
        self._reports.append(report_to_wire(report))
        self._port.wake()
        if isinstance(report, RoomEnded) and self._options.isolated:
            self.stop_soon()

    def _sweep(self) -> None:
        now = self._port.now
        self._port.sweep(now)
        self._port.alarm(now + _SWEEP, self._sweep)
        patience = self._options.orphan_seconds
        if self.registered or self.worker.rooms:
            self._alone_since = now
        elif patience is not None and now - self._alone_since > patience:
            logger.warning(
                "worker %s: no broker and no rooms for %.0f s, so it ends",
                self._options.name,
                patience,
                extra=self._fields,
            )
            self.stop_soon()

    def _tick(self) -> None:
        when = self.registration.tick(self._port.now)
        if when is not None:
            self._port.alarm(when, self._tick)

    def _key_refused(self, address: str) -> None:
        self._port.failed(address)

    def _on_cluster_message(self, connection: Connection, message: ClusterMessage) -> None:
        if not isinstance(message, Probe):
            raise UnknownKind("this is a worker: the broker answers that")
        name = self._options.name
        proof = prove(self._key, "endpoint", message.nonce, name.encode())
        connection.say_frame(encode_cluster(Probed(name, proof)))

    # The link to the broker.

    def _dial(self) -> None:
        assert self._network is not None
        self._redial = None
        key = self._doors.key_to(self._options.broker_key)
        self._link = self._network.connect(self._options.broker, self, _LARGEST_ORDERS, key)

    def _dial_again(self) -> None:
        try:
            self._dial()
        except ConfigError as error:  # it could be done at the start: out of descriptors, perhaps
            logger.error("worker %s can't dial the broker: %s", self._options.name, error, extra=self._fields)
            self.dial_later()

    def up(self) -> None:
        """See ``LinkSink.up``."""
        self._port.touch()
        self.registration.up(self._port.now)
        self._tick()

    def receive(self, frame: bytes) -> None:
        """See ``LinkSink.receive``."""
        self._port.touch()
        try:
            if not self.registered and len(frame) > _LARGEST_UNPROVED:  # decoded, it might be of any size
                raise BadMessage(f"{len(frame)} bytes from who has not proved that it is the broker")
            message = parse_cluster(self._decode(frame))
        except (BadMessage, UnknownKind) as error:
            if self.registration.garbled():
                return
            if isinstance(error, BadMessage):  # another kind may be of any version: GOODBYE, say, to who was silent
                logger.error("worker %s: the broker sent nonsense: %s", self._options.name, error, extra=self._fields)
            return
        self.registration.receive(message, self._port.now)
        self._tick()
        self._port.wake()

    def down(self, reason: str) -> None:
        """See ``LinkSink.down``."""
        self._port.touch()
        link, self._link = self._link, None
        if link is not None and link.failure is Failure.REFUSED:
            self.over(
                WrongKey("the broker does not let us in: give --key-file the cluster key that it was started with")
            )
        elif self.registered:
            logger.warning(
                "worker %s: the connection to the broker is lost (%s), rooms go on",
                self._options.name,
                reason,
                extra=self._fields,
            )
        elif not (self._missed or self._first_lease.is_set()):
            self._missed = True
            logger.warning(
                "worker %s: no broker answers at %s yet, it goes on trying: %s",
                self._options.name,
                self._options.broker,
                reason,
                extra=self._fields,
            )
        self.registration.down(self._port.now)
        self._port.wake()

    # The outbox of the registration.

    def dial_later(self) -> None:
        """See ``RegistrationOutbox.dial_later``."""
        self._unsent.clear()
        if self._redial is None:
            self._redial = asyncio.get_running_loop().call_later(self._backoff.next(), self._dial_again)

    def hang_up(self) -> None:
        """See ``RegistrationOutbox.hang_up``."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def transmit(self, message: ClusterMessage) -> None:
        """See ``RegistrationOutbox.transmit``."""
        self._unsent.append(encode_cluster(message))
        self._send_unsent()

    def _send_unsent(self) -> None:
        while self._unsent and self._link is not None:
            if self._link.send(self._unsent[0]) is Sent.FULL:
                self._port.alarm(self._port.now + _RETRY, self._send_unsent)
                break
            self._unsent.popleft()
        if len(self._unsent) > _MOST_UNSENT:
            logger.error("worker %s: the broker takes nothing, connecting anew", self._options.name, extra=self._fields)
            self.hang_up()
            self.down("it took nothing")

    def obey(self, items: list[Any]) -> None:
        """See ``RegistrationOutbox.obey``."""
        for item in items:
            try:
                order = order_from_wire(item)
            except (BadMessage, UnknownKind) as error:
                logger.error("worker %s: an order makes no sense: %s", self._options.name, error, extra=self._fields)
                continue
            self.worker.order(order)

    def serving(self, keep: bool) -> None:
        """See ``RegistrationOutbox.serving``."""
        self._backoff.reset()
        self._first_lease.set()
        self._reports.clear()
        logger.info(
            "worker %s is registered, generation %d",
            self._options.name,
            self.registration.generation,
            extra=self._fields,
        )
        if keep:
            self._reports = [report_to_wire(report) for report in (*self.worker.everything(), Settled())]
            self._port.wake()

    def drop_rooms(self) -> None:
        """See ``RegistrationOutbox.drop_rooms``."""
        logger.error(
            "worker %s: the lease is over, %d rooms are dropped",
            self._options.name,
            len(self.worker.rooms),
            extra=self._fields,
        )
        self._reports.clear()
        self.worker.drop_rooms()

    def over(self, error: RemoteError) -> None:
        """See ``RegistrationOutbox.over``."""
        if not self._end.done():
            self._end.set_exception(error)


def _no_time() -> float:
    return 0.0


def _doors(options: WorkerOptions, key: bytes, failed: Callable[[str], None]) -> Doors:
    if options.broker_key is None:
        return Doors()
    # New keys for each life, which clients hear of with each seat. Any client's key opens: nobody gets a seat by that.
    doors = Doors(make_pair(), failed=failed)
    doors.join(key)
    return doors
