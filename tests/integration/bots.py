"""Members who talk all the time, and what each of them hears: all of it, once, in one order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from server_room_system import AsyncClient, ClientRoom, NotInRoomError

from .system import until

EVERY = 0.01
"""Seconds between two messages of one member."""


class Talk:
    """The talk of some members of one room."""

    def __init__(self, members: Sequence[AsyncClient], rooms: Sequence[ClientRoom]) -> None:
        self.rooms = list(rooms)
        self.sent = [0 for _ in members]
        self.heard: list[list[list[Any]]] = [[] for _ in members]
        """Of each member: who said what, in the order in which it came."""
        self.resets = 0
        self.finished = False
        self._ids = [member.id for member in members]

    async def say(self, index: int) -> None:
        with contextlib.suppress(NotInRoomError):  # the test ends the room, and looks at why
            while not self.finished:
                await self.rooms[index].send("say", self.sent[index])
                self.sent[index] += 1
                await asyncio.sleep(EVERY)

    async def listen(self, index: int) -> None:
        async for message in self.rooms[index]:
            self.resets += message.kind == "reset"
            if message.type == "said":
                self.heard[index].append(message.data)

    async def flows(self, count: int = 50) -> None:
        """Wait until each member has heard so many more messages."""
        before = [len(heard) for heard in self.heard]
        await until(lambda: all(len(heard) >= count + old for heard, old in zip(self.heard, before, strict=True)))

    async def finish(self) -> None:
        """End the talk. Whatever was said has reached everybody, once and in one order."""
        self.finished = True
        for room in self.rooms:
            await room.send("say", "end", ack=True)
        ends = [[number, "end"] for number in self._ids]
        await until(lambda: all(end in heard for heard in self.heard for end in ends))
        self.check()

    def check(self) -> None:
        """All heard the same, each message of each member once and in its order."""
        first = self.heard[0]
        assert all(heard == first for heard in self.heard)
        for number, sent in zip(self._ids, self.sent, strict=True):
            assert [data for who, data in first if who == number and data != "end"] == list(range(sent))
        assert self.resets == 0


@contextlib.asynccontextmanager
async def talking(members: Sequence[AsyncClient], rooms: Sequence[ClientRoom]) -> AsyncIterator[Talk]:
    """These members talk until the end of this, or until ``finish``."""
    talk = Talk(members, rooms)
    tasks = [asyncio.ensure_future(one(index)) for one in (talk.say, talk.listen) for index in range(len(rooms))]
    try:
        yield talk
        for task in tasks:
            if task.done():
                task.result()
    finally:
        talk.finished = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
