"""The user's own programs, word for word: they run unchanged and do what their comments say."""

import hashlib
import itertools
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .programs import ROOT, Program

SHA256 = {
    "myclient.py": "b1d26c0b30442441fb875116149dc1da8a1837680ff4124eba24e689c854dc4d",
    "myroom.py": "1a0bebf0608d8b5ab1571046ef7bc59f6063b4cf465877124221bd378dc555d3",
    "myserver.py": "ab9ef2e5c7634b1bfdbe53dcd33ff3df4e2b762fec411ef187eefddbc2b7b0be",
}
"""Of the text that the user gave."""

ON_ANOTHER_PORT = """\
import runpy, server_room_system as system

for side in (system.Server, system.Client):
    def run(self, host, port, *args, run=side.run, **named):
        assert (host, port) == ("127.0.0.1", 1234)
        return run(self, host, {port}, *args, **named)
    side.run = run

runpy.run_module("examples.seed.{module}", run_name="__main__", alter_sys=True)
"""
"""Runs a program of the seed, whose files stay as they are, on another port than the one they name."""


class Seed:
    """Starts the seed's programs; on another port if somebody else has theirs."""

    def __init__(self, programs: ExitStack) -> None:
        self._programs = programs
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", 1234))
                self._port = 1234
            except OSError:
                trial.bind(("127.0.0.1", 0))
                self._port = trial.getsockname()[1]

    def start(self, module: str) -> Program:
        """Run ``myserver`` or ``myclient`` as a module."""
        arguments = ["-m", f"examples.seed.{module}"]
        if self._port != 1234:
            arguments = ["-c", ON_ANOTHER_PORT.format(port=self._port, module=module)]
        return self._programs.enter_context(Program(arguments))

    def client(self, count: int) -> Program:
        """A client who asks for a room of so many."""
        client = self.start("myclient")
        client.write(str(count))
        return client


@pytest.fixture
def seed() -> Iterator[Seed]:
    with ExitStack() as programs:
        yield Seed(programs)


@pytest.fixture
def server(seed: Seed) -> Program:
    server = seed.start("myserver")
    server.expect("listening on tcp://127.0.0.1:")
    return server


def test_the_files_are_the_user_s_to_the_letter() -> None:
    folder = ROOT / "examples" / "seed"
    assert {path.name for path in folder.glob("*.py")} == set(SHA256)
    for name, digest in SHA256.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


class Bystander:
    """A client who waits for 98 others: it hears what the server hears, and nothing of any room."""

    def __init__(self, seed: Seed) -> None:
        self.program = seed.client(99)
        self._numbers = itertools.count(1)
        self.hears("is anybody there?")

    def hears(self, text: str) -> bool:
        """Whether ``text``, which was said and handled, was said outside of rooms."""
        mark = f"mark {next(self._numbers)}"
        self.program.write(mark)
        self.program.expect(rf"<ID:\d+> {mark}$")
        return f"> {text}\n" in self.program.output

    def wait_until_in_a_room(self, client: Program) -> int:
        """Have a client talk until it does so in a room; its number."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            probe = f"probe {next(self._numbers)}"
            number = _own_echo(client, probe)
            if number is not None and not self.hears(probe):
                return number
        raise AssertionError(f"it never came into a room:\n{client.output}")


def _own_echo(client: Program, text: str) -> int | None:
    """Have a client say something; its number, as its room or the server says it. None if nobody answers."""
    client.write(text)
    try:
        return int(client.expect(rf"<ID:(\d+)> {text}$", timeout=2)[1])
    except AssertionError:
        return None  # it was on its way into the room just then


@pytest.mark.timeout(60)
def test_a_client_in_no_room_is_answered_by_the_server(seed: Seed, server: Program) -> None:
    waiting, undecided = seed.client(3), seed.start("myclient")
    waiting.write("hello?")
    number = waiting.expect(r"<ID:(\d+)> hello\?$")[1]
    undecided.write("not a number")
    _until_heard(undecided, waiting, number)  # it is in no room either
    undecided.write("3")
    undecided.write("me too")
    waiting.expect(r"<ID:\d+> me too$")
    for client in (waiting, undecided):
        client.write("/quit")
        assert client.wait() == 0
    _close(server)


def _until_heard(listener: Program, speaker: Program, number: str) -> None:
    """The listener may still be on its way to the server."""
    for attempt in range(100):
        speaker.write(f"again {attempt}")
        try:
            listener.expect(rf"<ID:{number}> again \d+$", timeout=0.2)
        except AssertionError:
            continue
        return
    raise AssertionError(listener.output)


@pytest.mark.timeout(60)
def test_four_clients_land_in_two_rooms_and_hear_only_their_own(seed: Seed, server: Program) -> None:
    bystander = Bystander(seed)
    rooms: list[list[Program]] = []
    numbers: dict[Program, int] = {}
    for _ in range(2):
        room = [seed.client(2), seed.client(2)]
        for client in room:  # they ask before they say anything: now the match is under way
            _own_echo(client, "I have asked")
        numbers |= {client: bystander.wait_until_in_a_room(client) for client in room}
        rooms.append(room)
    assert len(set(numbers.values())) == 4
    for room in rooms:
        for speaker in room:
            _say(speaker, f"word of {numbers[speaker]}", numbers[speaker], heard_by=room)

    # One ends; its partner and the other room go on.
    (leaver, partner), other_room = rooms
    leaver.write("/quit")
    assert leaver.wait() == 0
    _say(partner, "alone now", numbers[partner], heard_by=[partner])
    _say(other_room[0], "still two", numbers[other_room[0]], heard_by=other_room)

    for room in rooms:
        strangers = {numbers[client] for client in numbers if client not in room}
        for client in room:
            said = {int(number) for number in re.findall(r"<ID:(\d+)> (?:word of|alone|still)", client.output)}
            assert said
            assert not said & strangers, client.output
    assert not re.search("word of|alone|still", bystander.program.output), bystander.program.output
    _close(server)
    for client in (partner, *other_room, bystander.program):
        client.wait()
        assert "Traceback" not in client.output


def _say(speaker: Program, text: str, number: int, heard_by: list[Program]) -> None:
    speaker.write(text)
    for client in heard_by:
        client.expect(rf"<ID:{number}> {text}$")


@pytest.mark.timeout(60)
def test_ctrl_c_ends_server_and_clients(seed: Seed, server: Program) -> None:
    client = seed.client(9)
    client.write("hello")
    client.expect(r"> hello$")
    client.process.send_signal(signal.SIGINT)
    assert client.wait() == 0
    server.process.send_signal(signal.SIGINT)
    assert server.wait() == 0
    assert "Traceback" not in client.output + server.output


@pytest.mark.timeout(60)
def test_the_end_of_its_input_ends_a_client(seed: Seed, server: Program) -> None:
    client = seed.client(1)
    client.end_input()
    assert client.wait() == 0
    assert "Traceback" not in client.output
    _close(server)


@pytest.mark.timeout(60)
def test_without_a_server_a_client_ends_with_one_line(seed: Seed) -> None:
    client = seed.start("myclient")
    assert client.wait() == 1
    assert re.fullmatch(r"error: no broker answered at tcp://127\.0\.0\.1:\d+ within .*\n", client.output)


def _close(server: Program) -> None:
    server.write("close")
    assert server.wait() == 0
    assert "Traceback" not in server.output
