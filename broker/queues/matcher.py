"""The matcher of one queue: pure, incremental, and bounded in what one call does.

Tickets enter one at a time. Who enters gets the match that it completes, with those
who have waited longest among those that it fits with. When a window widens far
enough, a region comes near enough or a wait ends, those whom that concerns are
looked at again; the times are worked out, nothing is polled, and nobody is compared
with everybody.

**Nobody is passed over without bound.** A match has an oldest and a youngest ticket.
When a match takes somebody that a waiting ticket could have had, one of those in it
has waited longer than the waiting ticket. So a ticket is passed over at most once for
each ticket that stood before it when it entered (once more each time that such a one
is put back); who enters later, however many, never comes first. Preferences shift this
by at most the seconds that they are worth.

This holds because all of one moment are looked at by age, those who come back among
them: each match is found from its youngest, so whoever could be in a match of older
ones alone has had it before. Hence what a return or a region changes is first told to
all whom it concerns, and rooms are open to nobody before those who have waited longest
for one have entered. Only then come the ends of waits, by age too: whoever makes do with
less takes nobody out of a full match of this moment, and of several who are put back
after their waits each counts on all the others. Those who are new come last.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush, merge

from .agenda import Agenda, Event, Refresh, Turn
from .criteria import Scalar, chosen, common
from .explain import Why, explain
from .horizon import Horizon
from .index import Index
from .match import Match, Progress, quality_of
from .queue import MatchQueue
from .rooms import SeekingRooms, fill, places_for
from .rules import Rules
from .search import Search
from .shelf import Shelf, padded
from .teams import Place
from .tickets import Backfill, Ticket, TicketEvent
from .waits import Waits

__all__ = ["Matcher"]

_COST_OF_A_STEP = 16
"""Candidates looked at that count as a step."""
_MOST_ENTERING = 2048
"""Tickets that are looked at when a room begins to seek, before the rest is looked at one by one."""


class Matcher:
    """Puts the tickets of one queue together. No sockets, no clock: time is an argument, in monotonic seconds.

    After ``add``, ``bring_back``, ``put_back`` or ``seek``, and whenever ``due()`` is reached, call ``work``
    until it has no more to do.

    Args:
        queue: the policy.
        name: of the queue.

    Raises:
        ConfigError: the policy makes no sense.
    """

    def __init__(self, queue: MatchQueue, name: str) -> None:
        self.queue = queue
        self.name = name
        self._rules = Rules(queue)
        self._index = Index()
        self._rooms = SeekingRooms()
        self._search = Search(self._rules, self._index)
        self._horizon = Horizon(self._rules, self._index, self._rooms)
        self._waiting: dict[int, Ticket] = {}
        self._line: Shelf[Ticket] = Shelf()
        """Those that wait by their places."""
        self._overdue: set[int] = set()
        """Those that take what ``then`` gives them, and don't insist on a full match any more."""
        self._aside: set[int] = set()
        self._entering: list[int] = []
        """The numbers of those that come, or come back: who has waited longest first."""
        self._newest = 0
        """The highest number that has entered: whoever has a lower one comes late, or comes back."""
        self._pending: dict[int, Ticket] = {}
        """Those in ``_entering`` that have not been taken out again."""
        self._seeking: dict[str, Backfill] = {}
        """Rooms that nobody may enter before those who have waited longest have."""
        self._agenda = Agenda(self._waiting)
        self._refreshes: deque[Refresh] = deque()
        self._refused: list[Ticket] = []
        self._waits = Waits()

    def __len__(self) -> int:
        """Tickets that wait; those whose owner is away are not among them."""
        return len(self._waiting) + len(self._pending)

    @property
    def rooms(self) -> int:
        """Rooms that seek members."""
        return len(self._rooms) + len(self._seeking)

    # What happens to tickets and rooms.

    def add(self, ticket: Ticket, now: float) -> None:
        """A ticket enters, after ``on_ticket`` has given its ratings.

        Raises:
            TicketError: it asks for what this queue does not allow; the sentence says what it does.
        """
        self.queue.check(ticket)
        self.queue.check_rating(ticket)
        self._come(ticket)

    def remove(self, ticket: Ticket) -> None:
        """A ticket is out: it was cancelled, or has expired. Its state is the caller's to change."""
        self._aside.discard(ticket.number)
        self._pending.pop(ticket.number, None)
        if ticket.number in self._waiting:
            self._take_out(ticket)

    def set_aside(self, ticket: Ticket) -> None:
        """Its owner is away: it can't be matched, and keeps its place. Raises IllegalTransition."""
        ticket.step(TicketEvent.LEAVE)
        self.remove(ticket)
        self._aside.add(ticket.number)

    def bring_back(self, ticket: Ticket) -> None:
        """Its owner is here again. Raises IllegalTransition."""
        ticket.step(TicketEvent.RETURN)
        self._aside.discard(ticket.number)
        self._come(ticket)

    def put_back(self, tickets: Iterable[Ticket]) -> None:
        """Their match came to nothing, and not by their doing: they have the places that they had.

        Raises IllegalTransition.
        """
        for ticket in tickets:
            ticket.step(TicketEvent.PUT_BACK)
            self._come(ticket)

    def seek(self, backfill: Backfill) -> None:
        """A room seeks members, in place of what it sought before. Raises TicketError."""
        self.queue.check_backfill(backfill)
        self.stop_seeking(backfill.room)
        if backfill.missing:
            self._seeking[backfill.room] = backfill

    def stop_seeking(self, room: str) -> None:
        """A room seeks no more."""
        self._rooms.remove(room)
        self._seeking.pop(room, None)

    # What comes of it.

    def work(self, now: float, steps: int = 128) -> tuple[list[Match], bool]:
        """Do what there is to do, up to a number of steps of some 20 to 50 microseconds each.

        Returns:
            The matches that were made, and whether there is more to do.
        """
        agenda = self._agenda
        matches: list[Match] = []
        done = 0
        start = self._search.cost
        while done + (self._search.cost - start) // _COST_OF_A_STEP < steps:
            done += 1
            if self._refreshes:
                self._refresh(now)
            elif agenda.gather(now):
                turn = agenda.turn()
                if self._entering and self._is_before(turn):
                    self._enter(heappop(self._entering), now, matches)
                elif turn is not None:
                    self._come_about(agenda.pop(), now, matches)
                elif self._seeking:
                    self._fill_room(self._seeking.pop(next(iter(self._seeking))), now, matches)
                elif self._entering:
                    self._enter(heappop(self._entering), now, matches)
                else:
                    return matches, False
        return matches, True

    def due(self) -> float | None:
        """When ``work`` has something to do without anybody coming: a time, possibly past; None: never."""
        if self._pending or self._seeking or self._refreshes:
            return -math.inf
        due = self._agenda.due()
        return None if math.isinf(due) else due

    def take_refused(self) -> list[Ticket]:
        """The tickets whose ``max_wait`` ended in a refusal since the last call; their state says so already."""
        refused, self._refused = self._refused, []
        return refused

    def take_failure(self) -> Exception | None:
        """What a hook of the policy raised since the last call: the last of it."""
        failure, self._rules.failure = self._rules.failure, None
        return failure

    # What clients may ask.

    def progress(self, ticket: Ticket, now: float) -> Progress:
        """Where a ticket stands."""
        window = self._rules.reach(ticket, now)
        estimate = self._waits.estimate(now - ticket.since)
        position = self._line.rank(ticket.place) + 1
        return Progress(position, len(self), estimate, None if math.isinf(window) else window)

    def why(self, ticket: Ticket, now: float) -> Why:
        """Which candidates there are, and which rule keeps each away, by the rules that decide."""
        return explain(self._rules, self._index, self._rooms, self._search, ticket, now)

    # Inside.

    def _come(self, ticket: Ticket) -> None:
        heappush(self._entering, ticket.number)
        self._pending[ticket.number] = ticket

    def _is_before(self, turn: Turn | None) -> bool:
        """Whether the next to come comes back, and before what else is there to do."""
        number = self._entering[0]
        return number <= self._newest and (turn is None or (False, number) < turn)

    def _enter(self, number: int, now: float, matches: list[Match]) -> None:
        ticket = self._pending.pop(number, None)
        if ticket is None:
            return  # it was taken out before its turn
        self._newest = max(self._newest, number)
        if self._look(ticket, now, matches):
            return
        rules, agenda = self._rules, self._agenda
        returned = bool(self._line) and ticket.place < self._line.last()
        self._waiting[number] = ticket
        self._index.add(ticket)
        self._line.add(ticket.place, ticket)
        if rules.max_wait < math.inf:
            agenda.put(ticket.since + rules.max_wait, agenda.OVERDUE, ticket)
        if rules.latency is not None:
            for seconds in ticket.round_trips.values():
                time = ticket.since + rules.latency.reached(seconds)
                if now < time < math.inf:
                    agenda.put(time, agenda.REGION, ticket)
        if returned:
            self._tell_younger(ticket)

    def _come_about(self, event: Event, now: float, matches: list[Match]) -> None:
        ticket = self._waiting[event.number]
        overdue = event.kind == self._agenda.OVERDUE
        if overdue and self.queue.then == "refuse":
            self._refuse(ticket)
            return
        if overdue:
            self._overdue.add(ticket.number)
        found = self._look(ticket, now, matches, among_younger=overdue)
        if not found and event.kind != self._agenda.WINDOW:
            self._tell_younger(ticket)

    def _tell_younger(self, ticket: Ticket) -> None:
        anywhere = self.queue.then == "wider" and bool(self._overdue)
        self._refreshes.append(Refresh(self._rules, self._index, ticket, True, anywhere))

    def _refuse(self, ticket: Ticket) -> None:
        ticket.step(TicketEvent.REFUSE)
        self._take_out(ticket)
        self._refused.append(ticket)

    def _look(self, ticket: Ticket, now: float, matches: list[Match], among_younger: bool = False) -> bool:
        """Whether a ticket can be matched now; if not, when to look again."""
        ticket.due = math.inf
        if (
            (self.queue.prefer_backfill and self._enter_room(ticket, now, matches))
            or self._match_up(ticket, now, matches, among_younger)
            or (not self.queue.prefer_backfill and self._enter_room(ticket, now, matches))
        ):
            return True
        shape = self._rules.shape
        needed = shape.fewest if self._overdue else shape.full
        self._agenda.look(self._horizon.next(ticket, now, needed), ticket)
        return False

    def _match_up(self, ticket: Ticket, now: float, matches: list[Match], among_younger: bool) -> bool:
        search = self._search
        found = search.match_overdue(ticket, now) if among_younger else search.match(ticket, now, self._overdue)
        if found is None:
            return False
        tickets, teams = found
        region = None
        if self._rules.latency is not None:
            shared = frozenset.intersection(*(self._rules.regions(one, now) or frozenset() for one in tickets))
            region = min(shared, key=lambda name: (max(one.round_trips[name] for one in tickets), name))
        bots: dict[str, int] = {}
        if self.queue.then == "bots":
            lacking = {name: places - len(teams[name]) for name, places in self._rules.shape.teams}
            bots = {name: count for name, count in lacking.items() if count}
        self._make(tickets, teams, region, bots, None, now, matches)
        return True

    def _enter_room(self, ticket: Ticket, now: float, matches: list[Match]) -> bool:
        if not self._rooms:
            return False
        near = self._rooms.near(ticket, self._rules.reach(ticket, now))
        self._search.cost += len(near)
        by_missing = self.queue.prefer_backfill
        for room in sorted(near, key=lambda room: (room.missing if by_missing else 0, room.place)):
            places = places_for(ticket, room) if self._rules.enters(ticket, room, now) else None
            if places is not None:
                self._into_room(ticket, room, places, now, matches)
                return True
        return False

    def _fill_room(self, backfill: Backfill, now: float, matches: list[Match]) -> None:
        """A room seeks from now on: those who have waited longest come into it."""
        rules = self._rules
        limit = (
            math.inf if rules.window is None or backfill.rating is None else rules.window.after(now - backfill.since)
        )
        low, high = padded(backfill.rating or 0.0, limit)
        shelves = [
            shelf
            for group in self._index.groups(backfill.signature)
            for shelf in group.shelves.values()
            if shelf and places_for(next(iter(shelf)), backfill) is not None
        ]
        coming: list[tuple[Ticket, list[Place]]] = []
        looked = 0
        left = backfill.missing
        for ticket in merge(*(shelf.oldest(low, high) for shelf in shelves), key=lambda ticket: ticket.place):
            looked += 1
            if looked > _MOST_ENTERING or not left:
                break
            places = places_for(ticket, backfill) if rules.enters(ticket, backfill, now) else None
            if places is not None:
                fill(backfill, places)
                left -= len(places)
                coming.append((ticket, places))
        self._search.cost += looked
        for ticket, places in coming:
            self._make([ticket], {places[0].team: places}, backfill.region, {}, backfill.room, now, matches)
        if left:
            self._rooms.add(backfill)
            self._refreshes.append(Refresh(rules, self._index, backfill, looked > _MOST_ENTERING))

    def _into_room(self, ticket: Ticket, room: Backfill, places: list[Place], now: float, matches: list[Match]) -> None:
        fill(room, places)
        if not room.missing:
            self._rooms.remove(room.room)
        self._make([ticket], {places[0].team: places}, room.region, {}, room.room, now, matches)

    def _refresh(self, now: float) -> None:
        refresh = self._refreshes[0]
        whose = refresh.whose
        there = whose.number in self._waiting if isinstance(whose, Ticket) else whose in self._rooms
        self._search.cost += _COST_OF_A_STEP * 4
        if not there or refresh.step(self._agenda, now):
            self._refreshes.popleft()

    def _make(
        self,
        tickets: Sequence[Ticket],
        teams: Mapping[str, Sequence[Place]],
        region: str | None,
        bots: Mapping[str, int],
        room: str | None,
        now: float,
        matches: list[Match],
    ) -> None:
        for ticket in tickets:
            ticket.step(TicketEvent.PROPOSE)
            if ticket.number in self._waiting:
                self._take_out(ticket)
            self._waits.add(now - ticket.since)
        criteria = self._agreed(tickets) if self.queue.hard else {}
        matches.append(Match(tickets, teams, region, bots, room, quality_of(tickets, teams, region, now), criteria))

    def _agreed(self, tickets: Sequence[Ticket]) -> dict[str, Scalar]:
        accepted = tickets[0].signature
        for ticket in tickets[1:]:
            shared = common(accepted, ticket.signature)
            assert shared is not None, "tickets were matched that do not agree"
            accepted = shared
        return {
            name: chosen(values, [one.criteria[name] for one in tickets if name in one.criteria])
            for name, values in zip(self.queue.hard, accepted, strict=True)
            if values is not None
        }

    def _take_out(self, ticket: Ticket) -> None:
        del self._waiting[ticket.number]
        self._index.remove(ticket)
        self._line.remove(ticket.place)
        self._overdue.discard(ticket.number)
        ticket.due = math.inf
