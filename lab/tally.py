"""What the load processes count, and how the one that started them adds it up.

``Notes`` is filled in a load process and tells, in small events, what has been
added since it told last; ``Tally`` takes the events of all of them.
"""

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

from .histogram import Histogram
from .ledger import Account, Faults, Heard
from .schedule import SECOND

__all__ = ["BEFORE", "KINDS", "Notes", "Slot", "Tally", "account_events", "heard_events"]

KINDS = ("delivery", "join", "lag", "own")
"""What there are histograms of: deliveries; joins; how late bots woke up for what was
due; and the part of each delivery in which its load process was busy, an upper bound of what it waited there."""

_ROWS = 200
"""Rows of one event, so that it stays under 64 KiB as a line."""
BEFORE = -1
"""The slot of what is counted before the measurement: bots that join."""


class Notes:
    """What one load process has counted.

    Args:
        begin, until: of the measurement, in nanoseconds.
        slot: seconds of an interval.
    """

    def __init__(self, begin: int, until: int, slot: float) -> None:
        self._begin, self._until, self._slot = begin, until, int(slot * SECOND)
        self._times: dict[tuple[str, int], Histogram] = defaultdict(Histogram)
        self._sent: Counter[int] = Counter()
        self._heard: Counter[int] = Counter()
        self._errors: Counter[str] = Counter()
        self.total = 0
        """Stamped messages that came, warm-up included."""
        self.held = 0
        """Acts that began late because the one before was still waiting."""

    def delivered(self, due: int, woke: int, now: int) -> None:
        """A message that was due then has come; the process is busy since ``woke``."""
        self.total += 1
        if self._begin <= due < self._until:
            slot = (due - self._begin) // self._slot
            self._times["delivery", slot].add(now - due)
            self._times["own", slot].add(now - max(woke, due))
        if self._begin <= now < self._until:
            self._heard[(now - self._begin) // self._slot] += 1

    def joined(self, due: int, now: int, *, measured: bool) -> None:
        """A bot that was due then is in its room. ``measured``: joins are what this scenario is about."""
        if not measured:
            self._times["join", BEFORE].add(now - due)
        elif self._begin <= due < self._until:
            self._times["join", (due - self._begin) // self._slot].add(now - due)

    def woke(self, due: int, now: int) -> None:
        """A bot had nothing else to do, and woke up at ``now`` for what was due."""
        if self._begin <= due < self._until:
            self._times["lag", (due - self._begin) // self._slot].add(now - due)

    def acted(self, due: int) -> None:
        """A bot did what was due."""
        if self._begin <= due < self._until:
            self._sent[(due - self._begin) // self._slot] += 1

    def failed(self, what: str) -> None:
        """Something went wrong: its name, and a text."""
        self._errors[what[:200]] += 1

    def news(self) -> list[dict[str, Any]]:
        """What was added since this was called last, as events with the key ``event``."""
        events: list[dict[str, Any]] = [
            {"event": "times", "kind": kind, "slot": slot, "counts": times.counts()}
            for (kind, slot), times in self._times.items()
        ]
        for name, counter in (("sent", self._sent), ("heard", self._heard)):
            if counter:
                events.append({"event": name, "slots": list(counter.items())})
        if self._errors:
            events.append({"event": "errors", "errors": dict(self._errors.most_common(20))})
        for counted in (self._times, self._sent, self._heard, self._errors):
            counted.clear()
        events.append({"event": "progress", "total": self.total, "held": self.held})
        return events


def account_events(accounts: dict[int, Account], unsent: int, busy: float) -> list[dict[str, Any]]:
    """What the bots of one load process sent, as events.

    Args:
        accounts: what each bot sent.
        unsent: what was due and could not be done.
        busy: the share of the time in which the process had something to do.
    """
    rows = [[bot, *account] for bot, account in accounts.items()]
    return [
        *({"event": "accounts", "rows": rows[at : at + _ROWS]} for at in range(0, len(rows), _ROWS)),
        {"event": "all sent", "unsent": unsent, "busy": busy},
    ]


def heard_events(heard: Counter[tuple[str, int, Heard]], faults: Faults) -> list[dict[str, Any]]:
    """What the bots of one load process heard, as events."""
    rows = [[room, bot, *what, receivers] for (room, bot, what), receivers in heard.items()]
    return [
        *({"event": "heard by", "rows": rows[at : at + _ROWS]} for at in range(0, len(rows), _ROWS)),
        {"event": "faults", "faults": asdict(faults)},
    ]


@dataclass(slots=True)
class Slot:
    """One interval of the measurement."""

    times: dict[str, Histogram] = field(default_factory=lambda: {kind: Histogram() for kind in KINDS})
    """By kind, of what was due in the interval."""
    sent: int = 0
    """Acts that were due in it."""
    heard: int = 0
    """Messages that came in it, whenever they were due."""


class Tally:
    """The counts of all load processes."""

    def __init__(self, slots: int) -> None:
        self.slots = [Slot() for _ in range(slots)]
        self.before = Slot()
        """What was counted before the measurement."""
        self.errors: Counter[str] = Counter()
        self.accounts: dict[int, Account] = {}
        self.heard: list[tuple[str, int, Heard, int]] = []
        self.faults = Faults()
        self.unsent = 0
        self.busy = 0.0
        """The share of the time in which the busiest load process had something to do."""
        self._totals: dict[str, tuple[int, int]] = {}

    @property
    def total(self) -> int:
        """Stamped messages that came, warm-up included."""
        return sum(total for total, _ in self._totals.values())

    @property
    def held(self) -> int:
        """Acts that began late because the one before was still waiting."""
        return sum(held for _, held in self._totals.values())

    def times(self, kind: str) -> Histogram:
        """All times of a kind."""
        together = Histogram()
        for slot in (self.before, *self.slots):
            together.merge(slot.times[kind])
        return together

    def take(self, process: str, event: dict[str, Any]) -> None:
        """An event of a load process."""
        match event["event"]:
            case "times":
                counts = Histogram((bucket, count) for bucket, count in event["counts"])
                self._slot(event["slot"]).times[event["kind"]].merge(counts)
            case "sent":
                for slot, count in event["slots"]:
                    self._slot(slot).sent += count
            case "heard":
                for slot, count in event["slots"]:
                    self._slot(slot).heard += count
            case "errors":
                self.errors.update(event["errors"])
            case "progress":
                self._totals[process] = (event["total"], event["held"])
            case "accounts":
                self.accounts.update({bot: Account(room, sent) for bot, room, sent in event["rows"]})
            case "all sent":
                self.unsent += event["unsent"]
                self.busy = max(self.busy, event["busy"])
            case "heard by":
                self.heard += [(room, bot, Heard(count, digest), n) for room, bot, count, digest, n in event["rows"]]
            case "faults":
                self.faults.add(Faults(**event["faults"]))
            case other:
                raise ValueError(f"{process} told {other!r}, which means nothing here")

    def _slot(self, index: int) -> Slot:
        return self.before if index == BEFORE else self.slots[min(index, len(self.slots) - 1)]
