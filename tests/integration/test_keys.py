"""Clients with keys and passwords: who gets in, and what those are told who don't."""

from pathlib import Path

import pytest

from server_room_system import (
    AuthRefused,
    BrokerUnreachable,
    Client,
    ConfigError,
    PasswordFile,
    Peer,
    RuleSet,
    Server,
    connect,
)
from server_room_system.broker import passwords
from server_room_system.broker.passwords import set_password
from server_room_system.transport.key_files import add_authorised, make_key_files, read_key_pair
from server_room_system.transport.locks import key_to_text

from .system import LOCAL, Talk, hear, on_a_loop, on_a_thread


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(passwords, "_COST", 10)  # as cheap as scrypt can be
    for name in ("server", "ann", "eve"):
        make_key_files(tmp_path, name)
    add_authorised(tmp_path / "authorised", read_key_pair(tmp_path / "ann.key").public, "ann")
    set_password(tmp_path / "users", "ada", "correct horse")
    return tmp_path


def public(path: Path) -> str:
    return key_to_text(read_key_pair(path).public)


@on_a_loop
async def test_an_authorised_client_gets_in_and_others_are_told_why_not(folder: Path) -> None:
    server = Server(rooms={"talk": Talk})
    server_key = public(folder / "server.key")
    async with server.listen(LOCAL, 0, keys=folder / "server.key", authorised=folder / "authorised") as host:
        async with connect(host.address, server_key=server_key, key_file=folder / "ann.key") as ann:
            room = await ann.create(RuleSet(1, room="talk"))
            await room.send("message", "hello")
            assert await hear(room) == [ann.id, "hello"]
        for key_file in (folder / "eve.key", None):
            with pytest.raises(AuthRefused, match="refused this client's key"):
                async with connect(host.address, server_key=server_key, key_file=key_file):
                    pass
        with pytest.raises(BrokerUnreachable, match="is the server_key its own"):
            async with connect(host.address, server_key=public(folder / "eve.key"), connect_timeout=1.0):
                pass
        with pytest.raises(BrokerUnreachable):
            async with connect(host.address, connect_timeout=1.0):
                pass
        add_authorised(folder / "authorised", read_key_pair(folder / "eve.key").public, "eve")
        async with connect(host.address, server_key=server_key, key_file=folder / "eve.key") as eve:
            assert eve.connected


@on_a_loop
async def test_on_auth_hears_of_the_key_and_a_session_is_bound_to_it(folder: Path) -> None:
    peers: list[Peer] = []

    class Game(Server):
        def on_auth(self, credentials: object, peer: Peer) -> object:
            peers.append(peer)
            return peer.key

    server = Game(rooms={"talk": Talk})
    server_key = public(folder / "server.key")
    async with server.listen(LOCAL, 0, keys=str(folder / "server.key")) as host:
        async with connect(host.address, server_key=server_key, key_file=folder / "ann.key"):
            assert peers == [Peer(LOCAL, public(folder / "ann.key"), None)]
            assert server.clients[0].auth == public(folder / "ann.key")
        async with connect(host.address, server_key=server_key) as guest:
            assert guest.connected
            assert peers[-1].key not in (None, peers[0].key)


@on_a_loop
async def test_a_client_with_a_key_of_a_server_that_has_none_is_told_so(folder: Path) -> None:
    async with Server().listen(LOCAL, 0) as host:
        with pytest.raises(BrokerUnreachable):
            async with connect(host.address, server_key=public(folder / "server.key"), connect_timeout=1.0):
                pass


@on_a_loop
async def test_names_and_passwords_at_the_handshake(folder: Path) -> None:
    server = Server(rooms={"talk": Talk})
    async with server.listen(LOCAL, 0, plain=folder / "users") as host:
        async with connect(host.address, user="ada", password="correct horse") as ada:
            assert [session.auth for session in server.clients] == ["ada"]
            room = await ada.create(RuleSet(1, room="talk"))
            assert room.joined
        for user, password in (("ada", "hunter2"), ("eve", "correct horse")):
            with pytest.raises(AuthRefused, match="user name or password"):
                async with connect(host.address, user=user, password=password):
                    pass
        with pytest.raises(BrokerUnreachable):
            async with connect(host.address, connect_timeout=1.0):
                pass


@on_a_loop
async def test_passwords_as_credentials_on_an_encrypted_port(folder: Path) -> None:
    class Game(Server):
        on_auth = PasswordFile(folder / "users")  # pyright: ignore[reportAssignmentType]

    async with Game().listen(LOCAL, 0, keys=folder / "server.key") as host:
        server_key = public(folder / "server.key")
        ada = {"user": "ada", "password": "correct horse"}
        async with connect(host.address, server_key=server_key, credentials=ada) as client:
            assert client.connected


def test_a_client_that_blocks_has_keys_as_well(folder: Path) -> None:
    class Quiet(Client):
        def main(self) -> None:
            self.sent = True

    server_key = public(folder / "server.key")
    server = Server()
    with on_a_thread(server, keys=folder / "server.key", authorised=folder / "authorised") as host:
        port = int(host.address.rpartition(":")[2])
        quiet = Quiet()
        quiet.run(LOCAL, port, server_key=server_key, key_file=folder / "ann.key")
        assert quiet.sent
        with pytest.raises(SystemExit, match="refused this client's key"):
            Quiet().run(LOCAL, port, server_key=server_key, key_file=str(folder / "eve.key"))
        polling = Client()
        polling.connect(LOCAL, port, server_key=server_key, key_file=folder / "ann.key")
        polling.close()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"server_key": "no key"}, "is no key"),
        ({"key_file": "ann.key"}, "give the server_key"),
        ({"user": "ada"}, "go together"),
        ({"password": "x"}, "go together"),
        ({"user": "", "password": "x"}, "printable"),
        ({"server_key": "0" * 40, "user": "ada", "password": "x"}, "either keys or passwords"),
        ({"server_key": "0" * 40, "key_file": "/nowhere/ann.key"}, "can't be read"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(given: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        connect("tcp://127.0.0.1:1", **given)  # type: ignore[arg-type]
    client = Client()
    with pytest.raises(ConfigError, match=says):
        client.connect(LOCAL, 1, **given)  # type: ignore[arg-type]
