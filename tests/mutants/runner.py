"""Plants a mutant in a copy of the package, and sees whether its tests notice.

A copy has the parts, ``src`` and ``tests``, with what Python compiled, so that
a run begins fast. Each mutant is written into a copy, tested, and taken out.
"""

import itertools
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from .mutant import Mutant

__all__ = ["ROOT", "Outcome", "Stale", "Verdict", "copies", "mutated", "run_all", "run_in"]

ROOT = Path(__file__).parents[2]
_LONGEST = 120.0
"""Seconds for the tests of one mutant."""
_FAILED = 1
"""pytest's exit code for tests that failed. Others (nothing was found, an import that fails) kill no mutant."""
_SETTINGS = """[pytest]
pythonpath = src
addopts = --import-mode=importlib
filterwarnings = error
markers =
    timeout: seconds for a test
"""
"""No plugins: pytest begins twice as fast, and there are limits of time here."""
_LAST_WORDS = 15
"""Lines of a run that did not end as it should."""

_mtimes = itertools.count(1)


class Stale(Exception):
    """What a mutant changes is not there, or is there more than once."""


class Verdict(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    STALE = "STALE"
    BROKEN = "BROKEN"
    """Its tests could not be run."""


class Outcome(NamedTuple):
    """A mutant, and what its tests said."""

    mutant: Mutant
    verdict: Verdict
    by: str
    """The test that killed it; or what went wrong."""
    seconds: float


def mutated(text: str, mutant: Mutant) -> str:
    """The text of the file with the bug in it.

    Raises:
        Stale: a piece that is to be replaced is not there exactly once.
    """
    for old, new in mutant.edits:
        found = text.count(old)
        if found != 1:
            raise Stale(f"{mutant.file}: {found} times, not once: {old.strip().splitlines()[0]!r}")
        text = text.replace(old, new)
    return text


@contextmanager
def copies(count: int) -> Iterator[list[Path]]:
    """So many copies of the package and its tests, in a temporary folder."""
    parts = [path.name for path in (ROOT / "src" / "server_room_system").iterdir() if path.is_symlink()]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        made = [Path(folder, str(number)) for number in range(count)]
        for root in made:
            for name in (*parts, "src", "tests", "docs"):
                shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=shutil.ignore_patterns("corpus"))
            (root / "pytest.ini").write_text(_SETTINGS)
        yield made


def run_in(root: Path, mutant: Mutant) -> Outcome:
    """Plant a mutant in a copy and run its tests there."""
    began = time.monotonic()
    file = root / mutant.file
    try:
        text, before = file.read_text(encoding="utf-8"), file.stat()
        bug = mutated(text, mutant)
    except (FileNotFoundError, Stale) as stale:
        return Outcome(mutant, Verdict.STALE, str(stale), 0.0)
    file.write_text(bug, encoding="utf-8")
    # Python knows what it compiled by the time of the file, in seconds, and its size: two mutants may share both.
    stamp = before.st_mtime - 1e6 - next(_mtimes)
    os.utime(file, (stamp, stamp))
    try:
        verdict, by = _test(root, mutant)
    finally:
        file.write_text(text, encoding="utf-8")
        os.utime(file, (before.st_atime, before.st_mtime))
    return Outcome(mutant, verdict, by, time.monotonic() - began)


def _test(root: Path, mutant: Mutant) -> tuple[Verdict, str]:
    code, said = run_tests(root, mutant.tests)
    if code is None:
        return Verdict.BROKEN, f"no end in {_LONGEST:.0f} s"
    if code == _FAILED:
        failed = [line.split()[1] for line in said if line.startswith("FAILED ")]
        return Verdict.KILLED, failed[0].rpartition("::")[2] if failed else "an error"
    if code == 0:
        return Verdict.SURVIVED, ", ".join(mutant.tests)
    return Verdict.BROKEN, "\n".join(said[-_LAST_WORDS:])


def run_tests(root: Path, tests: Sequence[str]) -> tuple[int | None, list[str]]:
    """Run tests in a copy: pytest's exit code, or None if they did not end, and what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [
        *(sys.executable, "-m", "pytest", "-x", "-q", "-rf", "--tb=no", "--assert=plain", "--no-header"),
        *("-p", "no:cacheprovider", f"--basetemp={root / 'temporary'}", *tests),
    ]
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=_LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return None, []
    return done.returncode, (done.stdout + done.stderr).splitlines()


def run_all(mutants: Iterable[Mutant], at_once: int, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """Try all of them, in their order. First their tests without any bug: what fails then kills nothing."""
    mutants = list(mutants)
    free: queue.Queue[Path] = queue.Queue()

    def one(mutant: Mutant) -> Outcome:
        root = free.get()
        try:
            outcome = run_in(root, mutant)
        finally:
            free.put(root)
        tell(outcome)
        return outcome

    with copies(at_once) as made:
        code, said = run_tests(made[0], sorted({test for mutant in mutants for test in mutant.tests}))
        if code != 0:
            raise AssertionError("the tests fail without a bug:\n" + "\n".join(said[-_LAST_WORDS:]))
        for root in made:
            free.put(root)
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(one, mutants))
