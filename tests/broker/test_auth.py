"""Who may open a session: the admission, and what reception and broker make of its answers."""

from typing import Any

import pytest

from server_room_system import AuthRefused, BrokerLimits, ClientData, Code, NotAMember, PayloadError, RuleSet
from server_room_system.broker.auth import Asking, Peer
from server_room_system.protocol import Error, Goodbye, Hello, Match, Resume, Welcome
from server_room_system.rooms.control import OpenRoom, RoomUpdated, Seated
from server_room_system.transport.locks import Vouched, key_to_text

from .fakes import Bench, FakeCaller

WHO = {"sub": "ada", "roles": ["player"]}


class Door:
    """A broker that asks who its clients are, and its ``on_auth`` to play."""

    def __init__(self, life: int = 1, **limits: Any) -> None:
        self.bench = Bench(BrokerLimits(**limits), asks=True, life=life)
        self.out = self.bench.out
        self.admission = self.bench.broker.admission

    def knock(self, credentials: Any = "good", address: str = "10.0.0.1", ask: int = 7) -> FakeCaller:
        caller = FakeCaller(self.out)
        caller.address = address
        self.bench.say(caller, Hello(ask, [1], "test", {"credentials": credentials}))
        return caller

    def answer(self, who: Any = None, asking: Asking | None = None) -> None:
        with self.out.turn():
            self.admission.answered(asking or self.out.to_check[-1], who)

    def fail(self, error: BaseException, asking: Asking | None = None) -> None:
        with self.out.turn():
            self.admission.failed(asking or self.out.to_check[-1], error)

    def welcome(self, caller: FakeCaller) -> Welcome:
        (welcome,) = (message for message in caller.heard() if isinstance(message, Welcome))
        return welcome

    def assert_nothing_is_left(self) -> None:
        assert len(self.admission) == 0
        assert not self.admission._of_address
        assert self.out.alarms.next() is None


@pytest.fixture
def door() -> Door:
    return Door()


def codes(caller: FakeCaller) -> list[tuple[int, int]]:
    """The errors that it heard: number of the question, and code."""
    return [(message.ask, message.code) for message in caller.heard() if isinstance(message, Error)]


# What is asked, and what follows.


def test_a_hello_waits_for_the_hook_and_no_session_is_there_before(door: Door) -> None:
    caller = door.knock({"token": "t"}, "192.0.2.1")
    (asking,) = door.out.to_check
    assert (asking.credentials, asking.peer) == ({"token": "t"}, Peer("192.0.2.1"))
    assert caller.heard() == []
    assert len(door.bench.broker.sessions) == 0
    door.answer(WHO)
    welcome = door.welcome(caller)
    assert (welcome.ask, welcome.client_id) == (7, 1)
    session = door.bench.broker.sessions.get(welcome.session)
    assert session is not None
    assert session.auth == session.data.AUTH == WHO
    assert set(caller.refs.values()) == {session}
    door.assert_nothing_is_left()


def test_who_shows_nothing_is_asked_about_as_well(door: Door) -> None:
    caller = FakeCaller(door.out)
    door.bench.say(caller, Hello(1, [1], "test", {}))
    assert door.out.to_check[0].credentials is None
    door.answer("guest")
    assert door.welcome(caller)


def test_nobody_is_asked_where_there_is_no_hook() -> None:
    bench = Bench()
    caller = FakeCaller(bench.out)
    bench.say(caller, Hello(1, [1], "test", {"credentials": "ignored"}))
    (welcome,) = caller.heard()
    assert isinstance(welcome, Welcome)
    session = bench.broker.sessions.get(welcome.session)
    assert session is not None
    assert session.auth is None
    assert bench.out.to_check == []


def test_a_refusal_reaches_the_client_in_the_hooks_words_and_its_connection_is_closed(door: Door) -> None:
    caller = door.knock("stolen")
    door.fail(AuthRefused("this account is closed"))
    assert caller.heard() == [Error(0, 7, 3008, "this account is closed", None)]
    assert caller.hung_up
    assert door.out.refused_at == ["10.0.0.1"]
    assert len(door.bench.broker.sessions) == 0
    door.assert_nothing_is_left()


def test_a_refusal_says_nothing_but_its_sentence(door: Door) -> None:
    class Private(AuthRefused):
        def __init__(self) -> None:
            super().__init__("no", {"password": "hunter2"})

    caller = door.knock()
    door.fail(Private())
    assert caller.heard() == [Error(0, 7, 3008, "no", None)]


@pytest.mark.parametrize("error", [ValueError("the password is hunter2"), SystemExit(1)], ids=repr)
def test_a_hook_that_breaks_is_no_refusal_and_nothing_of_it_is_told(door: Door, error: BaseException) -> None:
    caller = door.knock()
    door.fail(error)
    assert caller.heard() == [Error(0, 7, 2002, "the server can't check just now who this client is", None)]
    assert door.out.refused_at == []
    door.assert_nothing_is_left()


def test_a_connection_with_other_sessions_outlives_a_refusal(door: Door) -> None:
    caller = door.knock()
    door.answer(WHO)
    first = door.welcome(caller)
    door.bench.say(caller, Hello(8, [1], "test", {"credentials": "bad"}))
    door.fail(AuthRefused())
    assert codes(caller) == [(8, 3008)]
    assert not caller.hung_up
    assert first.ref in caller.refs


@pytest.mark.parametrize(
    "who",
    [object(), "x" * 5000, {1: "a key that is no text"}, [[[[[[[[[1]]]]]]]]]],
    ids=["object", "long", "number as key", "nested"],
)
def test_what_rooms_could_not_be_told_opens_no_session(door: Door, who: Any) -> None:
    caller = door.knock()
    with pytest.raises(PayloadError):
        door.answer(who)
    assert codes(caller) == [(7, 2002)]
    door.assert_nothing_is_left()


# Time, bounds, and those who vanish.


def test_a_hook_that_takes_too_long_is_given_up(door: Door) -> None:
    caller = door.knock()
    door.out.advance(3.9)
    assert caller.heard() == []
    door.out.advance(0.2)
    assert codes(caller) == [(7, 2002)]
    assert door.out.unwanted == door.out.to_check
    door.answer(WHO)  # too late: it is not wanted any more
    assert caller.heard() == []
    assert len(door.bench.broker.sessions) == 0
    door.assert_nothing_is_left()


def test_of_who_vanishes_nothing_is_left(door: Door) -> None:
    caller = door.knock()
    caller.lose()
    assert door.out.unwanted == door.out.to_check
    door.assert_nothing_is_left()
    door.answer(WHO)
    door.fail(AuthRefused())
    assert len(door.bench.broker.sessions) == 0
    assert door.out.refused_at == []


def test_one_address_can_not_take_all_the_waiting_places() -> None:
    door = Door(auth_waiting=5, auth_waiting_of_an_address=2)
    greedy = [door.knock(address="192.0.2.1") for _ in range(3)]
    assert [codes(caller) for caller in greedy] == [[], [], [(7, 2002)]]
    others = [door.knock(address=f"192.0.2.{number}") for number in range(2, 6)]
    assert [codes(caller) for caller in others] == [[], [], [], [(7, 2002)]], "five wait in all"
    greedy[0].lose()
    assert codes(door.knock(address="192.0.2.9")) == [], "a place is free again"
    for asking in list(door.out.to_check):
        door.answer(WHO, asking)
    door.assert_nothing_is_left()


def test_the_places_of_sessions_are_counted_before_and_after_the_hook() -> None:
    door = Door(sessions=1)
    first, second = door.knock(), door.knock(ask=9)
    one, other = door.out.to_check
    door.answer(WHO, one)
    door.answer(WHO, other)
    assert door.welcome(first)
    assert codes(second) == [(9, 1008)]
    third = door.knock()
    assert codes(third) == [(7, 1008)], "nobody is asked in vain"
    assert len(door.out.to_check) == 2


def test_a_server_that_stops_meanwhile_opens_no_session(door: Door) -> None:
    caller = door.knock()
    door.bench.broker.reception.stopping = True
    door.answer(WHO)
    (goodbye,) = caller.heard()
    assert isinstance(goodbye, Goodbye)
    assert goodbye.code == Code.SERVER_STOPPING


def test_what_is_sent_to_the_place_of_a_hello_that_waits_finds_nobody(door: Door) -> None:
    caller = door.knock()
    (ref,) = caller.refs
    asking = caller.refs[ref]
    asking.on_send([40, ref, 1, "message", "hello"])
    asking.on_request([41, ref, 2, "buy", None])
    assert codes(caller) == [(0, 1004), (0, 1004)]
    with pytest.raises(NotAMember):
        asking.on_ack(1)
    with pytest.raises(NotAMember):
        asking.on_leave()
    door.answer(WHO)
    assert door.welcome(caller)


# A session that is taken back.


def resumed(door: Door, session: str, token: bytes, options: dict[str, Any]) -> FakeCaller:
    caller = FakeCaller(door.out)
    door.bench.say(caller, Resume(3, [1], session, token, 0, options))
    return caller


def test_a_session_that_is_taken_back_is_not_asked_again(door: Door) -> None:
    caller = door.knock()
    door.answer(WHO)
    welcome = door.welcome(caller)
    caller.lose()
    again = resumed(door, welcome.session, welcome.token, {})
    assert door.welcome(again).resumed
    assert len(door.out.to_check) == 1


def of_a_broker_before() -> tuple[str, bytes]:
    before = Door(life=1)
    caller = before.knock()
    before.answer(WHO)
    welcome = before.welcome(caller)
    return welcome.session, welcome.token


def test_a_broker_that_was_started_anew_asks_for_the_credentials_again() -> None:
    session, token = of_a_broker_before()
    door = Door(life=2)
    caller = resumed(door, session, token, {})
    assert codes(caller) == [(3, 1018)]
    assert not caller.hung_up
    door.bench.say(caller, Resume(4, [1], session, token, 0, {"credentials": "still good"}))
    (asking,) = door.out.to_check
    assert asking.credentials == "still good"
    door.answer({"sub": "ada", "exp": 2})
    welcome = door.welcome(caller)
    assert (welcome.ask, welcome.session, welcome.resumed) == (4, session, True)
    back = door.bench.broker.sessions.get(session)
    assert back is not None
    assert back.auth == {"sub": "ada", "exp": 2}


def test_after_a_restart_expired_credentials_do_not_bring_a_session_back() -> None:
    session, token = of_a_broker_before()
    door = Door(life=2)
    caller = resumed(door, session, token, {"credentials": "expired"})
    door.fail(AuthRefused("expired"))
    assert codes(caller) == [(3, 3008)]
    assert door.bench.broker.sessions.get(session) is None


def test_a_worker_tells_a_broker_that_was_started_anew_who_its_members_are() -> None:
    session, token = of_a_broker_before()
    door = Door(life=2)
    door.bench.worker.adopted = True
    door.bench.report(RoomUpdated("r1", "duel", 1, 1, 2, False, {}))
    door.bench.report(Seated("r1", session, ClientData(1, "10.0.0.1", WHO)))
    caller = resumed(door, session, token, {})
    assert door.welcome(caller).resumed
    known = door.bench.broker.sessions.get(session)
    assert known is not None
    assert known.auth == WHO
    assert door.out.to_check == []


def test_a_forged_token_is_refused_before_anybody_is_asked() -> None:
    session, token = of_a_broker_before()
    door = Door(life=2)
    caller = resumed(door, session, bytes(len(token)), {"credentials": "good"})
    (goodbye,) = caller.heard()
    assert isinstance(goodbye, Goodbye)
    assert goodbye.code == Code.SESSION_UNKNOWN
    assert door.out.to_check == []


# Where it goes.


def test_who_it_is_goes_to_the_worker_with_the_seat(door: Door) -> None:
    caller = door.knock()
    door.answer(WHO)
    welcome = door.welcome(caller)
    door.bench.say(caller, Match(welcome.ref, 2, RuleSet(1).to_wire(), {}, 10.0))
    (order,) = door.out.asked_for(OpenRoom)
    assert order.seats[0].client == ClientData(1, "10.0.0.1", WHO)


def test_the_server_can_end_a_session(door: Door) -> None:
    caller = door.knock()
    door.answer(WHO)
    welcome = door.welcome(caller)
    session = door.bench.broker.sessions.get(welcome.session)
    assert session is not None
    with door.out.turn():
        session.send("note", "last words")
        session.end("your subscription is over")
        session.end("twice is once")
    heard = caller.heard()
    assert heard[-1] == Goodbye(welcome.ref, 3004, "your subscription is over")
    assert len(heard) == 2
    assert door.bench.broker.sessions.get(welcome.session) is None
    assert resumed(door, welcome.session, welcome.token, {}).heard()[0][:2] == (0, Code.SESSION_UNKNOWN)


# Sessions are bound to the key that was proved.

ANN, EVE = Vouched(key=b"a" * 32), Vouched(key=b"e" * 32)


def with_key(bench: Bench, vouched: Vouched) -> FakeCaller:
    caller = FakeCaller(bench.out)
    caller.vouched = vouched
    return caller


def test_the_hook_hears_of_the_key(door: Door) -> None:
    caller = with_key(door.bench, ANN)
    door.bench.say(caller, Hello(1, [1], "test", {}))
    assert door.out.to_check[0].peer == Peer(caller.address, key_to_text(b"a" * 32), None)


def test_the_name_of_a_password_is_who_it_is_where_nobody_is_asked() -> None:
    bench = Bench()
    caller = with_key(bench, Vouched(user="ada"))
    bench.say(caller, Hello(1, [1], "test", {}))
    (session,) = bench.broker.sessions
    assert session.auth == "ada"


@pytest.mark.parametrize("life", [1, 2], ids=["the same broker", "one that was started anew"])
@pytest.mark.parametrize("thief", [EVE, Vouched(), Vouched(user="a" * 32)], ids=repr)
def test_a_token_is_worth_nothing_with_another_key(life: int, thief: Vouched) -> None:
    bench = Bench()
    caller = with_key(bench, ANN)
    bench.say(caller, Hello(1, [1], "test", {}))
    (welcome,) = caller.heard()
    assert isinstance(welcome, Welcome)
    if life == 2:
        bench = Bench(life=2)
    resume = Resume(2, [1], welcome.session, welcome.token, 0)
    stolen = with_key(bench, thief)
    bench.say(stolen, resume)
    (goodbye,) = stolen.heard()
    assert isinstance(goodbye, Goodbye)
    assert goodbye.code == Code.SESSION_UNKNOWN
    own = with_key(bench, ANN)
    bench.say(own, resume)
    (again,) = own.heard()
    assert isinstance(again, Welcome)
    assert again.resumed
