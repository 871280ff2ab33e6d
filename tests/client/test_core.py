"""The client core and its server: connecting, resuming, asking, staying alive, ending."""

from collections.abc import Callable

import pytest

from server_room_system.client.life import ClientState
from server_room_system.client.membership import MembershipState
from server_room_system.protocol import (
    Ack,
    Assigned,
    BrokerUnreachable,
    Cancel,
    CapacityReached,
    ClientData,
    Code,
    Create,
    Displaced,
    Endpoints,
    Error,
    Goodbye,
    Hello,
    Item,
    Join,
    JoinById,
    Joined,
    Leave,
    LeftRoom,
    ListRooms,
    Match,
    MatchExpired,
    Message,
    Ping,
    Pong,
    Recover,
    Rekeyed,
    Resume,
    RoomFull,
    Rooms,
    Send,
    ServerStopping,
    SessionUnknown,
    Ticket,
    VersionMismatch,
    Welcome,
    encode,
)

from .fakes import ADDRESS, HOME_EPOCH, SESSION, START, Stage, direct, secret

RULESET: list[object] = [2, None, {}]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def match(stage: Stage) -> int:
    return stage.core.requests.ask(lambda ask: Match(stage.core.home.ref, ask, RULESET, {}, 30.0))


# Connecting.


def test_a_client_says_hello_when_the_connection_stands(stage: Stage) -> None:
    stage.core.open(START)
    assert stage.out.dialled == [START]
    assert stage.out.heard() == []
    stage.core.up(START)
    [hello] = stage.out.heard()
    assert isinstance(hello, Hello)
    assert (hello.versions, hello.software, hello.options) == ([1], "test", {"enter": True})
    assert hello.ask >= 1 << 31


def test_welcome_opens_the_session_and_is_confirmed(stage: Stage) -> None:
    stage.open()
    welcome = stage.welcome(stage.last(Hello).ask)
    assert stage.core.state is ClientState.ONLINE
    assert stage.core.data == ClientData(12, "192.0.2.7")
    assert stage.out.opened_with == [False]
    assert stage.out.heard() == [Ack(welcome.ref, 0)]


def test_the_announced_limits_are_taken_over(stage: Stage) -> None:
    stage.connect(limits={"unacked": 2, "ping_interval": 1.0, "ping_timeout": 3.0, "new in version 9": 1})
    stage.send(stage.core.home)
    stage.send(stage.core.home)
    assert stage.core.home.full
    stage.out.heard()
    stage.advance(1.0)
    assert stage.heard(Ping) == [Ping(1)]
    stage.advance(2.0)
    assert stage.out.interruptions


def test_a_refused_connection_is_tried_again_until_the_time_is_over() -> None:
    stage = Stage(connect_timeout=5.0)
    stage.core.open(START)
    attempts = 0
    while not stage.out.endings:
        attempts += 1
        stage.core.down("refused", stage.now)
        if not stage.out.endings:
            stage.advance(stage.core.tick(stage.now) - stage.now)  # type: ignore[operator]  # there is a next attempt
    [error] = stage.out.endings
    assert isinstance(error, BrokerUnreachable)
    assert (error.address, error.attempts) == (ADDRESS, attempts)
    assert len(stage.out.dialled) == attempts >= 3
    assert 4.95 < error.waited <= 5.0
    assert error.waited == pytest.approx(stage.now - START)
    assert stage.core.state is ClientState.CLOSED
    pauses = [after - before for before, after in zip(stage.out.dialled, stage.out.dialled[1:], strict=False)]
    longest = pauses.index(max(pauses))
    assert pauses[: longest + 1] == sorted(pauses[: longest + 1])
    assert pauses[0] == pytest.approx(0.16 * 0.6)


def test_silence_is_given_up_after_five_seconds_and_tried_again() -> None:
    stage = Stage(connect_timeout=12.0)
    stage.open()
    assert stage.core.tick(START) == START + 5.0
    stage.advance(4.9)
    assert stage.out.hung_up == 0
    stage.advance(0.1)
    assert (stage.out.hung_up, stage.core.state) == (1, ClientState.WAITING)
    stage.advance_to_dial()
    assert stage.core.state is ClientState.OPENING


def test_a_connection_that_never_stands_is_given_up_as_well() -> None:
    stage = Stage(connect_timeout=60.0)
    stage.core.open(START)
    stage.advance(5.0)
    assert (stage.out.hung_up, stage.core.state) == (1, ClientState.WAITING)


def test_no_answer_ends_at_the_connect_timeout_and_not_after_it() -> None:
    stage = Stage(connect_timeout=2.0)
    stage.open()
    stage.advance(1.9)
    assert not stage.out.endings
    stage.advance(0.1)
    [error] = stage.out.endings
    assert isinstance(error, BrokerUnreachable)
    assert (error.attempts, error.waited) == (1, 2.0)


def test_after_a_welcome_the_pauses_begin_anew(stage: Stage) -> None:
    stage.core.open(START)
    for _ in range(3):
        stage.core.down("refused", stage.now)
        stage.advance(stage.core.tick(stage.now) - stage.now)  # type: ignore[operator]  # there is a next attempt
    stage.core.up(stage.now)
    stage.welcome(stage.last(Hello).ask)
    stage.lose()
    assert stage.core.tick(stage.now) == pytest.approx(stage.now + 0.16 * 0.6)


@pytest.mark.parametrize("code", [Code.VERSION_MISMATCH, Code.SERVER_STOPPING])
def test_a_goodbye_instead_of_a_welcome_is_the_error(stage: Stage, code: Code) -> None:
    stage.open()
    stage.say(Goodbye(0, int(code), ""))
    [error] = stage.out.endings
    assert isinstance(error, VersionMismatch | ServerStopping)
    assert error.code == code


def test_an_error_instead_of_a_welcome_is_the_error(stage: Stage) -> None:
    stage.open()
    stage.say(Error(0, stage.last(Hello).ask, int(Code.CAPACITY_REACHED), "full", None))
    [error] = stage.out.endings
    assert isinstance(error, CapacityReached)


# Resuming.


def test_a_lost_connection_is_resumed_with_the_token_and_the_place(stage: Stage) -> None:
    stage.connect(token=secret(77))
    stage.deliver(stage.core.home, 0, direct(1, "one"), direct(2, "two"))
    stage.lose()
    assert stage.out.interruptions == ["cut"]
    assert stage.core.home.state is MembershipState.AWAY
    stage.advance_to_dial()
    [resume] = stage.out.heard()
    assert isinstance(resume, Resume)
    assert (resume.versions, resume.session, resume.token, resume.direct) == ([1], SESSION, secret(77), 2)


def test_a_resumed_session_is_the_same_one(stage: Stage) -> None:
    stage.connect()
    home = stage.core.home
    stage.deliver(home, 0, direct(1, "one"))
    stage.reconnect(client_id=99, epoch=HOME_EPOCH)
    assert stage.out.opened_with == [False, True]
    assert stage.core.home is home
    assert home.state is MembershipState.JOINED
    assert stage.core.data.ID == 12
    stage.deliver(home, 0, direct(1, "one"), direct(2, "two"))
    assert stage.read(home) == ["one", "two"]


def test_each_welcome_brings_the_token_for_the_next_resume(stage: Stage) -> None:
    stage.connect(token=secret(1))
    assert stage.reconnect(token=secret(2)).token == secret(1)
    assert stage.reconnect(token=secret(3)).token == secret(2)
    assert stage.reconnect().token == secret(3)


def test_without_an_answer_the_next_resume_shows_the_same_token(stage: Stage) -> None:
    stage.connect(token=secret(1))
    stage.lose()
    stage.advance_to_dial()
    first = stage.last(Resume)
    stage.advance(5.0)
    stage.advance_to_dial()
    second = stage.last(Resume)
    assert first.token == second.token == secret(1)


def test_the_reconnect_timeout_counts_from_the_loss() -> None:
    stage = Stage(connect_timeout=1.0, reconnect_timeout=20.0)
    stage.connect()
    stage.advance(4.0)
    lost = stage.now
    stage.lose()
    while not stage.out.endings:
        stage.advance(0.5)
    [error] = stage.out.endings
    assert isinstance(error, BrokerUnreachable)
    assert 10.0 < error.waited <= 20.0
    assert error.waited <= stage.now - lost


def test_a_loss_while_it_is_resumed_does_not_begin_the_time_anew() -> None:
    stage = Stage(reconnect_timeout=10.0)
    stage.connect()
    lost = stage.now
    stage.lose()
    while not stage.out.endings:
        stage.advance_to_dial()
        stage.advance(1.0)
        stage.lose()
    assert stage.now - lost <= 11.0
    assert stage.out.interruptions == ["cut"]


# The server's goodbyes.


def test_goodbye_3001_to_a_resume_ends_the_client(stage: Stage) -> None:
    stage.connect()
    room = stage.join("r", 7)
    stage.lose()
    stage.advance_to_dial()
    stage.say(Goodbye(0, int(Code.SESSION_UNKNOWN), ""))
    [error] = stage.out.endings
    assert isinstance(error, SessionUnknown)
    assert isinstance(room.error, SessionUnknown)
    assert room.state is MembershipState.ENDED
    assert stage.core.state is ClientState.CLOSED
    assert stage.core.tick(stage.now) is None


def test_goodbye_2001_is_a_loss_that_is_resumed(stage: Stage) -> None:
    stage.connect()
    stage.say(Goodbye(0, int(Code.CONNECTION_TIMED_OUT), ""))
    assert not stage.out.endings
    assert stage.out.hung_up == 1
    stage.advance_to_dial()
    stage.last(Resume)


def test_a_server_that_stops_ends_the_client(stage: Stage) -> None:
    stage.connect()
    stage.say(Goodbye(0, int(Code.SERVER_STOPPING), "see you"))
    [error] = stage.out.endings
    assert isinstance(error, ServerStopping)
    assert error.text == "see you"
    assert stage.out.hung_up == 1


def test_a_displaced_client_does_not_take_the_session_back(stage: Stage) -> None:
    stage.connect()
    stage.say(Goodbye(stage.core.home.ref, int(Code.DISPLACED), ""))
    [error] = stage.out.endings
    assert isinstance(error, Displaced)
    stage.advance(60.0)
    assert len(stage.out.dialled) == 1


def test_a_goodbye_of_an_unknown_temporary_code_is_a_loss(stage: Stage) -> None:
    stage.connect()
    stage.say(Goodbye(0, 2042, "back in a minute"))
    assert stage.core.state is ClientState.WAITING


def test_a_goodbye_to_another_session_of_the_connection_is_not_ours(stage: Stage) -> None:
    stage.connect()
    stage.say(Goodbye(stage.core.home.ref + 1, int(Code.SESSION_ENDED), ""))
    assert stage.core.state is ClientState.ONLINE


# Asking.


def test_an_answer_comes_under_the_number_of_its_request(stage: Stage) -> None:
    stage.connect()
    first = stage.core.requests.ask(lambda ask: ListRooms(stage.core.home.ref, ask, None))
    second = stage.core.requests.ask(lambda ask: ListRooms(stage.core.home.ref, ask, "duel"))
    assert [one.ask for one in stage.heard(ListRooms)] == [first, second]
    stage.say(Rooms(stage.core.home.ref, second, [{"room": "r"}]))
    stage.say(Error(stage.core.home.ref, first, int(Code.CAPACITY_REACHED), "", None))
    [(asked, rooms), (refused, error)] = stage.out.answers
    assert (asked, refused) == (second, first)
    assert isinstance(rooms, Rooms)
    assert rooms.rooms == [{"room": "r"}]
    assert isinstance(error, CapacityReached)


def test_an_answer_is_told_once(stage: Stage) -> None:
    stage.connect()
    ask = stage.core.requests.ask(lambda ask: ListRooms(stage.core.home.ref, ask, None))
    for _ in range(2):
        stage.say(Rooms(stage.core.home.ref, ask, []))
        stage.say(Error(stage.core.home.ref, ask, int(Code.CAPACITY_REACHED), "", None))
    assert len(stage.out.answers) == 1


def test_what_was_not_answered_is_asked_again_under_the_same_number_and_the_new_ref(stage: Stage) -> None:
    stage.connect()
    ref = stage.core.home.ref
    answered = stage.core.requests.ask(lambda ask: ListRooms(stage.core.home.ref, ask, None))
    ticket = match(stage)
    create = stage.core.requests.ask(lambda ask: Create(stage.core.home.ref, ask, RULESET, {}))
    assert {message[0] for message in stage.out.heard()} == {ref}
    stage.say(Rooms(ref, answered, []))
    stage.reconnect(ref=4321)
    assert stage.out.heard() == [
        Ack(4321, 0),
        Match(4321, ticket, RULESET, {}, 30.0),
        Create(4321, create, RULESET, {}),
    ]


def test_what_is_asked_while_there_is_no_connection_is_said_on_the_next(stage: Stage) -> None:
    stage.connect()
    stage.lose()
    ask = match(stage)
    assert stage.out.heard() == []
    stage.advance_to_dial()
    resume = stage.last(Resume)
    stage.welcome(resume.ask, resumed=True)
    assert [one.ask for one in stage.heard(Match)] == [ask]


def test_a_ticket_is_no_answer(stage: Stage) -> None:
    stage.connect()
    ask = match(stage)
    stage.say(Ticket(stage.core.home.ref, ask, 30.0))
    assert not stage.out.answers
    stage.say(Error(stage.core.home.ref, ask, int(Code.MATCH_EXPIRED), "", None))
    [(asked, error)] = stage.out.answers
    assert asked == ask
    assert isinstance(error, MatchExpired)


# Taking seats.


def test_a_seat_is_taken_at_once_and_the_room_is_the_answer(stage: Stage) -> None:
    stage.connect()
    ask = match(stage)
    stage.out.heard()
    stage.say(Assigned(stage.core.home.ref, ask, "r", None, secret(55), 15.0))
    assert stage.out.heard() == [Join(ask, "r", secret(55), {})]
    assert not stage.out.answers
    stage.say(Joined(ask, 9, "r", "duel", 7, 40, 3, 0, secret(56), None, {"max_clients": 2, "members": [12, 13]}))
    assert stage.out.heard() == [Ack(9, 0)]
    room = stage.core.rooms["r"]
    assert stage.out.answers == [(ask, room)]
    assert (room.state, room.ref, room.type) == (MembershipState.JOINED, 9, "duel")
    assert room.reader.position == (7, 40, 3)
    assert room.members == {12, 13}
    assert room.info["max_clients"] == 2


def test_a_room_that_refuses_is_the_answer(stage: Stage) -> None:
    stage.connect()
    ask = match(stage)
    stage.assigned(ask, "r")
    stage.say(Error(0, ask, int(Code.ROOM_FULL), "", None))
    [(asked, error)] = stage.out.answers
    assert asked == ask
    assert isinstance(error, RoomFull)
    assert stage.core.rooms == {}


def test_an_answer_that_does_not_fit_its_question_is_nonsense(stage: Stage) -> None:
    stage.connect()
    listing = stage.core.requests.ask(lambda ask: ListRooms(stage.core.home.ref, ask, None))
    matching = match(stage)
    for answer in (Rooms(0, matching, []), Endpoints(0, listing, []), Assigned(0, listing, "r", None, bytes(16), 1.0)):
        stage.say(answer)
        assert stage.out.interruptions[-1].startswith("the server sent nonsense")
        stage.advance_to_dial()
        stage.welcome(stage.last(Resume).ask, resumed=True)
    assert stage.out.answers == []
    stage.say(Rooms(0, listing, []))
    assert stage.out.answers == [(listing, Rooms(0, listing, []))]


def test_a_seat_that_nobody_wants_any_more_is_given_back(stage: Stage) -> None:
    stage.connect()
    ask = stage.core.requests.ask(lambda ask: Create(stage.core.home.ref, ask, RULESET, {}))
    stage.core.requests.forget(ask)
    stage.out.heard()
    stage.assigned(ask, "r")
    assert stage.out.heard() == [Cancel(stage.core.home.ref, ask)]
    assert not stage.out.answers


def test_a_room_that_nobody_wants_any_more_is_left(stage: Stage) -> None:
    stage.connect()
    ask = match(stage)
    stage.assigned(ask, "r")
    stage.core.requests.forget(ask)
    stage.out.heard()
    joined = stage.joined(ask, "r", 7)
    assert stage.out.heard() == [Leave(joined.ref)]
    assert stage.core.rooms == {}
    assert not stage.out.answers


def test_a_match_that_is_forgotten_is_cancelled_and_other_requests_are_not(stage: Stage) -> None:
    stage.connect()
    ask = match(stage)
    listing = stage.core.requests.ask(lambda ask: ListRooms(stage.core.home.ref, ask, None))
    stage.out.heard()
    stage.core.requests.forget(listing)
    assert stage.out.heard() == []
    stage.core.requests.forget(ask)
    stage.core.requests.forget(ask)
    assert stage.out.heard() == [Cancel(stage.core.home.ref, ask)]
    stage.say(Error(stage.core.home.ref, ask, int(Code.MATCH_CANCELLED), "", None))
    assert not stage.out.answers


def test_what_is_forgotten_is_not_asked_again(stage: Stage) -> None:
    stage.connect()
    stage.core.requests.forget(match(stage))
    joining = match(stage)
    stage.assigned(joining, "r")
    stage.core.requests.forget(joining)
    stage.reconnect()
    assert [message for message in stage.out.heard() if isinstance(message, Match | Join)] == []


def test_a_join_without_an_answer_is_said_again_after_a_reconnect(stage: Stage) -> None:
    stage.connect()
    ask = match(stage)
    assigned = stage.assigned(ask, "r")
    stage.reconnect()
    heard = stage.out.heard()
    assert [message for message in heard if isinstance(message, Match)] == []
    assert [one for one in heard if isinstance(one, Join)] == [Join(ask, "r", assigned.reservation, {})]
    stage.joined(ask, "r", 7)
    assert stage.out.answers == [(ask, stage.core.rooms["r"])]


# Signs of life.


def test_a_quiet_server_is_pinged_and_given_up_in_the_end(stage: Stage) -> None:
    stage.connect()
    stage.advance(2.0)
    assert stage.heard(Ping) == []
    stage.advance(1.0)
    assert stage.heard(Ping) == [Ping(1)]
    stage.advance(5.0)
    assert stage.heard(Ping) == [Ping(2)]
    assert not stage.out.interruptions
    stage.advance(1.0)
    assert stage.out.interruptions == ["nothing was heard for too long"]
    assert stage.out.hung_up == 1
    stage.advance_to_dial()
    stage.last(Resume)


@pytest.mark.parametrize("sign", [Pong(1), Ticket(1, 1, 1.0), Rooms(1, 1, [])])
def test_any_frame_is_a_sign_of_life(stage: Stage, sign: Message) -> None:
    stage.connect()
    for _ in range(10):
        stage.advance(4.0)
        stage.say(sign)
    assert stage.core.state is ClientState.ONLINE
    assert stage.out.hung_up == 0


def test_a_client_that_only_listens_shows_that_it_lives(stage: Stage) -> None:
    # The server would give it up: that the client hears does not mean that it is heard.
    stage.connect()
    for second in range(7):
        stage.deliver(stage.core.home, 0, direct(second + 1, "news"))
        stage.advance(1.0)
    assert stage.heard(Ping) == [Ping(1), Ping(2)]


# Frames that make no sense.

ITEM_OF_NO_KIND = [99, 1]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc0",
        b"\x90",
        b"\x92\x05\x01\x00",
        encode(Pong(1))[:-1],
        encode(Pong(1)) + b"\x00",
        b"\x92\x05\xa1x",
        b"\x93\x05\x01\x02",
        b"\x92\x05\xc7\x00\x01",
    ],
    ids=["empty", "nil", "no kind", "trailing", "cut off", "two values", "text for a number", "extra field", "ext"],
)
def test_frames_of_nonsense_cost_the_connection_and_the_client_comes_back(stage: Stage, frame: bytes) -> None:
    stage.connect()
    stage.core.receive(frame, stage.now)
    assert stage.out.hung_up == 1
    assert not stage.out.endings
    [reason] = stage.out.interruptions
    assert reason.startswith("the server sent nonsense")
    stage.advance_to_dial()
    stage.last(Resume)


def test_items_of_nonsense_cost_the_connection(stage: Stage) -> None:
    stage.connect()
    room = stage.join("r", 7)
    stage.deliver(room, 0, [int(Item.BROADCAST), "message", "good"], ITEM_OF_NO_KIND)
    assert stage.out.hung_up == 1
    assert stage.read(room) == ["good"]
    stage.advance_to_dial()
    resume = stage.last(Resume)
    stage.welcome(resume.ask, resumed=True)
    assert [one.offset for one in stage.heard(Recover)] == [1]


@pytest.mark.parametrize("what", [lambda ref: LeftRoom(ref, 3100, "", 0, 0), Rekeyed], ids=["left", "rekeyed"])
def test_what_is_said_of_rooms_alone_is_nonsense_of_the_session(stage: Stage, what: Callable[[int], Message]) -> None:
    stage.connect()
    stage.say(what(stage.core.home.ref))
    assert stage.out.interruptions[-1].startswith("the server sent nonsense")
    stage.advance_to_dial()
    stage.welcome(stage.last(Resume).ask, resumed=True)
    assert stage.core.home.state is MembershipState.JOINED


def test_nonsense_before_the_welcome_is_an_attempt_that_failed(stage: Stage) -> None:
    stage.open()
    stage.core.receive(b"HTTP/1.1 400 Bad Request", stage.now)
    assert (stage.out.hung_up, stage.core.state) == (1, ClientState.WAITING)


def test_messages_of_unknown_kinds_are_ignored(stage: Stage) -> None:
    stage.connect()
    stage.core.receive(b"\x92\x7f\x01", stage.now)
    stage.core.receive(b"\x91\x00", stage.now)
    assert stage.core.state is ClientState.ONLINE
    assert stage.out.hung_up == 0


def test_a_second_welcome_changes_nothing(stage: Stage) -> None:
    stage.connect()
    ref = stage.core.home.ref
    stage.say(Welcome(1, 1, 999, "x", secret(9), 1, "", 1, 0, 0, False, {}))
    assert stage.core.home.ref == ref
    assert stage.out.heard() == []


# Closing.


def test_close_says_goodbye_and_nothing_after(stage: Stage) -> None:
    stage.connect()
    room = stage.join("r", 7)
    home, ref = stage.core.home, stage.core.home.ref
    stage.send(room, 1)
    stage.out.heard()
    stage.core.close()
    assert stage.out.heard() == [Goodbye(ref, int(Code.SESSION_ENDED), "")]
    assert stage.out.endings == [None]
    assert (room.state, room.error) == (MembershipState.ENDED, None)
    assert stage.out.hung_up == 1

    stage.send(home, 2)
    match(stage)
    stage.core.ask_ack(home)
    stage.core.leave(room)
    stage.core.read_on(room, stage.now)
    stage.lose()
    stage.advance(60.0)
    stage.core.close()
    assert stage.out.heard() == []
    assert stage.out.endings == [None]
    assert len(stage.out.dialled) == 1


@pytest.mark.parametrize("state", [ClientState.IDLE, ClientState.DIALING, ClientState.OPENING, ClientState.WAITING])
def test_close_without_a_session_on_the_line_says_nothing(stage: Stage, state: ClientState) -> None:
    if state is not ClientState.IDLE:
        stage.core.open(START)
    if state is ClientState.OPENING:
        stage.core.up(START)
    if state is ClientState.WAITING:
        stage.lose()
    assert stage.core.state is state
    stage.out.heard()
    stage.core.close()
    assert stage.core.state is ClientState.CLOSED
    assert stage.out.heard() == []
    assert stage.out.endings == [None]


# What broke once, or could.


def test_requests_are_numbered_apart_from_messages(stage: Stage) -> None:
    stage.connect()
    number = stage.send(stage.core.home, "hello")
    ask = stage.core.requests.ask(lambda ask: JoinById(stage.core.home.ref, ask, "r", {}))
    assert number == 1
    assert ask >= 1 << 31
    assert [one.number for one in stage.heard(Send)] == [1]


def test_a_match_that_was_forgotten_while_away_is_cancelled_on_the_next_connection(stage: Stage) -> None:
    stage.connect()
    ask = match(stage)
    stage.lose()
    stage.core.requests.forget(ask)
    stage.advance_to_dial()
    resume = stage.last(Resume)
    stage.welcome(resume.ask, resumed=True)
    assert [one.ask for one in stage.heard(Cancel)] == [ask]
