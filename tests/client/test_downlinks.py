"""The end of a topic room, whose LEFT may overtake what the room said last."""

import pytest

from server_room_system.client import inbox
from server_room_system.client.membership import Membership, MembershipState
from server_room_system.protocol import (
    Code,
    Deliver,
    Error,
    Kicked,
    Leave,
    Left,
    LeftRoom,
    ProtocolViolation,
    Recover,
    Reset,
    RoomClosed,
    encode,
)
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


def end_below(stage: Stage, room: Membership, token: bytes = TOKEN, offset: int = 0) -> None:
    """LEFT comes down."""
    left = LeftRoom(mark_of(token) & 0xFFFFFFFF, int(Code.ROOM_CLOSED), "over", offset, 0)
    stage.core.downlink_received(room, encode(left), stage.now)


def end_beside(stage: Stage, room: Membership, code: Code = Code.ROOM_CLOSED, offset: int = 2) -> None:
    """LEFT comes on the other connection."""
    stage.say(LeftRoom(room.ref, int(code), "over", offset, 0))


def answer_with_the_rest(stage: Stage, recover: Recover, *texts: str) -> None:
    """All that is missing comes on the other connection, and then the end."""
    joined = stage.recovered(recover, downlink=None, info={"over": True})
    stage.say(Deliver(EPOCH, joined.ref, recover.offset, [broadcast(text) for text in texts]))
    stage.say(LeftRoom(joined.ref, int(Code.ROOM_CLOSED), "over", recover.offset + len(texts), 0))


def test_what_was_said_before_the_end_is_waited_for(stage: Stage, room: Membership) -> None:
    end_beside(stage, room)
    assert room.state is MembershipState.JOINED
    below(stage, room, 0, "last")
    assert room.state is MembershipState.JOINED
    below(stage, room, 1, "words")
    assert (room.state, type(room.error)) == (MembershipState.ENDED, RoomClosed)
    end_below(stage, room, offset=2)
    assert stage.read(room) == ["last", "words"]
    assert stage.heard(Recover) == []
    assert stage.out.downlinks == {}
    stage.advance(10.0)
    assert room not in stage.core.rooms.values()


def test_the_end_that_comes_down_first_is_the_end(stage: Stage, room: Membership) -> None:
    end_below(stage, room)
    assert type(room.error) is RoomClosed
    end_beside(stage, room, Code.KICKED)
    assert type(room.error) is RoomClosed


def test_when_all_is_there_the_end_is_the_end(stage: Stage, room: Membership) -> None:
    below(stage, room, 0, "last", "words")
    end_beside(stage, room)
    assert type(room.error) is RoomClosed
    assert stage.out.downlinks == {}


def test_what_a_kicked_member_has_not_got_before_its_downlink_is_closed_is_asked_for(
    stage: Stage, room: Membership
) -> None:
    below(stage, room, 0, "one")
    end_beside(stage, room, Code.KICKED)
    stage.core.downlink_lost(room)
    stage.advance(1.0)
    [recover] = stage.heard(Recover)
    assert (recover.offset, recover.direct) == (1, 0)
    answer_with_the_rest(stage, recover, "two")
    assert stage.read(room) == ["one", "two"]
    assert type(room.error) is Kicked
    assert stage.out.heard() == [], "it has no reference any more to confirm, ask or say anything on"


def test_what_the_downlink_has_lost_before_the_end_is_asked_for_at_once(stage: Stage, room: Membership) -> None:
    end_below(stage, room, offset=2)
    [recover] = stage.heard(Recover)
    end_beside(stage, room)
    answer_with_the_rest(stage, recover, "last", "words")
    assert stage.read(room) == ["last", "words"]
    assert type(room.error) is RoomClosed


def test_a_downlink_that_is_silent_is_waited_for_one_second(stage: Stage, room: Membership) -> None:
    end_beside(stage, room)
    stage.advance(0.9)
    assert stage.heard(Recover) == []
    stage.advance(0.2)
    [recover] = stage.heard(Recover)
    answer_with_the_rest(stage, recover, "last", "words")
    assert stage.read(room) == ["last", "words"]
    assert type(room.error) is RoomClosed


def test_the_rest_is_not_waited_for_for_ever(stage: Stage, room: Membership) -> None:
    end_beside(stage, room)
    stage.advance(5.9)
    assert room.state is MembershipState.JOINED
    stage.advance(0.2)
    assert type(room.error) is RoomClosed


@pytest.mark.parametrize("code", [Code.ROOM_NOT_FOUND, Code.RESERVATION_REFUSED])
def test_a_rest_that_nobody_has_any_more_is_the_end(stage: Stage, room: Membership, code: Code) -> None:
    end_below(stage, room, offset=2)
    [recover] = stage.heard(Recover)
    stage.say(Error(0, recover.ask, int(code), "", None))
    assert type(room.error) is RoomClosed


def test_the_rest_is_asked_for_again_on_the_next_connection(stage: Stage, room: Membership) -> None:
    end_below(stage, room, offset=2)
    [first] = stage.heard(Recover)
    joined = stage.recovered(first, downlink=None, info={"over": True})
    stage.say(Deliver(EPOCH, joined.ref, 0, [broadcast("last")]))
    stage.reconnect()
    [second] = stage.heard(Recover)
    assert second.offset == 1
    answer_with_the_rest(stage, second, "words")
    assert stage.read(room) == ["last", "words"]
    assert type(room.error) is RoomClosed


def test_who_comes_back_to_a_room_that_is_over_gets_the_rest_and_says_nothing(stage: Stage, room: Membership) -> None:
    stage.send(room, "into the void")
    stage.reconnect()
    [recover] = stage.heard(Recover)
    answer_with_the_rest(stage, recover, "last", "words")
    assert stage.read(room) == ["last", "words"]
    assert type(room.error) is RoomClosed
    assert stage.out.heard() == []


def test_a_reset_before_the_end_is_told(stage: Stage, room: Membership) -> None:
    end_below(stage, room, offset=9)
    [recover] = stage.heard(Recover)
    joined = stage.recovered(recover, downlink=None, info={"over": True})
    stage.say(Reset(joined.ref, EPOCH, 9, 0, None))
    stage.say(LeftRoom(joined.ref, int(Code.ROOM_CLOSED), "over", 9, 0))
    assert [message.kind for message in room.inbox._messages] == ["reset"]
    assert type(room.error) is RoomClosed


def test_nothing_is_said_after_the_end(stage: Stage, room: Membership) -> None:
    end_beside(stage, room)
    stage.send(room, "too late")
    stage.core.ask_ack(room)
    assert stage.out.heard() == []
    stage.reconnect()
    assert stage.heard(Recover) == [], "what is missing may still come down"
    assert stage.out.downlinks == {"r": (4000, TOKEN)}
    below(stage, room, 5, "something is missing before this")
    assert len(stage.heard(Recover)) == 1


def test_what_a_full_inbox_left_out_is_fetched_at_the_end_whatever_it_holds() -> None:
    stage = Stage(inbox=2)
    stage.connect()
    room = stage.join("r", EPOCH)
    stage.deliver(room, 0, broadcast("1"), broadcast("2"))
    stage.deliver(room, 2, broadcast("3"))
    stage.say(LeftRoom(room.ref, int(Code.ROOM_CLOSED), "over", 5, 0))
    assert room.state is MembershipState.JOINED
    [recover] = stage.heard(Recover)
    assert recover.offset == 2
    answer_with_the_rest(stage, recover, "3", "4", "5")
    assert type(room.error) is RoomClosed
    assert stage.read(room) == ["1", "2", "3", "4", "5"]


def test_who_leaves_does_not_wait(stage: Stage, room: Membership) -> None:
    stage.core.leave(room)
    assert stage.out.heard() == [Leave(room.ref)]
    end_beside(stage, room, Code.LEFT)
    assert type(room.error) is Left


def test_who_leaves_while_the_rest_is_waited_for_does_not_wait_either(stage: Stage, room: Membership) -> None:
    end_beside(stage, room)
    stage.core.leave(room)
    assert type(room.error) is RoomClosed
    assert stage.out.heard() == []


def test_the_end_of_somebody_else_is_not_ours(stage: Stage, room: Membership) -> None:
    end_below(stage, room, secret(91))
    assert room.state is MembershipState.JOINED


def test_the_rest_of_a_room_that_is_over_has_an_end(
    stage: Stage, room: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "_MOST_REST", 10_000)
    stage.reconnect()
    [recover] = stage.heard(Recover)
    joined = stage.recovered(recover, downlink=None, info={"over": True})
    for number in range(200):  # a server that never comes to the end, and says once more that now comes the rest
        if number and number % 50 == 0:
            joined = stage.recovered(recover, downlink=None, info={"over": True})
        if room.state is MembershipState.ENDED:
            break
        stage.say(Deliver(EPOCH, joined.ref, number, [broadcast("x" * 1000)]))
    assert 8 <= len(room.inbox) <= 10
    assert type(room.error) is ProtocolViolation
    assert "more behind the end" in str(room.error)


def test_a_server_that_resets_again_and_again_fills_no_memory(stage: Stage, room: Membership) -> None:
    for number in range(1, 101):
        stage.say(Reset(room.ref, EPOCH, number, 0, f"snapshot {number}"))
    [only] = [room.inbox.take()[0] for _ in range(len(room.inbox))]
    assert (only.kind, only.data, only.position.offset) == ("reset", "snapshot 100", 100)
