"""How much a worker has to do: what it tells its broker once a second."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .port import Port
from .worker import Worker

__all__ = ["LoadMeter"]

_PULSE = 0.25
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


class LoadMeter:
    """Measures this process.

    Args:
        port: whose messages are counted.
        worker: whose rooms are counted.
        cpu: seconds that this process has computed. In a simulation it is not ours alone.
    """

    def __init__(self, port: Port, worker: Worker, cpu: Callable[[], float] = time.process_time) -> None:
        self._port = port
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._lag = 0.0
        self._read_cpu = cpu
        self._read_at = self._loop.time()
        self._cpu = cpu()
        self._received = 0
        self._pulse_at = self._loop.time() + _PULSE
        self._timer = self._loop.call_at(self._pulse_at, self._pulse)

    def read(self) -> dict[str, Any]:
        """What happened since the last reading: ``lag`` is the longest, in seconds; ``cpu`` a share of one core."""
        now, cpu = self._loop.time(), self._read_cpu()
        elapsed = max(now - self._read_at, 1e-3)
        rooms = self._worker.rooms.values()
        load = {
            "rooms": len(rooms),
            "members": sum(len(runner.members) for runner in rooms),
            "lag": max(self._lag, self._loop.time() - self._pulse_at),
            "cpu": (cpu - self._cpu) / elapsed,
            "rss": _resident(),
            "messages": (self._port.received - self._received) / elapsed,
        }
        self._read_at, self._cpu, self._received, self._lag = now, cpu, self._port.received, 0.0
        return load

    def close(self) -> None:
        """End it."""
        self._timer.cancel()

    def _pulse(self) -> None:
        now = self._loop.time()
        self._lag = max(self._lag, now - self._pulse_at)
        self._pulse_at = now + _PULSE
        self._timer = self._loop.call_at(self._pulse_at, self._pulse)


def _resident() -> int:
    # Where there is no /proc, nobody knows what is resident now: the peak that getrusage gives would mislead.
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0
