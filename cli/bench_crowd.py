"""The bots of one load process: joining, acting when it is due, and listening all the time."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

from ..client import ClientRoom, Received, connect
from ..lab.bot import Bot
from ..lab.ledger import Account, Faults, Heard, Hearing
from ..lab.plan import Plan
from ..lab.schedule import SECOND, due_times, join_times
from ..lab.stamp import Stamp
from ..lab.tally import Notes, account_events, heard_events

__all__ = ["Crowd"]

Tell = Callable[[dict[str, Any]], None]
Clock = Callable[[], tuple[int, int]]

_CONNECT = 15.0
_AFTERMATH = 5.0
"""Seconds that acts have which were due and are not done when the measurement ends."""
_NEWS = 0.25
"""Seconds between two reports."""


class _Player:
    """One bot, its client, and what it hears."""

    def __init__(self, bot: Bot, plan: Plan, loop_times: Clock) -> None:
        self.bot = bot
        self._loop_times = loop_times
        self.rate = plan.rate if plan.rate is not None and bot.rate > 0 else bot.rate
        self.sent = 0
        self.done = 0
        self.hearing = Hearing(contiguous=bot.heard_by == "all")
        self.stack = AsyncExitStack()
        self.room: ClientRoom | None = None
        self._address = plan.address

    async def join(self) -> ClientRoom:
        """Connect, and get into the room."""
        client = await self.stack.enter_async_context(connect(self._address, connect_timeout=_CONNECT))
        self.room = await self.bot.join(client)
        return self.room

    async def listen(self, notes: Notes) -> None:
        """Check and count what comes, until the room or the client ends."""
        room = self.room
        assert room is not None
        async for message in room:
            self._hear(message, notes)
        if room.error is not None:
            notes.failed(f"a room ended: {type(room.error).__name__}: {room.error}")

    def _hear(self, message: Received, notes: Notes) -> None:
        offset = message.position.offset
        if message.kind == "reset":
            notes.failed("a bot was away for too long and missed messages (reset)")
        elif message.kind != "direct":
            self.hearing.at(offset)
        try:
            stamp = self.bot.stamp_in(message)
        except Exception as error:  # noqa: BLE001  # a bot's own code: counted, shown, and the run has failed
            notes.failed(f"in stamp_in, of a {message.type!r}: {type(error).__name__}: {error}")
            return
        if stamp is not None and self.hearing.hear(stamp.bot, stamp.number, offset):
            notes.delivered(stamp.due, self._loop_times()[0], time.monotonic_ns())

    async def play(self, dues: Iterator[int], notes: Notes) -> None:
        """Act at each of these times, or as soon after as the act before is done."""
        for due in dues:
            await _wait_until(due, notes)
            try:
                if self.room is None:
                    await self._visit(due, notes)
                elif not self.room.joined:
                    return
                else:
                    await self.bot.act(self.room, str(Stamp(self.bot.number, self.sent + 1, due)))
                    self.sent += 1
            except Exception as error:  # noqa: BLE001  # a bot's own code: counted, shown, and the run has failed
                notes.failed(f"{type(error).__name__}: {error}")
            notes.acted(due)
            self.done += 1

    async def _visit(self, due: int, notes: Notes) -> None:
        async with connect(self._address, connect_timeout=_CONNECT) as client:
            room = await self.bot.join(client)
            notes.joined(due, time.monotonic_ns(), measured=True)
            await room.leave()


class Crowd:
    """The bots of one load process.

    Args:
        plan: what to do.
        kind: the bots' class.
        tell: takes an event for the process that started this one.
        loop_times: since when the event loop is busy without a pause, in monotonic
            nanoseconds, and for how many it had nothing to do in all.
    """

    def __init__(self, plan: Plan, kind: type[Bot], tell: Tell, loop_times: Clock) -> None:
        self._plan = plan
        self._tell = tell
        self._players = {number: _Player(kind(number, plan.bots), plan, loop_times) for number in plan.numbers}
        self._loop_times = loop_times
        self._visits = kind.visits

    async def run(self, commands: "asyncio.Queue[str]") -> None:
        """Do what is commanded: ``join NS``, ``go NS``, ``end``, in this order.

        ``join`` begins to join at that time of the monotonic clock, ``go`` begins
        to warm up; ``end`` comes when nothing more is to be expected.
        """
        async with AsyncExitStack() as stack:
            for player in self._players.values():
                await stack.enter_async_context(player.stack)
            notes = Notes(0, 0, self._plan.slot)
            await self._join(await _time_of("join", commands), notes)
            self._report(notes)
            self._tell({"event": "joined"})
            start = await _time_of("go", commands)
            await self._play(start, commands)

    async def _join(self, start: int, notes: Notes) -> None:
        if self._visits:
            return

        async def come(number: int, due: int) -> None:
            await asyncio.sleep(max(0, due - time.monotonic_ns()) / SECOND)
            await self._players[number].join()
            notes.joined(due, time.monotonic_ns(), measured=False)

        async with asyncio.TaskGroup() as group:
            for number, due in join_times(self._plan.numbers, self._plan.join_rate, start):
                group.create_task(come(number, due))

    async def _play(self, start: int, commands: "asyncio.Queue[str]") -> None:
        begin, until = self._plan.window(start)
        notes = Notes(begin, until, self._plan.slot)
        players = self._players.values()
        listening = [asyncio.ensure_future(player.listen(notes)) for player in players if player.room]
        reporting = asyncio.ensure_future(self._keep_reporting(notes))
        try:
            _, idle_before = self._loop_times()
            await self._act(start, until, notes)
            busy = 1 - (self._loop_times()[1] - idle_before) / (time.monotonic_ns() - start)
            self._report(notes)
            accounts = {
                number: Account(player.room.id, player.sent) for number, player in self._players.items() if player.room
            }
            due = sum(1 for player in players for _ in due_times(player.bot.number, player.rate, start, until))
            for event in account_events(accounts, due - sum(player.done for player in players), busy):
                self._tell(event)
            await _expect("end", commands)
        finally:
            for task in (reporting, *listening):
                task.cancel()
            results = await asyncio.gather(reporting, *listening, return_exceptions=True)
        self._report(notes)
        for result in results:
            if isinstance(result, Exception):
                raise result
        self._settle()

    async def _act(self, start: int, until: int, notes: Notes) -> None:
        acting = [
            asyncio.ensure_future(player.play(due_times(number, player.rate, start, until), notes))
            for number, player in self._players.items()
        ]
        try:
            await asyncio.wait(acting, timeout=(until - time.monotonic_ns()) / SECOND + _AFTERMATH)
            # Where nobody acts, the others still listen, and this process is measured as long as all are.
            await asyncio.sleep((until - time.monotonic_ns()) / SECOND)
        finally:
            for task in acting:
                task.cancel()
            for result in await asyncio.gather(*acting, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def _keep_reporting(self, notes: Notes) -> None:
        while True:
            await asyncio.sleep(_NEWS)
            self._report(notes)

    def _report(self, notes: Notes) -> None:
        for event in notes.news():
            self._tell(event)

    def _settle(self) -> None:
        heard: Counter[tuple[str, int, Heard]] = Counter()
        faults = Faults()
        for player in self._players.values():
            faults.add(player.hearing.faults)
            if player.room:
                heard.update((player.room.id, bot, what) for bot, what in player.hearing.heard().items())
        for event in heard_events(heard, faults):
            self._tell(event)


async def _wait_until(due: int, notes: Notes) -> None:
    now = time.monotonic_ns()
    if due <= now:
        notes.held += 1
        await asyncio.sleep(0)  # the others listen meanwhile
        return
    await asyncio.sleep((due - now) / SECOND)
    notes.woke(due, time.monotonic_ns())


async def _time_of(word: str, commands: "asyncio.Queue[str]") -> int:
    return int(await _expect(word, commands))


async def _expect(word: str, commands: "asyncio.Queue[str]") -> str:
    line = await commands.get()
    command, _, argument = line.partition(" ")
    if command != word:
        raise ValueError(f"{word} was to come, not {line!r:.80}")
    return argument
