"""Ways into rooms over real sockets: who meets whom, and who stays out."""

import asyncio
from typing import Any

from server_room_system import (
    BadFilter,
    Room,
    RoomFull,
    RoomNotFound,
    RuleSet,
    Server,
    UnknownRoomType,
    WrongPassword,
)
from server_room_system.testing import run, system

from .system import LOCAL, clients, hear, on_a_loop, raises


class Table(Room):
    """Shows what it was made with, and takes orders about itself."""

    max_clients = 4

    def on_create(self, options: dict[str, Any]) -> None:
        self.metadata = options

    def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
        if protocol == "password":
            self.password = data
        elif protocol == "private":
            self.private = data
        elif protocol == "unlisted":
            self.unlisted = data
        elif protocol == "metadata":
            self.metadata = data
        sender.send("done", self.password)


class Slow(Room):
    """Takes its time to be made."""

    max_clients = 4

    async def on_create(self, options: dict[str, Any]) -> None:
        await asyncio.sleep(0.1)
        self.metadata = options


def a_server() -> Server:
    return Server(rooms={"table": Table, "slow": Slow})


@on_a_loop
async def test_those_who_ask_at_once_share_rooms_and_fill_them() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 10) as members:
        rooms = await asyncio.gather(*(member.join_or_create("table") for member in members))
        sizes = sorted([room.id for room in rooms].count(one) for one in {room.id for room in rooms})
        assert sizes == [2, 4, 4]


@on_a_loop
async def test_two_at_once_make_one_room_also_while_it_is_being_made() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 5) as members:
        rooms = await asyncio.gather(*(member.join_or_create("slow") for member in members))
        assert sorted([room.id for room in rooms].count(one) for one in {room.id for room in rooms}) == [1, 4]


@on_a_loop
async def test_a_filter_holds_also_for_those_who_wait_for_a_room_that_is_being_made() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 7) as members:
        where = {"map": "dust"}

        async def come_in(of: list[Any], **options: Any) -> list[str]:
            asked = [one.join_or_create(RuleSet(4, "slow"), where=where, options=options) for one in of]
            return [room.id for room in await asyncio.gather(*asked)]

        assert len(set(await come_in(members[:4], map="dust"))) == 1
        assert len(set(await come_in(members[4:], map="mill"))) == 3, "the rooms that are made are none that they want"


@on_a_loop
async def test_rulesets_that_differ_do_not_meet_and_seats_that_are_free_again_are_given() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 4) as (ann, ben, cyd, dan):
        first = await ann.join_or_create(RuleSet(4, "table", mode="ctf"))
        other = await ben.join_or_create(RuleSet(4, "table", mode="ffa"))
        assert first.id != other.id
        again = await cyd.join_or_create(RuleSet(4, "table", mode="ctf"))
        assert again.id == first.id
        await again.leave()
        assert (await dan.join_or_create(RuleSet(4, "table", mode="ctf"))).id == first.id


@on_a_loop
async def test_a_filter_finds_rooms_by_what_their_owners_say_of_them() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 4) as (ann, ben, cyd, dan):
        dust = await ann.create(RuleSet(4, "table"), options={"map": "dust", "level": 3})
        mill = await ben.create(RuleSet(4, "table"), options={"map": "mill", "level": 7})
        assert [one["room"] for one in await cyd.rooms("table", where={"level": {"min": 4}})] == [mill.id]
        assert (await cyd.join("table", where={"map": ["mill", "port"]})).id == mill.id
        assert (await dan.join_or_create(RuleSet(4, "table"), where={"map": {"prefix": "du"}})).id == dust.id
        assert isinstance(await raises(cyd.join("table", where={"level": 8})), RoomNotFound)
        assert isinstance(await raises(cyd.join("chess")), UnknownRoomType)
        assert isinstance(await raises(cyd.rooms(where={"map": {"like": "%"}})), BadFilter)
        await mill.send("metadata", {"map": "port"}, ack=True)
        assert (await ben.rooms(where={"map": "port"}))[0]["room"] == mill.id


@on_a_loop
async def test_a_password_keeps_strangers_out() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 3) as (ann, ben, cyd):
        room = await ann.create(RuleSet(4, "table"), password="a secret")
        assert (await ben.rooms())[0]["password"] is True
        assert isinstance(await raises(ben.join_by_id(room.id)), WrongPassword)
        assert isinstance(await raises(ben.join_by_id(room.id, password="A secret")), WrongPassword)
        assert isinstance(await raises(ben.join("table")), RoomNotFound)
        assert (await cyd.join_or_create(RuleSet(4, "table"))).id != room.id
        assert (await ben.join_by_id(room.id, password="a secret")).id == room.id
        await room.send("password", None)
        assert await hear(room, "done") is False
        assert (await cyd.join_by_id(room.id)).id == room.id


@on_a_loop
async def test_private_rooms_are_for_those_who_know_them_and_unlisted_ones_for_whoever_is_sent_there() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 4) as (ann, ben, cyd, dan):
        private = await ann.create(RuleSet(4, "table", kind="private"), private=True)
        unlisted = await ben.create(RuleSet(4, "table", kind="unlisted"), unlisted=True)
        assert await cyd.rooms() == []
        assert (await cyd.join("table")).id == unlisted.id
        assert (await dan.join_by_id(private.id)).id == private.id
        await unlisted.send("unlisted", data=False, ack=True)
        await private.send("private", data=False, ack=True)
        assert {one["room"] for one in await cyd.rooms()} == {private.id, unlisted.id}


@on_a_loop
async def test_of_two_requests_for_the_last_seat_exactly_one_gets_it() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 5) as members:
        room = await members[0].create(RuleSet(4, "table"))
        for member in members[1:3]:
            await member.join_by_id(room.id)
        answers = await asyncio.gather(*(raises(member.join_by_id(room.id)) for member in members[3:]))
        assert [type(answer) for answer in answers if answer] == [RoomFull]


def test_rooms_on_workers_are_shared_also_when_answers_are_lost() -> None:
    async def play() -> None:
        async with system(a_server(), workers=2) as game:
            members = [await game.client() for _ in range(8)]
            dust = {"map": "dust"}
            asked = [
                asyncio.ensure_future(member.join_or_create("slow", where=dust, options=dust, timeout=30.0))
                for member in members
            ]
            await game.sleep(0.05)
            for member in members[::2]:
                game.unplug(member)
            await game.sleep(1.0)
            for member in members[::2]:
                game.plug(member)
            rooms = [await one for one in asked]
            assert sorted([room.id for room in rooms].count(one) for one in {room.id for room in rooms}) == [4, 4]

    run(play)
