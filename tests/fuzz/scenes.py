"""The hostile scenes: clients against a server, a worker against its broker, servers against a client."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from server_room_system import AsyncClient, ClientData, ClientRoom, RuleSet
from server_room_system.cli.admin import AdminClient, BrokerPass
from server_room_system.protocol import (
    Ack,
    Admit,
    Admitted,
    Assigned,
    Challenge,
    Command,
    Create,
    Deliver,
    Enquire,
    Hello,
    Item,
    Join,
    JoinById,
    Joined,
    Leased,
    Limits,
    ListRooms,
    Match,
    Orders,
    Ping,
    Pong,
    Prove,
    Recover,
    Register,
    Registered,
    Renew,
    Request,
    Result,
    Resume,
    Rooms,
    Send,
    Welcome,
    encode,
    encode_cluster,
)
from server_room_system.protocol.proof import prove
from server_room_system.rooms.control import OpenRoom, SeatWish, order_to_wire
from server_room_system.rooms.worker_host import WorkerHost, WorkerOptions
from server_room_system.testing import system
from server_room_system.transport import MemoryNetwork, Sent, Vouched

from .parties import MOST_STEPS, Stranger, a_server, expect, in_memory, invent, is_well, understood, watched
from .script import Memory, Script

__all__ = ["SCENES"]

_SECRET = bytes(16)
_KEY = bytes(32)
_COMMANDS = ("workers", "rooms", "inspect", "kick", "close", "drain", "load", "status", "?")


async def server(script: Script, random: Random) -> None:
    """Strangers, some with the cluster key, against a server; an honest client does not notice."""
    async with watched("on_auth"), system(a_server()) as world:
        client = await world.client()
        rooms = [await client.create(RuleSet(3, room=name)) for name in ("plain", "topic")]
        for hosted in world.rooms:
            hosted.lock()
        memory = Memory()
        for command in _COMMANDS:
            memory.add("str, at most 64 characters", command)
        strangers = [Stranger(world.network, world.host.address, memory) for _ in range(3)]
        strangers[0].on_heard = lambda message: _prove_ourselves(strangers[0], message, world.key)
        for stranger in strangers:
            stranger.say(encode(Hello(1, [1], "fuzz", {})))
        await world.sleep(0.1)
        for _ in range(MOST_STEPS):
            if script.is_over:
                break
            await _stranger_step(script, strangers[script.byte() % 3], memory)
        await world.sleep(0.5)
        await is_well(client, *rooms)


def _prove_ourselves(stranger: Stranger, message: Any, key: bytes) -> None:
    if isinstance(message, Challenge):
        stranger.say(encode_cluster(Admit(prove(key, "admin", message.nonce, _SECRET))))


async def _stranger_step(script: Script, stranger: Stranger, memory: Memory) -> None:
    decision = script.byte()
    if decision < 24:
        stranger.say(encode_cluster(Enquire(_SECRET)))
    elif decision < 56:
        arguments = {script.pick(("room", "client", "text", "worker", "within", "page")): script.value()}
        stranger.say(encode_cluster(Command(script.byte(), script.pick(_COMMANDS), arguments)))
    elif decision < 80:
        stranger.say(invent(script, memory, cluster=True))
    elif decision < 220:
        stranger.say(invent(script, memory))
    elif decision < 230:
        stranger.hang_up()
    if decision & 3 == 0:
        await asyncio.sleep(script.byte() / 32)


async def workers_address(script: Script, random: Random) -> None:
    """A worker that is let in and then talks nonsense, and strangers: another worker's rooms do not notice."""
    async with watched("nonsense", "the lease is over", "takes nothing"), system(a_server(), workers=1) as world:
        client = await world.client()
        rooms = [await client.create(RuleSet(3, room=name)) for name in ("plain", "topic")]
        hostile = await world.add_worker("w2")
        address = world.host.worker_address
        assert address is not None
        memory = Memory()
        memory.add("str, at most 32 characters", rooms[0].id)
        memory.add("uint53", hostile.registration.generation)
        stranger = Stranger(world.network, address, memory)
        for _ in range(MOST_STEPS):
            if script.is_over:
                break
            decision = script.byte()
            frame = invent(script, memory, cluster=True)
            if decision < 180 and hostile._link is not None:
                hostile._link.send(frame)
            else:
                stranger.say(frame)
            if decision & 3 == 0:
                await asyncio.sleep(script.byte() / 64)
        await world.sleep(0.5)
        await is_well(client, *rooms)
        stranger.hang_up()


class Impostor:
    """A server that answers as it should, or as the script says; also unasked."""

    def __init__(self, network: MemoryNetwork, script: Script, answer: Callable[[Any], Sequence[bytes]], cluster: bool):
        self.memory = Memory()
        self.frames = 0
        """How many came."""
        self._script = script
        self._answer = answer
        self._cluster = cluster
        self._peers: list[bytes] = []
        self._listener = network.listen("127.0.0.1", 0, self, 1 << 20)
        self.address = self._listener.address

    def begin(self, now: float) -> None:
        pass

    def accept(self, peer: bytes, address: str, vouched: Vouched) -> "_Ear":
        self._peers.append(peer)
        return _Ear(self, peer)

    def flush(self) -> None:
        pass

    def lost(self, peer: bytes) -> None:
        self._peers.remove(peer)

    def heard(self, peer: bytes, frame: bytes) -> None:
        self.frames += 1
        assert self.frames < 20_000, "it floods its server"
        message = understood(frame, self.memory)
        decision = self._script.byte()
        if message is not None and decision < 200:
            for answer in self._answer(message):
                self._say(peer, answer)
        if decision >= 128:
            self._say(peer, invent(self._script, self.memory, cluster=self._cluster))
        if decision >= 250:
            self._listener.cut(peer)

    def say_something(self) -> None:
        """Unasked."""
        if self._peers:
            self._say(self._script.pick(self._peers), invent(self._script, self.memory, cluster=self._cluster))

    def close(self) -> None:
        self._listener.close()

    def _say(self, peer: bytes, frame: bytes) -> Sent:
        return self._listener.send(peer, frame)


class _Ear:
    def __init__(self, impostor: Impostor, peer: bytes) -> None:
        self._impostor = impostor
        self._peer = peer

    def receive(self, frame: bytes) -> None:
        self._impostor.heard(self._peer, frame)

    def violated(self, rule: str) -> None:
        pass

    def gone(self) -> None:
        self._impostor.lost(self._peer)


class _Grantor:
    """A publisher's sink that grants everybody one topic."""

    topic = b"\x10" + bytes(16)

    def presented(self, token: bytes, peer: int, vouched: Vouched) -> Sequence[bytes]:
        return (self.topic,)

    def gone(self, token: bytes, peer: int) -> None:
        pass


def _as_a_server(message: Any, port: int) -> Sequence[bytes]:
    """What an honest server would answer a client, more or less."""
    if isinstance(message, Hello | Resume):
        resumed = isinstance(message, Resume)
        direct = message.direct if isinstance(message, Resume) else 0
        limits = Limits().to_wire()
        return [encode(Welcome(message.ask, 1, 5, "5" * 32, _SECRET, 12, "", 501, direct, 0, resumed, limits))]
    if isinstance(message, Create | JoinById | Match):
        return [encode(Assigned(message.ref, message.ask, "r1", None, _SECRET, 15.0))]
    if isinstance(message, Join | Recover):
        offset, direct = (message.offset, message.direct) if isinstance(message, Recover) else (0, 0)
        downlink = [port, _SECRET] if message.ask & 1 else None
        return [encode(Joined(message.ask, 7, "r1", "plain", 77, offset, direct, 0, _SECRET, downlink, {}))]
    if isinstance(message, Ping):
        return [encode(Pong(message.number))]
    if isinstance(message, Send):
        return [encode(Ack(message.ref, message.number)), encode(Deliver(77, 0, 0, [[int(Item.BROADCAST), "said", 1]]))]
    if isinstance(message, Request):
        return [encode(Deliver(77, 0, 0, [[int(Item.REPLY), 1, message.number, message.data]]))]
    if isinstance(message, ListRooms):
        return [encode(Rooms(message.ref, message.ask, []))]
    return []


async def client(script: Script, random: Random) -> None:
    """A client whose server says anything: its user gets errors of ours, and it can be closed."""
    network = MemoryNetwork()
    grantor = _Grantor()
    publisher = network.publish("127.0.0.1", 0, grantor, 1 << 18)
    port = int(publisher.address.rpartition(":")[2])
    impostor = Impostor(network, script, lambda message: _as_a_server(message, port), cluster=False)
    impostor.memory.add("uint53", 77)
    impostor.memory.add("uint32", 7)
    async with watched():
        async with asyncio.timeout(600):
            with expect():
                user = AsyncClient(
                    impostor.address,
                    network=network,
                    connect_timeout=2.0,
                    reconnect_timeout=4.0,
                    inbox=8,
                    jitter=random.random,
                )
                async with user:
                    talk = asyncio.ensure_future(_use(user))
                    for _ in range(MOST_STEPS):
                        if script.is_over:
                            break
                        await asyncio.sleep(script.byte() / 64)
                        publisher.pump()
                        if script.byte() < 100:
                            frame = invent(script, impostor.memory)
                            publisher.publish(grantor.topic, frame)
                        else:
                            impostor.say_something()
                    await talk
        impostor.close()
        publisher.close()
        network.close()


async def _use(user: AsyncClient) -> None:
    with expect():
        await user.rooms(timeout=1.0)
    for number in range(3):
        with expect():
            room = await (user.create(RuleSet(2), timeout=1.0) if number & 1 else user.join_by_id("r1", timeout=1.0))
            await _use_room(room)
        with expect():
            await user.send("message", number, ack=bool(number & 1), timeout=0.5)
        with expect():
            await user.receive(0.5)


async def _use_room(room: ClientRoom) -> None:
    with expect():
        await room.send("say", 1)
        await room.send("say", 2, ack=True, timeout=0.5)
    with expect():
        await room.request("ask", 1, timeout=0.5)
    for _ in range(12):
        with expect():
            await room.receive(0.1)
    with expect():
        await room.leave(0.5)


def _as_a_broker(message: Any, name: str) -> Sequence[bytes]:
    """What an honest broker with the key would answer a worker."""
    if isinstance(message, Register):
        proof = prove(_KEY, "broker", message.nonce, _SECRET, name.encode())
        return [encode_cluster(Challenge(_SECRET, proof))]
    if isinstance(message, Prove):
        wish = SeatWish("s", ClientData(1, "10.0.0.1"), {})
        rooms = [OpenRoom(number, f"r{number}", RuleSet(2, room=kind), {}, False, [wish, wish])
                 for number, kind in ((1, "plain"), (2, "topic"))]  # fmt: skip
        return [
            encode_cluster(Registered(9, 5.0, bool(message.generation))),
            encode_cluster(Orders(9, [order_to_wire(room) for room in rooms])),
        ]
    if isinstance(message, Renew):
        return [encode_cluster(Leased(message.generation, message.number))]
    return []


async def worker(script: Script, random: Random) -> None:
    """A worker whose broker gives any orders, and strangers with and without reservations at its port."""
    network = MemoryNetwork()
    async with watched("sent nonsense", "makes no sense", "takes nothing", "the lease is over"):
        impostor = Impostor(network, script, lambda message: _as_a_broker(message, "w1"), cluster=True)
        impostor.memory.add("uint53", 9)
        options = WorkerOptions(impostor.address, "w1", drain_seconds=1.0)
        async with asyncio.timeout(600), WorkerHost(
            a_server(), options, _KEY, network, random.randbytes, random.random
        ) as host:  # fmt: skip
            memory = impostor.memory
            strangers = [Stranger(network, host.address, memory) for _ in range(2)]
            await asyncio.sleep(0.1)
            for _ in range(MOST_STEPS):
                if script.is_over:
                    break
                decision = script.byte()
                stranger = strangers[decision & 1]
                if decision < 60:
                    reserved = memory.of("array")
                    secret = reserved[0][0] if reserved and reserved[0] and type(reserved[0][0]) is bytes else _SECRET
                    stranger.say(encode(Join(script.byte(), script.pick(("r1", "r2")), secret.ljust(16)[:16], {})))
                elif decision < 160:
                    stranger.say(invent(script, memory, cluster=decision < 70))
                else:
                    impostor.say_something()
                await asyncio.sleep(script.byte() / 64)
        impostor.close()
        for stranger in strangers:
            stranger.hang_up()
        network.close()


def _as_an_admins_broker(message: Any) -> Sequence[bytes]:
    if isinstance(message, Enquire):
        return [encode_cluster(Challenge(_SECRET, prove(_KEY, "broker", message.nonce, _SECRET, b"admin")))]
    if isinstance(message, Admit):
        return [encode_cluster(Admitted("fuzz"))]
    if isinstance(message, Command):
        return [encode_cluster(Result(message.ask, {}))]
    return []


async def admin(script: Script, random: Random) -> None:
    """An administrator whose broker says anything."""
    network = MemoryNetwork()
    impostor = Impostor(network, script, _as_an_admins_broker, cluster=bool(script.byte() & 1))
    async with watched():
        with expect():
            async with AdminClient(impostor.address, BrokerPass(_KEY), 1.0, network) as client:
                for _ in range(4):
                    with expect():
                        await client.command("rooms", first=script.byte())
                    impostor.say_something()
        impostor.close()
        network.close()


SCENES = {scene.__name__: in_memory(scene) for scene in (server, workers_address, client, worker, admin)}
"""Targets by name."""
