# pyright: reportArgumentType=false, reportAssignmentType=false, reportOperatorIssue=false
# (msgpack has no types: what packb returns is unknown.)
"""The port: nothing that a peer sends makes it raise, and nobody speaks for anybody else."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system import AddressLimits, Code, Limits, RoomNotFound
from server_room_system.protocol import (
    Ack,
    Cancel,
    Error,
    Goodbye,
    Hello,
    Join,
    Leave,
    ListRooms,
    Match,
    Message,
    Ping,
    Pong,
    Recover,
    Request,
    Resume,
    Send,
    Welcome,
    encode,
)
from server_room_system.rooms import backlog
from server_room_system.rooms.addresses import AddressBook
from server_room_system.rooms.connection import Connection
from server_room_system.rooms.port import Port
from server_room_system.rooms.uplink import Uplink

from .fakes import START, FakeListener, FakeLoop, FakeNetwork


class Ear(Uplink):
    """Whoever speaks on a connection: writes down what it is told."""

    def __init__(self, session: str = "ann") -> None:
        super().__init__(session, None)
        self.log: list[Any] = []

    def take(self, name: str, data: Any) -> None:
        self.log.append((name, data))

    def take_request(self, name: str, data: Any) -> None:
        self.log.append(("request", name, data))

    def acknowledge(self) -> None:
        self.say_acknowledged(self.uplink)

    def confirmed(self) -> None:
        self.log.append("confirmed")

    def on_leave(self) -> None:
        self.log.append("leave")

    def on_lost(self) -> None:
        self.log.append("lost")


class Gatehouse:
    """A port on a fake listener and loop."""

    def __init__(self, limits: Limits | None = None, of_an_address: AddressLimits | None = None) -> None:
        self.loop = FakeLoop()
        self.network = FakeNetwork()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "get_running_loop", lambda: self.loop)
            book = AddressBook(of_an_address or AddressLimits())
            self.port = Port(limits or Limits(), lambda count: bytes(range(count)), book=book)
        self.room_messages: list[Join | Recover] = []
        self.broker_messages: list[Message] = []
        self.flushes = 0
        self.port.on_room_message = self.on_room_message
        self.port.on_broker_message = self.on_broker_message
        self.port.on_flush = self.on_flush
        self.port.open(self.network, "127.0.0.1", 1234)
        self.port.begin(START)

    @property
    def listener(self) -> FakeListener:
        return self.network.listener

    def on_room_message(self, connection: Connection, message: Join | Recover) -> None:
        self.room_messages.append(message)
        if message.room == "nowhere":
            raise RoomNotFound

    def on_broker_message(self, connection: Connection, message: Message) -> None:
        self.broker_messages.append(message)

    def on_flush(self) -> None:
        self.flushes += 1

    def connect(self, peer: bytes = b"peer") -> Connection:
        connection = self.port.accept(peer, "10.0.0.9")
        assert isinstance(connection, Connection)
        return connection

    def heard(self, peer: bytes = b"peer") -> list[Message]:
        return self.listener.heard(peer)

    def codes(self, peer: bytes = b"peer") -> list[int]:
        return [message.code for message in self.heard(peer) if isinstance(message, Error)]


@pytest.fixture
def house() -> Gatehouse:
    return Gatehouse()


def pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def test_a_port_listens_for_frames_up_to_its_limit() -> None:
    house = Gatehouse(Limits(upload=9999))
    assert house.network.bound == ("127.0.0.1", 1234, 9999)


# What peers send.


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", Code.BAD_MESSAGE),
        (b"\xc1", Code.BAD_MESSAGE),
        (b"\x92\x01", Code.BAD_MESSAGE),
        (pack([1]) + b"\0", Code.BAD_MESSAGE),
        (pack(5), Code.BAD_MESSAGE),
        (pack({}), Code.BAD_MESSAGE),
        (pack([]), Code.BAD_MESSAGE),
        (pack(["4", 1]), Code.BAD_MESSAGE),
        (pack([4]), Code.BAD_MESSAGE),
        (pack([4, -1]), Code.BAD_MESSAGE),
        (pack([4, 1, 2]), Code.BAD_MESSAGE),
        (pack([99, 1]), Code.UNKNOWN_KIND),
        (pack([-(2**63)]), Code.UNKNOWN_KIND),
        (pack([2**64 - 1]), Code.UNKNOWN_KIND),
        (pack([40]), Code.BAD_MESSAGE),
        (pack([40, 1, 1, "m", 1]), Code.NOT_A_MEMBER),
        (pack([40, 1, 1, "m", 1, "m", 1]), Code.NOT_A_MEMBER),
        (pack([40, 2**63, 1, "m", 1, "m", 1]), Code.NOT_A_MEMBER),
        (pack([40, -1, 1, "m", 1, "m", 1]), Code.NOT_A_MEMBER),
        (pack([40, "1", 1, "m", 1]), Code.BAD_MESSAGE),
        (pack([41, 1, 1, "m", 1]), Code.NOT_A_MEMBER),
        (pack([41, 1, 1, "m", 1, "m", 1]), Code.BAD_MESSAGE),
        (pack([40, 1, 1, "m", [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]), Code.BAD_MESSAGE),
        (pack([40, 1, 1, "m", msgpack.ExtType(1, b"")]), Code.BAD_MESSAGE),
        (encode(Welcome(1, 1, 1, "s", bytes(16), 1, "", 1, 0, 0, False, {})), Code.UNKNOWN_KIND),
        (encode(Pong(1)), Code.UNKNOWN_KIND),
        (encode(Error(0, 0, 1000, "", None)), Code.UNKNOWN_KIND),
        (encode(Ack(7, 0)), Code.NOT_A_MEMBER),
        (encode(Leave(7)), Code.NOT_A_MEMBER),
    ],
)
def test_what_is_no_message_for_us_is_answered_with_a_code(house: Gatehouse, frame: bytes, code: Code) -> None:
    connection = house.connect()
    connection.receive(frame)
    assert house.codes() == [code]
    connection.receive(encode(Ping(1)))
    assert house.heard()[-1] == Pong(1)
    assert house.listener.cuts == []


@given(frames=st.lists(st.binary(max_size=40), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_random_bytes_raise_nothing(frames: list[bytes]) -> None:
    house = Gatehouse()
    connection, ear = house.connect(), Ear()
    ear.attach(connection)
    for frame in frames:
        connection.receive(frame)
    connection.receive(encode(Send(ear.ref, 1, "still", "here")))
    assert ear.log[-1] == ("still", "here")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_messages_of_random_fields_raise_nothing(data: st.DataObject) -> None:
    house = Gatehouse()
    connection, ear = house.connect(), Ear()
    ear.attach(connection)
    for _ in range(data.draw(st.integers(1, 5))):
        kind = data.draw(st.sampled_from([1, 2, 4, 6, 16, 17, 18, 19, 20, 32, 33, 34, 40, 41, 42, 99]))
        ref = data.draw(st.sampled_from([ear.ref, 0, 1]) | VALUES)
        connection.receive(pack([kind, ref, *data.draw(st.lists(VALUES, max_size=6))]))
    assert house.listener.cuts == []
    assert len(house.port) == 1


def test_who_pings_is_answered(house: Gatehouse) -> None:
    house.connect().receive(encode(Ping(77)))
    assert house.heard() == [Pong(77)]


def test_messages_reach_whom_their_reference_names(house: Gatehouse) -> None:
    connection = house.connect()
    one, two = Ear(), Ear()
    one.attach(connection)
    two.attach(connection)
    connection.receive(encode(Send(one.ref, 1, "m", 1)))
    connection.receive(encode(Request(two.ref, 1, "q", 2)))
    connection.receive(encode(Ack(one.ref, 0)))
    connection.receive(encode(Leave(two.ref)))
    connection.receive(pack([40, one.ref, 2, "m", 2, "m", 3]))
    assert one.log == [("m", 1), "confirmed", ("m", 2), ("m", 3)]
    assert two.log == [("request", "q", 2), "leave"]
    assert house.heard() == [Ack(one.ref, 1)]


@pytest.mark.parametrize("message", [Send(0, 1, "m", 1), Request(0, 1, "m", 1), Ack(0, 1), Leave(0)])
def test_a_reference_of_another_connection_names_nobody(house: Gatehouse, message: Send) -> None:
    victim, thief, ear = house.connect(b"victim"), house.connect(b"thief"), Ear()
    ear.attach(victim)
    thief.receive(encode(message._replace(ref=ear.ref)))
    assert ear.log == []
    assert house.codes(b"thief") == [Code.NOT_A_MEMBER]
    assert house.heard(b"victim") == []


def test_a_reference_of_an_earlier_join_names_nobody(house: Gatehouse) -> None:
    connection, ear = house.connect(), Ear()
    ear.attach(connection)
    earlier = ear.ref
    ear.attach(connection)
    assert ear.ref != earlier
    connection.receive(encode(Send(earlier, 1, "m", 1)))
    ear.detach()
    connection.receive(encode(Send(ear.ref, 1, "m", 1)))
    assert ear.log == []
    assert [(error.ref, error.ask, error.code) for error in house.heard() if isinstance(error, Error)] == [
        (earlier, 1, Code.NOT_A_MEMBER),
        (ear.ref, 1, Code.NOT_A_MEMBER),
    ]


def test_references_are_new_over_all_connections(house: Gatehouse) -> None:
    connections = [house.connect(b"%d" % number) for number in range(10)]
    refs = [connection.add(Ear()) for connection in connections for _ in range(10)]
    assert len(set(refs)) == 100
    assert all(0 < ref < 2**32 for ref in refs)


def test_references_start_anew_in_time(house: Gatehouse) -> None:
    house.port._next_ref = 0x7FFFFFFE
    assert [house.port.new_ref() for _ in range(3)] == [0x7FFFFFFF, 1, 2]


def test_requests_go_to_worker_and_broker(house: Gatehouse) -> None:
    connection = house.connect()
    join = Join(5, "r1", bytes(16), {})
    recover = Recover(6, "r1", bytes(16), 1, 2, 3)
    hello = Hello(7, [1], "test", {})
    match = Match(8, 9, [2, None, {}], {}, 5.0)
    for message in (join, recover, hello, match, Cancel(8, 9), ListRooms(8, 10, None), Goodbye(8, 3004, "")):
        connection.receive(encode(message))
    assert house.room_messages == [join, recover]
    assert house.broker_messages == [hello, match, Cancel(8, 9), ListRooms(8, 10, None), Goodbye(8, 3004, "")]
    assert house.heard() == []


def test_a_worker_alone_answers_nothing_that_is_for_the_broker(house: Gatehouse) -> None:
    house.port.on_broker_message = None
    house.connect().receive(encode(Hello(7, [1], "test", {})))
    assert house.codes() == [Code.UNKNOWN_KIND]


def test_what_a_request_is_refused_with_is_answered_under_its_number(house: Gatehouse) -> None:
    house.connect().receive(encode(Join(5, "nowhere", bytes(16), {})))
    assert house.heard() == [Error(0, 5, Code.ROOM_NOT_FOUND, RoomNotFound.meaning, None)]
    assert house.port.counts["RoomNotFound"] == 1


def test_requests_are_smaller_than_messages() -> None:
    house = Gatehouse(Limits(control=1000, upload=5000))
    connection, ear = house.connect(), Ear()
    ear.attach(connection)
    connection.receive(encode(Join(5, "r1", bytes(16), {"data": "x" * 1000})))
    assert house.codes() == [Code.TOO_LARGE]
    assert house.room_messages == []
    connection.receive(encode(Send(ear.ref, 1, "m", "x" * 3000)))
    connection.receive(encode(Join(5, "r1", bytes(16), {"data": "x" * 900})))
    assert len(ear.log) == len(house.room_messages) == 1


# How often.


def test_requests_have_a_rate_of_their_own() -> None:
    house = Gatehouse(Limits(control_rate=10.0, control_burst=3))
    connection, other = house.connect(), house.connect(b"other")
    for ask in range(5):
        connection.receive(encode(Join(ask, "r1", bytes(16), {})))
    assert len(house.room_messages) == 3
    assert [(error.ask, error.code) for error in house.heard() if isinstance(error, Error)] == [
        (3, Code.RATE_LIMITED),
        (4, Code.RATE_LIMITED),
    ]
    assert house.port.counts["RateLimited"] == 2
    other.receive(encode(Join(9, "r1", bytes(16), {})))
    assert len(house.room_messages) == 4
    house.port.begin(START + 0.2)
    connection.receive(encode(Join(6, "r1", bytes(16), {})))
    assert house.room_messages[-1].ask == 6


def test_signs_of_life_are_free() -> None:
    house = Gatehouse(Limits(control_rate=1.0, control_burst=1))
    connection, ear = house.connect(), Ear()
    ear.attach(connection)
    for number in range(500):
        connection.receive(encode(Ping(number)))
        connection.receive(encode(Ack(ear.ref, 0)))
    assert len([message for message in house.heard() if isinstance(message, Pong)]) == 500
    assert house.codes() == []


def test_messages_of_members_are_not_requests() -> None:
    house = Gatehouse(Limits(control_rate=1.0, control_burst=1))
    connection, ear = house.connect(), Ear()
    ear.attach(connection)
    for number in range(1, 501):
        connection.receive(encode(Send(ear.ref, number, "m", number)))
    assert len(ear.log) == 500


@pytest.mark.parametrize("frame", [b"", encode(Send(5, 1, "m", 1)), encode(Join(1, "r1", bytes(16), {}))])
def test_a_peer_that_has_to_be_refused_all_the_time_is_cut(house: Gatehouse, frame: bytes) -> None:
    connection, ear, sent = house.connect(), Ear(), 0
    ear.attach(connection)
    while not house.listener.cuts:
        connection.receive(frame)
        sent += 1
        assert sent < 1000
    assert sent > 200
    assert house.listener.cuts == [b"peer"]
    assert house.heard()[-1] == Goodbye(0, Code.PROTOCOL_VIOLATION, "too many messages that had to be refused")
    assert ear.log == ["lost"]
    assert len(house.port) == 0


def test_a_peer_that_errs_now_and_then_is_not_cut(house: Gatehouse) -> None:
    connection = house.connect()
    for second in range(1000):
        house.port.begin(START + second)
        connection.receive(b"")
    assert house.listener.cuts == []


def test_every_refusal_carries_its_number_also_when_there_are_many(house: Gatehouse) -> None:
    """Over the rate, refusals came without their number: a message that was refused seemed to be applied."""
    connection = house.connect()
    for number in range(1, 150):
        connection.receive(encode(Send(5, number, "m", 1)))
    assert [error.ask for error in house.heard() if isinstance(error, Error)] == list(range(1, 150))


def test_a_second_frame_is_hostile(house: Gatehouse) -> None:
    connection, ear = house.connect(), Ear()
    ear.attach(connection)
    connection.violated("a message of more than one frame")
    assert house.heard() == [Goodbye(0, Code.PROTOCOL_VIOLATION, "a message of more than one frame")]
    assert house.listener.cuts == [b"peer"]
    assert ear.log == ["lost"]
    assert house.port.counts["ProtocolViolation"] == 1


# Connections.


def test_everybody_on_a_lost_connection_hears_so_once(house: Gatehouse) -> None:
    connection, other = house.connect(), house.connect(b"other")
    ears = [Ear(), Ear(), Ear()]
    for ear in ears[:2]:
        ear.attach(connection)
    ears[2].attach(other)
    connection.gone()
    connection.gone()
    assert [ear.log for ear in ears] == [["lost"], ["lost"], []]
    assert [ear.connection for ear in ears] == [None, None, other]
    assert list(house.port) == [other]


def test_a_connection_that_takes_the_place_of_another_is_not_forgotten_with_it(house: Gatehouse) -> None:
    older = house.connect()
    newer = house.connect()
    older.gone()
    house.port.hang_up(older)
    assert list(house.port) == [newer]
    assert house.listener.cuts == []


def test_silent_connections_are_given_up() -> None:
    house = Gatehouse(Limits(ping_timeout=15.0))
    silent, alive, ear = house.connect(b"silent"), house.connect(b"alive"), Ear()
    ear.attach(silent)
    Ear().attach(alive)
    house.port.begin(START + 10.0)
    alive.receive(encode(Ping(1)))
    house.port.sweep(START + 14.9)
    assert house.listener.cuts == []
    house.port.sweep(START + 15.0)
    assert house.listener.cuts == [b"silent"]
    assert ear.log == ["lost"]
    (goodbye,) = house.heard(b"silent")
    assert isinstance(goodbye, Goodbye)
    assert (goodbye.ref, goodbye.code) == (0, Code.CONNECTION_TIMED_OUT)
    assert list(house.port) == [alive]
    # Who never said a word goes sooner.
    assert house.listener.silent_before == pytest.approx([START + 9.9, START + 10.0])


def test_who_could_not_be_heard_because_the_server_stood_still_is_not_given_up() -> None:
    house = Gatehouse(Limits(ping_timeout=9.0), AddressLimits(stranger_time=15.0))
    ann, bob, stranger = (house.connect(peer) for peer in (b"ann", b"bob", b"stranger"))
    for connection in (ann, bob):
        Ear().attach(connection)
    for second in range(1, 4):
        house.port.sweep(START + second)
    # A hook of somebody's holds the process up for half a minute: what all of them say meanwhile lies unread.
    house.port.sweep(START + 34.0)
    assert house.listener.cuts == []
    house.port.begin(START + 34.5)
    for connection in (ann, stranger):
        connection.receive(encode(Ping(1)))
    for second in range(35, 39):
        house.port.sweep(START + second)
        assert house.listener.cuts == []
    house.port.sweep(START + 39.0)  # 3 seconds of silence before, 6 since
    assert house.listener.cuts == [b"bob"]
    # What who has just connected said first may be unread as well.
    assert house.listener.silent_before == pytest.approx([START + second for second in (-4.0, -3.0, -2.0, 34.0)])


def test_a_server_that_is_always_late_gives_the_silent_up_nevertheless() -> None:
    house = Gatehouse(Limits(ping_timeout=9.0))
    Ear().attach(house.connect(b"silent"))
    sweeps = 0
    while not house.listener.cuts:
        house.port.sweep(START + 5.0 * sweeps)
        sweeps += 1
        assert sweeps < 11
    assert sweeps == 10


def test_nonsense_is_a_sign_of_life_as_well() -> None:
    house = Gatehouse(Limits(ping_timeout=15.0))
    connection = house.connect()
    Ear().attach(connection)
    house.port.begin(START + 14.0)
    connection.receive(b"")
    house.port.sweep(START + 20.2)
    assert house.listener.cuts == []


def test_who_becomes_nobodys_connection_is_cut_in_time() -> None:
    house = Gatehouse(Limits(ping_timeout=15.0), AddressLimits(stranger_time=10.0))
    stranger, member, ear = house.connect(b"stranger"), house.connect(b"member"), Ear()
    ear.attach(member)
    for second in range(1, 10):
        house.port.begin(START + second)
        for connection in (stranger, member):
            connection.receive(encode(Ping(second)))
            connection.receive(encode(Join(1, "nowhere", bytes(16), {})))  # who asks in vain is a stranger as well
        house.port.sweep(START + second)
        assert house.listener.cuts == []
    house.port.sweep(START + 10.1)
    assert house.listener.cuts == [b"stranger"]
    assert house.port.counts["stranger"] == 1
    goodbye = house.heard(b"stranger")[-1]
    assert isinstance(goodbye, Goodbye)
    assert (goodbye.ref, goodbye.code) == (0, Code.CONNECTION_TIMED_OUT)
    del member.refs[ear.ref]  # a member that leaves has the time as well, to do something else
    for second in range(11, 20):
        house.port.begin(START + second)
        member.receive(encode(Ping(second)))
        house.port.sweep(START + second)
        assert house.listener.cuts == [b"stranger"]
    house.port.sweep(START + 20.2)
    assert house.listener.cuts == [b"stranger", b"member"]


def test_who_has_proved_to_have_the_key_is_no_stranger() -> None:
    class Desk:
        trusted = False

        def lost(self) -> None:
            pass

    house = Gatehouse(Limits(ping_timeout=1000.0), AddressLimits(stranger_time=10.0))
    administrator, applicant = house.connect(b"administrator"), house.connect(b"applicant")
    administrator.desk, applicant.desk = Desk(), Desk()
    administrator.desk.trusted = True
    house.port.sweep(START + 10.1)
    assert house.listener.cuts == [b"applicant"]


def test_sessions_of_one_address_are_opened_at_a_rate() -> None:
    house = Gatehouse(Limits(), AddressLimits(connections=2, hello_rate=1.0))
    for number in range(4):
        house.connect(b"%d" % number).receive(encode(Hello(1, [1], "test", {})))
    assert [house.codes(b"%d" % number) for number in range(4)] == [[], [], [2002], [2002]]
    assert len(house.broker_messages) == 2
    house.port.begin(START + 1.0)
    house.connect(b"5").receive(encode(Resume(1, [1], "0" * 32, bytes(16), 0, {})))
    assert house.codes(b"5") == []


def test_the_ports_lock_knows_who_counts_addresses(house: Gatehouse) -> None:
    assert house.port.lock.porter is house.port.book
    assert house.network.lock is house.port.lock


def test_messages_wait_for_a_full_queue_and_keep_their_order(house: Gatehouse) -> None:
    connection = house.connect()
    house.listener.full.add(b"peer")
    assert not connection.clogged
    for number in range(3):
        connection.say(Pong(number))
    assert connection.clogged
    house.loop.advance(0.5)
    assert house.heard() == []
    house.listener.full.clear()
    connection.say(Pong(3))  # not before those that wait
    assert house.heard() == []
    house.loop.advance(0.05)
    assert house.heard() == [Pong(0), Pong(1), Pong(2), Pong(3)]
    assert not connection.clogged
    connection.say(Pong(4))
    assert house.heard()[-1] == Pong(4)
    assert house.loop.armed == []


def test_a_peer_that_never_reads_is_cut_before_it_costs_much(house: Gatehouse) -> None:
    connection, ear, said = house.connect(), Ear(), 0
    ear.attach(connection)
    house.listener.full.add(b"peer")
    while not house.listener.cuts:
        connection.say(Pong(said))
        said += 1
        assert said < 1000
    assert said > 200
    assert ear.log == ["lost"]
    house.listener.full.clear()
    house.loop.advance(1.0)
    assert house.heard() == []


def test_nothing_is_said_to_a_connection_that_is_gone(house: Gatehouse) -> None:
    connection = house.connect()
    house.listener.full.add(b"peer")
    connection.say(Pong(1))
    connection.gone()
    house.listener.full.clear()
    house.loop.advance(1.0)
    assert house.heard() == []


# Turns and alarms.


@pytest.fixture
def clock() -> Iterator[Gatehouse]:
    """A port between two turns."""
    house = Gatehouse()
    house.port.flush()
    house.flushes = 0
    yield house
    assert house.port.in_turn is False


def test_a_deadline_is_a_turn_of_its_own(clock: Gatehouse) -> None:
    rung: list[tuple[str, float, bool]] = []

    def ring(name: str) -> None:
        rung.append((name, clock.port.now - START, clock.port.in_turn))

    clock.port.alarm(START + 2.0, ring, "two")
    clock.port.alarm(START + 1.0, ring, "one")
    clock.port.alarm(START + 3.0, ring, "three")
    assert clock.loop.armed == [START + 1.0]
    clock.loop.advance(2.5)
    assert rung == [("one", 1.0, True), ("two", 2.0, True)]
    assert clock.flushes == 2
    assert clock.loop.armed == [START + 3.0]


def test_deadlines_that_are_close_are_met_in_one_turn(clock: Gatehouse) -> None:
    rung: list[str] = []
    for number, when in enumerate((1.0, 1.0004, 1.0009, 1.002)):
        clock.port.alarm(START + when, rung.append, f"alarm {number}")
    clock.loop.advance(1.0)
    assert rung == ["alarm 0", "alarm 1", "alarm 2"]
    assert clock.flushes == 1
    clock.loop.advance(0.1)
    assert rung[-1] == "alarm 3"


def test_an_alarm_replaces_the_one_before_and_can_be_cleared(clock: Gatehouse) -> None:
    rung: list[str] = []
    clock.port.alarm(START + 1.0, rung.append, "moved")
    clock.port.alarm(START + 3.0, rung.append, "moved")
    clock.port.alarm(START + 1.5, rung.append, "cleared")
    clock.port.clear_alarm(rung.append, "cleared")
    clock.port.clear_alarm(rung.append, "never set")
    clock.loop.advance(2.0)
    assert rung == []
    clock.loop.advance(2.0)
    assert rung == ["moved"]
    assert clock.loop.armed == []


def test_an_alarm_set_in_a_ring_hid_an_earlier_one_that_was_set_before_it(clock: Gatehouse) -> None:
    """The sweep set itself again for a second later, and every room's tick waited for that second."""
    rung: list[tuple[str, float]] = []

    def sweep() -> None:
        rung.append(("sweep", clock.port.now - START))
        clock.port.alarm(clock.port.now + 1.0, sweep)

    clock.port.alarm(START + 1.0, sweep)
    clock.port.alarm(START + 1.25, lambda: rung.append(("tick", clock.port.now - START)))
    clock.loop.advance(1.5)
    assert rung == [("sweep", 1.0), ("tick", 1.25)]
    assert clock.loop.armed == [START + 2.0]


def test_an_alarm_met_a_little_early_that_set_itself_again_never_let_the_turn_end(clock: Gatehouse) -> None:
    """Whatever has a time of its own found it not yet come, and asked to be called at that time: in the same turn."""
    rung: list[float] = []

    def due_at(when: float) -> None:
        rung.append(clock.port.now - START)
        if clock.port.now < when:
            clock.port.alarm(when, due_at, when)

    clock.port.alarm(START + 1.0, due_at, START + 1.0)
    clock.port.alarm(START + 1.0005, due_at, START + 1.0005)
    clock.loop.advance(1.0)
    assert rung == [1.0, 1.0]
    clock.loop.advance(1.0)
    assert [round(when, 4) for when in rung] == [1.0, 1.0, 1.0005]


def test_an_alarm_that_fails_does_not_stop_the_clock(clock: Gatehouse) -> None:
    rung: list[str] = []

    def fail() -> None:
        raise LookupError

    clock.port.alarm(START + 1.0, fail)
    clock.port.alarm(START + 1.0005, rung.append, "same turn")
    clock.port.alarm(START + 2.0, rung.append, "later")
    with pytest.raises(LookupError):
        clock.loop.advance(1.0)
    assert clock.flushes == 1
    clock.loop.advance(2.0)
    assert rung == ["same turn", "later"]


def test_the_listener_is_woken_only_between_turns(clock: Gatehouse) -> None:
    clock.port.wake()
    assert clock.listener.wakes == 1
    clock.port.begin(START)
    clock.port.wake()
    assert clock.listener.wakes == 1
    clock.port.flush()
    clock.port.wake()
    assert clock.listener.wakes == 2


def test_time_stands_still_in_a_turn(clock: Gatehouse) -> None:
    clock.loop.now = START + 5.0
    clock.port.touch()
    assert clock.port.now == START + 5.0
    clock.port.begin(START + 6.0)
    clock.loop.now = START + 7.0
    clock.port.touch()
    assert clock.port.now == START + 6.0
    clock.port.flush()


def test_a_turn_ends_even_if_its_end_fails() -> None:
    house = Gatehouse()

    def fail() -> None:
        raise LookupError

    house.port.on_flush = fail
    with pytest.raises(LookupError):
        house.port.flush()
    assert not house.port.in_turn


def test_closing_stops_the_clock(clock: Gatehouse) -> None:
    rung: list[str] = []
    clock.port.alarm(START + 1.0, rung.append, "never")
    clock.port.close()
    clock.loop.advance(2.0)
    assert rung == []
    assert clock.listener.is_closed


class Trusted:
    """Who has proved that it has the cluster key."""

    trusted = True
    losses = 0

    def lost(self) -> None:
        self.losses += 1


def test_a_trusted_peer_whose_frame_cannot_be_read_begins_anew() -> None:
    """What a worker had reported in it was lost, and nobody ever knew."""
    gate = Gatehouse()
    connection = gate.connect()
    connection.desk = desk = Trusted()
    connection.receive(b"\xc1")
    (answer,) = gate.heard()
    assert isinstance(answer, Goodbye)
    assert answer.code == Code.PROTOCOL_VIOLATION
    assert desk.losses == 1


def test_what_waits_for_all_who_do_not_read_has_an_end_and_who_has_most_goes_first(
    house: Gatehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "_MOST", 100_000)
    names = [b"peer %d" % number for number in range(12)]
    slow = [house.connect(name) for name in names]
    ears = [Ear() for _ in slow]
    for ear, connection in zip(ears, slow, strict=True):
        ear.attach(connection)
    house.listener.full.update(names)
    for connection in slow[:-1]:
        connection.say_frame(bytes(1000))
    for _ in range(20):
        for connection in slow[:8]:
            connection.say_frame(bytes(1000))
        assert house.port.backlog.size <= 100_000
    assert {names.index(cut) for cut in house.listener.cuts} <= set(range(8))
    assert [ear.log for ear in ears[8:]] == [[]] * 4, "little waits for these"
    assert house.port.counts["too slow"] == len(house.listener.cuts) == sum(ear.log == ["lost"] for ear in ears) > 0
    house.listener.full.clear()
    house.loop.advance(1.0)
    assert house.port.backlog.size == 0
    assert not house.port.backlog._of
    assert house.loop.armed == []


def test_what_is_said_to_one_that_was_given_up_is_kept_for_nobody(house: Gatehouse) -> None:
    connection = house.connect()
    house.listener.full.add(b"peer")
    connection.say(Pong(1))
    house.port.hang_up(connection)
    house.listener.full.clear()
    for number in range(1000):
        connection.say(Pong(number))
    assert not connection.clogged
    assert house.port.backlog.size == 0
