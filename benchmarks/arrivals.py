"""Clients that come, and what they cost when they have come."""

import time

from benchmarks.crowd import Crowd
from benchmarks.job import Job, Result, quantile
from benchmarks.machine import Meter, resident
from benchmarks.wire import LoadError, Seat
from server_room_system.protocol.messages import Kind

__all__ = ["duels", "join", "join_or_create", "memory"]

_FLIGHT = 50
"""Tickets that come at once, while so many are not matched yet."""


def join(job: Job, crowd: Crowd) -> Result:
    """Clients connect, are matched and join, 50 at a time; they stay."""
    return _arrive(job, crowd, Seat(job.type, job.size))


def join_or_create(job: Job, crowd: Crowd) -> Result:
    """The same into rooms that are open, or made for those who come."""
    return _arrive(job, crowd, Seat(job.type, job.size, Kind.JOIN_OR_CREATE))


def duels(job: Job, crowd: Crowd) -> Result:
    """As many wait in a queue as the job has rooms, too far apart to meet; for some of them somebody comes who fits."""
    crowd.bring(job.rooms, Seat(job.type, job.size, Kind.ENQUEUE))
    coming = crowd.bring(job.rooms // 4, Seat(job.type, job.size, Kind.ENQUEUE, at_once=False))
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        crowd.ping_some()
        crowd.turn(0.05)
    if crowd.members:
        raise LoadError(f"{len(crowd.members)} were matched who are too far apart")
    meter, asked = Meter(job.server, job.cores), 0
    deadline = time.monotonic() + 60.0
    while len(crowd.members) < 2 * len(coming):
        for client in coming[asked : len(crowd.members) // 2 + _FLIGHT]:
            client.session.sock.send(client.request)
            asked += 1
        crowd.turn(0.1)
        crowd.ping_some()
        if time.monotonic() > deadline:
            raise LoadError(f"{len(crowd.members)} of {2 * len(coming)} were matched in time")
    usage = meter.read()
    matched = len(crowd.members)
    return Result({"matched": matched / usage.seconds, "cpu_ticket": usage.server_cpu / matched * 1e6}, usage)


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
