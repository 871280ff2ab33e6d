"""``on_auth`` over real sockets, with workers in processes of their own, and brokers that are started anew."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from server_room_system import (
    AddressLimits,
    AsyncClient,
    AuthRefused,
    Client,
    CredentialsError,
    PasswordFile,
    Peer,
    RuleSet,
    Server,
    connect,
)
from server_room_system.broker import passwords
from server_room_system.broker.passwords import set_password
from server_room_system.rooms.addresses import SLOWED

from .cluster import SOURCES, Processes, free_ports
from .system import LOCAL, PATIENCE, Talk, on_a_loop, on_a_thread, until

APP = """\
from server_room_system import AuthRefused, JwtVerifier, Room, Server, on_request

class Hall(Room):
    max_clients = 8
    min_clients = 0
    reconnect_grace = 20.0

    @on_request("who")
    def who(self, client, data):
        return client.auth["sub"]

class Stage(Hall):
    fanout = "topic"

class Game(Server):
    on_auth = JwtVerifier(key="{secret}", algorithms=["HS256"])

    def handle_response(self, protocol, data, sender, client_data):
        sender.send("you", sender.auth["sub"])

server = Game(rooms={{"hall": Hall, "stage": Stage}})
"""
SECRET = "s" * 40


def token(who: str, good_for: float = 60.0) -> str:
    return jwt.encode({"sub": who, "exp": time.time() + good_for}, SECRET, "HS256")


@on_a_loop
async def test_workers_know_who_their_members_are_also_after_a_broker_that_was_killed(processes: Processes) -> None:
    app = processes.folder / "app.py"
    app.write_text(APP.format(secret=SECRET))
    port = free_ports()
    asked = 0

    def fresh() -> str:
        nonlocal asked
        asked += 1
        return token("ada")

    broker = processes.serve("--workers", 1, port=port, target=f"{app}:server")
    address = await broker.listens()
    async with connect(address, credentials=fresh) as ada, connect(address, credentials=token("bob")) as bob:
        room = await ada.create(RuleSet(8, room="hall"))
        assert await room.request("who") == "ada"
        with pytest.raises(AuthRefused, match="has expired"):
            async with connect(address, credentials=token("eve", -1.0)):
                pass
        broker.kill()
        await until(lambda: not (ada.connected or bob.connected))
        again = processes.serve("--workers", 1, port=port, target=f"{app}:server")
        await again.listens()
        async with asyncio.timeout(PATIENCE):
            while not (ada.connected and bob.connected):
                await asyncio.sleep(0.01)
            while room.id not in [each["room"] for each in await bob.rooms()]:  # the worker has not registered yet
                await asyncio.sleep(0.01)
        assert await room.request("who") == "ada"
        await bob.send("message", "who am I?", ack=True)
        assert (await bob.receive(PATIENCE)).data == "bob"
        other = await bob.join_by_id(room.id)
        assert await other.request("who") == "bob"
        assert asked <= 2
        assert "eyJ" not in broker.log + again.log


@on_a_loop
async def test_a_session_whose_token_has_expired_goes_on_until_its_broker_is_started_anew(processes: Processes) -> None:
    app = processes.folder / "app.py"
    app.write_text(APP.format(secret=SECRET))
    port = free_ports()
    broker = processes.serve(port=port, target=f"{app}:server")
    address = await broker.listens()
    async with connect(address, credentials=token("ada", 1.5)) as ada:
        await asyncio.sleep(2.0)
        await ada.send("message", "who am I?", ack=True)
        assert (await ada.receive(PATIENCE)).data == "ada"
        broker.kill()
        again = processes.serve(port=port, target=f"{app}:server")
        await again.listens()
        await until(lambda: ada.closed)
        assert isinstance(ada.error, AuthRefused)
        assert "has expired" in str(ada.error)


class Guarded(Server):
    """Takes one word."""

    def __init__(self, **options: Any) -> None:
        super().__init__(rooms={"talk": Talk}, **options)
        self.peers: list[Peer] = []

    async def on_auth(self, credentials: Any, peer: Peer) -> Any:
        self.peers.append(peer)
        await asyncio.sleep(0.01)
        if credentials != "word":
            raise AuthRefused("say the word")
        return credentials


@on_a_loop
async def test_many_are_asked_at_once() -> None:
    async with Guarded().listen(LOCAL, 0) as host:
        members = [AsyncClient(host.address, credentials="word", connect_timeout=PATIENCE) for _ in range(100)]
        await asyncio.gather(*(member.__aenter__() for member in members))
        assert all(member.connected for member in members)
        await asyncio.gather(*(member.close() for member in members))


async def guess(address: str) -> None:
    with pytest.raises(AuthRefused):
        async with connect(address, credentials="guess", connect_timeout=PATIENCE):
            pass


@on_a_loop
async def test_who_is_refused_again_and_again_is_slowed_down_and_gets_in_later() -> None:
    server = Guarded(address_limits=AddressLimits(exempt=(), longest_refusal=0.5))
    async with server.listen(LOCAL, 0) as host:
        book = host._port.book
        for _ in range(5):
            await guess(host.address)
        assert book.counts[SLOWED] == 0, "anybody may mistype"
        for _ in range(3):
            await guess(host.address)  # in the end: it comes back until it is heard
        assert book.counts[SLOWED] >= 1
        assert len(server.peers) == 8
        async with connect(host.address, credentials="word", connect_timeout=PATIENCE) as client:
            assert client.connected


def test_a_client_that_blocks_shows_credentials_as_well() -> None:
    class Quiet(Client):
        def main(self) -> None:
            self.sent = True

    with on_a_thread(Guarded()) as host:
        port = int(host.address.rpartition(":")[2])
        for credentials in ("word", lambda: "word"):
            client = Quiet()
            client.run(LOCAL, port, credentials=credentials)
            assert client.sent
        with pytest.raises(SystemExit, match="error: say the word"):
            Quiet().run(LOCAL, port)
        polling = Client()
        with pytest.raises(AuthRefused):
            polling.connect(LOCAL, port, credentials="wrong")

        def fail() -> str:
            raise OSError("no")

        with pytest.raises(CredentialsError):
            polling.connect(LOCAL, port, credentials=fail)
        polling.connect(LOCAL, port, credentials="word")
        polling.close()


@on_a_loop
async def test_a_file_of_passwords_as_on_auth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_COST", 10)
    set_password(tmp_path / "users", "ada", "correct horse")

    class Game(Server):
        on_auth = PasswordFile(tmp_path / "users")  # pyright: ignore[reportAssignmentType]

    server = Game()
    async with server.listen(LOCAL, 0) as host:
        async with connect(host.address, credentials={"user": "ada", "password": "correct horse"}):
            assert [session.auth for session in server.clients] == ["ada"]
        with pytest.raises(AuthRefused, match="not the password"):
            async with connect(host.address, credentials={"user": "ada", "password": "hunter2"}):
                pass


def test_a_server_that_everybody_reaches_says_what_to_do_in_two_lines() -> None:
    source = "from server_room_system import Server; Server().run('0.0.0.0', 0)"
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PYTHONPATH": SOURCES},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 2
    assert "insecure=True" in done.stderr
