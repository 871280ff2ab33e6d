"""From the command to the first client: how soon a server that has workers to start takes somebody in."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

from benchmarks.crowd import Crowd
from benchmarks.job import Job, Result
from benchmarks.machine import free_port, unmeasured
from benchmarks.wire import LoadError, Seat

__all__ = ["start"]

_WORKERS = 4
_START_WITHIN = 20.0
_STOP_WITHIN = 15.0
_LOOK_EVERY = 0.002


def start(job: Job) -> Result:
    """Start ``srs serve``, again and again, and be its first client. The slowest time counts."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the processes of a server that starts use what there is
    began = time.monotonic()
    took = [_start_once(job) for _ in range(job.times)]
    figures = {"welcomed": max(welcomed for welcomed, _ in took), "joined": max(joined for _, joined in took)}
    return Result(figures, unmeasured(time.monotonic() - began))


def _start_once(job: Job) -> tuple[float, float]:
    port = free_port()
    command = ["serve", "benchmarks.server:server", "--workers", str(_WORKERS), "--port", str(port)]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "server_room_system.cli", *command],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for(process, port)
        crowd = Crowd(port)
        crowd.join(1, Seat(job.type, job.size))
        joined = time.monotonic()
        return crowd.members[0].welcomed - began, joined - began
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_for(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise LoadError(f"srs serve ended with {process.returncode}")
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(_LOOK_EVERY)
    raise LoadError(f"srs serve did not listen within {_START_WITHIN:.0f} seconds")
