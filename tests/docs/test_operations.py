"""``docs/operations.md``: its commands run, and its tables are those of the code."""

import dataclasses
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from server_room_system import AddressLimits
from server_room_system.broker.logs import FIELDS
from server_room_system.broker.metrics import FAMILIES

ROOT = Path(__file__).absolute().parents[2]
DOCUMENT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
    for line in block.splitlines()
]
APP = """\
from server_room_system import Room, Server

class Duel(Room):
    max_clients = 4

    def on_drain(self, seconds):
        self.close("moving")

server = Server(rooms={"duel": Duel})
"""
PATIENCE = 20.0
SRS = (sys.executable, "-P", "-m", "server_room_system.cli")


class Running(NamedTuple):
    """A server that runs as the document says, and a client in a room of it."""

    address: str
    room: str
    client: int
    metrics: str
    environment: dict[str, str]


def test_the_limits_for_addresses_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|`]+) \| [^|]+ \|$", DOCUMENT, re.MULTILINE)
    assert dict(rows[1:]) == {field.name: repr(field.default) for field in dataclasses.fields(AddressLimits)}


def test_the_snippets_of_python_run() -> None:
    snippets = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert snippets
    for snippet in snippets:
        exec(snippet, {})  # as a user would


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", "XDG_RUNTIME_DIR": str(tmp_path),
    }  # fmt: skip
    (serve,) = (words for words in COMMANDS if "--metrics-port" in words)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        metrics = str(free.getsockname()[1])
    arguments = [metrics if word == "9464" else word for word in serve[1:]]
    log, said = tmp_path / "log", tmp_path / "said"
    with open(log, "wb") as log_file, open(said, "wb") as said_file:
        server = subprocess.Popen(
            [*SRS, *arguments, "--port", "0"],
            cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file,
        )  # fmt: skip
        try:
            address = _wait_for(r"listening on (\S+);", log)[1]
            client = subprocess.Popen(
                [*SRS, "chat", address, "--clients", "1", "--room", "duel"],
                env=environment, stdin=subprocess.PIPE, stdout=said_file, stderr=said_file,
            )  # fmt: skip
            try:
                number = int(_wait_for(r"you are (\d+) ", said)[1])
                room = _wait_for(r"in room (\w+)", said)[1]
                yield Running(address, room, number, f"http://127.0.0.1:{metrics}/metrics", environment)
            finally:
                client.kill()
                client.communicate()
        finally:
            server.terminate()
            assert server.wait(PATIENCE) == 0


def _wait_for(pattern: str, file: Path) -> "re.Match[str]":
    deadline = time.monotonic() + PATIENCE
    while (found := re.search(pattern, file.read_text(errors="replace"))) is None:
        assert time.monotonic() < deadline, f"no {pattern} in\n{file.read_text(errors='replace')}"
        time.sleep(0.05)
    return found


def _runnable(*names: str) -> list[list[str]]:
    return [words[1:] for words in COMMANDS if words[1] in names]


def _run(arguments: list[str], running: Running) -> None:
    values = {"$ROOM": running.room, "$CLIENT": str(running.client), "127.0.0.1:1234": running.address}
    words = [values.get(word, word) for word in arguments]
    if running.address not in words:
        words += [running.address] if words[0] in ("top", "rooms") else ["--address", running.address]
    done = subprocess.run(
        [*SRS, *words], env=running.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    wanted = {"top": "clients 1", "drain": "w1 is gone", "doctor": "Fit"}.get(words[0], running.room)
    assert wanted in done.stdout


def test_each_command_that_looks_runs_and_metrics_are_where_the_document_says(running: Running) -> None:
    for arguments in _runnable("top", "rooms", "inspect", "doctor"):
        _run(arguments, running)
    with urllib.request.urlopen(running.metrics, timeout=10) as answer:
        text = answer.read().decode()
    assert 'srs_rooms{type="duel"} 1.0' in text


@pytest.mark.parametrize("arguments", _runnable("kick", "close", "drain"), ids=" ".join)
def test_each_command_that_acts_runs(arguments: list[str], running: Running) -> None:
    _run(arguments, running)


def test_there_are_commands_for_all_that_administers() -> None:
    named = {words[1] for words in COMMANDS}
    assert named == {"serve", "top", "rooms", "inspect", "why", "kick", "close", "drain", "doctor"}


def test_every_family_of_metrics_is_described_as_it_is() -> None:
    rows = re.findall(r"^\| `(srs_\w+)` \| (\w+) \| (.*?) ?\| (.+) \|$", DOCUMENT, re.MULTILINE)
    described = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows]
    assert described == [(family.name, family.kind, family.labels, family.meaning) for family in FAMILIES]


def test_the_fields_of_a_log_line_are_described() -> None:
    table = DOCUMENT.partition("| field | what |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.partition(" | ")[0])}
    assert named == {"time", "level", "logger", "message", "traceback", *FIELDS}


def test_the_example_of_a_log_line_is_one() -> None:
    (line,) = re.findall(r"```json\n(.*)\n```", DOCUMENT)
    told = json.loads(line)
    assert list(told)[:4] == ["time", "level", "logger", "message"]
    assert set(told) <= {"time", "level", "logger", "message", *FIELDS}
