"""The oracle finds what it is there to find: a run is recorded, and each mistake is planted into it."""

from collections.abc import Callable
from typing import Any

import pytest

from server_room_system import Code

from .accounts import Party
from .events import Event
from .oracle import AFTERMATH, PATIENCE, Oracle

Records = list[tuple[str, list[Any]]]
"""Who tells, and what."""

WORKER, FIRST, SECOND, LEAD = "w1", "b0", "b1", "lead"
ONE, TWO = 11, 22
"""Visits."""


def recorded() -> Records:
    """A room of two: broadcasts, one that excepts, a direct message, a reconnect, and an orderly end."""
    return [
        (FIRST, [Event.ASK, 1.0, ONE, 1, 0]),
        (WORKER, [Event.OPEN, 1.1, "room", 2, 100, 60.0, 0]),
        (WORKER, [Event.JOIN, 1.2, "room", ONE, 1, 0]),
        (WORKER, [Event.SAY, 1.2, "room", 0, 0, []]),
        (FIRST, [Event.ENTER, 1.3, ONE, "room"]),
        (FIRST, [Event.READ, 1.3, ONE, "room", 7, 0, 1, 0, True]),
        (SECOND, [Event.ASK, 2.0, TWO, 2, 0]),
        (WORKER, [Event.JOIN, 2.1, "room", TWO, 2, 0]),
        (SECOND, [Event.ENTER, 2.2, TWO, "room"]),
        (FIRST, [Event.SEND, 3.0, ONE, 1]),
        (WORKER, [Event.APPLY, 3.1, "room", ONE, 1, "room"]),
        (WORKER, [Event.SAY, 3.1, "room", 1, 0, [TWO]]),
        (WORKER, [Event.SAY, 3.1, "room", 2, TWO, []]),
        (WORKER, [Event.SAY, 3.1, "room", 3, 0, []]),
        (FIRST, [Event.ACKED, 3.2, ONE, 1]),
        (FIRST, [Event.READ, 3.2, ONE, "room", 7, 1, 2, 0, True, 3, 3, 0, True]),
        (WORKER, [Event.DROP, 3.2, "room", TWO]),
        (WORKER, [Event.SAY, 3.2, "room", 4, 0, []]),
        (WORKER, [Event.BACK, 4.0, "room", TWO]),
        (SECOND, [Event.READ, 4.1, TWO, "room", 7, 2, 2, 1, False, 3, 3, 1, True, 4, 4, 1, True]),
        (FIRST, [Event.READ, 4.1, ONE, "room", 7, 4, 4, 0, True]),
        (FIRST, [Event.SEND, 5.0, ONE, 2]),
        (WORKER, [Event.APPLY, 5.1, "room", ONE, 2, "room"]),
        (WORKER, [Event.LEAVE, 5.1, "room", ONE, int(Code.ROOM_CLOSED)]),
        (WORKER, [Event.LEAVE, 5.1, "room", TWO, int(Code.ROOM_CLOSED)]),
        (WORKER, [Event.DISPOSE, 5.1, "room"]),
        (FIRST, [Event.OVER, 5.2, ONE, "RoomClosed"]),
        (SECOND, [Event.OVER, 5.2, TWO, "RoomClosed"]),
    ]


def judged(records: Records, until: float | None = None) -> Oracle:
    """What the oracle makes of it."""
    oracle = Oracle()
    parties = {name: Party("worker" if name == WORKER else "client", name) for name in (WORKER, FIRST, SECOND, LEAD)}
    for name, record in records:
        if record:
            oracle.take(parties[name], record)
        else:
            oracle.gone(parties[name], 6.0)
    if until is not None:
        oracle.check(until)
    return oracle


def at(records: Records, event: Event, visit: int | None = None) -> int:
    """Where the first record of a kind is, of one visit."""
    return next(i for i, (_, one) in enumerate(records) if one[0] == event and (visit is None or visit in one[2:4]))


def test_what_is_right_is_not_a_violation_and_nothing_of_it_is_kept() -> None:
    oracle = judged(recorded(), 1000.0)
    assert oracle.told == []
    assert not oracle.violations
    assert (oracle.rooms, oracle.visits) == ({}, {})
    assert oracle.counts["deliveries"] == 7
    assert oracle.counts["acknowledged"] == oracle.counts["reconnects"] == 1


def lost(records: Records) -> None:
    record = records[at(records, Event.READ, TWO)][1]
    del record[9:13]


def doubled(records: Records) -> None:
    index = at(records, Event.READ, ONE)
    records.insert(index, records[index])


def swapped(records: Records) -> None:
    record = records[at(records, Event.READ, TWO)][1]
    record[5:13] = [*record[9:13], *record[5:9]]


def crossed(records: Records) -> None:
    records[at(records, Event.READ, TWO)][1][3] = "another"


def meant_for_another_member(records: Records) -> None:
    record = records[at(records, Event.ACKED)][1]
    records.insert(at(records, Event.ACKED), (FIRST, [Event.READ, record[1], ONE, "room", 7, 2, 2, 1, False]))


def excepted_and_read(records: Records) -> None:
    records[at(records, Event.READ, TWO)][1][5:5] = [1, 2, 0, True]


def never_said(records: Records) -> None:
    records[at(records, Event.READ, TWO)][1].extend((9, 5, 1, True))


def last_one_lost(records: Records) -> None:
    del records[at(records, Event.READ, TWO)][1][-4:]


def another_life_of_the_stream(records: Records) -> None:
    last = max(index for index, (_, record) in enumerate(records) if record[0] == Event.READ and record[2] == ONE)
    records[last][1][4] = 8


def needless_reset(records: Records) -> None:
    records[at(records, Event.READ, TWO)] = (SECOND, [Event.RESET, 4.1, TWO, 5])


def applied_twice(records: Records) -> None:
    index = at(records, Event.APPLY)
    records.insert(index, records[index])


def applied_in_another_room(records: Records) -> None:
    records[at(records, Event.APPLY)][1][5] = "another"


def applied_and_never_sent(records: Records) -> None:
    records[at(records, Event.APPLY)][1][4] = 5


def acked_and_never_applied(records: Records) -> None:
    del records[at(records, Event.APPLY)]


def refused_and_applied(records: Records) -> None:
    records[at(records, Event.ACKED)][1][0] = Event.REFUSED


def oversold(records: Records) -> None:
    records[at(records, Event.OPEN)][1][3] = 1


def wrong_match(records: Records) -> None:
    records[at(records, Event.JOIN, TWO)][1][5] = 2


def stolen_seat(records: Records) -> None:
    records[at(records, Event.JOIN, TWO)][1][4] = 1


def seated_twice(records: Records) -> None:
    index = at(records, Event.JOIN, TWO)
    records.insert(index + 1, records[index])


def room_begins_again(records: Records) -> None:
    records.append((WORKER, [Event.OPEN, 6.0, "room", 2, 100, 60.0, 0]))


def entered_what_does_not_know(records: Records) -> None:
    records[at(records, Event.ENTER, TWO)][1][3] = "another"


def gone_without_a_fault(records: Records) -> None:
    records[at(records, Event.BACK)][1][:] = [Event.LEAVE, 4.0, "room", TWO, int(Code.GRACE_EXPIRED)]
    del records[at(records, Event.READ, TWO)]
    del records[max(i for i, (_, one) in enumerate(records) if one[0] == Event.LEAVE)]
    records[at(records, Event.OVER, TWO)][1][3] = "GraceExpired"


def told_the_wrong_end(records: Records) -> None:
    records[at(records, Event.OVER, TWO)][1][3] = "BelowMinimum"


def told_twice_of_the_end(records: Records) -> None:
    records.append(records[-1])


def worker_lost_that_lives(records: Records) -> None:
    index = at(records, Event.LEAVE, TWO)
    records.insert(index, (SECOND, [Event.OVER, 5.0, TWO, "WorkerLost"]))
    del records[-1]


def room_ends_with_members(records: Records) -> None:
    del records[at(records, Event.LEAVE, TWO)]


def misrouted(records: Records) -> None:
    records.append((SECOND, [Event.MISROUTED, 6.0, 2, 3]))


PLANTS: list[tuple[Callable[[Records], None], str]] = [
    (lost, "lost"),
    (doubled, "doubled"),
    (swapped, "lost"),
    (crossed, "crossed"),
    (meant_for_another_member, "crossed"),
    (excepted_and_read, "crossed"),
    (never_said, "never said"),
    (last_one_lost, "lost"),
    (another_life_of_the_stream, "places"),
    (needless_reset, "needless reset"),
    (applied_twice, "applied twice"),
    (applied_in_another_room, "crossed up"),
    (applied_and_never_sent, "never sent"),
    (acked_and_never_applied, "acked, not applied"),
    (refused_and_applied, "refused, but applied"),
    (oversold, "oversold"),
    (wrong_match, "wrong match"),
    (stolen_seat, "stolen seat"),
    (seated_twice, "two seats"),
    (room_begins_again, "two lives"),
    (entered_what_does_not_know, "no seat"),
    (gone_without_a_fault, "left for no reason"),
    (told_the_wrong_end, "wrong end"),
    (told_twice_of_the_end, "trace"),
    (worker_lost_that_lives, "ended for no reason"),
    (room_ends_with_members, "members left"),
    (misrouted, "misrouted"),
]


@pytest.mark.parametrize(("plant", "kind"), PLANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_mistake_is_found(plant: Callable[[Records], None], kind: str) -> None:
    records = recorded()
    plant(records)
    oracle = judged(records)
    assert oracle.violations[kind], oracle.told


def test_what_the_last_word_should_have_been_is_missed_where_the_room_lives_on() -> None:
    records = [one for one in recorded() if one[1][0] not in (Event.LEAVE, Event.DISPOSE, Event.OVER)]
    last_one_lost(records)
    assert not judged(records, 3.1 + PATIENCE).violations, "it may be under way"
    oracle = judged(records, 3.3 + PATIENCE)
    assert list(oracle.violations) == ["lost"]
    oracle.check(4.3 + PATIENCE)
    assert oracle.violations["lost"] == 1, "said once"


def test_a_ghost_is_seen_when_its_time_is_over() -> None:
    records = [one for one in recorded() if one[1][0] not in (Event.LEAVE, Event.DISPOSE, Event.OVER)]
    records.append((SECOND, []))
    assert not judged(records, 5.9 + PATIENCE).violations
    assert list(judged(records, 6.1 + PATIENCE).violations) == ["ghost"]


def test_who_is_not_told_of_the_end_is_seen() -> None:
    records = recorded()[:-1]
    assert list(judged(records, 5.2 + PATIENCE).violations) == ["not told"]


def test_what_was_sent_and_never_applied_is_seen() -> None:
    records = [one for one in recorded() if one[1][0] not in (Event.LEAVE, Event.DISPOSE, Event.OVER)]
    del records[max(i for i, (_, one) in enumerate(records) if one[0] == Event.APPLY)]
    assert list(judged(records, 5.2 + PATIENCE).violations) == ["lost up"]


def test_a_fault_is_an_excuse_for_what_it_breaks_and_for_nothing_else() -> None:
    records = recorded()
    gone_without_a_fault(records)
    for things, found in (([SECOND], {}), ([WORKER], {}), ([FIRST], {"left for no reason": 1})):
        fault: tuple[str, list[Any]] = (LEAD, [Event.FAULT, 2.5, "stall", things, 1.0])
        assert judged([*records[:8], fault, *records[8:]]).violations == found


def test_the_rooms_of_a_worker_that_is_killed_are_lost_and_each_member_is_told() -> None:
    records = [one for one in recorded() if one[1][0] not in (Event.LEAVE, Event.DISPOSE, Event.OVER)]
    records.append((WORKER, []))
    told: Records = [(FIRST, [Event.OVER, 6.5, ONE, "WorkerLost"]), (SECOND, [Event.OVER, 6.5, TWO, "WorkerLost"])]
    oracle = judged([*records, *told], 1000.0)
    assert not oracle.violations
    assert (oracle.rooms, oracle.visits) == ({}, {})
    assert list(judged([*records, told[0]], 1000.0).violations) == ["not told"]


def test_a_room_without_a_lease_ends_without_asking_and_the_aftermath_is_an_excuse() -> None:
    records = [one for one in recorded() if one[1][0] != Event.LEAVE]
    for _, record in records[-2:]:
        record[3] = "WorkerLost"
    begin = 5.1 - AFTERMATH
    fault: tuple[str, list[Any]] = (LEAD, [Event.FAULT, begin, "stall lease", [WORKER], 0.1])
    assert not judged([fault, *records]).violations
    assert list(judged(records).violations) == ["members left"]


def with_keys(*read: int) -> Records:
    """Somebody reads only these of six: 1 and 4 are values of one key, 2 of another, 3 of the first for one alone."""
    said = [(0, 0), (0, 9), (0, 8), (ONE, 9), (0, 9), (0, 0)]
    return [
        (FIRST, [Event.ASK, 1.0, ONE, 1, 0]),
        (WORKER, [Event.OPEN, 1.1, "room", 2, 100, 60.0, 0]),
        (WORKER, [Event.JOIN, 1.2, "room", ONE, 1, 0]),
        (FIRST, [Event.ENTER, 1.3, ONE, "room"]),
        *((WORKER, [Event.SAY, 2.0, "room", serial, to, [], key]) for serial, (to, key) in enumerate(said)),
        *((FIRST, [Event.READ, 3.0, ONE, "room", 7, serial, serial + 1, 0, serial != 3]) for serial in read),
    ]


def test_only_what_is_outdated_may_be_left_out() -> None:
    late = 3.1 + PATIENCE
    assert not judged(with_keys(0, 1, 2, 3, 4, 5), late).violations, "who keeps up gets everything"
    assert not judged(with_keys(0, 2, 3, 4, 5), late).violations
    assert judged(with_keys(0, 1, 3, 4, 5), late).violations == {"lost": 1}, "the only one of its key"
    assert judged(with_keys(0, 2, 4, 5), late).violations == {"lost": 1}, "what is said to one is not outdated by all"
    assert judged(with_keys(2, 3, 4, 5), late).violations == {"lost": 1}, "no key"
    assert judged(with_keys(0, 1, 2, 3), late).violations == {"lost": 1}, "the newest is missing"
    assert judged(with_keys(0, 2, 3, 4, 1, 5), late).violations == {"doubled": 1}, "an older one after a newer one"


def test_given_up_visits_are_forgotten_when_no_room_can_seat_them_any_more() -> None:
    records: Records = [
        (FIRST, [Event.ASK, 1.0, ONE, 1, 3]),
        (FIRST, [Event.GIVE_UP, 2.0, ONE, "MatchExpired"]),
    ]
    assert judged(records, 2.0 + PATIENCE).visits
    assert not judged(records, 2.1 + PATIENCE).visits
