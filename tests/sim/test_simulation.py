"""A million events of the whole system, under faults; and that what fails can be seen again, smaller."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .runs import play, simulate
from .script import KINDS, draw

_EVENTS = 1_000_000
_ROOT = Path(__file__).parents[2]


def run_command(*words: str, timeout: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.sim", *words],
        cwd=_ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.timeout(400)
def test_nothing_crosses_rooms_is_lost_doubled_oversold_or_left_in_a_million_events() -> None:
    done = run_command("--events", str(_EVENTS), "--json", timeout=380)
    assert done.stderr == ""
    harvest: dict[str, Any] = json.loads(done.stdout)
    assert harvest["failures"] == []
    assert done.returncode == 0
    # They get to what they are for.
    counts = harvest["counts"]
    assert counts["events"] >= _EVENTS
    assert {kind for kind, count in harvest["faults"].items() if count > 5} >= KINDS
    for what, least in {
        "rooms": 500,
        "rooms lost with their process": 50,
        "visits": 1000,
        "matched": 200,
        "said to one": 5000,
        "said to all but some": 3000,
        "read": 20_000,
        "reconnects": 300,
        "resets": 30,
        "acknowledged": 3000,
        "refused": 200,
    }.items():
        assert counts[what] > least, what


def test_one_seed_is_one_course_of_events() -> None:
    script = draw(9)
    first = play(script)[1].trace
    elsewhere = [object() for _ in range(100_000)]  # the second one lives at other addresses
    assert play(script)[1].trace == first
    assert play(draw(10))[1].trace != first
    del elsewhere


def test_what_is_left_out_does_not_happen() -> None:
    script = next(script for script in map(draw, range(20)) if any(each.kind == "cut" for each in script.faults))
    only = next(fault for fault in script.faults if fault.kind == "cut")
    outcome = simulate(script.left((0, 1, 2), (only,), only.at + 1.0))
    assert outcome.mistakes == []
    assert outcome.faults == {"cut": 1}


def test_a_line_shows_one_run_again() -> None:
    script = draw(2)
    smaller = script.left((0, 3), script.faults[:2], 9.5)
    line = smaller.command()
    assert line == "python -m tests.sim --seed 2 --only 0,1 --players 0,3 --until 9.5"
    done = run_command(*line.split()[3:], timeout=60)
    assert done.stdout.splitlines()[-1] == f"holds: {line}"
    assert done.returncode == 0


@pytest.mark.timeout(130)
def test_nothing_is_lost_doubled_or_out_of_order_when_connections_break_all_the_time() -> None:
    done = run_command("--reconnects", "1000", "--jobs", "1", "--json", timeout=120)
    figures = json.loads(done.stdout)
    assert figures["failures"] == []
    assert figures["violations"] == 0
    assert figures["reconnects"] >= 1000
    assert figures["deliveries"] > figures["reconnects"]
    assert figures["applied"] > 100


def test_who_does_not_say_how_much_is_told_how() -> None:
    done = run_command(timeout=60)
    assert done.returncode == 2
    assert "--seeds" in done.stderr
