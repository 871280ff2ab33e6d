"""The processes of a run: broker, workers, proxies, bots and oracle, and what is done to them."""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ..integration.cluster import LOCAL, SOURCES, Processes, Running, free_ports
from .app import FOLDER, NAME
from .events import Event
from .faults import Cast, Fault
from .proxies import STROKES
from .slopes import Sample
from .trace import Trace
from .watch import REPORT

__all__ = ["ChaosCluster"]

PATIENCE = 60.0
"""Seconds that anything may take."""
_ROOT = Path(__file__).absolute().parents[2]
_APP = "tests.chaos.app:server"
_ROOMS, _CONTROL, _LEASE = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""Where proxies listen, at the ports of those whom they stand for."""
_SHARDS = 4
"""Ports after a worker's own that go through its proxies as well."""
_PAGE = os.sysconf("SC_PAGE_SIZE") / (1024 * 1024)


class ChaosCluster:
    """A whole system with an oracle. Use it with ``async with``; ``processes`` ends what is left.

    Args:
        processes: starts them.
        seed: decides what bots do.
        bot_processes: processes of bots.
        bots: in each.
        rate: messages a second of each bot.
        workers: how many.
    """

    def __init__(
        self, processes: Processes, seed: int, bot_processes: int, bots: int, rate: float, workers: int = 2
    ) -> None:
        self.cast = Cast(
            tuple(f"b{number}" for number in range(bot_processes)),
            tuple(f"w{number}" for number in range(1, workers + 1)),
        )
        self.running: dict[str, Running] = {}
        self.samples: dict[tuple[str, int], list[Sample]] = {}
        """Of each process by name and pid: how large it is, at each ``measure``."""
        self.complaints: list[str] = []
        """What the logs of the processes say that they must not."""
        self.calm = False
        self._processes = processes
        self._seed = seed
        self._bots = bots
        self._rate = rate
        self._port = free_ports(2 + workers * (1 + _SHARDS))
        self._lives = 0
        self._questions = 0
        self._ordering = asyncio.Lock()
        self._told = processes.folder / "told"
        self._told.mkdir()
        processes.environment |= {
            "PYTHONPATH": f"{SOURCES}{os.pathsep}{_ROOT}",
            "SRS_KEY": secrets.token_hex(32),
            FOLDER: str(self._told),
        }
        self._starts: dict[str, Callable[[], Awaitable[Running]]] = {"broker": self._start_broker}
        self._starts |= {name: lambda name=name: self._start_worker(name) for name in self.cast.workers}  # type: ignore[misc]
        self._starts |= {name: lambda name=name: self._start_bots(name) for name in self.cast.bots}  # type: ignore[misc]

    async def __aenter__(self) -> "ChaosCluster":
        self.running["oracle"] = self._python("watch", self._told)
        self._trace = await asyncio.to_thread(Trace(self._told, "lead", "lead").await_reader)
        control = self._processes.folder / "control"
        self.running["proxies"] = self._python("proxies", control, json.dumps(self._links()))
        await _until(control.exists)
        self._reader, self._writer = await asyncio.open_unix_connection(control)
        for name in self._starts:
            await self.start(name)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._writer.close()
        self._trace.close()

    async def start(self, name: str) -> None:
        """Start a process, at first or again."""
        self.running[name] = await self._starts[name]()
        if self.calm and name in self.cast.bots:
            self._signal(name, signal.SIGUSR1)

    async def strike(self, fault: Fault) -> None:
        """Let a fault happen; returns when it is over."""
        self._trace.write(Event.FAULT, fault.name, list(fault.suffers), fault.seconds)
        if fault.what == "kill":
            self.running[fault.target].kill()
            self._read_log(fault.target)
            await asyncio.sleep(fault.seconds)
            await self.start(fault.target)
        elif fault.what == "stop":
            self._signal(fault.target, signal.SIGSTOP)
            await asyncio.sleep(fault.seconds)
            self._signal(fault.target, signal.SIGCONT)
        else:
            await self._order(fault.target, fault.what)
            await asyncio.sleep(fault.seconds)
            if fault.what not in STROKES:
                await self._order(fault.target, "flow")
        # What follows from it begins now.
        if fault.suffers:
            self._trace.write(Event.FAULT, "", list(fault.suffers), 0.0)

    async def rest(self, patience: float = PATIENCE) -> list[str]:
        """Let everybody be calm; what is still not as it has to be after so long."""
        self.calm = True
        for name in self.cast.bots:
            self._signal(name, signal.SIGUSR1)
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            await asyncio.sleep(3.0)
            last = asyncio.get_running_loop().time() > deadline
            unrest = await self._ask(last=last)
            if last or not unrest:
                return unrest

    def go_on(self) -> None:
        """The calm is over."""
        self.calm = False
        for name in self.cast.bots:
            self._signal(name, signal.SIGUSR2)

    async def _ask(self, *, last: bool) -> list[str]:
        self._questions += 1
        self._trace.write(Event.REST, self._questions, last)
        await _until(lambda: self.report().get("rest", {}).get("number") == self._questions)
        unrest: list[str] = self.report()["rest"]["unrest"]
        return unrest

    def report(self) -> dict[str, Any]:
        """What the oracle has found."""
        path = self._told / REPORT
        report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return report

    def measure(self, now: float) -> None:
        """Look at how large each process is."""
        for name, running in self.running.items():
            try:
                pages = int(Path(f"/proc/{running.pid}/statm").read_text().split()[1])
                fds = len(os.listdir(f"/proc/{running.pid}/fd"))
            except OSError:
                continue  # it is dead just now
            self.samples.setdefault((name, running.pid), []).append(Sample(now, pages * _PAGE, fds))

    async def finish(self) -> None:
        """End all processes as a user would, those first who use the others; each has to end well."""
        for name in (*self.cast.bots, *self.cast.workers, "broker", "proxies", "oracle"):
            running = self.running[name]
            if name == "proxies":
                self._writer.close()
                await self._writer.wait_closed()
            self._signal(name, signal.SIGTERM)
            code = await running.ends(PATIENCE)
            if code != 0:
                self.complaints.append(f"{name} ended with {code}")
            self._read_log(name)
        left = [path.name for path in self._processes.state.glob("*")]
        if left:
            self.complaints.append(f"left behind: {left}")

    # The processes.

    def _python(self, module: str, *arguments: object) -> Running:
        return self._processes.run(f"from tests.chaos.{module} import main; main()", *arguments)

    async def _start_broker(self) -> Running:
        broker = self._processes.serve(
            *("--workers", 0, "--worker-address", f"{LOCAL}:{self._port + 1}"),
            port=self._port, target=_APP, level="warning",
        )  # fmt: skip
        await broker.says("; type close", PATIENCE)
        return broker

    async def _start_worker(self, name: str) -> Running:
        port = self._port_of(name)
        worker = self._processes.worker(
            f"tcp://{_LEASE}:{port}",
            *("--name", name, "--public", f"tcp://{_ROOMS}:{port}", "--listen", f"tcp://{LOCAL}:{port}"),
            *("--drain-seconds", 3, "--log-level", "warning"),
            target=_APP, environment={NAME: name},
        )  # fmt: skip
        await worker.says(f"worker {name} serves", PATIENCE)
        return worker

    async def _start_bots(self, name: str) -> Running:
        self._lives += 1
        address = f"tcp://{_CONTROL}:{self._port + self.cast.bots.index(name)}"
        return self._python("bots", self._told, name, self._lives, address, self._bots, self._rate, self._seed)

    def _port_of(self, worker: str) -> int:
        return self._port + 2 + self.cast.workers.index(worker) * (1 + _SHARDS)

    def _links(self) -> dict[str, list[tuple[str, int, str, int]]]:
        links = {}
        for number, name in enumerate(self.cast.bots):
            links[f"control {name}"] = [(_CONTROL, self._port + number, LOCAL, self._port)]
        for name in self.cast.workers:
            port = self._port_of(name)
            links[f"rooms {name}"] = [(_ROOMS, each, LOCAL, each) for each in range(port, port + 1 + _SHARDS)]
            links[f"lease {name}"] = [(_LEASE, port, LOCAL, self._port + 1)]
        return links

    async def _order(self, link: str, what: str) -> None:
        async with self._ordering:
            self._writer.write(json.dumps({"link": link, "do": what}).encode() + b"\n")
            await self._writer.drain()
            assert await self._reader.readline(), "the proxies have ended"

    def _signal(self, name: str, sent: signal.Signals) -> None:
        running = self.running[name]
        if running.process.poll() is not None:
            self.complaints.append(
                f"{name} has ended by itself with {running.process.returncode}:\n{running.log[-2000:]}"
            )
            return
        running.send(sent)

    def _read_log(self, name: str) -> None:
        log = self.running[name].log
        if "Traceback" in log:
            begin = log.index("Traceback")
            self.complaints.append(f"{name} raised:\n{log[max(0, begin - 300) : begin + 3000]}")


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)
