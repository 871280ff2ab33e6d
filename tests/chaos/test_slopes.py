"""Growth of a process: a line through its floor, after it has warmed up."""

from random import Random

import pytest

from .slopes import LEAST, WARM_UP, Line, Sample, slope_of


def growth(line: Line | None) -> float:
    assert line is not None
    assert line.low <= line.slope <= line.high
    return line.slope


def test_growth_is_told_by_the_hour_and_warming_up_does_not_count() -> None:
    samples = [Sample(float(t), 40.0 + (10.0 if t >= WARM_UP else 0.0) + t / 3600.0, 20.0) for t in range(0, 3600, 10)]
    slope = slope_of(samples)
    assert slope.rss == pytest.approx((1.0, 1.0, 1.0))
    assert slope.fds == pytest.approx((0.0, 0.0, 0.0))
    assert (slope.first.time, slope.last.time, slope.seconds) == (WARM_UP, 3590.0, 3590.0)


def test_a_flat_process_does_not_grow_whatever_its_peaks() -> None:
    random = Random(1)
    samples = [
        Sample(float(t), 40.0 + random.random() / 10 + (t / 100.0 if t % 50 < 30 else 0.0), 20.0 + t % 3)
        for t in range(3600)
    ]
    slope = slope_of(samples)
    assert abs(growth(slope.rss)) < 0.05
    assert abs(growth(slope.fds)) < 0.1


def test_a_leak_below_peaks_and_noise_is_seen() -> None:
    random = Random(2)
    samples = [
        Sample(float(t), 40.0 + 3.0 * t / 3600 + random.random() + (8.0 if t % 600 < 200 else 0.0), 20.0 + t // 360)
        for t in range(3600)
    ]
    slope = slope_of(samples)
    assert growth(slope.rss) == pytest.approx(3.0, rel=0.1)
    assert growth(slope.fds) == pytest.approx(10.0, rel=0.1)
    assert slope.rss is not None
    assert slope.rss.low > 2.0


def test_what_cannot_be_told_has_a_wide_interval() -> None:
    random = Random(3)
    slope = slope_of([Sample(float(t), 40.0 + 2.0 * random.random(), 20.0) for t in range(0, int(LEAST) + 60, 60)])
    assert slope.rss is not None
    assert slope.rss.low < -1.0
    assert slope.rss.high > 1.0


def test_a_long_life_is_fitted_with_fewer_points() -> None:
    slope = slope_of([Sample(float(t), 40.0 + t / 3600.0, 20.0) for t in range(0, 7 * 24 * 3600, 60)])
    assert growth(slope.rss) == pytest.approx(1.0)


def test_a_short_life_says_nothing() -> None:
    slope = slope_of([Sample(0.0, 40.0, 20.0), Sample(LEAST - 1.0, 90.0, 20.0)])
    assert (slope.rss, slope.fds) == (None, None)
    assert slope_of([Sample(0.0, 40.0, 20.0), Sample(LEAST + 1.0, 90.0, 20.0)]).rss is None
