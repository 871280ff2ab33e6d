"""What figures mean: metrics, problems, and the sentence on what was the limit."""

from dataclasses import replace

import pytest

from server_room_system.lab.budget import METRICS
from server_room_system.lab.figures import Latency, ProcessUse, figures_of
from server_room_system.lab.histogram import Histogram
from server_room_system.lab.ledger import Account, Faults, Heard
from server_room_system.lab.tally import Tally

from .made import figures


def latency(seconds: float) -> Latency:
    times = Histogram()
    times.add(int(seconds * 1e9))
    return Latency.of(times)


def test_every_metric_of_a_budget_is_there() -> None:
    assert figures().metrics().keys() == METRICS.keys()


def test_the_metrics_are_those_of_the_figures() -> None:
    metrics = figures(faults=Faults(lost=1, doubled=2, disordered=3, disagreed=4, crossed=50)).metrics()
    assert (metrics["loss"], metrics["order"]) == (1, 9)
    assert metrics["cpu"] == pytest.approx(0.5)
    assert metrics["rss"] == 70e6, "the most that all server processes held at one time"


def test_nothing_is_wrong() -> None:
    assert figures().problems() == []


@pytest.mark.parametrize("name", ["lost", "doubled", "disordered", "skipped", "disagreed", "crossed"])
def test_each_fault_is_a_problem(name: str) -> None:
    (problem,) = figures(faults=Faults(**{name: 1234})).problems()
    assert problem.startswith("1,234 ")


def test_a_budget_may_allow_losses_but_never_what_crossed() -> None:
    wrong = figures(faults=Faults(lost=1, skipped=1, doubled=1, crossed=1))
    assert len(wrong.problems(frozenset({"loss", "order"}))) == 1


def test_what_bots_ran_into_and_what_was_not_done_are_problems() -> None:
    wrong = figures(unsent=3, errors={"TimedOut: nothing": 2})
    assert wrong.problems() == ["3 acts were due and could not be done", "2 times: TimedOut: nothing"]


def test_a_run_that_measured_nothing_has_failed() -> None:
    (problem,) = figures(delivery=Latency.of(Histogram())).problems()
    assert "nothing was measured" in problem


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "Neither side"),
        ({"loads": [ProcessUse("load 1", 2, [0.95], [1.0])]}, "The load processes were at their limit"),
        ({"busy": 0.97}, "at their limit (busy 97 % of the time"),
        (
            {"foreign": 0.25},
            "Neither side was at its limit: this is the latency at this load, not the most that the "
            "server can do. Other programs used 25 % of this machine's cores meanwhile.",
        ),
        ({"lag": latency(0.02)}, "late by 20.1 ms"),
        ({"own": latency(0.004)}, "passed in the load processes"),
        ({"held": 12}, "12 acts began late because the one before still waited"),
        ({"servers": [ProcessUse("server", 1, [0.97], [1.0])]}, "The server was at its limit"),
    ],
)
def test_the_sentence_on_the_limit(changes: dict[str, object], says: str) -> None:
    assert says in replace(figures(), **changes).limit()  # type: ignore[arg-type]  # each is of its field's type


def test_figures_are_put_together_from_the_tally() -> None:
    tally = Tally(2)
    for slot in tally.slots:
        slot.sent, slot.heard = 10, 40
        slot.times["delivery"].add(1_000_000)
    tally.accounts = {bot: Account("r", 5) for bot in range(4)}
    tally.heard = [("r", bot, Heard(5, 1), 4) for bot in range(3)]
    made = figures_of(
        tally, scenario="s", server="app", heard_by="all", visits=False, bots=4, processes=1, seconds=4.0,
        warm_up=1.0, servers=[], loads=[], machine={}, server_said=[], foreign=None,
    )  # fmt: skip
    assert (made.messages_per_second, made.deliveries_per_second, made.checked) == (5.0, 20.0, 80)
    assert made.faults == Faults(lost=20)
    assert [(moment.at, moment.sent, moment.heard) for moment in made.moments] == [(2.0, 5.0, 20.0), (4.0, 5.0, 20.0)]
    assert made.metrics()["cpu"] is None
    assert made.metrics()["rss"] is None
    assert made.to_json()["delivery"]["count"] == 2
