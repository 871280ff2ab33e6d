"""``srs chat``: piped, and typed at a terminal."""

import os
import pty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server_room_system.cli.exits import Exit

from .programs import SRS, Program, srs


def chat(address: str, *arguments: str) -> Program:
    return Program([*SRS, "chat", address, *arguments])


def test_piped_lines_reach_the_room_and_nobody_leaves_before_the_others_are_heard(address: str) -> None:
    with chat(address) as ann, chat(address) as ben:
        ann.expect("in room")
        ben.expect("in room")
        ann.write("hello from ann")
        ben.expect("> hello from ann")
        ben.write('hello from ben\nand \x1b[31mred\n/send move {"x": 1}')
        ben.end_input()
        ann.expect("> hello from ben")
        ann.expect(r"> and \\x1b\[31mred")
        ann.end_input()
        ben.expect(r"\[echo\] \['move', {'x': 1}\]")
        assert ben.wait() == 0
        assert ann.wait() == 0


def test_a_pipe_that_is_faster_than_the_room_allows_loses_nothing(address: str, tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(200)]  # the burst is 120
    done = srs("chat", address, "--clients", "1", stdin="\n".join(lines))  # without an end of line at the end
    assert done.returncode == 0
    assert [line.partition("> ")[2] for line in done.stdout.splitlines()] == lines


def test_lines_from_a_file_work_as_well(address: str, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("one\n\ntwo\n", encoding="utf-8")
    with (
        (tmp_path / "lines").open() as file,
        Program([*SRS, "chat", address, "--clients", "1"], stdin=file.fileno()) as client,
    ):
        client.expect("> one")
        client.expect("> two")
        assert client.wait() == 0


def test_a_room_type_that_is_not_there_ends_it(address: str) -> None:
    done = srs("chat", address, "--clients", "1", "--room", "nope", stdin="x\n")
    assert done.returncode == Exit.REFUSED
    assert done.stderr.splitlines()[-1] == "error: no room type is named 'nope'; there are: talk"


def test_a_room_type_with_an_impossible_name_is_wrong_usage(address: str) -> None:
    done = srs("chat", address, "--room", "x" * 65)
    assert done.returncode == Exit.USAGE
    assert "64 characters" in done.stderr


@contextmanager
def typed(address: str, *arguments: str) -> Iterator[tuple[Program, "Keyboard"]]:
    """A chat whose standard input is a terminal."""
    keyboard, terminal = pty.openpty()
    try:
        with Program([*SRS, "chat", address, *arguments], stdin=terminal) as client:
            yield client, Keyboard(keyboard)
    finally:
        os.close(keyboard)
        os.close(terminal)


class Keyboard:
    """The other end of a terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())


def test_somebody_at_a_terminal(address: str) -> None:
    with typed(address, "--clients", "2") as (client, keyboard):
        client.expect("/help helps")
        client.expect("waiting for a room of 2")
        keyboard.type("anybody?\n")
        client.expect("the server heard anybody?")
        keyboard.type("/join\n")
        client.expect("you wait for a room already")
        with chat(address) as other:
            client.expect("everybody is here")
            keyboard.type("hello\n")
            other.expect("> hello")
            keyboard.type("//slash\n")
            other.expect("> /slash")
            other.write("/quit")
            assert other.wait() == 0
            client.expect(r"\d+ left")
        keyboard.type("/nonsense\n")
        client.expect("no command /nonsense")
        client.expect("/quit")
        keyboard.type("/send x {\n")
        client.expect("not sent: that is no JSON")
        keyboard.type("x" * 3000 + "\n")
        client.expect("x{1500}…")
        keyboard.type("/leave\n")
        client.expect("you left the room")
        keyboard.type("/leave\n")
        client.expect("you are in no room")
        keyboard.type("/join 1 nope\n")
        client.expect("no room: no room type is named 'nope'")
        keyboard.type("/join 0\n")
        client.expect("1 to 100000 clients")
        keyboard.type("/join 1 talk\n")
        client.expect(r"in room \w+ \(talk\)")
        keyboard.type("/quit\n")
        assert client.wait() == 0
        assert "Traceback" not in client.output


def test_the_end_of_typing_ends_it(address: str) -> None:
    with typed(address, "--clients", "77") as (client, keyboard):
        client.expect("waiting for a room of 77")
        keyboard.type("\x04")
        assert client.wait() == 0


def test_the_server_stops_in_the_midst_of_a_talk(tmp_path: Path) -> None:
    from .conftest import APP

    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    with Program([*SRS, "serve", "app", "--port", "0"], cwd=tmp_path) as server:
        address = server.expect(r"listening on (\S+);")[1]
        with chat(address, "--clients", "1") as client:
            client.expect("everybody is here")
            server.write("close")
            assert client.wait() == Exit.REFUSED
            assert client.output.splitlines()[-1] == "error: the server is stopping"
        assert server.wait() == 0


@pytest.mark.parametrize("line", ["/quit", "/exit"])
def test_quit_in_a_pipe_ends_it_at_once(address: str, line: str) -> None:
    done = srs("chat", address, "--clients", "1", stdin=f"before\n{line}\nafter\n")
    assert done.returncode == 0
    assert "after" not in done.stdout
