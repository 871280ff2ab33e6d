"""A member that reads slowly or not at all: bounded, alone with its trouble, and brought up again."""

import asyncio
import json
import signal
import statistics
import time
from typing import Any

import pytest

from server_room_system import (
    AsyncClient,
    ClientRoom,
    Code,
    HistoryLimits,
    Member,
    Received,
    Room,
    RuleSet,
    Server,
    on_message,
    on_request,
)
from server_room_system.broker.host import Host
from server_room_system.rooms.fanout import UnicastFanout

from .programs import Program
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


# --- a process that stands still ---------------------------------------------------------------------------------

GULP = "x" * 60_000
READER = """
import asyncio, json, sys
from server_room_system import connect

async def main(address, room_id):
    async with connect(address) as client:
        room = await client.join_by_id(room_id)
        print("is in", flush=True)
        heard = []
        async for message in room:
            if message.type == "reset":
                heard.append(["reset", message.data])
            elif message.type in ("news", "at", "own"):
                heard.append([message.type, message.data[0]])
            elif message.type == "call" and message.data == "are you there":
                print("is there", flush=True)
            elif message.type == "call":
                break
        print("heard", json.dumps({"heard": heard, "error": room.error and type(room.error).__name__}), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


class Track(Room):
    """Each tenth thing that it says is news; the others say where two runners are, at length."""

    max_clients = 3
    min_clients = 0
    message_rate = None
    history = HistoryLimits(count=100)
    most_lag = 0.5
    said = 0

    def on_create(self, options: dict[str, Any]) -> None:
        self.left: list[Code] = []

    def on_leave(self, client: Member, reason: Code) -> None:
        self.left.append(reason)

    @on_request("say")
    def say(self, client: Member, data: Any) -> int:
        self.said += 1
        if self.said % 10 == 0:
            self.broadcast("news", [self.said])
            for member in self.clients:
                member.send("own", [self.said])
        else:
            self.broadcast("at", [self.said, GULP], key=self.said % 2)
        return self.said

    @on_message("call")
    def call(self, client: Member, data: str) -> None:
        self.broadcast("call", data)

    def snapshot(self) -> Any:
        return self.said


def spoken(first: int, last: int) -> list[list[Any]]:
    """What the room says from one number to another."""
    said: list[list[Any]] = []
    for number in range(first, last + 1):
        said += [["news", number], ["own", number]] if number % 10 == 0 else [["at", number]]
    return said


async def say(near: ClientRoom, count: int) -> int:
    """Let the room speak, a turn for each thing, and the near member hear it; the number of the last."""
    last = 0
    for _ in range(count):
        last = await near.request("say")
        while (await near.receive(PATIENCE)).data not in ([last], [last, GULP]):
            pass
    return last


async def call(near: ClientRoom, text: str, reader: Program, answer: str) -> str:
    """Say something again and again, because a reset may stand for it, until the reader has answered; its line."""
    answered = asyncio.create_task(asyncio.to_thread(reader.prints, answer, 20.0))
    while not answered.done():
        await near.send("call", text, ack=True)
        await asyncio.wait([answered], timeout=0.2)
    return await answered


OVERFLOWS = 800
"""Things to say until neither a queue of 256 frames nor the kernel, which holds 10 MiB for a connection, takes more."""


@pytest.mark.parametrize("fanout", ["unicast", "topic"])
@pytest.mark.parametrize("policy", ["recover", "latest", "close"])
@on_a_loop
async def test_a_process_that_stands_still_is_right_again_when_it_goes_on(policy: str, fanout: str) -> None:
    room_type = type("Track", (Track,), {"slow_members": policy, "fanout": fanout})
    async with Server(rooms={"track": room_type}).listen(LOCAL, 0) as host, clients(host, 1) as (near,):
        at_near = await near.create(RuleSet(3, room="track"))
        (runner,) = host.worker.rooms.values()
        room = runner.room
        assert isinstance(room, Track)
        with Program(READER, host.address, at_near.id) as reader:
            await asyncio.to_thread(reader.prints, "is in")
            await say(at_near, 20)
            (stopped,) = (member for member in runner.members.values() if member.id != near.id)
            reader.send(signal.SIGSTOP)
            await say(at_near, OVERFLOWS)
            assert stopped.connected == (room.left == [])
            assert runner.fanout.history.size <= 100 * 61_000  # and that is all that waits for it
            assert stopped.line.directs.size <= 256 * 32
            if (policy, fanout) == ("close", "unicast"):
                await until(lambda: room.left == [Code.TOO_SLOW])
            else:
                assert stopped.lagging == (fanout == "unicast")  # nobody sees the queues of a topic
                await asyncio.sleep(1.2 * room.most_lag)
            reader.send(signal.SIGCONT)
            if policy != "close":
                await call(at_near, "are you there", reader, "is there")
            last = await say(at_near, 30)
            line = await call(at_near, "over", reader, "heard")
            assert reader.ends() == (0, "", "")
        await until(lambda: room.left == [Code.TOO_SLOW if policy == "close" else Code.LEFT])
    told = json.loads(line.removeprefix("heard "))
    assert told["error"] == ("TooSlow" if policy == "close" else None)
    {"recover": assert_reset_once, "latest": assert_newest, "close": assert_beginning}[policy](told["heard"], last)


def assert_reset_once(heard: list[list[Any]], last: int) -> None:
    ((place, snapshot),) = ((place, data) for place, (kind, data) in enumerate(heard) if kind == "reset")
    before, after = heard[:place], heard[place + 1 :]
    assert before == spoken(before[0][1], before[-1][1])
    assert after == spoken(snapshot + 1, last)
    assert snapshot <= last - 30


def assert_newest(heard: list[list[Any]], last: int) -> None:
    news = list(range(10, last + 1, 10))
    assert [number for kind, number in heard if kind == "news"] == news
    assert [number for kind, number in heard if kind == "own"] == news
    positions = [number for kind, number in heard if kind == "at"]
    assert positions == sorted(set(positions))
    assert [one for one in heard if one[1] > last - 30] == spoken(last - 29, last)
    assert len(positions) < OVERFLOWS - 100  # what is outdated is not sent
    assert len(heard) == 2 * len(news) + len(positions), "a reset, though nothing was forgotten that counts"


def assert_beginning(heard: list[list[Any]], last: int) -> None:
    assert heard == spoken(heard[0][1], heard[-1][1])
    assert heard[-1][1] < last
