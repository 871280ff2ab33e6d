"""The command as a whole: help, errors of one or two lines, and exit codes that mean something."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
import rich_click as click

from server_room_system import __version__
from server_room_system.cli.app import srs as whole
from server_room_system.cli.exits import MEANINGS, CommandError, Exit, exit_for, sentence_for
from server_room_system.protocol.errors import (
    AddressInUse,
    BrokerUnreachable,
    ConfigError,
    MatchExpired,
    NotInRoomError,
    ServerStopping,
    TimedOut,
)

from .conftest import Result
from .programs import SRS, Program, environment, srs

Command = Callable[..., Result]
COMMANDS = [
    "demo", "new", "serve", "worker", "chat", "top", "rooms", "inspect", "why", "kick", "close", "drain", "keys",
    "password", "bench", "simulate", "doctor",
]  # fmt: skip
"""In the order of use."""


def test_the_help_names_every_command_and_every_exit_code(command: Command) -> None:
    for spelling in ("--help", "-h"):
        code, out, err = command(spelling)
        assert (code, err) == (0, "")
        words = out.split()
        assert list(whole.commands) == COMMANDS
        assert set(COMMANDS) <= set(words)
        for number, meaning in MEANINGS.items():
            assert f"{int(number):<5}{meaning}" in out
    assert set(MEANINGS) == set(Exit)


@pytest.mark.parametrize("name", sorted(whole.commands))
def test_each_command_has_a_help(command: Command, name: str) -> None:
    code, out, err = command(name, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: srs {name}" in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_version(command: Command) -> None:
    assert command("--version") == (0, f"server-room-system {__version__}\n", "")


def test_without_a_command_the_help_is_shown() -> None:
    done = srs()
    assert done.returncode == Exit.USAGE
    assert "Usage: srs" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serv"], "Did you mean serve?"),
        (["xyzzy"], "there is no command 'xyzzy'"),
        (["--nope"], "--nope"),
        (["rooms", "--tpye", "x"], "--type"),
        (["rooms", "http://a"], "host:port"),
        (["rooms", "--timeout", "0"], "--timeout"),
        (["chat", "--clients", "none"], "--clients"),
        (["chat", "--clients", "0"], "--clients"),
        (["serve"], "MODULE:ATTR"),
        (["serve", "a:b", "c"], "(c)"),
        (["serve", "a:b", "--port", "70000"], "70000"),
        (["serve", "a:b", "--log-level", "loud"], "'debug'"),
        (["bench", "--rooms", "0"], "--rooms"),
        (["doctor", "--port", "x"], "--port"),
        (["new"], "DIR"),
        (["top", "--timeout", "x"], "--timeout"),
        (["inspect"], "ROOM"),
        (["why"], "TICKET"),
        (["kick", "abcd"], "CLIENT"),
        (["kick", "abcd", "-1"], "-1"),
        (["kick", "abcd", "somebody"], "somebody"),
        (["close", "abcd", "--address", "http://a"], "host:port"),
        (["drain", "w1", "--within", "0"], "--within"),
        (["doctor", "--broker", "a b"], "host:port"),
        (["serve", "a:b", "--log-format", "xml"], "'json'"),
        (["worker", "a:b"], "--broker"),
    ],
)
def test_wrong_usage_is_told_in_one_line(command: Command, arguments: list[str], says: str) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (Exit.USAGE, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
    assert "--help'" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BrokerUnreachable("tcp://a:1", 5.0, 3), Exit.NOBODY),
        (TimedOut("answer", 1.0), Exit.NOBODY),
        (AddressInUse("tcp://a:1"), Exit.IN_USE),
        (MatchExpired(), Exit.REFUSED),
        (ServerStopping(), Exit.REFUSED),
        (NotInRoomError("left"), Exit.REFUSED),
        (ConfigError("that makes no sense"), Exit.USAGE),
        (click.UsageError("no"), Exit.USAGE),
        (CommandError("it broke"), Exit.FAILED),
        (CommandError("no such thing", Exit.USAGE), Exit.USAGE),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (click.Abort(), Exit.INTERRUPTED),
        (ZeroDivisionError("division by zero"), Exit.FAILED),
        (RuntimeError(), Exit.FAILED),
        (RuntimeError("many\nlines\nof text"), Exit.FAILED),
    ],
)
def test_every_error_has_its_code_and_at_most_two_lines(error: BaseException, code: Exit) -> None:
    assert exit_for(error) == code
    assert 1 <= len(sentence_for(error).splitlines()) <= 2


def test_debug_shows_where_it_happened_wherever_it_stands(command: Command) -> None:
    for arguments in (["--debug", "serve", "no_such:thing"], ["serve", "no_such:thing", "--debug"]):
        code, _, err = command(*arguments)
        assert code == Exit.USAGE
        assert "Traceback (most recent call last)" in err
        assert err.splitlines()[-1].startswith("error: there is no module 'no_such'")


@pytest.mark.parametrize("missing", ["click", "rich_click"])
def test_without_the_extra_one_line_names_it(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; import server_room_system.cli as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == Exit.USAGE
    assert done.stdout == ""
    assert done.stderr == "error: srs needs click and rich-click: pip install 'server-room-system[cli]'\n"


def test_a_bug_at_import_is_not_taken_for_a_missing_extra() -> None:
    program = "import sys; sys.modules['msgpack'] = None; import server_room_system.cli as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert "[cli]" not in done.stderr
    assert "msgpack" in done.stderr


def test_it_runs_as_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "server_room_system.cli", "--version"],
        env=environment(), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"server-room-system {__version__}\n")


def test_ctrl_c_ends_with_130_and_no_traceback(address: str) -> None:
    with Program([*SRS, "chat", address, "--clients", "99"]) as program:
        program.expect("waiting for a room of 99")
        program.process.send_signal(signal.SIGINT)
        assert program.wait() == Exit.INTERRUPTED
        assert program.output.splitlines()[-1] == "interrupted"
        assert "Traceback" not in program.output


def test_a_reader_who_has_had_enough_is_no_error() -> None:
    python = [sys.executable, *SRS]
    with subprocess.Popen(
        [*python, "demo", "--help"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        program.stdout.close()
        program.wait(30)
        assert program.stderr is not None
        assert "Traceback" not in program.stderr.read()
