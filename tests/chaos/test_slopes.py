"""Growth of a process: a line through its samples, after it has warmed up."""

import pytest

from .slopes import LEAST, WARM_UP, Sample, slope_of


def test_growth_is_told_by_the_hour_and_warming_up_does_not_count() -> None:
    samples = [Sample(float(t), 40.0 + (10.0 if t >= WARM_UP else 0.0) + t / 3600.0, 20.0) for t in range(0, 1200, 10)]
    slope = slope_of(samples)
    assert slope.rss == pytest.approx(1.0)
    assert slope.fds == pytest.approx(0.0)
    assert slope.first.time == WARM_UP


def test_noise_of_a_flat_process_is_no_growth() -> None:
    samples = [Sample(float(t), 40.0 + t % 7 / 100.0, 20.0 + t % 3) for t in range(1801)]
    slope = slope_of(samples)
    assert slope.rss is not None
    assert abs(slope.rss) < 0.02
    assert slope.fds is not None
    assert abs(slope.fds) < 0.1


def test_a_short_life_says_nothing() -> None:
    slope = slope_of([Sample(0.0, 40.0, 20.0), Sample(LEAST - 1.0, 90.0, 20.0)])
    assert (slope.rss, slope.fds) == (None, None)
