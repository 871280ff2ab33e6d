"""Whatever happens to a queue, in whatever order: nobody is matched who can't be, and no match is overlooked."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from server_room_system.broker.queues import Backfill, Entrant, Match, Matcher, MatchQueue, Ticket, TicketState
from tests.broker.queues import naive
from tests.broker.queues.policies import POLICIES

MOST_WAITING = 8


class Line(RuleBasedStateMachine):
    """One queue of a policy, and what ought to be true of it."""

    policy: type[MatchQueue] = MatchQueue

    tickets = Bundle("tickets")

    @initialize(span=st.sampled_from([3, 6, 12, 20]))
    def begin(self, span: int) -> None:
        self.ratings = st.integers(0, span).map(lambda number: 50.0 * number)
        self.queue = self.policy()
        self.matcher = Matcher(self.queue, "queue")
        self.now = 1000.0
        self.waiting: dict[int, Ticket] = {}
        self.aside: dict[int, Ticket] = {}
        self.proposed: list[Match] = []
        self.rooms: dict[str, Backfill] = {}
        self.next_number = 1
        self.passed_over: dict[int, set[tuple[int, int]]] = defaultdict(set)
        self.returns: Counter[int] = Counter()
        self.busy = 0
        """How much may still happen before the server gets to work."""
        self.settled = True
        """Whether all that has happened has been worked on."""
        self.late: set[int] = set()
        """Those that were overdue already before whatever the server works on now."""

    # What happens.

    def ticket(self, data: st.DataObject) -> Ticket:
        queue = self.queue
        roles = (
            st.frozensets(st.sampled_from(sorted(queue.roles or ())), max_size=1)
            if queue.roles
            else st.just(frozenset[str]())
        )
        trips = st.dictionaries(
            st.sampled_from(["eu", "us"]), st.sampled_from([0.03, 0.06, 0.1, 0.2]), min_size=2 if queue.latency else 0
        )
        entrants = tuple(
            Entrant(f"session {self.next_number}.{n}", n, data.draw(self.ratings), data.draw(roles), data.draw(trips))
            for n in range(data.draw(st.integers(1, queue.shape.party)))
        )
        wanted: dict[str, object] = {}
        for name in queue.hard:
            values = data.draw(st.lists(st.sampled_from(["a", "b", "c"]), max_size=2, unique=True))
            if values:
                wanted[name] = values if len(values) > 1 else values[0]
        ticket = Ticket(self.next_number, entrants, self.now, queue.read(wanted))
        self.next_number += 1
        return ticket

    @precondition(lambda self: len(self.waiting) < MOST_WAITING)
    @rule(target=tickets, data=st.data())
    def enter(self, data: st.DataObject) -> Ticket:
        """Whoever enters gets the match with those who have waited longest."""
        ticket = self.ticket(data)
        before = [*self.waiting.values(), ticket]
        plain = self.queue.then in ("refuse",) and not self.rooms and self.settled and not self.busy
        self.queue.check_rating(ticket)
        best = next(naive.matches(self.queue, before, self.now), None) if plain else None
        self.put_in(ticket)
        made = self.work()
        if plain:
            assert [match.tickets for match in made] == ([] if best is None else [best]), f"best is {best}"
        return ticket

    @precondition(lambda self: len(self.waiting) < MOST_WAITING - 2)
    @rule(data=st.data(), count=st.integers(2, 3))
    def enter_together(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            self.put_in(self.ticket(data))
        self.work()

    @rule(ticket=consumes(tickets))
    def cancel(self, ticket: Ticket) -> None:
        if ticket.state in (TicketState.WAITING, TicketState.ASIDE):
            self.waiting.pop(ticket.number, None)
            self.aside.pop(ticket.number, None)
            self.matcher.remove(ticket)
            self.work()

    @rule(ticket=tickets)
    def go_away_or_come_back(self, ticket: Ticket) -> None:
        if ticket.state is TicketState.WAITING and ticket.number in self.waiting:
            self.aside[ticket.number] = self.waiting.pop(ticket.number)
            self.late.discard(ticket.number)
            self.matcher.set_aside(ticket)
        elif ticket.state is TicketState.ASIDE and ticket.number in self.aside:
            self.waiting[ticket.number] = self.aside.pop(ticket.number)
            self.matcher.bring_back(ticket)
        self.work()

    @precondition(lambda self: self.proposed and len(self.waiting) < MOST_WAITING)
    @rule(decliners=st.integers(1, 2))
    def decline(self, decliners: int) -> None:
        """Some decline, and are out; the others are back where they were."""
        tickets = sorted(self.proposed.pop().tickets, key=lambda ticket: -ticket.number)
        back = tickets[decliners:]
        self.waiting.update({ticket.number: ticket for ticket in back})
        self.returns.update(ticket.number for ticket in back)
        self.matcher.put_back(back)
        self.work()

    @rule(count=st.integers(1, 3))
    def be_busy(self, count: int) -> None:
        """The server does something else: what happens meanwhile is worked on together."""
        self.busy = count

    @rule(seconds=st.integers(1, 80), late=st.sampled_from([0.0, 0.0, 0.01, 0.5, 5.0]))
    def wait(self, seconds: int, late: float) -> None:
        """Time passes as it does in a server: the matcher is woken when it wants to be, or somewhat later."""
        until = self.now + seconds / 2
        turns = 0
        if self.busy:
            self.now = until
        self.work()
        while self.settled:
            due = self.matcher.due()
            if due is None or due > until:
                break
            assert due >= self.now - 1e-9
            self.now = min(until, max(self.now, due) + late)
            self.work()
            turns += 1
            assert turns < 500, "it wants to be woken for nothing"
        if self.settled:
            self.now = until
            self.work()

    @precondition(lambda self: len(self.rooms) < 3)
    @rule(name=st.sampled_from("xyz"), data=st.data())
    def seek(self, name: str, data: st.DataObject) -> None:
        vacancies: dict[str, dict[str, int]] = {}
        for team, places in self.queue.shape.teams:
            roles = ["", *(self.queue.roles or ())]
            vacancies[team] = {data.draw(st.sampled_from(roles)): data.draw(st.integers(0, places))}
        room = Backfill(
            name,
            vacancies,
            self.now - data.draw(st.sampled_from([0.0, 10.0])),
            data.draw(st.none() | self.ratings),
            self.queue.read({name: data.draw(st.sampled_from("abc")) for name in self.queue.hard}),
            data.draw(st.sampled_from(["eu", "us"])),
        )
        self.rooms[name] = room
        self.matcher.seek(room)
        self.work()

    @rule(name=st.sampled_from("xyz"))
    def stop_seeking(self, name: str) -> None:
        self.rooms.pop(name, None)
        self.matcher.stop_seeking(name)
        self.work()

    # What comes of it.

    def put_in(self, ticket: Ticket) -> None:
        self.waiting[ticket.number] = ticket
        self.matcher.add(ticket, self.now)

    def work(self) -> Sequence[Match]:
        made: list[Match] = []
        self.settled = not self.busy
        if self.busy:
            self.busy -= 1
            return made
        more = True
        while more:
            matches, more = self.matcher.work(self.now, 1)
            made += matches
        for ticket in self.matcher.take_refused():
            assert ticket.state is TicketState.REFUSED
            assert self.queue.then == "refuse"
            assert naive.overdue(self.queue, ticket, self.now)
            del self.waiting[ticket.number]
        for match in made:
            self.check(match)
        self.rooms = {name: room for name, room in self.rooms.items() if room.missing}
        self.late = {ticket.number for ticket in self.waiting.values() if naive.overdue(self.queue, ticket, self.now)}
        return made

    def check(self, match: Match) -> None:
        """A match is one by the rules, of tickets that wait."""
        before = dict(self.waiting)
        for ticket in match.tickets:
            assert self.waiting.pop(ticket.number) is ticket, "it is in two matches, or does not wait"
            assert ticket.state is TicketState.PROPOSED
        places = [place for team in match.teams.values() for place in team]
        assert [*match.tickets] == sorted(match.tickets, key=lambda ticket: ticket.place)
        for ticket in match.tickets:
            seated = [place for place in places if place.ticket is ticket]
            assert {place.entrant for place in seated} == set(ticket.entrants)
            assert len(seated) == ticket.size
            assert len({place.team for place in seated}) == 1, "a party is split"
            for place in seated:
                assert not place.role or not place.entrant.roles or place.role in place.entrant.roles
        if match.room is not None:
            (ticket,) = match.tickets
            self.check_room(ticket, match)
            return
        self.proposed.append(match)
        assert naive.holds(self.queue, match.tickets, self.now)
        size = sum(ticket.size for ticket in match.tickets)
        shape = self.queue.shape
        full = shape.full if self.queue.then == "bots" else size
        for name, count in shape.teams:
            team = match.teams[name]
            assert len(team) + match.bots.get(name, 0) == count * full // shape.full
            taken = [place.role for place in team]
            for role, needed in (self.queue.roles or {}).items():
                assert taken.count(role) <= needed
                assert match.bots or taken.count(role) == needed
        for ticket in match.tickets:
            for name, value in match.criteria.items():
                assert value in ticket.criteria.get(name, (value,))
        if self.queue.latency is not None:
            assert all(match.region in naive.regions(self.queue, ticket, self.now) for ticket in match.tickets)
        self.check_nobody_passed(match, before)

    def check_nobody_passed(self, match: Match, before: dict[int, Ticket]) -> None:
        """Nobody who has waited longer than all in it could have had one of them.

        So a ticket is passed over at most once for each that stood before it, each time that one came back.
        The ends of waits come last of all that comes about at one time: who makes do with less only since
        now could not have had those that have found a match without that.
        """
        first, last = match.tickets[0], match.tickets[-1]
        there = [ticket for ticket in before.values() if ticket.place <= last.place]
        for ticket in self.waiting.values():
            with_it = [
                tickets
                for tickets in naive.matches(self.queue, there, self.now, among=self.late)
                if ticket in tickets and not set(tickets).isdisjoint(match.tickets)
            ]
            if with_it:
                assert first.place < ticket.place, f"{ticket} was passed over by {match.tickets}"
                by = (first.number, self.returns[first.number])
                assert by not in self.passed_over[ticket.number], f"{ticket} was passed over twice by {first}"
                self.passed_over[ticket.number].add(by)

    def check_room(self, ticket: Ticket, match: Match) -> None:
        """It fits, and nobody who has waited longer did."""
        assert match.room is not None
        room = self.rooms[match.room]
        vacancies = {team: Counter(roles) for team, roles in room.vacancies.items()}
        for team, places in match.teams.items():
            vacancies[team].update(place.role for place in places)
        before = Backfill(room.room, vacancies, room.since, room.rating, room.criteria, room.region)
        for other in self.waiting.values():
            if other.place < ticket.place:
                assert not naive.enters(self.queue, other, before, self.now), f"{other} was passed over by {ticket}"
        assert naive.agree(self.queue, [dict(ticket.criteria), dict(room.criteria)])
        assert all(count >= 0 for team in room.vacancies.values() for count in team.values())
        if room.rating is not None:
            limit = min(naive.window(self.queue, each.since, self.now) for each in (ticket, room))
            assert abs(room.rating - ticket.rating) <= limit + 1e-3
        if self.queue.latency is not None:
            assert match.region == room.region
            assert room.region in naive.regions(self.queue, ticket, self.now)

    @invariant()
    def nothing_is_left_that_could_be_matched(self) -> None:
        if not hasattr(self, "matcher") or not self.settled:
            return
        assert len(self.matcher) == len(self.waiting)
        assert self.matcher.rooms == len(self.rooms)
        missed = next(naive.matches(self.queue, self.waiting.values(), self.now), None)
        assert missed is None, f"missed {missed}"
        for ticket in self.waiting.values():
            assert ticket.state is TicketState.WAITING
            assert self.queue.then != "refuse" or not naive.overdue(self.queue, ticket, self.now)
            for room in self.rooms.values():
                assert not naive.enters(self.queue, ticket, room, self.now), f"{ticket} could enter {room}"

    @invariant()
    def what_is_told_of_tickets_is_so(self) -> None:
        if not hasattr(self, "matcher") or not self.settled:
            return
        for position, ticket in enumerate(sorted(self.waiting.values(), key=lambda ticket: ticket.place), 1):
            progress = self.matcher.progress(ticket, self.now)
            assert (progress.position, progress.waiting) == (position, len(self.waiting))
            assert progress.window is None or math.isclose(
                progress.window, naive.window(self.queue, ticket.since, self.now), abs_tol=1e-3
            )
            why = self.matcher.why(ticket, self.now)
            others = {other.number for other in self.waiting.values()} - {ticket.number}
            told = {obstacle.candidate for obstacle in why.obstacles if isinstance(obstacle.candidate, int)}
            assert told == others
            for obstacle in why.obstacles:
                if self.queue.shape.full == 2:
                    assert obstacle.rule != "together"
                if obstacle.seconds is not None:
                    assert obstacle.seconds > 0


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
def test_whatever_happens_nobody_is_matched_wrongly_and_no_match_is_overlooked(policy: type[MatchQueue]) -> None:
    machine = type(f"{policy.__name__}Line", (Line,), {"policy": policy})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
