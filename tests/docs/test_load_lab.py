"""The commands and scenarios in ``docs/load-lab.md`` run, and what it says of the built-in ones is so."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from server_room_system.lab.budget import METRICS, parse_budget
from server_room_system.lab.scenarios import SCENARIOS

ROOT = Path(__file__).absolute().parents[2]
DOCUMENT = (ROOT / "docs" / "load-lab.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"```python\n(?=# (\w+\.py)\n)(.*?)```", DOCUMENT, re.DOTALL))
COMMANDS = [
    line.split("#")[0].split()
    for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
    for line in block.splitlines()
]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}


def srs(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "server_room_system.cli", *arguments],
        cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_runs(command: list[str], tmp_path: Path) -> None:
    program, bench, *arguments = command
    assert (program, bench) == ("srs", "bench")
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    arguments = ["p99=20s,loss=0" if part.startswith("p99=") else part for part in arguments]
    done = srs("bench", *arguments, "--seconds", "1", "--warm-up", "0.2", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["visits"] or told["checked"] > 0
    assert told["problems"] == []


def test_there_are_commands_for_all_programs() -> None:
    assert PROGRAMS.keys() == {"chatter.py", "painter.py"}
    assert {name for name in PROGRAMS if any(name in " ".join(command) for command in COMMANDS)} == set(PROGRAMS)


def test_the_example_runs_with_the_chat_s_server() -> None:
    text = (ROOT / "examples" / "load" / "chatter.py").read_text(encoding="utf-8")
    command = re.findall(r"^    srs (.*)$", text, re.MULTILINE)[0].split()
    done = srs(*command, "--seconds", "1", "--warm-up", "0.2", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "none lost" in done.stdout


def test_the_budget_in_the_document_can_be_read_and_all_names_are_there() -> None:
    for text in re.findall(r"--budget (\S+)", DOCUMENT):
        parse_budget(text)
    assert all(f"`{name}`" in DOCUMENT for name in METRICS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_the_document_says_of_a_scenario_is_so(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \| (.*) \|$", DOCUMENT, re.MULTILINE)
    kind = SCENARIOS[name]
    assert re.search(rf"\b{kind.bots} bots", row)
    assert (
        re.search(rf"\b{kind(0, kind.bots).rate:g} (messages|times) a second", row)
        or f"{kind(0, 1).rate:g} times" in row
    )
