"""Hours of a queue in seconds: the real matcher, on a clock that jumps from one event to the next."""

import heapq
import math
from collections.abc import Iterator
from random import Random

from ..broker.queues import Entrant, Match, Matcher, MatchQueue, Ticket, TicketEvent, TicketState
from ..protocol.errors import ConfigError, TicketError
from .crowd import Crowd, Newcomer
from .waiting import Counts

__all__ = ["QueueRun"]

_SAMPLES = 1200
"""Moments at which the tickets that wait are counted."""
_EVENTS = 500
"""Between two looks at how far it is."""
_STEP = 1e-6
"""Seconds that the clock goes on at least: who says that something is due now must not stop it."""
_QUICKEST = 1.0
"""Seconds that a player takes at least to answer whether it accepts."""


class QueueRun:
    """One policy with one crowd.

    What a crowd has and the policy does not ask for is left out, so that several policies
    can have the same crowd. ``on_ticket`` is not called: the crowd has its ratings.

    Args:
        policy: what is tried.
        name: what to call it.
        crowd: who comes.
        seconds: how long, in virtual seconds. Who waits then still waits.
        declines: the share of players that do not accept a match, where the policy asks them.
    """

    def __init__(self, policy: MatchQueue, name: str, crowd: Crowd, seconds: float, declines: float = 0.0) -> None:
        self.counts = Counts(name)
        self._policy = policy
        self._matcher = Matcher(policy, name)
        self._crowd = crowd
        self._seconds = seconds
        self._declines = declines
        self._answers = Random(f"{crowd.seed} answers")
        self._live: dict[int, Ticket] = {}
        self._leaving: list[tuple[float, int]] = []
        """When somebody's patience ends, and whose."""
        self._asked: list[tuple[float, int, Match, Ticket | None]] = []
        """When it is known what becomes of a match that was proposed, and who declines it."""
        self._next_number = 1
        self._next_sample = 0.0

    def __len__(self) -> int:
        """Tickets that wait."""
        return len(self._live)

    def run(self) -> Iterator[float]:
        """Play it. Tells now and then which second it is; ``counts`` has the rest.

        Raises:
            ConfigError: the queue refuses a ticket, one of its hooks raises, or the recording can't be read.
        """
        counts, newcomers = self.counts, self._crowd.newcomers(self._seconds)
        coming = next(newcomers, None)
        events = 0
        while (now := max(counts.now, self._next_time(coming))) <= self._seconds:
            counts.now = now
            if coming is not None and coming.at <= now:
                self._enter(coming)
                coming = next(newcomers, None)
            while self._leaving and self._leaving[0][0] <= now:
                self._leave(self._live.get(heapq.heappop(self._leaving)[1]))
            while self._asked and self._asked[0][0] <= now:
                self._decide(*heapq.heappop(self._asked)[2:])
            self._work()
            if now >= self._next_sample:
                counts.sample(now, len(self._live))
                self._next_sample = now + self._seconds / _SAMPLES
            events += 1
            if events % _EVENTS == 0:
                yield now
        counts.now = self._seconds
        for ticket in self._live.values():
            self._count(ticket)
        yield self._seconds

    def _next_time(self, coming: Newcomer | None) -> float:
        due = self._matcher.due()
        return min(
            math.inf if coming is None else coming.at,
            self._leaving[0][0] if self._leaving else math.inf,
            self._asked[0][0] if self._asked else math.inf,
            math.inf if due is None else max(due, self.counts.now + _STEP),
        )

    def _enter(self, coming: Newcomer) -> None:
        policy, number = self._policy, self._next_number
        self._next_number += 1
        known = frozenset(policy.roles or ())
        regions = {
            name: seconds
            for name, seconds in coming.regions.items()
            if policy.latency is not None and (not policy.regions or name in policy.regions)
        }
        entrants = tuple(
            Entrant(f"{number}.{index}", number, rating, known.intersection(roles), regions)
            for index, (rating, roles) in enumerate(zip(coming.ratings, coming.roles, strict=True))
        )
        asked = {name: coming.criteria[name] for name in (*policy.hard, *policy.prefer) if name in coming.criteria}
        try:
            ticket = Ticket(number, entrants, coming.at, policy.read(asked))
            self._matcher.add(ticket, self.counts.now)
        except TicketError as error:
            raise ConfigError(
                f"{self.counts.policy} refuses the ticket that comes at {coming.at:g} s: {error}"
            ) from error
        self._live[number] = ticket
        if coming.patience is not None:
            heapq.heappush(self._leaving, (coming.at + coming.patience, number))

    def _leave(self, ticket: Ticket | None) -> None:
        if ticket is None:
            return  # it has ended
        if ticket.state is TicketState.PROPOSED:  # it looks at its match: should that come to nothing, it leaves then
            heapq.heappush(self._leaving, (self.counts.now + (self._policy.accept or 0.0), ticket.number))
            return
        self._end(ticket, TicketEvent.CANCEL)

    def _end(self, ticket: Ticket, event: TicketEvent) -> None:
        self._matcher.remove(ticket)
        ticket.step(event)
        del self._live[ticket.number]
        self._count(ticket)

    def _count(self, ticket: Ticket) -> None:
        how = "waiting" if ticket.number in self._live else ticket.state.value
        self.counts.end(how, self.counts.now - ticket.since, ticket.rating, ticket.size)

    def _work(self) -> None:
        more = True
        while more:
            matches, more = self._matcher.work(self.counts.now)
            for match in matches:
                self._propose(match)
        for ticket in self._matcher.take_refused():
            del self._live[ticket.number]
            self._count(ticket)
        failure = self._matcher.take_failure()
        if failure is not None:
            raise ConfigError(f"a hook of {self.counts.policy} raised {type(failure).__name__}: {failure}") from failure

    def _propose(self, match: Match) -> None:
        if self._policy.accept is None:
            self._decide(match, None)
            return
        answered, declining = 0.0, None
        for ticket in match.tickets:
            for _ in ticket.entrants:
                seconds = self._answers.uniform(min(_QUICKEST, self._policy.accept), self._policy.accept)
                answered = max(answered, seconds)
                if self._answers.random() < self._declines and declining is None:
                    declining = ticket
        heapq.heappush(self._asked, (self.counts.now + answered, match.tickets[0].number, match, declining))

    def _decide(self, match: Match, declining: Ticket | None) -> None:
        if declining is not None:
            self._end(declining, TicketEvent.CANCEL)
            self._matcher.put_back(ticket for ticket in match.tickets if ticket is not declining)
            return
        for ticket in match.tickets:
            self._end(ticket, TicketEvent.MATCH)
        players = sum(ticket.size for ticket in match.tickets)
        self.counts.match(
            [[place.entrant.rating or 0.0 for place in places] for places in match.teams.values()],
            short=players < self._policy.shape.full,
            bots=sum(match.bots.values()),
        )
