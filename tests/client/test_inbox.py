"""What came and is not read yet, and when the rest of it is fetched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_room_system.client import inbox as module
from server_room_system.client.inbox import Inbox
from server_room_system.client.received import Received
from server_room_system.protocol import Position


def message(number: int) -> Received:
    return Received("message", number, Position(1, number, 0), "broadcast")


def filled(most: int, count: int) -> Inbox:
    inbox = Inbox(most)
    for number in range(count):
        inbox.put(message(number))
    return inbox


def test_messages_are_taken_in_the_order_in_which_they_came() -> None:
    inbox = filled(10, 3)
    assert len(inbox) == 3
    assert [inbox.take()[0].data for _ in range(3)] == [0, 1, 2]
    assert len(inbox) == 0


def test_there_is_room_below_the_limit_and_none_at_it() -> None:
    assert filled(3, 2).has_room()
    assert not filled(3, 3).has_room()


def test_one_bundle_may_go_over_the_limit() -> None:
    inbox = filled(2, 5)
    assert len(inbox) == 5
    assert not inbox.has_room()


def test_nothing_is_fetched_if_nothing_was_left_out() -> None:
    inbox = filled(4, 4)
    assert [inbox.take()[1] for _ in range(4)] == [False] * 4


def test_what_was_left_out_is_fetched_once_when_half_is_read() -> None:
    inbox = filled(4, 4)
    inbox.has_room()
    inbox.has_room()
    assert [inbox.take()[1] for _ in range(4)] == [False, True, False, False]


def test_what_comes_after_something_was_left_out_has_no_room_until_it_is_fetched() -> None:
    inbox = filled(4, 4)
    assert not inbox.has_room()
    inbox.take()
    assert not inbox.has_room()
    assert inbox.take()[1]
    assert inbox.has_room()


def test_it_is_fetched_again_when_it_was_full_again() -> None:
    inbox = filled(2, 2)
    for _ in range(3):
        assert not inbox.has_room()
        assert inbox.take()[1]
        inbox.put(message(9))


def test_a_limit_of_one_is_fetched_when_it_is_empty() -> None:
    inbox = filled(1, 1)
    inbox.has_room()
    assert inbox.take()[1]


@given(st.integers(1, 9), st.lists(st.sampled_from(["bundle", "read"]), max_size=60))
def test_whoever_reads_everything_is_told_to_fetch_what_was_left_out(most: int, steps: list[str]) -> None:
    inbox, owed = Inbox(most), False
    for step in steps:
        if step == "bundle" and not inbox.has_room():
            owed = True
        elif step == "bundle":
            inbox.put(message(0))
        elif len(inbox):
            owed = not inbox.take()[1] and owed
        assert len(inbox) <= most
    while len(inbox):
        owed = not inbox.take()[1] and owed
    assert not owed


def test_what_is_left_is_taken_whole_and_has_an_end_that_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_REST", 1000)
    inbox = filled(4, 4)
    assert inbox.bears(1_000_000), "until then, messages are counted"
    assert not inbox.has_room()
    assert inbox.lift()
    assert inbox.has_room()
    assert inbox.bears(600)
    assert not inbox.lift()
    assert inbox.bears(400)
    assert not inbox.bears(1)


def test_of_resets_that_follow_each_other_the_newest_is_read() -> None:
    inbox = Inbox(4)
    kinds = ["broadcast", "reset", "reset", "broadcast", "reset", "reset"]
    for number, kind in enumerate(kinds):
        inbox.put(Received(kind, number, Position(1, number, 0), kind))
    assert [inbox.take()[0].data for _ in range(len(inbox))] == [0, 2, 3, 5]
