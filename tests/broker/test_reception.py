"""Who is here: sessions over connections that come and go, and what server and clients say outside of rooms."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server_room_system import CapacityReached, ClientData, Code, IllegalTransition, Limits, PayloadError, Position
from server_room_system.broker.reception import Reception
from server_room_system.broker.sessions import SESSION, Session, SessionEvent, Sessions, SessionState
from server_room_system.broker.tokens import TokenMint
from server_room_system.protocol import Ack, Deliver, Error, Goodbye, Hello, Reset, Resume, StreamReader, Welcome, step
from server_room_system.rooms.uplink import Uplink
from server_room_system.transport import Sent

from .fakes import FakeCaller, FakeOutbox

GRACE = 30.0
FORGER = TokenMint(b"another key", 2)
"""Somebody who makes tokens without our key; of another life, so that only the key tells."""


class Ledger:
    """Who was told to come and go."""

    def __init__(self) -> None:
        self.away_now: set[Session] = set()
        self.ended: list[Session] = []

    def away(self, session: Session) -> None:
        assert session not in self.away_now
        assert session not in self.ended
        self.away_now.add(session)

    def back(self, session: Session) -> None:
        self.away_now.remove(session)

    def over(self, session: Session) -> None:
        assert session not in self.ended
        self.away_now.discard(session)
        self.ended.append(session)


@dataclass(eq=False)
class Client:
    """What is known of one session, at both ends."""

    session: Session
    token: bytes
    """The newest that the client has got."""
    caller: FakeCaller | None
    reader: StreamReader
    good: set[bytes]
    void: set[bytes] = field(default_factory=set)
    deadline: float = 0.0
    ended: bool = False
    said: list[int] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)


class ReceptionMachine(RuleBasedStateMachine):
    """Clients that come, resume, are displaced, vanish and end, in any order."""

    @initialize(most=st.integers(1, 5), seed=st.integers(0, 2**32))
    def open(self, most: int, seed: int) -> None:
        self.out, self.ledger, self.most = FakeOutbox(), Ledger(), most
        self.random = Random(seed)
        sessions = Sessions(most, self.random.randbytes, TokenMint(b"key of these tests", 1))
        self.reception = Reception(Limits(), self.out, self.random.randbytes, self.ledger, sessions, GRACE)
        self.out.flush = self.reception.flush
        self.clients: list[Client] = []
        self.callers: list[FakeCaller] = []
        self.labels = 0
        self.asks = 0

    def here(self) -> list[Client]:
        return [client for client in self.clients if not client.ended]

    def online(self) -> list[Client]:
        return [client for client in self.here() if client.caller is not None]

    def a_caller(self, data: st.DataObject) -> FakeCaller:
        """An old connection or a new one."""
        old = data.draw(st.booleans())
        if self.callers and old:
            return data.draw(st.sampled_from(self.callers))
        self.callers.append(FakeCaller(self.out))
        return self.callers[-1]

    def hear(self, deaf: Client | None = None) -> list[Welcome | Goodbye]:
        """Let everything that was sent arrive, but what is for one client; answers to HELLO and RESUME."""
        answers: list[Welcome | Goodbye] = []
        for caller in self.callers:
            for message in caller.heard():
                if isinstance(message, Deliver):
                    (client,) = (one for one in self.online() if one.session.ref == message.ref)
                    assert client.caller is caller
                    if client is deaf:
                        continue
                    for item, _ in client.reader.read(message.offset, message.items):
                        client.heard.append(item[-1])
                elif isinstance(message, Welcome | Goodbye):
                    answers.append(message)
                else:
                    assert isinstance(message, Ack)
        return answers

    # Coming.

    @rule(data=st.data())
    def hello(self, data: st.DataObject) -> None:
        caller = self.a_caller(data)
        self.asks += 1
        message = Hello(self.asks, [1], "test", {})
        if len(self.here()) >= self.most:
            with pytest.raises(CapacityReached):
                self.reception.hello(caller, message)
            return
        with self.out.turn():
            self.reception.hello(caller, message)
        (welcome,) = self.hear()
        assert isinstance(welcome, Welcome)
        assert (welcome.ask, welcome.resumed, welcome.uplink, welcome.direct) == (self.asks, False, 0, 0)
        session = caller.refs[welcome.ref]
        assert isinstance(session, Session)
        assert welcome.client_id not in [client.session.id for client in self.clients]
        assert welcome.session not in [client.session.session for client in self.clients]
        reader = StreamReader(Position(welcome.epoch, 0, 0))
        self.clients.append(Client(session, welcome.token, caller, reader, {welcome.token}))

    @precondition(lambda self: self.here())
    @rule(data=st.data(), answer_is_lost=st.booleans())
    def resume(self, data: st.DataObject, answer_is_lost: bool) -> None:
        client = data.draw(st.sampled_from(self.here()))
        shown = data.draw(st.sampled_from(sorted(client.good)))
        caller, older = self.a_caller(data), client.caller
        self.asks += 1
        self.hear(deaf=client if data.draw(st.booleans()) else None)
        older_ref = client.session.ref
        with self.out.turn():
            self.reception.resume(caller, Resume(self.asks, [1], client.session.session, shown, client.reader.direct))
        client.caller = caller
        client.good = {client.session.token, shown}
        if answer_is_lost:
            self.lose_what_is_on_its_way_to(caller)
            return
        welcome, *goodbyes = sorted(self.hear(), key=lambda answer: isinstance(answer, Goodbye))
        if older is not None and older is not caller:
            (goodbye,) = goodbyes
            assert isinstance(goodbye, Goodbye)
            assert (goodbye.ref, goodbye.code) == (older_ref, Code.DISPLACED)
            assert client.session.session not in older.sessions
            assert older_ref not in older.refs
        assert isinstance(welcome, Welcome)
        assert (welcome.ask, welcome.resumed) == (self.asks, True)
        assert (welcome.session, welcome.client_id) == (client.session.session, client.session.id)
        assert welcome.token == client.session.token != shown
        client.token = welcome.token

    def lose_what_is_on_its_way_to(self, caller: FakeCaller) -> None:
        """The connection breaks before it arrives; everybody on it is away."""
        caller.heard()
        self.hear()
        self.lose_caller(caller)

    @rule(data=st.data())
    def resume_with_a_bad_token(self, data: st.DataObject) -> None:
        forged = [("", self.random.randbytes(36)), (self.random.randbytes(16).hex(), self.random.randbytes(36))]
        for client in self.clients:
            forged += [(client.session.session, token) for token in sorted(client.void)]
            forged += [(client.session.session, self.random.randbytes(size)) for size in (16, 36, 64)]
            forged += [(client.session.session, FORGER.make(client.session.session, client.session.id, 1))]
            forged += [(other.session.session, client.token) for other in self.clients if other is not client]
        session, token = data.draw(st.sampled_from(forged))
        caller = self.a_caller(data)
        before = [(client.session.connection, client.session.token) for client in self.clients]
        with self.out.turn():
            self.reception.resume(caller, Resume(1, [1], session, token, 0))
        (goodbye,) = self.hear()
        assert isinstance(goodbye, Goodbye)
        assert (goodbye.ref, goodbye.code) == (0, Code.SESSION_UNKNOWN)
        assert before == [(client.session.connection, client.session.token) for client in self.clients]

    @precondition(lambda self: self.online())
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.online()))
        client.session.on_ack(0)
        client.void |= client.good - {client.session.token}
        client.good = {client.session.token}

    # Going.

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.hear()
        self.lose_caller(data.draw(st.sampled_from(self.callers)))

    def lose_caller(self, caller: FakeCaller) -> None:
        caller.lose()
        self.callers.remove(caller)
        for client in self.here():
            if client.caller is caller:
                client.caller = None
                client.deadline = self.out.now + GRACE

    @rule(seconds=st.floats(0.1, 1.2 * GRACE))
    def wait(self, seconds: float) -> None:
        self.hear()
        self.out.advance(seconds)
        for client in self.here():
            if client.caller is None and client.deadline <= self.out.now:
                self.over(client)

    @precondition(lambda self: self.here())
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.hear()
        client = data.draw(st.sampled_from(self.here()))
        caller, ref = client.caller, client.session.ref
        with self.out.turn():
            self.reception.end(client.session)
        if caller is not None:
            assert ref not in caller.refs
            assert client.session.session not in caller.sessions
        self.over(client)

    def over(self, client: Client) -> None:
        client.ended, client.caller = True, None
        client.void |= client.good
        client.good = set()

    # What the server says.

    @precondition(lambda self: self.here())
    @rule(data=st.data(), count=st.integers(1, 3))
    def say(self, data: st.DataObject, count: int) -> None:
        client = data.draw(st.sampled_from(self.here()))
        with self.out.turn():
            for _ in range(count):
                self.labels += 1
                client.session.send("m", self.labels)
                client.said.append(self.labels)
        if data.draw(st.booleans()):
            self.hear()

    # What is always true.

    @invariant()
    def everybody_is_where_we_think(self) -> None:
        assert list(self.reception.sessions) == [client.session for client in self.here()]
        assert len(self.reception.sessions) <= self.most
        for client in self.clients:
            assert client.session.connection is client.caller
            state = SessionState.ENDED if client.ended else SessionState.OFFLINE
            assert client.session.state is (SessionState.ONLINE if client.caller is not None else state)
        for caller in self.callers:
            assert caller.sessions == {one.session.session for one in self.online() if one.caller is caller}
        assert self.ledger.away_now == {client.session for client in self.here() if client.caller is None}
        assert self.ledger.ended == sorted(
            (client.session for client in self.clients if client.ended), key=self.ledger.ended.index
        )

    @invariant()
    def nothing_is_heard_twice_or_out_of_order(self) -> None:
        for client in self.clients:
            assert client.heard == client.said[: len(client.heard)]

    def teardown(self) -> None:
        if not hasattr(self, "out"):
            return
        self.hear()
        for client in self.here():
            if client.caller is None:
                client.caller = FakeCaller(self.out)
                self.callers.append(client.caller)
                token = sorted(client.good)[0]
                with self.out.turn():
                    message = Resume(9, [1], client.session.session, token, client.reader.direct)
                    self.reception.resume(client.caller, message)
            self.hear()
            assert client.heard == client.said
        self.out.advance(10 * GRACE)
        for caller in list(self.callers):
            caller.lose()
        self.out.advance(1.01 * GRACE)
        assert len(self.reception.sessions) == 0
        assert len(self.ledger.ended) == len(self.clients)
        assert self.out.alarms.next() is None


TestReception = ReceptionMachine.TestCase
TestReception.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("state", SessionState)
@pytest.mark.parametrize("event", SessionEvent)
def test_the_table_of_sessions(state: SessionState, event: SessionEvent) -> None:
    allowed = {
        (SessionState.ONLINE, SessionEvent.DROP): SessionState.OFFLINE,
        (SessionState.ONLINE, SessionEvent.RESUME): SessionState.ONLINE,
        (SessionState.ONLINE, SessionEvent.END): SessionState.ENDED,
        (SessionState.OFFLINE, SessionEvent.RESUME): SessionState.ONLINE,
        (SessionState.OFFLINE, SessionEvent.END): SessionState.ENDED,
    }
    if (state, event) in allowed:
        assert step(SESSION, state, event) is allowed[state, event]
        return
    with pytest.raises(IllegalTransition) as refused:
        step(SESSION, state, event)
    assert (refused.value.state, refused.value.event) == (state.value, event.value)


# --- one case at a time ------------------------------------------------------------------------------------------


class Desk:
    """A reception with a client or two."""

    def __init__(self, limits: Limits | None = None, life: int = 1, ledger: Ledger | None = None) -> None:
        self.out, self.ledger = FakeOutbox(), ledger or Ledger()
        entropy = Random(1).randbytes
        sessions = Sessions(1000, entropy, TokenMint(b"key of these tests", life))
        self.reception = Reception(limits or Limits(), self.out, entropy, self.ledger, sessions, GRACE)
        self.out.flush = self.reception.flush

    def hello(self, caller: FakeCaller | None = None) -> tuple[FakeCaller, Session]:
        caller = caller or FakeCaller(self.out)
        with self.out.turn():
            self.reception.hello(caller, Hello(1, [1], "test", {}))
        (welcome,) = caller.heard()
        assert isinstance(welcome, Welcome)
        session = caller.refs[welcome.ref]
        assert isinstance(session, Session)
        return caller, session

    def resume(self, session: Session, caller: FakeCaller | None = None, direct: int = 0) -> FakeCaller:
        caller = caller or FakeCaller(self.out)
        with self.out.turn():
            self.reception.resume(caller, Resume(2, [1], session.session, session.token, direct))
        return caller


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_welcome_announces_limits_and_who_one_is() -> None:
    desk = Desk(Limits(upload=1234))
    caller = FakeCaller(desk.out)
    with desk.out.turn():
        desk.reception.hello(caller, Hello(7, [9, 1], "test", {}))
    (welcome,) = caller.heard()
    assert isinstance(welcome, Welcome)
    assert (welcome.ask, welcome.version, welcome.client_id, welcome.address) == (7, 1, 1, caller.address)
    assert Limits.from_wire(welcome.limits) == Limits(upload=1234)
    assert len(welcome.session) == 32
    assert len(welcome.token) == 36


@pytest.mark.parametrize("resumes", [False, True])
def test_a_version_that_we_do_not_speak_is_refused_for_good(desk: Desk, resumes: bool) -> None:
    _, session = desk.hello()
    caller = FakeCaller(desk.out)
    with desk.out.turn():
        if resumes:
            desk.reception.resume(caller, Resume(1, [2, 3], session.session, session.token, 0))
        else:
            desk.reception.hello(caller, Hello(1, [2, 3], "test", {}))
    assert caller.heard() == [Goodbye(0, Code.VERSION_MISMATCH, "this server speaks version 1")]
    assert len(desk.reception.sessions) == 1


def test_a_server_that_stops_says_goodbye_to_all_and_lets_nobody_in(desk: Desk) -> None:
    caller, session = desk.hello()
    session.send("m", "last words")
    desk.reception.say_goodbye(Code.SERVER_STOPPING, "stopping")
    deliver, goodbye = caller.heard()
    assert isinstance(deliver, Deliver)
    assert goodbye == Goodbye(session.ref, Code.SERVER_STOPPING, "stopping")
    newcomer = FakeCaller(desk.out)
    with desk.out.turn():
        desk.reception.hello(newcomer, Hello(1, [1], "test", {}))
    (answer,) = newcomer.heard()
    assert isinstance(answer, Goodbye)
    assert answer.code == Code.SERVER_STOPPING
    (answer,) = desk.resume(session).heard()
    assert isinstance(answer, Goodbye)
    assert answer.code == Code.SERVER_STOPPING


def test_a_connection_carries_so_many_sessions_and_no_more(desk: Desk) -> None:
    caller, _ = desk.hello()
    for _ in range(255):
        desk.hello(caller)
    assert len(caller.sessions) == 256
    with pytest.raises(CapacityReached, match="256"):
        desk.reception.hello(caller, Hello(1, [1], "test", {}))


class Membership(Uplink):
    """A membership of a room, on the same connection."""

    def __init__(self, session: str) -> None:
        super().__init__(session, None)
        self.log: list[str] = []

    def on_lost(self) -> None:
        self.log.append("lost")

    def on_leave(self) -> None:
        self.log.append("leave")


def test_a_session_that_moves_takes_its_memberships_off_the_older_connection(desk: Desk) -> None:
    caller, session = desk.hello()
    _, other = desk.hello(caller)
    mine, others = Membership(session.session), Membership(other.session)
    mine.attach(caller)
    others.attach(caller)
    desk.resume(session)
    assert (mine.log, others.log) == (["lost"], [])
    assert set(caller.refs.values()) == {other, others}
    assert caller.sessions == {other.session}


def test_a_session_that_resumes_where_it_is_keeps_its_memberships(desk: Desk) -> None:
    caller, session = desk.hello()
    mine = Membership(session.session)
    mine.attach(caller)
    older = session.ref
    desk.resume(session, caller)
    assert mine.log == []
    assert mine.ref in caller.refs
    assert older not in caller.refs
    assert [type(message) for message in caller.heard()] == [Welcome]


def test_a_session_that_ends_takes_its_memberships_with_it(desk: Desk) -> None:
    caller, session = desk.hello()
    _, other = desk.hello(caller)
    mine, others = Membership(session.session), Membership(other.session)
    mine.attach(caller)
    others.attach(caller)
    desk.reception.end(session)
    assert (mine.log, others.log) == (["leave"], [])
    assert desk.ledger.ended == [session]


def test_that_a_session_has_ended_is_known_while_a_worker_may_be_late_and_not_much_longer(desk: Desk) -> None:
    """It was known of the last 50,000: a broker grew by 1.8 MiB an hour, until it had had so many."""
    sessions = desk.reception.sessions
    ended = []
    for _ in range(3):
        _, session = desk.hello()
        with desk.out.turn():
            desk.reception.end(session)
        ended.append(session.session)
        assert sessions.has_ended(session.session)
        desk.out.advance(299.0)
        assert sessions.has_ended(session.session)
        desk.out.advance(1.0)
    assert [sessions.has_ended(session) for session in ended] == [False, True, True]


def test_messages_of_clients_in_no_room_reach_the_application(desk: Desk) -> None:
    caller, session = desk.hello()
    session.on_send([40, session.ref, 1, "m", "hello"])
    assert desk.out.application == [(session, "m", "hello")]
    session.rooms.add("r1")
    session.on_send([40, session.ref, 2, "m", "from a room"])
    session.rooms.clear()
    desk.out.application_is_full = True
    session.on_send([40, session.ref, 3, "m", "too many"])
    session.on_request([41, session.ref, 4, "q", 1])
    assert len(desk.out.application) == 1
    assert [(error.ref, error.ask, error.code) for error in caller.heard() if isinstance(error, Error)] == [
        (session.ref, 2, Code.IN_ROOM),
        (session.ref, 3, Code.ROOM_BUSY),
        (session.ref, 4, Code.NO_HANDLER),
    ]


def test_messages_for_the_server_have_the_announced_rate() -> None:
    desk = Desk(Limits(message_rate=1.0, message_burst=2))
    caller, session = desk.hello()
    for number in range(1, 5):
        session.on_send([40, session.ref, number, "m", number])
    assert [data for _, _, data in desk.out.application] == [1, 2]
    assert [(error.ask, error.code) for error in caller.heard() if isinstance(error, Error)] == [
        (3, Code.RATE_LIMITED),
        (4, Code.RATE_LIMITED),
    ]


def test_an_acknowledgement_waits_for_the_application(desk: Desk) -> None:
    caller, session = desk.hello()
    session.on_send([40, session.ref, 1, "m", 1])
    session.on_ack(0)
    assert caller.heard() == []
    session.on_send([40, session.ref, 2, "m", 2])
    (then,) = desk.out.later
    then()
    assert caller.heard() == [Ack(session.ref, 1)]


def test_what_the_server_says_in_a_turn_leaves_as_one_frame(desk: Desk) -> None:
    caller, session = desk.hello()
    other_caller, other = desk.hello()
    with desk.out.turn():
        for number in range(5):
            session.send("m", number)
        other.send("m", "other")
    (deliver,) = caller.heard()
    assert isinstance(deliver, Deliver)
    assert [item[-1] for item in deliver.items] == [0, 1, 2, 3, 4]
    (deliver,) = other_caller.heard()
    assert isinstance(deliver, Deliver)
    assert [item[-1] for item in deliver.items] == ["other"]


@pytest.mark.parametrize("data", [object(), "x" * 300_000, {1: 2}])
def test_what_cannot_be_sent_raises_where_it_is_said(desk: Desk, data: object) -> None:
    caller, session = desk.hello()
    with desk.out.turn():
        with pytest.raises(PayloadError):
            session.send("m", data)
        session.send("m", "fine")
    (deliver,) = caller.heard()
    assert isinstance(deliver, Deliver)
    assert [item[1:] for item in deliver.items] == [[1, "m", "fine"]]


def test_a_slow_client_is_told_later_though_the_server_talks_all_the_time(desk: Desk) -> None:
    caller, session = desk.hello()
    _, other = desk.hello()
    desk.out.full.add(caller.peer)
    for number in range(20):
        with desk.out.turn():
            session.send("m", number)
            other.send("m", number)
        desk.out.advance(0.01)
        if number == 9:
            desk.out.full.clear()
    labels = [item[-1] for message in caller.heard() if isinstance(message, Deliver) for item in message.items]
    assert labels == list(range(20))


def test_a_client_that_takes_nothing_is_tried_less_and_less_often_and_nobody_else_is_looked_at(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, session = desk.hello()
    caller.heard()
    desk.out.full.add(caller.peer)
    with desk.out.turn():
        session.send("m", "late")
    tried: list[float] = []
    send = desk.out.send

    def count(peer: bytes, frame: bytes) -> Sent:
        tried.append(desk.out.now)
        return send(peer, frame)

    def everybody(sessions: Sessions) -> Iterator[Session]:
        raise AssertionError("all sessions are gone through")

    monkeypatch.setattr(desk.out, "send", count)
    monkeypatch.setattr(Sessions, "__iter__", everybody)
    for _ in range(200):
        desk.out.advance(0.01)
    assert 5 < len(tried) < 20
    desk.out.full.clear()
    for _ in range(20):
        desk.out.advance(0.01)
    assert [item[-1] for message in caller.heard() if isinstance(message, Deliver) for item in message.items] == [
        "late"
    ]


def test_a_client_whose_messages_are_forgotten_is_told_so_once(desk: Desk) -> None:
    caller, session = desk.hello()
    caller.lose()
    with desk.out.turn():
        for number in range(300):
            session.send("m", number)
    caller = desk.resume(session)
    with desk.out.turn():
        session.send("m", "after")
    welcome, reset, deliver = caller.heard()
    assert isinstance(welcome, Welcome)
    assert isinstance(reset, Reset)
    assert (reset.ref, reset.direct, reset.snapshot) == (session.ref, 300, None)
    assert isinstance(deliver, Deliver)
    assert [item[1] for item in deliver.items] == [301]


def test_a_bundle_does_not_overtake_an_answer_that_waits_for_room(desk: Desk) -> None:
    caller, session = desk.hello()
    caller.lose()
    with desk.out.turn():
        session.send("m", 1)
    newer = FakeCaller(desk.out)
    newer.clogged = True
    desk.resume(session, newer)
    desk.out.advance(1.0)
    assert [type(message) for message in newer.heard()] == [Welcome]
    newer.clogged = False
    desk.out.advance(0.1)
    assert [type(message) for message in newer.heard()] == [Deliver]


def test_a_client_that_has_ended_is_told_nothing(desk: Desk) -> None:
    caller, session = desk.hello()
    with desk.out.turn():
        desk.reception.end(session)
        session.send("m", 1)
    desk.out.advance(1.0)
    assert caller.heard() == []


def test_who_a_client_is() -> None:
    desk = Desk()
    caller, session = desk.hello()
    assert (session.id, session.ID, session.ADDRESS) == (1, 1, caller.address)
    assert session.data == ClientData(1, caller.address)
    assert session.connected
    assert repr(session) == "<Session of client 1, online>"
    caller.lose()
    assert not session.connected
    assert repr(session) == "<Session of client 1, offline>"


def test_a_session_that_ends_while_it_is_away_leaves_no_alarm(desk: Desk) -> None:
    caller, session = desk.hello()
    caller.lose()
    assert desk.out.alarms.next() is not None
    desk.reception.end(session)
    assert desk.out.alarms.next() is None
