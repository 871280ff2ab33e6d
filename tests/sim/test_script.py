"""What is drawn up from a seed, and the least of it that still fails."""

from collections import Counter

from .minimise import fewest, minimise
from .runs import Outcome
from .script import CHAOS, KINDS, PLAYERS, Script, draw


def test_a_seed_is_one_script() -> None:
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)
    assert draw(5).command() == "python -m tests.sim --seed 5"


def test_seeds_differ_in_what_goes_wrong_and_all_of_it_does() -> None:
    scripts = [draw(seed) for seed in range(200)]
    kinds = [frozenset(fault.kind for fault in script.faults) for script in scripts]
    assert frozenset().union(*kinds) == KINDS
    assert len(set(kinds)) > 150
    assert all("misgrant" not in mine for mine, script in zip(kinds, scripts, strict=True) if script.fanout != "topic")
    assert {script.workers for script in scripts} == {None, 2, 3}
    for script in scripts:
        assert [fault.number for fault in script.faults] == list(range(len(script.faults)))
        assert all(0 < fault.at < CHAOS for fault in script.faults)


def test_a_line_says_what_is_left_in_the_shorter_way() -> None:
    script = draw(5)
    faults = script.faults
    assert script.left(script.players, (), CHAOS).command().endswith("--seed 5 --only none")
    assert script.left(script.players, faults[:3] + faults[4:], CHAOS).command().endswith("--seed 5 --without 3")
    assert script.left((1,), (faults[7],), CHAOS).command().endswith("--seed 5 --only 7 --players 1")
    early = script.left(script.players, faults, faults[4].at)
    assert early.faults == faults[:4]
    assert early.command().endswith(f"--seed 5 --until {faults[4].at:g}")


def test_the_fewest_are_found() -> None:
    for guilty in ({3}, {0, 99}, {17, 18, 60}, set(range(40, 50))):
        tries: Counter[tuple[int, ...]] = Counter()

        def fails(kept: tuple[int, ...], guilty: set[int] = guilty, tries: "Counter[tuple[int, ...]]" = tries) -> bool:
            tries[kept] += 1
            return guilty <= set(kept)

        assert set(fewest(range(100), fails)) == guilty
        assert sum(tries.values()) < 500


def test_where_nothing_is_guilty_nothing_is_left() -> None:
    assert fewest([1, 2, 3], lambda kept: True) == ()


def fails_with(faults: set[int], players: set[int], at: float, kind: str = "this is wrong") -> "Failing":
    return Failing(faults, players, at, kind)


class Failing:
    """A system that fails when some faults meet some players."""

    def __init__(self, faults: set[int], players: set[int], at: float, kind: str) -> None:
        self.faults, self.players, self.at, self.kind = faults, players, at, kind
        self.runs = 0

    def __call__(self, script: Script) -> Outcome:
        self.runs += 1
        there = {fault.number for fault in script.faults}
        if self.faults <= there and self.players <= set(script.players):
            return Outcome(script, [f"{self.at} s: {self.kind} with {len(there)}"], ended=self.at)
        return Outcome(script, ["another way"] if len(there) == 1 else [])


def test_a_failure_is_made_small() -> None:
    script = draw(5)
    failing = fails_with({4, 11}, {2, 6}, script.faults[20].at + 0.1)
    least = minimise(failing(script), failing)
    assert [fault.number for fault in least.script.faults] == [4, 11]
    assert least.script.players == (2, 6)
    assert least.script.until < script.faults[12].at + 1.0
    assert failing.runs < 100
    assert failing(least.script).mistakes == least.mistakes


def test_attempts_are_bounded() -> None:
    script = draw(5)
    failing = fails_with({4, 11}, set(range(PLAYERS)), 20.0)
    least = minimise(failing(script), failing, most_runs=10)
    assert failing.runs == 11
    assert {4, 11} <= {fault.number for fault in least.script.faults}
