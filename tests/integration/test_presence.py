"""Who is there: clients that die, stand still, or are cut off one way, with real processes and sockets."""

import asyncio
import signal
import time
from typing import Any

import pytest

from server_room_system import AsyncClient, ClientRoom, Code, Limits, Member, Room, Server

from .programs import Program
from .proxy import Proxy
from .system import LOCAL, clients, gathered, hear, on_a_loop, until

each_fanout = pytest.mark.usefixtures("each_fanout")
QUICK = Limits(ping_interval=0.2, ping_timeout=0.8)

MEMBER = """
import asyncio, sys
from server_room_system import connect

async def main():
    async with connect(sys.argv[1]) as client:
        room = await client.join_by_id(sys.argv[2])
        print("joined", client.data.ID, flush=True)
        async for message in room:
            if message.kind != "presence":
                print("heard", message.data, flush=True)
        print("over", type(room.error).__name__, flush=True)

asyncio.run(main())
"""


class Square(Room):
    """Says what it is told, and writes down who comes and goes."""

    max_clients = 3
    min_clients = 0
    presence = True
    message_rate = None
    reconnect_grace = 8.0

    def on_create(self, options: dict[str, Any]) -> None:
        self.happened: list[tuple[str, int, float]] = []

    def ready(self) -> None: ...

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> None:
        self.broadcast("message", data)

    def on_drop(self, client: Member) -> None:
        self.happened.append(("drop", client.id, time.monotonic()))

    def on_reconnect(self, client: Member) -> None:
        self.happened.append(("reconnect", client.id, time.monotonic()))

    def on_leave(self, client: Member, reason: Code) -> None:
        self.happened.append((reason.name, client.id, time.monotonic()))


class HastySquare(Square):
    """The same, where nobody is waited for."""

    reconnect_grace = 0.3


def square(host: Any) -> Square:
    (runner,) = host.worker.rooms.values()
    assert isinstance(runner.room, Square)
    return runner.room


async def printed(program: Program, text: str) -> str:
    return await asyncio.to_thread(program.prints, text)


async def told(room: ClientRoom) -> list[tuple[str, int]]:
    """What a member was told of the others so far."""
    inbox, heard = room._membership.inbox, []
    while inbox:
        message, _ = inbox.take()
        if message.kind == "presence":
            heard.append((message.type, message.data))
    return heard


@each_fanout
@on_a_loop
async def test_a_client_that_was_killed_is_seen_to_be_gone_at_once_and_leaves_no_ghost() -> None:
    async with Server(rooms={"square": HastySquare}).listen(LOCAL, 0) as host, clients(host, 1) as (watcher,):
        (watching,) = await gathered(watcher)
        with Program(MEMBER, host.address, watching.id) as member:
            number = int((await printed(member, "joined")).split()[1])
            room = square(host)
            await until(lambda: len(host._port) == 2)
            killed = time.monotonic()
            member.send(signal.SIGKILL)
            await until(lambda: len(room.happened) == 2)
        (dropped, who, when), (left, _, _) = room.happened
        assert (dropped, who, left) == ("drop", number, "GRACE_EXPIRED")
        assert when - killed < Limits().ping_timeout, "by the end of its connection, not by its silence"
        assert [client.id for client in room.clients] == [watcher.id]
        await until(lambda: watching.members == {watcher.id})
        assert len(host._port) == 1
        assert await told(watching) == [("join", number), ("drop", number), ("leave", number)]


@each_fanout
@on_a_loop
async def test_a_client_that_stood_still_for_longer_than_the_time_limit_comes_back_by_itself() -> None:
    server = Server(rooms={"square": Square}, limits=QUICK)
    async with server.listen(LOCAL, 0) as host, clients(host, 1) as (watcher,):
        (watching,) = await gathered(watcher)
        with Program(MEMBER, host.address, watching.id) as member:
            number = int((await printed(member, "joined")).split()[1])
            room = square(host)
            member.send(signal.SIGSTOP)
            for count in range(10):
                await watching.send("message", f"number {count}", ack=True)
            await until(lambda: [what for what, _, _ in room.happened] == ["drop"])
            await watching.send("message", "while it was away", ack=True)
            member.send(signal.SIGCONT)
            for count in range(10):
                assert await printed(member, "heard") == f"heard number {count}"
            assert await printed(member, "heard") == "heard while it was away"
            await until(lambda: [what for what, _, _ in room.happened] == ["drop", "reconnect"])
            await watching.send("message", "and now", ack=True)
            assert await printed(member, "heard") == "heard and now"
            assert ("leave", number) not in await told(watching)
            assert watching.members == {watcher.id, number}


@each_fanout
@pytest.mark.parametrize("way", ["up", "down"])
@on_a_loop
async def test_a_connection_that_is_open_one_way_only_is_given_up_and_replaced(way: str) -> None:
    server = Server(rooms={"square": Square}, limits=QUICK)
    async with server.listen(LOCAL, 0) as host, Proxy(host.address) as proxy:
        async with AsyncClient(host.address) as near, AsyncClient(proxy.address) as far:
            at_near, at_far = await gathered(near, far)
            room = square(host)
            proxy.accepting = False
            proxy.stall(up=way == "up", down=way == "down")
            for count in range(10):
                await at_near.send("message", count)
            await until(lambda: not far.connected)
            await until(lambda: [what for what, _, _ in room.happened] == ["drop"])
            proxy.accepting = True
            proxy.reset()
            proxy.flow()
            await until(lambda: at_far.connected)
            await at_far.send("message", "from afar", ack=True)
            for source in (at_near, at_far):
                assert [await hear(source) for _ in range(11)] == [*range(10), "from afar"]
            assert [what for what, _, _ in room.happened] == ["drop", "reconnect"]
