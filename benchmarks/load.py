"""The load generator: does a job to a server, in a process of its own: ``python -m benchmarks.load JOB``."""

import gc
import sys
from collections.abc import Callable

from benchmarks.arrivals import duels as duels_of_clients
from benchmarks.arrivals import join, join_or_create, memory
from benchmarks.crowd import Crowd
from benchmarks.idle import idle_rooms
from benchmarks.job import Job, Result, job_from_json, result_to_json
from benchmarks.machine import pin
from benchmarks.outage import kill_launched, kill_started
from benchmarks.queueing import duels, raids
from benchmarks.start import start
from benchmarks.traffic import echo, flood, listen
from benchmarks.wire import LoadError

__all__ = ["main"]


def _with_crowd(work: Callable[[Job, Crowd], Result]) -> Callable[[Job], Result]:
    return lambda job: work(job, Crowd(job.port))


_WORKS: dict[str, Callable[[Job], Result]] = {
    "flood": _with_crowd(flood),
    "listen": _with_crowd(listen),
    "echo": _with_crowd(echo),
    "join": _with_crowd(join),
    "join-or-create": _with_crowd(join_or_create),
    "queue-duels": _with_crowd(duels_of_clients),
    "memory": _with_crowd(memory),
    "idle": idle_rooms,
    "kill-launched": kill_launched,
    "kill-started": kill_started,
    "duels": duels,
    "raids": raids,
    "start": start,
}


def _perform(job: Job) -> Result:
    # Nothing of a run is garbage in cycles, and a collection would show in the delays.
    gc.disable()
    pin(0, job.cores.load)
    return _WORKS[job.work](job)


def main() -> int:
    """Do the job of the first argument and print its result."""
    try:
        result = _perform(job_from_json(sys.argv[1]))
    except (LoadError, OSError) as error:
        print(f"the load broke off: {error}", file=sys.stderr)
        return 1
    print(result_to_json(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
