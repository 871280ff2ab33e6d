"""The console: the word ``close``, however it arrives, and nothing where nobody types."""

import asyncio
import io
import os
import sys
from collections.abc import Callable, Iterator

import pytest

from server_room_system.broker.console import Console


class FakeHandle:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeLoop:
    """In the place of the event loop: who reads, and what comes later."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.later: list[FakeHandle] = []

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        del self.readers[fd]

    def call_later(self, delay: float, callback: Callable[[], object]) -> FakeHandle:
        assert delay == 1.0
        self.later.append(FakeHandle(callback))
        return self.later[-1]


class Terminal:
    """A standard input that the test types into."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.reading, self.writing = os.pipe()
        self.closes = 0

    def close(self) -> None:
        self.closes += 1

    def type(self, text: bytes) -> None:
        os.write(self.writing, text)
        self.loop.readers[self.reading]()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    loop = FakeLoop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


@pytest.fixture
def terminal(loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    terminal = Terminal(loop)
    with os.fdopen(terminal.reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield terminal
        monkeypatch.undo()
    if terminal.writing >= 0:
        os.close(terminal.writing)


@pytest.mark.parametrize("typed", [[b"close\n"], [b"cl", b"ose\n"], [b"  close \r\n"], [b"\n\nclose\nmore"]])
def test_the_word_close_closes(terminal: Terminal, typed: list[bytes]) -> None:
    with Console(terminal.close):
        for piece in typed:
            assert terminal.closes == 0
            terminal.type(piece)
        assert terminal.closes == 1
    assert terminal.loop.readers == {}


def test_other_words_are_answered_and_empty_lines_are_not(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    with Console(terminal.close):
        terminal.type(b"\n  \nhelp\nclosed\n" + b"x" * 100 + b"\n\xff\xfe\n")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "unknown command 'help': type close to stop the server",
        "unknown command 'closed': type close to stop the server",
    ]
    assert lines[2] == f"unknown command {'x' * 40!r}: type close to stop the server"
    assert len(lines) == 4
    assert terminal.closes == 0


def test_a_line_without_an_end_costs_no_memory(terminal: Terminal) -> None:
    console = Console(terminal.close)
    with console:
        for _ in range(50):
            terminal.type(b"x" * 4096)
        assert len(console._line) <= 64
        terminal.type(b"\nclose\n")
    assert terminal.closes == 1


def test_the_end_of_the_input_is_not_a_wish_to_stop(terminal: Terminal) -> None:
    with Console(terminal.close):
        os.close(terminal.writing)
        terminal.writing = -1
        terminal.loop.readers[terminal.reading]()
        assert terminal.loop.readers == {}
    assert terminal.closes == 0


@pytest.mark.parametrize("stdin", [None, io.StringIO("close\n")])
def test_without_a_standard_input_nothing_is_read(
    loop: FakeLoop, monkeypatch: pytest.MonkeyPatch, stdin: object
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with Console(lambda: None):
        assert loop.readers == {}


def test_an_input_that_cannot_be_waited_for_is_not_read(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, callback: Callable[[], None]) -> None:
        raise PermissionError("a file")

    monkeypatch.setattr(terminal.loop, "add_reader", refuse)
    with Console(terminal.close):
        assert terminal.loop.readers == {}


def test_in_the_background_it_waits_for_the_foreground(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading from the terminal would stop a process in the background."""
    monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp() + 1)
    with Console(terminal.close):
        terminal.type(b"close\n")
        assert terminal.closes == 0
        assert terminal.loop.readers == {}
        (handle,) = terminal.loop.later
        assert handle.callback is not None
        monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp())
        handle.callback()
        terminal.loop.readers[terminal.reading]()
        assert terminal.closes == 1
    assert terminal.loop.readers == {}


def test_who_leaves_the_console_in_the_background_leaves_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp() + 1)
    with Console(terminal.close):
        terminal.type(b"close\n")
    (handle,) = terminal.loop.later
    assert handle.callback is None
