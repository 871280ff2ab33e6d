"""What load processes note arrives in the tally: mouth to ear, over JSON."""

import json
from collections import Counter

import pytest

from server_room_system.lab.ledger import Account, Faults, Heard
from server_room_system.lab.schedule import SECOND
from server_room_system.lab.tally import Notes, Tally, account_events, heard_events

BEGIN, UNTIL = 10 * SECOND, 14 * SECOND


def pass_on(notes: Notes, tally: Tally, process: str = "load 1") -> None:
    for event in notes.news():
        line = json.dumps(event)
        assert len(line) < 65_000
        tally.take(process, json.loads(line))


def test_a_message_counts_in_the_second_when_it_was_due_and_in_the_one_when_it_came() -> None:
    notes, tally = Notes(BEGIN, UNTIL, 1.0), Tally(4)
    due = BEGIN + SECOND // 2
    notes.acted(due)
    notes.delivered(due, due + 2 * SECOND, due + 2 * SECOND + 1000)
    pass_on(notes, tally)
    assert [slot.sent for slot in tally.slots] == [1, 0, 0, 0]
    assert [slot.heard for slot in tally.slots] == [0, 0, 1, 0]
    assert [slot.times["delivery"].count for slot in tally.slots] == [1, 0, 0, 0]
    assert tally.times("delivery").percentile(50) == pytest.approx(2.0, rel=0.01)
    assert tally.times("own").percentile(50) == pytest.approx(1e-6, rel=0.01)


def test_the_part_of_a_load_process_is_never_more_than_the_latency() -> None:
    notes, tally = Notes(BEGIN, UNTIL, 1.0), Tally(4)
    notes.delivered(BEGIN + 500, BEGIN - SECOND, BEGIN + 1000)
    pass_on(notes, tally)
    assert tally.times("own").percentile(100) == pytest.approx(500e-9, rel=0.01)


def test_the_warm_up_is_checked_and_not_measured() -> None:
    notes, tally = Notes(BEGIN, UNTIL, 1.0), Tally(4)
    notes.delivered(BEGIN - 1, BEGIN - 1, BEGIN - 1)
    notes.acted(BEGIN - 1)
    notes.woke(BEGIN - 1, BEGIN)
    pass_on(notes, tally)
    assert tally.total == 1
    assert all(tally.times(kind).count == 0 for kind in ("delivery", "lag", "own"))
    assert sum(slot.sent + slot.heard for slot in tally.slots) == 0


def test_what_comes_after_the_end_is_in_the_latency_and_not_in_the_throughput() -> None:
    notes, tally = Notes(BEGIN, UNTIL, 1.0), Tally(4)
    notes.delivered(UNTIL - 1, UNTIL + SECOND, UNTIL + SECOND)
    pass_on(notes, tally)
    assert tally.slots[3].times["delivery"].count == 1
    assert sum(slot.heard for slot in tally.slots) == 0


def test_news_are_told_once_and_processes_add_up() -> None:
    tally = Tally(4)
    for process in ("load 1", "load 2"):
        notes = Notes(BEGIN, UNTIL, 1.0)
        for at in range(3):
            notes.delivered(BEGIN + at, BEGIN + at, BEGIN + at + 5)
            notes.failed("TimedOut: nothing came")
            pass_on(notes, tally, process)
            pass_on(notes, tally, process)
    assert tally.total == 6
    assert tally.times("delivery").count == 6
    assert tally.errors == {"TimedOut: nothing came": 6}


def test_joins_count_before_the_measurement_or_in_it() -> None:
    notes, tally = Notes(BEGIN, UNTIL, 1.0), Tally(4)
    notes.joined(5, 10, measured=False)
    notes.joined(BEGIN + 5, BEGIN + 10, measured=True)
    notes.joined(BEGIN - 5, BEGIN + 10, measured=True)
    pass_on(notes, tally)
    assert tally.before.times["join"].count == 1
    assert tally.slots[0].times["join"].count == 1


def test_many_rows_travel_in_short_lines() -> None:
    accounts = {bot: Account("abcdefghijklmnop", bot) for bot in range(1000)}
    heard = Counter({("abcdefghijklmnop", bot, Heard(bot, bot << 50)): 2 for bot in range(1000)})
    tally = Tally(1)
    for event in [*account_events(accounts, 7, 0.4), *heard_events(heard, Faults(doubled=2))]:
        line = json.dumps(event)
        assert len(line) < 65_000
        tally.take("load 1", json.loads(line))
    assert tally.accounts == accounts
    assert {(room, bot, what): count for room, bot, what, count in tally.heard} == heard
    assert (tally.unsent, tally.busy, tally.faults) == (7, 0.4, Faults(doubled=2))


def test_what_is_no_event_is_an_error() -> None:
    with pytest.raises(ValueError, match="load 1 told 'nonsense'"):
        Tally(1).take("load 1", {"event": "nonsense"})
