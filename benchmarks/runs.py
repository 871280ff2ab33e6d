"""Running a workload against a server: two processes, each on its own core, started and ended here."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from benchmarks.job import Job, Result, job_to_json, result_from_json
from benchmarks.machine import children, cores, free_port, pin
from benchmarks.workloads import Side, Workload

__all__ = ["Outcome", "RunError", "compare", "serving"]

_ROOT = Path(__file__).resolve().parent.parent
_START_WITHIN = 15.0
_STOP_WITHIN = 10.0


class RunError(Exception):
    """A server or the load generator gave up."""


@dataclass(slots=True)
class Outcome:
    """All runs of a workload: the nth of ours and the nth of the other side stood next to each other in time."""

    workload: Workload
    ours: list[Result] = field(default_factory=list)
    beside: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def compare(workload: Workload, rounds: int, say: Callable[[str], None]) -> Outcome:
    """Run both sides by turns, until a run breaks off.

    Args:
        workload: its sides, and what to do to them.
        rounds: how often the row's bouts are run. Who begins changes with each bout.
        say: is told about each run before it starts.
    """
    outcome = Outcome(workload)
    bouts = rounds * workload.bouts
    for number in range(bouts):
        turns = [(workload.ours, outcome.ours)]
        if workload.beside is not None:
            turns.append((workload.beside, outcome.beside))
        for side, results in turns if number % 2 == 0 else reversed(turns):
            say(f"{workload.name}, {number + 1} of {bouts}: {side.name}")
            try:
                result = run(workload.job, side)
            except RunError as error:
                outcome.failures.append(f"{side.name}, run {number + 1}: {error}")
                return outcome
            results.append(result)
            outcome.failures += [f"{side.name}, run {number + 1}: {trouble}" for trouble in result.troubles]
    return outcome


def run(job: Job, side: Side) -> Result:
    """One run against a fresh server. Raises RunError if one of the two processes does not play along."""
    job = replace(job, cores=cores(), workers=side.workers, type=side.own or job.type)
    if side.module is None:
        return _do(job)
    with serving(side.module, side.options) as (server, port):
        return _do(replace(job, port=port, server=server))


def _do(job: Job) -> Result:
    limit = 120.0 + job.warm_up + job.seconds
    try:
        load = subprocess.run(
            [sys.executable, "-m", "benchmarks.load", job_to_json(job)],
            cwd=_ROOT, capture_output=True, text=True, timeout=limit, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise RunError(f"the load did not end within {limit:.0f} seconds") from error
    if load.returncode:
        raise RunError(_last_line(load.stderr))
    return result_from_json(load.stdout)


@contextlib.contextmanager
def serving(module: str, options: tuple[str, ...], *, pinned: bool = True) -> Generator[tuple[int, int]]:
    """A server's process id and port. It is ended when the block is left."""
    port = free_port()
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", module, str(port), *options]
        # No console: a server may take the end of its input for a wish to close.
        server = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            if pinned:
                pin(server.pid, cores().server)
            _wait_for(server, port, log)
            yield server.pid, port
        finally:
            _end(server)


def _wait_for(server: subprocess.Popen[bytes], port: int, log: IO[str]) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while time.monotonic() < deadline:
        if server.poll() is not None:
            log.seek(0)
            raise RunError(f"the server ended at once: {_last_line(log.read())}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(0.02)
    raise RunError(f"the server did not listen within {_START_WITHIN:.0f} seconds")


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.communicate(timeout=_STOP_WITHIN)
    except subprocess.TimeoutExpired:
        # Workers outlive their broker, and would spoil what is measured next.
        for process in (server.pid, *children(server.pid)):
            os.kill(process, signal.SIGKILL)
        server.communicate()


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "it did not say why"
