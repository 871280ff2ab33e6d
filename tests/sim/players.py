"""Players: they come, join rooms one after the other, talk, read slowly, and go."""

import asyncio
import contextlib
from collections.abc import Sequence
from random import Random
from typing import Protocol

from server_room_system import (
    AsyncClient,
    ClientRoom,
    NotInRoomError,
    RemoteError,
    RequestError,
    RuleSet,
    ServerRoomError,
    TimedOut,
    errors,
)
from server_room_system.testing import InMemorySystem, Process, VirtualLoop

from .entering import Entering
from .ledger import Ledger, Visit
from .queueing import Queueing
from .rooms import ROOM_TYPES, RecordingServer
from .script import Script

__all__ = ["Player", "Stage"]

WISHES = [RuleSet(2, room="pair"), RuleSet(2, room="pair", mode="ranked"), RuleSet(3, room="thoughtful")]


class Stage(Protocol):
    """Where players play."""

    script: Script
    system: InMemorySystem
    server: RecordingServer
    ledger: Ledger
    loop: VirtualLoop
    calm: bool
    """Whether everybody rests."""

    def read(self, visit: Visit, data: object) -> None:
        """Told of everything that is read."""

    def codes(self) -> Sequence[str]:
        """Of the parties that there are."""
        ...


class Player:
    """Somebody with a client, who joins rooms one after the other."""

    def __init__(self, world: Stage, number: int) -> None:
        self.world = world
        self.number = number
        self.client: AsyncClient | None = None
        self.process = Process(f"player {number}")
        self._random = Random(f"{world.script.seed} player {number}")
        self.queueing = Queueing(world.ledger, Random(f"{world.script.seed} queueing {number}"), world.codes)
        self.entering = Entering(world.ledger, Random(f"{world.script.seed} entering {number}"))
        self._last_room: str | None = None
        self._slow = self._random.random() < 0.4
        self._inbox = self._random.choice((3, 10, 4096)) if self._slow else 4096
        self._rooms: list[ClientRoom] = []
        self._said = 0
        self._told = (0, 0)
        """The last that the server said: of which broker, and its serial."""
        self._unplugged: asyncio.TimerHandle | None = None

    def pull_the_plug(self, seconds: float) -> bool:
        """No connection for so long. Whether there was one."""
        client = self.client
        if self._unplugged is not None or client is None or client.closed:
            return False
        self.world.system.unplug(client)
        self._unplugged = self.world.loop.call_later(seconds, self._plug, client)
        return True

    def _plug(self, client: AsyncClient) -> None:
        self._unplugged = None
        if client is self.client:
            self.world.system.plug(client)

    async def die(self) -> bool:
        """Its client is gone without a word; it takes another. Whether there was one."""
        client = self.client
        if client is None or client.closed or self.process.stopped:
            return False
        self.client = None
        await self.world.system.kill_client(client)
        return True

    async def live(self) -> None:
        """Connect, again whenever the session is lost for good; join rooms as long as there is chaos."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    client = self.client = await self.world.system.client(inbox=self._inbox, reconnect_timeout=20.0)
                except ServerRoomError:
                    continue  # a fault right at the start
                self._told = (0, 0)
                listening = tasks.create_task(self._listen(client))
                while not client.closed:
                    await self._do_something(client, tasks)
                await listening

    async def _do_something(self, client: AsyncClient, tasks: asyncio.TaskGroup) -> None:
        if self.world.calm:
            await asyncio.sleep(0.5)
            return
        await asyncio.sleep(self._random.uniform(0.0, 0.5))
        try:
            what = self._random.random()
            if what < 0.25:
                await self._say_to_the_server(client)
            elif what < 0.28:
                await client.close()
            elif what < 0.4 and self.world.script.queues:
                await self.queueing.about_parties(client)
            elif 0.4 <= what < 0.5 and self.world.script.ways:
                await self.entering.about_lists(client, tasks)
            else:
                await self._visit(client, tasks)
        except (RemoteError, TimeoutError, NotInRoomError, errors.ClientClosedError, errors.BrokerUnreachable):
            pass  # each is an answer that somebody who asks has to live with

    # Outside of rooms.

    async def _say_to_the_server(self, client: AsyncClient) -> None:
        self._said += 1
        await client.send("said", [client.id, self._said], ack=self._random.random() < 0.5, timeout=5.0)

    async def _listen(self, client: AsyncClient) -> None:
        async for message in client:
            if message.kind == "reset":
                self.world.ledger.mistake(f"client {client.id} was reset by the server")
            life, who, serial = message.data
            before, last = self._told
            if who != client.id or life < before or serial != (last if life == before else 0) + 1:
                heard = f"{serial} of broker {life} for {who}"
                self.world.ledger.mistake(f"client {client.id} heard {heard} after {last} of {before}")
            self._told = life, serial
            await self._take_its_time()

    async def _take_its_time(self) -> None:
        if self._slow and not self.world.calm:
            await asyncio.sleep(self._random.choice((0.0, 0.0, 0.01, 0.1, 0.5)))

    def check_told(self) -> None:
        """Everything that the server said has been heard."""
        client, server = self.client, self.world.server
        if client is None or client.closed:
            return
        told = server.told.get(client.id, 0)
        if told != (self._told[1] if self._told[0] == server.life else 0):
            self.world.ledger.mistake(f"client {client.id} heard {self._told} of {told} that it was told")

    # In rooms.

    async def _visit(self, client: AsyncClient, tasks: asyncio.TaskGroup) -> None:
        visit, room = await self._enter(client)
        visit.entered = True
        self._last_room = room.id if visit.wanted is not None else None
        self._rooms.append(room)
        self._rooms = [each for each in self._rooms if each.joined]
        if room.id != getattr(visit.stream, "room", None):
            self.world.ledger.mistake(f"visit {visit.number} entered {room.id}, and that does not know")
        reading = tasks.create_task(self._read(visit, room))
        with contextlib.suppress(NotInRoomError):
            await self._talk(visit, room)
        if self.world.calm and room.joined and self._random.random() < 0.7:
            return  # stays, to see that nothing is missing at the end
        if self._random.random() < 0.7:
            with contextlib.suppress(TimedOut):
                await room.leave(timeout=5.0)
        if room.joined and not self.world.calm:
            await asyncio.sleep(self._random.uniform(0.0, 2.0))  # and on to another one, while in this
        if not room.joined:
            await reading

    async def _enter(self, client: AsyncClient) -> tuple[Visit, ClientRoom]:
        way, ledger = self._random.random(), self.world.ledger
        timeout = self._random.choice((0.5, 3.0, 8.0))
        if self.world.script.queues and way < (0.6 if self.queueing.party_of(client) is None else 0.85):
            return await self.queueing.enter(client, self._last_room)
        if self.world.script.ways and self.entering.tries():
            return await self.entering.enter(client)
        if way < 0.45:
            wish = self._random.choice(WISHES)
            visit = ledger.asks(client.id, wish)
            async with asyncio.timeout(self._random.choice((0.7, 20.0))):  # some give up before the ticket ends
                return visit, await client.match(wish, options={"visit": visit.number}, timeout=timeout)
        if way < 0.85:
            ours = {room.id for room in self._rooms if room.joined}
            listed = [each["room"] for each in await client.rooms(timeout=3.0) if each["room"] not in ours]
            if listed:
                visit = ledger.asks(client.id, None)
                options = {"visit": visit.number, "unwelcome": self._random.random() < 0.1}
                return visit, await client.join_by_id(self._random.choice(listed), options=options, timeout=timeout)
        kind = self._random.choice([name for name in ROOM_TYPES if name != "pair"])
        visit = ledger.asks(client.id, None)
        options = {"visit": visit.number}
        return visit, await client.create(RuleSet(2, room=kind), options=options, timeout=timeout)

    async def _talk(self, visit: Visit, room: ClientRoom) -> None:
        for _ in range(self._random.choice((0, 3, 15, 40))):
            if self.world.calm:
                return
            await asyncio.sleep(self._random.choice((0.0, 0.02, 0.3)))
            number = len(visit.sent) + 1
            visit.sent.append(number)
            data = [room.id, number]
            try:
                if self._random.random() < 0.2:
                    answer = await room.request("ask", data, timeout=6.0)
                    if answer != data:
                        self.world.ledger.mistake(f"visit {visit.number} asked {data} and was answered {answer}")
                    self.world.ledger.acknowledges(visit, number)
                else:
                    name = self._random.choices(("say", "burst", "kick", "close"), (80, 4, 1, 0.5))[0]
                    ack = self._random.random() < 0.3
                    await room.send(name, data, ack=ack, timeout=6.0)
                    if ack:
                        self.world.ledger.acknowledges(visit, number)
            except TimedOut:
                continue
            except RequestError:
                visit.refused.append(number)

    async def _read(self, visit: Visit, room: ClientRoom) -> None:
        async for message in room:
            self.world.read(visit, message.data)
            if visit.stream is None or visit.stream.room != room.id:
                self.world.ledger.mistake(f"visit {visit.number} reads in {room.id}, which does not know")
                continue
            visit.stream.reads(visit, message)
            await self._take_its_time()
        visit.over = True
