"""A cluster whose ports all encrypt: worker processes, a topic room, administrators, and who has no business there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from server_room_system import AsyncClient, AuthRefused, BrokerUnreachable, RuleSet, SessionUnknown, connect
from server_room_system.cli.admin import AdminClient, BrokerPass, broker_pass
from server_room_system.protocol import messages
from server_room_system.protocol.errors import ReservationRefused, WrongKey
from server_room_system.transport import CurveKey, Failure, Key, KeyPair, ZmqNetwork
from server_room_system.transport.key_files import add_authorised, make_key_files, read_key_pair
from server_room_system.transport.locks import key_to_text, split_endpoint

from .bots import talking
from .cluster import PATIENCE, Broker, Processes, free_ports, workers_address
from .lines import Line
from .system import gathered, on_a_loop

APP = """\
from server_room_system import Room, Server, on_message


class Hall(Room):
    max_clients = 8
    min_clients = 0

    @on_message("say")
    def say(self, client, data):
        self.broadcast("said", [client.id, data])


class Stage(Hall):
    fanout = "topic"


server = Server(rooms={"hall": Hall, "stage": Stage})
"""


class Folk:
    """The keys of a test, in files."""

    def __init__(self, folder: Path) -> None:
        for name in ("server", "ann", "bob", "eve"):
            make_key_files(folder, name)
        self.folder = folder
        self.authorised = folder / "authorised"
        for name in ("ann", "bob"):
            self.authorise(name)
        self.server_key = key_to_text(self.pair("server").public)

    def pair(self, name: str) -> KeyPair:
        return read_key_pair(self.folder / f"{name}.key")

    def authorise(self, name: str) -> None:
        add_authorised(self.authorised, self.pair(name).public, name)

    def client(self, address: str, name: str | None, **options: Any) -> AsyncClient:
        key_file = self.folder / f"{name}.key" if name is not None else None
        return connect(address, server_key=self.server_key, key_file=key_file, **options)

    def key(self, name: str) -> Key:
        return CurveKey(self.pair("server").public, self.pair(name))

    def secrets(self) -> list[str]:
        pairs = [self.pair(name) for name in ("server", "ann", "bob", "eve")]
        return [text for pair in pairs for text in (key_to_text(pair.secret), pair.secret.hex(), repr(pair.secret))]


@contextlib.asynccontextmanager
async def behind_keys() -> AsyncIterator[Callable[[str, Key], Coroutine[Any, Any, Line]]]:
    """Makes connections of the protocol itself, with keys."""
    network, made = ZmqNetwork(), list[Line]()

    async def line_to(address: str, key: Key) -> Line:
        made.append(Line(network, address, key))
        async with asyncio.timeout(PATIENCE):
            await made[-1].ready.wait()
        return made[-1]

    try:
        yield line_to
    finally:
        for line in made:
            line.link.close()
        await network.end()


async def fails(address: str, key: Key | None) -> Failure | None:
    """Why nobody gets in there with this key."""
    network = ZmqNetwork()
    try:
        line = Line(network, address, key)
        async with asyncio.timeout(PATIENCE):
            await line.heard.get()
        assert not line.ready.is_set()
        return line.link.failure
    finally:
        await network.end()


@pytest.fixture(scope="module")
def folk(tmp_path_factory: pytest.TempPathFactory) -> Folk:
    return Folk(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def system(folk: Folk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Processes, Broker, str]]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "app.py").write_text(APP)
    with Processes(folder) as processes:
        options = ("--workers", 2, "--keys", folk.folder / "server.key", "--authorised", folk.authorised)
        broker = processes.serve(*options, port=free_ports(), target=f"{folder}/app.py:server", level="debug")
        yield processes, broker, asyncio.run(broker.listens())


System = tuple[Processes, Broker, str]


@on_a_loop
async def test_rooms_on_workers_and_topic_rooms_live_behind_keys(system: System, folk: Folk) -> None:
    processes, broker, address = system
    async with folk.client(address, "ann") as ann, folk.client(address, "bob") as bob:
        for room_type in ("hall", "stage"):
            rooms = await gathered(ann, bob, room=room_type)
            async with talking([ann, bob], rooms) as talk:
                await talk.flows()
                await talk.finish()
            for room in rooms:
                await room.leave()
        endpoints = await ann.endpoints()
    assert len(endpoints) == 2
    keys = {split_endpoint(endpoint)[1] for endpoint in endpoints}
    assert None not in keys
    assert len(keys) == 2, "each worker has a key of its own"
    said = broker.log + "".join(path.read_text() for path in processes.folder.rglob("*.log"))
    assert not any(secret in said for secret in folk.secrets())


@on_a_loop
async def test_who_has_not_the_right_keys_is_told_why_and_does_not_get_in(system: System, folk: Folk) -> None:
    _, _, address = system
    with pytest.raises(AuthRefused, match="refused this client's key"):
        await folk.client(address, "eve").__aenter__()
    with pytest.raises(AuthRefused, match="refused this client's key"):
        await folk.client(address, None).__aenter__()
    wrong = key_to_text(folk.pair("eve").public)
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "give its server_key"),
        ({"server_key": wrong, "key_file": folk.folder / "ann.key"}, "server_key its own"),
        ({"user": "ann", "password": "secret"}, "no user name and password"),
    ]
    for options, why in cases:
        with pytest.raises(BrokerUnreachable, match=why):
            await connect(address, connect_timeout=0.5, **options).__aenter__()


@on_a_loop
async def test_a_seat_that_was_stolen_opens_nothing_for_another_key(system: System, folk: Folk) -> None:
    _, _, address = system
    async with behind_keys() as line_to:
        broker = await line_to(address, folk.key("ann"))
        welcome = await broker.hello()
        broker.say(messages.Create(welcome.ref, 2, RuleSet(8, room="hall").to_wire(), {}))
        seat = await broker.hear(messages.Assigned)
        endpoint, worker_key = split_endpoint(seat.endpoint)
        assert worker_key is not None
        to_worker = {name: CurveKey(worker_key, folk.pair(name)) for name in ("ann", "bob", "eve")}
        for name in ("bob", "eve"):
            other = await line_to(endpoint, to_worker[name])
            other.say(messages.Join(3, seat.room, seat.reservation, {}))
            assert (await other.hear(messages.Error)).code == ReservationRefused.code
        own = await line_to(endpoint, to_worker["ann"])
        joined = await own.join(seat, 3)
        thief = await line_to(endpoint, to_worker["bob"])
        thief.say(messages.Recover(4, seat.room, joined.token, joined.epoch, joined.offset, joined.direct))
        assert (await thief.hear(messages.Error)).code == ReservationRefused.code
        own.say(messages.Send(joined.ref, 1, "say", "still mine"))
        assert "still mine" in str(await own.hear(messages.Deliver))
        thief = await line_to(address, folk.key("bob"))
        thief.say(messages.Resume(5, [1], welcome.session, welcome.token, 0))
        assert (await thief.hear(messages.Goodbye)).code == SessionUnknown.code


@on_a_loop
async def test_administrators_need_the_cluster_key_and_nothing_else(
    system: System, folk: Folk, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes, _, address = system
    monkeypatch.setenv("XDG_RUNTIME_DIR", processes.environment["XDG_RUNTIME_DIR"])
    found = broker_pass(address, None, None)
    assert found.server == folk.pair("server").public
    async with AdminClient(address, found) as admin:
        assert len((await admin.command("workers"))["workers"]) == 2
    with pytest.raises(WrongKey):
        await AdminClient(address, BrokerPass(bytes(32), found.server), 2.0).__aenter__()
    with pytest.raises(BrokerUnreachable, match="give its server_key"):
        await AdminClient(address, BrokerPass(found.cluster), 0.5).__aenter__()


@on_a_loop
async def test_at_the_workers_address_nobody_gets_in_without_the_cluster_key(system: System, folk: Folk) -> None:
    processes, _, address = system
    where = workers_address(int(address.rpartition(":")[2]))
    for name in ("ann", "eve"):
        assert (await fails(where, folk.key(name))) is Failure.REFUSED
    assert (await fails(where, None)) is Failure.LOCKED
    key_file = processes.folder / "another"
    key_file.write_text("1" * 64)
    key_file.chmod(0o600)
    options = ("--key-file", key_file, "--broker-key", folk.server_key)
    worker = processes.worker(where, *options, target=f"{processes.folder}/app.py:server")
    assert await worker.ends() != 0
    assert "give --key-file the cluster key" in worker.log
