"""What worker processes print, and their command lines."""

import io
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_room_system.broker import output
from server_room_system.broker.command import WorkerCommand
from server_room_system.broker.output import LONGEST_LINE, Lines

LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r")))


@given(LINES, st.lists(st.integers(0, 20)))
def test_lines_come_out_as_they_went_in_however_they_are_cut(lines: list[str], cuts: list[int]) -> None:
    data = "".join(line + "\n" for line in lines).encode()
    made, came = Lines(), list[str]()
    for cut in [*cuts, len(data)]:
        came += made.feed(data[:cut])
        data = data[cut:]
    came += made.feed(data)
    assert came == lines
    assert made.rest() == []


def test_an_endless_line_is_cut_and_takes_no_memory() -> None:
    made = Lines()
    for _ in range(100):
        assert made.feed(b"x" * 1000) == []
    assert made.feed(b"\nshort\r\n") == ["x" * LONGEST_LINE + " [cut]", "short"]
    assert made.feed(b"x" * LONGEST_LINE + b"\n") == ["x" * LONGEST_LINE]


def test_what_is_begun_is_told_in_the_end() -> None:
    made = Lines()
    assert made.feed(b"one\ntw\xff") == ["one"]
    assert made.rest() == ["tw\ufffd"]
    assert made.rest() == []


class Pipe:
    """A stream into one end, and the other end."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        self.stream = output._stream(self.write)

    def take(self) -> bytes:
        taken = b""
        while True:
            try:
                data = os.read(self.read, 1 << 20)
            except BlockingIOError:
                return taken
            if not data:
                return taken
            taken += data

    def hang_up(self) -> None:
        if self.read >= 0:
            os.close(self.read)
        self.read = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.stream.flush()
    made.hang_up()
    os.close(made.write)


def test_each_line_is_written_at_once(pipe: Pipe) -> None:
    print("hello", "wörld", file=pipe.stream)
    assert pipe.take() == "hello wörld\n".encode()
    print("\ud800", file=pipe.stream)
    assert pipe.take() == b"\\ud800\n"
    pipe.stream.write("x" * 30_000 + "\n")
    assert pipe.take() == b"x" * 30_000 + b"\n"


def test_a_reader_that_sleeps_is_not_waited_for_and_told_what_it_missed(pipe: Pipe) -> None:
    for number in range(10_000):
        print(f"line {number:>20}", file=pipe.stream)
    taken = pipe.take()
    assert len(taken) >= 4096
    print("after", file=pipe.stream)
    missed = 10_000 * 26 - len(taken)
    assert pipe.take() == f"\n[{missed} bytes of output were dropped here]\nafter\n".encode()
    print("and on", file=pipe.stream)
    assert pipe.take() == b"and on\n"


def test_a_reader_that_is_gone_is_no_error(pipe: Pipe) -> None:
    pipe.hang_up()
    print("nobody", file=pipe.stream)
    print("nobody", file=pipe.stream, flush=True)
    assert os.readlink(f"/proc/self/fd/{pipe.write}") == os.devnull


def test_both_streams_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {1: io.StringIO(), 2: io.StringIO()}
    monkeypatch.setattr(output, "_stream", made.get)
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    output.print_without_waiting()
    assert (sys.stdout, sys.stderr) == (made[1], made[2])


@pytest.mark.parametrize(
    "command",
    [
        WorkerCommand("/a b/app.py:server", "tcp://127.0.0.1:9", "w1", "/run/key", True, ("gpu", "ö"), "DEBUG"),
        WorkerCommand("app:server", "tcp://127.0.0.1:9", "w1", None),
    ],
)
def test_a_command_line_says_what_it_was_made_of(command: WorkerCommand) -> None:
    *start, told = command.to_argv()
    assert start[1:] == ["-P", "-m", "server_room_system.broker.work"]
    assert WorkerCommand.from_argv([told]) == command
