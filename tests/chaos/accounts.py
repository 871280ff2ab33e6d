"""What the oracle keeps of rooms, visits and parties, as long as they last."""

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

__all__ = ["Entry", "Party", "RoomAccount", "Visit"]

DIRECTS_KEPT = 256
"""Direct messages that a room keeps for each member."""


class Party:
    """A process that tells what it does."""

    __slots__ = ("gone", "name", "role")

    def __init__(self, role: str, name: str) -> None:
        self.role = role
        self.name = name
        self.gone = False


class Visit:
    """One membership, as both sides see it."""

    __slots__ = (
        "applied", "asked_at", "away", "client", "code", "done_at", "dropped_at", "end", "entered", "flagged",
        "last_applied", "left_at", "number", "over", "party", "place", "read_to", "refused", "room", "seats",
        "sent", "turned_away", "unsure",
    )  # fmt: skip

    def __init__(self, number: int, party: Party, client: int, seats: int, now: float) -> None:
        self.number = number
        self.party = party
        self.client = client
        self.seats = seats
        """Of the match that it asked for; 0: it came otherwise."""
        self.asked_at = now
        self.flagged = False

        # The room's side.
        self.room: RoomAccount | None = None
        self.end: int | None = None
        """The first serial that is not for it any more."""
        self.applied: set[int] = set()
        self.last_applied = 0
        self.turned_away: set[int] = set()
        self.away = False
        self.dropped_at: float | None = None
        self.left_at: float | None = None
        self.code = 0

        # The client's side.
        self.entered = False
        self.read_to = 0
        """The serial after the last one that was read."""
        self.place: tuple[int, int, int] = (0, 0, 0)
        """Epoch, offset and direct number of the last message."""
        self.sent = 0
        self.refused: set[int] = set()
        self.unsure: set[int] = set()
        self.over = False
        """Its client says no more of it: it ended, was never entered, or the client's process is gone."""
        self.done_at = 0.0
        """When that was."""

    def __str__(self) -> str:
        return f"visit {self.number} of client {self.client} ({self.party.name})"


class Entry(NamedTuple):
    """One thing that was said."""

    time: float
    to: int
    """The visit that alone gets it; 0: all."""
    excepted: tuple[int, ...]
    key: int = 0
    """Whose newest value it is: who catches up may get only the newest of each. 0: it has none."""

    def is_for(self, visit: int) -> bool:
        """Whether this visit gets it."""
        return self.to == visit if self.to else visit not in self.excepted


class RoomAccount:
    """What one room said, as far as somebody has still to read it, and who is in it.

    Args:
        room: its id.
        worker: who hosts it.
        seats: how many it has.
        count: broadcasts that its history surely holds.
        age: seconds for which it does.
    """

    __slots__ = ("_first", "age", "count", "disposed", "entries", "lost_at", "matched", "present", "room", "seats",
                 "visits", "worker")  # fmt: skip

    def __init__(self, room: str, worker: Party, seats: int, count: int, age: float) -> None:
        self.room = room
        self.worker = worker
        self.seats = seats
        self.count = count
        self.age = age
        self.entries: deque[Entry] = deque()
        self.visits: dict[int, Visit] = {}
        """Those that joined it and are not settled."""
        self.present: set[int] = set()
        self.matched = 0
        self.disposed = False
        self.lost_at: float | None = None
        self._first = 0

    @property
    def said(self) -> int:
        """How much it has said; the next serial."""
        return self._first + len(self.entries)

    def entry(self, serial: int) -> Entry | None:
        """What this serial was, unless it is forgotten or was never said."""
        index = serial - self._first
        return self.entries[index] if 0 <= index < len(self.entries) else None

    def next_for(self, visit: Visit) -> int | None:
        """The next serial that this visit has to read."""
        end = self.said if visit.end is None else visit.end
        for serial in range(max(visit.read_to, self._first), end):
            if self.entries[serial - self._first].is_for(visit.number) and not self._outdated(serial, end, visit):
                return serial
        return None

    def _outdated(self, serial: int, end: int, visit: Visit) -> bool:
        """Whether something newer that is for this visit as well has taken its place."""
        entry = self.entries[serial - self._first]
        if not entry.key:
            return False
        later = islice(self.entries, serial + 1 - self._first, end - self._first)
        return any(
            one.key == entry.key and bool(one.to) == bool(entry.to) and one.is_for(visit.number) for one in later
        )

    def forget(self) -> None:
        """What everybody has read is needed no more."""
        least = min((visit.read_to for visit in self.visits.values() if not visit.over), default=self.said)
        for _ in range(least - self._first):
            self.entries.popleft()
        self._first = max(self._first, least)

    def holds_since(self, visit: Visit, snapshot: int, now: float) -> bool:
        """Whether the history surely had everything between what a visit read last and this serial."""
        missed = [entry for serial in range(visit.read_to, snapshot) if (entry := self.entry(serial)) is not None]
        broadcasts = sum(not entry.to for entry in missed)
        directs = sum(entry.to == visit.number for entry in missed)
        fits = broadcasts <= self.count and directs <= DIRECTS_KEPT
        return fits and (not missed or now - missed[0].time < self.age)


Excused = Callable[[frozenset[str], float], bool]
