"""A process of clients who join rooms one after the other, talk, and tell the oracle what they do and see.

``python -m tests.chaos.bots FOLDER NAME LIFE ADDRESS BOTS RATE SEED``. SIGUSR1 lets
them be calm: they say and join nothing, and go on reading. SIGUSR2 lets them go on.
SIGTERM ends them.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from server_room_system import (
    AsyncClient,
    ClientClosedError,
    ClientRoom,
    NotInRoomError,
    Received,
    RemoteError,
    RuleSet,
    ServerRoomError,
    TimedOut,
    connect,
)

from .events import Event
from .trace import Trace

__all__ = ["Bots"]

_NUMBERS = 10_000_000
"""Visits of one life of this process."""
_FLUSH = 0.05
"""Seconds that what was read may wait to be told."""


class Bots:
    """All clients of this process.

    Args:
        trace: where they tell what they do.
        life: a number that no other life of such a process has.
        address: of the broker.
        rate: messages a second of each, while in a room.
        random: decides what they do.
    """

    def __init__(self, trace: Trace, life: int, address: str, rate: float, random: Random) -> None:
        self.trace = trace
        self.address = address
        self.rate = rate
        self.random = random
        self.calm = False
        self._numbers: Iterator[int] = iter(range(life * _NUMBERS + 1, (life + 1) * _NUMBERS))

    def next_visit(self) -> int:
        """A number for a new visit."""
        return next(self._numbers)

    async def run(self, count: int) -> None:
        """Live until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._flush())
            for _ in range(count):
                tasks.create_task(Bot(self).live())

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH)
            self.trace.flush()


class Bot:
    """One client after the other."""

    def __init__(self, bots: Bots) -> None:
        self._bots = bots
        self._random = bots.random
        self._trace = bots.trace
        self._client: AsyncClient

    async def live(self) -> None:
        """Connect, again whenever the session is over; go from room to room."""
        while True:
            if self._bots.calm:
                await asyncio.sleep(0.1)
                continue
            try:
                async with connect(self._bots.address, inbox=self._random.choice((64, 4096))) as self._client:
                    async with asyncio.TaskGroup() as tasks:
                        for _ in range(self._random.randint(2, 8)):
                            await self._visit_one(tasks)
                        await self._client.close()  # what it is still in ends with it
                    if self._client.misrouted_bundles:
                        self._trace.note(Event.MISROUTED, self._client.id, self._client.misrouted_bundles)
            except ServerRoomError:
                await asyncio.sleep(self._random.uniform(0.1, 0.5))  # nobody there: a fault

    async def _visit_one(self, tasks: asyncio.TaskGroup) -> None:
        while self._bots.calm and not self._client.closed:
            await asyncio.sleep(0.1)
        if self._client.closed:
            return
        visit = Visit(self._bots, self._client)
        room = await visit.enter()
        if room is None:
            await asyncio.sleep(self._random.uniform(0.1, 0.5))
            return
        reading = tasks.create_task(visit.read(room))
        await visit.talk(room)
        while self._bots.calm and room.joined:
            await asyncio.sleep(0.1)
        if room.joined and self._random.random() < 0.2 and not self._client.closed:
            return  # and on to another one, while in this
        with contextlib.suppress(TimedOut):
            await room.leave(timeout=5.0)
        if not room.joined:
            await reading


class Visit:
    """One membership."""

    def __init__(self, bots: Bots, client: AsyncClient) -> None:
        self.number = bots.next_visit()
        self._bots = bots
        self._random = bots.random
        self._trace = bots.trace
        self._client = client
        self._sent = 0
        self._unfinished = 2  # talking and reading

    async def enter(self) -> ClientRoom | None:
        """Get into some room; None if that did not work out."""
        try:
            room = await self._ask()
        except (RemoteError, TimedOut, ClientClosedError, ServerRoomError) as error:
            self._trace.note(Event.GIVE_UP, self.number, type(error).__name__)
            return None
        self._trace.note(Event.ENTER, self.number, room.id)
        return room

    async def _ask(self) -> ClientRoom:
        what, client = self._random.random(), self._client
        if what < 0.35:
            self._ask_for(3)
            options = {"visit": self.number, "seats": 3}
            return await client.match(RuleSet(3, room="trio"), options=options, timeout=8.0)
        options = {"visit": self.number, "seats": 0}
        self._ask_for(0)
        if what < 0.85:
            kind = self._random.choice(("open", "brief", "crowd", "race"))
            listed = [each["room"] for each in await client.rooms(kind, timeout=5.0) if not each["locked"]]
            if listed:
                return await client.join_by_id(self._random.choice(listed), options=options, timeout=8.0)
        kind = self._random.choice(("open", "brief", "crowd", "race"))
        return await client.create(RuleSet(6, room=kind), options=options, timeout=8.0)

    def _ask_for(self, seats: int) -> None:
        self._trace.write(Event.ASK, self.number, self._client.id, seats)

    async def talk(self, room: ClientRoom) -> None:
        """Say things for a while."""
        try:
            await self._talk(room)
        finally:
            self._finished(room)

    async def _talk(self, room: ClientRoom) -> None:
        for _ in range(self._random.randint(0, int(20 * self._bots.rate))):
            await asyncio.sleep(self._random.expovariate(self._bots.rate))
            if self._bots.calm:
                return
            self._sent += 1
            number = self._sent
            self._trace.write(Event.SEND, self.number, number)
            try:
                await self._say(room, number)
            except NotInRoomError:
                return
            except ClientClosedError:
                return

    async def _say(self, room: ClientRoom, number: int) -> None:
        data = [room.id, number]
        try:
            if self._random.random() < 0.2:
                answer = await room.request("ask", data, timeout=10.0)
                if answer == data:
                    self._trace.note(Event.ACKED, self.number, number)
                else:
                    self._trace.note(Event.REFUSED, self.number, number)  # applied, with somebody else's answer
            else:
                name = self._random.choices(("say", "burst", "kick", "close"), (80, 3, 0.3, 0.2))[0]
                ack = self._random.random() < 0.3
                await room.send(name, data, ack=ack, timeout=10.0)
                if ack:
                    self._trace.note(Event.ACKED, self.number, number)
        except TimedOut:
            self._trace.note(Event.UNSURE, self.number, number)
        except (NotInRoomError, ClientClosedError):
            raise
        except RemoteError:
            self._trace.note(Event.REFUSED, self.number, number)

    async def read(self, room: ClientRoom) -> None:
        """Tell all that comes, until the end."""
        async for message in room:
            self._tell(message)
        self._finished(room)

    def _finished(self, room: ClientRoom) -> None:
        self._unfinished -= 1
        if not self._unfinished:  # whoever is last: nothing may follow
            error = room.error or self._client.error
            self._trace.note(Event.OVER, self.number, type(error).__name__ if error is not None else None)

    def _tell(self, message: Received) -> None:
        if message.kind == "presence":
            return
        if message.kind == "reset":
            self._trace.note(Event.RESET, self.number, message.data)
            return
        said, serial = message.data
        epoch, offset, direct = message.position
        is_broadcast = message.kind == "broadcast"
        self._trace.note(Event.READ, self.number, said, epoch, serial, offset, direct, is_broadcast)


async def _main() -> None:
    folder, name, life, address, count, rate, seed = sys.argv[1:]
    trace = Trace(Path(folder), "client", name).await_reader()
    bots = Bots(trace, int(life), address, float(rate), Random(f"{seed} {name} {life}"))
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(bots.run(int(count)))
    loop.add_signal_handler(signal.SIGUSR1, setattr, bots, "calm", True)
    loop.add_signal_handler(signal.SIGUSR2, setattr, bots, "calm", False)
    loop.add_signal_handler(signal.SIGTERM, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    trace.close()


def main() -> None:
    """Run them."""
    asyncio.run(_main())


if __name__ == "__main__":
    main()
