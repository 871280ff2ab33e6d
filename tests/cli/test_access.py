"""``srs serve`` that asks who comes, and ``srs chat`` that shows it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from server_room_system.broker import passwords
from server_room_system.broker.passwords import set_password
from server_room_system.cli.exits import Exit
from server_room_system.transport.key_files import add_authorised, make_key_files, read_key_pair
from server_room_system.transport.locks import key_to_text

from .conftest import Result
from .programs import SRS, Program, environment, srs

APP = """\
from server_room_system import AuthRefused, Room, Server

class Talk(Room):
    max_clients = 2

    def handle_response(self, protocol, data, sender, client_data):
        self.broadcast(protocol, f"{sender.auth} said {data}")

class Asking(Server):
    def on_auth(self, credentials, peer):
        if credentials != {"token": "good"}:
            raise AuthRefused("who are you?")
        return "ada"

asking = Asking(rooms={"talk": Talk})
server = Server(rooms={"talk": Talk})
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(passwords, "_COST", 10)  # as cheap as scrypt can be
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def talk(folder: Path, server: list[str], *access: str, **more: str) -> Result:
    """What a line said by ``srs chat`` comes to, at a server that is started like this."""
    with Program([*SRS, "serve", *server, "--port", "0"], cwd=folder) as program:
        address = program.expect(r"listening on (\S+);")[1]
        done = srs("chat", address, "-n", "1", *access, cwd=folder, stdin="hello\n", env=environment(**more))
        program.write("close")
        assert program.wait() == Exit.OK
    return Result(done.returncode, done.stdout, done.stderr)


def test_keys_on_both_sides(folder: Path) -> None:
    for name in ("server", "ann", "eve"):
        make_key_files(folder, name)
    add_authorised(folder / "authorised", read_key_pair(folder / "ann.key").public, "ann")
    server_key = key_to_text(read_key_pair(folder / "server.key").public)
    server = ["app:server", "--keys", "server.key", "--authorised", "authorised"]
    code, out, _ = talk(folder, server, "--server-key", server_key, "--keys", "ann.key")
    assert (code, out.rpartition("> ")[2]) == (Exit.OK, "None said hello\n")
    code, out, err = talk(folder, server, "--server-key", server_key, "--keys", "eve.key")
    assert (code, out) == (Exit.REFUSED, "")
    assert "srs keys authorise" in err


def test_the_doctor_reaches_workers_behind_keys(folder: Path) -> None:
    for name in ("server", "ann"):
        make_key_files(folder, name)
    serve = [*SRS, "serve", "app:server", "--port", "0", "--keys", "server.key", "--workers", "1"]
    with Program(serve, cwd=folder) as program:
        address = program.expect(r"listening on (\S+);")[1]
        examined = srs("doctor", "--broker", address, "--server-key", "server.pub", "--keys", "ann.key", cwd=folder)
        assert examined.returncode == Exit.OK, examined.stdout
        assert "worker w1 answers" in examined.stdout
        program.write("close")
        assert program.wait() == Exit.OK


def test_a_name_and_a_password(folder: Path) -> None:
    set_password(folder / "users", "ada", "correct horse")
    server = ["app:server", "--plain", "users"]
    code, out, err = talk(folder, server, "--user", "ada", SRS_PASSWORD="correct horse")
    assert (code, out.rpartition("> ")[2]) == (Exit.OK, "ada said hello\n")
    assert "horse" not in err
    code, _, err = talk(folder, server, "--user", "ada", SRS_PASSWORD="wrong")
    assert code == Exit.REFUSED
    assert "user name or password" in err
    assert "wrong" not in err


def test_credentials_from_a_file(folder: Path) -> None:
    (folder / "good.json").write_text('{"token": "good"}')
    (folder / "bad.txt").write_text("a token that is no JSON\n")
    code, out, _ = talk(folder, ["app:asking"], "--credentials", "good.json")
    assert (code, out.rpartition("> ")[2]) == (Exit.OK, "ada said hello\n")
    code, _, err = talk(folder, ["app:asking"], "--credentials", "bad.txt")
    assert (code, "who are you?" in err) == (Exit.REFUSED, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--server-key", "nonsense"], "is no key"),
        (["--keys", "ann.key"], "give the server_key"),
        (["--credentials", "nothing"], "can't be read"),
    ],
)
def test_what_makes_no_sense(
    command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = command("chat", *options)
    assert (code, out) == (Exit.USAGE, "")
    assert says in err
