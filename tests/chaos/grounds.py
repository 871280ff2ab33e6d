"""Where the processes of a run live, and what breaks between them: proxies on loopback, or cables of machines."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Protocol

from ..integration.cluster import LOCAL, Processes, Running, free_ports
from ..integration.hosts import Host
from .faults import Cast
from .proxies import STROKES

__all__ = ["PATIENCE", "Cables", "Ground", "Proxied", "until"]

PATIENCE = 60.0
"""Seconds that anything may take."""
_ROOMS, _CONTROL, _LEASE = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""Where proxies listen, at the ports of those whom they stand for."""
_SHARDS = 4
"""Ports after a worker's own that its topics may take."""


class Ground(Protocol):
    """Addresses of a run, and the way to break what lies between them."""

    @property
    def broker(self) -> tuple[str, int]:
        """Where it listens for clients; for workers at the next port."""
        ...

    async def open(self) -> dict[str, Running]:
        """Be ready; processes that belong to it, by name."""
        ...

    async def close(self) -> None:
        """Break nothing any more."""

    def inside(self, name: str) -> Sequence[str]:
        """What stands before the command line of a process."""
        ...

    def control(self, bots: str) -> str:
        """The broker's address for bots."""
        ...

    def lease(self, worker: str) -> str:
        """The broker's address for a worker."""
        ...

    def rooms(self, worker: str) -> tuple[str, str]:
        """A worker's public address, and the one that it listens on."""
        ...

    async def hurt(self, target: str, what: str, seconds: float) -> None:
        """Break something, and mend it after a while."""


class Proxied:
    """Everybody is on loopback, and each link goes through a proxy.

    Args:
        processes: starts the proxies.
        cast: who there is.
    """

    def __init__(self, processes: Processes, cast: Cast) -> None:
        self._processes = processes
        self._cast = cast
        self._port = free_ports(2 + len(cast.workers) * (1 + _SHARDS))
        self._ordering = asyncio.Lock()
        self.broker = (LOCAL, self._port)

    async def open(self) -> dict[str, Running]:
        """See ``Ground.open``."""
        control = self._processes.folder / "control"
        source = "from tests.chaos.proxies import main; main()"
        proxies = self._processes.run(source, control, json.dumps(self._links()))
        await until(control.exists)
        self._reader, self._writer = await asyncio.open_unix_connection(control)
        return {"proxies": proxies}

    async def close(self) -> None:
        """See ``Ground.close``."""
        self._writer.close()
        await self._writer.wait_closed()

    def inside(self, name: str) -> Sequence[str]:
        """See ``Ground.inside``."""
        return ()

    def control(self, bots: str) -> str:
        """See ``Ground.control``."""
        return f"tcp://{_CONTROL}:{self._port + self._cast.bots.index(bots)}"

    def lease(self, worker: str) -> str:
        """See ``Ground.lease``."""
        return f"tcp://{_LEASE}:{self._port_of(worker)}"

    def rooms(self, worker: str) -> tuple[str, str]:
        """See ``Ground.rooms``."""
        port = self._port_of(worker)
        return f"tcp://{_ROOMS}:{port}", f"tcp://{LOCAL}:{port}"

    async def hurt(self, target: str, what: str, seconds: float) -> None:
        """See ``Ground.hurt``."""
        await self._order(target, what)
        await asyncio.sleep(seconds)
        if what not in STROKES:
            await self._order(target, "flow")

    def _port_of(self, worker: str) -> int:
        return self._port + 2 + self._cast.workers.index(worker) * (1 + _SHARDS)

    def _links(self) -> dict[str, list[tuple[str, int, str, int]]]:
        links = {}
        for number, name in enumerate(self._cast.bots):
            links[f"control {name}"] = [(_CONTROL, self._port + number, LOCAL, self._port)]
        for name in self._cast.workers:
            port = self._port_of(name)
            links[f"rooms {name}"] = [(_ROOMS, each, LOCAL, each) for each in range(port, port + 1 + _SHARDS)]
            links[f"lease {name}"] = [(_LEASE, port, LOCAL, self._port + 1)]
        return links

    async def _order(self, link: str, what: str) -> None:
        async with self._ordering:
            self._writer.write(json.dumps({"link": link, "do": what}).encode() + b"\n")
            await self._writer.drain()
            assert await self._reader.readline(), "the proxies have ended"


class Cables:
    """Everybody is on a machine of their own, and its cable can be pulled.

    Args:
        hosts: at least one for each of the cast and the broker.
        cast: who there is.
    """

    def __init__(self, hosts: Sequence[Host], cast: Cast) -> None:
        self._hosts = dict(zip(("broker", *cast.workers, *cast.bots), hosts, strict=True))
        self.broker = (self._hosts["broker"].address, 5000)

    async def open(self) -> dict[str, Running]:
        """See ``Ground.open``."""
        return {}

    async def close(self) -> None:
        """See ``Ground.close``."""

    def inside(self, name: str) -> Sequence[str]:
        """See ``Ground.inside``."""
        return self._hosts[name].inside

    def control(self, bots: str) -> str:
        """See ``Ground.control``."""
        return f"tcp://{self.broker[0]}:{self.broker[1]}"

    def lease(self, worker: str) -> str:
        """See ``Ground.lease``."""
        return f"tcp://{self.broker[0]}:{self.broker[1] + 1}"

    def rooms(self, worker: str) -> tuple[str, str]:
        """See ``Ground.rooms``."""
        address = f"tcp://{self._hosts[worker].address}:6000"
        return address, address

    async def hurt(self, target: str, what: str, seconds: float) -> None:
        """See ``Ground.hurt``."""
        host = self._hosts[target]
        await asyncio.to_thread(host.pull_the_cable)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(host.plug_it_in)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)
