"""``make mutants``: plant each bug of the catalogue, and show which test finds it."""

import sys
import time
from collections.abc import Sequence

from .catalog import MUTANTS
from .runner import Outcome, Verdict, run_all


def main(arguments: Sequence[str]) -> int:
    """Try all mutants, or those whose names are given. Returns the exit code."""
    chosen = [mutant for mutant in MUTANTS if not arguments or mutant.name in arguments]
    if not chosen:
        print(f"no mutant is named {arguments[0]!r}: take {', '.join(mutant.name for mutant in MUTANTS)}")
        return 2
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
