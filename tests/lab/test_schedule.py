"""The schedule, and why it is an open one."""

from itertools import pairwise

import pytest

from server_room_system.lab.histogram import Histogram
from server_room_system.lab.schedule import SECOND, due_times, join_times


@pytest.mark.parametrize("rate", [0.3, 1.0, 7.0, 1000.0])
@pytest.mark.parametrize("bot", [0, 1, 17, 9999])
def test_a_bot_acts_at_its_rate_within_the_time(bot: int, rate: float) -> None:
    start, until = 5 * SECOND, 105 * SECOND
    dues = list(due_times(bot, rate, start, until))
    assert start <= dues[0] < start + SECOND / rate
    assert dues[-1] < until <= dues[-1] + SECOND / rate + 1
    assert {round((late - early) * rate / SECOND, 4) for early, late in pairwise(dues)} == {1.0}


def test_a_bot_that_only_listens_is_never_due() -> None:
    assert list(due_times(3, 0.0, 0, SECOND)) == []


def test_the_bots_times_do_not_bunch() -> None:
    firsts = sorted(next(due_times(bot, 1.0, 0, 2 * SECOND)) for bot in range(100))
    gaps = [late - early for early, late in pairwise(firsts)]
    assert 0 < min(gaps) <= max(gaps) < SECOND / 100 * 2


def test_bots_join_in_the_order_of_their_numbers_whatever_process_they_are_in() -> None:
    both = [*join_times(range(0, 6, 2), 2.0, 100), *join_times(range(1, 6, 2), 2.0, 100)]
    assert sorted(both) == [(bot, 100 + bot * SECOND // 2) for bot in range(6)]


def answer(sent: int) -> int:
    """When a server that stands still for 50 ms at the beginning of each second answers, 1 ms later otherwise."""
    pause_ends = sent - sent % SECOND + SECOND // 20
    return max(sent, pause_ends) + SECOND // 1000


def test_the_open_schedule_shows_a_pause_that_a_closed_loop_hides() -> None:
    opened, closed = Histogram(), Histogram()
    for due in due_times(0, 1000.0, 0, 20 * SECOND):
        opened.add(answer(due) - due)
    now = 0
    while now < 20 * SECOND:  # the next one is sent when the last is back
        back = answer(now)
        closed.add(back - now)
        now = back
    p99 = opened.percentile(99), closed.percentile(99)
    assert p99[0] is not None
    assert p99[1] is not None
    assert p99[0] > 0.035
    assert p99[1] < 0.002
