"""The rows of the table: what each does to a server, what is read off, and how good it has to be."""

from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.job import Job

__all__ = ["BARE", "WORKLOADS", "Bound", "Figure", "Side", "Workload"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two servers of a row: what it is called in the table, and how it is started.

    ``options`` follow the port; ``workers`` are those that rooms are spread
    over; ``own`` replaces the job's room type.
    """

    name: str
    module: str | None
    """None: the job starts what it measures."""
    options: tuple[str, ...] = ()
    workers: int = 0
    own: str | None = None


OURS = Side("ours", "benchmarks.server")
BARE = Side("bare", "benchmarks.bare")
"""A loop over pyzmq with nothing around it."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure has to reach.

    ``relative`` bounds are multiples of what the other side does in the same
    run; the others are in the figure's own unit.
    """

    side: Literal["least", "most"]
    value: float
    relative: bool

    def holds(self, ours: float, ratio: float | None) -> bool | None:
        """Whether a figure of ours, ``ratio`` times the other side's, is good enough; None if that can't be told."""
        judged = ratio if self.relative else ours
        if judged is None:
            return None
        return judged >= self.value if self.side == "least" else judged <= self.value

    def text(self, other: str) -> str:
        """The bound in words; ``other``: the name of the other side."""
        sign = "≥" if self.side == "least" else "≤"
        return f"{sign} {self.value:.2f} times {other}" if self.relative else f"{sign} {self.value:,g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a row.

    ``key`` is its name in a result; ``label`` says what it is, in which unit.
    """

    key: str
    label: str
    digits: int
    bound: Bound | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """One row: a job without a server yet, and its figures.

    A round runs each side ``bouts`` times by turns: where the machine's speed
    changes from second to second, many short runs say more than a few long ones.
    """

    name: str
    title: str
    job: Job
    figures: tuple[Figure, ...]
    bouts: int = 2
    ours: Side = OURS
    beside: Side | None = BARE
    """What ours is compared with; None: with nothing."""
    files: int = 8192
    """Open files that each of its processes may need."""

    def quick(self) -> "Workload":
        """The same for a look in passing: shorter, and with fewer joins."""
        rooms = self.job.rooms // 4 if self.job.work in ("join", "join-or-create", "memory", "idle") else self.job.rooms
        times = self.job.times if self.job.work == "queue-duels" else 1
        job = replace(self.job, warm_up=0.3, seconds=min(1.0, self.job.seconds), rooms=rooms, times=times)
        return replace(self, job=job, bouts=1)


def _least(share: float) -> Bound:
    return Bound("least", share, relative=True)


def _most(times: float) -> Bound:
    return Bound("most", times, relative=True)


def _job(work: str, room_type: str, size: int, rooms: int = 1) -> Job:
    return Job(work=work, type=room_type, size=size, rooms=rooms, port=0, server=0)


def _flood(room_type: str, size: int, rooms: int, window: int, text: int = 0) -> Job:
    return replace(_job("flood", room_type, size, rooms), senders=4, window=window, text=text)


_MESSAGES = (
    Figure("messages", "messages received a second", 0, _least(0.70)),
    Figure("cpu_message", "CPU a message, µs", 2, _most(1 / 0.70)),
)
_DELIVERIES = (
    Figure("deliveries", "deliveries a second", 0, _least(0.60)),
    Figure("cpu_delivery", "CPU a delivery, µs", 3),
)

_TWO_SECONDS = Bound("most", 2.0, relative=False)
_CLOSED = (
    Figure("p50", "from kill -9 to the typed close, p50, s", 3),
    Figure("p99", "from kill -9 to the typed close, p99, s", 3, Bound("most", 1.5, relative=False)),
)

_WAITING, _DUELS = 10_000, 2_500
"""How many wait in a queue for two when all duels are made, and how many duels are made of others."""

WORKLOADS = (
    Workload(
        "flood",
        "250 rooms of 4, every member sending, 64 in flight each",
        _flood("four", 4, rooms=250, window=64),
        _MESSAGES,
    ),
    Workload(
        "one-in-flight",
        "250 rooms of 4, every member sending, one in flight each",
        _flood("four", 4, rooms=250, window=1),
        _MESSAGES,
    ),
    Workload(
        "room-100",
        "one room of 100, 100-byte payloads back to back",
        _flood("hundred", 100, rooms=1, window=64, text=100),
        _DELIVERIES,
    ),
    Workload(
        "room-1000",
        "one room of 1,000, 100-byte payloads back to back",
        _flood("thousand", 1000, rooms=1, window=64, text=100),
        _DELIVERIES,
    ),
    Workload(
        "tick",
        "250 rooms of 4, 20 broadcasts a second each from the tick",
        _job("listen", "ticking", 4, rooms=250),
        (
            Figure("cpu_share", "CPU, % of a core", 1, _most(1.3)),
            Figure("p50", "delivery p50, ms", 2),
            Figure("p99", "delivery p99, ms", 2, Bound("most", 2.0, relative=False)),
        ),
    ),
    Workload(
        "echo",
        "echo in a room, one client",
        replace(_job("echo", "single", 1), warm_up=0.3, seconds=1.0),
        (Figure("p50", "round trip p50, µs", 1, _most(1.3)), Figure("p99", "round trip p99, µs", 1)),
        bouts=4,
    ),
    Workload(
        "join",
        "connect, match into rooms of 4, join; 50 at a time",
        _job("join", "four", 4, rooms=1000),
        (
            Figure("joins", "joins a second", 0, Bound("least", 5000, relative=False)),
            Figure("p99", "p99 from connecting to joined, ms", 1, Bound("most", 30.0, relative=False)),
            Figure("cpu_join", "CPU a join, µs", 0),
        ),
    ),
    Workload(
        "join-or-create",
        "connect, join_or_create into rooms of 4, join; 50 at a time",
        _job("join-or-create", "four", 4, rooms=1000),
        (
            Figure("joins", "joins a second", 0, Bound("least", 5000, relative=False)),
            Figure("p99", "p99 from connecting to joined, ms", 1, Bound("most", 30.0, relative=False)),
            Figure("cpu_join", "CPU a join, µs", 0),
        ),
    ),
    Workload(
        "memory",
        "4,000 idle members in rooms of 4",
        _job("memory", "four", 4, rooms=1000),
        (Figure("member", "memory of the server a member, KiB", 1, _most(1.5)),),
        bouts=1,
    ),
    Workload(
        "topic-1000",
        "one room of 1,000, topic fan-out, 100-byte payloads back to back",
        _flood("audience", 1000, rooms=1, window=64, text=100),
        (
            Figure("deliveries", "deliveries a second", 0, _least(0.70)),
            Figure("cpu_delivery", "CPU a delivery, µs", 3),
        ),
    ),
    Workload(
        "topic-20hz",
        "one room of 1,000, 20 broadcasts a second: topic beside unicast",
        replace(_job("listen", "topic-speech", 1000), seconds=4.0),
        (
            Figure("loop_tick", "the loop's time a broadcast, µs", 0, _most(0.25)),
            Figure("cpu_tick", "CPU of the whole process a broadcast, µs", 0),
            Figure("p99", "delivery p99, ms", 2),
        ),
        ours=Side("topic", "benchmarks.server"),
        beside=Side("unicast", "benchmarks.server", own="speech"),
    ),
    Workload(
        "two-workers",
        "250 rooms of 4, every member sending, one in flight each: on two workers beside one",
        _flood("four", 4, rooms=250, window=1),
        (
            Figure("cpu_message", "CPU a message, all processes, µs", 2, _most(1.10)),
            Figure("messages", "messages received a second", 0),
        ),
        ours=Side("two", "benchmarks.server", ("2",), workers=2),
        beside=Side("one", "benchmarks.server", ("1",), workers=1),
    ),
    Workload(
        "behind-broker",
        "250 rooms of 4, every member sending: on a worker behind a broker beside in the broker",
        _flood("four", 4, rooms=250, window=64),
        (
            Figure("messages", "messages received a second", 0, _least(0.95)),
            Figure("cpu_message", "CPU a message, all processes, µs", 2),
        ),
        ours=Side("behind", "benchmarks.server", ("1",), workers=1),
        beside=Side("inside", "benchmarks.server"),
    ),
    Workload(
        "idle-room",
        "20,000 open rooms without members",
        _job("idle", "idle", 0, rooms=20_000),
        (
            Figure("room", "memory a room, KiB", 1, Bound("most", 20.0, relative=False)),
            Figure("topic", "memory a topic room, KiB", 1, Bound("most", 20.0, relative=False)),
            Figure("timers", "timers of all of them", 0, Bound("most", 0, relative=False)),
        ),
        bouts=1,
        ours=Side("ours", None),
        beside=None,
    ),
    Workload(
        "kill-to-close",
        "a worker of two is killed, with 40 of 80 members on it; the broker started it",
        replace(_job("kill-launched", "doomed", 4, rooms=20), times=3),
        _CLOSED,
        bouts=1,
        ours=Side("ours", "benchmarks.server", ("2",)),
        beside=None,
    ),
    Workload(
        "kill-external",
        "the same, and srs worker started it: only its connection is lost",
        replace(_job("kill-started", "doomed", 4, rooms=20), times=3),
        _CLOSED,
        bouts=1,
        ours=Side("ours", "benchmarks.server", ("0",)),
        beside=None,
    ),
    Workload(
        "match-duels",
        "match 1v1 by rating, 10,000 waiting: the pure matcher",
        replace(_job("duels", "none", 2, rooms=10_000), seconds=3.0),
        (
            Figure("matched", "tickets matched a second", 0, Bound("least", 20_000, relative=False)),
            Figure("pass", "longest pass, ms", 1, Bound("most", 20.0, relative=False)),
        ),
        bouts=1,
        ours=Side("ours", None),
        beside=None,
    ),
    Workload(
        "match-raids",
        "100,000 waiting for 5v5 with roles, 1,000 a second coming: the pure matcher",
        replace(_job("raids", "none", 10, rooms=100_000), seconds=3.0),
        (
            Figure("memory", "memory a ticket, bytes", 0, Bound("most", 2048, relative=False)),
            Figure("pass", "longest pass, ms", 1, Bound("most", 20.0, relative=False)),
            Figure("busy", "of a core, %", 0),
        ),
        bouts=1,
        ours=Side("ours", None),
        beside=None,
    ),
    Workload(
        "queue-duels",
        "match 1v1 by rating, 10,000 waiting: clients over the network, from ENQUEUE to the joined room",
        replace(_job("queue-duels", "pair", 2, rooms=_WAITING), times=_DUELS),
        (
            Figure("matched", "tickets matched a second", 0, Bound("least", 3000, relative=False)),
            Figure("p99", "p99 from ENQUEUE to joined, 50 at a time, ms", 1),
            Figure("cpu_ticket", "CPU a ticket, µs", 0),
        ),
        ours=Side("ours", "benchmarks.duels", (str(_WAITING + _DUELS),)),
        beside=None,
        files=16_384,
    ),
    Workload(
        "start",
        "srs serve with 4 workers, from the command on",
        replace(_job("start", "single", 1), times=3),
        (
            Figure("welcomed", "to the first accepted client, slowest, s", 2, _TWO_SECONDS),
            Figure("joined", "to its seat in a room, slowest, s", 2, _TWO_SECONDS),
        ),
        bouts=1,
        ours=Side("ours", None),
        beside=None,
    ),
)
"""All rows, in the table's order."""
