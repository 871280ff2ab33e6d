"""A server and its clients in memory."""

import asyncio
from random import Random
from typing import Any

from ..broker.cluster import ClusterOptions
from ..broker.host import Host, HostOptions
from ..broker.server import Server
from ..client.async_client import AsyncClient
from ..protocol.errors import ConfigError
from ..rooms.room import Room
from ..rooms.worker import Worker
from ..rooms.worker_host import WorkerHost, WorkerOptions
from .clock import VirtualLoop
from .faults import Cable, FaultyNetwork

__all__ = ["InMemorySystem", "system"]

LATENCY = (0.0005, 0.002)
_NOTICED = 1.0
"""Seconds after which a broker knows that a worker has ended."""


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
        cluster = None if workers is None else HostOptions(ClusterOptions(), key=self.key)
        self.host = Host(server, "127.0.0.1", 0, self.network, self.random.randbytes, cluster)
        """The broker at work, or the whole server."""
        self.workers: dict[str, WorkerHost] = {}
        """The workers at work, by name: w1, w2 and so on."""
        self._server = server
        self._how_many = workers or 0
        self._clients: dict[AsyncClient, Cable] = {}
        self._stopped = True

    async def __aenter__(self) -> "InMemorySystem":
        await self.host.__aenter__()
        self._stopped = False
        for number in range(1, self._how_many + 1):
            await self.add_worker(f"w{number}")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for client in self._clients:
            await client.close()
        await self.stop()

    async def stop(self) -> None:
        """Stop the server, as a signal would, while the clients are there."""
        if not self._stopped:
            self._stopped = True
            for worker in self.workers.values():
                await worker.__aexit__(None, None, None)
            if self.workers:
                await asyncio.sleep(_NOTICED)
            await self.host.__aexit__(None, None, None)
            self.network.close()

    # Workers.

    async def add_worker(self, name: str, *, labels: tuple[str, ...] = ()) -> WorkerHost:
        """One more worker; it is registered when this returns."""
        address = self.host.worker_address
        if address is None:
            raise ConfigError("this system has no workers: make it with system(server, workers=N)")
        worker = WorkerHost(
            self._server,
            WorkerOptions(address, name, labels=labels),
            self.key,
            self.network,
            self.random.randbytes,
            self.random.random,
        )
        await worker.__aenter__()
        self.workers[name] = worker
        await worker.has_registered()
        return worker

    async def kill_worker(self, name: str) -> None:
        """Let a worker be gone from one moment to the next, as its process would be: no hook runs, nobody is told."""
        await self.workers.pop(name).vanish()

    # Clients.

    async def client(
        self,
        *,
        connect_timeout: float = 5.0,
        reconnect_timeout: float = 30.0,
        inbox: int = 4096,
        credentials: Any = None,
    ) -> AsyncClient:
        """A client that is connected. It is closed with the system. For the arguments see ``connect``."""
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
        await client.__aenter__()
        self._clients[client] = cable
        return client

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
