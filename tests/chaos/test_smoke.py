"""A minute of faults for a whole system of real processes: nothing is lost, doubled or crossed, and all ends."""

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).absolute().parents[2]
LONGEST = 280.0
"""Seconds after which it is given up; it takes 90 on a machine that has nothing else to do."""


@pytest.mark.timeout(LONGEST + 20.0)
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_a_minute_of_chaos(tmp_path: Path) -> None:
    seed = secrets.randbelow(1_000_000)
    summary = tmp_path / "summary.json"
    command = [
        *(sys.executable, "-m", "tests.chaos", "--seed", seed, "--minutes", 1, "--fault-every", 4, "--round", 60),
        *("--longest-fault", 3, "--bot-processes", 2, "--bots", 8, "--rate", 4, "--json", summary),
    ]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, timeout=LONGEST, capture_output=True, text=True, check=False
    )
    said = f"seed {seed}:\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    assert done.returncode == 0, said
    found: dict[str, Any] = json.loads(summary.read_text())
    assert found["violations"] == {}, said
    assert found["complaints"] == [], said
    assert all(found["counts"][what] for what in ("deliveries", "acknowledged", "joins", "reconnects", "faults")), said
