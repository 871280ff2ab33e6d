"""Which worker a new room goes to."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from server_room_system import Load, Placement, RoomNeeds, WorkerView
from server_room_system.broker.workers import LOCAL, WorkerEvent, WorkerRecord, Workers

from .fakes import FakeOutbox, a_worker

DUEL = RoomNeeds("duel")
GPU = RoomNeeds("duel", frozenset({"gpu"}))
ALONE = RoomNeeds("duel", isolated=True)


class Floor:
    """A table of workers."""

    def __init__(self, policy: Placement | None = None) -> None:
        self.workers = Workers(policy or Placement())

    def add(self, name: str, **described: Any) -> WorkerRecord:
        endpoint = None if name == LOCAL else f"tcp://127.0.0.1:{7000 + len(list(self.workers))}"
        record = a_worker(name, FakeOutbox(), endpoint, **{"types": ["duel", "chat"], **described})
        self.workers.add(record)
        return record

    def place(self, needs: RoomNeeds = DUEL) -> str | None:
        record = self.workers.place(needs)
        return record.name if record is not None else None


@pytest.fixture
def floor() -> Floor:
    return Floor()


def test_without_workers_there_is_no_place(floor: Floor) -> None:
    assert floor.place() is None
    assert floor.workers.hosts(DUEL) == []


def test_a_room_goes_where_its_type_is_hosted(floor: Floor) -> None:
    floor.add("a", types=["chat"])
    assert floor.place() is None
    floor.add("b", types=["duel"])
    assert floor.place() == "b"


def test_a_room_without_a_type_goes_anywhere(floor: Floor) -> None:
    floor.add("a", types=["chat"])
    assert floor.place(RoomNeeds(None)) == "a"


def test_the_brokers_own_process_hosts_whatever_its_server_makes(floor: Floor) -> None:
    floor.add(LOCAL, types=[])
    assert floor.place() == LOCAL


def test_a_room_goes_where_its_labels_are(floor: Floor) -> None:
    floor.add("a", labels=["ssd"])
    assert floor.place(GPU) is None
    floor.add("b", labels=["gpu", "ssd"])
    assert floor.place(GPU) == "b"
    assert floor.place(RoomNeeds("duel", frozenset({"gpu", "ssd"}))) == "b"
    assert floor.place(RoomNeeds("duel", frozenset({"gpu", "tpu"}))) is None


def test_a_room_goes_to_the_least_loaded(floor: Floor) -> None:
    a, b, c = floor.add("a"), floor.add("b"), floor.add("c")
    for record, room, taken in ((a, "r1", 5), (b, "r2", 2), (b, "r3", 2), (c, "r4", 4)):
        record.has(room, taken)
    assert floor.place() == "c", "as many seats as b, in fewer rooms"
    c.has("r5", 1)
    assert floor.place() == "b"
    b.promised[1] = 2
    assert floor.place() == "a", "as many seats as c, in fewer rooms; promised seats count"


def test_of_equals_the_one_with_less_to_compute_and_then_the_first_by_name(floor: Floor) -> None:
    b, a = floor.add("b"), floor.add("a")
    assert floor.place() == "a"
    a.load = Load(cpu=0.5)
    b.load = Load(cpu=0.4)
    assert floor.place() == "b"


def test_rooms_spread_while_nobody_has_answered(floor: Floor) -> None:
    records = [floor.add(name) for name in "abc"]
    placed: list[str] = []
    for ask in range(9):
        record = floor.workers.place(DUEL)
        assert record is not None
        record.promised[ask] = 2
        placed.append(record.name)
    assert placed == ["a", "b", "c"] * 3
    assert all(len(record.promised) == 3 for record in records)


@pytest.mark.parametrize("why", ["full", "promised", "draining", "lagging", "missing"])
def test_who_can_take_nothing_gets_nothing(floor: Floor, why: str) -> None:
    a, b = floor.add("a", max_rooms=1), floor.add("b")
    b.has("r9", 50)
    if why == "full":
        a.has("r1", 1)
    elif why == "promised":
        a.promised[1] = 1
    elif why == "draining":
        a.draining = True
    elif why == "lagging":
        a.load = Load(lag=0.3)
    else:
        a.step(WorkerEvent.LOSE)
    assert floor.place() == "b"
    assert a in floor.workers.hosts(DUEL), "it hosts such rooms all the same"
    assert floor.workers.is_full(a) == (why in ("full", "promised", "draining"))


def test_a_brokers_own_process_that_lags_takes_rooms_all_the_same(floor: Floor) -> None:
    floor.add(LOCAL).load = Load(lag=5.0)
    assert floor.place() == LOCAL


# Isolated rooms.


def test_an_isolated_room_has_its_worker_for_itself(floor: Floor) -> None:
    a = floor.add("a")
    assert floor.place(ALONE) == "a"
    a.promised[1] = 1
    assert floor.place() is None
    del a.promised[1]
    a.rooms["r1"] = 1
    assert floor.place() is None
    assert floor.place(ALONE) is None
    a.rooms.clear()
    assert floor.place() == "a", "it has ended"


def test_an_isolated_room_goes_to_nobody_who_has_another(floor: Floor) -> None:
    floor.add("a").rooms["r1"] = 1
    assert floor.place(ALONE) is None
    b = floor.add("b")
    assert floor.place(ALONE) == "b"
    b.promised[1] = 1
    assert floor.place() == "a"


def test_an_isolated_room_never_goes_into_the_brokers_process(floor: Floor) -> None:
    floor.add(LOCAL)
    assert floor.place(ALONE) is None


def test_a_worker_for_one_room_takes_isolated_rooms_only(floor: Floor) -> None:
    floor.add("spare", isolated=True, max_rooms=1)
    assert floor.place() is None
    assert floor.place(ALONE) == "spare"


def test_where_workers_are_started_for_isolated_rooms_the_others_take_none(floor: Floor) -> None:
    floor.workers.spares = True
    floor.add("a")
    assert floor.place(ALONE) is None
    floor.add("spare", isolated=True, max_rooms=1)
    assert floor.place(ALONE) == "spare"
    assert floor.place() == "a"


def test_an_isolated_room_that_an_earlier_broker_placed_stays_alone(floor: Floor) -> None:
    a = floor.add("a")
    a.rooms["r1"] = 1
    floor.workers.keep_alone(a)
    assert floor.place() is None
    a.rooms.clear()
    assert floor.place() == "a"


def test_a_worker_that_is_gone_and_comes_back_is_as_free_as_any(floor: Floor) -> None:
    a = floor.add("a")
    assert floor.place(ALONE) == "a"
    a.rooms["r1"] = 1
    floor.workers.remove(a)
    assert floor.place() is None
    floor.add("a").rooms["r2"] = 1
    assert floor.place() == "a"


# Policies of users.


class Fullest(Placement):
    """Packs rooms, so that machines can be switched off."""

    most_lag = 2.0

    def choose(self, workers: Sequence[WorkerView], needs: RoomNeeds) -> WorkerView | None:
        self.seen = list(workers)
        return max(workers, key=lambda worker: worker.rooms)


def test_a_policy_of_ones_own_chooses_among_those_that_can() -> None:
    policy = Fullest()
    floor = Floor(policy)
    a, b, c = floor.add("a"), floor.add("b", labels=["gpu"], max_rooms=9), floor.add("c", max_rooms=3)
    for record, room, taken in ((a, "r1", 1), (b, "r2", 1), (b, "r3", 2), (c, "r4", 1), (c, "r5", 1), (c, "r6", 1)):
        record.has(room, taken)
    b.load = Load(lag=1.5, cpu=0.7)
    assert floor.place() == "b"
    assert policy.seen == [
        WorkerView("a", frozenset(), 1, 1, 1 << 30, Load()),
        WorkerView("b", frozenset({"gpu"}), 2, 3, 9, Load(lag=1.5, cpu=0.7)),
    ]


def test_a_policy_may_leave_a_room_waiting() -> None:
    class Never(Placement):
        def choose(self, workers: Sequence[WorkerView], needs: RoomNeeds) -> WorkerView | None:
            return None

    floor = Floor(Never())
    floor.add("a")
    assert floor.place(ALONE) is None
    assert floor.place() is None


class Raising(Placement):
    def choose(self, workers: Sequence[WorkerView], needs: RoomNeeds) -> WorkerView | None:
        raise LookupError("no idea")


class Inventing(Placement):
    def choose(self, workers: Sequence[WorkerView], needs: RoomNeeds) -> WorkerView | None:
        return WorkerView("elsewhere", frozenset(), 0, 0, 1)


@pytest.mark.parametrize("policy", [Raising(), Inventing()], ids=lambda policy: type(policy).__name__)
def test_a_policy_that_fails_costs_no_room(policy: Placement, caplog: pytest.LogCaptureFixture) -> None:
    floor = Floor(policy)
    floor.add("a").rooms["r1"] = 1
    floor.add("b")
    with caplog.at_level(logging.ERROR, "server_room_system.workers"):
        assert floor.place() == "b"
    assert "placement policy failed" in caplog.text


def test_what_a_worker_says_of_its_load_is_read_with_care() -> None:
    assert Load.from_wire({"lag": 0.1, "cpu": 1, "rss": 7.9, "messages": 2}) == Load(0.1, 1.0, 7, 2.0)
    assert Load.from_wire({"lag": None, "cpu": "1", "rss": float("inf"), "messages": -1, "else": 1}) == Load()
