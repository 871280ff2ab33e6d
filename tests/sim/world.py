"""One run: a server, players who come, talk, read slowly and go, and a network that fails them."""

import asyncio
import contextlib
import logging
from random import Random
from typing import Any
from unittest import mock

from server_room_system import (
    AsyncClient,
    ClientRoom,
    NotInRoomError,
    RemoteError,
    RuleSet,
    ServerRoomError,
    TimedOut,
    errors,
)
from server_room_system.testing import InMemorySystem, system

from .ledger import Ledger, Visit
from .rooms import ROOM_TYPES, Recorder, RecordingServer

__all__ = ["World"]

CHAOS = 25.0
"""Seconds in which connections fail and everybody does something."""
SETTLING = 40.0
"""Seconds after which everybody who can be back is back, and has read everything."""
WISHES = [RuleSet(2, room="pair"), RuleSet(2, room="pair", mode="ranked"), RuleSet(3, room="thoughtful")]


class World:
    """A run. ``await World(seed).run()`` raises AssertionError for what must not be.

    Args:
        players: how many there are.
        fanout: of all rooms.
        workers: how many host them; None: the broker does.
    """

    def __init__(self, seed: int, players: int = 9, fanout: str = "unicast", workers: int | None = None) -> None:
        self.seed = seed
        self.fanout = fanout
        self.workers = workers
        self.random = Random(seed)
        self.calm = False
        self.loop = asyncio.get_running_loop()
        self.ledger = Ledger(self.loop.time)
        self.server = RecordingServer(self.ledger, self.random)
        self.system: InMemorySystem
        self.trace: list[tuple[float, int, Any]] = []
        """What was read, when and by which visit: two runs of one seed have the same."""
        self.cuts = 0
        self.stalls = 0
        self._players = [Player(self, number) for number in range(players)]

    async def run(self) -> None:
        """Chaos, then calm, then the end."""
        with (
            _errors_in_the_log(self.ledger),
            mock.patch.object(Recorder, "fanout", self.fanout),
        ):
            try:
                await self._play()
            except Exception as error:  # noqa: BLE001  # whatever it is, there must be none
                self.ledger.mistake(f"raised {error!r}")
        self.ledger.check_visits()
        assert self.ledger.mistakes == [], "\n".join([f"seed {self.seed}:", *self.ledger.mistakes[:20]])

    async def _play(self) -> None:
        async with system(self.server, workers=self.workers) as self.system:
            self.system.network.mark = self.random.choice((5, 30, 256))  # frames that a connection takes
            lives = [asyncio.ensure_future(player.live()) for player in self._players]
            await self._chaos(CHAOS)
            self.calm = True
            self.server.calm_down()
            await asyncio.sleep(SETTLING)
            self.ledger.check_calm()
            for player in self._players:
                player.check_told()
            for life in lives:
                life.cancel()
            for end in await asyncio.gather(*lives, return_exceptions=True):
                if not isinstance(end, asyncio.CancelledError):
                    self.ledger.mistake(f"a player ended: {end!r}")
            for player in self._players:
                await player.client.close()
            await asyncio.sleep(15.0)
            self._check_nobody_is_left()
        self._check_nothing_is_left()

    async def _chaos(self, seconds: float) -> None:
        end = self.loop.time() + seconds
        while self.loop.time() < end and not self.ledger.mistakes:
            await asyncio.sleep(self.random.uniform(0.05, 1.0))
            network, fault = self.system.network, self.random.random()
            if fault < 0.5:
                self.cuts += network.cut_one()
            elif fault < 0.65:
                # Of workers' own connections, only the broker's silence is not a fault to live through: see the leases.
                self.stalls += network.stall_one() if self.workers is None else self._stall_a_player()
            elif fault < 0.9:
                self.random.choice(self._players).pull_the_plug(self.random.choice((0.3, 2.0, 5.0, 10.0)))

    def _stall_a_player(self) -> bool:
        self.system.stall(self.random.choice(self._players).client)
        return True

    def _check_nobody_is_left(self) -> None:
        broker = self.system.host.broker
        for what, count in {
            "sessions": len(broker.sessions),
            "tickets": len(broker.queues),
            "members": sum(len(stream.present) for stream in self.ledger.streams.values()),
            "connections": self.system.network.connections - len(self.system.workers),
        }.items():
            if count:
                self.ledger.mistake(f"{count} {what} are left when all clients are closed")

    def _check_nothing_is_left(self) -> None:
        host = self.system.host
        left: dict[str, int] = {
            "rooms": len(host.worker.rooms),
            "rooms in the directory": len(host.broker.directory),
            "connections": self.system.network.connections,
            "tasks": len(asyncio.all_tasks()) - 1,
        }
        for what, count in left.items():
            if count:
                self.ledger.mistake(f"{count} {what} are left after the end")


class Player:
    """Somebody with a client, who joins rooms one after the other."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.client: AsyncClient
        self._random = Random(world.random.random())
        self._slow = self._random.random() < 0.4
        self._inbox = self._random.choice((3, 10, 4096)) if self._slow else 4096
        self._rooms: list[ClientRoom] = []
        self._said = 0
        self._told = 0
        self._unplugged: asyncio.TimerHandle | None = None

    def pull_the_plug(self, seconds: float) -> None:
        """No connection for so long."""
        client = getattr(self, "client", None)
        if self._unplugged is None and client is not None and not client.closed:
            self.world.system.unplug(client)
            self._unplugged = self.world.loop.call_later(seconds, self._plug, client)

    def _plug(self, client: AsyncClient) -> None:
        self._unplugged = None
        self.world.system.plug(client)

    async def live(self) -> None:
        """Connect, again whenever the session is lost for good; join rooms as long as there is chaos."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    self.client = await self.world.system.client(inbox=self._inbox, reconnect_timeout=20.0)
                except ServerRoomError:
                    continue  # a fault right at the start
                self._told = 0
                listening = tasks.create_task(self._listen(self.client))
                while not self.client.closed:
                    await self._do_something(tasks)
                await listening

    async def _do_something(self, tasks: asyncio.TaskGroup) -> None:
        if self.world.calm:
            await asyncio.sleep(0.5)
            return
        await asyncio.sleep(self._random.uniform(0.0, 0.5))
        try:
            what = self._random.random()
            if what < 0.25:
                await self._say_to_the_server()
            elif what < 0.28:
                await self.client.close()
            else:
                await self._visit(tasks)
        except (RemoteError, TimeoutError, NotInRoomError, errors.ClientClosedError, errors.BrokerUnreachable):
            pass  # each is an answer that somebody who asks has to live with

    # Outside of rooms.

    async def _say_to_the_server(self) -> None:
        self._said += 1
        await self.client.send("said", [self.client.id, self._said], ack=self._random.random() < 0.5, timeout=5.0)

    async def _listen(self, client: AsyncClient) -> None:
        async for message in client:
            if message.kind == "reset":
                self.world.ledger.mistake(f"client {client.id} was reset by the server")
            who, serial = message.data
            if who != client.id or serial != self._told + 1:
                self.world.ledger.mistake(f"client {client.id} heard {serial} for {who} after {self._told}")
            self._told = serial
            await self._take_its_time()

    async def _take_its_time(self) -> None:
        if self._slow and not self.world.calm:
            await asyncio.sleep(self._random.choice((0.0, 0.0, 0.01, 0.1, 0.5)))

    def check_told(self) -> None:
        """Everything that the server said has been heard."""
        if not self.client.closed and self.world.server.told.get(self.client.id, 0) != self._told:
            told = self.world.server.told.get(self.client.id)
            self.world.ledger.mistake(f"client {self.client.id} heard {self._told} of {told} that it was told")

    # In rooms.

    async def _visit(self, tasks: asyncio.TaskGroup) -> None:
        visit, room = await self._enter()
        visit.entered = True
        self._rooms.append(room)
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

    async def _enter(self) -> tuple[Visit, ClientRoom]:
        way, ledger, client = self._random.random(), self.world.ledger, self.client
        timeout = self._random.choice((0.5, 3.0, 8.0))
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
                    visit.acknowledged.append(number)
                else:
                    name = self._random.choices(("say", "burst", "kick", "close"), (80, 4, 1, 0.5))[0]
                    ack = self._random.random() < 0.3
                    await room.send(name, data, ack=ack, timeout=6.0)
                    if ack:
                        visit.acknowledged.append(number)
            except TimedOut:
                continue
            except RemoteError:
                visit.refused.append(number)

    async def _read(self, visit: Visit, room: ClientRoom) -> None:
        async for message in room:
            self.world.trace.append((self.world.loop.time(), visit.number, message.data))
            if visit.stream is None or visit.stream.room != room.id:
                self.world.ledger.mistake(f"visit {visit.number} reads in {room.id}, which does not know")
                continue
            visit.stream.reads(visit, message)
            await self._take_its_time()
        visit.over = True


class _Errors(logging.Handler):
    def __init__(self, ledger: Ledger) -> None:
        super().__init__(logging.ERROR)
        self._ledger = ledger

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, errors.RequestError):  # what a hook refuses with is an answer
            self._ledger.mistake(f"in the log: {record.getMessage()}: {error!r}")


@contextlib.contextmanager
def _errors_in_the_log(ledger: Ledger) -> Any:
    handler = _Errors(ledger)
    loggers = [logging.getLogger("server_room_system"), logging.getLogger("asyncio")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)
