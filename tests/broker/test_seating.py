"""From seats that are wanted to seats that are held: whom to ask, how long to wait, what to do when nobody answers."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from server_room_system import (
    CapacityReached,
    ClientData,
    Code,
    NoWorker,
    Placement,
    RoomFull,
    RoomNeeds,
    RoomNotFound,
    RuleSet,
    WorkerView,
)
from server_room_system.broker.directory import Directory
from server_room_system.broker.seating import HeldSeats, NewRoom, Seating
from server_room_system.broker.workers import LOCAL, WorkerEvent, WorkerRecord, Workers
from server_room_system.protocol import RequestError
from server_room_system.rooms.control import (
    CloseRoom,
    OpenRoom,
    Order,
    Refused,
    ReleaseSeats,
    Reserved,
    ReserveSeats,
    RoomUpdated,
    SeatWish,
)

from .cluster_fakes import FakeClock
from .fakes import a_worker

DUEL = RoomNeeds("duel")
ALONE = RoomNeeds("duel", isolated=True)


class Outbox(FakeClock):
    """A clock, and what is known of workers to come."""

    def __init__(self) -> None:
        super().__init__()
        self.workers_expected = 0
        self.workers_starting = False
        self.settled_at = 0.0
        self.spares = 0
        """How many more workers can be started."""
        self.spares_wanted = 0

    def want_spare(self) -> bool:
        if self.spares_wanted >= self.spares:
            return False
        self.spares_wanted += 1
        return True


class Desk:
    """A worker that writes down what it is asked."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def order(self, order: Order) -> None:
        self.orders.append(order)

    @property
    def last(self) -> Order:
        return self.orders[-1]


class Hall:
    """Seating, workers, and somebody who wants seats."""

    def __init__(self, policy: Placement | None = None) -> None:
        self.out = Outbox()
        self.workers = Workers(policy or Placement())
        self.directory = Directory()
        self.seating = Seating(self.workers, self.directory, self.out, Random(4).randbytes)
        self.answers: list[HeldSeats | RequestError] = []

    def add(self, name: str = "a", **described: Any) -> tuple[WorkerRecord, Desk]:
        desk = Desk()
        record = a_worker(name, desk, f"tcp://127.0.0.1:7{len(name)}", **{"types": ["duel"], **described})
        self.workers.add(record)
        return record, desk

    def wishes(self, count: int) -> list[SeatWish]:
        return [SeatWish(f"s{number}", ClientData(number, ""), {}) for number in range(1, count + 1)]

    def open(self, needs: RoomNeeds = DUEL, seats: int = 2) -> None:
        new = NewRoom(RuleSet(seats, room="duel"), needs, {"map": "forest"}, True)
        self.seating.open(new, self.wishes(seats), self.answers.append)

    def reserve(self, room: str, seats: int = 1) -> None:
        self.seating.reserve(room, self.wishes(seats), self.answers.append)

    def hold(self, record: WorkerRecord, order: Order, **fields: Any) -> None:
        """The worker says yes."""
        assert isinstance(order, OpenRoom | ReserveSeats)
        values: dict[str, Any] = {
            "ask": order.ask,
            "room": order.room,
            "reservations": [bytes([number]) * 16 for number in range(len(order.seats))],
            "timeout": 15.0,
        }
        self.seating.answered(record, Reserved(**{**values, **fields}))

    def known(self, record: WorkerRecord, room: str) -> None:
        self.directory.update(RoomUpdated(room, "duel", 0, 4, 4, False, {}), record)

    @property
    def answer(self) -> HeldSeats | RequestError:
        (answer,) = self.answers
        return answer

    @property
    def error(self) -> RequestError:
        assert isinstance(self.answer, RequestError)
        return self.answer

    def lose(self, record: WorkerRecord) -> None:
        """A worker is gone, as the broker hears it."""
        self.workers.remove(record)
        for entry in self.directory:
            if entry.worker is record:
                self.directory.remove(entry.report.room, record)
        self.seating.unheard(record)


@pytest.fixture
def hall() -> Hall:
    return Hall()


def test_a_room_is_made_by_the_worker_that_is_chosen(hall: Hall) -> None:
    record, desk = hall.add()
    hall.open()
    (order,) = desk.orders
    assert isinstance(order, OpenRoom)
    assert (order.ruleset, order.options, order.matched) == (RuleSet(2, room="duel"), {"map": "forest"}, True)
    assert order.seats == hall.wishes(2)
    assert len(order.room) == 32
    assert record.promised == {order.ask: 2}
    hall.hold(record, order)
    assert hall.answer == HeldSeats(order.room, record, [bytes(16), b"\x01" * 16], 15.0)
    assert record.promised == {}
    assert hall.out.alarms.next() is None


def test_seats_in_a_room_that_is_there_are_its_workers(hall: Hall) -> None:
    record, desk = hall.add("a")
    hall.add("b")
    hall.known(record, "r1")
    hall.reserve("r1")
    order = desk.last
    assert order == ReserveSeats(order.ask, "r1", hall.wishes(1))  # type: ignore[union-attr]  # the next assert
    assert isinstance(order, ReserveSeats)
    hall.hold(record, order)
    assert isinstance(hall.answer, HeldSeats)


def test_seats_in_a_room_that_is_not_there(hall: Hall) -> None:
    hall.reserve("r1")
    assert type(hall.answer) is RoomNotFound


def test_seats_in_a_room_wait_for_its_worker_while_those_of_an_earlier_broker_come(hall: Hall) -> None:
    hall.out.settled_at = hall.out.now + 2.0
    hall.reserve("r1")
    hall.reserve("r1")
    hall.reserve("r2")
    hall.out.advance(1.9)
    assert hall.answers == []
    record, desk = hall.add()
    hall.known(record, "r1")
    hall.seating.came("r1", record)
    assert [order.room for order in desk.orders if isinstance(order, ReserveSeats)] == ["r1", "r1"]
    hall.hold(record, desk.last)
    assert isinstance(hall.answer, HeldSeats)
    hall.out.advance(0.2)
    _, refused = hall.answers
    assert isinstance(refused, RoomNotFound)
    hall.reserve("r2")
    assert isinstance(hall.answers[-1], RoomNotFound), "at once: nobody is expected any more"


def test_a_room_that_is_known_twice_is_asked_once(hall: Hall) -> None:
    hall.out.settled_at = hall.out.now + 2.0
    hall.reserve("r1")
    record, desk = hall.add()
    for _ in range(2):
        hall.known(record, "r1")
        hall.seating.came("r1", record)
    assert len(desk.orders) == 1
    hall.out.advance(2.0)
    assert hall.answers == [], "its worker has its own time to answer"


def test_seats_in_a_room_whose_worker_is_missing(hall: Hall) -> None:
    record, _ = hall.add()
    hall.known(record, "r1")
    record.step(WorkerEvent.LOSE)
    record.desk = None
    hall.reserve("r1")
    assert type(hall.answer) is RoomNotFound


@pytest.mark.parametrize(("code", "error"), [(Code.ROOM_FULL, RoomFull), (Code.WORKER_LOST, NoWorker)])
def test_what_a_worker_refuses_with_is_told(hall: Hall, code: Code, error: type[RequestError]) -> None:
    record, desk = hall.add()
    hall.open()
    order = desk.last
    assert isinstance(order, OpenRoom)
    hall.seating.answered(record, Refused(order.ask, int(code), "because"))
    assert type(hall.answer) is error
    assert hall.error.text == "because"
    assert record.promised == {}


@pytest.mark.parametrize("fields", [{"room": "another"}, {"reservations": [bytes(16)]}], ids=str)
def test_an_answer_that_does_not_fit_is_none(hall: Hall, fields: dict[str, Any]) -> None:
    record, desk = hall.add()
    hall.open()
    hall.hold(record, desk.last, **fields)
    assert type(hall.answer) is NoWorker


def test_answers_of_others_and_late_ones_are_not_heard(hall: Hall) -> None:
    record, desk = hall.add("a")
    other, _ = hall.add("b")
    hall.open()
    order = desk.last
    hall.hold(other, order)
    hall.hold(record, order, ask=99)
    assert hall.answers == []
    hall.hold(record, order)
    hall.hold(record, order)
    assert isinstance(order, OpenRoom)
    hall.seating.answered(record, Refused(order.ask, int(Code.ROOM_FULL), ""))
    assert isinstance(hall.answer, HeldSeats)


def test_a_worker_that_never_answers_does_not_hold_its_clients_up_for_ever(hall: Hall) -> None:
    """An ``on_create`` that waited for ever left who had asked "waiting for a match" for good."""
    record, desk = hall.add()
    hall.open()
    order = desk.last
    assert isinstance(order, OpenRoom)
    hall.out.advance(29.9)
    assert hall.answers == []
    hall.out.advance(0.2)
    assert type(hall.answer) is NoWorker
    assert record.promised == {}
    assert desk.last == CloseRoom(order.room, int(Code.ROOM_CLOSED), "")
    hall.hold(record, order)
    assert len(hall.answers) == 1, "too late"


def test_seats_that_a_worker_does_not_answer_for_are_released(hall: Hall) -> None:
    record, desk = hall.add()
    hall.known(record, "r1")
    hall.reserve("r1")
    hall.out.advance(30.1)
    assert type(hall.answer) is NoWorker
    assert desk.last == ReleaseSeats("s1", ["r1"], joined=False)
    assert hall.out.alarms.next() is None


# Nobody can take it.


def test_a_type_that_nobody_hosts_is_refused_at_once(hall: Hall) -> None:
    hall.add(types=["chat"])
    hall.open()
    assert type(hall.answer) is NoWorker
    assert hall.error.text == "no worker hosts room type 'duel'"
    assert hall.out.alarms.next() is None


def test_labels_that_nobody_has_are_named(hall: Hall) -> None:
    hall.add()
    hall.open(RoomNeeds("duel", frozenset({"gpu", "ssd"})))
    assert type(hall.answer) is NoWorker
    assert hall.error.text == "no worker hosts room type 'duel' with gpu, ssd"


def test_without_any_worker_rooms_are_refused_at_once(hall: Hall) -> None:
    hall.open(RoomNeeds(None))
    assert type(hall.answer) is NoWorker
    assert hall.error.text == "no worker hosts rooms"


def test_when_all_workers_are_full_a_room_is_refused_at_once(hall: Hall) -> None:
    hall.add("a", max_rooms=1)[0].has("r1", 1)
    hall.add("b")[0].draining = True
    hall.open()
    assert type(hall.answer) is CapacityReached


# Waiting.


def test_a_room_waits_for_a_worker_that_is_starting(hall: Hall) -> None:
    hall.out.workers_expected = 1
    hall.open()
    hall.out.advance(3.0)
    assert hall.answers == []
    record, desk = hall.add()
    hall.out.workers_expected = 0
    hall.seating.retry()
    hall.hold(record, desk.last)
    assert isinstance(hall.answer, HeldSeats)
    assert hall.out.alarms.next() is None


def test_rooms_wait_until_the_first_workers_are_all_there(hall: Hall) -> None:
    """Otherwise the first one would get them all."""
    hall.out.workers_starting = True
    first = hall.add("a")
    for _ in range(2):
        hall.open()
    second = hall.add("b")
    assert first[1].orders == []
    hall.out.workers_starting = False
    hall.seating.retry()
    assert [len(desk.orders) for _, desk in (first, second)] == [1, 1]


def test_a_room_waits_for_a_worker_that_is_only_busy(hall: Hall) -> None:
    record, desk = hall.add()
    record.load = type(record.load)(lag=1.0)
    hall.open()
    assert hall.answers == []
    record.load = type(record.load)()
    hall.seating.retry()
    assert isinstance(desk.last, OpenRoom)


def test_a_room_waits_eight_seconds_at_most(hall: Hall) -> None:
    record, desk = hall.add()
    record.load = type(record.load)(lag=1.0)
    hall.open()
    hall.out.advance(7.9)
    assert hall.answers == []
    hall.out.advance(0.2)
    assert type(hall.answer) is CapacityReached
    record.load = type(record.load)()
    hall.seating.retry()
    assert desk.orders == []
    assert hall.out.alarms.next() is None


def test_a_room_whose_worker_does_not_come_is_refused_when_that_is_known(hall: Hall) -> None:
    hall.out.workers_expected = 1
    hall.open()
    hall.out.workers_expected = 0
    hall.seating.retry()
    assert type(hall.answer) is NoWorker
    assert hall.out.alarms.next() is None


def test_those_who_wait_are_served_in_their_order(hall: Hall) -> None:
    hall.out.workers_expected = 1
    for seats in (1, 2, 3):
        hall.open(seats=seats)
    _, desk = hall.add(max_rooms=2)
    hall.seating.retry()
    assert [len(order.seats) for order in desk.orders if isinstance(order, OpenRoom)] == [1, 2]


def test_who_waits_behind_one_that_has_to_wait_is_not_tried_in_vain_each_time() -> None:
    """With thousands who waited and some dozen workers, the broker did nothing else."""

    class Counting(Placement):
        asked = 0

        def choose(self, workers: Sequence[WorkerView], needs: RoomNeeds) -> WorkerView | None:
            self.asked += 1
            return None if self.asked <= 104 else super().choose(workers, needs)

    policy = Counting()
    hall = Hall(policy)
    _, desk = hall.add(types=["duel", "chat"])
    for seats in range(1, 101):
        hall.open(seats=seats)
    for _ in range(2):
        hall.open(RoomNeeds("chat"), seats=1)
    assert policy.asked == 102
    hall.seating.retry()
    assert policy.asked == 104, "once for each need"
    hall.seating.retry()
    assert [len(order.seats) for order in desk.orders if isinstance(order, OpenRoom)] == [*range(1, 101), 1, 1]


def test_only_so_many_wait(hall: Hall) -> None:
    hall.out.workers_expected = 1
    for _ in range(10_001):
        hall.open(seats=1)
    assert type(hall.answer) is CapacityReached


def test_one_that_is_answered_at_once_may_have_others_placed_meanwhile(hall: Hall) -> None:
    class Impatient(Desk):
        def order(self, order: Order) -> None:
            super().order(order)
            hall.seating.retry()

    hall.out.workers_expected = 1
    for _ in range(3):
        hall.open()
    desk = Impatient()
    hall.workers.add(a_worker("a", desk, "tcp://127.0.0.1:7001", types=["duel"]))
    hall.seating.retry()
    assert len(desk.orders) == 3


def test_a_policy_may_make_rooms_wait() -> None:
    class Closed(Placement):
        open = False

        def choose(self, workers: Sequence[WorkerView], needs: RoomNeeds) -> WorkerView | None:
            return workers[0] if self.open else None

    policy = Closed()
    hall = Hall(policy)
    _, desk = hall.add()
    hall.open()
    assert (hall.answers, desk.orders) == ([], [])
    policy.open = True
    hall.seating.retry()
    assert len(desk.orders) == 1


# Isolated rooms.


def test_an_isolated_room_waits_for_a_worker_that_is_started_for_it(hall: Hall) -> None:
    hall.out.spares = 1
    hall.workers.spares = True
    hall.add("a")
    hall.open(ALONE)
    hall.seating.retry()
    hall.seating.retry()
    assert hall.out.spares_wanted == 1, "one for each room"
    assert hall.answers == []
    _, desk = hall.add("spare", isolated=True, max_rooms=1)
    hall.seating.retry()
    assert isinstance(desk.last, OpenRoom)


def test_an_isolated_room_is_refused_at_once_if_nobody_is_free_and_nobody_can_be_started(hall: Hall) -> None:
    hall.add()[0].has("r1", 1)
    hall.open(ALONE)
    assert type(hall.answer) is CapacityReached
    assert hall.error.text == "no worker is free for an isolated room"


# Workers that are lost.


def test_a_room_that_was_asked_of_a_lost_worker_is_asked_of_another(hall: Hall) -> None:
    record, desk = hall.add("a")
    hall.open()
    first = desk.last
    other, others_desk = hall.add("b")
    hall.lose(record)
    second = others_desk.last
    assert isinstance(first, OpenRoom)
    assert isinstance(second, OpenRoom)
    assert second.room != first.room, "an id has one owner"
    hall.hold(record, first)
    assert hall.answers == [], "what the lost one answers is not heard"
    hall.hold(other, second)
    assert isinstance(hall.answer, HeldSeats)


def test_a_room_whose_workers_are_lost_again_and_again_is_refused(hall: Hall) -> None:
    hall.out.workers_expected = 1
    asked = 0
    hall.open()
    while not hall.answers:
        record, desk = hall.add(f"w{asked}")
        hall.seating.retry()
        asked += len(desk.orders)
        hall.lose(record)
    assert asked == 4
    assert type(hall.answer) is NoWorker


def test_seats_in_a_room_whose_worker_is_lost_are_refused(hall: Hall) -> None:
    record, _ = hall.add()
    hall.known(record, "r1")
    hall.reserve("r1")
    hall.lose(record)
    assert type(hall.answer) is RoomNotFound


def test_a_worker_that_returns_is_asked_again_after_what_it_may_have_done(hall: Hall) -> None:
    record, desk = hall.add()
    hall.known(record, "r1")
    hall.open()
    hall.reserve("r1", 2)
    first, second = desk.orders
    hall.seating.unheard(record)
    assert isinstance(first, OpenRoom)
    assert isinstance(second, ReserveSeats)
    close, again, *releases, reserve = desk.orders[2:]
    assert close == CloseRoom(first.room, 2100, "")
    assert isinstance(again, OpenRoom)
    assert again.room != first.room
    assert releases == [ReleaseSeats(one, ["r1"], joined=False) for one in ("s1", "s2")]
    assert isinstance(reserve, ReserveSeats)
    hall.hold(record, first)
    hall.hold(record, second)
    assert hall.answers == []
    hall.hold(record, again)
    hall.hold(record, reserve)
    assert [type(answer) for answer in hall.answers] == [HeldSeats, HeldSeats]
    assert record.promised == {}


def test_the_brokers_own_process_answers_as_any_worker(hall: Hall) -> None:
    desk = Desk()
    record = a_worker(LOCAL, desk)
    hall.workers.add(record)
    hall.open(RoomNeeds(None))
    hall.hold(record, desk.last)
    assert isinstance(hall.answer, HeldSeats)
    assert hall.answer.worker.endpoint is None


def test_a_room_that_a_draining_worker_does_not_make_any_more_is_asked_of_another(hall: Hall) -> None:
    record, desk = hall.add("a")
    hall.open()
    order = desk.last
    assert isinstance(order, OpenRoom)
    other, others_desk = hall.add("b")
    hall.seating.answered(record, Refused(order.ask, int(Code.WORKER_DRAINED), ""))
    assert record.draining
    assert len(desk.orders) == 1
    hall.hold(other, others_desk.last)
    assert isinstance(hall.answer, HeldSeats)
