"""A process of clients: ``python -m benchmarks.reliability.crowd WORK ARGUMENTS``; its last line is JSON."""

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from benchmarks.machine import raise_file_limit
from benchmarks.reliability.following import Follower, Tally
from benchmarks.reliability.wires import connections_to, reset
from server_room_system import AsyncClient, ClientRoom, NotInRoomError, RemoteError, RuleSet, TimedOut, connect

__all__ = ["WORKS"]

_PATIENCE = 60.0
_JOINERS = 50
"""Clients that connect at once."""


@dataclass
class Crowd:
    """The clients of this process, and what they found."""

    port: int
    tally: Tally = field(default_factory=Tally)
    troubles: list[str] = field(default_factory=list)
    clients: list[AsyncClient] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def connected(self, count: int) -> AsyncIterator[None]:
        """So many clients."""
        async with contextlib.AsyncExitStack() as stack:
            while len(self.clients) < count:
                some = [
                    connect(f"tcp://127.0.0.1:{self.port}", connect_timeout=_PATIENCE, reconnect_timeout=_PATIENCE)
                    for _ in range(min(_JOINERS, count - len(self.clients)))
                ]
                self.clients += await asyncio.gather(*(stack.enter_async_context(each) for each in some))
            yield

    async def enter(self, type: str, size: int) -> list[ClientRoom]:  # noqa: A002
        """All of them, in rooms of one type."""
        wish = RuleSet(size, room=type)
        return await asyncio.gather(*(client.match(wish, timeout=_PATIENCE) for client in self.clients))

    async def follow(self, client: AsyncClient, room: ClientRoom) -> None:
        """Check all that a room says, until it ends."""
        follower = Follower(room, client.id, self.tally)
        async for message in room:
            follower.hear(message)

    def result(self, **figures: Any) -> dict[str, Any]:
        """What is printed."""
        if any(client.misrouted_bundles for client in self.clients):
            self.troubles.append("bundles of other rooms' streams came, and were dropped")
        return {**self.tally.as_dict(), "troubles": self.troubles[:20], **figures}


async def reconnects(port: int, clients: int, goal: int, each_second: int, seed: int) -> dict[str, Any]:
    """Reset connections at random until the rooms have seen ``goal`` reconnects; members talk meanwhile.

    At the end, each message that they sent must have been applied, once.
    """
    crowd, chance = Crowd(port), random.Random(seed)
    async with crowd.connected(clients):
        rooms = await crowd.enter("fed", 10)
        async with asyncio.TaskGroup() as tasks:
            following = [
                tasks.create_task(crowd.follow(client, room)) for client, room in zip(crowd.clients, rooms, strict=True)
            ]
            done = asyncio.Event()
            talking = [tasks.create_task(_talk(room, done, random.Random(chance.random()))) for room in rooms]
            seen = 0
            while seen < goal:
                for _ in range(10):
                    await asyncio.sleep(0.1)
                    standing = connections_to(port)
                    for fd in chance.sample(standing, min(each_second // 10, len(standing))):
                        reset(fd)
                seen = (await rooms[0].request("account", timeout=_PATIENCE))["reconnects"]
            await asyncio.sleep(3.0)  # everybody is back, and has heard what there is
            done.set()
            sent = await asyncio.gather(*talking)
            for room, number in zip(rooms, sent, strict=True):
                account = await room.request("account", timeout=_PATIENCE)
                if (account["applied"], account["doubled"], account["skipped"]) != (number, 0, 0):
                    crowd.troubles.append(f"sent {number}, and the room says {account}")
            for room in rooms:
                await room.leave()
            await asyncio.gather(*following)
        return crowd.result(reconnects=seen, sent=sum(sent))


async def _talk(room: ClientRoom, done: asyncio.Event, chance: random.Random) -> int:
    number = 0
    while not done.is_set():
        number += 1
        await room.send("note", number, ack=chance.random() < 0.3, timeout=_PATIENCE)
        await asyncio.sleep(chance.uniform(0.1, 0.5))
    await room.send("note", number + 1, ack=True, timeout=_PATIENCE)
    return number + 1


async def churn(port: int, clients: int, goal: int, each_second: int, seed: int) -> dict[str, Any]:
    """Go from room to room, of both fan-outs, with connections reset meanwhile, until so much was delivered."""
    crowd, chance = Crowd(port), random.Random(seed)
    visits = 0

    async def wander(client: AsyncClient, chance: random.Random) -> None:
        nonlocal visits
        while crowd.tally.deliveries < goal:
            try:
                room = await client.match(RuleSet(20, room=chance.choice(("busy", "busy-topic"))), timeout=3.0)
            except (RemoteError, TimedOut):
                continue  # nobody else came for that room in time
            visits += 1
            following = asyncio.create_task(crowd.follow(client, room))
            await asyncio.sleep(chance.uniform(1.0, 6.0))
            with contextlib.suppress(TimedOut, NotInRoomError):
                await room.leave(timeout=_PATIENCE)
            await following

    async with crowd.connected(clients), asyncio.TaskGroup() as tasks:
        for client in crowd.clients:
            tasks.create_task(wander(client, random.Random(chance.random())))
        cut = second = 0
        while crowd.tally.deliveries < goal:
            await asyncio.sleep(1.0)
            second += 1
            if second % 15 == 0:
                print(f"one of two crowds: {crowd.tally.deliveries:,} of {goal:,} deliveries", flush=True)
            standing = connections_to(port)
            cut += sum(reset(fd) for fd in chance.sample(standing, min(each_second, len(standing))))
    return crowd.result(visits=visits, cut=cut)


async def one(port: int, times: int) -> dict[str, Any]:
    """Reset one client's connection again and again: seconds until it has what was said after that."""
    crowd = Crowd(port)
    took: list[float] = []
    async with crowd.connected(1):
        [room] = await crowd.enter("swift", 1)
        follower = Follower(room, crowd.clients[0].id, crowd.tally)
        for _ in range(times):
            await _hear_until(room, follower, time.monotonic_ns())
            began = time.monotonic_ns()
            for fd in connections_to(port):
                reset(fd)
            await _hear_until(room, follower, began)
            took.append((time.monotonic_ns() - began) / 1e9)
    return crowd.result(took=took)


async def _hear_until(room: ClientRoom, follower: Follower, since: int) -> None:
    """What is said in order, up to something that was said after a time: then nothing before it is missing."""
    while True:
        message = await room.receive(_PATIENCE)
        follower.hear(message)
        if message.type == "word" and message.data[2] > since:
            return


async def mass(port: int, clients: int, times: int, first: float, every: float) -> dict[str, Any]:
    """Reset all clients' connections at the same times: seconds until each has what was said after that."""
    crowd = Crowd(port)
    took: list[list[float]] = []
    async with crowd.connected(clients):
        rooms = await crowd.enter("fed", 10)
        followers = [Follower(room, client.id, crowd.tally) for client, room in zip(crowd.clients, rooms, strict=True)]
        if time.monotonic() > first:
            crowd.troubles.append("the clients were not there when the first reset was due")

        async def back(room: ClientRoom, follower: Follower, began: int) -> float:
            await _hear_until(room, follower, began)
            return (time.monotonic_ns() - began) / 1e9

        for number in range(times):
            due = first + number * every
            followed = [
                asyncio.create_task(back(room, follower, int(due * 1e9)))
                for room, follower in zip(rooms, followers, strict=True)
            ]
            await asyncio.sleep(due - time.monotonic())
            for fd in connections_to(port):
                reset(fd)
            took.append(await asyncio.gather(*followed))
    return crowd.result(took=took)


async def audience(port: int, clients: int, windows: list[list[float]]) -> dict[str, Any]:
    """Listen to one room: in each window of time, how old messages were when they came."""
    crowd = Crowd(port)
    ages: list[list[float]] = [[] for _ in windows]
    end = max(stop for _, stop in windows)

    async def listen(client: AsyncClient, room: ClientRoom) -> None:
        follower = Follower(room, client.id, crowd.tally)
        while time.monotonic() < end:
            message = await room.receive(_PATIENCE)
            follower.hear(message)
            if message.type == "word":
                now = time.monotonic()
                for number, (start, stop) in enumerate(windows):
                    if start <= message.data[2] / 1e9 < stop:
                        ages[number].append(now - message.data[2] / 1e9)

    async with crowd.connected(clients):
        rooms = await crowd.enter("fifty", 50)
        if len({room.id for room in rooms}) != 1:
            crowd.troubles.append("they are not in one room")
        await asyncio.gather(*(listen(*each) for each in zip(crowd.clients, rooms, strict=True)))
    return crowd.result(ages=ages)


WORKS: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]] = {
    "reconnects": reconnects, "churn": churn, "one": one, "mass": mass, "audience": audience,
}  # fmt: skip


def main() -> None:
    """Do what the arguments say."""
    raise_file_limit(8192)
    print(json.dumps(asyncio.run(WORKS[sys.argv[1]](**json.loads(sys.argv[2])))), flush=True)


if __name__ == "__main__":
    main()
