"""Commands run in the test's own process, and one server for those that need one."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from server_room_system.cli.app import run

from .programs import SRS, Program

__all__ = ["APP", "Result"]

APP = """\
from server_room_system import MatchMaker, Protocol, Room, Server


class Talk(Room):
    presence = True

    def on_create(self, options):
        self.metadata = {"topic": "zero \\x1b[31mred"}

    def handle_response(self, protocol, data, sender, client_data):
        if protocol == Protocol.Response.MESSAGE:
            self.broadcast_message(f"<{client_data.ID}> {data}")
        else:
            sender.send("echo", [protocol, data])


class TalkServer(Server):
    def handle_response(self, protocol, data, sender, client_data):
        sender.send(Protocol.Response.MESSAGE, f"the server heard {data}")


server = TalkServer(rooms={"talk": Talk})
"""


class Result(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """The commands configure the root logger: that is theirs to do in a process of their own only."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run ``srs`` with arguments in this process."""

    def run_command(*arguments: str) -> Result:
        capsys.readouterr()
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return Result(code, str(out), str(err))

    return run_command


@pytest.fixture
def imports_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder to import from, which is the working directory; afterwards nothing of it is left imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server for this module's tests listens: ``srs serve`` runs it."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "app.py").write_text(APP, encoding="utf-8")
    with Program([*SRS, "serve", "app:server", "--port", "0"], cwd=folder) as server:
        yield server.expect(r"listening on (\S+);")[1]
        server.write("close")
        assert server.wait() == 0
