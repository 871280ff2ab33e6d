"""The directory: what lists of rooms show."""

from server_room_system.broker.directory import Directory
from server_room_system.broker.workers import WorkerRecord
from server_room_system.rooms.control import RoomUpdated

from .fakes import FakeOutbox, a_worker


def listed(directory: Directory, type_name: str | None = None) -> list[str]:
    return [room["room"] for room in directory.list(type_name)]


def a_record(name: str = "w1") -> WorkerRecord:
    return a_worker(name, FakeOutbox())


def test_rooms_are_listed_as_their_workers_reported_them_last() -> None:
    directory, record = Directory(), a_record()
    directory.update(RoomUpdated("r1", "duel", 1, 1, 2, False, {"map": "desert"}), record)
    directory.update(RoomUpdated("r2", "chat", 0, 9, 9, False, {}), record)
    directory.update(RoomUpdated("r1", "duel", 2, 0, 2, True, {"map": "forest"}), record)
    assert len(directory) == 2
    assert directory.list("duel") == [
        {
            "room": "r1",
            "type": "duel",
            "clients": 2,
            "max_clients": 2,
            "locked": True,
            "password": False,
            "spectators": 0,
            "max_spectators": 0,
            "metadata": {"map": "forest"},
        }
    ]


def test_rooms_are_listed_by_type_or_all() -> None:
    directory, record = Directory(), a_record()
    for room, type_name in (("r1", "duel"), ("r2", "chat"), ("r3", "duel")):
        directory.update(RoomUpdated(room, type_name, 0, 2, 2, False, {}), record)
    assert listed(directory) == ["r1", "r2", "r3"]
    assert listed(directory, "duel") == ["r1", "r3"]
    assert listed(directory, "chess") == []


def test_a_room_that_ended_is_not_there() -> None:
    directory, record = Directory(), a_record()
    directory.update(RoomUpdated("r1", "duel", 0, 2, 2, False, {}), record)
    assert "r1" in directory
    directory.remove("r1", record)
    directory.remove("r1", record)
    assert "r1" not in directory
    assert len(directory) == 0
    assert directory.list(None) == []


def test_a_room_stays_the_first_workers_whatever_another_says_of_it() -> None:
    directory, record, thief = Directory(), a_record(), a_record("w2")
    assert directory.update(RoomUpdated("r1", "duel", 1, 1, 2, False, {}), record)
    assert not directory.update(RoomUpdated("r1", "trap", 0, 9, 9, False, {}), thief)
    assert directory.remove("r1", thief) is None
    assert listed(directory, "duel") == ["r1"]
    assert (record.rooms, thief.rooms) == ({"r1": 1}, {})


def test_what_a_worker_has_to_do_is_counted_with_its_rooms() -> None:
    directory, record = Directory(), a_record()
    directory.update(RoomUpdated("r1", "duel", 1, 0, 2, False, {}), record)
    directory.update(RoomUpdated("r2", "chat", 0, 7, 9, False, {}), record)
    assert record.rooms == {"r1": 2, "r2": 2}, "seats that are held count as well"
    assert record.taken == 4
    directory.update(RoomUpdated("r2", "chat", 0, 4, 9, False, {}), record)
    assert (record.rooms, record.taken) == ({"r1": 2, "r2": 5}, 7)
    directory.remove("r1", record)
    directory.remove("r1", record)
    assert (record.rooms, record.taken) == ({"r2": 5}, 5)


def test_who_is_in_a_room_outlives_its_reports() -> None:
    directory, record = Directory(), a_record()
    directory.update(RoomUpdated("r1", "duel", 1, 0, 2, False, {}), record)
    entry = directory.get("r1")
    assert entry is not None
    entry.sessions.add("ann")
    directory.update(RoomUpdated("r1", "duel", 2, 0, 2, True, {}), record)
    removed = directory.remove("r1", record)
    assert removed is not None
    assert removed.sessions == {"ann"}
