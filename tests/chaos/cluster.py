"""The processes of a run: broker, workers, proxies, bots and oracle, and what is done to them."""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from ..integration.cluster import SOURCES, Processes, Running
from .app import FOLDER, NAME
from .events import Event
from .faults import Cast, Fault
from .grounds import PATIENCE, Ground, until
from .slopes import Sample
from .trace import Trace
from .watch import REPORT

__all__ = ["ChaosCluster"]

_ROOT = Path(__file__).absolute().parents[2]
_APP = "tests.chaos.app:server"
_PAGE = os.sysconf("SC_PAGE_SIZE") / (1024 * 1024)


class ChaosCluster:
    """A whole system with an oracle. Use it with ``async with``; ``processes`` ends what is left.

    Args:
        processes: starts them.
        ground: where they live.
        cast: who there is.
        seed: decides what bots do.
        bots: in each process of bots.
        rate: messages a second of each bot.
    """

    def __init__(self, processes: Processes, ground: Ground, cast: Cast, seed: int, bots: int, rate: float) -> None:
        self.cast = cast
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
        self._ground = ground
        self._lives = 0
        self._questions = 0
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
        self._grounds = await self._ground.open()
        self.running |= self._grounds
        for name in self._starts:
            await self.start(name)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._ground.close()
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
            await self._ground.hurt(fault.target, fault.what, fault.seconds)
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
        await until(lambda: self.report().get("rest", {}).get("number") == self._questions)
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
        for name in (*self.cast.bots, *self.cast.workers, "broker", *self._grounds, "oracle"):
            running = self.running[name]
            if name in self._grounds:
                await self._ground.close()
            self._signal(name, signal.SIGTERM)
            code = await running.ends(PATIENCE)
            if code != 0:
                self.complaints.append(f"{name} ended with {code}")
            self._read_log(name)
        left = [path.name for path in self._processes.state.glob("*")]
        if left:
            self.complaints.append(f"left behind: {left}")

    # The processes.

    def _python(self, module: str, *arguments: object, inside: Sequence[str] = ()) -> Running:
        source = f"from tests.chaos.{module} import main; main()"
        return self._processes.run(source, *arguments, before=inside)

    async def _start_broker(self) -> Running:
        host, port = self._ground.broker
        broker = self._processes.serve(
            *("--host", host, "--workers", 0, "--worker-address", f"{host}:{port + 1}", "--insecure"),
            port=port, target=_APP, level="warning", before=self._ground.inside("broker"),
        )  # fmt: skip
        await broker.says("; type close", PATIENCE)
        return broker

    async def _start_worker(self, name: str) -> Running:
        public, listen = self._ground.rooms(name)
        worker = self._processes.worker(
            self._ground.lease(name),
            *("--name", name, "--public", public, "--listen", listen, "--drain-seconds", 3, "--log-level", "warning"),
            "--insecure",
            target=_APP, environment={NAME: name}, before=self._ground.inside(name),
        )  # fmt: skip
        await worker.says(f"worker {name} serves", PATIENCE)
        return worker

    async def _start_bots(self, name: str) -> Running:
        self._lives += 1
        arguments = (self._told, name, self._lives, self._ground.control(name), self._bots, self._rate, self._seed)
        return self._python("bots", *arguments, inside=self._ground.inside(name))

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
