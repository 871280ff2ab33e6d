"""What open rooms cost that nobody is in: memory, and timers. The server runs in the generator's own process."""

import asyncio
import gc
import os
import time
from typing import Any, NamedTuple

from benchmarks.job import Job, Result
from benchmarks.machine import resident, unmeasured
from benchmarks.server import server
from benchmarks.wire import LoadError
from server_room_system import RuleSet
from server_room_system.broker.host import Host
from server_room_system.rooms.control import OpenRoom

__all__ = ["idle_rooms"]

_QUIET = 0.5
"""Seconds in which all that follows from a change has happened."""


class _Held(NamedTuple):
    memory: int
    timers: int


def idle_rooms(job: Job) -> Result:
    """Open rooms of both fan-outs, one after the other, and see what the process holds then."""
    return asyncio.run(_idle_rooms(job))


async def _idle_rooms(job: Job) -> Result:
    began = time.monotonic()
    async with server.listen() as host:
        await _open(host, "idle", 1000)  # what is made once is made now
        start = await _held(host)
        await _open(host, "idle", job.rooms)
        unicast = await _held(host)
        await _open(host, "idle-topic", job.rooms)
        topic = await _held(host)
        figures = {
            "room": (unicast.memory - start.memory) / job.rooms / 1024,
            "topic": (topic.memory - unicast.memory) / job.rooms / 1024,
            "timers": max(0, topic.timers - start.timers),
        }
    return Result(figures, unmeasured(time.monotonic() - began))


async def _open(host: Host, room_type: str, count: int) -> None:
    wanted = len(host.worker.rooms) + count
    for number in range(wanted - count, wanted):
        # As the broker asks for one, except that nobody waits for a seat in it.
        host.worker.order(OpenRoom(0, f"{number:032x}", RuleSet(4, room=room_type), {}, False, []))
    await asyncio.sleep(_QUIET)
    if len(host.worker.rooms) != wanted or len(host.broker.directory) != wanted:
        raise LoadError(f"{wanted} rooms should be open, and {len(host.worker.rooms)} are")


async def _held(host: Host) -> _Held:
    await asyncio.sleep(_QUIET)
    gc.collect()
    loop: Any = asyncio.get_running_loop()
    port = host._port  # noqa: SLF001  # nobody else wants to know
    alarms = port._alarms  # noqa: SLF001
    return _Held(resident(os.getpid()), len(alarms) + len(loop._scheduled))  # noqa: SLF001
