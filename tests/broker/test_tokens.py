"""Resume tokens that a broker which has lost its memory can still read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_room_system import CapacityReached, ClientData, SessionUnknown
from server_room_system.broker.sessions import Session, Sessions, SessionState
from server_room_system.broker.tokens import TokenContent, TokenMint
from server_room_system.protocol import Code, Goodbye, Hello, Limits, Resume, TokenBucket, Welcome

from .fakes import FakeCaller
from .test_reception import Desk, Ledger

KEY = bytes(range(32))
SESSION = "5" * 32

_clients = st.integers(0, (1 << 64) - 1)
_serials = st.integers(0, (1 << 32) - 1)


@given(_clients, _serials, _serials)
def test_a_token_says_what_was_put_into_it(client: int, serial: int, life: int) -> None:
    token = TokenMint(KEY, life).make(SESSION, client, serial)
    assert 16 <= len(token) <= 64, "what RESUME takes"
    assert TokenMint(KEY, 0).read(SESSION, token) == TokenContent(life, client, serial)


@given(st.binary(max_size=70))
def test_what_we_did_not_make_says_nothing(token: bytes) -> None:
    assert TokenMint(KEY, 1).read(SESSION, token) is None


def test_a_token_that_was_touched_says_nothing() -> None:
    mint = TokenMint(KEY, 7)
    token = mint.make(SESSION, 12, 3)
    for place in range(len(token)):
        touched = bytearray(token)
        touched[place] ^= 1
        assert mint.read(SESSION, bytes(touched)) is None
    for cut in range(len(token)):
        assert mint.read(SESSION, token[:cut]) is None
    assert mint.read(SESSION, token + b"\0") is None


def test_a_token_is_of_one_session_and_one_key() -> None:
    token = TokenMint(KEY, 7).make(SESSION, 12, 3)
    assert TokenMint(KEY, 7).read("6" * 32, token) is None
    assert TokenMint(bytes(32), 7).read(SESSION, token) is None


# Sessions of a broker that was started anew.


class LedgerOfTwoLives(Ledger):
    """Sessions of the broker before are back without having been away."""

    def back(self, session: Session) -> None:
        self.away_now.discard(session)


def restarted() -> Desk:
    """A reception that knows nobody, with the key of the one before."""
    return Desk(life=2, ledger=LedgerOfTwoLives())


def test_a_session_is_taken_back_from_its_token_alone() -> None:
    caller, session = Desk(life=1).hello()
    desk = restarted()
    newcomer = FakeCaller(desk.out)
    with desk.out.turn():
        desk.reception.resume(newcomer, Resume(9, [1], session.session, session.token, 41))
    (welcome,) = newcomer.heard()
    assert isinstance(welcome, Welcome)
    assert (welcome.session, welcome.client_id, welcome.resumed) == (session.session, session.id, True)
    assert (welcome.uplink, welcome.direct) == (0, 0), "this broker has taken and said nothing yet"
    back = desk.reception.sessions.get(session.session)
    assert back is not None
    back.on_send([40, back.ref, 1, "m", "hello"])
    assert desk.out.application == [(back, "m", "hello")]
    assert caller.address != newcomer.address
    assert newcomer.address == back.ADDRESS


def test_a_session_that_was_taken_back_is_an_ordinary_one() -> None:
    _, session = Desk(life=1).hello()
    desk = restarted()
    first = session.token
    caller = desk.resume(session)
    back = desk.reception.sessions.get(session.session)
    assert back is not None
    second = back.token
    with desk.out.turn():
        back.send("m", 1)
    caller.lose()
    assert back.state is SessionState.OFFLINE
    again = FakeCaller(desk.out)
    with desk.out.turn():
        desk.reception.resume(again, Resume(3, [1], back.session, second, 1))
    (welcome,) = again.heard()
    assert isinstance(welcome, Welcome)
    assert welcome.direct == 1, "its numbers are this broker's by now"
    back.on_ack(0)
    for void in (first, second):
        thief = FakeCaller(desk.out)
        with desk.out.turn():
            desk.reception.resume(thief, Resume(4, [1], back.session, void, 0))
        (refused,) = thief.heard()
        assert isinstance(refused, Goodbye)
        assert refused.code == Code.SESSION_UNKNOWN
    again.lose()
    desk.out.advance(31.0)
    assert len(desk.reception.sessions) == 0


def test_a_session_that_has_ended_in_this_life_is_not_taken_back() -> None:
    desk = Desk(life=5)
    caller, session = desk.hello()
    caller.lose()
    desk.out.advance(31.0)
    (refused,) = desk.resume(session).heard()
    assert isinstance(refused, Goodbye)
    assert refused.code == Code.SESSION_UNKNOWN


def test_a_session_of_the_broker_before_that_has_ended_here_is_not_taken_back_either() -> None:
    """It came back as another one of the same name, and what was said to it before had never been."""
    _, session = Desk(life=1).hello()
    for adopt in (True, False):
        desk = restarted()
        if adopt:
            desk.reception.adopt(session.session, session.data)
        else:
            desk.resume(session).lose()
        desk.out.advance(31.0)
        assert len(desk.reception.sessions) == 0
        (refused,) = desk.resume(session).heard()
        assert isinstance(refused, Goodbye)
        assert refused.code == Code.SESSION_UNKNOWN


def test_who_has_not_heard_of_the_new_broker_yet_gets_all_that_it_said() -> None:
    """The number of what it had read last was of the broker before, and as many messages of the new one were lost."""
    _, session = Desk(life=1).hello()
    desk = restarted()
    first, token = FakeCaller(desk.out), session.token
    with desk.out.turn():
        desk.reception.resume(first, Resume(9, [1], session.session, token, 41))
    back = desk.reception.sessions.get(session.session)
    assert back is not None
    with desk.out.turn():
        back.send("m", 1)
    first.lose()  # and the WELCOME with it
    second = FakeCaller(desk.out)
    with desk.out.turn():
        desk.reception.resume(second, Resume(9, [1], session.session, token, 41))
    welcome = second.heard()[0]
    assert isinstance(welcome, Welcome)
    assert welcome.direct == 0


def test_a_session_that_a_worker_told_of_comes_back_with_any_token_of_its_own() -> None:
    _, session = Desk(life=1).hello()
    desk = restarted()
    adopted = desk.reception.adopt(session.session, ClientData(session.id, "10.9.9.9"))
    assert (adopted.state, adopted.id) == (SessionState.OFFLINE, session.id)
    caller = desk.resume(session)
    assert isinstance(caller.heard()[0], Welcome)
    assert desk.reception.sessions.get(session.session) is adopted
    assert desk.ledger.ended == []


def test_a_session_that_a_worker_told_of_and_that_does_not_come_ends() -> None:
    desk = restarted()
    session = desk.reception.adopt("6" * 32, ClientData(12, "10.9.9.9"))
    desk.out.advance(29.0)
    assert len(desk.reception.sessions) == 1
    desk.out.advance(1.1)
    assert desk.ledger.ended == [session]
    assert desk.out.alarms.next() is None


def test_a_forged_token_takes_no_session_that_a_worker_told_of() -> None:
    desk = restarted()
    session = desk.reception.adopt("6" * 32, ClientData(12, "10.9.9.9"))
    forged = TokenMint(b"another key", 1).make(session.session, 12, 1)
    caller = FakeCaller(desk.out)
    with desk.out.turn():
        desk.reception.resume(caller, Resume(1, [1], session.session, forged, 0))
    (refused,) = caller.heard()
    assert isinstance(refused, Goodbye)
    assert refused.code == Code.SESSION_UNKNOWN


def test_client_numbers_stay_unique_when_sessions_come_back() -> None:
    desk = restarted()
    _, newcomer = desk.hello()
    assert newcomer.id == 1
    for number, session_id in enumerate(("6" * 32, "7" * 32)):
        desk.reception.adopt(session_id, ClientData(1, "10.9.9.9"))
        assert len({session.id for session in desk.reception.sessions}) == number + 2
    desk.reception.adopt("8" * 32, ClientData(500, "10.9.9.9"))
    _, last = desk.hello()
    assert last.id == 501


def test_a_full_broker_takes_no_session_back() -> None:
    def make(session_id: str, client: ClientData) -> Session:
        return Session(Desk().reception, session_id, client, TokenBucket(1.0, 1))

    mint = TokenMint(KEY, 2)
    sessions = Sessions(1, bytes, mint)
    sessions.open(make, "10.0.0.1")
    with pytest.raises(CapacityReached):
        sessions.adopt(make, SESSION, ClientData(7, ""))
    with pytest.raises(CapacityReached):
        sessions.resume(SESSION, TokenMint(KEY, 1).make(SESSION, 7, 1), make, "10.0.0.1")
    with pytest.raises(SessionUnknown):
        sessions.resume(SESSION, TokenMint(KEY, 2).make(SESSION, 7, 1), make, "10.0.0.1")


def test_hello_opens_a_session_whose_token_names_this_life() -> None:
    desk = Desk(Limits(), life=77)
    caller = FakeCaller(desk.out)
    with desk.out.turn():
        desk.reception.hello(caller, Hello(1, [1], "test", {}))
    (welcome,) = caller.heard()
    assert isinstance(welcome, Welcome)
    content = TokenMint(b"key of these tests", 0).read(welcome.session, welcome.token)
    assert content == TokenContent(77, welcome.client_id, 1)


def test_an_old_token_shown_first_does_not_keep_the_owner_out() -> None:
    before = Desk(life=1)
    _, session = before.hello()
    old = session.token
    for _ in range(3):
        before.resume(session).lose()
    desk = restarted()
    desk.reception.adopt(session.session, ClientData(session.id, "10.9.9.9"))

    def shows(token: bytes) -> type:
        caller = FakeCaller(desk.out)
        with desk.out.turn():
            desk.reception.resume(caller, Resume(9, [1], session.session, token, 0))
        return type(caller.heard()[0])

    assert shows(old) is Welcome  # nobody can know yet
    assert shows(session.token) is Welcome
    back = desk.reception.sessions.get(session.session)
    assert back is not None
    back.on_ack(0)
    assert shows(old) is Goodbye


def test_a_token_of_an_earlier_life_with_the_number_of_the_present_one_is_not_good() -> None:
    before = Desk(life=1)
    _, session = before.hello()
    confirmed = session.token
    before.resume(session).lose()
    unheard = session.token  # made for a connection that was lost: somebody else may have it
    desk = restarted()

    def shows(token: bytes) -> type:
        caller = FakeCaller(desk.out)
        with desk.out.turn():
            desk.reception.resume(caller, Resume(9, [1], session.session, token, 0))
        return type(caller.heard()[0])

    assert shows(confirmed) is Welcome
    back = desk.reception.sessions.get(session.session)
    assert back is not None
    back.on_ack(0)
    assert shows(unheard) is Goodbye
