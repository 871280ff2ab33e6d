"""A match: one reporter and many spectators, in one process. See ``server.py`` for how to run it.

If the stadium is lost (its worker died) or closes (its worker is drained), the
reporter opens another one, and everybody moves there with the session that they
have. What the spectators saw is counted: nothing missing, nothing twice.
"""

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack

from server_room_system import (
    AsyncClient,
    ClientRoom,
    NotInRoomError,
    RequestError,
    RuleSet,
    ServerRoomError,
    TimedOut,
    connect,
)

__all__ = ["Match"]

PAUSE = 0.1
"""Seconds between two events."""


class Match:
    """Where the match is now, and what was seen of it."""

    def __init__(self) -> None:
        self.stadium = asyncio.Condition()
        self.room = ""
        self.over = False
        self.events = 0
        self.seen = 0
        self.wrong = 0
        self.moves = 0

    async def report(self, client: AsyncClient, seconds: float) -> None:
        """The reporter: opens stadiums, and says what happens."""
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            options = {"reporter": True, "match": "us against them"}
            try:
                room = await client.create(RuleSet(1, room="stadium"), options=options, timeout=15)
                await self._move_to(room.id)
                while asyncio.get_running_loop().time() < end:
                    await room.send("event", f"event {self.events + 1}", timeout=5)
                    self.events += 1
                    await asyncio.sleep(PAUSE)
                await asyncio.sleep(1.0)
                self.over = True
                await room.leave()
            except (RequestError, NotInRoomError, TimedOut) as error:
                self.moves += 1
                print(f"the stadium is gone ({error}): the match goes on in another one", flush=True)
        self.over = True
        await self._move_to("")

    async def watch(self, client: AsyncClient) -> None:
        """A spectator: sits where the match is, until it is over."""
        here = ""
        while here := await self._next_stadium(here):
            try:
                room = await client.join_by_id(here, timeout=10)
            except (RequestError, TimedOut):
                continue  # it was gone before we came
            await self._sit(room)

    async def _next_stadium(self, before: str) -> str:
        """Where the match goes on; empty when it is over."""
        async with self.stadium:
            await self.stadium.wait_for(lambda: self.over or self.room != before)
            return "" if self.over else self.room

    async def _sit(self, room: ClientRoom) -> None:
        last: int | None = None
        async for message in room:
            if message.type == "event":
                number = message.data["number"]
                self.wrong += last is not None and number != last + 1
                last = number
                self.seen += 1
                if number % 10 == 0 and not room.error:
                    await room.send("cheer")

    async def _move_to(self, room: str) -> None:
        async with self.stadium:
            self.room = room
            self.stadium.notify_all()


async def play(address: str, spectators: int, seconds: float) -> int:
    """Run a match; 0 if nothing was missed."""
    match = Match()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(address)) for _ in range(spectators + 1)]
        watching = [asyncio.ensure_future(match.watch(client)) for client in clients[1:]]
        print(f"{spectators} spectators are here", flush=True)
        await match.report(clients[0], seconds)
        await asyncio.gather(*watching)
    print(
        f"{spectators} spectators saw {match.seen} events of {match.events} that were reported; "
        f"{match.wrong} out of order or missing; moved {match.moves} times",
        flush=True,
    )
    return 1 if match.wrong or not match.seen else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.stadium.match")
    parser.add_argument("--port", type=int, default=1234)
    parser.add_argument("--spectators", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=5.0)
    chosen = parser.parse_args()
    try:
        sys.exit(asyncio.run(play(f"tcp://127.0.0.1:{chosen.port}", chosen.spectators, chosen.seconds)))
    except ServerRoomError as error:
        sys.exit(f"error: {error}")
