"""The end of a topic room, whose LEFT may overtake what the room said last."""

import pytest

from server_room_system.client.membership import Membership, MembershipState
from server_room_system.protocol import Code, Deliver, Kicked, Leave, Left, LeftRoom, Recover, RoomClosed, encode
from server_room_system.protocol.ids import mark_of

from .fakes import Stage, broadcast, secret

EPOCH = 7
TOKEN = secret(90)


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.connect()
    return stage


@pytest.fixture
def room(stage: Stage) -> Membership:
    return stage.join("r", EPOCH, downlink=[4000, TOKEN])


def below(stage: Stage, room: Membership, offset: int, *texts: str) -> None:
    """What the room says to all comes down."""
    bundle = Deliver(EPOCH, 0, offset, [broadcast(text) for text in texts])
    stage.core.downlink_received(room, encode(bundle), stage.now)


def end_below(stage: Stage, room: Membership, token: bytes = TOKEN) -> None:
    """LEFT comes down."""
    left = LeftRoom(mark_of(token) & 0xFFFFFFFF, int(Code.ROOM_CLOSED), "over")
    stage.core.downlink_received(room, encode(left), stage.now)


def end_beside(stage: Stage, room: Membership, code: Code = Code.ROOM_CLOSED) -> None:
    """LEFT comes on the other connection."""
    stage.say(LeftRoom(room.ref, int(code), "over"))


def test_what_was_said_before_the_end_is_waited_for(stage: Stage, room: Membership) -> None:
    end_beside(stage, room)
    assert room.state is MembershipState.JOINED
    below(stage, room, 0, "last", "words")
    end_below(stage, room)
    assert (room.state, type(room.error)) == (MembershipState.ENDED, RoomClosed)
    assert stage.read(room) == ["last", "words"]
    assert stage.out.downlinks == {}
    stage.advance(10.0)
    assert room not in stage.core.rooms.values()


def test_the_end_that_comes_down_first_is_the_end(stage: Stage, room: Membership) -> None:
    end_below(stage, room)
    assert type(room.error) is RoomClosed
    end_beside(stage, room, Code.KICKED)
    assert type(room.error) is RoomClosed


def test_a_downlink_that_is_lost_brings_nothing_more(stage: Stage, room: Membership) -> None:
    end_beside(stage, room, Code.KICKED)
    stage.core.downlink_lost(room)
    assert type(room.error) is Kicked
    assert stage.heard(Recover) == []


def test_a_downlink_that_is_silent_is_waited_for_two_seconds(stage: Stage, room: Membership) -> None:
    end_beside(stage, room)
    stage.advance(1.9)
    assert room.state is MembershipState.JOINED
    stage.advance(0.2)
    assert type(room.error) is RoomClosed


def test_nothing_is_said_or_recovered_after_the_end(stage: Stage, room: Membership) -> None:
    end_beside(stage, room)
    stage.send(room, "too late")
    stage.core.ask_ack(room)
    below(stage, room, 5, "something is missing before this")
    assert stage.out.heard() == []
    stage.reconnect()
    assert stage.heard(Recover) == []
    assert stage.out.downlinks == {"r": (4000, TOKEN)}


def test_who_leaves_does_not_wait(stage: Stage, room: Membership) -> None:
    stage.core.leave(room)
    assert stage.out.heard() == [Leave(room.ref)]
    end_beside(stage, room, Code.LEFT)
    assert type(room.error) is Left


def test_the_end_of_somebody_else_is_not_ours(stage: Stage, room: Membership) -> None:
    end_below(stage, room, secret(91))
    assert room.state is MembershipState.JOINED
