"""A whole life of servers that ask who comes, at DEBUG: nothing secret is in any log, error, metric or command line."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from server_room_system import AsyncClient, AuthRefused, BrokerUnreachable, RuleSet, ServerRoomError, connect
from server_room_system.broker import passwords
from server_room_system.broker.passwords import set_password
from server_room_system.transport.key_files import add_authorised, make_key_files, read_key_pair
from server_room_system.transport.locks import key_to_text

from .cluster import Processes, free_ports, kill
from .proxy import Proxy
from .system import LOCAL, PATIENCE, on_a_loop, until
from .test_logs import OverheardNetwork, Secrets

APP = """\
import json
from server_room_system import AuthRefused, JwtVerifier, PasswordFile, Room, Server

verify = JwtVerifier(key=open("jwt-secret").read(), algorithms=["HS256"])
check = PasswordFile("users")

class Hall(Room):
    max_clients = 8
    min_clients = 0

class Stage(Hall):
    fanout = "topic"

class Game(Server):
    async def on_auth(self, credentials, peer):
        if credentials == "break":
            raise ValueError("a hook that raises")
        if isinstance(credentials, dict):
            return await check(credentials, peer)
        return (await verify(credentials, peer))["sub"]

server = Game(rooms={"hall": Hall, "stage": Stage})
"""
JWT_SECRET = "the-secret-that-tokens-are-signed-with-1234"
RIGHT, WRONG = "correct horse battery staple", "hunter2-hunter2"


class Everything(Secrets):
    """And what is known beforehand."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: set[str] = {JWT_SECRET, RIGHT, WRONG}

    def add_pair(self, path: Path) -> None:
        secret = read_key_pair(path).secret
        self.found.add(secret)
        self.texts.add(key_to_text(secret))

    def token(self, who: str, secret: str = JWT_SECRET, good_for: float = 600.0) -> str:
        made = jwt.encode({"sub": who, "exp": time.time() + good_for}, secret, "HS256")
        self.texts |= {made, made.rpartition(".")[2]}
        return made

    def forms(self) -> Iterator[str]:
        yield from super().forms()
        yield from self.texts


@pytest.fixture
def folder(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(passwords, "_COST", 10)  # as cheap as scrypt can be
    folder = processes.folder
    (folder / "app.py").write_text(APP)
    (folder / "jwt-secret").write_text(JWT_SECRET)
    set_password(folder / "users", "ada", RIGHT)
    for name in ("server", "ann", "eve"):
        make_key_files(folder, name)
    add_authorised(folder / "authorised", read_key_pair(folder / "ann.key").public, "ann")
    return folder


def _command_lines(processes: Processes) -> str:
    return "\n".join(json.dumps(command) for _, command in processes._alive())


def test_keys_tokens_and_passwords_stay_where_they_belong(
    processes: Processes, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secrets = Everything()
    for name in ("server", "ann", "eve"):
        secrets.add_pair(folder / f"{name}.key")
    server_key = key_to_text(read_key_pair(folder / "server.key").public)
    told: list[str] = []

    @on_a_loop
    async def run() -> None:
        port = free_ports(4)
        network = OverheardNetwork(secrets)

        def client(
            where: str, key: str = "ann", credentials: object = None, connect_timeout: float = PATIENCE
        ) -> AsyncClient:
            key_file = folder / f"{key}.key"
            return connect(
                where, network=network, server_key=server_key, key_file=key_file, credentials=credentials,
                connect_timeout=connect_timeout,
            )  # fmt: skip

        async def refused(attempt: AsyncClient, kind: type[ServerRoomError]) -> None:
            with pytest.raises(kind) as caught:
                async with attempt:
                    pass
            told.extend((str(caught.value), repr(caught.value)))

        broker = processes.serve(
            *("--workers", 1, "--keys", "server.key", "--authorised", "authorised", "--metrics-port", port + 3),
            port=port, target="app.py:server", level="debug",
        )  # fmt: skip
        address = await broker.listens()
        secrets.found.add(bytes.fromhex(json.loads(next(processes.state.iterdir()).read_text())["key"]))
        try:
            async with (
                Proxy(address) as proxy,
                client(proxy.address, credentials=lambda: secrets.token("ann")) as ann,
                client(address, credentials={"user": "ada", "password": RIGHT}) as ada,
            ):
                told.append(repr(ann))
                rooms = [await ann.create(RuleSet(8, room=kind)) for kind in ("hall", "stage")]
                for room in rooms:
                    other = await ada.join_by_id(room.id)
                    await other.send("message", "hello", ack=True)
                proxy.reset()
                await until(lambda: ann.connected)
                await refused(client(address, "eve", secrets.token("eve")), AuthRefused)
                await refused(client(address, credentials=secrets.token("old", good_for=-5.0)), AuthRefused)
                await refused(client(address, credentials=secrets.token("forged", "x" * 40)), AuthRefused)
                await refused(client(address, credentials={"user": "ada", "password": WRONG}), AuthRefused)
                await refused(client(address, credentials="break", connect_timeout=1.0), ServerRoomError)
                await refused(
                    connect(address, network=network, connect_timeout=0.5, credentials=secrets.token("no key")),
                    BrokerUnreachable,
                )
                loop = asyncio.get_running_loop()
                told.append(await loop.run_in_executor(None, _metrics, port + 3))
                told.append(_command_lines(processes))
                for pid in processes.launched().values():
                    kill(pid)
                await broker.says("it starts again in")
        finally:
            network.close()
        broker.process.terminate()
        assert await broker.ends() == 0
        told.extend((broker.log, caplog.text))

    run()
    assert "a hook that raises" in told[-2], "the log has what it is for"
    assert "was refused: the token has expired" in told[-2]
    assert len(secrets.found) > 10
    everything = "\n".join(told)
    for shown in secrets.forms():
        assert shown not in everything


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://{LOCAL}:{port}/metrics", timeout=PATIENCE) as answer:
        text: str = answer.read().decode()
    assert "srs_up_seconds" in text
    return text


def test_passwords_of_a_handshake_stay_where_they_belong(
    processes: Processes, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    (folder / "plain.py").write_text("from server_room_system import *\nserver = Server(MatchMaker())\n")
    told: list[str] = []

    @on_a_loop
    async def run() -> None:
        broker = processes.serve("--plain", "users", target="plain.py:server", level="debug")
        address = await broker.listens()
        async with connect(address, user="ada", password=RIGHT) as ada:
            told.append(repr(ada))
        for user, password in (("ada", WRONG), ("eve", RIGHT)):
            with pytest.raises(AuthRefused) as caught:
                async with connect(address, user=user, password=password):
                    pass
            told.extend((str(caught.value), repr(caught.value)))
        told.append(_command_lines(processes))
        broker.process.terminate()
        assert await broker.ends() == 0
        told.extend((broker.log, caplog.text))

    run()
    everything = "\n".join(told)
    hashed = (folder / "users").read_text().strip().rpartition("$")[2]
    for shown in (RIGHT, WRONG, hashed):
        assert shown not in everything
