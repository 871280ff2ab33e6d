"""The end of a server inside a program: everybody is told, everything ends in time, and nothing is left."""

import asyncio
import threading
import time
from typing import Any

import pytest

from server_room_system import (
    AsyncClient,
    Member,
    Room,
    RuleSet,
    Server,
    ServerStopping,
    on_request,
)
from server_room_system.broker.host import Host
from server_room_system.protocol import Code
from server_room_system.rooms import runner as runners

from .proxy import Proxy
from .system import LOCAL, PATIENCE, Talk, clients, gathered, hear, matched, on_a_loop, over, raises, until


@on_a_loop
async def test_every_client_is_told_wherever_it_is() -> None:
    left: list[Any] = []

    class Closing(Talk):
        def on_leave(self, client: Member, reason: Code) -> None:
            left.append((client.id, reason))
            self.broadcast("message", f"{client.id} goes")

        def on_dispose(self) -> None:
            left.append("disposed")

    server = Server(rooms={"closing": Closing})
    listening = server.listen(LOCAL, 0)
    host = await listening.__aenter__()
    async with clients(host, 5) as (a, b, alone, waiting, outside):
        rooms = [*await matched(a, b), *await gathered(alone)]
        ticket = asyncio.ensure_future(raises(waiting.match(RuleSet(2), timeout=PATIENCE)))
        asking = asyncio.ensure_future(raises(outside.receive(PATIENCE)))
        await until(lambda: len(host.broker.queues) == 1)
        started = time.monotonic()
        await listening.__aexit__(None, None, None)
        assert time.monotonic() - started < 2.0
        for room in rooms:
            await over(room)
            assert type(room.error) is ServerStopping
        await until(lambda: all(client.closed for client in (a, b, alone, waiting, outside)))
        assert {type(client.error) for client in (a, b, alone, waiting, outside)} == {ServerStopping}
        assert type(await ticket) is ServerStopping
        assert await asking is not None
        assert left.count("disposed") == 2
        assert sorted(entry for entry in left if entry != "disposed") == [
            (client.id, Code.SERVER_STOPPING) for client in (a, b, alone)
        ]
        assert type(await raises(a.rooms())) is ServerStopping


@on_a_loop
async def test_what_rooms_say_last_still_arrives() -> None:
    class Farewell(Talk):
        async def on_leave(self, client: Member, reason: Code) -> None:
            await asyncio.sleep(0.01)
            for other in self.clients:
                other.send("message", f"{client.id} has left")

    listening = Server(rooms={"farewell": Farewell}).listen(LOCAL, 0)
    host = await listening.__aenter__()
    async with clients(host, 2) as (a, b):
        _, at_b = await gathered(a, b)
        await listening.__aexit__(None, None, None)
        assert await hear(at_b) == f"{a.id} has left"


@on_a_loop
async def test_a_hook_that_never_ends_is_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runners, "_DISPOSE_TIME", 0.3)
    ended: list[str] = []

    class Stuck(Room):
        max_clients = 2

        @on_request("stick")
        async def stick(self, client: Member, data: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("stick")

        def on_dispose(self) -> None:
            ended.append("dispose")

    listening = Server(rooms={"stuck": Stuck, "talk": Talk}).listen(LOCAL, 0)
    host = await listening.__aenter__()
    async with clients(host, 2) as (a, b):
        (stuck,) = await gathered(a, room="stuck")
        (fine,) = await gathered(b, room="talk")
        asking = asyncio.ensure_future(raises(stuck.request("stick", timeout=20)))
        await until(lambda: any(runner.mailbox.busy for runner in host.worker.rooms.values()))
        started = time.monotonic()
        await listening.__aexit__(None, None, None)
        assert 0.2 < time.monotonic() - started < 2.0
        assert ended[0] == "stick"
        await over(stuck)
        await over(fine)
        assert await asking is not None
        assert stuck.error is not None
        assert type(fine.error) is ServerStopping


@on_a_loop
async def test_a_room_closed_from_outside_does_not_wait_for_its_hook_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "_DISPOSE_TIME", 0.2)

    class Stuck(Room):
        max_clients = 1

        async def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
            await asyncio.Event().wait()

    async with Server(rooms={"stuck": Stuck}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (room,) = await gathered(a)
        await room.send("message")
        (runner,) = host.worker.rooms.values()
        await until(lambda: runner.mailbox.busy)
        runner.room.close("that's enough")
        await over(room)
        assert str(room.error) in ("that's enough", "the room closed")
        await until(lambda: not host.worker.rooms)
        assert a.connected


@on_a_loop
async def test_clients_that_come_while_it_stops_are_told_so() -> None:
    gate = asyncio.Event()

    class Slow(Talk):
        async def on_dispose(self) -> None:
            await gate.wait()

    listening = Server(rooms={"slow": Slow}).listen(LOCAL, 0)
    host = await listening.__aenter__()
    async with Proxy(host.address) as proxy, clients(proxy.address, 1) as (inside,), clients(host, 1) as (b,):
        await gathered(b)
        stopping = asyncio.ensure_future(listening.__aexit__(None, None, None))
        await until(lambda: host.worker.stopping)
        assert type(await raises(AsyncClient(host.address).__aenter__())) is ServerStopping
        assert type(await raises(inside.create(RuleSet(2)))).__name__ in ("RoomFailed", "ServerStopping")
        proxy.reset()
        await until(lambda: inside.closed)  # coming back as well
        assert type(inside.error) is ServerStopping
        gate.set()
        await stopping


@on_a_loop
async def test_a_client_that_does_not_read_does_not_keep_the_server_from_ending() -> None:
    class Flood(Room):
        max_clients = 2

        def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
            for _ in range(100):
                self.broadcast("message", b"x" * 50_000)

    listening = Server(rooms={"flood": Flood}).listen(LOCAL, 0)
    host = await listening.__aenter__()
    async with Proxy(host.address, buffer=128 * 1024) as proxy, clients(proxy.address, 1) as (stalled,):
        (room,) = await gathered(stalled)
        proxy.stall()
        async with clients(host, 1) as (other,):
            theirs = await other.join_by_id(room.id)
            for _ in range(5):
                await theirs.send("message", None, ack=True)
            started = time.monotonic()
            await listening.__aexit__(None, None, None)
            assert time.monotonic() - started < 3.0
            await over(theirs)
            assert type(theirs.error) is ServerStopping
        proxy.reset()
        proxy.flow()


@on_a_loop
async def test_nothing_is_left_after_many_lives() -> None:
    def left() -> tuple[int, int]:
        # The loop's own helpers stay: as many as it has ever had work for at once.
        threads = [one for one in threading.enumerate() if not one.name.startswith("asyncio_")]
        return len(threads), len(asyncio.all_tasks())

    before = left()
    for _ in range(5):
        async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 4) as members:
            await matched(*members)
    await until(lambda: left() == before)


@on_a_loop
async def test_a_program_that_fails_inside_still_stops_its_server() -> None:
    async def program(members: list[AsyncClient], listening: Host) -> None:
        async with listening:
            members += [AsyncClient(listening.address) for _ in range(2)]
            for member in members:
                await member.__aenter__()
            await matched(*members)
            raise ZeroDivisionError

    members: list[AsyncClient] = []
    listening = Server(rooms={"talk": Talk}).listen(LOCAL, 0)
    assert type(await raises(program(members, listening))) is ZeroDivisionError
    await until(lambda: all(member.closed for member in members))
    assert [type(member.error) for member in members] == [ServerStopping] * 2
    for member in members:
        await member.close()


@on_a_loop
async def test_a_cancelled_program_still_stops_its_server() -> None:
    entered = asyncio.Event()

    async def program() -> None:
        async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 2) as members:
            await matched(*members)
            entered.set()
            await host.stopped()

    task = asyncio.ensure_future(program())
    await entered.wait()
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
