"""Seats that are taken at once, on connections that are cut behind each message in turn."""

import asyncio
from typing import Any

import pytest

from server_room_system import AsyncClient, ClientRoom, Member, Room, RuleSet, Server

from .proxy import Proxy
from .system import LOCAL, PATIENCE, on_a_loop

TWO = RuleSet(2, room="room")


class Booked(Room):
    """Counts who comes in, and takes its time with it."""

    max_clients = 4
    min_clients = 0

    def on_create(self, options: dict[str, Any]) -> None:
        self.joined: list[int] = []

    async def on_join(self, client: Member, options: dict[str, Any]) -> None:
        self.joined.append(client.id)
        await asyncio.sleep(0.01)

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> None:
        sender.send("echo", data)


async def enter(ann: AsyncClient, bob: AsyncClient, way: str) -> tuple[ClientRoom, ClientRoom | None]:
    """Ann comes into a room, alone or with Bob."""
    if way == "create":
        return await ann.create(TWO), None
    if way == "match":
        at_ann, at_bob = await asyncio.gather(ann.match(TWO), bob.match(TWO))
        return at_ann, at_bob
    at_bob = await bob.create(TWO)
    return await ann.join_by_id(at_bob.id), at_bob


@pytest.mark.parametrize("again", [0, 2, 5], ids=lambda again: f"and {again} behind that" if again else "once")
@pytest.mark.parametrize("behind", range(1, 8))
@on_a_loop
async def test_cut_behind_any_message_its_client_is_in_one_room_once(behind: int, again: int) -> None:
    for way in ("create", "match", "by id"):
        async with (
            Server(rooms={"room": Booked}).listen(LOCAL, 0) as host,
            Proxy(host.address, knows_frames=True) as proxy,
            AsyncClient(proxy.address) as ann,
            AsyncClient(host.address) as bob,
        ):
            proxy.cut_behind(behind)
            coming = asyncio.create_task(enter(ann, bob, way))
            if again:
                while proxy.accepted < 2 and not coming.done():
                    await asyncio.sleep(0.005)
                proxy.cut_behind(again)
            at_ann, at_bob = await asyncio.wait_for(coming, PATIENCE)
            await at_ann.send("say", "here")
            while (await at_ann.receive(PATIENCE)).type != "echo":
                pass
            (runner,) = host.worker.rooms.values()
            assert isinstance(runner.room, Booked)
            here = sorted(one.id for one in (ann, bob) if one is ann or at_bob is not None)
            assert sorted(runner.room.joined) == here
            assert sorted(member.id for member in runner.room.clients) == here
            assert len(runner.seats) == len(here)
            assert at_bob is None or at_bob.id == at_ann.id
