"""A scenario for the load lab: people in chat rooms of four. Its server is the one of ``examples/chat``.

    srs bench examples/load/chatter.py --app examples/chat/server.py
    srs bench examples/load/chatter.py --app examples/chat/server.py --bots 200 --report chat.html

Two messages a second from each of four are more than people type.
"""

from server_room_system import Protocol, RuleSet
from server_room_system.client import AsyncClient, ClientRoom
from server_room_system.lab import Bot

__all__ = ["Chatter"]


class Chatter(Bot):
    """Somebody who takes a name, and talks."""

    bots = 20
    group = 4
    rate = 2.0

    async def join(self, client: AsyncClient) -> ClientRoom:
        room = await client.match(RuleSet(4, room="chat"), timeout=30)
        await room.request("name", f"bot {self.number}", timeout=10)
        return room

    async def act(self, room: ClientRoom, stamp: str) -> None:
        await room.send(Protocol.Request.MESSAGE, f"{stamp} is what I say")
