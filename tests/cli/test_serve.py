"""``srs serve``: in a process of its own, as it is used."""

import signal
import socket
from pathlib import Path

import pytest

from server_room_system.cli.exits import Exit

from .conftest import APP
from .programs import SRS, Program, srs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "bare.py").write_text("from server_room_system import Server\nserver = Server()\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("how", ["close", "SIGINT", "SIGTERM"])
def test_it_serves_until_told_to_stop(folder: Path, how: str) -> None:
    with Program([*SRS, "serve", "app.py:server", "--port", "0"], cwd=folder) as server:
        address = server.expect(r"listening on (tcp://127\.0\.0\.1:\d+)")[1]
        assert srs("rooms", address).stdout == f"no rooms at {address}\n"
        if how == "close":
            server.write("close")
        else:
            server.process.send_signal(getattr(signal, how))
        assert server.wait() == Exit.OK
        assert "Traceback" not in server.output


def test_a_busy_port_has_an_exit_code_of_its_own(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = srs("serve", "app:server", "--port", str(port), cwd=folder)
    assert done.returncode == Exit.IN_USE
    assert done.stderr == (
        f"error: tcp://127.0.0.1:{port} is in use by another program. Stop that one, or choose another port.\n"
    )


def test_an_address_of_another_machine_is_wrong_usage(folder: Path) -> None:
    done = srs("serve", "app:server", "--host", "192.0.2.1", "--port", "0", "--insecure", cwd=folder)
    assert done.returncode == Exit.USAGE
    assert done.stderr.count("can't listen on") == 1
    assert "192.0.2.1" in done.stderr


def test_an_address_for_everybody_needs_somebody_who_asks(folder: Path) -> None:
    done = srs("serve", "app:server", "--host", "0.0.0.0", "--port", "0", cwd=folder)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert done.stderr.count("\n") == 2
    assert "--insecure" in done.stderr


def test_logging_is_configured(folder: Path) -> None:
    with Program([*SRS, "serve", "app", "--port", "0", "--log-level", "info"], cwd=folder) as server:
        server.expect("INFO .*server_room_system.*listening on")
        server.expect("listening on .*; type close")
        server.write("close")
        assert server.wait() == Exit.OK


def test_a_server_without_rooms_is_warned_of(folder: Path) -> None:
    with Program([*SRS, "serve", "bare", "--port", "0"], cwd=folder) as server:
        server.expect("WARNING .*nobody will get into a room")
        server.expect("listening on")
        server.write("close")
        assert server.wait() == Exit.OK
