"""The broker and its workers: endpoints that clients are told, rooms that are lost, members that nobody knows."""

from typing import Any

import pytest

from server_room_system import BrokerLimits, ClientData, Code, RoomNeeds, RuleSet
from server_room_system.broker.broker import Broker
from server_room_system.broker.tokens import TokenMint
from server_room_system.broker.workers import WorkerRecord
from server_room_system.protocol import (
    Assigned,
    Endpoints,
    Error,
    Goodbye,
    Limits,
    ListEndpoints,
    Message,
    RoomLost,
    RoomNotFound,
    WorkerLost,
)
from server_room_system.rooms.control import (
    OpenRoom,
    ReleaseSeats,
    Reserved,
    ReserveSeats,
    RoomEnded,
    RoomUpdated,
    Seated,
    Unseated,
)

from .fakes import Bench, FakeCaller, FakeOutbox, Guest, a_worker
from .test_broker import assigned, codes, come, come_back, create, join, match

DUEL = RuleSet(2, room="duel")


class Yard(Bench):
    """A broker whose rooms are on two workers."""

    def __init__(self) -> None:
        super().__init__()
        self.broker.workers.remove(self.worker)
        self.desks = {name: FakeOutbox() for name in ("w1", "w2")}
        for number, (name, desk) in enumerate(self.desks.items(), 1):
            self.broker.workers.add(a_worker(name, desk, f"tcp://127.0.0.1:700{number}", types=["duel"]))

    def record(self, name: str) -> WorkerRecord:
        record = self.broker.workers.get(name)
        assert record is not None
        return record

    def tell(self, name: str, *reports: Any) -> None:
        with self.out.turn():
            for report in reports:
                self.broker.on_report(self.record(name), report)

    def hold(self, name: str) -> str:
        """The worker makes the room that it was asked for last; its id."""
        order = self.desks[name].asked[-1]
        assert isinstance(order, OpenRoom)
        secrets = [bytes([number]) * 16 for number in range(len(order.seats))]
        self.tell(
            name,
            RoomUpdated(order.room, "duel", 0, 0, 2, order.matched, {}),
            Reserved(order.ask, order.room, secrets, 15.0),
        )
        return order.room

    def settle(self, guest: Guest, name: str, room: str) -> None:
        """The guest has joined."""
        self.tell(name, Seated(room, guest.welcome.session, ClientData(guest.welcome.client_id, "")))

    def lose(self, name: str) -> None:
        record = self.record(name)
        with self.out.turn():
            self.broker.workers.remove(record)
            self.broker.worker_gone(record)


@pytest.fixture
def yard() -> Yard:
    return Yard()


def two_in_a_room(yard: Yard) -> tuple[Guest, Guest, str]:
    ann, bob = come(yard), come(yard)
    match(ann)
    match(bob)
    room = yard.hold("w1")
    for guest in (ann, bob):
        guest.heard()
        yard.settle(guest, "w1", room)
    return ann, bob, room


def lost(messages: list[Message]) -> list[tuple[str, int]]:
    return [(message.room, message.code) for message in messages if isinstance(message, RoomLost)]


def test_a_seat_is_assigned_where_its_worker_is(yard: Yard) -> None:
    ann, bob = come(yard), come(yard)
    match(ann)
    match(bob)
    room = yard.hold("w1")
    for guest in (ann, bob):
        answer = assigned(guest.heard())
        assert (answer.room, answer.endpoint) == (room, "tcp://127.0.0.1:7001")


def test_clients_are_told_where_workers_are(yard: Yard) -> None:
    ann = come(yard)
    assert ann.ask(ListEndpoints(ann.ref, 7)) == [
        Endpoints(ann.ref, 7, ["tcp://127.0.0.1:7001", "tcp://127.0.0.1:7002"])
    ]


def test_without_workers_there_are_no_endpoints() -> None:
    bench = Bench()
    ann = come(bench)
    assert ann.ask(ListEndpoints(ann.ref, 7)) == [Endpoints(ann.ref, 7, [])]


def test_members_of_a_lost_worker_are_told_so_once_and_can_be_matched_again(yard: Yard) -> None:
    ann, bob, room = two_in_a_room(yard)
    yard.lose("w1")
    for guest in (ann, bob):
        assert guest.heard() == [RoomLost(guest.ref, room, Code.WORKER_LOST, WorkerLost.meaning)]
        assert guest.session.rooms == set()
    assert room not in yard.broker.directory
    match(ann, 20)
    match(bob, 20)
    again = yard.hold("w2")
    assert again != room
    assert assigned(ann.heard()).endpoint == "tcp://127.0.0.1:7002"


def test_who_has_a_seat_assigned_on_a_lost_worker_is_told_so_too(yard: Yard) -> None:
    ann = come(yard)
    create(ann)
    room = yard.hold("w1")
    assigned(ann.heard())
    yard.lose("w1")
    assert lost(ann.heard()) == [(room, Code.WORKER_LOST)]
    create(ann, 10)
    yard.hold("w2")
    assert assigned(ann.heard()).room != room, "the seat that is lost is not assigned again"


def test_who_has_joined_and_was_assigned_is_told_once(yard: Yard) -> None:
    """SEATED may come before the broker forgets what it has assigned."""
    ann = come(yard)
    create(ann)
    room = yard.hold("w1")
    ann.heard()
    entry = yard.broker.directory.get(room)
    assert entry is not None
    entry.sessions.add(ann.welcome.session)
    yard.lose("w1")
    assert lost(ann.heard()) == [(room, Code.WORKER_LOST)]


def test_other_rooms_are_none_of_a_lost_workers_business(yard: Yard) -> None:
    ann, _, _ = two_in_a_room(yard)
    cid = come(yard)
    create(cid)
    room = yard.hold("w2")
    cid.heard()
    yard.settle(cid, "w2", room)
    yard.lose("w1")
    assert cid.heard() == []
    assert cid.session.rooms == {room}
    assert len(lost(ann.heard())) == 1


def test_who_is_away_when_a_worker_is_lost_can_be_matched_when_back(yard: Yard) -> None:
    ann, bob, room = two_in_a_room(yard)
    ann.lose()
    yard.lose("w1")
    (told,) = come_back(ann)
    assert isinstance(told, RoomLost)
    assert (told.room, told.code) == (room, Code.WORKER_LOST)
    ann.lose()
    assert come_back(ann) == [], "once"
    assert ann.session.rooms == set()
    match(ann, 20)
    match(bob, 20)
    assert yard.hold("w2")


def test_a_room_that_was_asked_for_on_a_lost_worker_is_made_by_another(yard: Yard) -> None:
    ann = come(yard)
    create(ann)
    assert len(yard.desks["w1"].asked) == 1
    yard.lose("w1")
    assert ann.heard() == []
    yard.hold("w2")
    assert assigned(ann.heard()).endpoint == "tcp://127.0.0.1:7002"


def test_a_type_that_no_worker_hosts_is_refused_at_once(yard: Yard) -> None:
    ann = come(yard)
    assert codes(create(ann, 10, RuleSet(2, room="chess"))) == [(10, Code.NO_WORKER)]
    assert codes(create(ann, 11, RuleSet(2, room="chess"))) == [(11, Code.NO_WORKER)], "it looks for nothing now"


def test_what_a_worker_says_of_rooms_that_are_not_its_own_has_no_effect(yard: Yard) -> None:
    ann, _, room = two_in_a_room(yard)
    yard.tell("w2", RoomUpdated(room, "trap", 0, 9, 9, False, {}), Unseated(room, ann.welcome.session))
    yard.tell("w2", RoomEnded(room))
    entry = yard.broker.directory.get(room)
    assert entry is not None
    assert (entry.worker.name, entry.report.type) == ("w1", "duel")
    assert ann.session.rooms == {room}
    eve = come(yard)
    yard.tell("w2", Seated(room, eve.welcome.session, ClientData(9, "")))
    assert eve.session.rooms == set()


def test_who_asks_for_a_seat_in_a_room_whose_worker_is_missing_is_refused(yard: Yard) -> None:
    _, _, room = two_in_a_room(yard)
    yard.record("w1").desk = None
    eve = come(yard)
    (answer,) = join(eve, room)
    assert isinstance(answer, Error)
    assert answer.code == RoomNotFound.code


def test_a_room_whose_worker_has_yet_to_come_is_joined_when_it_has(yard: Yard) -> None:
    ann, bob = come(yard), come(yard)
    yard.out.settled_at = yard.out.now + 2.0
    assert join(ann, "r1") == []
    ann.lose()
    come_back(ann)
    assert join(ann, "r1") == [], "asked again, it waits on"
    assert codes(join(ann, "r2", 11)) == [(11, Code.ALREADY_WAITING)]
    assert join(bob, "r2") == []
    yard.tell("w1", RoomUpdated("r1", "duel", 1, 1, 2, False, {}))
    (order,) = yard.desks["w1"].asked
    assert isinstance(order, ReserveSeats)
    yard.tell("w1", Reserved(order.ask, "r1", [bytes(16)], 15.0))
    assert assigned(ann.heard()).room == "r1"
    yard.out.advance(2.0)
    assert codes(bob.heard()) == [(10, Code.ROOM_NOT_FOUND)]
    assert codes(join(bob, "r2", 11)) == [(11, Code.ROOM_NOT_FOUND)]


def test_a_member_whose_session_has_ended_is_taken_out_again(yard: Yard) -> None:
    ann, _, room = two_in_a_room(yard)
    ann.ask(Goodbye(ann.ref, Code.SESSION_ENDED, ""))
    yard.desks["w1"].asked.clear()
    yard.settle(ann, "w1", room)
    assert yard.desks["w1"].asked == [ReleaseSeats(ann.welcome.session, [room])]
    assert yard.broker.sessions.get(ann.welcome.session) is None


def test_members_of_a_worker_that_was_taken_over_have_sessions_again(yard: Yard) -> None:
    record = yard.record("w1")
    record.adopted = True
    yard.tell("w1", RoomUpdated("r1", "duel", 1, 0, 2, True, {}), Seated("r1", "6" * 32, ClientData(12, "10.0.0.9")))
    session = yard.broker.sessions.get("6" * 32)
    assert session is not None
    assert (session.id, session.rooms, session.connected) == (12, {"r1"}, False)
    yard.out.advance(61.0)
    assert yard.broker.sessions.get("6" * 32) is None
    assert yard.desks["w1"].asked == [ReleaseSeats("6" * 32, ["r1"])]


def test_a_member_whose_session_has_ended_gets_no_other_when_a_worker_that_was_taken_over_tells_of_it(
    yard: Yard,
) -> None:
    """It was taken for one of the broker before, and lived on in the room for a grace period."""
    ann, _, room = two_in_a_room(yard)
    yard.record("w1").adopted = yard.record("w2").adopted = True
    ann.ask(Goodbye(ann.ref, Code.SESSION_ENDED, ""))
    yard.tell("w2", RoomUpdated("r2", "duel", 1, 0, 2, True, {}), Seated("r2", "6" * 32, ClientData(12, "")))
    yard.out.advance(61.0)
    for name, session, seat in (("w1", ann.welcome.session, room), ("w2", "6" * 32, "r2")):
        yard.desks[name].asked.clear()
        yard.tell(name, Seated(seat, session, ClientData(12, "")))
        assert yard.broker.sessions.get(session) is None
        assert yard.desks[name].asked == [ReleaseSeats(session, [seat])]


def test_a_full_broker_takes_no_members_over(yard: Yard) -> None:
    broker = Broker(Limits(), yard.out, bytes, BrokerLimits(sessions=1), TokenMint(b"key", 1))
    desk = FakeOutbox()
    record = a_worker("w1", desk, "tcp://127.0.0.1:7001")
    record.adopted = True
    broker.workers.add(record)
    broker.on_report(record, RoomUpdated("r1", "duel", 2, 0, 2, True, {}))
    for session in ("6" * 32, "7" * 32):
        broker.on_report(record, Seated("r1", session, ClientData(1, "")))
    assert len(broker.sessions) == 1
    assert desk.asked == [ReleaseSeats("7" * 32, ["r1"])]


def test_an_isolated_room_of_a_worker_that_was_taken_over_stays_alone() -> None:
    out = FakeOutbox()
    needs = {"exam": RoomNeeds("exam", isolated=True), "duel": RoomNeeds("duel")}
    broker = Broker(Limits(), out, bytes, BrokerLimits(), TokenMint(b"key", 1), needs)
    record = a_worker("w1", FakeOutbox(), "tcp://127.0.0.1:7001", types=["exam", "duel"])
    broker.workers.add(record)
    broker.on_report(record, RoomUpdated("r1", "exam", 1, 0, 1, True, {}))
    assert broker.workers.place(needs["duel"]) is None
    broker.on_report(record, RoomEnded("r1"))
    assert broker.workers.place(needs["duel"]) is record


def test_a_worker_without_rooms_is_lost_without_a_word(yard: Yard) -> None:
    caller = FakeCaller(yard.out)
    ann, _, _ = two_in_a_room(yard)
    yard.lose("w2")
    assert (ann.heard(), caller.heard()) == ([], [])


def test_who_may_have_taken_a_seat_that_it_gave_up_is_told_of_its_room(yard: Yard) -> None:
    ann = come(yard)
    create(ann)
    room = yard.hold("w1")  # it joins there, and is heard of no more: the worker's word of it is lost with the worker
    create(ann, 11)
    ann.heard()
    yard.lose("w1")
    assert lost(ann.heard()) == [(room, Code.WORKER_LOST)]


def test_long_after_a_seat_was_given_up_nobody_is_told_of_its_room(yard: Yard) -> None:
    ann = come(yard)
    create(ann)
    yard.hold("w1")
    create(ann, 11)
    ann.heard()
    yard.out.advance(31.0)
    yard.lose("w1")
    assert lost(ann.heard()) == []


def test_an_answer_of_a_worker_that_is_lost_assigns_nothing(yard: Yard) -> None:
    ann = come(yard)
    create(ann)
    record = yard.record("w1")
    order = yard.desks["w1"].asked[-1]
    assert isinstance(order, OpenRoom)
    yard.lose("w1")
    with yard.out.turn():
        yard.broker.on_report(record, Reserved(order.ask, order.room, [bytes(16)], 15.0))
    assert not [message for message in ann.heard() if isinstance(message, Assigned)]
