"""What rooms said, to whom, and what clients did; and whether the one follows from the other.

Everything that a room says carries the room's id and a serial of that room. A
*visit* is one membership of one client, from asking for a seat to the end; its
number travels with the request as an option, so that both sides speak of the
same one. Whatever is not as it must be is noted as a mistake.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from server_room_system import HistoryLimits, Received, RuleSet
from server_room_system.testing import Process

if TYPE_CHECKING:
    from .ways import Way

__all__ = ["Entry", "Ledger", "Stream", "Visit", "Wanted"]

_ROUND_TRIP = 4.0
"""Seconds that a question and its answer take at most."""
DIRECTS_KEPT = 256
"""Direct messages that are kept for each member."""


@dataclass(slots=True)
class Wanted:
    """What a client waits for in a queue, or for a rematch."""

    queue: str | None = None
    """None: where its party's leader goes."""
    modes: tuple[str, ...] | None = None
    """Those that will do; None: any."""
    party: str = ""
    """The code of the party that it believes to be in."""
    rematch: str = ""
    """The room whose players are to meet again."""
    ended: bool = False
    """Whether its client knows that this leads nowhere."""

    def fits(self, queue: str, mode: str | None) -> bool:
        """Whether this queue and this mode are what it waits for."""
        return self.queue in (None, queue) and (self.modes is None or mode in self.modes)


@dataclass(slots=True)
class Visit:
    """One membership, as both sides see it."""

    number: int
    client: int
    wish: RuleSet | None
    """What its client asked to be matched for; None if it came otherwise."""
    wanted: Wanted | None = None
    """What it waits for in a queue; None if it comes otherwise."""
    way: "Way | None" = None
    """How it wants to come in, where it is not told by its client from a list of ids."""

    # The room's side.
    stream: "Stream | None" = None
    """The room that it came to."""
    begin: int = 0
    """The first serial that is for it, if it is for all."""
    end: int | None = None
    """The first serial that is not for it any more."""
    applied: list[int] = field(default_factory=list)
    """What the room applied of it, in order."""
    turned_away: list[int] = field(default_factory=list)
    """What the room answered with an error of its own."""

    # The client's side.
    read_to: int = 0
    """The serial after the last one that was read."""
    resets: int = 0
    lately: "deque[tuple[float, int]]" = field(default_factory=deque)
    """When it had read how far, for as long as a question may be on its way."""
    sent: list[int] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    entered: bool = False
    """Whether its client got the room that it asked for."""
    over: bool = False
    """Whether its client knows that it has ended."""

    dropped: float | None = None
    """Since when it has no connection, as its room knows."""


@dataclass(slots=True)
class Entry:
    """One thing that was said."""

    time: float
    to: int | None
    """The visit that alone gets it; None: all."""
    excepted: frozenset[int]


class Stream:
    """All that one room said.

    Args:
        ledger: where mistakes go.
        room: its id.
        history: what it keeps for those who come back.
        seats: how many it has.
        takes_all: whether it refuses no message for coming too fast.
        unseen: places of its history that may be taken by what is not in the ledger: presence.
        overtaken: whether what it says comes on another connection than its answers.
    """

    def __init__(
        self,
        ledger: "Ledger",
        room: str,
        history: HistoryLimits,
        seats: int,
        *,
        takes_all: bool,
        unseen: int,
        overtaken: bool,
    ) -> None:
        self.room = room
        self.takes_all = takes_all
        self.entries: list[Entry] = []
        self.present: dict[int, Visit] = {}
        """Who is in it, by visit."""
        self.matched = 0
        """How many came because they were matched."""
        self.process = Process.current()
        """Where it lives."""
        self.dead = False
        """Whether its process was killed: nobody was told, and no hook ran."""
        self._ledger = ledger
        self._history = history
        self._seats = seats
        self._unseen = unseen
        self._overtaken = overtaken

    def says(self, to: Visit | None = None, excepted: frozenset[int] = frozenset()) -> list[Any]:
        """Note something that is about to be sent; what to send."""
        self.entries.append(Entry(self._ledger.now(), None if to is None else to.number, excepted))
        return [self.room, len(self.entries) - 1]

    def joins(self, number: int, client: int) -> Visit:
        """A member is let in."""
        visit = self._ledger.visits[number]
        if visit.stream is not None:
            self._ledger.mistake(f"visit {number} joined {visit.stream.room} and then {self.room}")
        if visit.client != client:
            self._ledger.mistake(f"client {client} sits on the seat of client {visit.client}")
        visit.stream = self
        visit.begin = visit.read_to = len(self.entries)
        self.present[number] = visit
        self.matched += visit.wish is not None
        if visit.wish is not None and self.matched > visit.wish.clients:
            self._ledger.mistake(f"{self.matched} were matched for {visit.wish} in {self.room}")
        if len(self.present) > self._seats:
            self._ledger.mistake(f"{len(self.present)} members on {self._seats} seats of {self.room}")
        return visit

    def leaves(self, visit: Visit) -> None:
        """A member is gone."""
        visit.end = len(self.entries)
        if self.present.pop(visit.number, None) is None:
            self._ledger.mistake(f"visit {visit.number} left {self.room} and was not there")

    def dies(self) -> None:
        """Its process was killed."""
        self.dead = True
        for visit in self.present.values():
            visit.end = len(self.entries)
        self.present.clear()

    def applies(self, visit: Visit, room: str, number: int) -> None:
        """A message of a member is handled."""
        if visit.stream is not self or room != self.room:
            self._ledger.mistake(f"{self.room} got what visit {visit.number} sent to {room}")
        if visit.applied and number <= visit.applied[-1]:
            self._ledger.mistake(f"message {number} of visit {visit.number} applied after {visit.applied[-1]}")
        visit.applied.append(number)

    def reads(self, visit: Visit, message: Received) -> None:
        """A client got something in this visit."""
        self._ledger.read += 1
        if message.kind == "presence" or message.type == "command":  # of the worker's own: that it drains
            return
        if message.kind == "reset":
            self._resets(visit, message.data)
            return
        room, serial = message.data
        if room != self.room:
            self._ledger.mistake(f"a message of {room} was read in {self.room}")
            return
        wanted = self.next_for(visit)
        if serial != wanted:
            self._ledger.mistake(f"visit {visit.number} of {room} read {serial}, and its next was {wanted}")
        kind = "broadcast" if self.entries[serial].to is None else "direct"
        if message.kind != kind:
            self._ledger.mistake(f"serial {serial} of {room} came as {message.kind}, not {kind}")
        visit.read_to = serial + 1
        if self._overtaken:
            visit.lately.append((self._ledger.now(), serial + 1))

    def _asked_from(self, visit: Visit) -> int:
        # A downlink overtakes what is asked on the other connection: the reset may be right for where it was then.
        old = self._ledger.now() - _ROUND_TRIP
        while len(visit.lately) > 1 and visit.lately[1][0] <= old:
            visit.lately.popleft()
        return visit.lately[0][1] if visit.lately else visit.begin if self._overtaken else visit.read_to

    def next_for(self, visit: Visit) -> int | None:
        """The next serial that this visit has to read."""
        end = len(self.entries) if visit.end is None else visit.end
        return next((serial for serial in range(visit.read_to, end) if self._is_for(visit, serial)), None)

    def _is_for(self, visit: Visit, serial: int) -> bool:
        entry = self.entries[serial]
        return entry.to == visit.number if entry.to is not None else visit.number not in entry.excepted

    def _resets(self, visit: Visit, snapshot: int | None) -> None:
        visit.resets += 1
        if snapshot is None:  # the room has ended, and the inbox had left something out: this is the last word
            visit.read_to = len(self.entries)
            return
        if not visit.read_to <= snapshot <= len(self.entries):
            self._ledger.mistake(f"visit {visit.number} at {visit.read_to} was reset to {snapshot}")
        missed = self.entries[self._asked_from(visit) : snapshot]
        broadcasts = sum(entry.to is None for entry in missed)
        directs = sum(entry.to == visit.number for entry in missed)
        age = self._ledger.now() - missed[0].time if missed else 0.0
        fits = broadcasts <= self._history.count - self._unseen and directs <= DIRECTS_KEPT
        if fits and age < self._history.age:
            self._ledger.mistake(
                f"visit {visit.number} was reset over {broadcasts} broadcasts and {directs} direct messages, "
                f"{age:.1f} s old, which the history of {self._history} holds"
            )
        visit.read_to = snapshot


class Ledger:
    """Everything that was said and done in one run.

    Args:
        now: the time.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.streams: dict[str, Stream] = {}
        self.visits: list[Visit] = []
        self.abandoned: Callable[[Process | None], bool] = lambda process: False
        """Whether what lives there was given up, because its lease is over: then no ``on_leave`` runs."""
        self.drops = 0
        self.mistakes: list[str] = []
        self.closed = False
        """Whether the run was ended: what its tasks do while they are cancelled, in any order, is no part of it."""
        self.failed_at: float | None = None
        """When the first of them was made."""
        self.reconnects = 0
        """How often a member came back to its room on another connection."""
        self.read = 0
        """How many messages clients have read."""
        self.counts: Counter[str] = Counter()
        """What has happened in queues, and on other ways in."""
        self.doors: list[tuple[str, str | None]] = []
        """Rooms that players have made, with their passwords: to whom those give them is up to chance."""
        self.party_code: Callable[[int], str] = lambda client: ""
        """The code of the party that a client is in, as the broker has it."""
        self._companies: dict[int, frozenset[int]] = {}
        """Visits that wait as one ticket, by each of them."""
        self._places: dict[frozenset[int], tuple[str, str]] = {}
        """The room and the team that they came to."""

    def mistake(self, what: str) -> None:
        """Note what must not be."""
        if self.closed:
            return
        if self.failed_at is None:
            self.failed_at = self.now()
        self.mistakes.append(f"{self.now():.3f} s: {what}")

    def opens(self, stream: Stream) -> Stream:
        """A room begins."""
        other = self.streams.get(stream.room)
        if other is not None and not other.dead:
            self.mistake(f"two rooms of the id {stream.room}")
        self.streams[stream.room] = stream
        return stream

    def asks(self, client: int, wish: RuleSet | None) -> Visit:
        """A client is about to ask for a seat."""
        visit = Visit(len(self.visits), client, wish)
        self.visits.append(visit)
        return visit

    def waits(self, company: frozenset[int]) -> None:
        """These enter a queue, as one ticket."""
        for number in company:
            self._companies[number] = company
            visit = self.visits[number]
            assert visit.wanted is not None
            if visit.wanted.party != self.party_code(visit.client):
                self.mistake(f"visit {number} waits without the party {visit.wanted.party!r} that it believes in")

    def takes_place(self, visit: Visit, room: str, team: str) -> frozenset[int]:
        """A queue has led it there; who waited with it."""
        company = self._companies.get(visit.number, frozenset())
        if not company:
            self.mistake(f"visit {visit.number} came into {room} without having waited")
        if self._places.setdefault(company, (room, team)) != (room, team):
            self.mistake(f"a party is split: {sorted(company)} in {self._places[company]}, and in {room}, {team}")
        return company

    def acknowledges(self, visit: Visit, number: int) -> None:
        """A client hears that its message is applied."""
        visit.acknowledged.append(number)
        if number not in visit.applied:
            self.mistake(f"message {number} of visit {visit.number} is acknowledged and was not applied")

    def check_visits(self) -> None:
        """What must hold of every visit at any time."""
        for visit in self.visits:
            both = set(visit.refused) & set(visit.applied)
            if both:
                self.mistake(f"refused and applied in visit {visit.number}: {sorted(both)}")
            unsent = set(visit.applied) - set(visit.sent)
            if unsent:
                self.mistake(f"applied and never sent in visit {visit.number}: {sorted(unsent)}")

    def check_calm(self) -> None:
        """What must hold when nobody does anything any more and everybody is connected."""
        for visit in self.visits:
            stream = visit.stream
            here = stream is not None and visit.number in stream.present
            there = visit.entered and not visit.over
            if here != there:
                self.mistake(
                    f"visit {visit.number} is {'' if here else 'not '}in its room, "
                    f"and its client thinks that it is {'' if there else 'not '}"
                )
            if stream is None or not here or not there:
                continue
            wanted = stream.next_for(visit)
            if wanted is not None:
                self.mistake(f"visit {visit.number} of {stream.room} never read {wanted} of {len(stream.entries)}")
            lost = set(visit.sent).difference(visit.applied, visit.turned_away)
            if lost and stream.takes_all:
                self.mistake(f"sent and never applied in visit {visit.number}: {sorted(lost)}")
