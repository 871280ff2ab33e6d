"""One life of a running server: network, port, worker and broker, put together on one port."""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ..protocol.errors import Code, ConfigError, ServerStopping
from ..protocol.ids import Entropy
from ..protocol.limits import Limits
from ..protocol.names import ClientData
from ..protocol.rulesets import RuleSet
from ..rooms.control import OpenRoom, ReleaseSeats, ReserveSeats
from ..rooms.mailbox import Mailbox
from ..rooms.port import Port
from ..rooms.room import Room
from ..rooms.watchdog import Watchdog
from ..rooms.worker import Worker
from ..transport.descriptors import connections_allowed
from ..transport.entropy import EntropyPool
from ..transport.network import Network, Sent
from ..transport.zeromq import ZmqNetwork
from .broker import MOST_SESSIONS, Broker, BrokerLimits
from .sessions import Session

__all__ = ["Host"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".server")

_MOST_WAITING = 1024
"""Messages for ``Server.handle_response`` that wait while an async one runs."""
_STOP_TIME = 6.0
"""Seconds that rooms have to end; a room's own limit is 5."""
_LAST_WORDS = 0.5
"""Seconds that clients have to hang up, once they are told that the server stops."""
_SWEEP = 1.0


class Application(Protocol):
    """What a host runs: a Server, as its host sees it."""

    limits: Limits
    broker_limits: BrokerLimits
    rooms: dict[str, type[Room]]

    def handle_response(self, protocol: str, data: Any, sender: Session, client_data: ClientData) -> Any:
        """A client who is in no room sent something."""

    def on_error(self, hook: str, error: BaseException) -> Any:
        """A hook raised."""

    def make_room(self, ruleset: RuleSet) -> tuple[str, Room]:
        """The room for a ruleset, and the name of its type."""
        ...

    def bind(self, host: "Host | None") -> None:
        """It runs in this host, or in none any more."""


class Host:
    """A server that runs. Use it with ``async with``.

    It is the outbox of the broker, and its worker is the one in this process.
    """

    def __init__(
        self,
        server: Application,
        host: str,
        port: int,
        network: Network | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        self._server = server
        self._where = host, port
        self._network = network
        self._own_network: ZmqNetwork | None = None
        self._entropy = entropy or EntropyPool()
        self._stop = asyncio.Event()
        self._watchdog: Watchdog | None = None
        self._unflushed = False

    @property
    def address(self) -> str:
        """Where clients connect to: ``tcp://host:port``."""
        return self._port.listener.address

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
        except BaseException:
            self._server.bind(None)
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
        if not await self.worker.emptied(_STOP_TIME):
            logger.warning("%d rooms did not end in time", len(self.worker.rooms))
        self.broker.reception.say_goodbye(Code.SERVER_STOPPING, ServerStopping.meaning)
        await self._port.emptied(_LAST_WORDS)
        await self.worker.stop()
        if self._watchdog is not None:
            self._watchdog.stop()
        self._port.close()
        if self._own_network is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._own_network.close)
        self._server.bind(None)
        logger.info("stopped")

    def _start(self) -> None:
        limits = self._server.broker_limits
        if self._network is None:
            self._own_network = ZmqNetwork()
            allowed = connections_allowed(limits.sessions, MOST_SESSIONS)
            if allowed < 1:
                raise ConfigError(
                    "this process may have too few open files to serve anybody: raise the limit (ulimit -n)."
                )
            limits = replace(limits, sessions=allowed)
        self._port = Port(self._server.limits, self._entropy)
        self.worker = Worker(self._port, self._server.make_room, self._on_report, self._entropy, carries_sessions=True)
        self.broker = Broker(self._server.limits, self, self._entropy, limits, self._server.rooms)
        self._application = Mailbox("server", self.worker, self._server.on_error)
        self._port.on_broker_message = self.broker.on_message
        self._port.on_flush = self._flush
        network = self._network or self._own_network
        assert network is not None
        self._port.open(network, *self._where)
        self._port.touch()
        self._port.alarm(self.now + _SWEEP, self._sweep)
        if isinstance(network, ZmqNetwork):
            self._watchdog = Watchdog(self.worker)

    def _on_report(self, report: Any) -> None:
        self.broker.on_report(report)

    def _flush(self) -> None:
        self._unflushed = False
        self.worker.flush()
        self.broker.reception.flush()

    def _sweep(self) -> None:
        self._port.sweep(self.now)
        self._port.alarm(self.now + _SWEEP, self._sweep)

    # The outbox of the broker.

    @property
    def now(self) -> float:
        """The time of this turn."""
        return self._port.now

    def send(self, peer: bytes, frame: bytes) -> Sent:
        """See ``Listener.send``."""
        return self._port.listener.send(peer, frame)

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]:
        """See ``Listener.send_all``."""
        return self._port.listener.send_all(peers, frame)

    def control(self, message: OpenRoom | ReserveSeats | ReleaseSeats) -> None:
        """The worker is in this process."""
        self.worker.on_control(message)

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
        self._application.post(self._application.call, "handle_response", self._server.handle_response, args)
        return True

    def after_application(self, then: Callable[[], None]) -> None:
        """See ``BrokerOutbox.after_application``."""
        self._application.post(then)
