"""The blocking Client: in scripts with main(), in loops of their own, and in every way that it can end."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from server_room_system import (
    BrokerUnreachable,
    Client,
    ClientClosedError,
    ClientData,
    Member,
    NoHandler,
    PayloadError,
    Protocol,
    Room,
    RoomClosed,
    RuleSet,
    Server,
    ServerRoomError,
    Session,
    TimedOut,
    UsageError,
    on_message,
    on_request,
)

from .programs import Program
from .system import LOCAL, PATIENCE, on_a_thread
from .test_unreachable import free_port

CLIENT = """
import sys, threading, time
from server_room_system import *

def say(line):
    sys.stdout.write(line + "\\n")  # at once: two threads say something
    sys.stdout.flush()

class MyClient(Client):
    def main(self):
        self.send(Protocol.Request.ROOM_RULSET, RuleSet(1))
        while not self.ready:
            time.sleep(0.005)
        say(f"ready {self.data.ID}")
        while True:
            line = input()
            if line == "/quit":
                self.quit()
                say("never printed")
            elif line == "/return":
                return
            elif line == "/quit elsewhere":
                threading.Timer(0.1, self.quit).start()
            elif line == "/exit":
                sys.exit(7)
            elif line == "/raise":
                raise ValueError("mine")
            else:
                self.send(Protocol.Request.MESSAGE, line)

    def handle_response(self, protocol, data):
        if data == "quit here":
            self.quit()
        if data == "raise here":
            raise ValueError("in handle_response")
        if protocol != "command":
            say(f"got {protocol} {data}")

client = MyClient()
client.run("127.0.0.1", int(sys.argv[1]), timeout=float(sys.argv[2]))
say(f"after run {client.running}")
"""


class Echo(Room):
    """Answers in the ways that its members ask for."""

    max_clients = 2

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: ClientData) -> None:
        if data == "close":
            self.close("enough")
        elif data == "close them":
            self.broadcast_command("close")
        else:
            self.broadcast_message(data)

    @on_message("typed")
    def typed(self, client: Member, data: int) -> None:
        self.broadcast("typed", data)

    @on_request("double")
    def double(self, client: Member, data: int) -> int:
        return 2 * data


class Home(Server):
    """Answers clients who are in no room."""

    def handle_response(self, protocol: str, data: Any, sender: Session, client_data: ClientData) -> None:
        sender.send(protocol, ["home", data])


@contextlib.contextmanager
def serving() -> Iterator[tuple[Any, int]]:
    with on_a_thread(Home(rooms={"echo": Echo})) as host:
        yield host, int(host.address.rpartition(":")[2])


class Loop(Client):
    """A client with a loop of its own, which keeps what comes."""

    match_timeout = PATIENCE

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.threads: set[threading.Thread] = set()
        self.ended: list[ServerRoomError | None] = []

    def handle_response(self, protocol: str, data: Any) -> None:
        self.got.append((protocol, data))
        self.threads.add(threading.current_thread())

    def room_closed(self, reason: ServerRoomError | None) -> None:
        self.ended.append(reason)

    def poll_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            self.poll(0.05)


def test_a_loop_of_its_own_polls() -> None:
    with serving() as (_, port):
        client = Loop()
        client.connect(LOCAL, port)
        try:
            assert client.running
            assert client.data.ID == 1
            client.send("message", "hello")
            client.poll_until(lambda: client.got)
            assert client.got == [("message", ["home", "hello"])]
            assert client.poll() == 0
            started = time.monotonic()
            assert client.poll(0.1) == 0
            assert 0.05 < time.monotonic() - started < 2.0

            client.send(Protocol.Request.ROOM_RULSET, RuleSet(1))
            client.poll_until(lambda: client.ready)
            client.send("typed", 3)
            client.send("message", "in the room")
            client.poll_until(lambda: ("message", "in the room") in client.got)
            assert ("typed", 3) in client.got
            assert client.threads == {threading.current_thread()}  # poll, and nobody else, calls the handler
            assert client.request("double", 21) == 42
            with pytest.raises(NoHandler):
                client.request("triple", 1)
            with pytest.raises(PayloadError):
                client.send("message", object())
            with pytest.raises(UsageError):
                client.send(Protocol.Request.ROOM_RULSET, RuleSet(1))
            with pytest.raises(UsageError):
                client.send(Protocol.Request.ROOM_RULSET, 2)

            client.leave()
            client.poll_until(lambda: client.ended)
            assert not client.ready
            client.leave()  # in no room: nothing to do
            with pytest.raises(UsageError):
                client.request("double", 1)
            client.send("message", "home again")
            client.poll_until(lambda: ("message", ["home", "home again"]) in client.got)
        finally:
            client.close()
        assert not client.running
        for attempt in (lambda: client.send("message", 1), lambda: client.request("double", 1), client.leave):
            with pytest.raises(ClientClosedError):
                attempt()
        client.close()


def test_a_room_that_closes_is_told_and_another_can_follow() -> None:
    with serving() as (_, port):
        client = Loop()
        client.connect(LOCAL, port)
        try:
            for _ in range(3):
                client.send(Protocol.Request.ROOM_RULSET, RuleSet(1))
                client.poll_until(lambda: client.ready)
                client.send("message", "close")
                client.poll_until(lambda: client.ended)
                (reason,) = client.ended
                assert isinstance(reason, RoomClosed)
                assert str(reason) == "enough"
                client.ended.clear()
            assert client.running
        finally:
            client.close()


def test_a_match_in_vain_is_told_too() -> None:
    with serving() as (_, port):
        client = Loop()
        client.match_timeout = 0.1
        client.connect(LOCAL, port)
        try:
            client.send(Protocol.Request.ROOM_RULSET, RuleSet(2))
            client.poll_until(lambda: client.ended)
            assert "no match" in str(client.ended[0])
            client.send(Protocol.Request.ROOM_RULSET, RuleSet(1))
            client.poll_until(lambda: client.ready)
        finally:
            client.close()


def test_the_servers_end_ends_it_without_a_room() -> None:
    with serving() as (host, port):
        client = Loop()
        client.connect(LOCAL, port)
        try:
            host._port._loop.call_soon_threadsafe(host.stop_soon)
            client.poll_until(lambda: not client.running)
            with pytest.raises(ServerRoomError, match="stopping"):
                client.send("message", 1)
        finally:
            client.close()


def test_a_broker_that_is_not_there_is_an_error_and_no_thread_stays() -> None:
    client = Loop()
    started = time.monotonic()
    with pytest.raises(BrokerUnreachable, match="no broker answered"):
        client.connect(LOCAL, free_port(), timeout=0.3)
    assert time.monotonic() - started < 1.5
    assert not client.running
    with serving() as (_, port):
        client.connect(LOCAL, port)  # and then one that is
        assert client.running
        client.close()


def test_a_client_that_reads_nothing_takes_bounded_room_and_reads_later() -> None:
    with serving() as (_, port):
        client = Loop()
        client.connect(LOCAL, port)
        try:
            client.send(Protocol.Request.ROOM_RULSET, RuleSet(1))
            client.poll_until(lambda: client.ready)
            for number in range(100):
                client.send("message", number)
            client.poll_until(lambda: client.got and client.got[-1] == ("message", 99))
            assert [data for name, data in client.got if name == "message"] == list(range(100))
        finally:
            client.close()


def test_a_slow_answer_is_a_timeout_and_not_the_end() -> None:
    class Sleepy(Echo):
        @on_request("sleep")
        async def sleep(self, client: Member, data: float) -> None:
            import asyncio

            await asyncio.sleep(data)

    with on_a_thread(Server(rooms={"sleepy": Sleepy})) as host:
        client = Loop()
        client.connect(LOCAL, int(host.address.rpartition(":")[2]))
        try:
            client.send(Protocol.Request.ROOM_RULSET, RuleSet(1))
            client.poll_until(lambda: client.ready)
            with pytest.raises(TimedOut):
                client.request("sleep", 0.3, timeout=0.05)
            assert client.request("double", 4) == 8
        finally:
            client.close()


def test_many_clients_in_one_program() -> None:
    with serving() as (_, port):
        several = [Loop() for _ in range(4)]
        try:
            for client in several:
                client.connect(LOCAL, port)
            assert len({client.data.ID for client in several}) == 4
            for client in several:
                client.send(Protocol.Request.ROOM_RULSET, RuleSet(2))
            for client in several:
                client.poll_until(lambda client=client: client.ready)  # type: ignore[misc]
        finally:
            for client in several:
                client.close()


# With run(), as a program of its own: its main() waits in input().


@contextlib.contextmanager
def program(port: int, **options: Any) -> Iterator[Program]:
    with Program(CLIENT, port, 5.0, **options) as running:
        running.prints("ready ")
        yield running


@pytest.mark.parametrize(
    ("line", "code", "ends_with"),
    [
        ("/quit", 0, "after run False\n"),
        ("/quit elsewhere", 0, "after run False\n"),
        ("/return", 0, "after run False\n"),
        ("quit here", 0, "after run False\n"),
        ("close them", 0, "after run False\n"),
        ("/exit", 7, ""),
        ("/raise", 1, ""),
    ],
)
def test_every_end_of_main_is_the_end_of_the_client(line: str, code: int, ends_with: str) -> None:
    with serving() as (host, port), program(port) as client:
        client.type("hello")
        client.prints("got message hello")
        client.type(line)
        ended, output, errors = client.ends()
        assert ended == code, errors
        assert output.endswith(ends_with)
        assert "never printed" not in output
        if code != 1:
            assert errors == ""
        else:
            assert errors.rstrip().endswith("ValueError: mine")
        deadline = time.monotonic() + PATIENCE
        while len(host.broker.sessions) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(host.broker.sessions) == 0


@pytest.mark.parametrize("ignore_sigint", [False, True], ids=["in the foreground", "in the background of a shell"])
def test_a_server_that_stops_ends_a_main_that_waits_for_input(ignore_sigint: bool) -> None:
    with serving() as (host, port), program(port, ignore_sigint=ignore_sigint) as client:
        host._port._loop.call_soon_threadsafe(host.stop_soon)
        code, _, errors = client.ends()
        assert code == 1
        assert errors.splitlines()[-1] == "error: the server is stopping"
        assert "Traceback" not in errors


def test_a_key_press_ends_it() -> None:
    with serving() as (_, port), program(port) as client:
        client.send(signal.SIGINT)
        code, output, errors = client.ends()
        assert (code, errors) == (0, "")
        assert output == "after run False\n"


def test_the_end_of_the_input_ends_it() -> None:
    with serving() as (_, port), program(port) as client:
        assert client.process.stdin is not None
        client.process.stdin.close()
        client.process.stdin = None
        code, output, errors = client.ends()
        assert (code, errors) == (0, "")
        assert output == "after run False\n"


def test_a_handler_that_raises_costs_one_message() -> None:
    with serving() as (_, port), program(port) as client:
        client.type("raise here")
        client.type("still there")
        client.prints("got message still there")
        client.type("/quit")
        code, _, errors = client.ends()
        assert code == 0
        assert "ValueError: in handle_response" in errors


def test_no_broker_is_one_line_and_exit_code_1() -> None:
    port = free_port()
    with Program(CLIENT, port, 0.4) as client:
        code, output, errors = client.ends()
    assert (code, output) == (1, "")
    assert errors.startswith(f"error: no broker answered at tcp://127.0.0.1:{port} within 0.")
    assert errors.count("\n") == 1


@pytest.mark.timeout(30)
def test_ctrl_c_while_it_connects_ends_it_at_once_and_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    beginning = threading.Timer(0.3, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    beginning.start()
    Client().run(LOCAL, free_port(), timeout=600.0)
    beginning.join()
    assert capsys.readouterr().err == ""
