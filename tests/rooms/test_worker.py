"""The worker: rooms made, reserved and released for the broker, joined by clients, and ended."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from server_room_system import (
    ClientData,
    Code,
    Limits,
    Member,
    Room,
    RoomClosed,
    RoomFailed,
    RoomFull,
    RoomLocked,
    RuleSet,
    UnknownRoomType,
    WorkerDrained,
)
from server_room_system.protocol import (
    Ack,
    Deliver,
    Error,
    Join,
    Joined,
    LeftRoom,
    Message,
    Recover,
    Send,
    encode,
    error_for,
)
from server_room_system.rooms import ended
from server_room_system.rooms.connection import Connection
from server_room_system.rooms.control import (
    CloseRoom,
    OpenRoom,
    Order,
    Refused,
    ReleaseSeats,
    Reserved,
    ReserveSeats,
    RoomEnded,
    RoomReport,
    RoomUpdated,
    Seated,
    SeatWish,
    Unseated,
)
from server_room_system.rooms.port import Port
from server_room_system.rooms.worker import Worker
from server_room_system.transport import Publisher, PublisherSink

from .fakes import START, Diary, FakeLoop, FakeNetwork, FakePublisher, Gate

RANKED = RuleSet(4, mode="ranked")


class Factory:
    """A worker with a port on a fake listener and loop. ``make`` makes its rooms."""

    def __init__(self, make: Callable[[RuleSet], Room], *, carries_sessions: bool = True) -> None:
        self.loop = FakeLoop()
        self.network = FakeNetwork()
        self.publishers: list[FakePublisher] = []
        self.reports: list[RoomReport] = []
        entropy = Random(3).randbytes
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "get_running_loop", lambda: self.loop)
            self.port = Port(Limits(), entropy)
            self.worker = Worker(
                self.port,
                lambda ruleset: ("diary", make(ruleset)),
                self.reports.append,
                entropy,
                self.open_publisher,
                carries_sessions=carries_sessions,
            )
        self.port.on_begin = lambda now: self.worker.begin()
        self.port.on_flush = self.worker.flush
        self.port.open(self.network, "127.0.0.1", 0)
        self.port.begin(START)
        self.port.flush()

    def open_publisher(self, sink: PublisherSink) -> Publisher:
        publisher = FakePublisher(len(self.publishers))
        self.publishers.append(publisher)
        return publisher

    def ask(self, message: Order) -> list[RoomReport]:
        """What the worker reports on it, in a turn of its own."""
        before = len(self.reports)
        self.port.begin(self.loop.now)
        self.worker.order(message)
        self.port.flush()
        self.loop.settle()
        self.port.begin(self.loop.now)
        self.port.flush()
        return self.reports[before:]

    def open(self, *sessions: str, clients: int = 4, matched: bool = False, **options: Any) -> list[RoomReport]:
        wishes = [wish(session) for session in sessions]
        return self.ask(OpenRoom(1, "r1", RuleSet(clients, mode="ranked"), options, matched, wishes))

    def connect(self, *sessions: str) -> Connection:
        connection = self.port.accept(b"peer %d" % len(self.port), "10.0.0.1")
        assert isinstance(connection, Connection)
        connection.sessions = frozenset(sessions)
        return connection

    def say(self, connection: Connection, message: Message) -> list[Message]:
        """What is answered on a connection, in a turn of its own."""
        before = len(self.network.listener.heard(connection.peer))
        self.port.begin(self.loop.now)
        connection.receive(encode(message))
        self.port.flush()
        return self.network.listener.heard(connection.peer)[before:]

    def stop_rooms(self) -> None:
        self.port.begin(self.loop.now)
        self.worker.close_rooms(Code.SERVER_STOPPING, "stopping")
        self.port.flush()
        self.loop.settle()


def wish(session: str, **options: Any) -> SeatWish:
    return SeatWish(session, ClientData(1, "10.0.0.1"), options)


def reserved(reports: list[RoomReport]) -> Reserved:
    (report,) = (report for report in reports if isinstance(report, Reserved))
    return report


def refused(reports: list[RoomReport]) -> Refused:
    (report,) = reports
    assert isinstance(report, Refused)
    return report


# What the broker asks.


def test_a_room_is_made_and_its_seats_are_held() -> None:
    room = Diary()
    factory = Factory(lambda ruleset: room)
    reports = factory.open("ann", "bob", map="desert")
    answer = reserved(reports)
    assert (answer.ask, answer.room, answer.timeout) == (1, "r1", 15.0)
    assert len(set(answer.reservations)) == 2
    assert reports[:-1] == [RoomUpdated("r1", "diary", 0, 2, 4, False, {}, RANKED.digest)]
    assert list(factory.worker.rooms) == ["r1"]
    assert room.events == [("create", {"mode": "ranked", "map": "desert"})]


def test_a_matched_room_is_for_those_who_were_matched() -> None:
    factory = Factory(lambda ruleset: Diary())
    reports = factory.open("ann", "bob", matched=True)
    # It is told of once, and as locked: nobody is sent there meanwhile.
    assert reports[:-1] == [RoomUpdated("r1", "diary", 0, 2, 4, True, {}, RANKED.digest)]
    assert refused(factory.ask(ReserveSeats(2, "r1", [wish("eve")]))).code == Code.ROOM_LOCKED


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UnknownRoomType("no room type is named 'x'"), Code.UNKNOWN_ROOM_TYPE, "no room type is named 'x'"),
        (LookupError("a secret"), Code.ROOM_FAILED, RoomFailed.meaning),
    ],
)
def test_a_room_that_cannot_be_made_is_refused(error: Exception, code: Code, text: str) -> None:
    def make(ruleset: RuleSet) -> Room:
        raise error

    factory = Factory(make)
    assert refused(factory.open("ann")) == Refused(1, code, text)
    assert factory.worker.rooms == {}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (RoomLocked("not now"), Code.ROOM_LOCKED, "not now"),
        (LookupError("a secret"), Code.ROOM_FAILED, RoomFailed.meaning),
    ],
)
def test_a_room_whose_on_create_raises_is_refused(is_async: bool, error: Exception, code: Code, text: str) -> None:
    class Refusing(Diary):
        def on_create(self, options: dict[str, Any]) -> Any:
            if is_async:
                return self.later()
            raise error

        async def later(self) -> None:
            raise error

    factory = Factory(lambda ruleset: Refusing())
    assert refused(factory.open("ann")) == Refused(1, code, text)
    assert factory.worker.rooms == {}
    assert factory.loop.armed == []


def test_more_members_than_seats_are_refused_before_the_room_is_made() -> None:
    class Small(Diary):
        max_clients = 1

    room = Small()
    factory = Factory(lambda ruleset: room)
    answer = refused(factory.open("ann", "bob"))
    assert (answer.code, answer.text) == (Code.ROOM_FULL, "diary has 1 seats; 2 are needed")
    assert room.events == []
    assert factory.worker.rooms == {}


@pytest.mark.parametrize("matched", [True, False])
def test_a_room_that_locks_itself_at_once_still_has_its_first_members(matched: bool) -> None:
    """The lock refused the very clients that the room was made for, who then waited for ever."""

    class Private(Diary):
        def on_create(self, options: dict[str, Any]) -> Any:
            self.lock()

    factory = Factory(lambda ruleset: Private())
    reports = factory.open("ann", "bob", matched=matched)
    assert len(reserved(reports).reservations) == 2
    assert reports[:-1] == [RoomUpdated("r1", "diary", 0, 2, 4, True, {}, RANKED.digest)]
    assert refused(factory.ask(ReserveSeats(2, "r1", [wish("eve")]))).code == Code.ROOM_LOCKED


@pytest.mark.parametrize("wanted", [("ann",), ("ann", "bob")], ids=["one", "two"])
def test_a_room_that_has_invited_others_into_all_its_seats_is_refused_and_ends(wanted: tuple[str, ...]) -> None:
    class Table(Diary):
        def on_create(self, options: dict[str, Any]) -> Any:
            for number in range(100, 104):
                self.invite(number)

    factory = Factory(lambda ruleset: Table())
    reports = factory.open(*wanted)
    assert reports == [Refused(1, Code.ROOM_FULL, RoomFull.meaning), RoomEnded("r1")]
    assert factory.worker.rooms == {}


def test_seats_are_reserved_all_or_none() -> None:
    factory = Factory(lambda ruleset: Diary())
    factory.open("ann", "bob")
    assert refused(factory.ask(ReserveSeats(2, "r1", [wish("c"), wish("d"), wish("e")]))).code == Code.ROOM_FULL
    reports = factory.ask(ReserveSeats(3, "r1", [wish("c"), wish("d")]))
    assert reserved(reports).ask == 3
    assert reports[0] == RoomUpdated("r1", "diary", 0, 0, 4, False, {}, RANKED.digest)
    assert refused(factory.ask(ReserveSeats(4, "r1", [wish("e")]))).code == Code.ROOM_FULL


def test_no_seats_are_reserved_in_a_room_that_is_not_there_or_ends() -> None:
    room = Slow()
    factory = Factory(lambda ruleset: room)
    assert refused(factory.ask(ReserveSeats(2, "r1", [wish("ann")]))).code == Code.ROOM_NOT_FOUND
    factory.open("ann")
    room.gate = Gate()
    factory.port.begin(START)
    room.close()
    factory.port.flush()
    assert refused(factory.ask(ReserveSeats(2, "r1", [wish("bob")]))).code == Code.ROOM_NOT_FOUND
    room.gate.open()
    factory.loop.settle()


class Slow(Diary):
    """Takes its time to begin or to end."""

    gate: Gate | None = None
    birth: Gate | None = None

    async def on_create(self, options: dict[str, Any]) -> Any:
        if self.birth is not None:
            await self.birth
        super().on_create(options)

    async def on_dispose(self) -> Any:
        if self.gate is not None:
            await self.gate
        super().on_dispose()


def test_a_room_that_takes_its_time_is_answered_for_when_it_is_made() -> None:
    room = Slow()
    room.birth = Gate()
    factory = Factory(lambda ruleset: room)
    assert factory.open("ann") == []
    assert refused(factory.ask(ReserveSeats(2, "r1", [wish("bob")]))).code == Code.ROOM_NOT_FOUND
    room.birth.open()
    factory.loop.settle()
    assert reserved(factory.reports).ask == 1
    assert len(factory.worker._hooks) == 0


def test_a_room_that_is_closed_while_it_is_being_made_is_not_born() -> None:
    """It was made, with seats held for those who had been told long before that there is no room."""
    room = Slow()
    room.birth = Gate()
    factory = Factory(lambda ruleset: room)
    assert factory.open("ann") == []
    factory.port.begin(factory.loop.now)
    factory.worker.order(CloseRoom("r1", int(Code.ROOM_CLOSED), ""))
    factory.port.flush()
    factory.loop.settle()
    assert [type(report) for report in factory.reports] == [Refused]
    assert factory.worker.rooms == {}
    assert len(factory.worker._hooks) == 0


def test_released_reservations_are_free_again() -> None:
    factory = Factory(lambda ruleset: Diary())
    factory.open("ann", "bob")
    assert factory.ask(ReleaseSeats("bob", ["r1", "nowhere"])) == [
        RoomUpdated("r1", "diary", 0, 3, 4, False, {}, RANKED.digest)
    ]
    assert factory.ask(ReleaseSeats("eve", ["r1"])) == []
    assert factory.ask(ReleaseSeats("ann", ["r1"]))[0] == RoomEnded("r1")


def test_released_members_leave() -> None:
    room = Diary()
    factory = Factory(lambda ruleset: room)
    reservations = reserved(factory.open("ann", "bob")).reservations
    ann = factory.connect("ann")
    factory.say(ann, Join(5, "r1", reservations[0], {}))
    reports = factory.ask(ReleaseSeats("ann", ["r1"]))
    assert reports[0] == Unseated("r1", "ann")
    assert room.events[-1] == ("leave", 1, Code.LEFT)
    left = factory.network.listener.heard(ann.peer)[-1]
    assert isinstance(left, LeftRoom)
    assert (left.code, left.text) == (Code.LEFT, "the session ended")


def test_a_seat_that_was_joined_meanwhile_is_not_released_with_what_is_only_held() -> None:
    room = Diary()
    factory = Factory(lambda ruleset: room)
    reservations = reserved(factory.open("ann", "bob")).reservations
    factory.say(factory.connect("ann"), Join(5, "r1", reservations[0], {}))
    assert factory.ask(ReleaseSeats("ann", ["r1"], joined=False)) == []
    factory.ask(ReleaseSeats("bob", ["r1"], joined=False))
    assert [member.id for member in factory.worker.rooms["r1"].members.values()] == [1]
    assert factory.worker.rooms["r1"].seats.reserved == 0


@pytest.mark.parametrize("confirmed", [False, True])
def test_who_dropped_before_it_knew_of_its_seat_is_released_with_what_is_only_held(confirmed: bool) -> None:
    room = Diary()
    factory = Factory(lambda ruleset: room)
    reservations = reserved(factory.open("ann", "bob")).reservations
    ann = factory.connect("ann")
    (joined,) = factory.say(ann, Join(5, "r1", reservations[0], {}))
    assert isinstance(joined, Joined)
    if confirmed:
        factory.say(ann, Ack(joined.ref, 0))
    factory.port.begin(factory.loop.now)
    ann.gone()
    factory.port.flush()
    released = factory.ask(ReleaseSeats("ann", ["r1"], joined=False))
    assert (Unseated("r1", "ann") in released) is not confirmed


def test_a_reservation_runs_out_by_the_clock() -> None:
    factory = Factory(lambda ruleset: Diary())
    reservation = reserved(factory.open("ann")).reservations[0]
    factory.loop.advance(14.9)
    assert "r1" in factory.worker.rooms
    factory.loop.advance(0.2)
    assert factory.reports[-1] == RoomEnded("r1")
    assert factory.worker.rooms == {}
    (answer,) = factory.say(factory.connect("ann"), Join(5, "r1", reservation, {}))
    assert isinstance(answer, Error)
    assert answer.code == Code.ROOM_NOT_FOUND


# What clients ask.


def test_a_client_takes_its_seat_once_and_on_its_own_connection() -> None:
    factory = Factory(lambda ruleset: Diary())
    reservation = reserved(factory.open("ann", "bob")).reservations[0]
    thief, ann = factory.connect("eve"), factory.connect("cid", "ann")
    (answer,) = factory.say(thief, Join(5, "r1", reservation, {}))
    assert isinstance(answer, Error)
    assert (answer.ask, answer.code) == (5, Code.RESERVATION_REFUSED)
    (joined,) = factory.say(ann, Join(6, "r1", reservation, {}))
    assert isinstance(joined, Joined)
    assert (joined.ask, joined.room, joined.type) == (6, "r1", "diary")
    (answer,) = factory.say(ann, Join(7, "r1", reservation, {}))
    assert isinstance(answer, Error)
    assert (answer.ask, answer.code) == (7, Code.RESERVATION_REFUSED)
    assert factory.reports[-2:] == [
        Seated("r1", "ann", ClientData(1, "10.0.0.1")),
        RoomUpdated("r1", "diary", 1, 2, 4, False, {}, RANKED.digest),
    ]


def test_where_connections_carry_no_sessions_the_reservation_is_enough() -> None:
    factory = Factory(lambda ruleset: Diary(), carries_sessions=False)
    reservation = reserved(factory.open("ann")).reservations[0]
    (joined,) = factory.say(factory.connect(), Join(6, "r1", reservation, {}))
    assert isinstance(joined, Joined)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (Join(5, "nowhere", bytes(16), {}), Code.ROOM_NOT_FOUND),
        (Join(5, "r1", bytes(16), {}), Code.RESERVATION_REFUSED),
        (Recover(5, "nowhere", bytes(16), 1, 0, 0), Code.WORKER_LOST),
        (Recover(5, "r1", bytes(16), 1, 0, 0), Code.RESERVATION_REFUSED),
    ],
)
def test_forged_rooms_and_secrets_are_refused(message: Message, code: Code) -> None:
    factory = Factory(lambda ruleset: Diary())
    factory.open("ann")
    (answer,) = factory.say(factory.connect("ann"), message)
    assert isinstance(answer, Error)
    assert (answer.ask, answer.code) == (5, code)


def test_a_reservation_of_one_room_opens_no_other() -> None:
    factory = Factory(lambda ruleset: Diary())
    reservation = reserved(factory.open("ann")).reservations[0]
    factory.ask(OpenRoom(2, "r2", RuleSet(2), {}, False, [wish("ann")]))
    (answer,) = factory.say(factory.connect("ann"), Join(5, "r2", reservation, {}))
    assert isinstance(answer, Error)
    assert answer.code == Code.RESERVATION_REFUSED


def test_a_member_comes_back_on_another_connection() -> None:
    room = Diary()
    factory = Factory(lambda ruleset: room)
    reservation = reserved(factory.open("ann")).reservations[0]
    (joined,) = factory.say(factory.connect("ann"), Join(6, "r1", reservation, {}))
    assert isinstance(joined, Joined)
    newer = factory.connect("ann")
    (again,) = factory.say(newer, Recover(7, "r1", joined.token, joined.epoch, joined.offset, joined.direct))
    assert isinstance(again, Joined)
    assert again.ref != joined.ref
    assert again.token != joined.token
    factory.say(newer, Send(again.ref, 1, "m", 1))
    assert room.events[-1] == ("message", 1, "m", 1)


def test_who_comes_back_to_a_room_that_is_over_gets_the_rest_for_a_minute() -> None:
    rooms = [Diary(), Diary()]
    factory = Factory(lambda ruleset: rooms.pop())
    room = rooms[-1]
    reservation = reserved(factory.open("ann")).reservations[0]
    ann = factory.connect("ann")
    (joined,) = factory.say(ann, Join(6, "r1", reservation, {}))
    assert isinstance(joined, Joined)
    ann.gone()
    factory.port.begin(factory.loop.now)
    room.broadcast("m", "last words")
    room.close("good night")
    factory.port.flush()
    assert factory.worker.rooms == {}
    recover = Recover(7, "r1", joined.token, joined.epoch, joined.offset, joined.direct)
    again, words, left = factory.say(factory.connect("ann"), recover)
    assert isinstance(again, Joined)
    assert again.info == {"over": True}
    assert isinstance(words, Deliver)
    assert words.items == [[0, "m", "last words"]]
    assert left == LeftRoom(again.ref, int(Code.ROOM_CLOSED), "good night", 1, 0)
    (refused,) = factory.say(factory.connect("bob"), recover._replace(token=bytes(16)))
    assert isinstance(refused, Error)
    assert (refused.code, refused.text) == (Code.ROOM_CLOSED, RoomClosed.meaning)
    factory.loop.advance(60.1)
    (refused,) = factory.say(factory.connect("ann"), recover)
    assert isinstance(refused, Error)
    assert (refused.code, refused.text) == (Code.ROOM_CLOSED, RoomClosed.meaning)
    assert factory.loop.armed == []


def test_why_rooms_ended_is_known_for_long_but_not_of_all_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended, "_MOST_CODES", 1)
    factory = Factory(lambda ruleset: Diary())

    def recover(room: str) -> tuple[int, str]:
        (refused,) = factory.say(factory.connect("ann"), Recover(7, room, bytes(16), 1, 0, 0))
        assert isinstance(refused, Error)
        return refused.code, refused.text

    for number, code in enumerate((Code.ROOM_CLOSED, Code.WORKER_DRAINED, Code.BELOW_MINIMUM), 1):
        assert recover(f"r{number}")[0] == Code.WORKER_LOST, "what never was here was there before us, it seems"
        factory.ask(OpenRoom(number, f"r{number}", RuleSet(4), {}, False, []))
        factory.ask(CloseRoom(f"r{number}", int(code), "for members only"))
        assert recover(f"r{number}") == (code, error_for(int(code)).text)
    assert [recover(f"r{number}")[0] for number in (1, 2, 3, 9)] == [
        Code.ROOM_NOT_FOUND, Code.WORKER_DRAINED, Code.BELOW_MINIMUM, Code.ROOM_NOT_FOUND,
    ]  # fmt: skip


def test_why_rooms_ended_is_forgotten_when_nobody_asks_any_more() -> None:
    """It was kept for 4,096 rooms, however old: a worker grew by 1 MiB in its first hour or two."""
    factory = Factory(lambda ruleset: Diary())
    codes = []
    for number in range(3):
        factory.ask(OpenRoom(number, f"r{number}", RuleSet(4), {}, False, []))
        factory.ask(CloseRoom(f"r{number}", int(Code.WORKER_DRAINED), ""))
        factory.loop.advance(601.0)
    for number in range(3):
        (refused,) = factory.say(factory.connect("ann"), Recover(7, f"r{number}", bytes(16), 1, 0, 0))
        assert isinstance(refused, Error)
        codes.append(refused.code)
    assert codes == [Code.ROOM_NOT_FOUND, Code.WORKER_DRAINED, Code.WORKER_DRAINED]


def test_what_rooms_said_that_are_over_is_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server_room_system.rooms.ended._MOST", 3)
    monkeypatch.setattr("server_room_system.rooms.ended._MOST_KEPT", 29_000)
    rooms: list[Diary] = []

    def make(ruleset: RuleSet) -> Room:
        rooms.append(Diary())
        return rooms[-1]

    factory = Factory(make)
    ann = factory.connect("ann")
    runners = []
    for number, size in enumerate((10, 10, 10, 10, 10_000, 10_000, 10_000)):
        answer = reserved(factory.ask(OpenRoom(number, f"r{number}", RuleSet(2), {}, False, [wish("ann")])))
        (joined,) = factory.say(ann, Join(6, f"r{number}", answer.reservations[0], {}))
        assert isinstance(joined, Joined)
        runners.append(factory.worker.rooms[f"r{number}"])
        factory.port.begin(factory.loop.now)
        rooms[-1].broadcast("m", "x" * size)
        rooms[-1].close()
        factory.port.flush()
        kept = [runner.fanout.history.size > 0 for runner in runners]
        assert sum(kept) == [1, 2, 3, 3, 3, 3, 2][number]
        assert kept[-1]
    assert factory.worker.rooms == {}


def test_who_comes_back_while_a_room_closes_has_its_turn_there() -> None:
    class Slow(Diary):
        def __init__(self) -> None:
            super().__init__()
            self.gate = Gate()

        async def on_leave(self, client: Member, reason: Code) -> None:
            self.events.append(("leave", client.id, reason))
            await self.gate

    room = Slow()
    factory = Factory(lambda ruleset: room)
    first, second = reserved(factory.open("ann", "bob")).reservations
    ann, bob = factory.connect("ann"), factory.connect("bob")
    factory.say(ann, Join(6, "r1", first, {}))
    (joined,) = factory.say(bob, Join(6, "r1", second, {}))
    assert isinstance(joined, Joined)
    bob.gone()
    factory.port.begin(factory.loop.now)
    room.close()
    factory.port.flush()
    factory.loop.settle()
    newer = factory.connect("bob")
    recover = Recover(7, "r1", joined.token, joined.epoch, joined.offset, joined.direct)
    (again,) = factory.say(newer, recover)
    assert isinstance(again, Joined)
    assert "over" not in again.info
    room.gate.open()
    factory.loop.settle()
    heard = factory.network.listener.heard(newer.peer)
    assert heard[-1] == LeftRoom(again.ref, int(Code.ROOM_CLOSED), "", 0, 0)
    assert room.names[-3:] == ["leave", "leave", "dispose"]


def test_a_lost_answer_to_a_join_is_given_again() -> None:
    room = Diary()
    factory = Factory(lambda ruleset: room)
    reservation = reserved(factory.open("ann")).reservations[0]
    ann = factory.connect("ann")
    factory.say(ann, Join(6, "r1", reservation, {}))
    factory.port.begin(START)
    ann.gone()
    factory.port.flush()
    newer = factory.connect("ann")
    (again,) = factory.say(newer, Join(7, "r1", reservation, {}))
    assert isinstance(again, Joined)
    assert again.ask == 7
    assert room.names == ["create", "join", "drop", "reconnect"]


# Turns, hooks and the end.


def test_what_changes_in_a_turn_is_reported_once_at_its_end() -> None:
    room = Diary()
    factory = Factory(lambda ruleset: room)
    factory.open("ann")
    before = len(factory.reports)
    factory.port.begin(START)
    room.metadata = {"round": 1}
    room.metadata = {"round": 2}
    room.lock()
    assert len(factory.reports) == before
    factory.port.flush()
    assert factory.reports[before:] == [RoomUpdated("r1", "diary", 0, 3, 4, True, {"round": 2}, RANKED.digest)]


def test_a_room_that_ended_is_not_updated_after() -> None:
    room = Diary()
    factory = Factory(lambda ruleset: room)
    factory.open("ann")
    before = len(factory.reports)
    factory.port.begin(START)
    room.metadata = {"round": 1}
    room.close()
    factory.port.flush()
    assert factory.reports[before:] == [RoomEnded("r1")]
    assert factory.worker.rooms == {}
    assert factory.loop.armed == [] or factory.port._alarms.next() is None


def test_what_a_hook_says_between_turns_wakes_the_port() -> None:
    room = Slow()
    room.birth = Gate()
    factory = Factory(lambda ruleset: room)
    factory.open("ann")
    wakes = factory.network.listener.wakes
    factory.loop.now += 3.0
    room.birth.open()
    factory.loop.settle()
    assert factory.network.listener.wakes > wakes
    assert factory.port.now == START + 3.0


def test_the_hook_at_work_is_known() -> None:
    room = Slow()
    room.birth = Gate()
    factory = Factory(lambda ruleset: room)
    factory.open("ann")
    assert factory.worker.current is not None
    assert (factory.worker.current.name, factory.worker.current.hook) == ("r1", "on_create")
    room.birth.open()
    factory.loop.settle()


def test_stopping_closes_every_room_and_opens_none() -> None:
    rooms = [Diary(), Diary(), Diary()]
    made = iter(rooms)
    factory = Factory(lambda ruleset: next(made))
    factory.open("ann")
    factory.ask(OpenRoom(2, "r2", RuleSet(2), {}, False, [wish("bob")]))
    before = len(factory.reports)
    factory.stop_rooms()
    assert factory.reports[before:] == [RoomEnded("r1"), RoomEnded("r2")]
    assert refused(factory.ask(OpenRoom(3, "r3", RuleSet(2), {}, False, [wish("bob")]))).code == Code.ROOM_FAILED
    assert [room.names for room in rooms] == [["create", "dispose"], ["create", "dispose"], []]


def test_stopping_while_a_room_is_being_made() -> None:
    """Closing a room that was still in on_create raised, and the rest of the shutdown did not happen."""
    made = iter([Diary(), Slow(), Diary()])
    rooms: list[Diary] = []

    def make(ruleset: RuleSet) -> Room:
        rooms.append(next(made))
        if isinstance(rooms[-1], Slow):
            rooms[-1].birth = Gate()
        return rooms[-1]

    factory = Factory(make)
    factory.open("ann")
    factory.ask(OpenRoom(2, "r2", RuleSet(2), {}, False, [wish("bob")]))
    factory.ask(OpenRoom(3, "r3", RuleSet(2), {}, False, [wish("cid")]))
    before = len(factory.reports)
    factory.stop_rooms()
    factory.loop.settle()
    assert factory.worker.rooms == {}
    reports = factory.reports[before:]
    assert RoomEnded("r1") in reports
    assert RoomEnded("r3") in reports
    assert [report.ask for report in reports if isinstance(report, Refused)] == [2]


def test_a_hook_that_never_ends_is_cancelled_with_its_room() -> None:
    room = Slow()
    room.gate = Gate()
    factory = Factory(lambda ruleset: room)
    factory.open("ann")
    factory.stop_rooms()
    factory.loop.advance(4.9)
    assert "r1" in factory.worker.rooms
    factory.loop.advance(0.2)
    factory.loop.settle()
    assert factory.reports[-1] == RoomEnded("r1")
    assert factory.worker.rooms == {}
    assert all(task.is_over and task.error is None for task in factory.loop.tasks)


def test_a_room_that_is_made_after_all_while_the_server_stops_ends_at_once() -> None:
    class Stubborn(Slow):
        async def on_create(self, options: dict[str, Any]) -> Any:
            try:
                await super().on_create(options)
            except asyncio.CancelledError:
                self.events.append(("finished anyway",))

    room = Stubborn()
    room.birth = Gate()
    factory = Factory(lambda ruleset: room)
    factory.open("ann")
    factory.stop_rooms()
    assert room.names == ["finished anyway", "dispose"]
    assert factory.worker.rooms == {}
    assert factory.reports == [Refused(1, Code.ROOM_FAILED, "the server is stopping"), RoomEnded("r1")]


def test_a_draining_worker_makes_no_rooms_and_says_that_others_may() -> None:
    room = Slow()
    room.birth = Gate()
    factory = Factory(lambda ruleset: room)
    factory.open("ann")
    factory.worker.drain(5.0)
    room.birth.open()
    factory.loop.settle()
    assert [report for report in factory.reports if isinstance(report, Refused)] == [
        Refused(1, Code.WORKER_DRAINED, WorkerDrained.meaning)
    ]
    assert factory.worker.rooms == {}
    assert refused(factory.open("bob")) == Refused(1, Code.WORKER_DRAINED, WorkerDrained.meaning)


def test_the_worker_knows_when_its_last_room_has_ended() -> None:
    async def stop() -> bool:
        port = Port(Limits(), Random(1).randbytes)
        worker = Worker(
            port,
            lambda ruleset: ("diary", Diary()),
            lambda report: None,
            Random(2).randbytes,
            lambda sink: FakePublisher(0),
            carries_sessions=True,
        )
        port.on_flush = worker.flush
        port.open(FakeNetwork(), "127.0.0.1", 0)
        port.begin(0.0)
        worker.order(OpenRoom(1, "r1", RuleSet(2), {}, False, [wish("ann")]))
        asyncio.get_running_loop().call_soon(worker.close_rooms, Code.SERVER_STOPPING, "stopping")
        return await worker.emptied(5.0) and await worker.emptied(5.0)

    assert asyncio.run(stop())
