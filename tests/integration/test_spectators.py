"""Spectators and invited clients over real sockets: who gets which seat, what they hear, and what they may say."""

from typing import Any

import pytest

from server_room_system import (
    NotForSpectators,
    RequestRefused,
    Room,
    RoomFull,
    RoomLocked,
    RuleSet,
    Server,
    WrongPassword,
    on_message,
    on_request,
)

from .system import LOCAL, clients, hear, on_a_loop, until


class Show(Room):
    """Two play, two may look on, who may cheer and ask for the score, and no more."""

    max_clients = 2
    max_spectators = 2
    presence = True

    @on_message("move")
    def move(self, client: Any, data: Any) -> None:
        self.broadcast("moved", data)

    @on_message("cheer", spectators=True)
    def cheer(self, client: Any, data: Any) -> None:
        self.broadcast("cheered", [client.id, client.spectator])

    @on_request("who", spectators=True)
    def who(self, client: Any, data: Any) -> Any:
        return [[one.id for one in self.clients], [one.id for one in self.spectators]]

    @on_request("secret")
    def secret(self, client: Any, data: Any) -> Any:
        return "the cards"

    @on_message("invite")
    def do_invite(self, client: Any, data: Any) -> None:
        try:
            self.invite(*data)
        except RoomFull as full:
            raise RequestRefused(str(full)) from full

    @on_message("close up")
    def close_up(self, client: Any, data: Any) -> None:
        self.lock()
        self.private = True
        self.password = data


def a_server() -> Server:
    return Server(rooms={"show": Show})


@on_a_loop
async def test_spectators_hear_everything_take_no_players_seat_and_say_what_they_may() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 6) as (a, b, c, d, e, f):
        played = await a.create(RuleSet(2, room="show"))
        seen = await c.join_by_id(played.id, spectate=True)
        assert (played.spectator, seen.spectator) == (False, True)
        other = await b.join_by_id(played.id)
        await d.join_by_id(played.id, spectate=True)
        for refused in (e.join_by_id(played.id, spectate=True), f.join_by_id(played.id)):
            with pytest.raises(RoomFull):
                await refused
        assert await seen.request("who") == [[a.id, b.id], [c.id, d.id]]
        (listed,) = await e.rooms()
        assert [listed[name] for name in ("clients", "max_clients", "spectators", "max_spectators")] == [2, 2, 2, 2]
        await other.send("move", "e4")
        assert await hear(seen, "moved") == "e4"
        await seen.send("cheer", ack=True)
        assert await hear(played, "cheered") == [c.id, True]
        with pytest.raises(NotForSpectators):
            await seen.request("secret")
        for forbidden in ("move", "anything"):
            with pytest.raises(NotForSpectators):
                await seen.send(forbidden, "d4", ack=True)
        assert played.info["members"] == [a.id], "who only looks on is not shown"
        await seen.leave()
        await e.join_by_id(played.id, spectate=True)


@on_a_loop
async def test_a_room_ends_with_its_players_however_many_look_on() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        played = await a.create(RuleSet(2, room="show"))
        seen = await b.join_by_id(played.id, spectate=True)
        await played.leave()
        await until(lambda: not seen.joined)
        assert host.worker.rooms == {}


@on_a_loop
async def test_a_lock_keeps_players_out_and_no_spectators() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 3) as (a, b, c):
        played = await a.create(RuleSet(2, room="show"))
        await played.send("close up", None, ack=True)
        with pytest.raises(RoomLocked):
            await b.join_by_id(played.id)
        assert (await c.join_by_id(played.id, spectate=True)).spectator


@on_a_loop
async def test_nobody_looks_on_where_there_are_no_seats_for_it() -> None:
    async with Server(rooms={"plain": Room}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        room = await a.create(RuleSet(2, room="plain"))
        with pytest.raises(RoomFull, match="nobody looks on"):
            await b.join_by_id(room.id, spectate=True)


@on_a_loop
async def test_who_is_invited_comes_in_and_nobody_else_gets_its_seat() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 3) as (a, b, c):
        room = await a.create(RuleSet(2, room="show"))
        await room.send("invite", [b.id], ack=True)
        with pytest.raises(RoomFull):
            await c.join_by_id(room.id)
        with pytest.raises(RequestRefused):
            await room.send("invite", [c.id], ack=True)
        await room.send("close up", "sesame", ack=True)
        with pytest.raises(WrongPassword):
            await c.join_by_id(room.id)
        assert (await b.join_by_id(room.id)).joined
        assert (await room.request("who"))[0] == [a.id, b.id]


@on_a_loop
async def test_a_seat_that_nobody_came_for_is_anybodys_again() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 3) as (a, b, c):
        room = await a.create(RuleSet(2, room="show"))
        await room.send("invite", [b.id, 0.1], ack=True)
        (runner,) = host.worker.rooms.values()
        await until(lambda: not runner.seats.invited)
        assert (await c.join_by_id(room.id)).joined
        with pytest.raises(RoomFull):
            await b.join_by_id(room.id)
