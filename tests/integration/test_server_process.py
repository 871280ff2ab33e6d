"""``Server.run`` as a program: how it is stopped, and how it fails to start."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from server_room_system import ServerStopping

from .programs import SOURCES, Program
from .system import LOCAL, clients, gathered, hear, on_a_loop, over, until

SERVER = """
import sys
from server_room_system import *

class Talk(Room):
    max_clients = 4

    def handle_response(self, protocol, data, sender, client_data):
        if data == "stop":
            server.stop()
        self.broadcast_message(data)

    def on_leave(self, client, reason):
        print("left", client.ID, int(reason), flush=True)

    def on_dispose(self):
        print("disposed", flush=True)

class MyServer(Server):
    def handle_response(self, protocol, data, sender, client_data):
        if data == "block":
            import time
            time.sleep(0.3)

server = MyServer(rooms={"talk": Talk})
server.run("127.0.0.1", int(sys.argv[1]))
print("after run", flush=True)
"""


def address_of(program: Program) -> str:
    """Where the server says that it listens."""
    line = program.prints("listening on tcp://")
    return line.split()[2].rstrip(";")


@pytest.mark.parametrize(
    "stop",
    [
        lambda program: program.send(signal.SIGINT),
        lambda program: program.send(signal.SIGTERM),
        lambda program: program.send(signal.SIGHUP),
        lambda program: program.type("close"),
        lambda program: program.type("what?\n  close  "),
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP", "close", "something else, then close"],
)
def test_it_stops_when_told_and_tells_its_clients_first(stop: Callable[[Program], None]) -> None:
    with Program(SERVER, 0) as program:
        address = address_of(program)

        @on_a_loop
        async def use() -> None:
            async with clients(address, 3) as (a, b, outside):
                at_a, at_b = await gathered(a, b)
                await at_a.send("message", "hello", ack=True)
                assert await hear(at_b) == "hello"
                stop(program)
                await over(at_a)
                await over(at_b)
                assert (type(at_a.error), type(at_b.error)) == (ServerStopping, ServerStopping)
                await until(lambda: a.closed and b.closed and outside.closed)
                assert {type(client.error) for client in (a, b, outside)} == {ServerStopping}

        use()
        code, output, errors = program.ends()
        assert (code, errors) == (0, "")
        assert output.splitlines()[-4:-1].count("disposed") == 1
        assert sorted(line for line in output.splitlines() if line.startswith("left")) == ["left 1 2000", "left 2 2000"]
        assert output.endswith("after run\n")


def test_it_stops_cleanly_when_its_terminal_is_closed(tmp_path: Path) -> None:
    ours, its = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", f"import os\nos.login_tty(os.dup(0))\n{SERVER}", "0"],
            stdin=its,
            stdout=its,
            stderr=its,
            env={**os.environ, "PYTHONPATH": SOURCES, "XDG_RUNTIME_DIR": str(tmp_path)},
        )
        os.close(its)
        said = b""
        while b"listening on" not in said:
            said += terminal.read(4096)
    try:
        process.wait(10.0)
    finally:
        process.kill()
        process.wait()
    assert process.returncode >= 0, f"ended by signal {-process.returncode}"
    assert list(tmp_path.rglob("*.json")) == []


def test_a_hook_can_stop_it() -> None:
    with Program(SERVER, 0) as program:
        address = address_of(program)

        @on_a_loop
        async def use() -> None:
            async with clients(address, 1) as (a,):
                (room,) = await gathered(a)
                await room.send("message", "stop")
                await over(room)
                assert type(room.error) is ServerStopping

        use()
        assert program.ends()[0] == 0


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, None], ids=["/dev/null", "closed"])
def test_it_runs_without_a_console(stdin: int | None) -> None:
    with Program(SERVER, 0, stdin=stdin) as program:
        address = address_of(program)

        @on_a_loop
        async def use() -> None:
            async with clients(address, 1) as (a,):
                (room,) = await gathered(a)
                await room.send("message", "hello", ack=True)
                assert await hear(room) == "hello"

        use()
        assert program.process.poll() is None
        program.send(signal.SIGTERM)
        code, _, errors = program.ends()
        assert (code, errors) == (0, "")


def test_it_runs_on_when_its_input_ends() -> None:
    with Program(SERVER, 0) as program:
        address = address_of(program)
        assert program.process.stdin is not None
        program.process.stdin.write(b"clos")  # without the end of the line
        program.process.stdin.close()
        program.process.stdin = None

        @on_a_loop
        async def use() -> None:
            async with clients(address, 1) as (a,):
                assert await a.rooms() == []

        use()
        program.send(signal.SIGINT)
        assert program.ends()[0] == 0


def test_a_second_signal_while_it_stops_changes_nothing() -> None:
    with Program(SERVER, 0) as program:
        address_of(program)
        program.send(signal.SIGTERM)
        program.send(signal.SIGINT)
        program.send(signal.SIGTERM)
        code, _, errors = program.ends()
        assert (code, errors) == (0, "")


@pytest.mark.parametrize(("host", "says"), [(LOCAL, "in use by another program"), ("192.0.2.1", "can't listen on")])
def test_a_port_that_cannot_be_had_is_one_line_and_exit_code_1(host: str, says: str) -> None:
    with socket.socket() as holder:
        holder.bind((LOCAL, 0))
        holder.listen()
        port = holder.getsockname()[1]
        opened = SERVER.replace('"127.0.0.1", int(sys.argv[1])', f'"{host}", int(sys.argv[1]), insecure=True')
        with Program(opened, port) as program:
            code, output, errors = program.ends()
    assert (code, output) == (1, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert says in errors
    assert f"{host}:{port}" in errors
    assert "Traceback" not in errors


def test_a_killed_servers_port_can_be_taken_at_once() -> None:
    with Program(SERVER, 0) as first:
        address = address_of(first)

        @on_a_loop
        async def use() -> None:
            async with clients(address, 1, reconnect_timeout=0.1) as (a,):
                await gathered(a)
                first.process.kill()
                await until(lambda: a.closed)

        use()
        first.ends()
        with Program(SERVER, address.rpartition(":")[2]) as second:
            assert address_of(second) == address
            second.send(signal.SIGINT)
            assert second.ends()[0] == 0
