"""The directory: what lists of rooms show."""

from server_room_system.broker.directory import Directory
from server_room_system.rooms.control import RoomUpdated


def listed(directory: Directory, type_name: str | None = None) -> list[str]:
    return [room["room"] for room in directory.list(type_name)]


def test_rooms_are_listed_as_their_workers_reported_them_last() -> None:
    directory = Directory()
    directory.update(RoomUpdated("r1", "duel", 1, 1, 2, False, {"map": "desert"}))
    directory.update(RoomUpdated("r2", "chat", 0, 9, 9, False, {}))
    directory.update(RoomUpdated("r1", "duel", 2, 0, 2, True, {"map": "forest"}))
    assert len(directory) == 2
    assert directory.list("duel") == [
        {
            "room": "r1",
            "type": "duel",
            "clients": 2,
            "max_clients": 2,
            "locked": True,
            "metadata": {"map": "forest"},
        }
    ]


def test_rooms_are_listed_by_type_or_all() -> None:
    directory = Directory()
    for room, type_name in (("r1", "duel"), ("r2", "chat"), ("r3", "duel")):
        directory.update(RoomUpdated(room, type_name, 0, 2, 2, False, {}))
    assert listed(directory) == ["r1", "r2", "r3"]
    assert listed(directory, "duel") == ["r1", "r3"]
    assert listed(directory, "chess") == []


def test_a_room_that_ended_is_not_there() -> None:
    directory = Directory()
    directory.update(RoomUpdated("r1", "duel", 0, 2, 2, False, {}))
    assert "r1" in directory
    directory.remove("r1")
    directory.remove("r1")
    assert "r1" not in directory
    assert len(directory) == 0
    assert directory.list(None) == []
