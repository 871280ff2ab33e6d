"""Logs as JSON: each line one object, with the fields that say whom it is about."""

import ast
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from server_room_system.broker.command import WorkerCommand
from server_room_system.broker.logs import FIELDS, JsonLines, wrapped_line

ROOT = Path(__file__).absolute().parents[2]
PARTS = ("protocol", "transport", "rooms", "broker", "client", "testing", "lab")


def record(message: str, *args: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("server_room_system.rooms", logging.WARNING, "x.py", 1, message, args, None)
    made.created = 1_700_000_000.1239
    made.__dict__.update(more)
    return made


def test_a_line_has_time_level_logger_message_and_the_fields_that_there_are() -> None:
    line = JsonLines().format(record("room %s: x", "r1", room="r1", client=7, session="secret", other=1))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "WARNING",
        "logger": "server_room_system.rooms",
        "message": "room r1: x",
        "room": "r1",
        "client": 7,
    }


def test_a_worker_s_lines_carry_its_name() -> None:
    assert json.loads(JsonLines("w1").format(record("x")))["worker"] == "w1"


def test_line_ends_and_control_characters_stay_inside_of_a_line() -> None:
    line = JsonLines().format(record("a\nb\x1b[31m\u2028"))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert json.loads(line)["message"] == "a\nb\x1b[31m\u2028"


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600", "\0"])
def test_a_line_that_would_be_cut_is_shortened_and_keeps_the_end_of_its_traceback(letter: str) -> None:
    try:
        raise ValueError(letter * 30_000 + " the end")
    except ValueError:
        made = record(letter * 30_000, room="r1")
        made.exc_info = sys.exc_info()
    line = JsonLines("w1").format(made)
    assert len(line) <= 8000
    told = json.loads(line)
    assert (told["room"], told["worker"]) == ("r1", "w1")
    assert told["traceback"].endswith(" the end")
    assert told["traceback"].startswith("Traceback")
    assert " [cut] " in told["message"]


def test_a_line_of_a_worker_s_log_is_handed_on_as_it_is() -> None:
    line = JsonLines("w1").format(record("x"))
    assert wrapped_line("w1", line, 0.0) == line


@pytest.mark.parametrize(
    "line", ["plain text", "", '{"worker": "w2"}', '{"x": 1}', '{"worker": "w1"', "[1]", "{" * 5000, "\x1b[31mred"]
)
def test_whatever_else_a_worker_prints_becomes_the_message_of_an_object(line: str) -> None:
    told = json.loads(wrapped_line("w1", line, 1_700_000_000.0))
    assert told == {
        "time": "2023-11-14T22:13:20.000Z",
        "level": "INFO",
        "logger": "output",
        "message": line,
        "worker": "w1",
    }


def test_the_format_reaches_the_workers() -> None:
    told = WorkerCommand("app:server", "tcp://127.0.0.1:1", "w1", None, log_format="json")
    assert WorkerCommand.from_argv(told.to_argv()[-1:]).log_format == "json"


def logging_calls() -> list[tuple[str, str, list[str]]]:
    """Where each logging call of the package stands, its message, and the names of the fields that it adds."""
    found: list[tuple[str, str, list[str]]] = []
    for path in sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logger.")):
                continue
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            extra = next((word.value for word in node.keywords if word.arg == "extra"), None)
            if isinstance(extra, ast.Dict):
                fields = [str(ast.literal_eval(key)) for key in extra.keys if key is not None]
            else:
                fields = [] if extra is None else [ast.unparse(extra)]
            found.append((f"{path.relative_to(ROOT)}:{node.lineno}", texts[0], fields))
    return found


def test_every_line_that_names_a_room_client_or_worker_has_it_as_a_field() -> None:
    calls = logging_calls()
    assert len(calls) > 40
    for where, message, fields in calls:
        named = {name for name in FIELDS if re.search(rf"\b{name} %[sdr]", message)}
        computed = [name for name in fields if name.endswith("fields")]  # of an object that is always about the same
        assert computed or named <= set(fields), f"{where}: {message!r} names {named}, but has the fields {fields}"
        assert set(fields) - set(computed) <= set(FIELDS), f"{where}: no such field in {fields}"


def test_no_line_speaks_of_a_secret() -> None:
    for where, message, fields in logging_calls():
        assert not re.search(r"(token|reservation|nonce|secret|session|key) %", message), f"{where}: {message!r}"
        assert not {"session", "token", "key"} & set(fields), where
