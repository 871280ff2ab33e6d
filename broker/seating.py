"""Seating: from seats that sessions want to reservations that a worker holds for them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ..protocol.alarms import AlarmClock
from ..protocol.errors import CapacityReached, Code, NoWorker, RequestError, RoomNotFound, WorkerLost, error_for
from ..protocol.ids import Entropy, new_id
from ..protocol.rulesets import RuleSet
from ..rooms.control import CloseRoom, OpenRoom, Refused, ReleaseSeats, Reserved, ReserveSeats, SeatWish
from .directory import Directory
from .placement import RoomNeeds
from .workers import WorkerRecord, Workers

__all__ = ["HeldSeats", "NewRoom", "Seating", "SeatingOutbox", "Then"]

_LONGEST_WAIT = 8.0
"""Seconds that a new room waits for a worker that can take it: less than clients wait for an answer."""
_LONGEST_ANSWER = 30.0
"""Seconds that a worker has to answer: its ``on_create`` may wait for something that never comes."""
_MOST_TRIES = 4
_MOST_WAITING = 10_000


class HeldSeats(NamedTuple):
    """Seats that are held: one reservation for each wish, in order."""

    room: str
    worker: WorkerRecord
    reservations: list[bytes]
    timeout: float


Then = Callable[[HeldSeats | RequestError], None]
"""What follows: gets the seats, or why there are none."""


class SeatingOutbox(AlarmClock, Protocol):
    """Where seating writes what must happen."""

    @property
    def workers_expected(self) -> int:
        """Workers that are starting, or that may come back to a broker that has just started."""
        ...

    @property
    def settled_at(self) -> float:
        """Until when workers of a broker before this one may come, with rooms that are not known yet; monotonic
        seconds. In the past where none may."""
        ...

    @property
    def workers_starting(self) -> bool:
        """Whether the first workers of this server are just starting: who comes first would get all the rooms."""
        ...

    def want_spare(self) -> bool:
        """Have one more worker started, for an isolated room. False: nobody can."""
        ...


@dataclass(frozen=True, slots=True)
class NewRoom:
    """A room that is to be made."""

    ruleset: RuleSet
    needs: RoomNeeds
    options: dict[str, object]
    matched: bool
    match: dict[str, object] = field(default_factory=dict)
    """What its queue says of the match."""
    access: dict[str, object] = field(default_factory=dict)
    """``password``, ``private`` and ``unlisted``, as its creator wants them."""


@dataclass(slots=True, eq=False)
class _Wish:
    """Seats that somebody waits for."""

    seats: list[SeatWish]
    then: Then
    new: NewRoom | None
    """What to make; None: a room that is there."""
    room: str
    deadline: float
    worker: WorkerRecord | None = None
    """Who was asked; None: nobody can take it yet."""
    tries: int = 0
    spare: bool = False
    """A worker for it alone was asked for."""
    picked: bool = False
    """Not who wants the seats has chosen the room."""


class Seating:
    """Asks workers for seats, waits for those that are coming, and asks others when one is lost.

    Args:
        workers: the table.
        directory: which worker has which room.
        out: where to write.
        entropy: where ids of rooms come from.
    """

    def __init__(self, workers: Workers, directory: Directory, out: SeatingOutbox, entropy: Entropy) -> None:
        self._workers = workers
        self._directory = directory
        self._out = out
        self._entropy = entropy
        self._wishes: dict[int, _Wish] = {}
        self._next_ask = 1
        self._waiting: dict[_Wish, None] = {}
        self._retrying = self._to_retry = False
        self._unknown: dict[str, list[_Wish]] = {}
        """Who waits for rooms that workers of a broker before us may have: each session for one at most."""

    def open(self, new: NewRoom, seats: list[SeatWish], then: Then) -> None:
        """Have a room made, with these seats held."""
        wish = _Wish(seats, then, new, "", self._out.now + _LONGEST_WAIT)
        self._place(wish)

    def reserve(self, room: str, seats: list[SeatWish], then: Then, *, picked: bool = False) -> None:
        """Have seats held in a room that is there; ``picked``: which we have chosen, and not who wants them."""
        entry, out = self._directory.get(room), self._out
        wish = _Wish(seats, then, None, room, out.settled_at, picked=picked)
        if entry is not None:
            self._ask(wish, entry.worker)
        elif self.rooms_may_come:
            self._unknown.setdefault(room, []).append(wish)
            out.alarm(wish.deadline, self._never_came, room)
        else:
            then(RoomNotFound())

    @property
    def rooms_may_come(self) -> bool:
        """Whether a room that is not known may be one of a worker that has yet to come to this broker."""
        return self._out.now < self._out.settled_at

    def came(self, room: str, record: WorkerRecord) -> None:
        """A worker has a room: whoever waits for it asks there."""
        waiting = self._unknown.pop(room, None)
        if waiting is None:
            return
        self._out.clear_alarm(self._never_came, room)
        for wish in waiting:
            self._ask(wish, record)

    def _never_came(self, room: str) -> None:
        for wish in self._unknown.pop(room):
            wish.then(RoomNotFound())

    def answered(self, record: WorkerRecord, answer: Reserved | Refused) -> None:
        """A worker has answered. What it answers too late, or was never asked, is not heard."""
        wish = self._wishes.get(answer.ask)
        if wish is None or wish.worker is not record:
            return
        self._done_with(answer.ask, record)
        if isinstance(answer, Refused) and answer.code == Code.WORKER_DRAINED and wish.new is not None:
            record.draining = True
            self._place(wish)
        elif isinstance(answer, Refused):
            error = error_for(answer.code, answer.text)
            wish.then(error if isinstance(error, RequestError) else NoWorker(error.text))
        elif answer.room != wish.room or len(answer.reservations) != len(wish.seats):
            wish.then(NoWorker("the worker's answer does not fit the question"))
        else:
            if wish.new is not None:
                self._directory.made(wish.room, wish.new.ruleset)
            wish.then(HeldSeats(wish.room, record, answer.reservations, answer.timeout))

    def unheard(self, record: WorkerRecord) -> None:
        """What a worker was asked, or has answered, may be lost: ask again."""
        asks = [ask for ask, wish in self._wishes.items() if wish.worker is record]
        for ask in asks:
            wish = self._done_with(ask, record)
            wish.worker = None
            self._take_back(wish, record)
            if wish.new is not None:
                self._place(wish)
            elif record.desk is not None:
                self._ask(wish, record)
            else:
                wish.then(RoomNotFound(WorkerLost.meaning))

    def retry(self) -> None:
        """A worker has come, has room again, or is less busy."""
        # In this process, a room that is made here may be entered, and end, before this is over. Were who waits behind
        # it looked at inside of that, each of thousands would be one call deeper.
        self._to_retry = True
        if self._retrying:
            return
        self._retrying = True
        try:
            while self._to_retry:
                self._to_retry = False
                self._place_waiting()
        finally:
            self._retrying = False

    def _place_waiting(self) -> None:
        stuck: set[RoomNeeds] = set()
        for wish in list(self._waiting):
            # One that was placed may be answered at once, and have others placed. Where one has to go on waiting, so
            # have those behind it that need the same: thousands may wait, and each worker has us try every second.
            if wish.new is None or wish not in self._waiting or wish.new.needs in stuck:
                continue
            self._place(wish)
            if wish in self._waiting:
                stuck.add(wish.new.needs)

    def _place(self, wish: _Wish) -> None:
        assert wish.new is not None
        needs, out = wish.new.needs, self._out
        out.clear_alarm(self._waited_too_long, wish)
        record = None if out.workers_starting else self._workers.place(needs)
        if record is not None:
            self._waiting.pop(wish, None)
            wish.room = new_id(self._entropy)
            self._ask(wish, record)
            return
        if needs.isolated and not wish.spare:
            wish.spare = out.want_spare()
        hosts = self._workers.hosts(needs)
        coming = out.workers_expected > 0 or out.workers_starting or wish.spare
        if not hosts and not coming:
            self._give_up(wish, NoWorker(_nobody(needs)))
        elif hosts and not coming and (needs.isolated or all(self._workers.is_full(host) for host in hosts)):
            self._give_up(wish, CapacityReached(_all_taken(needs)))
        elif out.now >= wish.deadline or (wish not in self._waiting and len(self._waiting) >= _MOST_WAITING):
            self._give_up(wish, CapacityReached("every worker that could take this room is too busy"))
        else:
            self._waiting[wish] = None  # where it stood, if it waited already
            out.alarm(wish.deadline, self._waited_too_long, wish)

    def _give_up(self, wish: _Wish, error: RequestError) -> None:
        self._waiting.pop(wish, None)
        wish.then(error)

    def _waited_too_long(self, wish: _Wish) -> None:
        if wish in self._waiting:
            self._place(wish)

    def _ask(self, wish: _Wish, record: WorkerRecord) -> None:
        wish.tries += 1
        if record.desk is None or wish.tries > _MOST_TRIES:
            wish.then(NoWorker("no worker could make this room") if wish.new is not None else RoomNotFound())
            return
        ask, self._next_ask = self._next_ask, (self._next_ask + 1) & 0xFFFFFFFF
        wish.worker = record
        self._wishes[ask] = wish
        if wish.new is not None:
            new = wish.new
            record.promised[ask] = len(wish.seats)
            how = (new.options, new.matched, wish.seats, new.match, new.access)
            record.desk.order(OpenRoom(ask, wish.room, new.ruleset, *how))
        else:
            record.desk.order(ReserveSeats(ask, wish.room, wish.seats, wish.picked))
        if ask in self._wishes:  # a worker in this process has answered by now
            self._out.alarm(self._out.now + _LONGEST_ANSWER, self._no_answer, ask)

    def _no_answer(self, ask: int) -> None:
        wish = self._wishes.get(ask)
        if wish is not None and wish.worker is not None:
            self._done_with(ask, wish.worker)
            self._take_back(wish, wish.worker)
            wish.then(NoWorker(f"the worker has not answered within {_LONGEST_ANSWER:.0f} s"))

    def _done_with(self, ask: int, record: WorkerRecord) -> _Wish:
        """A question is answered, or will not be."""
        self._out.clear_alarm(self._no_answer, ask)
        record.promised.pop(ask, None)
        return self._wishes.pop(ask)

    def _take_back(self, wish: _Wish, record: WorkerRecord) -> None:
        """What a worker was asked for is not wanted of it any more: it may have done it after all."""
        if record.desk is None:
            return
        if wish.new is not None:
            record.desk.order(CloseRoom(wish.room, int(Code.ROOM_CLOSED), ""))
            return
        for seat in wish.seats:
            record.desk.order(ReleaseSeats(seat.session, [wish.room], joined=False))


def _nobody(needs: RoomNeeds) -> str:
    what = f"room type {needs.type!r}" if needs.type is not None else "rooms"
    labels = f" with {', '.join(sorted(needs.requires))}" if needs.requires else ""
    return f"no worker hosts {what}{labels}"


def _all_taken(needs: RoomNeeds) -> str:
    return "no worker is free for an isolated room" if needs.isolated else "every worker has all the rooms it takes"
