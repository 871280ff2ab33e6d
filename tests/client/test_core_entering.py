"""The client core where its seat is taken at once: JOINED is the answer to its request."""

import pytest

from server_room_system.client.membership import MembershipState
from server_room_system.protocol import Ack, Join, JoinById, Leave, ListRooms, Resume
from server_room_system.protocol.room_messages import JoinOrCreate

from .fakes import Stage, broadcast

EPOCH = 7


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.connect()
    return stage


def test_joined_is_the_answer(stage: Stage) -> None:
    ask = stage.core.requests.ask(lambda ask: JoinOrCreate(stage.core.home.ref, ask, [4, "duel", {}], {}, {}))
    stage.out.heard()
    joined = stage.joined(ask, "r", EPOCH, offset=3)
    room = stage.core.rooms["r"]
    assert (room.state, room.ref) == (MembershipState.JOINED, joined.ref)
    assert stage.out.heard() == [Ack(joined.ref, 0)]
    stage.deliver(room, 3, broadcast("a"))
    assert stage.read(room) == ["a"]


def test_who_has_given_up_leaves_again(stage: Stage) -> None:
    ask = stage.core.requests.ask(lambda ask: JoinById(stage.core.home.ref, ask, "r", {}))
    stage.core.requests.forget(ask)
    joined = stage.joined(ask, "r", EPOCH)
    assert stage.heard(Leave) == [Leave(joined.ref)]
    assert stage.core.rooms == {}


def test_where_joined_is_lost_the_seat_is_taken_with_the_reservation(stage: Stage) -> None:
    ask = stage.core.requests.ask(lambda ask: JoinById(stage.core.home.ref, ask, "r", {}))
    stage.lose()
    stage.advance_to_dial()
    stage.welcome(stage.last(Resume).ask, resumed=True)
    assert [message.ask for message in stage.heard(JoinById)][-1] == ask
    assigned = stage.assigned(ask, "r")
    assert stage.last(Join).reservation == assigned.reservation
    stage.joined(ask, "r", EPOCH)
    assert stage.core.rooms["r"].state is MembershipState.JOINED


def test_it_answers_no_other_request(stage: Stage) -> None:
    ask = stage.core.requests.ask(lambda ask: ListRooms(stage.core.home.ref, ask, None, {}))
    joined = stage.joined(ask, "r", EPOCH)
    assert stage.heard(Leave) == [Leave(joined.ref)]
    assert stage.core.rooms == {}
