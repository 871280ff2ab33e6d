"""A worker is killed: how soon its members hold the typed close. The clients are those of users."""

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.job import Job, Result, quantile
from benchmarks.machine import pin, unmeasured
from benchmarks.wire import LoadError
from server_room_system import AsyncClient, ClientRoom, RuleSet, connect
from server_room_system.protocol.errors import WorkerLost

__all__ = ["kill_launched", "kill_started"]

_WORKERS = 2
_PATIENCE = 20.0
_LOOK_EVERY = 0.02
_SPARED = 0.5
"""Seconds after the last close in which those on the other worker are still there."""


def kill_launched(job: Job) -> Result:
    """The broker started the workers: it sees the process end, and starts another."""
    return asyncio.run(_kill(job, lambda process: None))


def kill_started(job: Job) -> Result:
    """``srs worker`` started them, here as elsewhere: the broker sees a connection end."""
    started = {process.pid: process for process in (_start_worker(job) for _ in range(_WORKERS))}

    def replace(pid: int) -> None:
        started.pop(pid).wait()
        another = _start_worker(job)
        started[another.pid] = another

    try:
        return asyncio.run(_kill(job, replace))
    finally:
        for process in started.values():
            process.kill()
            process.wait()


def _start_worker(job: Job) -> "subprocess.Popen[bytes]":
    command = ["worker", "benchmarks.server:server", "--broker", f"tcp://127.0.0.1:{job.port + 1}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "server_room_system.cli", *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    pin(process.pid, job.cores.server)
    return process


async def _kill(job: Job, replace: Callable[[int], None]) -> Result:
    gc.enable()
    began = time.monotonic()
    took: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        address = f"tcp://127.0.0.1:{job.port}"
        clients = [await stack.enter_async_context(connect(address)) for _ in range(job.rooms * job.size)]
        for _ in range(job.times):
            await _until_workers(clients[0])
            took += await _kill_once(job, clients, replace)
    figures = {"p50": quantile(took, 0.50), "p99": quantile(took, 0.99)}
    return Result(figures, unmeasured(time.monotonic() - began))


async def _until_workers(client: AsyncClient) -> None:
    async with asyncio.timeout(_PATIENCE):
        while len(await client.endpoints()) < _WORKERS:  # noqa: ASYNC110  # nobody tells clients of workers that come
            await asyncio.sleep(_LOOK_EVERY)


async def _kill_once(job: Job, clients: list[AsyncClient], replace: Callable[[int], None]) -> list[float]:
    """Fill rooms, kill the worker that has most of them, and empty the rooms that are left."""
    wanted = RuleSet(job.size, room=job.type)
    rooms = await asyncio.gather(*(client.match(wanted, timeout=_PATIENCE) for client in clients))
    of: dict[int, list[ClientRoom]] = {}
    for room in rooms:
        of.setdefault(await _process_of(room), []).append(room)
    victim = max(of, key=lambda pid: len(of[pid]))
    watching = [asyncio.create_task(_closed(room)) for room in of[victim]]
    await asyncio.sleep(0)
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    async with asyncio.timeout(_PATIENCE):
        closed = await asyncio.gather(*watching)
    replace(victim)
    await asyncio.sleep(_SPARED)
    for room in rooms:
        if room.joined == (room in of[victim]):
            raise LoadError(f"{room} is {'still open' if room.joined else f'closed: {room.error}'}")
        await room.leave()
    return [when - killed for when in closed]


async def _process_of(room: ClientRoom) -> int:
    while True:
        message = await room.receive()
        if message.type == "process":
            return int(message.data)


async def _closed(room: ClientRoom) -> float:
    """When the room ended, with the one code that says why."""
    async for _ in room:
        pass
    when = time.monotonic()
    if not isinstance(room.error, WorkerLost):
        raise LoadError(f"{room} was closed with {room.error!r}")
    return when
