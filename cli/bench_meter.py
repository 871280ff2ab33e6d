"""What Linux says of processes and the machine. Elsewhere nothing is known, and nothing is claimed."""

import os
import platform
import time
from contextlib import suppress
from pathlib import Path

import msgpack

from ..lab.figures import ProcessUse
from .version import VERSION

__all__ = ["Foreign", "Meter", "machine", "tree"]


_WORKER = b".broker.work\0"
"""In the command line of a worker process."""


class Meter:
    """Reads the CPU and the memory of processes that come and go.

    Args:
        roots: names by process id. Of each, the processes that it started are read as well.
    """

    def __init__(self, roots: dict[int, str]) -> None:
        self._roots = roots
        self._uses: dict[int, ProcessUse] = {}
        self._read = 0
        self._then = time.monotonic()
        self._cpu: dict[int, float] = {}
        self._take(0.0)

    def sample(self) -> None:
        """Read what was used since the last time."""
        now = time.monotonic()
        self._take(now - self._then)
        self._then = now

    @property
    def uses(self) -> list[ProcessUse]:
        """One for each process that was seen, with as many values as there were samples."""
        return [use for use in self._uses.values() if any(value is not None for value in use.rss)]

    def _name_of(self, pid: int, parent: str) -> str:
        kind = "worker" if _WORKER in _command_line(pid) else f"{parent}, child"
        return f"{kind} {1 + sum(use.name.startswith(f'{kind} ') for use in self._uses.values())}"

    def _take(self, elapsed: float) -> None:
        cpu: dict[int, float] = {}
        for root, name in self._roots.items():
            for pid in tree(root):
                with suppress(OSError):  # it has ended
                    cpu[pid] = _cpu_seconds(pid)
                    if pid not in self._uses:
                        shown = name if pid == root else self._name_of(pid, name)
                        self._uses[pid] = ProcessUse(shown, pid, [None] * self._read, [None] * self._read)
        if elapsed:
            for pid, use in self._uses.items():
                there = pid in cpu
                use.cpu.append((cpu[pid] - self._cpu.get(pid, 0.0)) / elapsed if there else None)
                use.rss.append(_resident(pid) if there else None)
            self._read += 1
        self._cpu = cpu


class Foreign:
    """The share of all cores that others use, from when it is made."""

    def __init__(self) -> None:
        self._then = _busy_and_all()

    def share(self, ours: float) -> float | None:
        """Until now.

        Args:
            ours: seconds of CPU that our own processes used meanwhile.
        """
        now = _busy_and_all()
        if self._then is None or now is None or now[1] <= self._then[1]:
            return None
        return max(0.0, now[0] - self._then[0] - ours) / (now[1] - self._then[1])


def tree(pid: int) -> list[int]:
    """A process and all that it started, as far as they run. Python's own helpers are left out."""
    found, waiting = list[int](), [pid]
    while waiting:
        one = waiting.pop(0)
        with suppress(OSError):
            if b"multiprocessing.resource_tracker" in _command_line(one):
                continue
            found.append(one)
            for listing in Path(f"/proc/{one}/task").glob("*/children"):
                waiting += map(int, listing.read_text().split())
    return found


def machine() -> dict[str, str]:
    """What the figures belong to. Nothing that names the host."""
    return {
        "CPU": _model(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "msgpack": ".".join(map(str, msgpack.version)),
        "server-room-system": VERSION,
    }


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _cpu_seconds(pid: int) -> float:
    # Linux makes the id of a process's CPU clock from the process's id, as
    # clock_getcpuclockid(3) does: nanoseconds, where /proc counts in hundredths.
    return time.clock_gettime((~pid << 3) | 2)


def _busy_and_all() -> tuple[float, float] | None:
    """Seconds that all cores were busy (user, nice, system, stolen), and seconds in all."""
    try:
        values = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    tick = os.sysconf("SC_CLK_TCK")
    # Interrupts are no load of anybody's: they carry the packets that are being measured.
    return sum(values[at] for at in (0, 1, 2, 7)) / tick, sum(values) / tick


def _resident(pid: int) -> float | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None  # it has ended
    return float(pages * os.sysconf("SC_PAGESIZE"))


def _model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
