"""What is measured, and what it has to be."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.job import quantile
from benchmarks.reliability.processes import Crowds, answer_of, soaked
from benchmarks.runs import serving
from tests.mutants.catalog import MUTANTS
from tests.mutants.runner import Outcome, Verdict, run_all

__all__ = ["ROWS", "Found", "Scale"]

_APP = "benchmarks.reliability.app"
_VIOLATIONS = ("foreign", "lost", "doubled")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of each is done; a tenth or less for a look in passing."""

    simulated: int = 1_000_000
    reconnects: int = 10_000
    deliveries: int = 10_000_000
    alone: int = 200
    at_once: int = 1_000
    masses: int = 3
    pause: float = 20.0
    pauses: int = 3
    minutes: float = 60.0

    @staticmethod
    def quick() -> "Scale":
        """A few minutes in all."""
        return Scale(20_000, 500, 300_000, 30, 200, 1, 5.0, 1, 2.0)


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a row."""

    text: str
    holds: bool
    troubles: list[str]
    figures: dict[str, Any]


def simulated(scale: Scale, say: Callable[[str], None]) -> Found:
    """Messages lost, doubled or out of order in simulated reconnects."""
    answer = answer_of(["tests.sim", "--reconnects", str(scale.simulated), "--json"], say)
    wrong = answer["violations"]
    text = f"{wrong} in {answer['reconnects']:,} simulated reconnects, {answer['deliveries']:,} deliveries"
    return Found(text, wrong == 0 and answer["reconnects"] >= scale.simulated, [], answer)


def reconnects(scale: Scale, say: Callable[[str], None]) -> Found:
    """The same in real ones: connections reset by the kernel, at random."""
    with serving(_APP, (), pinned=False) as (_, port), Crowds() as crowds:
        crowds.start("reconnects", port=port, clients=300, goal=scale.reconnects, each_second=100, seed=1)
        [answer] = crowds.answers(say)
    wrong = sum(answer[name] for name in _VIOLATIONS) + len(answer["troubles"])
    text = f"{wrong} in {answer['reconnects']:,} real reconnects, {answer['deliveries']:,} deliveries" + _and_resets(
        [answer]
    )
    return Found(text, wrong == 0 and answer["reconnects"] >= scale.reconnects, answer["troubles"], answer)


def deliveries(scale: Scale, say: Callable[[str], None]) -> Found:
    """Messages seen outside of their room, while clients go from room to room and connections are reset."""
    with serving(_APP, (), pinned=False) as (_, port), Crowds() as crowds:
        for seed in (1, 2):
            crowds.start("churn", port=port, clients=120, goal=scale.deliveries // 2, each_second=5, seed=seed)
        answers = crowds.answers(say)
    total, foreign = sum(each["deliveries"] for each in answers), sum(each["foreign"] for each in answers)
    visits = sum(each["visits"] for each in answers)
    wrong = sum(each[name] for each in answers for name in _VIOLATIONS)
    troubles = [trouble for each in answers for trouble in each["troubles"]]
    text = f"{foreign} in {total:,} real deliveries, {visits:,} visits; {wrong - foreign} lost or doubled" + (
        _and_resets(answers)
    )
    return Found(text, wrong == 0 and not troubles and total >= scale.deliveries, troubles, {"crowds": answers})


def alone(scale: Scale, say: Callable[[str], None]) -> Found:
    """One client's connection is reset: seconds until it is back and has all that was said meanwhile."""
    with serving(_APP, (), pinned=False) as (_, port), Crowds() as crowds:
        crowds.start("one", port=port, times=scale.alone)
        [answer] = crowds.answers(say)
    took = answer.pop("took")
    p50, p99 = quantile(took, 0.5), quantile(took, 0.99)
    answer |= {"p50": p50, "p99": p99, "most": max(took)}
    text = f"p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms in {len(took)} resets"
    return Found(text, p50 < 0.150 and p99 < 1.0 and _clean(answer), answer["troubles"], answer)


def at_once(scale: Scale, say: Callable[[str], None]) -> Found:
    """Many clients are reset at once: seconds until the last one is back and has all."""
    each, settled = scale.at_once // 2, 10.0 + scale.at_once / 40
    with serving(_APP, (), pinned=False) as (_, port), Crowds() as crowds:
        first = time.monotonic() + settled
        for _ in range(2):
            crowds.start("mass", port=port, clients=each, times=scale.masses, first=first, every=20.0)
        answers = crowds.answers(say)
    lasts = [max(max(took) for took in takes) for takes in zip(*(each.pop("took") for each in answers), strict=True)]
    troubles = [trouble for each in answers for trouble in each["troubles"]]
    text = f"all {2 * each:,} back in {max(lasts):.1f} s (of {scale.masses} times: {_seconds(lasts)})"
    holds = max(lasts) <= 5.0 and not troubles and all(_clean(each) for each in answers)
    return Found(text, holds, troubles, {"lasts": lasts, "crowds": answers})


def stopped(scale: Scale, say: Callable[[str], None]) -> Found:
    """A member of a room of 50 is stopped: the p99 of the other 49, while it is and before."""
    with serving(_APP, (), pinned=False) as (_, port), Crowds() as crowds:
        begin, pause = time.monotonic() + 12.0, scale.pause
        before = [[begin + 2 * n * pause, begin + (2 * n + 1) * pause] for n in range(scale.pauses)]
        during = [[stop, stop + pause] for _, stop in before]
        end = during[-1][1] + 5.0
        crowds.start("audience", port=port, clients=49, windows=[*before, *during, [end - 1, end]])
        victim = crowds.start("audience", port=port, clients=1, windows=[[end - 1, end]])
        for start, stop in during:
            time.sleep(start - time.monotonic())
            os.kill(victim.pid, signal.SIGSTOP)
            say(f"stopped for {pause:.0f} s")
            time.sleep(stop - time.monotonic())
            os.kill(victim.pid, signal.SIGCONT)
        answers = crowds.answers(say)
    ages = answers[0].pop("ages")
    woken = len(answers[1].pop("ages")[0])
    ratios = [
        quantile(ages[scale.pauses + n], 0.99) / quantile(ages[n], 0.99) for n in range(scale.pauses)
    ]  # fmt: skip
    troubles = [trouble for each in answers for trouble in each["troubles"]]
    if not woken:
        troubles.append("the one who was stopped hears nothing since")
    calm, held = (
        median(quantile(each, 0.99) for each in some) for some in (ages[: scale.pauses], ages[scale.pauses : -1])
    )
    text = f"p99 {held * 1e3:.2f} ms, before {calm * 1e3:.2f} ms: {100 * (median(ratios) - 1):+.0f} %"
    holds = median(ratios) <= 1.10 and not troubles and all(_clean(each) for each in answers)
    return Found(text, holds, troubles, {"ratios": ratios, "crowds": answers})


def mutants(scale: Scale, say: Callable[[str], None]) -> Found:
    """Deliberate bugs that the tests find."""

    def tell(outcome: Outcome) -> None:
        if outcome.verdict is not Verdict.KILLED:
            say(f"{outcome.mutant.name}: {outcome.verdict.value}")

    outcomes = run_all(MUTANTS, 2, tell)
    alive = [outcome.mutant.name for outcome in outcomes if outcome.verdict is not Verdict.KILLED]
    killed, total = len(outcomes) - len(alive), len(outcomes)
    return Found(f"{killed} of {total}", killed == total >= 20, alive, {"killed": killed, "total": total})


def soak(scale: Scale, say: Callable[[str], None]) -> Found:
    """The whole system, with a fault each 20 seconds."""
    answer = soaked(scale.minutes, say)
    wrong = sum(answer["violations"].values()) + len(answer["complaints"])
    lives = [each for each in answer["processes"] if each["MiB an hour"] is not None]
    rss, low, high = max((each["MiB an hour"] for each in lives), default=(0.0, 0.0, 0.0))
    fds = max((abs(each["fds an hour"][0]) for each in lives), default=0.0)
    counts = answer["counts"]
    text = (
        f"{wrong} violations in {answer['minutes']:.0f} minutes, {counts['faults']} faults, "
        f"{counts['deliveries']:,} deliveries, {counts['reconnects']:,} reconnects; "
        f"steepest of {len(lives)} processes: RSS {rss:+.2f} MiB/h ({low:+.2f} to {high:+.2f}), fds {fds:.1f}/h"
    )
    holds = wrong == 0 and bool(lives) and rss < 1.0 and fds < 1.0
    return Found(text, holds, [*answer["told"], *answer["complaints"]], answer)


def _clean(answer: dict[str, Any]) -> bool:
    return not any(answer[name] for name in _VIOLATIONS)


def _and_resets(answers: list[dict[str, Any]]) -> str:
    resets = sum(each["resets"] for each in answers)
    return f"; {resets} resets beyond the history" if resets else ""


def _seconds(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


ROWS: dict[str, tuple[str, str, Callable[[Scale, Callable[[str], None]], Found]]] = {
    "simulated": ("messages lost, doubled or out of order, simulated", "0 in 1,000,000 reconnects", simulated),
    "reconnects": (
        "messages lost, doubled or out of order, with real connections",
        "0 in 10,000 reconnects",
        reconnects,
    ),
    "deliveries": ("messages seen outside of their room, under churn", "0 in 10,000,000 deliveries", deliveries),
    "alone": ("one client's connection is reset: back and caught up", "p50 < 150 ms, p99 < 1 s", alone),
    "at-once": ("1,000 clients reset at once", "all back in 5 s", at_once),
    "stopped": ("a member stopped in a room of 50 at 20/s: p99 of the others", "within 10 % of before", stopped),
    "mutants": ("deliberate bugs that the tests find", "all of at least 20", mutants),
    "soak": ("an hour with a fault each 20 s", "0 violations, RSS < 1 MiB/h, fds flat", soak),
}
"""By name: what it is, what it has to be, and how it is found."""
