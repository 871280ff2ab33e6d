"""The rows of the table: what each does to a server, what is read off, and how good it has to be."""

from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.load import Job

__all__ = ["WORKLOADS", "Bound", "Figure", "Workload"]


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure has to reach.

    ``relative`` bounds are multiples of what the bare loop does in the same
    run; the others are in the figure's own unit.
    """

    side: Literal["least", "most"]
    value: float
    relative: bool

    def holds(self, ours: float, ratio: float) -> bool:
        """Whether a figure of ours, ``ratio`` times the bare loop's, is good enough."""
        judged = ratio if self.relative else ours
        return judged >= self.value if self.side == "least" else judged <= self.value

    def __str__(self) -> str:
        sign = "≥" if self.side == "least" else "≤"
        return f"{sign} {self.value:.2f} times bare" if self.relative else f"{sign} {self.value:,.0f}"


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

    def quick(self) -> "Workload":
        """The same for a look in passing: shorter, and with fewer joins."""
        rooms = self.job.rooms // 4 if self.job.work in ("join", "memory") else self.job.rooms
        return replace(self, job=replace(self.job, warm_up=0.3, seconds=1.0, rooms=rooms), bouts=1)


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
        "memory",
        "4,000 idle members in rooms of 4",
        _job("memory", "four", 4, rooms=1000),
        (Figure("member", "memory of the server a member, KiB", 1, _most(1.5)),),
        bouts=1,
    ),
)
"""All rows, in the table's order."""
