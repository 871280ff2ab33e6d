"""Budgets: reading them, and judging by them."""

import pytest

from server_room_system.lab.budget import METRICS, Bound, judge, parse_budget
from server_room_system.protocol.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "metric", "limit"),
    [
        ("p50=500us", "p50", 0.0005),
        ("p90=500µs", "p90", 0.0005),
        ("p99=20ms", "p99", 0.02),
        ("p999=1.5s", "p999", 1.5),
        ("join_p99 = 1 s", "join_p99", 1.0),
        ("loss=0", "loss", 0.0),
        ("order=3", "order", 3.0),
        ("deliveries=5k", "deliveries", 5000.0),
        ("cpu=80%", "cpu", 0.8),
        ("cpu=0.8", "cpu", 0.8),
        ("rss=200MB", "rss", 200e6),
        ("rss=2GiB", "rss", 2.0 * 2**30),
    ],
)
def test_a_bound_and_its_unit(text: str, metric: str, limit: float) -> None:
    (bound,) = parse_budget(text)
    assert bound.metric == metric
    assert bound.limit == pytest.approx(limit)


def test_several_bounds() -> None:
    assert parse_budget("p99=20ms, loss=0,") == [Bound("p99", 0.02), Bound("loss", 0.0)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("p95=3ms", "knows no 'p95'"),
        ("p99", "p99=20ms"),
        ("p99=20", "units: ns, us, µs, ms, s"),
        ("p99=fast", "p99=20ms"),
        ("p99=-1ms", "p99=20ms"),
        ("loss=3ms", "loss=0"),
        ("rss=100", "rss=200MB"),
        ("loss=0,loss=1", "twice"),
        (" , ", "empty"),
    ],
)
def test_what_is_no_budget_is_told_with_an_example(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_budget(text)


def test_an_unknown_name_lists_all() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_budget("latency=3ms")
    assert all(name in str(caught.value) for name in METRICS)


def test_at_most_for_all_but_deliveries() -> None:
    bounds = [Bound("p99", 0.02), Bound("deliveries", 100.0)]
    measured: dict[str, float | None] = dict.fromkeys(METRICS, None)
    for p99, deliveries, holds in ((0.02, 100.0, [True, True]), (0.021, 99.0, [False, False])):
        measured |= {"p99": p99, "deliveries": deliveries}
        assert [verdict.holds for verdict in judge(bounds, measured)] == holds


def test_what_was_not_measured_does_not_hold() -> None:
    (verdict,) = judge([Bound("cpu", 0.5)], dict.fromkeys(METRICS, None))
    assert not verdict.holds
    assert str(verdict) == "cpu was not measured (≤ 50 % of a core)"


def test_a_verdict_reads_well() -> None:
    measured: dict[str, float | None] = {**dict.fromkeys(METRICS, None), "p99": 0.0314, "deliveries": 12345.0}
    said = [str(verdict) for verdict in judge(parse_budget("p99=20ms,deliveries=10k"), measured)]
    assert said == ["p99 is 31.4 ms (≤ 20.0 ms)", "deliveries is 12,345 (≥ 10,000)"]
