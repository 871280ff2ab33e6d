"""Whether what the parties of a run tell fits together: decided record by record, in bounded memory.

The rules are those of ``tests/sim/ledger.py``, for parties that can only be
asked through what they wrote, and that may be killed at any time. What is
finished is settled and forgotten; only counts of it stay.

Records have to come in an order in which none comes before its cause; the
process around this (``watch.py``) sees to that.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from math import inf
from typing import Any

from server_room_system import Code

from .accounts import Entry, Party, RoomAccount, Visit
from .events import Event

__all__ = ["Oracle"]

PATIENCE = 60.0
"""Seconds without a fault after which what should have happened counts as missing. Longer than any grace period."""
AFTERMATH = 30.0
"""Seconds after the end of a fault in which what it broke may still come to light."""
_MOST_TOLD = 50
"""Violations that are kept in words; all are counted."""
_ROOMS_REMEMBERED = 20_000
"""Ids of finished rooms, to see that none is given again."""
_LOST = frozenset({"WorkerLost"})
_ENDS = {
    Code.ROOM_CLOSED: "RoomClosed", Code.BELOW_MINIMUM: "BelowMinimum", Code.KICKED: "Kicked",
    Code.GRACE_EXPIRED: "GraceExpired", Code.WORKER_LOST: "WorkerLost", Code.WORKER_DRAINED: "WorkerDrained",
}  # fmt: skip


class Oracle:
    """Follows a run. ``violations`` counts what must not be, ``told`` says it in words."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.told: list[str] = []
        self.rooms: dict[str, RoomAccount] = {}
        self.visits: dict[int, Visit] = {}
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._suffering: dict[str, float] = {}
        """Until when each thing suffers from a fault."""
        self._handlers: dict[int, Callable[..., None]] = {
            Event.OPEN: self._open, Event.JOIN: self._join, Event.SAY: self._say, Event.APPLY: self._apply,
            Event.TURN_AWAY: self._turn_away, Event.DROP: self._drop, Event.BACK: self._back,
            Event.LEAVE: self._leave, Event.DISPOSE: self._dispose,
            Event.ASK: self._ask, Event.SEND: self._send, Event.ENTER: self._enter, Event.GIVE_UP: self._give_up,
            Event.READ: self._read, Event.RESET: self._reset, Event.ACKED: self._acked, Event.REFUSED: self._refused,
            Event.UNSURE: self._unsure, Event.OVER: self._over, Event.MISROUTED: self._misrouted,
            Event.FAULT: self._fault,
        }  # fmt: skip

    def take(self, party: Party, record: list[Any]) -> None:
        """Something that a party told."""
        self._handlers[record[0]](party, *record[1:])

    def gone(self, party: Party, now: float) -> None:
        """A party's process has ended."""
        party.gone = True
        for visit in list(self.visits.values()):
            if visit.party is party and not visit.over:
                self._finish(visit, now)
        for room in list(self.rooms.values()):
            if room.worker is party:
                room.lost_at = now
                self.counts["rooms lost"] += not room.disposed
                for visit in list(room.visits.values()):
                    self._settle(visit)
                self._forget(room)

    # Rooms.

    def _open(self, party: Party, now: float, room: str, seats: int, count: int, age: float, unseen: int) -> None:
        if room in self.rooms or room in self._finished:
            self._violated("two lives", now, f"two rooms of the id {room}")
        self.rooms[room] = RoomAccount(room, party, seats, count - unseen, age)
        self.counts["rooms"] += 1

    def _join(self, party: Party, now: float, room: str, number: int, client: int, seats: int) -> None:
        account, visit = self._both(now, room, number)
        if account is None or visit is None:
            return
        if visit.room is not None:
            self._violated("two seats", now, f"{visit} joined {visit.room.room} and then {room}")
        if visit.client != client:
            self._violated("stolen seat", now, f"client {client} sits on the seat of {visit}")
        visit.room = account
        visit.read_to = account.said
        account.visits[number] = visit
        account.present.add(number)
        account.matched += bool(seats)
        if seats != visit.seats or (seats and account.matched > seats):
            self._violated(
                "wrong match", now, f"{account.matched} for {seats} in {room}, where {visit.seats} were asked"
            )
        if len(account.present) > account.seats:
            self._violated("oversold", now, f"{len(account.present)} members on {account.seats} seats of {room}")
        self.counts["joins"] += 1

    def _say(
        self, party: Party, now: float, room: str, serial: int, to: int, excepted: list[int], key: int = 0
    ) -> None:
        account = self.rooms.get(room)
        if account is None or account.said != serial:
            self._violated("trace", now, f"{room} said {serial} after {account and account.said}")
            return
        account.entries.append(Entry(now, to, tuple(excepted), key))
        self.counts["said"] += 1

    def _apply(self, party: Party, now: float, room: str, number: int, message: int, meant: str) -> None:
        account, visit = self._both(now, room, number)
        if account is None or visit is None:
            return
        if visit.room is not account or meant != room or visit.left_at is not None:
            self._violated("crossed up", now, f"{room} applied what {visit} sent to {meant}")
        if message <= visit.last_applied:
            self._violated("applied twice", now, f"{message} of {visit} applied after {visit.last_applied}")
        if message > visit.sent:
            self._violated("never sent", now, f"{message} of {visit} applied, who has sent {visit.sent}")
        visit.last_applied = message
        visit.applied.add(message)
        self.counts["applied"] += 1

    def _turn_away(self, party: Party, now: float, room: str, number: int, message: int) -> None:
        _, visit = self._both(now, room, number)
        if visit is not None:
            visit.turned_away.add(message)

    def _drop(self, party: Party, now: float, room: str, number: int) -> None:
        _, visit = self._both(now, room, number)
        if visit is not None:
            visit.away, visit.dropped_at = True, now
            self.counts["drops"] += 1

    def _back(self, party: Party, now: float, room: str, number: int) -> None:
        _, visit = self._both(now, room, number)
        if visit is not None:
            visit.away = False
            self.counts["reconnects"] += 1

    def _leave(self, party: Party, now: float, room: str, number: int, code: int) -> None:
        account, visit = self._both(now, room, number)
        if account is None or visit is None:
            return
        if number not in account.present:
            self._violated("left twice", now, f"{visit} left {room} and was not there")
        account.present.discard(number)
        visit.end, visit.left_at, visit.code = account.said, now, code
        if code == Code.GRACE_EXPIRED and not visit.over and not self._excuse(visit, (visit.dropped_at or now) - 5.0):
            self._violated("left for no reason", now, f"{visit} was taken for gone by {room}, and nothing was wrong")
        if visit.over:
            self._settle(visit)

    def _dispose(self, party: Party, now: float, room: str) -> None:
        account = self.rooms.get(room)
        if account is None:
            self._violated("unknown", now, f"{room} ended, and is not known")
            return
        if account.present and not self._suffers(frozenset({party.name}), now - AFTERMATH):
            self._violated("members left", now, f"{room} ended with {len(account.present)} members")
        for number in list(account.present):  # a lease that is over ends a room at once, and no hook is asked
            self._leave(party, now, room, number, Code.WORKER_LOST)
        account.disposed = True
        self._forget(account)

    # Clients.

    def _ask(self, party: Party, now: float, number: int, client: int, seats: int) -> None:
        self.visits[number] = Visit(number, party, client, seats, now)

    def _send(self, party: Party, now: float, number: int, message: int) -> None:
        visit = self.visits.get(number)
        if visit is not None:
            visit.sent = max(visit.sent, message)
        self.counts["sent"] += 1

    def _enter(self, party: Party, now: float, number: int, room: str) -> None:
        visit = self._visit(now, number)
        if visit is None:
            return
        visit.entered = True
        if visit.room is None or visit.room.room != room:
            self._violated("no seat", now, f"{visit} entered {room}, and that does not know")

    def _give_up(self, party: Party, now: float, number: int, error: str) -> None:
        visit = self._visit(now, number)
        if visit is not None:
            self.counts[f"refused: {error}"] += 1
            self._finish(visit, now)

    def _read(self, party: Party, now: float, number: int, room: str, epoch: int, *places: Any) -> None:
        visit = self._visit(now, number)
        account = visit.room if visit is not None else None
        self.counts["deliveries"] += len(places) // 4
        if visit is None or account is None or account.room != room:
            where = account.room if account is not None else "no room"
            self._violated("crossed", now, f"{visit} in {where} read what {room} said", len(places) // 4)
            return
        for index in range(0, len(places), 4):
            self._reads(visit, account, now, epoch, *places[index : index + 4])

    def _reads(
        self, visit: Visit, room: RoomAccount, now: float, epoch: int, serial: int, offset: int, direct: int, all_: bool
    ) -> None:
        entry = room.entry(serial)
        if serial < visit.read_to:
            self._violated("doubled", now, f"{visit} read {serial} of {room.room} again, being at {visit.read_to}")
            return
        if entry is None:
            self._violated("never said", now, f"{visit} read {serial} of {room.room}, which has said {room.said}")
            return
        if not entry.is_for(visit.number):
            self._violated("crossed", now, f"{visit} read {serial} of {room.room}, which was not for it")
        elif serial > visit.read_to and (wanted := room.next_for(visit)) is not None and wanted < serial:
            self._violated("lost", now, f"{visit} read {serial} of {room.room}, and its next was {wanted}")
        if all_ != (not entry.to):
            self._violated("wrong kind", now, f"{serial} of {room.room} came to {visit} as the other kind")
        old_epoch, old_offset, old_direct = visit.place
        forward = offset >= old_offset and direct >= old_direct and offset + direct > old_offset + old_direct
        if old_epoch and (epoch != old_epoch or not forward):
            self._violated("places", now, f"{visit} is at {(epoch, offset, direct)} of {room.room} after {visit.place}")
        visit.place = (epoch, offset, direct)
        visit.read_to = serial + 1

    def _reset(self, party: Party, now: float, number: int, snapshot: int | None) -> None:
        visit = self._visit(now, number)
        room = visit.room if visit is not None else None
        if visit is None or room is None:
            return
        self.counts["resets"] += 1
        visit.place = (0, 0, 0)
        if snapshot is None:  # the room has ended, and this is its last word
            visit.read_to = room.said
        elif not visit.read_to <= snapshot <= room.said:
            self._violated("wrong reset", now, f"{visit} at {visit.read_to} was reset to {snapshot} of {room.said}")
        elif room.holds_since(visit, snapshot, now):
            missed = f"{visit.read_to} to {snapshot}"
            self._violated("needless reset", now, f"{visit} was reset over {missed}, which {room.room} remembered")
        if snapshot is not None:
            visit.read_to = max(visit.read_to, snapshot)

    def _acked(self, party: Party, now: float, number: int, message: int) -> None:
        visit = self._visit(now, number)
        if visit is None:
            return
        self.counts["acknowledged"] += 1
        if message not in visit.applied:
            self._violated("acked, not applied", now, f"{message} of {visit} was acknowledged and never applied")

    def _refused(self, party: Party, now: float, number: int, message: int) -> None:
        visit = self._visit(now, number)
        if visit is None:
            return
        visit.refused.add(message)
        if message in visit.applied:
            self._violated("refused, but applied", now, f"{message} of {visit} was refused and applied")

    def _unsure(self, party: Party, now: float, number: int, message: int) -> None:
        visit = self._visit(now, number)
        if visit is not None:
            visit.unsure.add(message)

    def _over(self, party: Party, now: float, number: int, error: str | None) -> None:
        visit = self._visit(now, number)
        if visit is None:
            return
        if visit.over:
            self._violated("told twice", now, f"{visit} ended again, with {error}")
            return
        self.counts[f"ended: {error}"] += 1
        room = visit.room
        if error in _LOST and room is not None and room.lost_at is None and visit.code != Code.WORKER_LOST:
            if not self._suffers(frozenset({room.worker.name}), now - AFTERMATH):
                self._violated("ended for no reason", now, f"{visit} was told that the worker of {room.room} is lost")
        elif room is not None and error in _ENDS.values() and visit.code:
            self._check_end(visit, room, now, str(error))
        self._finish(visit, now)

    def _check_end(self, visit: Visit, room: RoomAccount, now: float, error: str) -> None:
        if error != _ENDS.get(Code(visit.code)) and not self._excuse(visit, now - AFTERMATH):
            self._violated("wrong end", now, f"{visit} of {room.room} left with {visit.code}, and was told {error}")
        missing = room.next_for(visit) if error in ("RoomClosed", "BelowMinimum") else None
        if missing is not None and not visit.away and not self._excuse(visit, now - AFTERMATH):
            self._violated(
                "lost", now, f"{visit} never read {missing} of {room.room}, and that was said before its end"
            )

    def _misrouted(self, party: Party, now: float, client: int, bundles: int) -> None:
        self._violated("misrouted", now, f"{bundles} bundles of other streams came to client {client}", bundles)

    # Faults.

    def _fault(self, party: Party, now: float, what: str, things: list[str], seconds: float) -> None:
        if what:
            self.counts["faults"] += 1
            self.counts[f"fault: {what}"] += 1
        for thing in things:
            self._suffering[thing] = max(self._suffering.get(thing, 0.0), now + seconds)

    def _suffers(self, things: frozenset[str], since: float) -> bool:
        return any(self._suffering.get(thing, -inf) >= since for thing in things)

    def _excuse(self, visit: Visit, since: float) -> bool:
        things = {visit.party.name} | ({visit.room.worker.name} if visit.room is not None else set())
        return self._suffers(frozenset(things), since)

    # At any time, and at rest.

    def check(self, now: float) -> None:
        """What has to have happened by now, where no fault is an excuse any more. For every second or so."""
        for visit in list(self.visits.values()):
            if visit.room is None and visit.over and visit.done_at < now - PATIENCE:
                del self.visits[visit.number]  # given up; for as long, a room may have seated it all the same
            elif not visit.flagged and (wrong := self._stale(visit, now)):
                visit.flagged = True
                self._violated(wrong[0], now, wrong[1])
        for room in list(self.rooms.values()):
            room.forget()

    def _stale(self, visit: Visit, now: float) -> tuple[str, str] | None:
        before = now - PATIENCE
        if self._excuse(visit, before):
            return None
        wrong = self.at_rest(visit)
        if wrong is None:
            return None
        wanted = visit.room.next_for(visit) if visit.room is not None and not visit.over else None
        entry = visit.room.entry(wanted) if visit.room is not None and wanted is not None else None
        since = max(visit.asked_at, visit.done_at, visit.left_at or 0.0, entry.time if entry is not None else 0.0)
        return wrong if since < before else None

    def at_rest(self, visit: Visit) -> tuple[str, str] | None:
        """What is wrong with a visit if nothing is on its way any more: kind, and words."""
        room = visit.room
        here = room is not None and visit.number in room.present and room.lost_at is None
        if visit.over and here:
            return "ghost", f"{visit} is over, and {room and room.room} has a seat for it"
        if visit.over or not visit.entered:
            return None
        if not here:
            return "not told", f"{visit} is no member any more, and its client does not know"
        assert room is not None
        wanted = room.next_for(visit)
        if wanted is not None:
            return "lost", f"{visit} never read {wanted} of {room.room}, which has said {room.said}"
        settled = visit.applied | visit.turned_away | visit.refused | visit.unsure
        if len(settled) < visit.sent:
            missing = sorted(set(range(1, visit.sent + 1)) - settled)
            return "lost up", f"{missing[:5]} of {visit} were sent to {room.room} and never applied"
        return None

    def unrest(self) -> list[tuple[str, str]]:
        """What is wrong if nothing is on its way any more. For when everybody is calm."""
        return [wrong for visit in self.visits.values() if (wrong := self.at_rest(visit)) is not None]

    def rest(self, now: float) -> None:
        """Everybody has been calm for long: whatever is not as it has to be will never be."""
        for visit in self.visits.values():
            if not visit.flagged and (wrong := self.at_rest(visit)) is not None:
                visit.flagged = True
                self._violated(wrong[0], now, wrong[1])

    # Forgetting.

    def _finish(self, visit: Visit, now: float) -> None:
        """Its client says no more of it."""
        visit.over, visit.done_at = True, now
        if visit.room is not None and (visit.left_at is not None or visit.room.lost_at is not None):
            self._settle(visit)

    def _settle(self, visit: Visit) -> None:
        """Forget a visit that neither side will speak of again."""
        room = visit.room
        if visit.over and room is not None:
            self.visits.pop(visit.number, None)
            room.visits.pop(visit.number, None)
            self._forget(room)

    def _forget(self, room: RoomAccount) -> None:
        if (room.disposed or room.lost_at is not None) and not room.visits and self.rooms.get(room.room) is room:
            del self.rooms[room.room]
            self._finished[room.room] = None
            if len(self._finished) > _ROOMS_REMEMBERED:
                self._finished.popitem(last=False)

    # Small things.

    def _visit(self, now: float, number: int) -> Visit | None:
        visit = self.visits.get(number)
        if visit is None:
            self._violated("trace", now, f"a client tells of visit {number}, which there is not")
        return visit

    def _both(self, now: float, room: str, number: int) -> tuple[RoomAccount | None, Visit | None]:
        account, visit = self.rooms.get(room), self.visits.get(number)
        if account is None or visit is None:
            self._violated("unknown", now, f"{room} tells of visit {number}: both are to be known, and are not")
        return account, visit

    def _violated(self, kind: str, now: float, words: str, times: int = 1) -> None:
        self.violations[kind] += times
        if len(self.told) < _MOST_TOLD:
            self.told.append(f"{now:.3f}: {kind}: {words}")
