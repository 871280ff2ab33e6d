"""Brokers and workers in processes of their own, started as a user would, stopped by their process ids.

A process that a broker started outlives it. So each one that descends from a
test carries a mark in its environment, by which the test finds it again.
"""

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import server_room_system

SOURCES = str(Path(server_room_system.__file__).parents[1])
APP = f"{Path(__file__).with_name('cluster_app.py')}:server"
LOCAL = "127.0.0.1"
PATIENCE = 15.0
"""Seconds that anything may take before a test gives up."""
_MARK = "SRS_TEST_MARK"
_LOOK_EVERY = 0.02


class Running:
    """One ``srs`` process. What it prints goes to a file, so that it never waits for us."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log

    @property
    def log(self) -> str:
        """All that it has printed."""
        return self._log.read_text(errors="replace")

    async def says(self, text: str, within: float = PATIENCE) -> str:
        """Wait for a line that contains this; the line."""
        deadline = time.monotonic() + within
        while True:
            ended = self.process.poll() is not None
            line = next((line for line in self.log.splitlines() if text in line), None)
            if line is not None:
                return line
            assert not ended, f"it ended before it said {text!r}:\n{self.log}"
            assert time.monotonic() < deadline, f"it did not say {text!r} within {within} s:\n{self.log}"
            await asyncio.sleep(_LOOK_EVERY)

    async def ends(self, within: float = PATIENCE) -> int:
        """Wait for its end; the exit code."""
        deadline = time.monotonic() + within
        while (code := self.process.poll()) is None:
            assert time.monotonic() < deadline, f"it did not end within {within} s:\n{self.log}"
            await asyncio.sleep(_LOOK_EVERY)
        return code

    def send(self, sent: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(sent)

    def kill(self) -> None:
        """End it as a power cut would, and see it gone."""
        self.process.kill()
        self.process.wait(PATIENCE)


class Broker(Running):
    """A process of ``srs serve``."""

    async def listens(self) -> str:
        """Wait until it listens; the address for clients."""
        line = await self.says("; type close")
        return line.partition("listening on ")[2].partition(";")[0]


class Processes:
    """The processes of one test. Use it with ``with``: at the end nothing of it is left.

    Args:
        folder: of the test: logs, state files and temporary files go there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mark = secrets.token_hex(8)
        self._started: list[Running] = []
        run, temporary = folder / "run", folder / "tmp"
        for made in (run, temporary):
            made.mkdir(exist_ok=True)
        self.state = run / "server-room-system"
        """Where brokers keep their state files."""
        self.environment = {
            **os.environ,
            "PYTHONPATH": SOURCES,
            "PYTHONWARNINGS": "error",
            "XDG_RUNTIME_DIR": str(run),
            "TMPDIR": str(temporary),
            _MARK: self._mark,
        }
        self.environment.pop("SRS_KEY", None)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *exc_info: object) -> None:
        for running in self._started:
            if running.process.poll() is None:
                running.process.kill()
            running.process.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while pids := self.pids():
            assert time.monotonic() < deadline, f"the system does not let {pids} end"
            for pid in pids:
                kill(pid)
            time.sleep(_LOOK_EVERY)

    def serve(
        self, *options: object, port: int = 0, target: str = APP, before: Sequence[str] = (), level: str = "info"
    ) -> Broker:
        """Start ``srs serve``."""
        arguments = ["serve", target, "--port", port, "--log-level", level, *options]
        return Broker(*self._start(before, arguments))

    def worker(
        self,
        broker: str,
        *options: object,
        target: str = APP,
        before: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> Running:
        """Start ``srs worker`` for the broker whose address for workers this is."""
        arguments = ["worker", target, "--broker", broker, "--log-level", "info", *options]
        return Running(*self._start(before, arguments, environment or {}))

    def run(self, source: str, *arguments: object, before: Sequence[str] = ()) -> Running:
        """Start a Python program."""
        return Running(*self._spawn([*before, sys.executable, "-c", source, *map(str, arguments)]))

    def _start(
        self, before: Sequence[str], arguments: Sequence[object], more: dict[str, str] | None = None
    ) -> "tuple[subprocess.Popen[bytes], Path]":
        command = [*before, sys.executable, "-P", "-m", "server_room_system.cli", *map(str, arguments)]
        return self._spawn(command, more)

    def _spawn(
        self, command: Sequence[str], more: dict[str, str] | None = None
    ) -> "tuple[subprocess.Popen[bytes], Path]":
        log = self.folder / f"log-{len(self._started)}.txt"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self.folder,
                env={**self.environment, **(more or {})},
                start_new_session=True,
            )
        self._started.append(Running(process, log))
        return process, log

    def pids(self) -> list[int]:
        """Every process of this test that lives, whoever started it."""
        return [pid for pid, _ in self._alive()]

    def launched(self) -> dict[str, int]:
        """The workers that brokers of this test started: their processes, by name."""
        found: dict[str, int] = {}
        for pid, command in self._alive():
            if "server_room_system.broker.work" in command:
                found[json.loads(command[-1])["name"]] = pid
        return found

    def _alive(self) -> Iterator[tuple[int, list[str]]]:
        wanted = f"{_MARK}={self._mark}".encode()
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal():
                continue
            with contextlib.suppress(OSError):  # it has ended, or is somebody else's
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_bytes().decode().rstrip("\0").split("\0")
                    yield int(folder.name), command


def kill(pid: int, sent: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process that a test found; one that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sent)


def free_ports(count: int = 2) -> int:
    """The first of so many free ports in a row, for brokers that come back to their port.

    They lie outside the range that the system takes ports for outgoing connections
    from: those of clients that look for the broker would take its port meanwhile.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100):
        first = random.SystemRandom().randrange(10_000, lowest - count)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                holder = stack.enter_context(socket.socket())
                holder.bind((LOCAL, port))
            return first
    raise AssertionError("no ports are free")


def workers_address(port: int) -> str:
    """Where the broker on this port listens for workers."""
    return f"tcp://{LOCAL}:{port + 1}"
