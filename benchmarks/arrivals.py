"""Clients that come, and what they cost when they have come."""

import time

from benchmarks.crowd import Crowd
from benchmarks.job import Job, Result, quantile
from benchmarks.machine import Meter, resident
from benchmarks.wire import LoadError, Seat
from server_room_system.protocol.messages import Kind

__all__ = ["duels", "join", "join_or_create", "memory"]

_FLIGHT = 50
"""Those who come at once, while so many are not in their rooms yet."""
_SETTLING = 2.0
"""Seconds in which nobody comes who fits."""


def join(job: Job, crowd: Crowd) -> Result:
    """Clients connect, are matched and join, 50 at a time; they stay."""
    return _arrive(job, crowd, Seat(job.type, job.size))


def join_or_create(job: Job, crowd: Crowd) -> Result:
    """The same into rooms that are open, or made for those who come."""
    return _arrive(job, crowd, Seat(job.type, job.size, Kind.JOIN_OR_CREATE))


def duels(job: Job, crowd: Crowd) -> Result:
    """For ``job.times`` of those who wait in a queue, too far apart to meet, somebody comes who fits; the others stay.

    All are connected before the clock starts. It stops when the last has joined its room.
    """
    seat = Seat(job.type, job.size, Kind.ENQUEUE)
    crowd.bring(job.rooms + job.times, seat)
    coming = crowd.bring(job.times, seat._replace(at_once=False))
    crowd.wait(_SETTLING)
    if crowd.members:
        raise LoadError(f"{len(crowd.members)} were matched who are too far apart")
    took: list[float] = []
    asked, joined = 0, 0
    deadline = time.monotonic() + 60.0
    meter = Meter(job.server, job.cores)
    while joined < 2 * len(coming):
        for client in coming[asked : joined // 2 + _FLIGHT]:
            client.began = time.monotonic()
            client.ask()
            asked += 1
        crowd.turn(0.1)
        crowd.ping_some()
        now = time.monotonic()
        took += [now - client.began for client in crowd.members[joined:] if not client.seat.at_once]
        joined = len(crowd.members)
        if now > deadline:
            raise LoadError(f"{joined} of {2 * len(coming)} were matched in time")
    usage = meter.read()
    figures = {
        "matched": joined / usage.seconds,
        "p99": quantile(took, 0.99) * 1e3,
        "cpu_ticket": usage.server_cpu / joined * 1e6,
    }
    return Result(figures, usage)


def _arrive(job: Job, crowd: Crowd, seat: Seat) -> Result:
    crowd.join(job.size * 10, seat)
    crowd.settle()
    count = job.rooms * job.size
    meter = Meter(job.server, job.cores)
    took = crowd.join(count, seat)
    usage = meter.read()
    figures = {
        "joins": count / usage.seconds,
        "p50": quantile(took, 0.50) * 1e3,
        "p99": quantile(took, 0.99) * 1e3,
        "cpu_join": usage.server_cpu / count * 1e6,
    }
    return Result(figures, usage)


def memory(job: Job, crowd: Crowd) -> Result:
    """How much the server grows with each idle member."""
    crowd.join(job.size, Seat(job.type, job.size))
    crowd.run(0.5, pinging=True)
    before = resident(job.server)
    count = job.rooms * job.size
    crowd.join(count, Seat(job.type, job.size))
    meter = Meter(job.server, job.cores)
    crowd.run(job.seconds, pinging=True)
    return Result({"member": (resident(job.server) - before) / count / 1024}, meter.read())
