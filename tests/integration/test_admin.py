"""Administering a cluster of real processes: top, rooms, inspect, kick, close, drain, doctor."""

import asyncio
import json
import signal
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server_room_system import AsyncClient, BrokerUnreachable, ClientRoom, Kicked, RoomClosed, TimedOut
from server_room_system.cli.admin import AdminClient, BrokerPass, broker_pass
from server_room_system.protocol.errors import RoomNotFound, WorkerDrained, WrongKey

from .cluster import LOCAL, PATIENCE, Broker, Processes, free_ports, workers_address
from .commands import Terminal, srs
from .proxy import Proxy
from .system import clients, gathered, hear, on_a_loop

OTHER_KEY = "ab" * 32
APP = """\
from server_room_system import Room, Server

class Hall(Room):
    max_clients = 8
    min_clients = 0
    message_rate = None

server = Server(rooms={"hall": Hall})
"""


def a_server(processes: Processes, *options: object, port: int = 0) -> Broker:
    """A server of one process."""
    (processes.folder / "app.py").write_text(APP)
    return processes.serve(*options, port=port, target="app.py:server")


@asynccontextmanager
async def a_cluster(
    processes: Processes, *options: object
) -> AsyncIterator[tuple[Broker, str, AsyncClient, AsyncClient, list[ClientRoom]]]:
    """A broker with two workers, its address, and two clients in one hall."""
    broker = processes.serve("--workers", 2, *options)
    address = await broker.listens()
    await broker.says("worker w1 registered")
    await broker.says("worker w2 registered")
    async with clients(address, 2) as (a, b):
        yield broker, address, a, b, await gathered(a, b, room="hall")


async def ended(room: ClientRoom) -> Any:
    """Why a room is over for us."""
    async with asyncio.timeout(PATIENCE):
        async for _ in room:
            pass
    return room.error


@on_a_loop
async def test_rooms_are_listed_inspected_and_their_members_kicked(processes: Processes) -> None:
    async with a_cluster(processes) as (_, address, a, b, rooms):
        room = rooms[0].id
        await rooms[0].send("say", "hello", ack=True)

        listed = json.loads((await srs(processes, "rooms", address, "--json")).out)
        assert [(one["room"], one["type"], one["clients"]) for one in listed] == [(room, "hall", 2)]
        worker = listed[0]["worker"]
        assert worker in ("w1", "w2")
        code, out, err = await srs(processes, "rooms", address)
        assert (code, err) == (0, "")
        assert out.splitlines()[0].split() == ["ROOM", "TYPE", "MEMBERS", "LOCKED", "WORKER"]
        assert out.splitlines()[1].split() == [room, "hall", "2/8", worker]

        code, out, err = await srs(processes, "inspect", room[:6], "--address", address)
        assert (code, err) == (0, "")
        assert out.startswith(f"room {room}\n")
        assert f"worker    {worker}" in out
        assert "1 broadcast" in out
        inspected = json.loads((await srs(processes, "inspect", room, "--address", address, "--json")).out)
        assert [(one["client"], one["state"]) for one in inspected["members"]] == [(a.id, "joined"), (b.id, "joined")]

        done = await srs(processes, "kick", room[:6], b.id, "--text", "be nice", "--address", address)
        assert (done.code, done.out, done.err) == (0, f"client {b.id} is removed from room {room}\n", "")
        error = await ended(rooms[1])
        assert isinstance(error, Kicked)
        assert error.text == "be nice"
        assert rooms[0].joined

        code, out, err = await srs(processes, "kick", room, b.id, "--address", address)
        assert (code, out, err) == (5, "", f"error: client {b.id} is not in room {room}\n")


@on_a_loop
async def test_a_room_is_closed_and_its_members_read_why(processes: Processes) -> None:
    async with a_cluster(processes) as (_, address, _, _, rooms):
        done = await srs(processes, "close", rooms[0].id[:5], "--text", "maintenance", "--address", address, "--json")
        assert (done.code, json.loads(done.out)) == (0, {"room": rooms[0].id})
        for room in rooms:
            error = await ended(room)
            assert isinstance(error, RoomClosed)
            assert error.text == "maintenance"
        # The worker tells its members, and then the broker.
        while (await srs(processes, "rooms", address)).out != f"no rooms at {address}\n":
            await asyncio.sleep(0.05)
        code, out, err = await srs(processes, "inspect", rooms[0].id, "--address", address)
        assert (code, out) == (5, "")
        assert err == f"error: no room has the id {rooms[0].id!r}, nor one that begins so\n"


@on_a_loop
async def test_a_drained_worker_is_waited_for_and_one_of_its_name_comes_after_it(processes: Processes) -> None:
    async with a_cluster(processes) as (_, address, _, _, rooms):
        (listed,) = json.loads((await srs(processes, "rooms", address, "--json")).out)
        name = listed["worker"]
        before = processes.launched()[name]
        code, out, err = await srs(processes, "drain", name, "--within", 1, "--wait", "--address", address)
        assert (code, out) == (0, f"worker {name} is gone\n")
        assert f"worker {name} is draining, rooms left: 1\n" in err
        assert [type(await ended(room)) for room in rooms] == [WorkerDrained, WorkerDrained]
        async with AdminClient(address, processes_key(processes, address)) as admin:
            while name not in {one["name"] for one in (await admin.command("workers"))["workers"]}:
                await asyncio.sleep(0.05)
        assert processes.launched()[name] != before

        code, out, err = await srs(processes, "drain", "nobody", "--address", address)
        assert (code, out) == (5, "")
        assert err.startswith("error: no worker is named 'nobody'; there are: w")


def processes_key(processes: Processes, address: str) -> BrokerPass:
    """The key that the broker keeps."""
    (state,) = processes.state.iterdir()
    return broker_pass(address, state, None)


@on_a_loop
async def test_top_shows_everything_once_where_there_is_no_terminal(processes: Processes) -> None:
    async with a_cluster(processes) as (_, address, _, _, rooms):
        await rooms[0].send("say", "x", ack=True)
        told = json.loads((await srs(processes, "top", address, "--json")).out)
        assert (told["address"], told["sessions"], told["rooms"]) == (address, 2, 1)
        assert sorted(one["name"] for one in told["workers"]) == ["w1", "w2"]
        assert {one["pid"] for one in told["workers"]} == set(processes.launched().values())
        assert sum(one["seats"] for one in told["workers"]) == 2
        while not all(one["rss"] > 1_000_000 for one in (told["broker"], *told["workers"])):  # each second
            told = json.loads((await srs(processes, "top", address, "--json")).out)
        code, out, err = await srs(processes, "top", address, COLUMNS="80")
        assert (code, err) == (0, "")
        assert max(map(len, out.splitlines())) <= 80
        assert "clients 2   rooms 1   seats 2" in out
        assert [line.split()[:2] for line in out.splitlines()[-2:]] == [["w1", "serving"], ["w2", "serving"]]


@on_a_loop
async def test_a_server_of_one_process_shows_its_own_load(processes: Processes) -> None:
    address = await a_server(processes).listens()
    async with clients(address, 2) as (a, b):
        rooms = await gathered(a, b, room="hall")

        async def chatter() -> None:
            while True:
                await rooms[0].send("say", "x", ack=True)

        talking = asyncio.ensure_future(chatter())
        try:
            while True:
                told = json.loads((await srs(processes, "top", address, "--json")).out)
                (worker,) = told["workers"]
                if worker["messages"] > 10 and worker["cpu"] > 0 and worker["rss"] > 1_000_000 and worker["lag"] > 0:
                    break
        finally:
            talking.cancel()
        assert (worker["name"], worker["rooms"], worker["seats"]) == ("local", 1, 2)
        assert told["broker"]["messages"] == worker["messages"]


@on_a_loop
async def test_top_follows_a_broker_says_when_it_is_away_and_ends_when_it_stays_away(processes: Processes) -> None:
    port = free_ports()
    broker = a_server(processes, port=port)
    address = await broker.listens()
    with Terminal(processes, "top", address, "--timeout", 3) as top:
        await top.shows("local")
        broker.kill()
        await top.shows("trying again")
        broker = a_server(processes, port=port)
        await broker.listens()
        await top.shows("up 1 s")
        broker.kill()
        assert await top.ends() == 3
        assert f"no broker answered at {address}" in top.shown


@pytest.mark.parametrize("how", ["q", "SIGINT"])
def test_top_ends_when_asked_and_leaves_the_terminal_as_it_was(processes: Processes, how: str) -> None:
    @on_a_loop
    async def run() -> None:
        address = await a_server(processes).listens()
        with Terminal(processes, "top", address) as top:
            before = top.settings()
            await top.shows("local")
            assert not top.settings()[3] & termios.ICANON
            if how == "q":
                top.press(b"q")
            else:
                top.process.send_signal(signal.SIGINT)  # as Ctrl-C does
            assert await top.ends() == 0
            assert top.settings()[3] & termios.ICANON
            assert top.settings()[3] == before[3]
            assert "Traceback" not in top.shown

    run()


@on_a_loop
async def test_a_wrong_key_is_told_by_every_command(processes: Processes) -> None:
    address = await a_server(processes).listens()
    for command in (
        ["top", address],
        ["rooms", address],
        ["inspect", "abcd", "--address", address],
        ["kick", "abcd", 1, "--address", address],
        ["close", "abcd", "--address", address],
        ["drain", "w1", "--address", address],
    ):
        code, out, err = await srs(processes, *command, SRS_KEY=OTHER_KEY)
        assert (code, out) == (5, ""), err
        assert err == "error: the broker has another cluster key: give --key-file the one that it was started with.\n"
        assert OTHER_KEY not in err


@on_a_loop
async def test_without_a_key_rooms_shows_what_clients_see_and_the_others_say_where_they_looked(
    processes: Processes,
) -> None:
    elsewhere = {"XDG_RUNTIME_DIR": str(processes.folder)}
    async with a_cluster(processes) as (_, address, _, _, rooms):
        code, out, err = await srs(processes, "rooms", address, "--json", **elsewhere)
        assert code == 0
        assert err.startswith(
            "as a client sees them: there is no cluster key: no --key-file, no SRS_KEY, and no broker"
        )
        assert [(one["room"], "worker" in one) for one in json.loads(out)] == [(rooms[0].id, False)]
        code, out, err = await srs(processes, "top", address, **elsewhere)
        assert (code, out) == (2, "")
        assert err.startswith("error: there is no cluster key: no --key-file, no SRS_KEY, and no broker")
        code, out, err = await srs(processes, "rooms", address, "--key-file", "nowhere")
        assert (code, out) == (2, "")
        assert "nowhere" in err


@on_a_loop
async def test_a_key_of_one_s_own_lets_others_in_who_have_it(processes: Processes) -> None:
    key = processes.folder / "key"
    key.write_text(f"{OTHER_KEY}\n")
    key.chmod(0o600)
    address = await a_server(processes, "--key-file", key).listens()
    elsewhere = {"XDG_RUNTIME_DIR": str(processes.folder)}
    for done in (
        await srs(processes, "top", address, "--key-file", key, **elsewhere),
        await srs(processes, "top", address, SRS_KEY=OTHER_KEY, **elsewhere),
    ):
        assert (done.code, done.err) == (0, "")


@on_a_loop
async def test_nobody_at_the_address(processes: Processes) -> None:
    address = f"tcp://{LOCAL}:{free_ports()}"
    code, out, err = await srs(processes, "top", address, "--timeout", 0.5, SRS_KEY=OTHER_KEY)
    assert (code, out) == (3, "")
    assert err.startswith(f"error: no broker answered at {address} within 0.5 s")


@on_a_loop
async def test_the_workers_address_is_told_apart_from_the_clients(processes: Processes) -> None:
    port = free_ports()
    await processes.serve("--workers", 0, port=port).listens()
    code, _, err = await srs(processes, "top", workers_address(port), "--timeout", 2, SRS_KEY=OTHER_KEY)
    assert code == 5
    assert "address for workers" in err


@on_a_loop
async def test_a_broker_that_stands_still_or_dies_is_a_typed_error(processes: Processes) -> None:
    broker = a_server(processes)
    address = await broker.listens()
    key = processes_key(processes, address)
    async with AdminClient(address, key, 1.0) as admin:
        assert (await admin.command("workers"))["sessions"] == 0
        with pytest.raises(RoomNotFound):
            await admin.command("inspect", room="no such room")
        broker.send(signal.SIGSTOP)
        with pytest.raises(TimedOut):
            await admin.command("workers")
        with pytest.raises(BrokerUnreachable):
            async with AdminClient(address, key, 0.5):
                raise AssertionError("nobody could answer")
        broker.send(signal.SIGCONT)
        assert (await admin.command("workers"))["sessions"] == 0
        broker.kill()
        with pytest.raises(BrokerUnreachable):  # lost while it waits for the answer, or before
            await admin.command("workers")
        with pytest.raises(BrokerUnreachable):
            await admin.command("workers")


@on_a_loop
async def test_the_wrong_key_is_a_typed_error(processes: Processes) -> None:
    address = await a_server(processes).listens()
    with pytest.raises(WrongKey):
        async with AdminClient(address, BrokerPass(bytes.fromhex(OTHER_KEY))):
            raise AssertionError("it was let in")


@on_a_loop
async def test_doctor_names_the_worker_that_clients_do_not_reach(processes: Processes) -> None:
    port = free_ports(4)
    broker = processes.serve("--workers", 0, port=port)
    address = await broker.listens()
    assert (await srs(processes, "doctor", "--broker", address)).out.endswith(f"Fit to be a client of {address}.\n")
    async with Proxy(f"tcp://{LOCAL}:{port + 3}") as proxy:
        behind = ["--listen", f"{LOCAL}:{port + 3}", "--public", proxy.address]
        processes.worker(workers_address(port), "--name", "near", "--public", f"{LOCAL}:{port + 2}")
        processes.worker(workers_address(port), "--name", "far", *behind)
        for name in ("near", "far"):
            await broker.says(f"worker {name} registered")
        code, out, err = await srs(processes, "doctor", "--broker", address)
        assert (code, err) == (0, "")
        assert "worker near answers" in out
        assert "worker far answers" in out
        proxy.accepting = False  # the broker has asked already; clients come too late
        code, out, err = await srs(processes, "doctor", "--broker", address)
        assert (code, err) == (1, "")
        far = proxy.address.removeprefix("tcp://")
        assert f"fail  {far:18}  something listens there, but no worker answers" in out
        assert "--public tcp://IP:PORT" in out
    code, out, err = await srs(processes, "doctor", "--broker", address, "--json")
    report = {check["name"]: check for check in json.loads(out)["checks"]}
    assert (code, report[far]["status"], report[f"{LOCAL}:{port + 2}"]["status"]) == (1, "fail", "ok")
    assert report[far]["found"] == "clients are sent there, but nobody listens"


@on_a_loop
async def test_doctor_and_a_broker_that_is_not_there(processes: Processes) -> None:
    address = f"tcp://{LOCAL}:{free_ports()}"
    code, out, err = await srs(processes, "doctor", "--broker", address, "--timeout", 0.5)
    assert (code, err) == (1, "")
    assert out.startswith(f"fail  broker              nobody answers at {address}\n")
    assert out.endswith("Not fit: broker.\n")


@on_a_loop
async def test_everything_about_members_still_works_after_an_administrator_was_there(processes: Processes) -> None:
    async with a_cluster(processes) as (_, address, a, _, rooms):
        assert (await srs(processes, "inspect", rooms[0].id, "--address", address)).code == 0
        await rooms[0].send("say", "still here", ack=True)
        assert await hear(rooms[1], "said") == [a.id, "still here"]
