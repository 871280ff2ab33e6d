"""Rooms that talk: members send, or rooms tick, and what comes is counted."""

import socket
import struct
import time
from collections import Counter

from benchmarks.crowd import Crowd
from benchmarks.job import Job, Result, quantile
from benchmarks.machine import Meter
from benchmarks.wire import Client, LoadError, Seat

__all__ = ["echo", "flood", "listen"]


def _compose(job: Job, client: Client, number: int) -> None:
    mark = f"m{number:04d}"
    data: object = mark.ljust(job.text, "x") if job.text else {"who": mark, "x": 12, "y": 345}
    client.compose("say", data, mark.encode())


def _senders(job: Job, crowd: Crowd) -> list[Client]:
    """The first members of each room."""
    per_room: dict[str, int] = {}
    chosen: list[Client] = []
    for client in crowd.members:
        sending = per_room.get(client.room, 0)
        if sending < job.senders:
            per_room[client.room] = sending + 1
            chosen.append(client)
    return chosen


def _gather(job: Job, crowd: Crowd) -> list[Client]:
    """Fill the rooms, and prepare those who will send."""
    crowd.join(job.rooms * job.size, Seat(job.type, job.size))
    crowd.settle()
    _check_spread(job, crowd)
    senders = _senders(job, crowd)
    for number, client in enumerate(senders):
        _compose(job, client, number)
    for client in crowd.members:
        client.items = 0
    return senders


def _check_spread(job: Job, crowd: Crowd) -> None:
    """The members are to be with the workers, about as many with each."""
    spread = Counter(client.endpoint for client in crowd.members)
    even = len(crowd.members) / max(1, job.workers)
    if (None in spread) != (not job.workers) or min(spread.values()) < 0.8 * even:
        raise LoadError(f"the rooms are not spread as they should be: {dict(spread)}")


def flood(job: Job, crowd: Crowd) -> Result:
    """Some members send, and send on as soon as their own messages come back."""
    senders = _gather(job, crowd)
    open_tap = True
    window, push = job.window, crowd.push

    def go_on(client: Client) -> None:
        if open_tap:
            push(client, client.own + window - client.number)

    crowd.on_own = go_on
    for client in senders:
        push(client, window)
    pinging = len(senders) < len(crowd.members)
    crowd.run(job.warm_up, pinging)
    own, items = sum(client.own for client in senders), sum(client.items for client in crowd.members)
    meter = Meter(job.server, job.cores)
    crowd.run(job.seconds, pinging)
    usage = meter.read()
    messages = sum(client.own for client in senders) - own
    deliveries = sum(client.items for client in crowd.members) - items
    open_tap = False
    figures = {
        "messages": messages / usage.seconds,
        "deliveries": deliveries / usage.seconds,
        "cpu_message": usage.server_cpu / max(1, messages) * 1e6,
        "cpu_delivery": usage.server_cpu / max(1, deliveries) * 1e6,
    }
    return Result(figures, usage, _missing(crowd, senders, job.size))


def _missing(crowd: Crowd, senders: list[Client], size: int) -> list[str]:
    """Wait for what is in flight, and compare what was sent with what came."""
    sent = sum(client.number for client in senders)
    wanted = sent * size
    deadline = time.monotonic() + 5.0
    while (got := sum(client.items for client in crowd.members)) < wanted and time.monotonic() < deadline:
        crowd.turn(0.1)
    own = sum(client.own for client in senders)
    troubles: list[str] = []
    if got != wanted:
        troubles.append(f"{wanted} deliveries should have come, and {got} did")
    if own != sent:
        troubles.append(f"{sent} messages were sent, and {own} came back to their senders")
    return troubles


def listen(job: Job, crowd: Crowd) -> Result:
    """Nobody sends; the rooms tick, and each tick says when it was sent."""
    crowd.join(job.rooms * job.size, Seat(job.type, job.size))
    crowd.tune_in()
    crowd.run(job.warm_up, pinging=True)
    stamps: list[int] = []
    crowd.stamps = stamps
    items = sum(client.items for client in crowd.members)
    meter = Meter(job.server, job.cores)
    # Answers to signs of life are no part of what one large room costs, and would be most of it.
    crowd.run(job.seconds, pinging=job.rooms > 1)
    usage = meter.read()
    deliveries = sum(client.items for client in crowd.members) - items
    delays = [delay / 1e6 for delay in stamps]
    figures = {
        "cpu_share": usage.server_share * 100,
        "deliveries": deliveries / usage.seconds,
        "p50": quantile(delays, 0.50),
        "p99": quantile(delays, 0.99),
    }
    if len(crowd.loop_times) > 1:
        loop_times = sorted(crowd.loop_times)
        figures["loop_tick"] = (loop_times[-1] - loop_times[0]) / (len(loop_times) - 1) / 1e3
        figures["cpu_tick"] = usage.server_cpu / (usage.seconds * 20) * 1e6
    troubles: list[str] = []
    if deliveries < 0.95 * job.rooms * job.size * 20 * usage.seconds:
        troubles.append(f"the rooms ticked {deliveries / usage.seconds / job.rooms / job.size:.1f} times a second")
    return Result(figures, usage, troubles)


def echo(job: Job, crowd: Crowd) -> Result:
    """One client alone in its room sends, and waits for its message to come back."""
    crowd.join(1, Seat(job.type, 1))
    crowd.settle()
    (client,) = crowd.members
    _compose(job, client, 0)
    client.sock.setblocking(True)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 5, 0))

    def rounds(seconds: float) -> list[float]:
        took: list[float] = []
        end = time.monotonic() + seconds
        now = 0.0
        while now < end:
            start = time.perf_counter_ns()
            crowd.push(client, 1)
            while client.own < client.number:
                crowd.read(client)
            took.append((time.perf_counter_ns() - start) / 1e3)
            now = time.monotonic()
        return took

    rounds(job.warm_up)
    meter = Meter(job.server, job.cores)
    took = rounds(job.seconds)
    return Result({"p50": quantile(took, 0.50), "p99": quantile(took, 0.99)}, meter.read())
