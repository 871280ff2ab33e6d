"""Lists of rooms that are watched over real sockets: what comes, changes and goes, also across a lost connection."""

import asyncio
from typing import Any

import pytest

from server_room_system import AsyncClient, BadFilter, CapacityReached, Room, RoomChange, RoomList, RuleSet, Server
from server_room_system.broker import listing
from server_room_system.broker.sessions import Session
from server_room_system.client.room_list import Replay
from server_room_system.protocol.room_messages import Listed
from server_room_system.testing import run, system

from .system import LOCAL, PATIENCE, clients, on_a_loop


class Table(Room):
    max_clients = 4

    def on_create(self, options: dict[str, Any]) -> None:
        self.metadata = options

    def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
        self.metadata = data


async def next_of(rooms: RoomList, kind: str) -> RoomChange:
    async with asyncio.timeout(PATIENCE):
        async for change in rooms:
            if change.kind == kind:
                return change
    raise AssertionError("the list has ended")


async def a_table(client: AsyncClient, **metadata: Any) -> Any:
    return await client.create(RuleSet(4, "table"), options=metadata)


@on_a_loop
async def test_a_list_shows_what_comes_changes_and_goes() -> None:
    async with Server(rooms={"table": Table}).listen(LOCAL, 0) as host, clients(host, 3) as (ann, ben, cyd):
        dust = await a_table(ann, map="dust")
        async with await cyd.watch_rooms("table", where={"map": ["dust", "port"]}) as rooms:
            assert [one["room"] for one in rooms.rooms] == [dust.id]
            await a_table(ben, map="mill")
            port = await a_table(ben, map="port")
            assert (await next_of(rooms, "added")).room["room"] == port.id
            await dust.send("metadata", {"map": "mill"}, ack=True)
            assert (await next_of(rooms, "removed")).room["room"] == dust.id
            await port.send("metadata", {"map": "port", "level": 2}, ack=True)
            while (await next_of(rooms, "changed")).room["metadata"].get("level") != 2:
                pass
            await port.leave()
            assert (await next_of(rooms, "removed")).room["room"] == port.id
            assert rooms.rooms == []


@on_a_loop
async def test_a_list_that_nobody_may_have_is_refused() -> None:
    async with Server(rooms={"table": Table}).listen(LOCAL, 0) as host, clients(host, 1) as (ann,):
        with pytest.raises(BadFilter):
            await ann.watch_rooms(where={"map": []})
        watched = [await ann.watch_rooms(where={"level": number}) for number in range(4)]
        with pytest.raises(CapacityReached):
            await ann.watch_rooms()
        await watched[0].close()
        await ann.watch_rooms()


def test_a_list_goes_on_across_a_lost_connection_and_a_broker_that_starts_anew() -> None:
    async def play() -> None:
        async with system(Server(rooms={"table": Table}), workers=1) as game:
            ann, cyd = await game.client(), await game.client()
            first = await a_table(ann, map="dust")
            rooms = await cyd.watch_rooms("table")
            game.unplug(cyd)
            second = await a_table(ann, map="mill")
            await first.leave()
            await game.sleep(2.0)
            game.plug(cyd)
            assert (await next_of(rooms, "added")).room["room"] == second.id
            await game.sleep(1.0)
            assert [one["room"] for one in rooms.rooms] == [second.id]
            await game.kill_broker()
            await game.sleep(2.0)
            await game.restart_broker()
            assert (await next_of(rooms, "reset")).room == {}
            await game.sleep(5.0)
            assert [one["room"] for one in rooms.rooms] == [second.id]

    run(play)


def test_the_end_of_a_list_that_is_lost_with_its_connection_comes_on_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "_MOST_BYTES", 1)  # each room is a part
    take = Replay.take
    arrived: list[int] = []
    """Parts that came before the list began anew."""

    async def play() -> None:
        async with system(Server(rooms={"table": Table}), latency=(0.05, 0.05)) as game:
            ann, cyd = await game.client(), await game.client()
            made = [await a_table(ann, level=level) for level in range(3)]
            here: list[Listed] = []

            def count(replay: Replay, message: Listed) -> list[RoomChange] | None:
                here.append(message)
                return take(replay, message)

            monkeypatch.setattr(Replay, "take", count)
            watching = asyncio.ensure_future(cyd.watch_rooms("table"))
            await game.sleep(0.08)
            assert not here, "all of the list is on its way"
            game.drop(cyd)
            rooms = await watching  # and nothing changes
            begun = [number for number, part in enumerate(here) if part.changes and "from" not in part.changes[0][1]]
            arrived.append(begun[-1])
            assert {one["room"] for one in rooms.rooms} == {room.id for room in made}

    for seed in range(12):
        run(play, seed=seed)
    assert {1, 2} <= set(arrived)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_part_of_a_list_that_is_lost_is_fetched_again(lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MOST_BYTES", 1)  # each room is a part
    parts: list[bytes] = []
    say = Session.say_frame

    def lossy(session: Session, frame: bytes) -> None:
        parts.append(frame)
        if len(parts) != lost + 1:
            say(session, frame)

    async def play() -> None:
        async with system(Server(rooms={"table": Table})) as game:
            ann, cyd = await game.client(), await game.client()
            made = [await a_table(ann, level=level) for level in range(3)]
            monkeypatch.setattr(Session, "say_frame", lossy)
            watching = asyncio.ensure_future(cyd.watch_rooms("table"))
            await game.sleep(1.0)
            made.append(
                await a_table(ann, level=3)
            )  # no connection loses the last part and goes on; were it so, this tells
            rooms = await watching
            await game.sleep(1.0)
            assert {one["room"] for one in rooms.rooms} == {room.id for room in made}

    run(play)
    assert len(parts) > 4
