"""Players that need no keyboard: each plays some games; see ``server.py`` for how to run it.

Every third comes with a friend, in a party; the last one quits its first game.
"""

import argparse
import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

from server_room_system import ClientRoom, QueueTicket, RemoteError, ServerRoomError, connect

__all__ = ["main", "play"]


async def play(address: str, name: str, games: int, friend: str | None = None, *, quits: bool = False) -> None:
    """One player, or two in a party, until they have played their games."""
    async with connect(address, credentials=name) as client:
        if friend is None:
            for game in range(games):
                ticket = await client.enqueue("ranked", timeout=10)
                await finish(name, ticket, quits=quits and game == 0)
            return
        async with connect(address, credentials=friend) as other:
            party = await client.party()
            mate = await other.join_party(party.code)
            for _ in range(games):
                tickets = [await client.enqueue("ranked", timeout=10), await mate.enqueue(timeout=10)]
                await asyncio.gather(*(finish(*one) for one in zip((name, friend), tickets, strict=True)))


async def finish(name: str, ticket: QueueTicket, *, quits: bool = False) -> None:
    """From the queue to the end of the game."""
    try:
        room = await ticket.room()  # accepts the match that is found
    except RemoteError as error:
        print(f"{name}: no game: {error}", flush=True)
        return
    if quits:
        await room.receive(10)
        await room.leave()
        print(f"{name}: quits", flush=True)
        return
    print(f"{name}: {await result(room)}", flush=True)


async def result(room: ClientRoom) -> str:
    """How the game ends for us."""
    async for message in room:
        if message.type == "over":
            return f"{'won' if message.data['won'] else 'lost'}, now at {message.data['skill']}"
    return f"the game has ended: {room.error}"


async def main(address: str, bots: int, games: int) -> int:
    """Let them play. The exit code."""
    players: list[Coroutine[Any, Any, None]] = []
    names = [f"bot{number}" for number in range(1, bots + 1)]
    while names:
        name = names.pop(0)
        friend = names.pop(0) if len(names) > 1 and len(players) % 3 == 2 else None
        players.append(play(address, name, games, friend, quits=not names))
    try:
        await asyncio.gather(*players)
    except ServerRoomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("all games are played", flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.ranked.bots")
    parser.add_argument("--bots", type=int, default=12)
    parser.add_argument("--games", type=int, default=2)
    parser.add_argument("--port", type=int, default=1234)
    arguments = parser.parse_args()
    sys.exit(asyncio.run(main(f"tcp://127.0.0.1:{arguments.port}", arguments.bots, arguments.games)))
