"""Clients that come, and what they cost when they have come."""

from benchmarks.crowd import Crowd
from benchmarks.job import Job, Result, quantile
from benchmarks.machine import Meter, resident
from benchmarks.wire import Seat
from server_room_system.protocol.messages import Kind

__all__ = ["join", "join_or_create", "memory"]


def join(job: Job, crowd: Crowd) -> Result:
    """Clients connect, are matched and join, 50 at a time; they stay."""
    return _arrive(job, crowd, Seat(job.type, job.size))


def join_or_create(job: Job, crowd: Crowd) -> Result:
    """The same into rooms that are open, or made for those who come."""
    return _arrive(job, crowd, Seat(job.type, job.size, Kind.JOIN_OR_CREATE))


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
