"""What a broker may order of a worker besides seats: to tell, to close, to kick, to drain; and the end of a lease."""

from typing import Any

import pytest

from server_room_system import Code, Member, Protocol, WorkerLost
from server_room_system.protocol import Deliver, Join, Joined, LeftRoom, Message
from server_room_system.rooms.connection import Connection
from server_room_system.rooms.control import (
    CloseRoom,
    Drain,
    Draining,
    Failed,
    Inspect,
    Inspected,
    Kick,
    OpenRoom,
    Order,
    Reserved,
    ReserveSeats,
    RoomEnded,
    RoomReport,
    RoomUpdated,
    Seated,
    Unseated,
)

from .fakes import Diary, Gate
from .test_worker import RANKED, Factory, refused, reserved, wish

DRAINED = "the room closed: its worker is taken out of service"


class Drained(Diary):
    """Writes down that it is drained, too."""

    def on_drain(self, seconds: float) -> Any:
        self.events.append(("drain", seconds))


class House:
    """A worker with a room of two."""

    def __init__(self, room: Diary | None = None) -> None:
        self.room = room or Drained()
        self.factory = Factory(lambda ruleset: self.room, carries_sessions=False)
        secrets = reserved(self.factory.open("ann", "bob")).reservations
        self.callers: list[Connection] = []
        for secret in secrets:
            caller = self.factory.connect()
            (joined, *_) = self.factory.say(caller, Join(1, "r1", secret, {}))
            assert isinstance(joined, Joined)
            self.callers.append(caller)
        self.factory.loop.settle()

    def order(self, order: Order) -> list[RoomReport]:
        return self.factory.ask(order)

    def heard(self, caller: Connection) -> list[Message]:
        return self.factory.network.listener.heard(caller.peer)

    def left(self, caller: Connection) -> list[tuple[int, str]]:
        return [(message.code, message.text) for message in self.heard(caller) if isinstance(message, LeftRoom)]


@pytest.fixture
def house() -> House:
    return House()


def test_a_room_is_described(house: House) -> None:
    (answer,) = house.order(Inspect(7, "r1"))
    assert isinstance(answer, Inspected)
    told = answer.data
    assert (answer.ask, told["room"], told["type"], told["state"]) == (7, "r1", "diary", "open")
    assert (told["max_clients"], told["reserved"], told["fanout"]) == (4, 0, "unicast")
    assert [member["state"] for member in told["members"]] == ["joined", "joined"]
    assert told["more_members"] == 0


def test_a_room_that_is_not_there_is_not_described(house: House) -> None:
    assert house.order(Inspect(7, "r2")) == [Failed(7, Code.ROOM_NOT_FOUND, "no such room")]


def test_a_room_is_closed(house: House) -> None:
    reports = house.order(CloseRoom("r1", int(Code.ROOM_CLOSED), "maintenance"))
    assert [house.left(caller) for caller in house.callers] == [[(Code.ROOM_CLOSED, "maintenance")]] * 2
    assert reports[-1] == RoomEnded("r1")
    assert house.room.names[-3:] == ["leave", "leave", "dispose"]
    assert house.factory.worker.rooms == {}


def test_a_code_that_is_unknown_here_closes_all_the_same(house: House) -> None:
    house.order(CloseRoom("r1", 2999, "newer"))
    assert house.left(house.callers[0]) == [(Code.ROOM_CLOSED, "newer")]


def test_clients_are_kicked_by_their_number(house: House) -> None:
    member = next(iter(house.factory.worker.rooms["r1"].members.values()))
    other = [one for one in house.factory.worker.rooms["r1"].members.values() if one is not member]
    member.seat.client = member.seat.client._replace(ID=77)
    reports = house.order(Kick("r1", 77, "be kind"))
    assert [house.left(caller) for caller in house.callers] == [[(Code.KICKED, "be kind")], []]
    assert Unseated("r1", "ann") in reports
    assert list(house.factory.worker.rooms["r1"].members.values()) == other


@pytest.mark.parametrize("order", [CloseRoom("r2", 2100, ""), Kick("r2", 1, ""), Kick("r1", 99, "")], ids=repr)
def test_orders_about_what_is_not_there_do_nothing(house: House, order: Order) -> None:
    assert house.order(order) == []
    assert [house.left(caller) for caller in house.callers] == [[], []]


# Draining.


def test_a_worker_that_drains_tells_its_members_and_closes_what_is_left_in_the_end(house: House) -> None:
    assert house.order(Drain(30.0, int(Code.WORKER_DRAINED))) == [Draining()]
    bundles = [message for message in house.heard(house.callers[0]) if isinstance(message, Deliver)]
    assert [item[1:] for bundle in bundles for item in bundle.items] == [[Protocol.Response.COMMAND, "draining"]]
    assert ("drain", 30.0) in house.room.events
    house.factory.loop.advance(29.0)
    assert list(house.factory.worker.rooms) == ["r1"]
    house.factory.loop.advance(1.5)
    assert house.factory.worker.rooms == {}
    assert [house.left(caller) for caller in house.callers] == [[(Code.WORKER_DRAINED, DRAINED)]] * 2


def test_a_worker_that_drains_makes_no_rooms_and_says_why(house: House) -> None:
    house.order(Drain(30.0, int(Code.WORKER_DRAINED)))
    refusal = refused(house.order(OpenRoom(9, "r9", house.factory.worker.rooms["r1"].room.ruleset, {}, False, [])))
    assert (refusal.ask, refusal.code) == (9, Code.WORKER_DRAINED)
    assert isinstance(house.order(ReserveSeats(10, "r1", [wish("cid")]))[-1], Reserved), "rooms that are there go on"


def test_asked_again_the_shorter_time_counts(house: House) -> None:
    for within in (30.0, 5.0, 20.0):
        house.order(Drain(within, int(Code.WORKER_DRAINED)))
    house.factory.loop.advance(4.5)
    assert list(house.factory.worker.rooms) == ["r1"]
    house.factory.loop.advance(1.0)
    assert house.factory.worker.rooms == {}
    assert house.factory.reports.count(Draining()) == 1


def test_a_worker_is_drained_when_its_last_room_has_ended_by_itself(house: House) -> None:
    house.order(Drain(30.0, int(Code.WORKER_DRAINED)))
    assert not house.factory.worker._drained.is_set()
    house.order(CloseRoom("r1", 2100, ""))
    assert house.factory.worker._drained.is_set()


def test_a_worker_without_rooms_is_drained_at_once() -> None:
    factory = Factory(lambda ruleset: Diary())
    assert factory.ask(Drain(30.0, int(Code.WORKER_DRAINED))) == [Draining()]
    assert factory.worker._drained.is_set()


# The lease is over.


def test_rooms_that_are_dropped_let_everybody_go_at_once(house: House) -> None:
    house.factory.port.begin(house.factory.loop.now)
    house.factory.worker.drop_rooms()
    assert [house.left(caller) for caller in house.callers] == [[(Code.WORKER_LOST, WorkerLost.meaning)]] * 2
    house.factory.port.flush()
    house.factory.loop.settle()
    assert house.factory.worker.rooms == {}
    assert "leave" not in house.room.names, "nobody is here to leave"
    assert house.room.names[-1] == "dispose"


def test_a_hook_that_waits_does_not_keep_members_in_a_room_that_is_dropped() -> None:
    gate = Gate()

    class Slow(Drained):
        def on_leave(self, client: Member, reason: Code) -> Any:
            super().on_leave(client, reason)
            return self.wait()

        async def wait(self) -> None:
            await gate

    house = House(Slow())
    house.order(Kick("r1", 1, ""))  # both have this number; on_leave waits for the first
    house.factory.port.begin(house.factory.loop.now)
    house.factory.worker.drop_rooms()
    house.factory.port.flush()
    assert all(house.left(caller) for caller in house.callers)
    assert list(house.factory.worker.rooms) == ["r1"], "its hook is still at work"
    house.factory.loop.advance(6.0)
    house.factory.loop.settle()
    assert house.factory.worker.rooms == {}


def test_a_room_that_is_being_made_when_all_are_dropped_is_not_made() -> None:
    class Slow(Diary):
        birth = Gate()

        async def on_create(self, options: dict[str, Any]) -> None:
            await self.birth

    factory = Factory(lambda ruleset: Slow())
    factory.open("ann")
    factory.port.begin(factory.loop.now)
    factory.worker.drop_rooms()
    factory.port.flush()
    factory.loop.settle()
    assert factory.worker.rooms == {}


def test_a_worker_serves_on_after_its_rooms_were_dropped(house: House) -> None:
    house.factory.port.begin(house.factory.loop.now)
    house.factory.worker.drop_rooms()
    house.factory.port.flush()
    house.factory.loop.settle()
    house.room = Drained()
    assert reserved(house.factory.open("cid")).room == "r1"


# All that a broker needs to know.


def test_everything_is_told_of_rooms_that_are_open(house: House) -> None:
    reports = list(house.factory.worker.everything())
    assert reports[0] == RoomUpdated("r1", "diary", 2, 2, 4, False, {}, RANKED.digest)
    assert [report.session for report in reports[1:] if isinstance(report, Seated)] == ["ann", "bob"]
    assert len(reports) == 3
    house.order(Drain(30.0, int(Code.WORKER_DRAINED)))
    assert list(house.factory.worker.everything())[-1] == Draining()


def test_who_has_not_joined_yet_is_not_told_of() -> None:
    gate = Gate()

    class Slow(Diary):
        async def on_join(self, client: Member, options: dict[str, Any]) -> None:
            await gate

    factory = Factory(lambda ruleset: Slow(), carries_sessions=False)
    secret = reserved(factory.open("ann")).reservations[0]
    factory.say(factory.connect(), Join(1, "r1", secret, {}))
    reports = list(factory.worker.everything())
    assert reports == [RoomUpdated("r1", "diary", 1, 3, 4, False, {}, RANKED.digest)]
    gate.open()
    factory.loop.settle()
    assert len(list(factory.worker.everything())) == 2
