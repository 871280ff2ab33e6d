"""A room that is over is gone at once: nothing of it waits for the cyclic collector, which rarely looks."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from server_room_system import Member, Room, RuleSet, Server
from server_room_system.testing import run, system

rooms: "list[weakref.ref[Room]]" = []


@pytest.fixture(autouse=True)
def nobody_collects() -> Iterator[None]:
    rooms.clear()
    gc.disable()
    yield
    gc.enable()


class Hall(Room):
    max_clients = 4

    def on_create(self, options: dict[str, Any]) -> None:
        rooms.append(weakref.ref(self))
        self.every(0.5, self.beat)
        self.call_later(1000.0, self.close)

    def beat(self) -> None:
        self.broadcast("beat", None)

    async def on_dispose(self) -> None:
        if self.ruleset.criteria.get("slow"):
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("fanout", ["unicast", "topic"])
@pytest.mark.parametrize("slow", [False, True])
def test_a_room_that_has_ended_is_gone_with_the_turn(fanout: str, slow: bool) -> None:
    async def main() -> None:
        async with system(Server(rooms={"hall": type("Hall", (Hall,), {"fanout": fanout})}), workers=1) as memory:
            one, two = await memory.client(), await memory.client()
            first = await one.create(RuleSet(4, room="hall", slow=slow))
            second = await two.join_by_id(first.id)
            await first.send("x", ack=True)
            await asyncio.sleep(2.0)
            assert rooms[0]() is not None
            await second.leave()
            await first.leave()
            await asyncio.sleep(2.0)
            assert rooms[0]() is None, gc.get_referrers(rooms[0]())

    run(main)


def test_what_the_owner_still_holds_comes_to_nothing() -> None:
    held: list[Member] = []

    class Holding(Hall):
        def on_join(self, client: Member, options: dict[str, Any]) -> None:
            held.append(client)

    async def main() -> None:
        async with system(Server(rooms={"hall": Holding})) as memory:
            client = await memory.client()
            room = await client.create(RuleSet(4, room="hall"))
            hall = rooms[0]()
            assert hall is not None
            await room.leave()
            await asyncio.sleep(2.0)
            hall.broadcast("said", 1)
            held[0].send("said", 2)
            held[0].kick()
            hall.lock()
            hall.metadata = {"a": 1}
            hall.close()
            await asyncio.sleep(2.0)
            assert hall.clients == []
            assert hall.metadata == {"a": 1}

    run(main)
