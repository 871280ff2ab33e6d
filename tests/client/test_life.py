"""The lives of a client and of a membership, as tables."""

from enum import Enum
from typing import Any

import pytest

from server_room_system.client.life import CLIENT, ClientEvent, ClientState
from server_room_system.client.membership import MEMBERSHIP, Membership, MembershipEvent, MembershipState
from server_room_system.protocol import IllegalTransition, Limits, Table, step

from .fakes import Stage, contact

CLIENT_ALLOWED = {
    (ClientState.IDLE, ClientEvent.OPEN): ClientState.DIALING,
    (ClientState.DIALING, ClientEvent.UP): ClientState.OPENING,
    (ClientState.OPENING, ClientEvent.WELCOME): ClientState.ONLINE,
    (ClientState.DIALING, ClientEvent.LOST): ClientState.WAITING,
    (ClientState.OPENING, ClientEvent.LOST): ClientState.WAITING,
    (ClientState.ONLINE, ClientEvent.LOST): ClientState.WAITING,
    (ClientState.WAITING, ClientEvent.RETRY): ClientState.DIALING,
    (ClientState.IDLE, ClientEvent.CLOSE): ClientState.CLOSED,
    (ClientState.DIALING, ClientEvent.CLOSE): ClientState.CLOSED,
    (ClientState.OPENING, ClientEvent.CLOSE): ClientState.CLOSED,
    (ClientState.ONLINE, ClientEvent.CLOSE): ClientState.CLOSED,
    (ClientState.WAITING, ClientEvent.CLOSE): ClientState.CLOSED,
}
MEMBERSHIP_ALLOWED = {
    (MembershipState.JOINING, MembershipEvent.JOINED): MembershipState.JOINED,
    (MembershipState.JOINING, MembershipEvent.LOST): MembershipState.JOINING,
    (MembershipState.JOINING, MembershipEvent.ENDED): MembershipState.ENDED,
    (MembershipState.JOINED, MembershipEvent.JOINED): MembershipState.JOINED,
    (MembershipState.JOINED, MembershipEvent.LOST): MembershipState.AWAY,
    (MembershipState.JOINED, MembershipEvent.ENDED): MembershipState.ENDED,
    (MembershipState.AWAY, MembershipEvent.JOINED): MembershipState.JOINED,
    (MembershipState.AWAY, MembershipEvent.LOST): MembershipState.AWAY,
    (MembershipState.AWAY, MembershipEvent.ENDED): MembershipState.ENDED,
}


def check(table: Table[Any, Any], allowed: dict[tuple[Any, Any], Any], state: Enum, event: Enum) -> None:
    if (state, event) in allowed:
        assert step(table, state, event) is allowed[state, event]
        return
    with pytest.raises(IllegalTransition) as refused:
        step(table, state, event)
    assert (refused.value.machine, refused.value.state) == (type(state).__name__, state.value)
    assert refused.value.event == event.value


@pytest.mark.parametrize("state", ClientState)
@pytest.mark.parametrize("event", ClientEvent)
def test_the_table_of_clients(state: ClientState, event: ClientEvent) -> None:
    check(CLIENT, CLIENT_ALLOWED, state, event)


@pytest.mark.parametrize("state", MembershipState)
@pytest.mark.parametrize("event", MembershipEvent)
def test_the_table_of_memberships(state: MembershipState, event: MembershipEvent) -> None:
    check(MEMBERSHIP, MEMBERSHIP_ALLOWED, state, event)


@pytest.mark.parametrize(("table", "end"), [(CLIENT, ClientState.CLOSED), (MEMBERSHIP, MembershipState.ENDED)])
def test_every_state_is_in_the_table_and_reaches_its_end(table: Table[Any, Any], end: Enum) -> None:
    states = set(type(end))
    assert set(table) == states
    reached: set[Any] = {end}
    for _ in states:
        reached |= {state for state, events in table.items() if reached & set(events.values())}
    assert reached == states
    assert not table[end]


def test_a_membership_refuses_what_its_state_does_not_know() -> None:
    membership = Membership("r", contact(), Limits(), 10)
    membership.step(MembershipEvent.ENDED)
    with pytest.raises(IllegalTransition):
        membership.step(MembershipEvent.JOINED)
    assert membership.state is MembershipState.ENDED


def test_a_client_is_opened_once() -> None:
    stage = Stage()
    stage.connect()
    with pytest.raises(IllegalTransition):
        stage.core.open(stage.now)
    with pytest.raises(IllegalTransition):
        stage.core.up(stage.now)
    assert stage.core.state is ClientState.ONLINE
    assert len(stage.out.dialled) == 1


def test_a_closed_client_is_not_opened_again() -> None:
    stage = Stage()
    stage.core.close()
    with pytest.raises(IllegalTransition):
        stage.core.open(stage.now)
    assert stage.out.dialled == []
