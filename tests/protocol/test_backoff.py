"""How long a client waits before it connects again."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_room_system.protocol.backoff import Backoff

LONGEST = [0.16, 0.32, 0.64, 1.28, 2.56, 5.0, 5.0, 5.0]
"""The protocol document: 0.16 times two to the number of the attempt, and 5 s at most."""

ALMOST_ONE = 1.0 - 2.0**-53


def delays(backoff: Backoff, count: int = len(LONGEST)) -> list[float]:
    return [backoff.next() for _ in range(count)]


def test_the_shortest_delays_are_a_fifth_of_the_longest() -> None:
    assert delays(Backoff(lambda: 0.0)) == pytest.approx([0.2 * longest for longest in LONGEST])


def test_the_longest_delays_double_up_to_five_seconds() -> None:
    assert delays(Backoff(lambda: ALMOST_ONE)) == pytest.approx(LONGEST)


@given(st.lists(st.floats(0.0, ALMOST_ONE), min_size=1, max_size=40))
def test_delays_stay_within_their_bounds(numbers: list[float]) -> None:
    drawn = iter(numbers)
    backoff = Backoff(lambda: next(drawn))
    for attempt in range(len(numbers)):
        longest = min(5.0, 0.16 * 2.0**attempt)
        assert 0.2 * longest <= backoff.next() <= longest
    assert backoff.attempts == len(numbers)


def test_the_jitter_is_the_given_random() -> None:
    first, again, other = (delays(Backoff(random.Random(seed).random)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_each_delay_draws_once() -> None:
    drawn: list[float] = []
    backoff = Backoff(lambda: drawn.append(0.5) or 0.5)  # type: ignore[func-returns-value]  # None, then
    delays(backoff, 3)
    assert len(drawn) == 3


def test_after_a_reset_the_delays_begin_anew() -> None:
    backoff = Backoff(lambda: 0.5)
    first = delays(backoff)
    backoff.reset()
    assert backoff.attempts == 0
    assert delays(backoff) == first


def test_a_server_that_is_away_for_hours_does_not_overflow_the_delay() -> None:
    backoff = Backoff(lambda: ALMOST_ONE)
    assert delays(backoff, 2000)[-1] == pytest.approx(5.0)
