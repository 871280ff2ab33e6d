"""The load generator: what is done to a server, and what is measured meanwhile.

A run is described by a ``Job`` and gives a ``Result``. Both travel as JSON, so
that the generator has a process, and a core, of its own:
``python -m benchmarks.load JOB``.
"""

import gc
import json
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.crowd import Crowd
from benchmarks.machine import Cores, Meter, Usage, pin, resident
from benchmarks.wire import Client, LoadError, Seat


@dataclass(frozen=True, slots=True)
class Job:
    """What to do to a server.

    ``senders`` members of each room keep ``window`` messages each in flight;
    with ``text`` their payload is that many bytes, otherwise it is a small map.
    """

    work: str
    """``flood``, ``listen``, ``echo``, ``join`` or ``memory``."""
    port: int
    server: int
    """The server's process id."""
    type: str
    size: int
    """Members of each room."""
    rooms: int = 1
    senders: int = 0
    window: int = 1
    text: int = 0
    cores: Cores = Cores(None, None)  # noqa: RUF009  # a tuple
    """The server's core and the generator's, if they are pinned."""
    warm_up: float = 0.5
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a job: figures by name, and what they cost."""

    figures: dict[str, float]
    usage: Usage
    troubles: list[str] = field(default_factory=list)
    """What should not have happened: messages that are missing, or that came twice."""


def quantile(values: list[float], share: float) -> float:
    """The value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


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


def flood(job: Job, crowd: Crowd) -> Result:
    """Some members send, and send on as soon as their own messages come back."""
    crowd.join(job.rooms * job.size, Seat(job.type, job.size))
    crowd.settle()
    senders = _senders(job, crowd)
    for number, client in enumerate(senders):
        _compose(job, client, number)
    for client in crowd.members:
        client.items = 0
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
    crowd.run(job.warm_up, pinging=True)
    stamps: list[int] = []
    crowd.stamps = stamps
    items = sum(client.items for client in crowd.members)
    meter = Meter(job.server, job.cores)
    crowd.run(job.seconds, pinging=True)
    usage = meter.read()
    deliveries = sum(client.items for client in crowd.members) - items
    delays = [delay / 1e6 for delay in stamps]
    figures = {
        "cpu_share": usage.server_share * 100,
        "deliveries": deliveries / usage.seconds,
        "p50": quantile(delays, 0.50),
        "p99": quantile(delays, 0.99),
    }
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


def join(job: Job, crowd: Crowd) -> Result:
    """Clients connect, are matched and join, 50 at a time; they stay."""
    crowd.join(job.size * 10, Seat(job.type, job.size))
    crowd.settle()
    count = job.rooms * job.size
    meter = Meter(job.server, job.cores)
    took = crowd.join(count, Seat(job.type, job.size))
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


_WORKS: dict[str, Callable[[Job, Crowd], Result]] = {
    "flood": flood, "listen": listen, "echo": echo, "join": join, "memory": memory,
}  # fmt: skip


def perform(job: Job) -> Result:
    """Do what a job says. Raises LoadError if the server does not play along."""
    # Nothing of a run is garbage in cycles, and a collection would show in the delays.
    gc.disable()
    pin(0, job.cores.load)
    return _WORKS[job.work](job, Crowd(job.port))


def job_to_json(job: Job) -> str:
    """A job as an argument of the generator's process."""
    return json.dumps(asdict(job))


def _job_from_json(text: str) -> Job:
    fields: dict[str, Any] = json.loads(text)
    return replace(Job(**fields), cores=Cores(*fields["cores"]))


def result_from_json(text: str) -> Result:
    """Read what the generator's process wrote."""
    fields: dict[str, Any] = json.loads(text)
    return Result(fields["figures"], Usage(*fields["usage"]), fields["troubles"])


def main() -> int:
    """Do the job of the first argument and print its result."""
    try:
        result = perform(_job_from_json(sys.argv[1]))
    except (LoadError, OSError) as error:
        print(f"the load broke off: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
