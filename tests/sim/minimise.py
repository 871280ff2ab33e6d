"""The least that still fails: of faults, of players, of time.

Delta debugging as A. Zeller and R. Hildebrandt describe it ("Simplifying and
isolating failure-inducing input", IEEE TSE 28(2), 2002): leave out ever smaller
pieces as long as it still fails.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from .runs import Outcome, simulate
from .script import Script

__all__ = ["fewest", "minimise"]

T = TypeVar("T")
_MOST_RUNS = 300
_CALM_AFTER = 0.5
"""Seconds after the last fault at which the players may rest."""


class _Spent(Exception):
    """There were enough attempts."""


def fewest(things: Sequence[T], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """The things without which it does not fail any more: leaving out any one of them makes it pass.

    Args:
        things: with all of them it fails.
        fails: whether it does with some of them, in their order.
    """
    left, pieces = tuple(things), 2
    if left and fails(()):
        return ()
    while len(left) > 1:
        size = math.ceil(len(left) / pieces)
        for start in range(0, len(left), size):
            rest = left[:start] + left[start + size :]
            if rest and fails(rest):
                left, pieces = rest, max(pieces - 1, 2)
                break
        else:
            if size == 1:
                break
            pieces = min(2 * pieces, len(left))
    return left


def minimise(
    failed: Outcome,
    run: Callable[[Script], Outcome] = simulate,
    most_runs: int = _MOST_RUNS,
    told: Callable[[Script], None] | None = None,
) -> Outcome:
    """The least that still fails of a run that failed, and in the same way.

    Args:
        failed: that run.
        run: runs a script.
        most_runs: attempts; then what was found until then counts.
        told: called with each script that is smaller and fails.
    """
    best, runs = failed, 0

    def fails(script: Script) -> bool:
        nonlocal best, runs
        if runs >= most_runs:
            raise _Spent
        runs += 1
        outcome = run(script)
        if outcome.kind != failed.kind:
            return False
        best = outcome
        if told is not None:
            told(script)
        return True

    def now() -> Script:
        return best.script

    try:
        # What comes after the failure has no part in it; and then less and less time.
        if best.ended < now().until:
            fails(now().left(now().players, now().faults, math.ceil(best.ended * 1000) / 1000))
        fewest(now().faults, lambda faults: fails(now().left(now().players, faults, now().until)))
        last = max((fault.at for fault in now().faults), default=0.0)
        for until in (last + _CALM_AFTER, (last + now().until) / 2):
            if until < now().until and fails(now().left(now().players, now().faults, round(until, 3))):
                break
        fewest(now().players, lambda players: bool(players) and fails(now().left(players, now().faults, now().until)))
        fewest(now().faults, lambda faults: fails(now().left(now().players, faults, now().until)))
    except _Spent:
        pass
    return best
