"""The built-in scenarios. Each runs against ``lab/server.py``."""

from ..client import AsyncClient, ClientRoom
from ..protocol.rulesets import RuleSet
from .bot import Bot

__all__ = ["SCENARIOS", "Audience", "Echo", "Joins", "Rooms"]

_PATIENCE = 30.0


class Rooms(Bot):
    """Rooms of 4; everybody sends, and all hear it."""

    bots = 40
    group = 4
    rate = 20.0

    async def join(self, client: AsyncClient) -> ClientRoom:
        return await client.match(RuleSet(4, room="passing"), timeout=_PATIENCE)

    async def act(self, room: ClientRoom, stamp: str) -> None:
        await room.send("say", {"stamp": stamp, "x": 12.5, "y": -3.25, "text": "hello"})


class Echo(Bot):
    """Rooms of one; the room answers its only member."""

    bots = 10
    rate = 50.0
    heard_by = "sender"

    async def join(self, client: AsyncClient) -> ClientRoom:
        return await client.match(RuleSet(1, room="echoing"), timeout=_PATIENCE)

    async def act(self, room: ClientRoom, stamp: str) -> None:
        await room.send("say", stamp)


class Audience(Bot):
    """One large room; one member sends 100 bytes, and all hear it."""

    bots = 200

    def __init__(self, number: int, total: int) -> None:
        super().__init__(number, total)
        self.rate = 20.0 if number == 0 else 0.0

    async def join(self, client: AsyncClient) -> ClientRoom:
        return await client.match(RuleSet(self.total, room="passing"), timeout=_PATIENCE)

    async def act(self, room: ClientRoom, stamp: str) -> None:
        await room.send("say", stamp.ljust(100))


class Joins(Bot):
    """Clients who connect, get a room of their own, leave, and come again."""

    bots = 20
    rate = 5.0
    visits = True

    async def join(self, client: AsyncClient) -> ClientRoom:
        return await client.match(RuleSet(1, room="echoing"), timeout=_PATIENCE)


SCENARIOS: dict[str, type[Bot]] = {"rooms": Rooms, "echo": Echo, "audience": Audience, "joins": Joins}
"""By the name that the command line gives them."""
