"""A crowd that needs no keyboard: see ``server.py`` for how to run it.

Hosts make tables, say other things of them as time goes by, and close them by
leaving; players sit down at whatever fits them. One who only watches tells what
the list tells, and sees at the end that it is the same that the server has.
"""

import argparse
import asyncio
import random
import sys
from typing import Any

from server_room_system import (
    AsyncClient,
    ClientRoom,
    RequestError,
    RequestRefused,
    RoomList,
    RuleSet,
    ServerRoomError,
    connect,
)

from .board import Board

__all__ = ["main"]

TABLE = RuleSet(1, "table")
GAMES = ("chess", "go", "poker")


async def host(client: AsyncClient, name: str, until: asyncio.Event) -> None:
    """Make a table, and change what it says of itself."""
    about = {"title": f"{name}'s table", "game": random.choice(GAMES), "level": random.randint(1, 5)}
    password = "swordfish" if random.random() < 0.25 else None
    room = await client.create(TABLE, password=password, options=about)
    while not until.is_set():
        await a_while(until)
        try:
            await room.request("describe", {"level": random.randint(1, 9)})
            if password is not None and random.random() < 0.5:
                await room.request("password", "")  # for all from now on
                password = None
        except RequestRefused:
            continue  # somebody has found it in the list and sat down before us: that is whose it is
    await room.leave()


async def player(client: AsyncClient, until: asyncio.Event) -> None:
    """Sit down here and there: at a table of the list, or at any that fits."""
    while not until.is_set():
        game, level = random.choice(GAMES), random.randint(1, 5)
        try:
            if random.random() < 0.5:
                room = await client.join_or_create(
                    TABLE,
                    where={"game": game, "level": {"min": level}},
                    options={"title": f"any {game}", "game": game, "level": level},
                )
            else:
                room = await from_the_list(client, {"game": [game, "chess"], "title": {"prefix": "host"}})
        except RequestError:
            await a_while(until)  # somebody was faster, or there is none: look again
            continue
        await room.send("message", f"a game of {room.info['metadata']['game']}?")
        await a_while(until)
        await room.leave()


async def from_the_list(client: AsyncClient, wanted: dict[str, Any]) -> ClientRoom:
    """Sit down at the emptiest table that fits. Raises what the server says where that does not work out."""
    rooms = [room for room in await client.rooms("table", where=wanted) if not room["locked"]]
    emptiest = min(rooms, key=lambda room: (room["password"], room["clients"]), default={"room": "none"})
    return await client.join_by_id(str(emptiest["room"]), password="swordfish" if emptiest.get("password") else None)


async def tell(rooms: RoomList, board: Board, counts: dict[str, int]) -> None:
    """Print what a list tells, and count it."""
    signs = {"added": "+", "changed": "~", "removed": "-"}
    async for change in rooms:
        counts[change.kind] = counts.get(change.kind, 0) + 1
        if change.kind in signs:
            print(board.line(signs[change.kind], change.room), flush=True)


async def a_while(until: asyncio.Event) -> None:
    """Wait for some tenths of a second, or until it is over."""
    try:
        await asyncio.wait_for(until.wait(), random.uniform(0.2, 0.8))
    except TimeoutError:
        return


async def visit(address: str, name: str, until: asyncio.Event) -> None:
    """One visitor, from coming to going."""
    async with connect(address, credentials=name) as client:
        if name.startswith("host"):
            await host(client, name, until)
        else:
            await player(client, until)


async def crowd(address: str, visitors: int, seconds: float) -> int:
    """Let them come and go under the eyes of one who watches. The exit code."""
    until, board, counts = asyncio.Event(), Board(), dict[str, int]()
    async with connect(address, credentials="watcher") as watcher, await watcher.watch_rooms("table") as rooms:
        telling = asyncio.ensure_future(tell(rooms, board, counts))
        names = [f"{'host' if number % 3 == 1 else 'player'}{number}" for number in range(1, visitors + 1)]
        asyncio.get_running_loop().call_later(seconds, until.set)
        try:
            await asyncio.gather(*(visit(address, name, until) for name in names))
            same = await is_the_same(watcher, rooms)
        finally:
            telling.cancel()
            await asyncio.wait([telling])
    print(
        f"{visitors} visitors: {counts.get('added', 0)} tables came, {counts.get('changed', 0)} changes, "
        f"{counts.get('removed', 0)} went; {counts.get('reset', 0) - 1} times the list began anew",
        flush=True,
    )
    print("the list is the server's" if same else "THE LIST IS NOT THE SERVER'S", flush=True)
    return 0 if same else 1


async def is_the_same(client: AsyncClient, rooms: RoomList) -> bool:
    """Whether what changes have made of a list is what the server says when it is asked."""
    for _ in range(50):  # what changed last is told a moment later
        asked = await client.rooms("table")
        if sorted(asked, key=str) == sorted(rooms.rooms, key=str):
            return True
        await asyncio.sleep(0.1)
    return False


def main(address: str, visitors: int, seconds: float) -> int:
    """Run the crowd. The exit code."""
    try:
        return asyncio.run(crowd(address, visitors, seconds))
    except ServerRoomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.lobby.visitors")
    parser.add_argument("--visitors", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--port", type=int, default=1234)
    arguments = parser.parse_args()
    sys.exit(main(f"tcp://127.0.0.1:{arguments.port}", arguments.visitors, arguments.seconds))
