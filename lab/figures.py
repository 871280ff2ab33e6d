"""Everything that a run found out, and what it means."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .histogram import Histogram
from .ledger import Account, Faults, balance, expected
from .shown import shown_share, shown_time
from .tally import Slot, Tally

__all__ = ["Figures", "Latency", "Moment", "ProcessUse", "figures_of", "moment_of"]

BUSY = 0.9
"""Share of a core from which a process counts as the limit."""
FOREIGN = 0.1
"""Share of all cores that others use from which it is mentioned."""
LARGE = 0.5
"""Share of the delivery latency from which the load processes' own part is mentioned."""
LATE = 0.005
"""Seconds of lag at the 99th percentile from which the load processes spoil the latency."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in seconds; None where nothing was counted."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    most: float | None

    @classmethod
    def of(cls, times: Histogram) -> "Latency":
        """Read from a histogram."""
        return cls(times.count, *map(times.percentile, (50, 90, 99, 99.9, 100)))


@dataclass(frozen=True, slots=True)
class Moment:
    """One interval of the measurement."""

    at: float
    """Seconds from the beginning of the measurement to the end of the interval."""
    latency: Latency
    """Of deliveries that were due in it, or of joins where bots only visit."""
    sent: float
    """Acts a second."""
    heard: float
    """Deliveries a second."""


@dataclass(slots=True)
class ProcessUse:
    """What one process took, interval by interval. None where it was not there."""

    name: str
    pid: int
    cpu: list[float | None] = field(default_factory=list)
    """Shares of one core."""
    rss: list[float | None] = field(default_factory=list)
    """Bytes."""

    @property
    def busy(self) -> float:
        """The mean share of a core."""
        known = [share for share in self.cpu if share is not None]
        return sum(known) / len(known) if known else 0.0

    @property
    def most_memory(self) -> float:
        """The most bytes that it held."""
        return max(filter(None, self.rss), default=0.0)


@dataclass(frozen=True, slots=True)
class Figures:
    """One run. Times are seconds."""

    scenario: str
    server: str
    """What was loaded: a target that was started, or an address."""
    bots: int
    processes: int
    """Load processes."""
    seconds: float
    warm_up: float
    visits: bool
    delivery: Latency
    join: Latency
    lag: Latency
    """How late the load processes woke up for what was due, with nothing else to do."""
    own: Latency
    """The part of the deliveries' latency in which their load process was busy: so long they waited there at most."""
    sent: int
    """Messages in the measurement."""
    messages_per_second: float
    deliveries_per_second: float
    joins_per_second: float | None
    """Where bots only visit."""
    checked: int
    """Deliveries that there should have been, warm-up included: so many were checked for loss and order."""
    faults: Faults
    busy: float
    """The share of the time in which the busiest load process had something to do. At 1 it was the limit."""
    foreign: float | None
    """The share of all cores that other programs used meanwhile; None where it is not known."""
    unsent: int
    """What was due and not done 5 s after the end."""
    held: int
    """Acts that began late because the one before still waited for the server."""
    errors: dict[str, int]
    """What bots ran into, and how often."""
    moments: list[Moment]
    servers: list[ProcessUse]
    loads: list[ProcessUse]
    machine: dict[str, str]
    server_said: list[str]
    """The last lines that the server logged, where it was started for the run."""

    def metrics(self) -> dict[str, float | None]:
        """What a budget can name."""
        memory = [sum(filter(None, values)) for values in zip(*(process.rss for process in self.servers), strict=True)]
        return {
            "p50": self.delivery.p50,
            "p90": self.delivery.p90,
            "p99": self.delivery.p99,
            "p999": self.delivery.p999,
            "join_p99": self.join.p99,
            "loss": self.faults.lost,
            "order": self.faults.order,
            "deliveries": None if self.visits else self.deliveries_per_second,
            "cpu": max((process.busy for process in self.servers), default=None),
            "rss": max(memory, default=None),
        }

    def problems(self, allowed: frozenset[str] = frozenset()) -> list[str]:
        """What is wrong whatever the budget says.

        Args:
            allowed: metrics that a budget has a bound of its own for.
        """
        faults = self.faults
        said = [
            (faults.lost if "loss" not in allowed else 0, "deliveries never came"),
            (faults.doubled if "order" not in allowed else 0, "deliveries came twice"),
            (faults.disordered if "order" not in allowed else 0, "deliveries came out of order"),
            (faults.disagreed if "order" not in allowed else 0, "senders stand in another order for some members"),
            (faults.skipped if "loss" not in allowed else 0, "offsets of a room were never seen by a member"),
            (faults.crossed, "deliveries came from another room"),
            (self.unsent, "acts were due and could not be done"),
        ]
        found = [f"{count:,} {what}" for count, what in said if count]
        found += [f"{count:,} times: {what}" for what, count in self.errors.items()]
        if not (self.join.count if self.visits else self.delivery.count):
            found.append("nothing was measured: no stamp of a bot came back")
        return found

    def limit(self) -> str:
        """A sentence or two on what held the figures back."""
        if self.foreign is None or self.foreign < FOREIGN:
            return self._limit()
        return f"{self._limit()} Other programs used {shown_share(self.foreign)} of this machine's cores meanwhile."

    def _limit(self) -> str:
        busiest_load = max((process.busy for process in self.loads), default=0.0)
        busiest_server = max((process.busy for process in self.servers), default=0.0)
        late = self.lag.p99 or 0.0
        if max(busiest_load, self.busy) >= BUSY or late >= LATE:
            return (
                f"The load processes were at their limit (busy {shown_share(self.busy)} of the time, wake-ups late by "
                f"{shown_time(late)} at p99): part of the latency is theirs. Use fewer bots or more cores."
            )
        if (self.own.p50 or 0.0) >= LARGE * (self.delivery.p50 or 0.0) and self.own.count:
            return (
                f"Of the delivery latency, up to {shown_time(self.own.p50)} (p50; p99 {shown_time(self.own.p99)}) "
                "passed in the load processes: many messages came at once, and bots take them one after the other."
            )
        if self.held:
            return (
                f"{self.held:,} acts began late because the one before still waited, as a rule for the server; "
                "they are measured from when they were due."
            )
        if busiest_server >= BUSY:
            return f"The server was at its limit: one of its processes used {shown_share(busiest_server)} of a core."
        return "Neither side was at its limit: this is the latency at this load, not the most that the server can do."

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def moment_of(slot: Slot, at: float, width: float, kind: str) -> Moment:
    """The figures of one interval that ends ``at`` and is ``width`` seconds wide."""
    return Moment(at, Latency.of(slot.times[kind]), slot.sent / width, slot.heard / width)


def figures_of(
    tally: Tally,
    *,
    scenario: str,
    server: str,
    heard_by: str,
    visits: bool,
    bots: int,
    processes: int,
    seconds: float,
    warm_up: float,
    servers: list[ProcessUse],
    loads: list[ProcessUse],
    machine: Mapping[str, str],
    server_said: Iterable[str],
    foreign: float | None,
) -> Figures:
    """Put together what the load processes counted and what the meter read."""
    faults = Faults()
    faults.add(tally.faults)
    accounts: dict[int, Account] = {} if visits else tally.accounts
    faults.add(balance(accounts, heard_by, tally.heard, ordered=heard_by != "sender"))
    width = seconds / len(tally.slots)
    sent, heard = sum(slot.sent for slot in tally.slots), sum(slot.heard for slot in tally.slots)
    join = tally.times("join")
    return Figures(
        scenario=scenario,
        server=server,
        bots=bots,
        processes=processes,
        seconds=seconds,
        warm_up=warm_up,
        visits=visits,
        delivery=Latency.of(tally.times("delivery")),
        join=Latency.of(join),
        lag=Latency.of(tally.times("lag")),
        own=Latency.of(tally.times("own")),
        sent=sent,
        messages_per_second=sent / seconds,
        deliveries_per_second=heard / seconds,
        joins_per_second=join.count / seconds if visits else None,
        checked=expected(accounts, heard_by),
        faults=faults,
        busy=tally.busy,
        foreign=foreign,
        unsent=tally.unsent,
        held=tally.held,
        errors=dict(tally.errors.most_common()),
        moments=[
            moment_of(slot, (index + 1) * width, width, "join" if visits else "delivery")
            for index, slot in enumerate(tally.slots)
        ],
        servers=servers,
        loads=loads,
        machine=dict(machine),
        server_said=list(server_said),
    )
