"""Topic rooms: what unicast rooms promise, over a connection that may be lost, closed and kept by itself."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import zmq

from server_room_system import AsyncClient, ClientRoom, Kicked, Member, Room, RoomClosed, RuleSet, Server, on_message
from server_room_system.broker.host import Host
from server_room_system.protocol import messages
from server_room_system.rooms.topic import TopicFanout

from .bots import talking
from .lines import lines
from .programs import Program
from .system import LOCAL, PATIENCE, clients, gathered, hear, on_a_loop, over, until


class Stage(Room):
    """Says to all what one says."""

    fanout = "topic"
    max_clients = 8
    min_clients = 0
    message_rate = None

    @on_message("say")
    def say(self, client: Member, data: Any) -> None:
        self.broadcast("said", [client.id, data])

    @on_message("kick")
    def kick(self, client: Member, number: int) -> None:
        (kicked,) = [member for member in self.clients if member.id == number]
        kicked.send("bye", "last words")
        kicked.kick("go")

    @on_message("finale")
    def finale(self, client: Member, count: int) -> None:
        for number in range(count):
            self.broadcast("said", [0, number])
        for member in self.clients:
            member.send("own", member.id)
        self.close("the end")


class Auto(Room):
    """Leaves it to the framework."""

    min_clients = 0


@contextlib.asynccontextmanager
async def stage(count: int) -> AsyncIterator[tuple[Host, list[AsyncClient], list[ClientRoom]]]:
    """A server, and clients of it in one room."""
    async with Server(rooms={"stage": Stage}).listen(LOCAL, 0) as host, clients(host, count) as members:
        yield host, members, await gathered(members[0], *members[1:])


def audience(host: Host) -> TopicFanout:
    """The stream of the one room there."""
    (runner,) = host.worker.rooms.values()
    assert isinstance(runner.fanout, TopicFanout)
    return runner.fanout


async def stand(host: Host, count: int) -> None:
    """Wait until so many downlinks stand."""
    await until(lambda: len(audience(host)._up) == count)


def cut_downlinks(host: Host) -> None:
    """Every downlink is lost, and nothing else."""
    for line in audience(host)._granted:
        assert line.downlink is not None
        host.worker._downlinks._publishers[line.downlink.shard].cut(line.downlink.peer)


@on_a_loop
async def test_a_downlink_that_is_lost_alone_is_replaced_and_nothing_is_lost_or_doubled() -> None:
    async with stage(3) as (host, members, rooms), talking(members, rooms) as talk:
        await stand(host, 3)
        for _ in range(4):
            await talk.flows(20)
            cut_downlinks(host)
            await until(lambda: not audience(host)._up)
            await stand(host, 3)
        await talk.finish()
        assert all(client.connected for client in members)
        assert {client.misrouted_bundles for client in members} == {0}


@pytest.mark.parametrize("pause", [0.0, 0.1], ids=["before its downlink stands", "when it stands"])
@on_a_loop
async def test_what_a_room_says_last_arrives_before_its_end(pause: float) -> None:
    async with stage(3) as (host, members, rooms):
        await asyncio.sleep(pause)
        await rooms[0].send("finale", 50)
        for client, room in zip(members, rooms, strict=True):
            heard = [(message.type, message.data) async for message in room]
            assert heard == [*(("said", [0, number]) for number in range(50)), ("own", client.id)]
            assert type(room.error) is RoomClosed
        await until(lambda: not host.worker._downlinks._offers)


class Subscriber:
    """A downlink that keeps no rules: it stays open whatever happens, and remembers all that comes."""

    def __init__(self, port: int) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XSUB)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.RECONNECT_IVL, 10)
        self._socket.connect(f"tcp://{LOCAL}:{port}")

    def present(self, what: bytes) -> None:
        self._socket.send(b"\x01" + what)

    def heard(self) -> list[bytes]:
        frames: list[bytes] = []
        with contextlib.suppress(zmq.Again):
            while True:
                frames.append(self._socket.recv(zmq.NOBLOCK))
        return frames

    async def hears(self) -> bytes:
        """Wait for a frame."""
        async with asyncio.timeout(PATIENCE):
            while not (frames := self.heard()):
                await asyncio.sleep(0.005)
        return frames[-1]

    def close(self) -> None:
        self._context.destroy(0)


@contextlib.contextmanager
def subscriber(port: int) -> Iterator[Subscriber]:
    made = Subscriber(port)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("can_cut", [True, False], ids=["cut", "the topic is changed"])
@on_a_loop
async def test_who_is_kicked_hears_nothing_more_even_with_its_downlink_kept_open(
    can_cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(3) as (host, members, rooms), lines(host.address) as (line,):
        welcome = await line.hello()
        line.say(messages.JoinById(welcome.ref, 2, rooms[0].id, {}))
        joined = await line.join(await line.hear(messages.Assigned), 3)
        port, token = joined.downlink
        with subscriber(port) as kept:
            kept.present(token)
            await stand(host, 4)
            await rooms[0].send("say", "public", ack=True)
            assert b"public" in await kept.hears()
            for room in rooms:
                assert await hear(room, "said") == [members[0].id, "public"]
            if not can_cut:
                (publisher,) = host.worker._downlinks._publishers
                monkeypatch.setattr(publisher, "cut", lambda peer: False)
            old_topic = audience(host).topic
            await rooms[0].send("kick", welcome.client_id, ack=True)
            left = await line.hear(messages.LeftRoom)
            assert (left.ref, left.code) == (joined.ref, Kicked.code)
            async with talking(members, rooms) as talk:  # the others notice nothing
                await talk.flows(20)
                kept.present(token)
                kept.present(audience(host).topic)
                await talk.flows(20)
                await talk.finish()
            assert not any(b"said" in frame for frame in kept.heard())
            assert (audience(host).topic == old_topic) is can_cut
            assert len(audience(host)._up) == 3


@on_a_loop
async def test_a_kicked_client_is_told_why_and_may_come_back() -> None:
    async with stage(2) as (host, (a, b), (at_a, at_b)):
        await stand(host, 2)
        await at_a.send("kick", b.id)
        await over(at_b)
        assert type(at_b.error) is Kicked
        again = await b.join_by_id(at_a.id)
        await at_a.send("say", 1, ack=True)
        assert await hear(again, "said") == [a.id, 1]


@on_a_loop
async def test_strangers_on_the_publishers_port_get_nothing() -> None:
    async with stage(2) as (host, members, rooms):
        await stand(host, 2)
        port = int(host.worker._downlinks._publishers[0].address.rpartition(":")[2])
        guesses = [b"", audience(host).topic, audience(host).topic[:1], b"\x10", b"\x11", bytes(16), os.urandom(16)]
        with contextlib.ExitStack() as stack:
            strangers = [stack.enter_context(subscriber(port)) for _ in guesses]
            for stranger, guess in zip(strangers, guesses, strict=True):
                stranger.present(guess)
            async with talking(members, rooms) as talk:
                await talk.flows()
                for stranger, guess in zip(strangers, guesses, strict=True):
                    stranger.present(guess)
                    stranger._socket.send(b"\x02 a message of their own")
                await talk.flows()
                await talk.finish()
            assert [stranger.heard() for stranger in strangers] == [[] for _ in guesses]
        assert {client.misrouted_bundles for client in members} == {0}


LISTENER = """
import asyncio, json, sys
from server_room_system import *

async def main(address, room_id):
    async with connect(address) as me:
        room = await me.join_by_id(room_id)
        print("joined", flush=True)
        heard = []
        async for message in room:
            if message.kind == "reset":
                heard.append("reset")
            elif message.type == "said":
                heard.append(message.data[1])
                if message.data[1] == "end":
                    break
        print(json.dumps(heard), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def _say_end(room: ClientRoom) -> None:
    while True:  # who is reset does not hear what was said before that
        await room.send("say", "end", ack=True)
        await asyncio.sleep(0.2)


@on_a_loop
async def test_a_member_whose_process_is_stopped_is_right_again_when_it_wakes_and_delays_nobody() -> None:
    async with Server(rooms={"stage": Stage}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        at_a, at_b = await gathered(a, b)
        with Program(LISTENER, host.address, at_a.id) as listener:
            await asyncio.to_thread(listener.prints, "joined")
            await stand(host, 3)
            listener.send(signal.SIGSTOP)
            count = 0
            async with asyncio.timeout(20.0):
                deadline = asyncio.get_running_loop().time() + 3.0
                while asyncio.get_running_loop().time() < deadline:
                    await at_a.send("say", ["x" * 1000, count], ack=True)
                    assert (await hear(at_b, "said"))[1][1] == count  # while the other one sleeps
                    count += 1
            listener.send(signal.SIGCONT)
            ending = asyncio.ensure_future(_say_end(at_a))
            line = await asyncio.to_thread(listener.prints, '"end"')
            ending.cancel()
            heard: list[Any] = [one if isinstance(one, str) else one[1] for one in json.loads(line)]
        # All of it, in order; or one reset, said as such, and from there on all.
        assert heard.count("reset") <= 1
        after = heard[heard.index("reset") + 1 :] if "reset" in heard else heard
        assert after == [*range(count - len(after) + 1, count), "end"]
        if "reset" not in heard:
            assert len(heard) == count + 1


@pytest.mark.parametrize(("seats", "kind"), [(100, "UnicastFanout"), (300, "TopicFanout")])
@on_a_loop
async def test_a_room_that_leaves_it_to_us_is_a_topic_when_it_is_large(seats: int, kind: str) -> None:
    async with Server(rooms={"auto": Auto}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        room = await a.create(RuleSet(seats, room="auto"))
        (runner,) = host.worker.rooms.values()
        assert type(runner.fanout).__name__ == kind
        assert (room._membership.downlink is None) is (kind == "UnicastFanout")
