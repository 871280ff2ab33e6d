"""A server and its clients in memory."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from ..broker.cluster import ClusterOptions
from ..broker.host import Host
from ..broker.hosting import HostOptions
from ..broker.server import Server
from ..client.async_client import AsyncClient
from ..protocol.errors import ConfigError
from ..rooms.room import Room
from ..rooms.worker import Worker
from ..rooms.worker_host import WorkerHost, WorkerOptions
from ..transport.keys import LocalState
from .clock import Process, VirtualLoop
from .faults import Cable, FaultyNetwork

__all__ = ["InMemorySystem", "system"]

LATENCY = (0.0005, 0.002)
BROKER = "broker"
_NOTICED = 1.0
"""Seconds after which a broker knows that a worker has ended."""
_WALL = 1_800_000_000.0
"""What the wall clock shows at the beginning."""

T = TypeVar("T")


def system(
    server: Server, *, workers: int | None = None, seed: int | None = None, latency: tuple[float, float] = LATENCY
) -> "InMemorySystem":
    """Run a server in memory, to be used with ``async with``, inside of ``run``.

    Args:
        server: yours, as it is.
        workers: how many workers host its rooms; None: the broker does it itself.
        seed: decides latencies, what a broken connection loses, ids and jitter.
            None: it follows from the seed that ``run`` was given.
        latency: shortest and longest time of a message on its way, in seconds.
    """
    return InMemorySystem(server, workers=workers, seed=seed, latency=latency)


class InMemorySystem:
    """A server that runs, its clients, and the connections between them. ``system()`` makes it."""

    def __init__(self, server: Server, *, workers: int | None, seed: int | None, latency: tuple[float, float]) -> None:
        loop = asyncio.get_running_loop()
        if seed is None:
            seed = loop.random.getrandbits(64) if isinstance(loop, VirtualLoop) else 0
        self.random = Random(seed)
        """Where ids and jitter come from."""
        self.network = FaultyNetwork(seed, latency)
        """All connections; ``cut_one()`` and ``stall_one()`` fall on any."""
        self.key = self.random.randbytes(32)
        """The cluster key."""
        self.wall = _WALL
        """What a broker's wall clock shows beside the loop's time. Set it forward or back as you like."""
        self._state = _Kept(self.key)
        self.host = self._make_host(server, 0, None if workers is None else ClusterOptions())
        """The broker at work, or the whole server."""
        self.broker_runs = False
        """Whether there is a broker: started, and neither killed nor stopped."""
        self.workers: dict[str, WorkerHost] = {}
        """The workers at work, by name: w1, w2 and so on."""
        self._server = server
        self._how_many = workers or 0
        self._clients: dict[AsyncClient, Cable] = {}
        self._processes: dict[AsyncClient | str, Process] = {}
        self._stopped = True

    async def __aenter__(self) -> "InMemorySystem":
        await self._begin(BROKER, self.host.__aenter__())
        self._stopped, self.broker_runs = False, True
        for number in range(1, self._how_many + 1):
            await self.add_worker(f"w{number}")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for process in self._processes.values():
            process.go_on()
        for client in self._clients:
            await client.close()
        await self.stop()

    async def stop(self) -> None:
        """Stop the server, as a signal would, while the clients are there."""
        if not self._stopped:
            self._stopped = True
            for worker in list(self.workers.values()):
                await worker.__aexit__(None, None, None)
            if self.workers:
                await asyncio.sleep(_NOTICED)
            if self.broker_runs:
                self.broker_runs = False
                await self.host.__aexit__(None, None, None)
            self.network.close()

    async def kill_broker(self) -> None:
        """Let the broker be gone from one moment to the next. Rooms on workers live on; those beside it go with it."""
        self._check_broker()
        self.broker_runs = False
        self._end(BROKER)
        await self.host.vanish()

    async def restart_broker(self) -> None:
        """Start a broker after ``kill_broker``, at the same addresses, with what the one before has left on its disk.

        Give it a thousandth of a second since the last start, by ``wall``: a life of a broker is named by the time of
        its beginning.
        """
        if self.broker_runs:
            raise ConfigError("the broker runs: kill it first")
        where = self.host.worker_address
        cluster = None if where is None else ClusterOptions(port=_port(where), settle=0.0)
        self._state.left_over = True
        self.host = self._make_host(self._server, _port(self.host.address), cluster)
        await self._begin(BROKER, self.host.__aenter__())
        self.broker_runs = True

    def _make_host(self, server: Server, port: int, cluster: ClusterOptions | None) -> Host:
        options = HostOptions(cluster, key=self.key, state=self._state) if cluster is not None else None
        loop = asyncio.get_running_loop()
        return Host(
            server, "127.0.0.1", port, self.network, self.random.randbytes, options, lambda: self.wall + loop.time()
        )

    # Processes.

    def freeze(self, what: "AsyncClient | str") -> None:
        """Let a process stand still, as on SIGSTOP: nothing of it runs until ``thaw``, and then its timers are late.

        Args:
            what: a client (its connections; the code that uses it goes on), a worker's name, or ``"broker"``.
        """
        process = self.process(what)
        if not process.stopped:
            process.stop()
            self.network.stands_still(process)

    def thaw(self, what: "AsyncClient | str") -> None:
        """Let a process go on."""
        self.process(what).go_on()

    def process(self, what: "AsyncClient | str") -> Process:
        """The process of a client, of a worker, or of the broker.

        Raises:
            ConfigError: there is none.
        """
        process = self._processes.get(what)
        if process is None:
            raise ConfigError(f"{what!r} is no process of this system: neither client, nor worker, nor {BROKER!r}")
        return process

    async def _begin(self, what: "AsyncClient | str", work: Coroutine[Any, Any, T]) -> T:
        process = self._processes[what] = Process(str(what))
        return await process.run(work)

    def _end(self, what: "AsyncClient | str") -> None:
        process = self._processes.pop(what)
        self.network.lose(process)
        process.go_on()  # to the end

    def _check_broker(self) -> None:
        if not self.broker_runs:
            raise ConfigError("the broker does not run")

    # Workers.

    async def add_worker(
        self, name: str, *, labels: tuple[str, ...] = (), drain_seconds: float = 30.0, registered: bool = True
    ) -> WorkerHost:
        """One more worker.

        Args:
            name: unique among those at work.
            labels: what it has that a room type may require.
            drain_seconds: how long its rooms have to end in ``drain_worker``.
            registered: return when the broker has it; False: at once.
        """
        address = self.host.worker_address
        if address is None:
            raise ConfigError("this system has no workers: make it with system(server, workers=N)")
        worker = WorkerHost(
            self._server,
            WorkerOptions(address, name, labels=labels, drain_seconds=drain_seconds),
            self.key,
            self.network,
            self.random.randbytes,
            self.random.random,
        )
        await self._begin(name, worker.__aenter__())
        self.workers[name] = worker
        if registered:
            await worker.has_registered()
        return worker

    async def kill_worker(self, name: str) -> None:
        """Let a worker be gone from one moment to the next, as its process would be: no hook runs, nobody is told."""
        worker = self.workers.pop(name)
        self._end(name)
        worker.stop_soon()  # who waits for its end waits no longer
        await worker.vanish()

    async def drain_worker(self, name: str) -> None:
        """Take a worker out of service, as SIGTERM does: its rooms may end, then it does; this returns when it has."""
        worker = self.workers[name]
        worker.drain()
        await worker.ended()
        if self.workers.get(name) is worker:
            del self.workers[name]
            await worker.__aexit__(None, None, None)

    # Clients.

    async def client(
        self,
        *,
        connect_timeout: float = 5.0,
        reconnect_timeout: float = 60.0,
        inbox: int = 4096,
        credentials: Any = None,
    ) -> AsyncClient:
        """A client that is connected. It is closed with the system. For the arguments see ``connect``.

        It is a process of its own, or part of the one that this is called in.
        """
        cable = self.network.cable()
        client = AsyncClient(
            self.host.address,
            network=cable,
            connect_timeout=connect_timeout,
            reconnect_timeout=reconnect_timeout,
            inbox=inbox,
            jitter=self.random.random,
            credentials=credentials,
        )
        process = Process.current() or Process("client")
        await process.run(client.__aenter__())
        self._processes[client] = process
        self._clients[client] = cable
        return client

    async def kill_client(self, client: AsyncClient) -> None:
        """Let a client be gone from one moment to the next: it says no goodbye."""
        cable = self._clients.pop(client)
        self._processes.pop(client).go_on()
        cable.plugged = False
        cable.cut()
        await client.close()

    def drop(self, client: AsyncClient) -> None:
        """Break a client's connection; it comes back by itself. Of what is on its way, a random part is lost."""
        self._cable(client).cut()

    def stall(self, client: AsyncClient) -> None:
        """Let a client's connection go silent; both sides find out when ``Limits.ping_timeout`` has passed."""
        self._cable(client).stall()

    def unplug(self, client: AsyncClient) -> None:
        """Break a client's connection, and let it make no other before ``plug``."""
        cable = self._cable(client)
        cable.plugged = False
        cable.cut()

    def plug(self, client: AsyncClient) -> None:
        """Let a client connect again; it does so at its next attempt."""
        self._cable(client).plugged = True

    def _cable(self, client: AsyncClient) -> Cable:
        cable = self._clients.get(client)
        if cable is None:
            raise ConfigError("this client is not of this system: make it with client()")
        return cable

    # The server's side.

    @property
    def rooms(self) -> list[Room]:
        """The rooms that are open, as your code made them, oldest first."""
        return [runner.room for worker in self._rooms_of() for runner in worker.rooms.values()]

    def room(self, room_id: str) -> Room:
        """The room with this id (a ``ClientRoom`` has it as ``id``).

        Raises:
            ConfigError: there is none.
        """
        for worker in self._rooms_of():
            runner = worker.rooms.get(room_id)
            if runner is not None:
                return runner.room
        raise ConfigError(f"no room has the id {room_id!r}; it may have ended")

    def _rooms_of(self) -> list[Worker]:
        return [self.host.worker, *(worker.worker for worker in self.workers.values())]

    # Time.

    @property
    def now(self) -> float:
        """The time on the loop's clock, in seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass. On a virtual clock that takes none."""
        await asyncio.sleep(seconds)


class _Kept(LocalState):
    """What a broker keeps on its disk, kept in memory."""

    def __init__(self, key: bytes) -> None:
        super().__init__(Path(), key, 1, 0, left_over=False, server_key=None)

    def save(self, next_client: int, generation: int) -> None:
        """See ``LocalState.save``."""
        self.next_client, self.generation = next_client, generation

    def remove(self) -> None:
        """See ``LocalState.remove``."""


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
