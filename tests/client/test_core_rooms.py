"""The client core and its rooms: recovering, reading, sending, being refused, leaving."""

import pytest

from server_room_system.client.life import ClientState
from server_room_system.client.membership import Membership, MembershipState
from server_room_system.protocol import (
    Ack,
    Backpressure,
    BadPayload,
    Code,
    Deliver,
    Error,
    Item,
    Join,
    JoinById,
    Kicked,
    Kind,
    Leave,
    LeftRoom,
    NotAMember,
    Pong,
    RateLimited,
    Recover,
    Request,
    RequestRefused,
    Reset,
    Resume,
    RoomLost,
    RoomNotFound,
    Send,
)

from .fakes import HOME_EPOCH, Stage, broadcast, direct, secret

EPOCH = 7


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.connect()
    return stage


@pytest.fixture
def room(stage: Stage) -> Membership:
    return stage.join("r", EPOCH)


# Coming back.


def test_a_room_is_recovered_from_its_place(stage: Stage) -> None:
    room = stage.join("r", EPOCH, offset=10, direct=2, token=secret(80))
    stage.deliver(room, 10, broadcast("a"), direct(3, "b"))
    stage.lose()
    assert room.state is MembershipState.AWAY
    stage.advance_to_dial()
    resume = stage.last(Resume)
    stage.welcome(resume.ask, resumed=True)
    [recover] = stage.heard(Recover)
    assert recover[1:] == ("r", secret(80), EPOCH, 11, 3)
    joined = stage.recovered(recover)
    assert stage.out.heard() == [Ack(joined.ref, 0)]
    assert (room.state, room.ref) == (MembershipState.JOINED, joined.ref)
    stage.deliver(room, 11, broadcast("c"))
    assert stage.read(room) == ["a", "b", "c"]


def test_each_joined_brings_the_token_for_the_next_recover(stage: Stage) -> None:
    stage.join("r", EPOCH, token=secret(81))
    stage.reconnect()
    [first] = stage.heard(Recover)
    stage.recovered(first, token=secret(82))
    stage.reconnect()
    [second] = stage.heard(Recover)
    assert (first.token, second.token) == (secret(81), secret(82))


def test_a_recover_without_an_answer_is_said_once_on_the_next_connection(stage: Stage, room: Membership) -> None:
    stage.reconnect()
    [first] = stage.heard(Recover)
    stage.reconnect()
    [second] = stage.heard(Recover)
    assert second[1:] == first[1:]
    stage.recovered(second)
    assert room.state is MembershipState.JOINED


def test_nothing_is_said_with_an_old_ref_while_a_room_is_recovered(stage: Stage, room: Membership) -> None:
    stage.send(room, "before")
    old = room.ref
    stage.reconnect()
    recover = stage.heard(Recover)[-1]
    stage.send(room, "while")
    stage.core.ask_ack(room)
    stage.core.leave(room)
    stage.advance(2.5)
    assert stage.out.heard() == []
    joined = stage.recovered(recover)
    heard = stage.out.heard()
    assert [one.data for one in heard if isinstance(one, Send)] == ["before", "while"]
    assert heard[-1] == Leave(joined.ref)
    assert {message[0] for message in heard} == {joined.ref} != {old}


def test_nothing_is_said_with_the_ref_of_a_room_that_catches_up(stage: Stage, room: Membership) -> None:
    # RECOVER on the same connection: the server has given the ref up when it reads what follows.
    stage.deliver(room, 5, broadcast("later"))
    [recover] = stage.heard(Recover)
    stage.send(room, "while")
    stage.core.ask_ack(room)
    stage.core.leave(room)
    stage.advance(2.5)
    assert stage.out.heard() == []
    joined = stage.recovered(recover)
    assert {message[0] for message in stage.out.heard()} == {joined.ref}


def test_the_refs_of_one_connection_mean_nothing_on_the_next(stage: Stage, room: Membership) -> None:
    other = stage.join("other", 8)
    old = room.ref
    stage.send(room, 1)
    stage.send(other, 1)
    stage.reconnect()
    recovers = {one.room: one for one in stage.heard(Recover)}
    stage.recovered(recovers["other"], ref=old)
    stage.say(Ack(old, 1))
    assert (room.acked, other.acked) == (0, 1)
    stage.deliver(other, 0, broadcast("for the other"), ref=old)
    assert stage.read(other) == ["for the other"]
    assert stage.out.misrouted_epochs == []
    stage.say(LeftRoom(old, int(Code.KICKED), "", 0, 0))
    assert (room.state, other.state) == (MembershipState.AWAY, MembershipState.ENDED)


def test_a_recover_that_came_too_fast_does_not_end_the_room(stage: Stage, room: Membership) -> None:
    stage.reconnect()
    [recover] = stage.heard(Recover)
    stage.say(Error(0, recover.ask, int(Code.RATE_LIMITED), "", None))
    assert room.state is not MembershipState.ENDED


@pytest.mark.parametrize("code", [Code.ROOM_NOT_FOUND, Code.RESERVATION_REFUSED])
def test_a_room_that_is_gone_after_a_reconnect_is_over(stage: Stage, room: Membership, code: Code) -> None:
    stage.reconnect()
    [recover] = stage.heard(Recover)
    stage.say(Error(0, recover.ask, int(code), "", None))
    assert room.state is MembershipState.ENDED
    assert room.error is not None
    assert room.error.code == code
    assert stage.core.rooms == {}
    assert stage.core.state is ClientState.ONLINE
    stage.reconnect()
    assert stage.heard(Recover) == []


# Reading.


def test_a_gap_recovers_once_and_drops_what_comes_before_the_answer(stage: Stage, room: Membership) -> None:
    stage.deliver(room, 0, broadcast(1))
    stage.deliver(room, 2, broadcast(3))
    stage.deliver(room, 3, broadcast(4))
    stage.deliver(room, 1, broadcast(2))
    [recover] = stage.out.heard()
    assert isinstance(recover, Recover)
    assert (recover.epoch, recover.offset, recover.direct) == (EPOCH, 1, 0)
    stage.recovered(recover)
    stage.deliver(room, 1, broadcast(2), broadcast(3), broadcast(4))
    assert stage.read(room) == [1, 2, 3, 4]
    assert stage.heard(Recover) == []


def test_a_gap_among_direct_items_recovers_too(stage: Stage, room: Membership) -> None:
    stage.deliver(room, 0, broadcast("b"), direct(2, "d"))
    [recover] = stage.heard(Recover)
    assert (recover.offset, recover.direct) == (1, 0)


def test_a_gap_at_home_makes_a_new_connection(stage: Stage) -> None:
    home = stage.core.home
    stage.deliver(home, 0, direct(1, "one"), direct(3, "three"))
    assert stage.out.hung_up == 1
    assert stage.out.heard() == []
    stage.advance_to_dial()
    resume = stage.last(Resume)
    assert resume.direct == 1
    stage.welcome(resume.ask, resumed=True, direct=1)
    stage.deliver(home, 0, direct(2, "two"), direct(3, "three"))
    assert stage.read(home) == ["one", "two", "three"]


def test_duplicates_are_dropped(stage: Stage, room: Membership) -> None:
    stage.deliver(room, 0, broadcast(1), direct(1, "d"), broadcast(2))
    stage.deliver(room, 0, broadcast(1), direct(1, "d"), broadcast(2), broadcast(3))
    stage.deliver(room, 1, broadcast(2))
    assert stage.read(room) == [1, "d", 2, 3]
    assert stage.out.heard() == []


def test_a_bundle_of_an_unknown_ref_is_misrouted(stage: Stage, room: Membership) -> None:
    stage.deliver(room, 0, broadcast(1), ref=room.ref + 50)
    assert stage.out.misrouted_epochs == [EPOCH]
    assert stage.read(room) == []


def test_a_bundle_of_another_epoch_is_misrouted(stage: Stage, room: Membership) -> None:
    other = stage.join("other", 8)
    stage.deliver(other, 0, broadcast(1), ref=room.ref)
    assert stage.out.misrouted_epochs == [8]
    assert stage.read(room) == stage.read(other) == []


def test_a_bundle_without_a_ref_goes_by_its_epoch(stage: Stage, room: Membership) -> None:
    other = stage.join("other", 8)
    stage.deliver(other, 0, broadcast("other"), ref=0)
    stage.deliver(room, 0, broadcast("room"), ref=0)
    assert (stage.read(room), stage.read(other)) == (["room"], ["other"])
    stage.say(Deliver(9, 0, 0, [broadcast("x")]))
    stage.deliver(stage.core.home, 0, direct(1, "x"), ref=0)
    assert stage.out.misrouted_epochs == [9, HOME_EPOCH]
    assert stage.read(stage.core.home) == []


def test_what_comes_of_a_room_that_was_given_up_while_we_entered_is_not_misrouted_until_its_end_is_said(
    stage: Stage,
) -> None:
    ask = stage.core.requests.ask(lambda ask: JoinById(stage.core.home.ref, ask, "r", {}))
    stage.assigned(ask, "r")
    join = stage.last(Join)
    stage.core.requests.forget(ask)
    joined = stage.joined(join.ask, "r", EPOCH)
    assert stage.out.heard() == [Leave(joined.ref)]
    for ref in (joined.ref, 0):
        stage.say(Deliver(EPOCH, ref, 0, [broadcast("it does not know yet")]))
    stage.say(Reset(joined.ref, EPOCH, 5, 0, None))
    assert (stage.out.misrouted_epochs, stage.core.rooms) == ([], {})
    stage.say(Deliver(8, joined.ref, 0, [broadcast("of another room")]))
    assert stage.out.misrouted_epochs == [8]
    stage.say(LeftRoom(joined.ref, int(Code.LEFT), "", 0, 0))
    for ref in (joined.ref, 0):
        stage.say(Deliver(EPOCH, ref, 0, [broadcast("it knows")]))
    stage.say(Reset(joined.ref, EPOCH, 5, 0, None))
    assert stage.out.misrouted_epochs == [8, EPOCH, EPOCH, EPOCH]


def test_what_the_broker_takes_from_us_is_given_up_until_the_server_says_so_too(stage: Stage, room: Membership) -> None:
    ref = room.ref
    stage.say(RoomLost(stage.core.home.ref, room.room, int(Code.WORKER_LOST), ""))
    assert room.state is MembershipState.ENDED
    stage.say(Deliver(EPOCH, ref, 0, [broadcast("late")]))
    assert stage.out.misrouted_epochs == []
    stage.say(Error(ref, 0, int(Code.NOT_A_MEMBER), "", None))
    stage.say(Deliver(EPOCH, ref, 0, [broadcast("too late")]))
    assert stage.out.misrouted_epochs == [EPOCH]


def test_nothing_that_was_given_up_is_remembered_beyond_its_connection(stage: Stage, room: Membership) -> None:
    ref = room.ref
    stage.say(RoomLost(stage.core.home.ref, room.room, int(Code.WORKER_LOST), ""))
    stage.reconnect()
    stage.say(Deliver(EPOCH, ref, 0, [broadcast("of another connection")]))
    assert stage.out.misrouted_epochs == [EPOCH]


def test_a_full_inbox_takes_no_more_and_fetches_it_when_half_is_read() -> None:
    stage = Stage(inbox=4)
    stage.connect()
    room = stage.join("r", EPOCH)
    for offset in range(6):
        stage.deliver(room, offset, broadcast(offset + 1))
    assert len(room.inbox) == 4
    assert stage.out.heard() == []
    taken = []
    for expected in ([], [Recover]):
        message, fetch = room.inbox.take()
        taken.append(message.data)
        if fetch:
            stage.core.read_on(room, stage.now)
        heard = stage.out.heard()
        assert [type(one) for one in heard] == expected
    [recover] = heard
    assert isinstance(recover, Recover)
    assert recover.offset == 4
    stage.recovered(recover)
    stage.deliver(room, 4, broadcast(5), broadcast(6))
    assert taken + stage.read(room) == [1, 2, 3, 4, 5, 6]
    assert stage.heard(Recover) == []


def test_a_full_inbox_at_home_makes_a_new_connection_when_half_is_read() -> None:
    stage = Stage(inbox=2)
    stage.connect()
    home = stage.core.home
    for number in (1, 2, 3):
        stage.deliver(home, 0, direct(number, number))
    assert stage.out.hung_up == 0
    assert stage.read(home) == [1, 2]
    assert stage.out.hung_up == 1
    stage.advance_to_dial()
    assert stage.last(Resume).direct == 2


def test_replies_and_failures_reach_those_who_asked(stage: Stage, room: Membership) -> None:
    buy = stage.core.send(room, Kind.REQUEST, "buy", "sword")
    sell = stage.core.send(room, Kind.REQUEST, "sell", "shield")
    assert stage.heard(Request) == [
        Request(room.ref, buy, "buy", "sword"),
        Request(room.ref, sell, "sell", "shield"),
    ]
    refused = int(Code.REQUEST_REFUSED)
    stage.deliver(room, 0, [int(Item.FAILURE), 1, buy, refused, "no gold", {"price": 9}])
    assert (room.acked, room.unacked) == (0, 1)  # what was sent before may have been refused: an ACK tells
    stage.deliver(room, 0, [int(Item.REPLY), 2, sell, {"gold": 3}])
    [(_, first, nothing, error), (where, second, reply, no_error)] = stage.out.replies
    assert (first, second, where) == (buy, sell, room)
    assert isinstance(error, RequestRefused)
    assert (error.text, error.data, nothing) == ("no gold", {"price": 9}, None)
    assert (reply, no_error) == ({"gold": 3}, None)
    assert (room.acked, room.unacked) == (0, 0)
    assert len(room.inbox) == 0


def test_a_reply_is_told_once(stage: Stage, room: Membership) -> None:
    number = stage.core.send(room, Kind.REQUEST, "buy", None)
    for _ in range(2):
        stage.deliver(room, 0, [int(Item.REPLY), 1, number, None])
    assert len(stage.out.replies) == 1


def test_a_reset_puts_one_message_and_goes_on_from_there(stage: Stage, room: Membership) -> None:
    stage.deliver(room, 0, broadcast("old"))
    stage.say(Reset(room.ref, 99, 200, 5, {"board": "x"}))
    stage.deliver(room, 200, broadcast("new"))
    [old, reset, new] = [room.inbox.take()[0] for _ in range(len(room.inbox))]
    assert (old.data, old.kind) == ("old", "broadcast")
    assert (reset.type, reset.data, reset.kind, reset.position) == ("reset", {"board": "x"}, "reset", (99, 200, 5))
    assert (new.data, new.position) == ("new", (99, 201, 5))


def test_a_room_that_started_again_is_reset_after_it_is_recovered(stage: Stage, room: Membership) -> None:
    stage.deliver(room, 0, broadcast("old"))
    stage.reconnect()
    [recover] = stage.heard(Recover)
    joined = stage.joined(recover.ask, "r", 99, offset=3)
    stage.say(Reset(joined.ref, 99, 3, 0, None))
    stage.deliver(room, 3, broadcast("new"))
    assert [room.inbox.take()[0].data for _ in range(3)] == ["old", None, "new"]


# Sending.


def test_messages_are_numbered_for_each_room_and_for_the_server(stage: Stage, room: Membership) -> None:
    other = stage.join("other", 8)
    home = stage.core.home
    for where in (room, other, home, room):
        stage.send(where, "x")
    assert [entry[:2] for entry in stage.sent()] == [(room.ref, 1), (other.ref, 1), (home.ref, 1), (room.ref, 2)]


def test_acknowledged_messages_are_forgotten_and_what_was_not_taken_is_sent_again(
    stage: Stage, room: Membership
) -> None:
    for number in (1, 2, 3, 4):
        stage.send(room, number)
    stage.acknowledge(room, 2)
    assert room.unacked == 2
    stage.reconnect()
    [recover] = stage.heard(Recover)
    joined = stage.recovered(recover, uplink=3)
    assert stage.sent() == [(joined.ref, 4, 4)]
    assert (room.acked, room.unacked) == (2, 2)


def test_messages_to_the_server_are_sent_again_after_the_welcome(stage: Stage) -> None:
    for number in (1, 2, 3):
        stage.send(stage.core.home, number)
    stage.reconnect(uplink=1, ref=77)
    heard = stage.out.heard()
    assert [(one.ref, one.number) for one in heard if isinstance(one, Send)] == [(77, 2), (77, 3)]
    assert heard[-1] == Ack(77, 0)


def test_the_wait_for_an_acknowledgement_goes_on_after_a_reconnect(stage: Stage, room: Membership) -> None:
    stage.send(room, 1)
    stage.reconnect()
    [recover] = stage.heard(Recover)
    joined = stage.recovered(recover)
    assert stage.out.heard()[-1] == Ack(joined.ref, 0)


def test_each_second_the_acknowledgement_is_asked_for_where_it_is_missing(stage: Stage, room: Membership) -> None:
    stage.join("quiet", 8)
    stage.send(room, 1)
    stage.out.heard()
    stage.advance(1.0)
    assert set(stage.out.heard()) == {Ack(room.ref, 0)}
    stage.acknowledge(room, 1)
    stage.advance(1.5)
    assert stage.out.heard() == []


def test_too_many_unacknowledged_messages_are_backpressure() -> None:
    stage = Stage()
    stage.connect(limits={"unacked": 3})
    room = stage.join("r", EPOCH)
    for _ in range(3):
        stage.send(room)
    with pytest.raises(Backpressure) as refused:
        stage.send(room)
    assert refused.value.unacked == 3
    stage.acknowledge(room, 1)
    assert stage.send(room) == 4


def test_an_uplink_gap_sends_again_from_the_number_expected(stage: Stage, room: Membership) -> None:
    for number in (1, 2, 3):
        stage.send(room, number)
    stage.out.heard()
    stage.say(Error(room.ref, 0, int(Code.UPLINK_GAP), "", 2))
    assert stage.sent() == [(room.ref, 2, 2), (room.ref, 3, 3)]
    assert not stage.out.refusals


def test_what_a_full_connection_did_not_take_is_sent_on_the_next_tick(stage: Stage, room: Membership) -> None:
    stage.out.room_for = 2
    for number in (1, 2, 3, 4):
        stage.send(room, number)
    assert [number for _, number, _ in stage.sent()] == [1, 2]
    assert stage.core.tick(stage.now) == pytest.approx(stage.now + 0.02)
    stage.out.heard()
    stage.out.room_for = None
    stage.advance(0.02)
    assert [number for _, number, _ in stage.sent()] == [3, 4]
    stage.advance(0.5)
    assert stage.sent() == []


def test_a_recover_that_a_full_connection_did_not_take_is_said_later(stage: Stage, room: Membership) -> None:
    # PONGs keep the connection alive, so that no reconnect helps: the room stays silent for ever.
    stage.out.room_for = 0
    stage.deliver(room, 5, broadcast("a gap"))
    stage.out.room_for = None
    for _ in range(60):
        stage.advance(1.0)
        stage.say(Pong(1))
    assert len(stage.heard(Recover)) == 1


# Being refused.


def test_an_error_reaches_the_room_whose_message_was_refused(stage: Stage, room: Membership) -> None:
    other = stage.join("other", 8)
    for where in (stage.core.home, room, other):
        stage.send(where, 1)
        stage.send(where, 2)
    stage.say(Error(other.ref, 2, int(Code.RATE_LIMITED), "", None))
    stage.say(Error(stage.core.home.ref, 1, int(Code.BAD_PAYLOAD), "", None))
    [(first, two, limited), (second, one, bad)] = stage.out.refusals
    assert (first, two, second, one) == (other, 2, stage.core.home, 1)
    assert isinstance(limited, RateLimited)
    assert isinstance(bad, BadPayload)
    assert [one.unacked for one in (stage.core.home, room, other)] == [1, 2, 1]


def test_a_refused_message_is_not_sent_again(stage: Stage, room: Membership) -> None:
    for number in (1, 2, 3):
        stage.send(room, number)
    stage.say(Error(room.ref, 2, int(Code.RATE_LIMITED), "", None))
    stage.reconnect()
    [recover] = stage.heard(Recover)
    stage.recovered(recover)
    assert [number for _, number, _ in stage.sent()] == [1, 3]


def test_a_refusal_that_is_said_again_is_told_once(stage: Stage, room: Membership) -> None:
    stage.send(room, 1)
    for _ in range(2):
        stage.say(Error(room.ref, 1, int(Code.RATE_LIMITED), "", None))
    assert [number for _, number, _ in stage.out.refusals] == [1]


def test_what_is_taken_is_not_acknowledged_and_not_sent_again(stage: Stage, room: Membership) -> None:
    for number in (1, 2, 3):
        stage.send(room, number)
    stage.say(Ack(room.ref, 1))
    stage.reconnect()
    [recover] = stage.heard(Recover)
    joined = stage.recovered(recover, uplink=2)
    confirmation, repeated, question = stage.out.heard()
    assert confirmation == question == Ack(joined.ref, 1)  # what it knows, and a question for the rest
    assert isinstance(repeated, Send)
    assert repeated.number == 3
    assert (room.acked, room.unacked) == (1, 2)


def test_an_error_without_a_number_is_told_and_forgets_nothing(stage: Stage, room: Membership) -> None:
    stage.send(room, 1)
    stage.say(Error(0, 0, int(Code.BAD_MESSAGE), "", None))
    [(_, number, _)] = stage.out.refusals
    assert number == 0
    assert room.unacked == 1


def test_an_error_of_a_room_that_was_left_takes_nothing_from_the_server_conversation(
    stage: Stage, room: Membership
) -> None:
    # The room closed while a message was under way to it. Its number is not one of the server's row.
    stage.send(room, "late")
    stage.send(stage.core.home, "mine")
    gone = room.ref
    stage.say(LeftRoom(gone, int(Code.ROOM_CLOSED), "", 0, 0))
    stage.say(Error(gone, 1, int(Code.NOT_A_MEMBER), "", None))
    assert stage.core.home.unacked == 1
    assert [number for where, number, _ in stage.out.refusals if where is stage.core.home] == []


def test_who_is_no_member_any_more_is_out_of_the_room(stage: Stage, room: Membership) -> None:
    stage.send(room, 1)
    stage.say(Error(room.ref, 1, int(Code.NOT_A_MEMBER), "", None))
    assert room.state is MembershipState.ENDED
    assert isinstance(room.error, NotAMember)
    assert stage.core.rooms == {}


# Leaving.


def test_leaving_waits_for_the_answer(stage: Stage, room: Membership) -> None:
    stage.core.leave(room)
    assert stage.out.heard() == [Leave(room.ref)]
    assert stage.core.rooms == {"r": room}
    stage.say(LeftRoom(room.ref, int(Code.LEFT), "", 0, 0))
    assert room.state is MembershipState.ENDED
    assert stage.core.rooms == {}


def test_leaving_while_there_is_no_connection_happens_on_the_next(stage: Stage, room: Membership) -> None:
    stage.lose()
    stage.core.leave(room)
    stage.advance_to_dial()
    resume = stage.last(Resume)
    stage.welcome(resume.ask, resumed=True)
    [recover] = stage.heard(Recover)
    joined = stage.recovered(recover)
    assert stage.heard(Leave) == [Leave(joined.ref)]


def test_a_member_that_is_removed_knows_why_and_others_go_on(stage: Stage, room: Membership) -> None:
    other = stage.join("other", 8)
    stage.say(LeftRoom(room.ref, int(Code.KICKED), "bad manners", 0, 0))
    assert isinstance(room.error, Kicked)
    assert room.error.text == "bad manners"
    assert room in stage.out.progress
    assert (other.state, list(stage.core.rooms)) == (MembershipState.JOINED, ["other"])
    stage.deliver(room, 0, broadcast("late"))
    assert stage.out.misrouted_epochs == [EPOCH]


def test_a_second_seat_that_is_not_wanted_leaves_the_first(stage: Stage, room: Membership) -> None:
    ask = stage.core.requests.ask(lambda ask: JoinById(stage.core.home.ref, ask, "r", {}))
    stage.assigned(ask, "r")
    stage.core.requests.forget(ask)
    assert stage.core.rooms == {"r": room}


def test_a_room_that_is_over_is_not_recovered(stage: Stage, room: Membership) -> None:
    stage.deliver(room, 5, broadcast("a gap"))
    [recover] = stage.heard(Recover)
    stage.say(LeftRoom(room.ref, int(Code.ROOM_CLOSED), "", 0, 0))
    stage.say(Error(0, recover.ask, int(Code.ROOM_NOT_FOUND), "", None))
    assert room.error is not None
    assert not isinstance(room.error, RoomNotFound)
    stage.reconnect()
    assert stage.heard(Recover) == []


# A server that is broken.


@pytest.mark.parametrize(
    "item",
    [
        [int(Item.REPLY), 1, "one", None],
        [int(Item.REPLY), 1, None, None],
        [int(Item.FAILURE), 1, 1, "1032", "text", None],
        [int(Item.FAILURE), 1, 1, [], "text", None],
        [int(Item.FAILURE), 1, 1, 1032, 5, None],
        [int(Item.PRESENCE), "join", []],
        [int(Item.PRESENCE), ["join"], 1],
        [int(Item.BROADCAST), 5, None],
        [int(Item.DIRECT), 1, None, None],
        [int(Item.DIRECT), "1", "message", None],
        ["broadcast"],
        [],
        "item",
    ],
    ids=repr,
)
def test_items_of_another_shape_cost_the_connection(stage: Stage, room: Membership, item: object) -> None:
    stage.core.send(room, Kind.REQUEST, "buy", None)
    stage.deliver(room, 0, item)  # type: ignore[arg-type]  # the point
    assert stage.out.hung_up == 1
    assert stage.core.state is ClientState.WAITING
    assert stage.read(room) == []
    assert stage.out.replies == []


@pytest.mark.parametrize("members", [5, None, [[]], "12", {}])
def test_a_list_of_members_that_is_none_is_ignored(stage: Stage, members: object) -> None:
    room = stage.join("r", EPOCH, info={"members": members})
    assert room.members == set()
