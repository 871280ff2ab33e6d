"""The matcher of one queue: pure, and bounded in what one call does.

Tickets enter one at a time. Who enters gets the match that it completes, with those
who have waited longest among those that it fits with. When a window widens, a wait
ends or a region comes near enough, whom that concerns is looked at again.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ...protocol.errors import TicketError
from .criteria import chosen, common
from .explain import Obstacle, Why, obstacle, room_obstacle
from .gather import Gathering
from .match import Match, Progress, quality_of
from .queue import MatchQueue
from .rooms import fill, places_for
from .rules import Rules
from .teams import Place
from .tickets import Backfill, Ticket, TicketEvent, TicketState
from .waits import Waits

__all__ = ["Matcher"]

_MOST_REASONS = 20


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
        self._waiting: dict[int, Ticket] = {}
        self._aside: dict[int, Ticket] = {}
        self._entering: deque[Ticket] = deque()
        self._rooms: dict[str, Backfill] = {}
        self._seeking: deque[Backfill] = deque()
        self._refused: list[Ticket] = []
        self._waits = Waits()
        self._due = math.inf

    def __len__(self) -> int:
        """Tickets that wait; those whose owner is away are not among them."""
        return len(self._waiting) + sum(ticket.state is TicketState.WAITING for ticket in self._entering)

    @property
    def rooms(self) -> int:
        """Rooms that seek members."""
        return len(self._rooms)

    # What happens to tickets and rooms.

    def add(self, ticket: Ticket, now: float) -> None:
        """A ticket enters, after ``on_ticket`` has given its ratings.

        Raises:
            TicketError: it asks for what this queue does not allow; the sentence says what it does.
        """
        self.queue.check(ticket)
        self.queue.check_rating(ticket)
        self._entering.append(ticket)

    def remove(self, ticket: Ticket) -> None:
        """A ticket is out, whatever it was: call it with the event that ends it, before or after."""
        self._waiting.pop(ticket.number, None)
        self._aside.pop(ticket.number, None)
        if ticket in self._entering:
            self._entering.remove(ticket)

    def set_aside(self, ticket: Ticket) -> None:
        """Its owner is away: it can't be matched, and keeps its place."""
        ticket.step(TicketEvent.LEAVE)
        self.remove(ticket)
        self._aside[ticket.number] = ticket

    def bring_back(self, ticket: Ticket) -> None:
        """Its owner is here again."""
        ticket.step(TicketEvent.RETURN)
        del self._aside[ticket.number]
        self._entering.append(ticket)

    def put_back(self, tickets: Iterable[Ticket]) -> None:
        """Their match came to nothing, and that was not their doing: they have the places that they had."""
        for ticket in tickets:
            ticket.step(TicketEvent.PUT_BACK)
            self._entering.append(ticket)

    def seek(self, backfill: Backfill) -> None:
        """A room seeks members, in place of what it sought before. Raises TicketError."""
        self.queue.check_backfill(backfill)
        self._rooms[backfill.room] = backfill
        self._seeking.append(backfill)

    def stop_seeking(self, room: str) -> None:
        """A room seeks no more."""
        self._rooms.pop(room, None)

    # What comes of it.

    def work(self, now: float, steps: int = 256) -> tuple[list[Match], bool]:
        """Do what there is to do, in steps of about 10 to 100 microseconds.

        Returns:
            The matches that were made, and whether there is more to do.
        """
        matches: list[Match] = []
        while self._entering:
            ticket = self._entering.popleft()
            self._waiting[ticket.number] = ticket
            self._settle(now, matches)
        self._seeking.clear()
        self._settle(now, matches)
        self._due = self._next(now)
        return matches, False

    def due(self) -> float | None:
        """When something can change without anybody coming; None: never."""
        if self._entering or self._seeking:
            return -math.inf
        return None if math.isinf(self._due) else self._due

    def take_refused(self) -> list[Ticket]:
        """The tickets whose ``max_wait`` ended in a refusal since the last call; they are refused already."""
        refused, self._refused = self._refused, []
        return refused

    def take_failure(self) -> Exception | None:
        """What a hook of the policy raised since the last call: the last of it."""
        failure, self._rules.failure = self._rules.failure, None
        return failure

    # What clients may ask.

    def progress(self, ticket: Ticket, now: float) -> Progress:
        """Where a ticket stands."""
        place = ticket.place
        ahead = sum(other.place < place for other in self._waiting.values())
        window = self._rules.reach(ticket, now)
        estimate = self._waits.estimate(now - ticket.since)
        return Progress(ahead + 1, len(self), estimate, None if math.isinf(window) else window)

    def why(self, ticket: Ticket, now: float) -> Why:
        """Which candidates there are, and which rule keeps each away."""
        others = sorted(
            (other for other in self._waiting.values() if other is not ticket),
            key=lambda other: (abs(other.rating - ticket.rating), other.place),
        )
        obstacles: list[Obstacle] = [
            room_obstacle(self._rules, ticket, room, places_for(ticket, room) is not None, now)
            for room in list(self._rooms.values())[:_MOST_REASONS]
        ]
        obstacles += [obstacle(self._rules, ticket, other, now) for other in others[:_MOST_REASONS]]
        players = ticket.size + sum(other.size for other in others if self._rules.meet(ticket, other, now))
        full = self._rules.shape.full
        summary = f"{min(players, full)} of {full} players that fit together wait"
        return Why(ticket.number, ticket.state.value, summary, len(others) + len(self._rooms), obstacles)

    # Inside.

    def _settle(self, now: float, matches: list[Match]) -> None:
        """Match all that can be matched, who has waited longest first."""
        found = True
        while found:
            found = False
            for ticket in sorted(self._waiting.values(), key=lambda ticket: ticket.place):
                match = self._evaluate(ticket, now)
                if match is not None:
                    matches.append(match)
                    found = True
                    break
                if self._rules.overdue(ticket, now) and self.queue.then == "refuse":
                    ticket.step(TicketEvent.REFUSE)
                    self._waiting.pop(ticket.number)
                    self._refused.append(ticket)

    def _evaluate(self, ticket: Ticket, now: float) -> Match | None:
        if self.queue.prefer_backfill:
            return self._enter_room(ticket, now) or self._match_up(ticket, now)
        return self._match_up(ticket, now) or self._enter_room(ticket, now)

    def _enter_room(self, ticket: Ticket, now: float) -> Match | None:
        rooms = self._rooms.values()
        order = sorted(rooms, key=lambda room: (room.missing if self.queue.prefer_backfill else 0, room.place))
        for room in order:
            places = places_for(ticket, room) if self._rules.enters(ticket, room, now) else None
            if places is not None:
                fill(room, places)
                if not room.missing:
                    del self._rooms[room.room]
                return self._made([ticket], {places[0].team: places}, room.region, {}, room.room, now)
        return None

    def _match_up(self, ticket: Ticket, now: float) -> Match | None:
        """The match whose youngest ticket is this one."""
        rules, shape, then = self._rules, self._rules.shape, self.queue.then
        older = [other for other in self._waiting.values() if other.place < ticket.place]
        limit = rules.reach(ticket, now)
        near = [other for other in older if rules.meet(ticket, other, now)]
        found = self._gather(ticket, near, limit, shape.full, now, None)
        if found is not None:
            return found

        def has_overdue(tickets: Sequence[Ticket]) -> bool:
            return any(rules.overdue(one, now) for one in tickets)

        if then == "wider" and rules.window is not None:
            return self._gather(ticket, near, rules.window.most, shape.full, now, has_overdue)
        if then in ("smaller", "bots"):
            sizes = shape.sizes[1:] if then == "smaller" else range(shape.full - 1, shape.fewest - 1, -1)
            for size in sizes:
                found = self._gather(ticket, near, limit, size, now, has_overdue)
                if found is not None:
                    return found
        return None

    def _gather(
        self,
        ticket: Ticket,
        near: Iterable[Ticket],
        limit: float,
        size: int,
        now: float,
        wants: Callable[[Sequence[Ticket]], bool] | None,
    ) -> Match | None:
        gathering = Gathering(self._rules, [ticket], self._rules.ordered(ticket, near), limit, size, now, wants)
        tickets = gathering.find()
        if tickets is None:
            return None
        region = None
        if self._rules.latency is not None:
            shared = frozenset.intersection(*(self._rules.regions(one, now) or frozenset() for one in tickets))
            region = min(shared, key=lambda name: (max(one.round_trips[name] for one in tickets), name))
        bots: dict[str, int] = {}
        if self.queue.then == "bots":
            lacking = {name: places - len(gathering.teams[name]) for name, places in self._rules.shape.teams}
            bots = {name: count for name, count in lacking.items() if count}
        return self._made(tickets, gathering.teams, region, bots, None, now)

    def _made(
        self,
        tickets: list[Ticket],
        teams: dict[str, list[Place]],
        region: str | None,
        bots: dict[str, int],
        room: str | None,
        now: float,
    ) -> Match:
        for ticket in tickets:
            ticket.step(TicketEvent.PROPOSE)
            del self._waiting[ticket.number]
            self._waits.add(now - ticket.since)
        accepted = tickets[0].signature
        for ticket in tickets[1:]:
            shared = common(accepted, ticket.signature)
            if shared is None:
                raise TicketError("tickets were matched that do not agree")
            accepted = shared
        criteria = {
            name: chosen(values, [one.criteria[name] for one in tickets if name in one.criteria])
            for name, values in zip(self.queue.hard, accepted, strict=True)
            if values is not None
        }
        return Match(tickets, teams, region, bots, room, quality_of(tickets, teams, region, now), criteria)

    def _next(self, now: float) -> float:
        """The next time at which a window reaches somebody, a region comes near enough or a wait ends."""
        rules = self._rules
        times: list[float] = []
        waiting = list(self._waiting.values())
        for index, ticket in enumerate(waiting):
            times.append(ticket.since + rules.max_wait)
            if rules.latency is not None:
                times += [ticket.since + rules.latency.reached(seconds) for seconds in ticket.round_trips.values()]
            if rules.window is not None:
                others: list[Ticket | Backfill] = [*waiting[:index], *self._rooms.values()]
                for other in others:
                    if other.rating is not None:
                        distance = abs(ticket.rating - other.rating)
                        times.append(max(ticket.since, other.since) + rules.window.reached(distance))
        return min((time for time in times if time > now), default=math.inf)
