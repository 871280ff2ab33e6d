"""Bytes that never become messages, decided without sockets: see also ``tests/adversary/test_watch.py``."""

from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.transport.watch import Account


def test_what_was_heard_is_no_excess() -> None:
    account = Account(0.0)
    assert account.look(0, 0, 0.0) == 0
    assert account.look(1000, 1000, 1.0) == 0
    assert account.look(101_000, 1000, 1.0) == 100_000
    assert account.look(101_000, 101_000, 1.0) == 0


def test_heartbeats_are_forgiven_and_floods_are_not() -> None:
    account, arrived = Account(0.0), 0
    for second in range(1, 100_000, 5):
        arrived += 82  # PING and PONG under CURVE
        assert account.look(arrived, 0, float(second)) < 100
    account, arrived, excess = Account(0.0), 0, 0.0
    for second in range(1, 200):
        arrived += 1000
        excess = account.look(arrived, 0, float(second))
    assert excess > 190_000


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0.0, 1.0)), max_size=50))
@settings(max_examples=100, deadline=None)
def test_more_heard_than_sent_gives_no_credit(looks: list[tuple[int, int, float]]) -> None:
    account, arrived, heard, now = Account(0.0), 0, 0, 0.0
    for sent, listened, pause in looks:
        arrived, heard, now = arrived + sent, heard + listened, now + pause
        account.look(arrived, heard, now)
    assert account.look(arrived + 1_000_000, heard, now) >= 1_000_000


def test_a_later_count_of_what_was_heard_forgives_nothing() -> None:
    account = Account(0.0)
    assert account.look(50_000, 0, 0.0) == 50_000
    assert account.excess(50_000, 90_000) == 0  # more has come since, and was heard
    assert account.look(90_000, 90_000, 0.0) == 0
