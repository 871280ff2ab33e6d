"""A room that is over is gone at once: nothing of it waits for the cyclic collector, which rarely looks."""

import asyncio
import contextlib
import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from server_room_system import JoinRefused, Member, Room, RuleSet, Server
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


@pytest.mark.parametrize("slow", [False, True])
def test_a_room_that_was_never_born_is_gone_as_well(slow: bool) -> None:
    class Picky(Room):
        def on_create(self, options: dict[str, Any]) -> Any:
            rooms.append(weakref.ref(self))
            if slow:
                return self.refuse()
            raise JoinRefused("no")

        async def refuse(self) -> None:
            await asyncio.sleep(0.1)
            raise JoinRefused("no")

    async def main() -> None:
        async with system(Server(rooms={"picky": Picky})) as memory:
            client = await memory.client()
            with pytest.raises(JoinRefused):
                await client.create(RuleSet(4, room="picky"))
            await asyncio.sleep(2.0)
            assert rooms[0]() is None, gc.get_referrers(rooms[0]())

    run(main)


def test_a_room_that_is_too_small_for_its_rules_is_gone_as_well() -> None:
    class Small(Room):
        max_clients = 1

        def __init__(self, ruleset: RuleSet) -> None:
            super().__init__(ruleset)
            rooms.append(weakref.ref(self))

    async def main() -> None:
        async with system(Server(rooms={"small": Small})) as memory:
            one, two = await memory.client(), await memory.client()
            # Without its name in the rules, nobody knows before it is made how many seats it has.
            asked = [asyncio.ensure_future(client.match(RuleSet(2))) for client in (one, two)]
            await asyncio.gather(*asked, return_exceptions=True)
            await asyncio.sleep(2.0)
            assert rooms
            assert rooms[0]() is None, gc.get_referrers(rooms[0]())

    run(main)


def test_a_room_whose_last_hook_never_ends_is_gone_when_that_is_stopped() -> None:
    class Endless(Hall):
        async def on_dispose(self) -> None:
            with contextlib.suppress(asyncio.CancelledError):  # the log would keep it, and with it this frame
                await asyncio.sleep(1000.0)

    async def main() -> None:
        async with system(Server(rooms={"hall": Endless})) as memory:
            client = await memory.client()
            room = await client.create(RuleSet(4, room="hall"))
            await room.leave()
            await asyncio.sleep(8.0)
            assert rooms[0]() is None, gc.get_referrers(rooms[0]())

    run(main)


def test_what_is_said_in_a_room_that_is_over_is_not_kept() -> None:
    async def main() -> None:
        async with system(Server(rooms={"hall": Hall})) as memory:
            client = await memory.client()
            await client.create(RuleSet(4, room="hall"))
            hall = rooms[0]()
            assert hall is not None
            hall.broadcast("said", 0)
            hall.close()
            await asyncio.sleep(1.0)
            words = bytes(1000)
            tracemalloc.start()
            for _ in range(2000):
                hall.broadcast("said", words)
            size, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert size < 100_000

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
