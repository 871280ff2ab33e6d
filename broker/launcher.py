"""Where worker processes come from. The default starts them on this machine."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..protocol.errors import ConfigError
from .output import Lines
from .runaway import Runaway

__all__ = ["Launcher", "LocalLauncher"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".workers")

_LOOK_EVERY = 0.25
"""Seconds between two looks at what workers use: one that runs away takes a gigabyte in less than a second."""
_MARGIN = 256 << 20
"""The system refuses memory at twice the limit and this much more: between two looks there is no end otherwise.

It counts what is asked for, used or not, so it must lie far above what a worker may hold."""
_GONE_WITHIN = 5.0
"""Seconds in which a killed process is gone, unless the kernel holds it."""
_PIECE = 65_536
_MOST_PIECES = 16
"""Pieces of output that are still read after a process has ended: its children may go on writing."""
_NOT_STARTED = 127
"""The exit code of what could not be started, as shells have it."""


class Launcher(Protocol):
    """Starts and ends worker processes, somewhere. It decides nothing: ``Supervisor`` does.

    Whoever makes one gives it a callback for the end of a process, with its name
    and exit code. It is called once for each launch.
    """

    def launch(self, name: str, isolated: bool) -> None:
        """Start a process that registers under this name; ``isolated``: for one room only. It may fail later."""

    def terminate(self, name: str) -> None:
        """Ask it to drain and end. One that is unknown or gone already is no error."""

    def kill(self, name: str) -> None:
        """End it, at once. One that is unknown or gone already is no error."""

    def alive(self, name: str, now: float) -> None:
        """The loop of this worker turns: it has just renewed its lease."""

    async def close(self, within: float) -> None:
        """Ask all to end, and end those that still run after ``within`` seconds. Nothing is left afterwards."""


@dataclass(slots=True)
class _Child:
    name: str
    runaway: Runaway
    process: asyncio.subprocess.Process | None = None
    signals: list[signal.Signals] = field(default_factory=list)
    """What it is to get as soon as it is there."""
    condemned: bool = False


class LocalLauncher:
    """Worker processes on this machine, in sessions of their own.

    Ctrl-C at the terminal reaches the broker alone, which then drains them; and
    they go on when it dies. What they print appears on standard error, each line
    behind the worker's name.

    Args:
        argv: the command line for a name, and whether it is for one room only; see ``WorkerCommand``.
        on_ended: is called with name and exit code when a process has ended, on the loop. A process that can't be
            started ends with 127.
        memory: bytes that a worker may hold before it is killed; None for no limit. Looked at four times a second;
            at twice as much and 256 MiB the system refuses it more.
        stall: seconds after which a worker is killed whose loop does not turn, though it computes; None for no limit.
            Two at least: leases are renewed each second.
        show: takes each line; standard error by default.
        label: makes a line of a worker's name and what it printed; by default the name in brackets stands before it.

    Raises:
        ConfigError: a limit makes no sense, or can't be watched on this system.
    """

    def __init__(
        self,
        argv: Callable[[str, bool], Sequence[str]],
        on_ended: Callable[[str, int], None],
        *,
        memory: int | None = None,
        stall: float | None = None,
        show: Callable[[str], None] | None = None,
        label: Callable[[str, str], str] | None = None,
    ) -> None:
        if memory is not None and memory < 1 << 20:
            raise ConfigError(f"worker_memory is in bytes, and a worker needs more than {memory}")
        if stall is not None and not stall >= 2.0:
            raise ConfigError(
                f"worker_stall is at least 2 seconds, because leases are renewed each second, not {stall}"
            )
        self._watches = memory is not None or stall is not None
        if self._watches and not Path("/proc/self/stat").exists():
            raise ConfigError("worker_memory and worker_stall need Linux: this system does not tell what processes use")
        self._argv = argv
        self._on_ended = on_ended
        self._memory = memory
        self._stall = stall
        self._show = show or _to_standard_error
        self._label = label or _in_brackets
        self._children: dict[str, _Child] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.TimerHandle | None = None

    def pid(self, name: str) -> int | None:
        """The process of this worker, if it was started here and runs."""
        child = self._children.get(name)
        return child.process.pid if child is not None and child.process is not None else None

    def launch(self, name: str, isolated: bool) -> None:
        """See ``Launcher``."""
        if name in self._children:
            raise ConfigError(f"worker {name} runs already")
        child = self._children[name] = _Child(name, Runaway(self._memory, self._stall))
        task = asyncio.get_running_loop().create_task(
            self._run(child, self._argv(name, isolated)), name=f"worker {name}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._watches and self._looking is None:
            self._look()

    def terminate(self, name: str) -> None:
        """See ``Launcher``."""
        self._signal(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        """See ``Launcher``."""
        self._signal(name, signal.SIGKILL)

    def alive(self, name: str, now: float) -> None:
        """See ``Launcher``."""
        child = self._children.get(name)
        used = _used(child) if child is not None and self._stall is not None else None
        if child is not None and used is not None:
            child.runaway.alive(now, used[1])

    async def close(self, within: float) -> None:
        """See ``Launcher``."""
        for name in list(self._children):
            self.terminate(name)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)
        for name in list(self._children):
            logger.warning("worker %s did not end in time: it is killed", name, extra={"worker": name})
            self.kill(name)
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=_GONE_WITHIN)
            for task in left:
                logger.error("the system does not let %s end", task.get_name())
                task.cancel()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _run(self, child: _Child, argv: Sequence[str]) -> None:
        read, write = os.pipe()
        os.set_blocking(read, False)
        lines = Lines()
        loop = asyncio.get_running_loop()
        try:
            code = await self._life(child, argv, read, write, lines)
        finally:
            loop.remove_reader(read)
            os.close(read)
            del self._children[child.name]
        for line in lines.rest():
            self._say(child.name, line)
        self._on_ended(child.name, code)

    async def _life(self, child: _Child, argv: Sequence[str], read: int, write: int, lines: Lines) -> int:
        try:
            child.process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": _path()},
            )
        except OSError as error:
            logger.error("worker %s can't be started: %s", child.name, error.strerror, extra={"worker": child.name})
            return _NOT_STARTED
        finally:
            os.close(write)
        if self._memory is not None:
            with contextlib.suppress(ProcessLookupError):
                most = 2 * self._memory + _MARGIN
                resource.prlimit(child.process.pid, resource.RLIMIT_DATA, (most, most))
        asyncio.get_running_loop().add_reader(read, self._on_output, child.name, read, lines)
        for sent in child.signals:
            self._signal(child.name, sent)
        code = await child.process.wait()
        for _ in range(_MOST_PIECES):
            if not self._on_output(child.name, read, lines):
                break
        return code

    def _signal(self, name: str, sent: signal.Signals) -> None:
        child = self._children.get(name)
        if child is None:
            return
        if child.process is None:
            child.signals.append(sent)
            return
        # Through its handle, never by number: a number may be another's by now.
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(sent)

    # What they say.

    def _on_output(self, name: str, read: int, lines: Lines) -> bool:
        try:
            data = os.read(read, _PIECE)
        except BlockingIOError:
            return False
        for line in lines.feed(data):
            self._say(name, line)
        if not data:
            asyncio.get_running_loop().remove_reader(read)
        return bool(data)

    def _say(self, name: str, line: str) -> None:
        self._show(self._label(name, line))

    # What they use.

    def _look(self) -> None:
        now = time.monotonic()
        for child in list(self._children.values()):
            used = None if child.condemned else _used(child)
            wrong = child.runaway.judge(now, *used) if used is not None else None
            if wrong is not None:
                child.condemned = True
                logger.error("worker %s is killed: %s", child.name, wrong, extra={"worker": child.name})
                self.kill(child.name)
        self._looking = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look) if self._children else None


def _in_brackets(name: str, line: str) -> str:
    return f"[{name}] {line}"


def _to_standard_error(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody listens any more: that is no reason to stop serving
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _path() -> str:
    """Where this process looks for modules, so that a worker finds the same ones."""
    return os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)


_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _used(child: _Child) -> tuple[int, float] | None:
    """Bytes that it holds and seconds that it has computed; None when it is gone."""
    if child.process is None or child.process.returncode is not None:
        return None
    try:
        fields = Path(f"/proc/{child.process.pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[21]) * _PAGE, (int(fields[11]) + int(fields[12])) / _TICKS
