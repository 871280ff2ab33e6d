"""Matchmaking against a naive model: first come, first served, nobody twice, nobody who is away or gave up."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server_room_system import ClientData, IllegalTransition, MatchMaker, RuleSet, Session
from server_room_system.broker.matchmaking import TICKET, Queues, Ticket, TicketEvent, TicketState
from server_room_system.protocol import TokenBucket, step

RULESETS = [
    RuleSet(1),
    RuleSet(2),
    RuleSet(3),
    RuleSet(3, mode="ranked"),
    RuleSet(2, room="duel"),
    RuleSet(2, room="duel", level=1),
    RuleSet(2, room="duel", level=True),
]


class Nobody:
    """Answers for no session: these are only matched."""

    def message(self, session: Session, name: str, data: Any) -> None: ...

    def request(self, session: Session) -> None: ...

    def acknowledge(self, session: Session) -> None: ...

    def direct(self, session: Session, name: str, data: Any) -> None: ...

    def lost(self, session: Session) -> None: ...

    def dismiss(self, session: Session, text: str) -> None: ...


def a_session(number: int) -> Session:
    return Session(Nobody(), f"session {number}", ClientData(number, ""), TokenBucket(1.0, 1))


@dataclass(eq=False)
class Model:
    """What is known of one ticket."""

    ticket: Ticket
    ruleset: RuleSet
    aside: bool = False


class MatchmakingMachine(RuleBasedStateMachine):
    """Tickets that come, go, are set aside and come back, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.queues = Queues()
        self.waiting: list[Model] = []
        """In the order of arrival."""
        self.over: dict[Ticket, TicketState] = {}
        self.sessions = 0

    def expected(self, ruleset: RuleSet) -> list[Ticket] | None:
        """Who has to be put together now."""
        here = [model.ticket for model in self.waiting if model.ruleset == ruleset and not model.aside]
        return here[: ruleset.clients] if len(here) >= ruleset.clients else None

    def matched(self, match: list[Ticket] | None, expected: list[Ticket] | None) -> None:
        assert match == expected
        for ticket in match or []:
            assert ticket not in self.over
            self.end(ticket, TicketState.MATCHED)

    def end(self, ticket: Ticket, state: TicketState) -> None:
        self.over[ticket] = state
        self.waiting = [model for model in self.waiting if model.ticket is not ticket]

    @rule(ruleset=st.sampled_from(RULESETS))
    def add(self, ruleset: RuleSet) -> None:
        self.sessions += 1
        session = a_session(self.sessions)
        ticket, match = self.queues.add(session, 100 + self.sessions, ruleset, {"a": 1}, 7.0)
        assert (ticket.session, ticket.ask, ticket.ruleset) == (session, 100 + self.sessions, ruleset)
        assert (ticket.options, ticket.deadline) == ({"a": 1}, 7.0)
        self.waiting.append(Model(ticket, ruleset))
        self.matched(match, self.expected(ruleset))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.waiting)).ticket
        self.queues.cancel(ticket)
        self.end(ticket, TicketState.CANCELLED)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.waiting)).ticket
        self.queues.expire(ticket)
        self.end(ticket, TicketState.EXPIRED)

    @precondition(lambda self: any(not model.aside for model in self.waiting))
    @rule(data=st.data())
    def go_away(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from([model for model in self.waiting if not model.aside]))
        self.queues.set_aside(model.ticket)
        model.aside = True

    @precondition(lambda self: any(model.aside for model in self.waiting))
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from([model for model in self.waiting if model.aside]))
        model.aside = False
        expected = self.expected(model.ruleset)
        self.matched(self.queues.bring_back(model.ticket), expected)

    @precondition(lambda self: self.over)
    @rule(data=st.data())
    def end_again(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(list(self.over)))
        with pytest.raises(IllegalTransition):
            self.queues.cancel(ticket)
        with pytest.raises(IllegalTransition):
            self.queues.expire(ticket)

    @invariant()
    def every_ticket_is_where_we_think(self) -> None:
        assert len(self.queues) == len(self.waiting)
        assert all(model.ticket.state is TicketState.WAITING for model in self.waiting)
        assert all(ticket.state is state for ticket, state in self.over.items())

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        assert all(self.expected(ruleset) is None for ruleset in RULESETS)

    def teardown(self) -> None:
        for model in list(self.waiting):
            self.queues.cancel(model.ticket)
        assert len(self.queues) == 0
        assert not self.queues._queues
        assert not self.queues._aside


TestMatchmaking = MatchmakingMachine.TestCase
TestMatchmaking.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


@pytest.mark.parametrize("state", TicketState)
@pytest.mark.parametrize("event", TicketEvent)
def test_the_table_of_tickets(state: TicketState, event: TicketEvent) -> None:
    allowed = {
        (TicketState.WAITING, TicketEvent.MATCH): TicketState.MATCHED,
        (TicketState.WAITING, TicketEvent.CANCEL): TicketState.CANCELLED,
        (TicketState.WAITING, TicketEvent.EXPIRE): TicketState.EXPIRED,
    }
    if (state, event) in allowed:
        assert step(TICKET, state, event) is allowed[state, event]
        return
    with pytest.raises(IllegalTransition) as refused:
        step(TICKET, state, event)
    assert (refused.value.state, refused.value.event) == (state.value, event.value)


def test_who_was_away_keeps_the_place() -> None:
    queues, ruleset = Queues(), RuleSet(2)
    first, _ = queues.add(a_session(1), 1, ruleset, {}, 1.0)
    queues.set_aside(first)
    second, match = queues.add(a_session(2), 1, ruleset, {}, 1.0)
    assert match is None
    queues.set_aside(second)
    third, _ = queues.add(a_session(3), 1, ruleset, {}, 1.0)
    assert queues.bring_back(first) == [first, third]
    assert len(queues) == 1


def test_the_policy_leaves_the_choice_to_the_server_unless_it_is_overridden() -> None:
    assert MatchMaker().create_room(RuleSet(2)) is None
