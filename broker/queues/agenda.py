"""What is to be looked at next: at a time, or since somebody came back."""

import math
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from .criteria import agree
from .index import Index
from .rooms import places_for
from .rules import Rules
from .shelf import Key, Shelf
from .tickets import Backfill, Ticket

__all__ = ["Agenda", "Event", "Refresh", "Turn"]

_CHUNK = 256
_KEPT_STALE = 1024


Turn = tuple[bool, int]
"""What comes first at one time: whether it is the end of a wait, and the ticket's number."""


class Event(NamedTuple):
    """Something that happens to a ticket by itself."""

    time: float
    kind: int
    number: int


class Agenda:
    """The times at which tickets are to be looked at.

    Whatever has come about by one time is taken by age: who has waited longest is looked at
    first, and the ends of waits come after all else, so that nobody is refused, or makes do
    with fewer, who could have a full match in that moment. Whose time came first by a
    millisecond does not count: it would only say by how much the server was late.

    Args:
        waiting: the tickets that wait, by number: what others were to be looked at for is passed over.
    """

    REGION, WINDOW, OVERDUE = 0, 1, 2

    def __init__(self, waiting: Mapping[int, Ticket]) -> None:
        self._waiting = waiting
        self._events: list[Event] = []
        self._come: list[tuple[bool, int, Event]] = []
        """Those that have come about, by their turns."""

    def __len__(self) -> int:
        return len(self._events) + len(self._come)

    def put(self, time: float, kind: int, ticket: Ticket) -> None:
        """A wait ends, or a region comes near enough."""
        if len(self._events) > _KEPT_STALE + 4 * len(self._waiting):
            self._events = [event for event in self._events if self._stands(event)]
            heapify(self._events)
        heappush(self._events, Event(time, kind, ticket.number))

    def look(self, time: float, ticket: Ticket) -> None:
        """Look at a ticket at a time, unless it is to be looked at before that anyway."""
        if time < ticket.due:
            ticket.due = time
            self.put(time, self.WINDOW, ticket)

    def gather(self, now: float) -> bool:
        """Find out what has come about: to be called until it says that this was all."""
        events, come = self._events, self._come
        for _ in range(_CHUNK):
            if not events or events[0].time > now:
                return True
            event = heappop(events)
            if self._stands(event):
                heappush(come, (event.kind == self.OVERDUE, event.number, event))
        return False

    def turn(self) -> Turn | None:
        """The turn of the first that has come about."""
        come = self._come
        while come:
            ends, number, event = come[0]
            if self._stands(event):
                return ends, number
            heappop(come)
        return None

    def pop(self) -> Event:
        """Take that one. Raises IndexError when there is none."""
        return heappop(self._come)[-1]

    def due(self) -> float:
        """When the next comes about; infinite: never."""
        if self.turn() is not None:
            return self._come[0][-1].time
        while self._events:
            if self._stands(self._events[0]):
                return self._events[0].time
            heappop(self._events)
        return math.inf

    def _stands(self, event: Event) -> bool:
        ticket = self._waiting.get(event.number)
        return ticket is not None and (event.kind != self.WINDOW or ticket.due == event.time)


class Refresh:
    """Somebody with an old place came, or may meet others from now on: the younger ones around have to know.

    Args:
        rules: the policy.
        index: who can be matched.
        whose: the ticket, or the room.
        reached: whether those that it fits with by now are to be looked at too, or only those that come later.
        anywhere: whether they may meet by now however narrow their own windows are, thanks to somebody overdue.
    """

    def __init__(
        self, rules: Rules, index: Index, whose: Ticket | Backfill, reached: bool, anywhere: bool = False
    ) -> None:
        self.whose = whose
        self._rules = rules
        self._reached = reached
        self._anywhere = anywhere
        most = math.inf if rules.window is None or whose.rating is None else rules.window.most
        self._rating = whose.rating or 0.0
        self._high = self._rating + most
        self._start: Key = (self._rating - most, -math.inf)
        self._shelves: list[Shelf[Ticket]] = [
            shelf
            for group in index.groups(whose.signature)
            for shelf in group.shelves.values()
            if shelf and self._wanted(next(iter(shelf)))
        ]
        self._after: Key = self._start

    def step(self, agenda: Agenda, now: float) -> bool:
        """Tell some of them. Whether that was all."""
        if not self._shelves:
            return True
        told = self._shelves[-1].after(self._after, _CHUNK)
        whose, window = self.whose, self._rules.window
        for ticket in told:
            if ticket.rating > self._high:
                break
            if not agree(whose.signature, ticket.signature):
                continue
            if isinstance(whose, Ticket):
                if ticket.place <= whose.place:
                    continue
                since = ticket.since
            else:
                since = max(whose.since, ticket.since)
            time = now
            if window is not None and whose.rating is not None and not self._anywhere:
                time = since + window.reached(abs(ticket.rating - self._rating))
            if time > now or self._reached:
                agenda.look(max(now, time), ticket)
        else:
            if len(told) == _CHUNK:
                self._after = told[-1].key
                return False
        self._shelves.pop()
        self._after = self._start
        return not self._shelves

    def _wanted(self, one: Ticket) -> bool:
        return isinstance(self.whose, Ticket) or places_for(one, self.whose) is not None
