"""The histogram against sorted lists of the same times."""

import math

from hypothesis import given
from hypothesis import strategies as st

from server_room_system.lab.histogram import Histogram

TIMES = st.lists(st.integers(0, 10**13), min_size=1, max_size=200)


def filled(times: list[int]) -> Histogram:
    histogram = Histogram()
    for time in times:
        histogram.add(time)
    return histogram


@given(TIMES, st.sampled_from([1.0, 50.0, 90.0, 99.0, 99.9, 100.0]))
def test_a_percentile_is_at_most_one_part_in_128_above_the_true_one(times: list[int], percent: float) -> None:
    true = sorted(times)[max(0, math.ceil(len(times) * percent / 100) - 1)]
    read = filled(times).percentile(percent)
    assert read is not None
    assert true <= round(read * 1e9) <= true + true / 128 + 1


@given(TIMES, TIMES)
def test_merging_is_counting_together(some: list[int], others: list[int]) -> None:
    merged = filled(some)
    merged.merge(filled(others))
    together = filled(some + others)
    assert (merged.counts(), merged.count) == (together.counts(), together.count)


@given(TIMES)
def test_counts_travel(times: list[int]) -> None:
    assert Histogram(filled(times).counts()).counts() == filled(times).counts()


def test_small_times_are_exact() -> None:
    for time in range(256):
        assert filled([time]).percentile(50) == time / 1e9


def test_nothing_counted_is_no_percentile() -> None:
    assert Histogram().percentile(50) is None


def test_a_clock_that_ran_backwards_counts_as_no_time() -> None:
    assert filled([-5]).percentile(100) == 0
