"""Which worker is a runaway."""

import pytest

from server_room_system.broker.runaway import Runaway

MIB = 1 << 20


def test_memory_over_the_limit_is_too_much() -> None:
    runaway = Runaway(64 * MIB, None)
    assert runaway.judge(0.0, 64 * MIB, 0.0) is None
    assert runaway.judge(0.25, 65 * MIB, 0.0) == "it holds 65.0 MiB, and may hold 64.0"


def test_without_limits_nothing_is_too_much() -> None:
    runaway = Runaway(None, None)
    runaway.alive(0.0, 0.0)
    assert all(runaway.judge(second, 1 << 40, float(second)) is None for second in range(100))


def watch(runaway: Runaway, seconds: float, load: float) -> str | None:
    """What it says, looked at for a time in which the process computes that part of it."""
    for quarter in range(1, int(seconds * 4) + 1):
        if wrong := runaway.judge(quarter / 4, 0, 5.0 + load * quarter / 4):
            return wrong
    return None


@pytest.mark.parametrize("load", [1.0, 0.25, 1.8])
def test_a_silent_loop_that_computes_is_a_runaway(load: float) -> None:
    runaway = Runaway(None, 3.0)
    runaway.alive(0.0, 5.0)
    assert watch(runaway, 2.75, load) is None
    assert watch(runaway, 3.0, load) == (
        f"its loop has not turned for 3.0 s while it computed for {3 * load:.1f} s, and may be away for 3.0"
    )


@pytest.mark.parametrize("load", [0.0, 0.15])
def test_a_silent_loop_that_waits_or_was_stopped_is_none(load: float) -> None:
    runaway = Runaway(None, 3.0)
    runaway.alive(0.0, 5.0)
    assert watch(runaway, 100.0, load) is None


def test_a_busy_loop_that_turns_is_none() -> None:
    runaway = Runaway(None, 3.0)
    for second in range(20):
        runaway.alive(second, float(second))
        assert runaway.judge(second + 0.9, 0, second + 0.9) is None


def test_while_it_starts_it_may_compute_for_as_long_as_it_takes() -> None:
    assert watch(Runaway(None, 3.0), 19.0, 1.0) is None


def test_what_the_broker_did_not_hear_in_its_own_sleep_proves_nothing() -> None:
    runaway = Runaway(None, 3.0)
    runaway.alive(0.0, 0.0)
    assert runaway.judge(0.25, 0, 0.25) is None
    assert runaway.judge(10.25, 0, 10.25) is None
    assert runaway.judge(12.0, 0, 12.0) is None
    assert runaway.judge(13.5, 0, 13.5) is not None
