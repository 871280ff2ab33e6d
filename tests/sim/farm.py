"""Many runs, on all cores."""

import concurrent.futures
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from .runs import Outcome, simulate
from .script import draw

__all__ = ["Harvest", "farm", "in_parallel"]

A = TypeVar("A")
R = TypeVar("R")
_LINE_EVERY = 2.0
"""Seconds between two lines of progress."""
_MOST_FAILURES = 10


@dataclass
class Harvest:
    """What many runs came to."""

    seeds: int = 0
    seconds: float = 0.0
    """By the clock on the wall."""
    counts: "Counter[str]" = field(default_factory=Counter)
    faults: "Counter[str]" = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """One more run."""
        self.seeds += 1
        self.counts += outcome.counts
        self.faults += outcome.faults
        if outcome.mistakes:
            self.failures.append(outcome)

    @property
    def events_a_second(self) -> float:
        """Of all processes together."""
        return self.counts["events"] / max(self.seconds, 1e-3)

    def line(self) -> str:
        """How far it is."""
        return (
            f"{self.seeds} seeds, {self.counts['events']:,} events, {self.events_a_second:,.0f}/s, "
            f"{self.counts['reconnects']:,} reconnects, {len(self.failures)} failures"
        )


def in_parallel(work: Callable[[A], R], items: Iterable[A], jobs: int) -> Iterator[R]:
    """Results as they come, from as many processes; items are taken as they are needed.

    Whoever stops asking ends it, when what is at work is done.
    """
    if jobs == 1:
        yield from map(work, items)
        return
    # Sets of strings have another order in each process, unless this is set before it starts.
    os.environ.setdefault("PYTHONHASHSEED", "0")
    left = iter(items)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        at_work = {pool.submit(work, item) for item in islice(left, 2 * jobs)}
        try:
            while at_work:
                done, at_work = concurrent.futures.wait(at_work, return_when=concurrent.futures.FIRST_COMPLETED)
                at_work |= {pool.submit(work, item) for item in islice(left, len(done))}
                for each in done:
                    yield each.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def farm(
    seeds: Iterable[int],
    jobs: int,
    *,
    events: int | None = None,
    seconds: float | None = None,
    told: Callable[[str], None] | None = None,
) -> Harvest:
    """Run seeds until they end, or there were enough events, or the time is over, or there are ten failures.

    Args:
        seeds: which.
        jobs: processes.
        events: at least so many, if there are seeds enough.
        seconds: at most so long, and what is at work then.
        told: gets a line of progress now and then.
    """
    harvest, began = Harvest(), time.monotonic()
    said = began
    for outcome in in_parallel(_play, seeds, jobs):
        harvest.add(outcome)
        if told is not None and outcome.mistakes:
            told(f"FAILED, see it again: {outcome.script.command()}\n  {outcome.mistakes[0]}")
        now = time.monotonic()
        harvest.seconds = now - began
        if told is not None and now - said >= _LINE_EVERY:
            said = now
            told(harvest.line())
        enough = events is not None and harvest.counts["events"] >= events
        if enough or (seconds is not None and harvest.seconds >= seconds) or len(harvest.failures) >= _MOST_FAILURES:
            break
    return harvest


def _play(seed: int) -> Outcome:
    try:
        return simulate(draw(seed))
    except BaseException as error:
        print(f"seed {seed}: {error!r}", file=sys.stderr)  # noqa: T201  # so that it can be found again
        raise
