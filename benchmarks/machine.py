"""What Linux says about processes, cores and the machine: times in seconds, memory in bytes."""

import os
import platform
import resource
import socket
import time
from pathlib import Path
from typing import NamedTuple

import zmq

__all__ = [
    "Cores",
    "Meter",
    "Usage",
    "children",
    "cores",
    "describe",
    "free_port",
    "pin",
    "raise_file_limit",
    "resident",
    "unmeasured",
]

_TICK = os.sysconf("SC_CLK_TCK")


class Cores(NamedTuple):
    """Which core serves and which makes the load; None where there is no second one."""

    server: int | None
    load: int | None


def cores() -> Cores:
    """The first two cores that this process may use, or none."""
    try:
        allowed = sorted(os.sched_getaffinity(0))
    except AttributeError:
        return Cores(None, None)
    return Cores(allowed[0], allowed[1]) if len(allowed) > 1 else Cores(None, None)


def pin(process: int, core: int | None) -> None:
    """Keep a process that was just started on one core; without one, leave it to the kernel."""
    if core is not None:
        os.sched_setaffinity(process, {core})


def raise_file_limit(wanted: int) -> None:
    """Let this process and its children open ``wanted`` files.

    Raises:
        SystemExit: the machine's hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"needs {wanted} open files, and the hard limit is {hard}: raise it with ulimit -Hn")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def cpu_of(process: int) -> float:
    """Seconds of CPU that a process used so far: user and system, all threads.

    Linux makes the id of a process's CPU clock from the process's id, as
    clock_getcpuclockid(3) does: nanoseconds, where /proc counts in hundredths.
    """
    return time.clock_gettime((~process << 3) | 2)


def children(process: int) -> list[int]:
    """The processes that a process has started and that are still there, and theirs."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            parents[int(entry.name)] = int(fields[1])
    family = [process]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family[1:]


def resident(process: int) -> int:
    """Bytes of memory that a process holds now."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def free_port() -> int:
    """A port that is free, as is the one after: brokers listen for workers there."""
    while True:
        with socket.socket() as probe, socket.socket() as next_probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            try:
                next_probe.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def _busy(core: int) -> float:
    # user, nice, system and stolen time. Interrupts are left out: they carry
    # the packets of the processes that are being measured.
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            return sum(int(fields[at]) for at in (0, 1, 2, 7)) / _TICK
    return 0.0


class Usage(NamedTuple):
    """What a stretch of time cost. Shares are of one core."""

    seconds: float
    server_cpu: float
    load_cpu: float
    foreign_share: float
    """The part of the server's core and the load's that went to others: over a few per cent, a figure is spoiled."""

    @property
    def server_share(self) -> float:
        return self.server_cpu / self.seconds

    @property
    def load_share(self) -> float:
        return self.load_cpu / self.seconds


def unmeasured(seconds: float) -> Usage:
    """A stretch of time of which only its length matters."""
    return Usage(seconds, 0.0, 0.0, 0.0)


class Meter:
    """Measures a stretch of time of this process and the server.

    Args:
        server: the server's process id. The processes that it has started by now count as well.
        watched: the cores that both run on; none, if they are not pinned.
    """

    def __init__(self, server: int, watched: Cores) -> None:
        self._server = [server, *children(server)]
        self._cores = [core for core in watched if core is not None]
        self._start = self._read()

    def _read(self) -> tuple[float, float, float, float]:
        busy = sum(_busy(core) for core in self._cores)
        return time.monotonic(), sum(map(cpu_of, self._server)), time.process_time(), busy

    def read(self) -> Usage:
        """What was used since the meter was made."""
        seconds, server, load, busy = (now - then for now, then in zip(self._read(), self._start, strict=True))
        foreign = max(0.0, busy - server - load) / seconds / len(self._cores) if self._cores else 0.0
        return Usage(seconds, server, load, foreign)


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def describe() -> dict[str, str]:
    """The machine and the versions that figures belong to. Nothing that names the host."""
    return {
        "cpu": _model(),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "pyzmq": zmq.pyzmq_version(),
        "libzmq": zmq.zmq_version(),
        "pinned": "yes: the server to one core, the load to another" if cores().server is not None else "no",
    }
