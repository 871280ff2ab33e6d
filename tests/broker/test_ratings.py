"""Skill from results, by openskill."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from openskill.models import PlackettLuce

from server_room_system import ConfigError, Skill, Skills, UsageError

ROOT = Path(__file__).parents[2]


def test_the_winner_rises_the_loser_falls_and_both_are_known_better() -> None:
    skills = Skills()
    ((won,), (lost,)) = skills.after([[skills.beginner], [skills.beginner]], places=[1, 2])
    assert won.mean > skills.beginner.mean > lost.mean
    assert max(won.spread, lost.spread) < skills.beginner.spread


def test_it_is_openskill_on_another_scale() -> None:
    model, skills = PlackettLuce(), Skills(mean=1500.0, spread=500.0)
    theirs = model.rate([[model.rating(), model.rating(30, 5)], [model.rating(20, 6)]], ranks=[2, 1])
    factor = 500.0 / model.sigma

    def ours(mu: float, sigma: float) -> Skill:
        return Skill(1500.0 + (mu - 25.0) * factor, sigma * factor)

    after = skills.after([[ours(25, 25 / 3), ours(30, 5)], [ours(20, 6)]], places=[2, 1])
    expected = [[ours(player.mu, player.sigma) for player in team] for team in theirs]
    assert [len(team) for team in after] == [2, 1]
    for team, wanted in zip(after, expected, strict=True):
        for skill, want in zip(team, wanted, strict=True):
            assert skill == pytest.approx(want, rel=1e-6)


def test_a_draw_brings_the_two_closer() -> None:
    skills = Skills()
    ((high,), (low,)) = skills.after([[Skill(1700, 100)], [Skill(1300, 100)]], places=[1, 1])
    assert 1300 < low.mean < high.mean < 1700


def test_who_is_better_is_likelier_to_win() -> None:
    skills = Skills()
    better, worse = skills.chances([[Skill(1900, 50)], [Skill(1500, 50)]])
    assert better > 0.7
    assert better + worse == pytest.approx(1.0)


def test_beginners_stand_low_in_a_list_of_the_best() -> None:
    skills = Skills()
    assert skills.shown(skills.beginner) == pytest.approx(0.0)
    assert skills.shown(Skill(1500, 50)) == pytest.approx(1350.0)


def test_a_skill_goes_through_json() -> None:
    skill = Skill(1512.5, 80.0)
    assert Skill(*json.loads(json.dumps(skill))) == skill


@pytest.mark.parametrize(
    ("teams", "places"),
    [
        ([[Skill(1500, 500)]], [1]),
        ([[Skill(1500, 500)], []], [1, 2]),
        ([[Skill(1500, 500)], [Skill(1500, 500)]], [1]),
        ([[Skill(1500, 500)], [Skill(1500, 500)]], [1, math.nan]),
        ([[Skill(math.nan, 500)], [Skill(1500, 500)]], [1, 2]),
        ([[Skill(1500, 0)], [Skill(1500, 500)]], [1, 2]),
    ],
    ids=range(6),
)
def test_results_that_make_no_sense(teams: list[list[Skill]], places: list[float]) -> None:
    with pytest.raises(UsageError):
        Skills().after(teams, places)


@pytest.mark.parametrize(("mean", "spread"), [(math.inf, 1.0), (1500.0, 0.0), (1500.0, math.nan)])
def test_scales_that_make_no_sense(mean: float, spread: float) -> None:
    with pytest.raises(ConfigError):
        Skills(mean=mean, spread=spread)


def test_without_the_extra_it_says_what_to_install_and_all_else_works() -> None:
    code = """
import sys
sys.modules["openskill"] = sys.modules["openskill.models"] = None
from server_room_system import ConfigError, Skill, Skills
try:
    Skills()
except ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "Skills needs openskill: pip install 'server-room-system[ratings]'", done.stderr
