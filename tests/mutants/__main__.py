"""``make mutants``: plant each bug of the catalogue, and show which test finds it."""

import sys
import time
from collections.abc import Sequence

from .catalog import MUTANTS
from .runner import Outcome, Verdict, run_all

_USAGE = f"""usage: python -m tests.mutants [NAME ...]

Plant each bug of the catalogue, or those that are named, and show which test finds it.
There are {len(MUTANTS)}; their names stand in tests/mutants/bugs_of_*.py, and each is one argument:
python -m tests.mutants '{MUTANTS[0].name}'"""
_MOST_LIKE_IT = 5


def _unknown(name: str) -> str:
    """What to say of a name that no bug has."""
    words = [word for word in name.lower().split() if len(word) > 2] or [name.lower()]
    shared = {mutant.name: sum(word in mutant.name.lower() for word in words) for mutant in MUTANTS}
    like_it = sorted((other for other, count in shared.items() if count), key=lambda other: -shared[other])
    if not like_it:
        return f"unknown: {name}; no name contains one of its words"
    return f"unknown: {name}; names that contain one of its words: {', '.join(map(repr, like_it[:_MOST_LIKE_IT]))}"


def main(arguments: Sequence[str]) -> int:
    """Try all mutants, or those whose names are given. Returns the exit code."""
    if "-h" in arguments or "--help" in arguments:
        print(_USAGE)
        return 0
    names = {mutant.name for mutant in MUTANTS}
    unknown = [name for name in arguments if name not in names]
    for name in unknown:
        print(_unknown(name), file=sys.stderr)
    if unknown:
        return 2
    chosen = [mutant for mutant in MUTANTS if not arguments or mutant.name in arguments]
    width = max(len(mutant.name) for mutant in chosen)

    def tell(outcome: Outcome) -> None:
        said = f"{outcome.verdict.value:<8} {outcome.seconds:5.1f} s  {outcome.by}"
        print(f"{outcome.mutant.name:<{width}}  {said}", flush=True)

    began = time.monotonic()
    outcomes = run_all(chosen, 2, tell)
    killed = sum(outcome.verdict is Verdict.KILLED for outcome in outcomes)
    print(f"\n{killed} of {len(outcomes)} killed, in {time.monotonic() - began:.0f} s")
    return 0 if killed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
