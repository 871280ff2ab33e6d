"""A member that reads slowly or not at all: bounded, alone with its trouble, and brought up again."""

import asyncio
import statistics
import time
from typing import Any

import pytest

from server_room_system import (
    AsyncClient,
    ClientRoom,
    HistoryLimits,
    Member,
    Received,
    Room,
    Server,
    on_message,
    on_request,
)
from server_room_system.broker.host import Host
from server_room_system.rooms.fanout import UnicastFanout

from .proxy import Proxy
from .system import LOCAL, PATIENCE, clients, gathered, on_a_loop, until

SIP = "x" * 16_000


class Fountain(Room):
    """Says a lot."""

    max_clients = 3
    message_rate = None
    said = 0

    def spout(self, count: int) -> None:
        for _ in range(count):
            self.said += 1
            self.broadcast("drop", [self.said, SIP])

    @on_message("spout")
    def on_spout(self, client: Member, count: int) -> None:
        self.spout(count)

    @on_request("ping")
    def ping(self, client: Member, data: Any) -> Any:
        return data

    def snapshot(self) -> Any:
        return self.said


class Shallow(Fountain):
    """Forgets soon."""

    history = HistoryLimits(count=60)


def fanout_of(host: Host) -> UnicastFanout:
    (runner,) = host.worker.rooms.values()
    assert isinstance(runner.fanout, UnicastFanout)
    return runner.fanout


async def drops_until(room: ClientRoom, last: int) -> list[Received]:
    """What comes up to the drop with this number."""
    heard: list[Received] = []
    while not heard or heard[-1].type != "drop" or heard[-1].data[0] != last:
        message = await room.receive(PATIENCE)
        if message.type != "command":
            heard.append(message)
    return heard


def numbers(heard: list[Received]) -> list[Any]:
    """The drops' numbers, and the word reset where there is one."""
    return [message.data[0] if message.kind == "broadcast" else message.kind for message in heard]


async def spouting_until_it_falls_behind(host: Host, room: ClientRoom) -> int:
    """Let the room talk, a turn for each message, until a member's queue is full and stays so; how much it said."""
    said = 0
    while not fanout_of(host).behind:
        while not fanout_of(host).behind:
            for _ in range(50):
                await room.send("spout", 1, ack=True)
                said += 1
            assert said < 5000
        await asyncio.sleep(0.1)  # the kernel may find some more room for it
    return said


@on_a_loop
async def test_a_stalled_member_gets_all_that_the_history_holds_in_order() -> None:
    class Deep(Fountain):
        history = HistoryLimits(count=5000, size=256 * 1024 * 1024)

    async with Server(rooms={"deep": Deep}).listen(LOCAL, 0) as host, Proxy(host.address, buffer=128 * 1024) as proxy:
        async with clients(host, 1) as (near,), AsyncClient(proxy.address) as far:
            at_near, at_far = await gathered(near, far)
            proxy.stall()
            said = await spouting_until_it_falls_behind(host, at_near)
            await at_near.send("spout", 300, ack=True)
            assert len(fanout_of(host).behind) == 1
            proxy.flow()
            assert numbers(await drops_until(at_near, said + 300)) == list(range(1, said + 301))
            assert numbers(await drops_until(at_far, said + 300)) == list(range(1, said + 301))
            assert not fanout_of(host).behind
            assert proxy.accepted == 1


@on_a_loop
async def test_a_member_stalled_beyond_the_history_gets_one_reset_and_goes_on() -> None:
    async with (
        Server(rooms={"shallow": Shallow}).listen(LOCAL, 0) as host,
        Proxy(host.address, buffer=128 * 1024) as proxy,
        clients(host, 1) as (near,),
        AsyncClient(proxy.address) as far,
    ):
        at_near, at_far = await gathered(near, far)
        proxy.stall()
        said = await spouting_until_it_falls_behind(host, at_near)
        for _ in range(8):
            await at_near.send("spout", 50, ack=True)
        said += 400
        assert fanout_of(host).history.size < (60 + 50) * 16_100  # and that is all that waits for it
        proxy.flow()
        await until(lambda: not fanout_of(host).behind)
        await at_near.send("spout", 20, ack=True)
        assert numbers(await drops_until(at_near, said + 20)) == list(range(1, said + 21))
        heard = await drops_until(at_far, said + 20)
        order = numbers(heard)
        assert order.count("reset") == 1
        at = order.index("reset")
        assert order[:at] == list(range(1, at + 1))
        assert order[at + 1 :] == list(range(heard[at].data + 1, said + 21))
        assert heard[at].data == said
        assert proxy.accepted == 1


class Long(Fountain):
    """Remembers all that a test says."""

    history = HistoryLimits(size=64 * 1024 * 1024)


@pytest.mark.parametrize(("room_type", "resets"), [(Long, 0), (Shallow, 1)])
@on_a_loop
async def test_a_program_that_does_not_read_its_messages_gets_them_when_it_does(
    room_type: type[Fountain], resets: int
) -> None:
    server = Server(rooms={"room": room_type})
    async with server.listen(LOCAL, 0) as host, clients(host, 1) as (near,), clients(host, 1, inbox=16) as (far,):
        at_near, at_far = await gathered(near, far)
        for _ in range(10):
            await at_near.send("spout", 90, ack=True)
        assert len(at_far._membership.inbox) < 16 + 100
        heard = []
        reading = asyncio.ensure_future(drops_until(at_far, 920))
        await until(lambda: len(at_far._membership.inbox) < 16)
        await at_near.send("spout", 20, ack=True)
        heard = await reading
        order = numbers(heard)
        assert order.count("reset") == resets
        without = [number for number in order if number != "reset"]
        assert without == sorted(set(without))
        if not resets:
            assert order == list(range(1, 921))


@on_a_loop
async def test_the_others_keep_their_pace_while_one_does_not_read() -> None:
    async with Server(rooms={"fountain": Fountain}).listen(LOCAL, 0) as host:
        async with Proxy(host.address, buffer=128 * 1024) as proxy, clients(host, 2) as (a, b):
            async with AsyncClient(proxy.address) as far:
                at_a, at_b, at_far = await gathered(a, b, far)
                reading = [asyncio.ensure_future(_read(room)) for room in (at_b, at_far)]

                async def pace() -> list[float]:
                    trips = []
                    for _ in range(60):
                        await at_a.send("spout", 5)
                        started = time.perf_counter()
                        await at_a.request("ping", 1)
                        trips.append(time.perf_counter() - started)
                    return trips

                quiet = await pace()
                proxy.stall()
                await spouting_until_it_falls_behind(host, at_a)
                stalled = await pace()
                assert proxy.accepted == 1
                proxy.flow()
                await until(lambda: not fanout_of(host).behind)
                for task in reading:
                    task.cancel()
                await asyncio.gather(*reading, return_exceptions=True)
                assert statistics.median(stalled) < 3 * statistics.median(quiet) + 0.002
                assert max(stalled) < 10 * max(quiet) + 0.1


async def _read(room: ClientRoom) -> None:
    async for _ in room:
        pass
