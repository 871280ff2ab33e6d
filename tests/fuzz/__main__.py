"""``make fuzz MINUTES=10``: every target for its share of the time, as many at once as there are cores.

What is found is kept below ``tests/fuzz/found``, where the tests try it again. What covers more than was
covered before goes to ``.fuzz/``, from where the next run goes on.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from .targets import CORPUS, FOUND, TARGETS, Target, inputs

_ROOT = Path(__file__).parents[2]
_COVERED = _ROOT / ".fuzz"
_LONGEST_INPUT = 20
"""Seconds that one input may take."""
_MOST_MEMORY = 1024
"""MiB."""
_PROGRESS = re.compile(r"^#(\d+)\s.*\bcov: (\d+)")


class Outcome(NamedTuple):
    """What became of a target."""

    target: str
    inputs: int
    covered: int
    """Edges of our code."""
    wrong: str
    """What was found; empty if nothing."""


class Watch:
    """Says on one line how far it all is."""

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._seconds = seconds
        self._began = time.monotonic()
        self._inputs: dict[str, int] = {}
        self._covered: dict[str, int] = {}
        self._live = sys.stdout.isatty()

    def told(self, target: str, count: int, covered: int) -> None:
        """A target has come so far."""
        with self._lock:
            self._inputs[target], self._covered[target] = count, covered
            if self._live:
                gone = time.monotonic() - self._began
                tried = sum(self._inputs.values())
                now = f"{gone:4.0f} of {self._seconds:.0f} s, {tried:,} inputs; {target}: {covered} edges"
                print(f"\r{now:<90}", end="", flush=True)

    def done(self, outcome: Outcome) -> None:
        """A target is over."""
        with self._lock:
            if self._live:
                print(f"\r{'':<90}\r", end="")
            state = "FOUND SOMETHING" if outcome.wrong else "nothing found"
            print(f"{outcome.target:<16} {outcome.inputs:>10,} inputs {outcome.covered:>6} edges  {state}", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run all targets, or those that are named. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all of them")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.targets if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]!r}: take {', '.join(TARGETS)}")
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not here: pip install --editable '.[fuzz]', on Linux")
    chosen = [TARGETS[name] for name in given.targets or TARGETS]
    at_once = min(len(os.sched_getaffinity(0)), len(chosen))
    share = given.minutes * 60 * at_once / sum(target.share for target in chosen)
    print(f"{len(chosen)} targets, {at_once} at once", flush=True)
    watch = Watch(given.minutes * 60)
    with ThreadPoolExecutor(at_once) as pool:
        outcomes = list(pool.map(lambda target: fuzz(target, max(1, round(share * target.share)), watch), chosen))
    found = [outcome for outcome in outcomes if outcome.wrong]
    for outcome in found:
        print(f"\n--- {outcome.target}\n{outcome.wrong}")
    print(f"\n{sum(outcome.inputs for outcome in outcomes):,} inputs; found: {len(found)}")
    return 1 if found else 0


def fuzz(target: Target, seconds: int, watch: Watch) -> Outcome:
    """One target for so long, or until it finds something."""
    covered, found = _COVERED / target.name, FOUND / target.name
    for folder in (covered, found):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(inputs(FOUND, target.name))
    command = [
        *(sys.executable, "-m", "tests.fuzz.atheris_run", target.name),
        f"-max_total_time={seconds}",
        f"-timeout={_LONGEST_INPUT}",
        f"-rss_limit_mb={_MOST_MEMORY}",
        f"-artifact_prefix={found}/",
        str(covered),
        *([str(CORPUS / target.name)] if (CORPUS / target.name).is_dir() else []),
    ]
    count = edges = 0
    said: list[str] = []
    with subprocess.Popen(
        command, cwd=_ROOT, env={**os.environ, "PYTHONPATH": f"{_ROOT / 'src'}"}, text=True, errors="replace",
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            progress = _PROGRESS.match(line)
            if progress is not None:
                count, edges = int(progress[1]), int(progress[2])
                watch.told(target.name, count, edges)
            elif not line.startswith("INFO:"):
                said = [*said[-60:], line.rstrip()]
    kept = [str(path.relative_to(_ROOT)) for path in inputs(FOUND, target.name) if path not in before]
    if not any(found.iterdir()):
        found.rmdir()
    wrong = "\n".join([*said, *(f"kept: {path}" for path in kept)]) if process.returncode or kept else ""
    outcome = Outcome(target.name, count, edges, wrong)
    watch.done(outcome)
    return outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
