"""When all is quiet: all players ask for the same room at once, some answers come late or are lost, and they meet."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random

from server_room_system import AsyncClient, RuleSet, ServerRoomError
from server_room_system.testing import InMemorySystem

from .ledger import Ledger
from .players import Player
from .ways import Lounge, Way

__all__ = ["meet"]

_SEATS = Lounge.max_clients or 0


async def meet(system: InMemorySystem, ledger: Ledger, players: Sequence[Player], random: Random) -> None:
    """Have them meet, and see in how many rooms."""
    wanted = RuleSet(_SEATS, room="lounge", map="cave", level=f"of {random.random()}")
    there = [player for player in players if player.client is not None and player.client.connected]
    asked = [asyncio.ensure_future(player.process.run(_ask(ledger, player.client, wanted))) for player in there]
    for player in random.sample(there, len(there) // 3):  # what it says or what it is told may be lost
        await asyncio.sleep(random.choice((0.0, 0.001, 0.01)))
        assert player.client is not None
        system.unplug(player.client)
    await asyncio.sleep(0.3)
    for player in there:
        assert player.client is not None
        system.plug(player.client)
    rooms = Counter([room for room in await asyncio.gather(*asked) if room is not None])
    ledger.counts["met"] += len(asked)
    if len(rooms) > -(-len(asked) // _SEATS) or any(members > _SEATS for members in rooms.values()):
        ledger.mistake(f"{len(asked)} asked for one room of {_SEATS} at once, and are in {dict(rooms)}")


async def _ask(ledger: Ledger, client: AsyncClient | None, wanted: RuleSet) -> str | None:
    assert client is not None
    visit = ledger.asks(client.id, None)
    visit.way = Way("quick", ruleset=wanted)
    options = {"visit": visit.number, "quick": True}
    try:
        room = await client.join_or_create(wanted, options=options, timeout=20.0)
    except ServerRoomError as error:
        ledger.mistake(f"client {client.id} can't come into a room, when all is quiet: {error!r}")
        return None
    visit.entered = True
    return room.id
