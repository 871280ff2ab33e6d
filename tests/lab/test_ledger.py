"""What is lost, doubled, out of order, skipped, seen differently, or of another room."""

from collections import Counter
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_room_system.lab.ledger import Account, Faults, Heard, Hearing, balance, expected

Log = list[tuple[int, int, int]]
"""Sender, number, offset, in the order of arrival."""
ALL = {0: Account("r", 3), 1: Account("r", 2)}
LOG: Log = [(0, 1, 10), (1, 1, 11), (0, 2, 12), (0, 3, 13), (1, 2, 14)]


def listen(log: Log, *, contiguous: bool = True) -> Hearing:
    hearing = Hearing(contiguous=contiguous)
    for bot, number, offset in log:
        hearing.at(offset)
        hearing.hear(bot, number, offset)
    return hearing


def check(
    *logs: Log, accounts: dict[int, Account] = ALL, heard_by: str = "all", contiguous: bool = True
) -> dict[str, int]:
    """The faults that are there, if each log is what one member of the room got."""
    faults = Faults()
    rows: Counter[tuple[str, int, Heard]] = Counter()
    for log in logs:
        hearing = listen(log, contiguous=contiguous)
        faults.add(hearing.faults)
        rows.update(("r", bot, what) for bot, what in hearing.heard().items())
    told = [(room, bot, what, count) for (room, bot, what), count in rows.items()]
    faults.add(balance(accounts, heard_by, told, ordered=True))
    return {name: count for name, count in asdict(faults).items() if count}


def without(index: int) -> Log:
    return LOG[:index] + LOG[index + 1 :]


def test_all_is_well() -> None:
    assert check(LOG, LOG) == {}


def test_a_message_that_one_member_never_got_is_lost_and_its_offset_skipped() -> None:
    assert check(LOG, without(2)) == {"lost": 1, "skipped": 1}


def test_a_last_message_that_never_came_is_lost() -> None:
    assert check(LOG, without(4)) == {"lost": 1}


def test_a_message_that_the_room_never_sent_is_lost_for_all() -> None:
    log: Log = [(0, 1, 10), (1, 1, 11), (0, 3, 12), (1, 2, 13)]
    assert check(log, log) == {"lost": 2}


def test_a_member_who_never_heard_a_sender_lost_all_of_its_messages() -> None:
    silent = [entry for entry in LOG if entry[0] == 0]
    assert check(LOG, silent, contiguous=False) == {"lost": 2}
    assert check(LOG, [], contiguous=False) == {"lost": 5}


def test_a_doubled_message() -> None:
    log: Log = [*LOG, (1, 2, 15)]
    assert check(log, log) == {"doubled": 2}


def test_a_message_that_comes_late_is_out_of_order_but_not_lost() -> None:
    log: Log = [(0, 2, 10), (0, 1, 11), (1, 1, 12), (0, 3, 13), (1, 2, 14)]
    assert check(log, log) == {"disordered": 2}


def test_a_message_that_comes_late_and_again_is_doubled() -> None:
    log: Log = [(0, 2, 10), (0, 1, 11), (0, 1, 12), (1, 1, 13), (0, 3, 14), (1, 2, 15)]
    assert check(log, log) == {"disordered": 2, "doubled": 2}


def test_an_offset_that_was_passed_is_out_of_order() -> None:
    log: Log = [(0, 1, 10), (1, 1, 9), (0, 2, 11), (0, 3, 12), (1, 2, 13)]
    assert check(log, log) == {"disordered": 2}


def test_members_who_saw_different_orders_disagree() -> None:
    other: Log = [(1, 1, 10), (0, 1, 11), (0, 2, 12), (0, 3, 13), (1, 2, 14)]
    assert check(LOG, other) == {"disagreed": 2}


def test_a_message_of_a_bot_in_another_room_has_crossed() -> None:
    accounts = {**ALL, 2: Account("other", 5)}
    rows = [("r", 0, Heard(3, 7), 2), ("r", 1, Heard(2, 8), 2), ("r", 2, Heard(1, 9), 1), ("other", 2, Heard(5, 1), 1)]
    assert balance(accounts, "all", rows, ordered=True) == Faults(crossed=1)


@pytest.mark.parametrize(("heard_by", "deliveries"), [("all", 10), ("others", 5), ("sender", 5)])
def test_who_hears_decides_how_many_deliveries_there_are(heard_by: str, deliveries: int) -> None:
    assert expected(ALL, heard_by) == deliveries


def test_those_who_are_to_hear_only_others_have_nothing_of_their_own() -> None:
    zero, one = [e for e in LOG if e[0] == 1], [e for e in LOG if e[0] == 0]
    assert check(zero, one, heard_by="others", contiguous=False) == {}
    assert check(LOG, one, heard_by="others", contiguous=False) == {"doubled": 3}


def test_those_who_hear_only_themselves() -> None:
    own = [[entry for entry in LOG if entry[0] == bot] for bot in (0, 1)]
    assert check(*own, heard_by="sender", contiguous=False) == {}
    assert check(own[0], [], heard_by="sender", contiguous=False) == {"lost": 2}


@given(st.sets(st.integers(0, 39), max_size=10))
def test_every_loss_is_counted_once(lost: set[int]) -> None:
    log: Log = [(0, index + 1, index) for index in range(40)]
    heard = [entry for index, entry in enumerate(log) if index not in lost]
    found = check(log, heard, accounts={0: Account("r", 40), 1: Account("r", 0)}, contiguous=False)
    assert found.get("lost", 0) == len(lost)
