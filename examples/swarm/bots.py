"""A swarm: the bots, all in one process, each a client of its own. See ``server.py`` for how to run it."""

import argparse
import asyncio
import math
import sys

from server_room_system import RuleSet, ServerRoomError, connect

__all__ = ["Bot", "main"]

Place = tuple[float, float]


class Bot:
    """One client in the swarm."""

    def __init__(self) -> None:
        self.joined = asyncio.Event()
        self.ticks = 0
        self.missing = 0
        self.here: Place = (0.0, 0.0)
        self.spread = 0.0

    async def live(self, address: str, count: int) -> None:
        """Join the others, and steer until cancelled, or until the room ends."""
        async with connect(address) as client:
            room = await client.match(RuleSet(count, room="swarm"), timeout=30)
            self.joined.set()
            last: int | None = None
            async for message in room:
                if message.type != "places":
                    continue
                tick = message.data["tick"]
                self.missing += 0 if last is None else tick - last - 1
                last = tick
                self.ticks += 1
                places = {int(number): (x, y) for number, x, y in message.data["places"]}
                self.here = places.pop(client.id)
                if tick % 4 == 0 and places:
                    dx, dy = self.wish(list(places.values()))
                    await room.send("steer", {"dx": dx, "dy": dy})

    def wish(self, others: list[Place]) -> Place:
        """Towards the middle of the others, and away from who is nearer than 3."""
        x, y = self.here
        dx = sum(other[0] for other in others) / len(others) - x
        dy = sum(other[1] for other in others) / len(others) - y
        self.spread = math.hypot(dx, dy)
        for other in others:
            distance = math.dist(self.here, other)
            if 0 < distance < 3:
                dx += (x - other[0]) / distance * 5
                dy += (y - other[1]) / distance * 5
        return dx, dy


async def all_joined(bots: list[Bot]) -> None:
    """Wait until the whole swarm is in its room."""
    for bot in bots:
        await bot.joined.wait()


async def main(address: str, count: int, seconds: float) -> int:
    """Let ``count`` bots live for some seconds, and tell how it goes. The exit code."""
    bots = [Bot() for _ in range(count)]
    tasks = [asyncio.create_task(bot.live(address, count)) for bot in bots]
    loop = asyncio.get_running_loop()
    together = asyncio.create_task(all_joined(bots))
    try:
        done, _ = await asyncio.wait([together, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for first in done:
            first.result()  # raises what went wrong
        began = then = loop.time()
        seen = 0
        print("  time   ticks/s   distance from the middle", flush=True)
        while (left := began + seconds - loop.time()) > 0:
            done, _ = await asyncio.wait(tasks, timeout=min(1.0, left), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            now, ticks = loop.time(), sum(bot.ticks for bot in bots)
            spread = sum(bot.spread for bot in bots) / count
            print(f"{now - began:5.1f} s {(ticks - seen) / count / (now - then):8.1f}   {spread:6.1f}", flush=True)
            then, seen = now, ticks
            if done:
                print("the room has ended", flush=True)
                break
    finally:
        together.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(together, *tasks, return_exceptions=True)
    missing = sum(bot.missing for bot in bots)
    idle = sum(bot.ticks == 0 for bot in bots)
    print(f"{count} bots saw {seen} ticks; {missing} are missing, {idle} bots saw none", flush=True)
    return 1 if missing or idle else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.swarm.bots")
    parser.add_argument("--bots", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--port", type=int, default=1234)
    options = parser.parse_args()
    if options.bots < 1:
        parser.error("a swarm has one bot at least")
    try:
        code = asyncio.run(main(f"tcp://127.0.0.1:{options.port}", options.bots, options.seconds))
    except ServerRoomError as error:
        sys.exit(f"error: {error}")
    sys.exit(code)
