"""Every bug of the catalogue is found by the tests that it names."""

import os
from pathlib import Path

import pytest

from .__main__ import main
from .catalog import MUTANTS
from .mutant import Mutant
from .runner import ROOT, Outcome, Stale, Verdict, copies, mutated, run_all, run_in

LEAST = 25


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= LEAST


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_it_changes_is_there(mutant: Mutant) -> None:
    text = Path(ROOT, mutant.file).read_text(encoding="utf-8")
    assert mutated(text, mutant) != text, "it changes nothing"
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name}(" in Path(ROOT, file).read_text(encoding="utf-8"), f"{test} is not there"


def _told(outcomes: list[Outcome]) -> list[str]:
    return [
        f"{one.mutant.name}: {one.verdict.value}, {one.by}" for one in outcomes if one.verdict is not Verdict.KILLED
    ]


@pytest.mark.timeout(1200)
def test_every_mutant_is_killed() -> None:
    # On all cores, other tests run beside this one.
    at_once = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
    assert _told(run_all(MUTANTS, at_once, lambda outcome: None)) == []


def test_help_is_short_and_a_name_that_is_not_there_gets_a_few_that_are_like_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: python -m tests.mutants")
    assert len(said.splitlines()) < 10

    one, *words = MUTANTS[0].name.split()
    nearly = f"{one} {' '.join(words)} and more"
    assert main([MUTANTS[1].name, nearly]) == 2  # nothing is tried where a name is wrong
    out, said = capsys.readouterr()
    assert not out
    assert said.startswith(f"unknown: {nearly}; names that contain one of its words: {MUTANTS[0].name!r}")
    assert sum(repr(mutant.name) in said for mutant in MUTANTS) == 5

    assert main(["zzzz"]) == 2
    assert capsys.readouterr().err == "unknown: zzzz; no name contains one of its words\n"


# The judge is judged: what is no bug survives, what is not there is stale, what can't be imported kills nothing.

_TESTS = ("tests/protocol/test_rates.py::test_a_burst_passes_at_once_and_not_one_more",)


def _mutant(old: str, new: str, *tests: str) -> Mutant:
    return Mutant("of this test", "protocol/rates.py", ((old, new),), tests or _TESTS)


@pytest.mark.timeout(300)
def test_what_is_no_bug_survives_and_what_does_not_run_kills_nothing() -> None:
    changes = [
        (_mutant('"""How often something may happen."""', '"""How often."""'), Verdict.SURVIVED),
        (_mutant("(burst + 0.001)", "(burst + 1.001)"), Verdict.KILLED),
        (_mutant("no such text", ""), Verdict.STALE),
        (_mutant("__all__ = [", "__all__ = ]"), Verdict.BROKEN),
        (_mutant("(burst + 0.001)", "(burst + 1.001)", "tests/protocol/test_rates.py::test_nothing"), Verdict.BROKEN),
        (_mutant('"""How often something may happen."""', '"""How often."""'), Verdict.SURVIVED),
    ]
    with copies(1) as (root,):
        assert [run_in(root, mutant).verdict for mutant, _ in changes] == [verdict for _, verdict in changes]
        assert (root / "protocol" / "rates.py").read_text() == (ROOT / "protocol" / "rates.py").read_text()


def test_a_text_that_is_there_twice_is_stale() -> None:
    with pytest.raises(Stale, match="2 times"):
        mutated("one and one", _mutant("one", "two"))
