"""A client of ``srs demo``, in a process of its own: ``python -m server_room_system.cli.demo_client``.

It does what its standard input says, ``say MARK TEXT``, ``leave`` or ``quit``,
and tells what it sees on its standard output.
"""

import asyncio
import sys

from ..client import ClientRoom, connect
from ..protocol.rulesets import RuleSet
from .children import be_child, tell

__all__ = ["main"]


async def main(commands: asyncio.Queue[str], address: str, name: str, seats: int) -> None:
    """Be matched, and do as told."""
    async with connect(address, connect_timeout=10) as client:
        tell("connected", id=client.id)
        room = await client.match(RuleSet(seats, room="table"), options={"name": name}, timeout=10)
        tell("joined", room=room.id)
        listening = asyncio.ensure_future(_listen(room))
        while (line := await commands.get()) != "quit":
            word, _, rest = line.partition(" ")
            if word == "say":
                mark, _, text = rest.partition(" ")
                await room.send("say", {"mark": mark, "text": text}, ack=True)
            elif word == "leave":
                await room.leave()
                await listening
                tell("left")
        listening.cancel()
    tell("ended")


async def _listen(room: ClientRoom) -> None:
    async for message in room:
        if message.type == "said":
            tell("heard", room=room.id, **message.data)
        elif message.type == "gone":
            tell("missed", who=message.data)
        elif message.kind == "reset":
            tell("lost", room=room.id)


if __name__ == "__main__":
    be_child(lambda commands: main(commands, sys.argv[1], sys.argv[2], int(sys.argv[3])))
