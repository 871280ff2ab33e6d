"""``python -m tests.matching``: as many tickets as one likes, or one run again."""

import argparse
import itertools
import os
import sys
import time
from collections import Counter

from tests.sim.farm import in_parallel

from .outcome import Outcome
from .world import play

__all__ = ["main"]

_LINE_EVERY = 5.0
_MOST_FAILURES = 10


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; the exit code: 0 if nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matching", description=__doc__)
    parser.add_argument("--tickets", type=int, default=1_000_000, help="until so many have ended")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, help="this run again, and no other")
    wanted = parser.parse_args(argv)
    if os.environ.get("PYTHONHASHSEED") != "0":  # so that a seed is one course of events in every process
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.matching", *(argv or sys.argv[1:])])
    if wanted.seed is not None:
        outcome = play(wanted.seed)
        _say(f"seed {outcome.seed}, {outcome.kind}: {_listed(outcome.counts)}")
        _say(f"WRONG: {outcome.mistake}" if outcome.mistake else "holds")
        return 1 if outcome.mistake else 0
    return _many(wanted.first, wanted.tickets, wanted.jobs)


def _many(first: int, tickets: int, jobs: int) -> int:
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    failures: list[Outcome] = []
    began = said = time.monotonic()
    for outcome in in_parallel(play, itertools.count(first), jobs):
        counts += outcome.counts
        kinds[outcome.kind] += outcome.counts["tickets"]
        if outcome.mistake is not None:
            failures.append(outcome)
            _say(f"FAILED, see it again: {outcome.command()}\n  {outcome.mistake}")
        now = time.monotonic()
        if now - said >= _LINE_EVERY:
            said = now
            _say(f"{counts['tickets']:,} tickets, {counts['tickets'] / (now - began):,.0f}/s, {len(failures)} failures")
        if counts["tickets"] >= tickets or len(failures) >= _MOST_FAILURES:
            break
    seconds = time.monotonic() - began
    _say(f"{counts['tickets']:,} tickets in {seconds:.0f} s, {len(failures)} failures")
    _say("tickets: " + _listed(kinds))
    _say("counts: " + _listed(counts))
    return 1 if failures else 0


def _listed(counts: "Counter[str]") -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))


def _say(line: str) -> None:
    print(line, flush=True)  # for who typed the command


if __name__ == "__main__":
    sys.exit(main())
