"""How often something may happen."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import Limits, TokenBucket


def allowed(bucket: TokenBucket, now: float, tries: int) -> int:
    return sum(bucket.allow(now) for _ in range(tries))


def test_a_burst_passes_at_once_and_not_one_more() -> None:
    bucket = TokenBucket(rate=60.0, burst=120)
    assert allowed(bucket, 50.0, 500) == 120


def test_after_a_burst_events_pass_at_the_rate() -> None:
    bucket = TokenBucket(rate=10.0, burst=5)
    assert allowed(bucket, 50.0, 100) == 5
    assert not bucket.allow(50.09)
    assert bucket.allow(50.11)
    assert not bucket.allow(50.11)
    assert allowed(bucket, 50.41, 100) == 3


def test_patience_restores_the_burst_and_never_more() -> None:
    bucket = TokenBucket(rate=10.0, burst=5)
    allowed(bucket, 50.0, 100)
    assert allowed(bucket, 1000.0, 100) == 5


def test_what_is_refused_is_not_counted() -> None:
    bucket = TokenBucket(rate=10.0, burst=1)
    assert bucket.allow(50.0)
    assert allowed(bucket, 50.05, 1000) == 0
    assert bucket.allow(50.11)


@pytest.mark.parametrize("uptime", [0.0, 1e5, 1e6, 1e7, 1e8])
@pytest.mark.parametrize("rate", [1.0, 7.0, 20.0, 60.0, 333.3])
def test_rounding_at_large_uptimes_costs_no_event(uptime: float, rate: float) -> None:
    """A tolerance of a nanosecond refused the 120th of an announced burst of 120 after eleven days of uptime."""
    bucket = TokenBucket(rate, burst=120)
    assert allowed(bucket, uptime, 500) == 120
    assert allowed(bucket, uptime + 1000, 500) == 120


def test_the_announced_limits_make_buckets_that_work() -> None:
    limits = Limits()
    assert allowed(TokenBucket(limits.message_rate, limits.message_burst), 1.0, 500) == limits.message_burst
    assert allowed(TokenBucket(limits.control_rate, limits.control_burst), 1.0, 500) == limits.control_burst


@given(
    rate=st.sampled_from([1.0, 3.0, 20.0, 60.0]),
    burst=st.integers(1, 20),
    waits=st.lists(st.floats(0.0, 0.5), min_size=1, max_size=80),
)
@settings(max_examples=100, deadline=None)
def test_no_window_holds_more_than_the_burst_and_the_rate(rate: float, burst: int, waits: list[float]) -> None:
    bucket, now = TokenBucket(rate, burst), 1000.0
    times: list[float] = []
    tokens, then = float(burst), now  # the textbook's bucket, to compare with
    for wait in waits:
        now += wait
        tokens, then = min(burst, tokens + (now - then) * rate), now
        passed = bucket.allow(now)
        if abs(tokens - 1) > 0.01:
            assert passed == (tokens > 1)
        tokens -= passed
        if passed:
            times.append(now)
    for first, start in enumerate(times):
        for count, end in enumerate(times[first:], start=1):
            assert count <= burst + (end - start) * rate + 0.01
