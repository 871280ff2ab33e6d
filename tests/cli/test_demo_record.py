"""What ``srs demo`` checks: each broken promise is found. Nothing runs here."""

from server_room_system.cli.demo_record import Record


def _record() -> Record:
    """Two rooms of two; everybody said one thing, and all heard what they should."""
    record = Record()
    for name, room in (("ann", "A"), ("ben", "A"), ("cleo", "B"), ("dora", "B")):
        record.joined(name, room)
    for name in ("ann", "ben", "cleo", "dora"):
        record.says(name, f"{name}-1")
    for name, others in (("ann", "ann ben"), ("ben", "ann ben"), ("cleo", "cleo dora"), ("dora", "cleo dora")):
        for other in others.split():
            record.hears(name, f"{other}-1")
    return record


def test_nothing_is_wrong_where_all_is_well() -> None:
    record = _record()
    assert record.all_heard
    assert record.deliveries == 8
    assert record.problems(2) == []


def test_a_message_that_crossed_rooms_is_found() -> None:
    record = _record()
    record.hears("cleo", "ann-1")
    assert record.problems(2) == ["A MESSAGE CROSSED ROOMS: cleo heard ann-1, said by ann in another room"]


def test_a_message_that_is_missing_is_found() -> None:
    record = _record()
    record.says("ann", "ann-2")
    record.hears("ann", "ann-2")
    assert not record.all_heard
    assert record.problems(2) == ["ben never heard ann-2, said by ann"]


def test_a_message_that_came_twice_is_found() -> None:
    record = _record()
    record.hears("ben", "ann-1")
    assert record.problems(2) == ["ben heard ann-1 2 times"]


def test_a_message_that_nobody_said_is_found() -> None:
    record = _record()
    record.hears("ben", "ghost")
    assert record.problems(2) == ["ben heard ghost, which nobody said"]


def test_different_orders_are_found() -> None:
    record = _record()
    record.heard["ben"].reverse()
    assert record.problems(2) == ["ann and ben heard what was said in different orders"]


def test_who_has_left_should_hear_nothing_more_and_is_not_missed() -> None:
    record = _record()
    record.gone.add("ben")
    record.says("ann", "ann-2")
    record.hears("ann", "ann-2")
    assert record.all_heard
    assert record.problems(2) == []
    record.hears("ben", "ann-2")
    assert record.problems(2) == ["ben heard ann-2, said by ann while ben was not in the room"]


def test_rooms_of_the_wrong_size_are_found() -> None:
    record = Record()
    for name in ("ann", "ben", "cleo"):
        record.joined(name, "A")
    assert record.problems(2) == [
        "a room has 3 members, not 2: ann, ben, cleo",
        "there should be two rooms at least, and there is 1",
    ]
