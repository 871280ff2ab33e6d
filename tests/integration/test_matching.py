"""Into a room: matched, by making one, by its id; and out of reach of everybody else."""

import asyncio
from typing import Any

import pytest

from server_room_system import (
    AlreadyWaiting,
    AsyncClient,
    CapacityReached,
    JoinRefused,
    MatchExpired,
    MatchMaker,
    Member,
    Room,
    RoomFailed,
    RoomFull,
    RoomLocked,
    RoomNotFound,
    RuleSet,
    Server,
    UnknownRoomType,
)
from server_room_system.broker import BrokerLimits

from .system import LOCAL, PATIENCE, Talk, clients, gathered, hear, hear_all, matched, on_a_loop, raises, until


class TalkMaker(MatchMaker):
    def create_room(self, ruleset: RuleSet) -> Room:
        return Talk(ruleset)


@on_a_loop
async def test_two_pairs_land_in_two_rooms_and_hear_only_their_own() -> None:
    async with Server(TalkMaker()).listen(LOCAL, 0) as host, clients(host, 4) as (a, b, c, d):
        rooms = await asyncio.gather(*(member.match(RuleSet(2), timeout=PATIENCE) for member in (a, b, c, d)))
        by_room: dict[str, list[int]] = {}
        for index, room in enumerate(rooms):
            by_room.setdefault(room.id, []).append(index)
        assert sorted(map(len, by_room.values())) == [2, 2]

        for turn in range(20):
            await asyncio.gather(*(room.send("message", [index, turn]) for index, room in enumerate(rooms)))
        for index, room in enumerate(rooms):
            await room.send("message", ["last", index])
        everyone = {member.id: index for index, member in enumerate((a, b, c, d))}
        for room in rooms:
            mates = by_room[room.id]
            heard = [await hear(room) for _ in range(2 * 21)]
            assert {everyone[sender] for sender, _ in heard} == set(mates)
            for mate in mates:
                said = [data for sender, data in heard if everyone[sender] == mate]
                assert said == [[mate, turn] for turn in range(20)] + [["last", mate]]
        assert [member.misrouted_bundles for member in (a, b, c, d)] == [0] * 4
        assert await raises(rooms[0].receive(0.05)) is not None  # and there is nothing more


@on_a_loop
async def test_all_members_of_a_room_see_one_order() -> None:
    async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 4) as members:
        rooms = await matched(*members)
        for turn in range(30):
            await asyncio.gather(*(room.send("message", turn) for room in rooms))
        orders = [[await hear(room) for _ in range(4 * 30)] for room in rooms]
        assert orders[0] == orders[1] == orders[2] == orders[3]


@on_a_loop
async def test_different_wishes_are_not_put_together() -> None:
    async with Server(TalkMaker(), {"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 6) as members:
        wishes = [RuleSet(2), RuleSet(2, room="talk"), RuleSet(2, mode=1), RuleSet(2, mode=1.0), RuleSet(2, mode=True)]
        waiting = [
            asyncio.ensure_future(member.match(wish, timeout=PATIENCE))
            for member, wish in zip(members, wishes, strict=False)
        ]
        await members[5].rooms()
        await until(lambda: len(host.broker.queues) == 5)
        room = await members[5].match(RuleSet(2, mode=1.0), timeout=PATIENCE)
        assert (await waiting[3]).id == room.id
        assert [task.done() for task in waiting] == [False, False, False, True, False]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await until(lambda: len(host.broker.queues) == 0)  # a wait that is given up is given up there too


@on_a_loop
async def test_a_match_that_nobody_joins_expires_at_its_deadline() -> None:
    async with Server(TalkMaker()).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        with pytest.raises(MatchExpired):
            await a.match(RuleSet(2), timeout=0.2)
        ours = asyncio.ensure_future(b.match(RuleSet(2), timeout=PATIENCE))
        await until(lambda: len(host.broker.queues) == 1)  # ours alone: the expired ticket is gone
        with pytest.raises(AlreadyWaiting):
            await b.match(RuleSet(3), timeout=PATIENCE)
        room = await a.match(RuleSet(2), timeout=PATIENCE)
        assert (await ours).id == room.id


@on_a_loop
async def test_a_client_who_vanished_is_not_matched() -> None:
    async with Server(TalkMaker()).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        async with AsyncClient(host.address) as gone:
            lost = asyncio.ensure_future(gone.match(RuleSet(2), timeout=PATIENCE))
            await until(lambda: len(host.broker.queues) == 1)
        assert await raises(lost) is not None
        await until(lambda: len(host.broker.sessions) == 2)
        rooms = await matched(a, b)
        assert rooms[0].id == rooms[1].id


@on_a_loop
async def test_create_list_and_join_by_id() -> None:
    class Named(Talk):
        max_clients = 2

        def on_create(self, options: dict[str, Any]) -> None:
            self.metadata = {"name": options["name"]}

    async with Server(rooms={"named": Named, "talk": Talk}).listen(LOCAL, 0) as host, clients(host, 3) as (a, b, c):
        mine = await a.create(RuleSet(2, room="named"), options={"name": "den"})
        other = await c.create(RuleSet(3, room="talk"))
        listed = {entry["room"]: entry for entry in await b.rooms()}
        assert listed[mine.id] == {
            "room": mine.id,
            "type": "named",
            "clients": 1,
            "max_clients": 2,
            "locked": False,
            "password": False,
            "spectators": 0,
            "max_spectators": 0,
            "metadata": {"name": "den"},
        }
        assert set(listed) == {mine.id, other.id}
        assert [entry["room"] for entry in await b.rooms("talk")] == [other.id]
        assert await b.rooms("nothing") == []

        joined = await b.join_by_id(mine.id)
        assert joined.id == mine.id
        assert (joined.type, joined.info["metadata"], joined.info["max_clients"]) == ("named", {"name": "den"}, 2)
        await b.rooms()
        await joined.send("message", "hello")
        assert await hear(mine) == [b.id, "hello"]
        with pytest.raises(RoomFull):
            await c.join_by_id(mine.id)
        assert mine.info["metadata"] == {"name": "den"}


@on_a_loop
async def test_a_new_rooms_options_are_the_rulesets_criteria_and_over_them_its_makers() -> None:
    seen: list[dict[str, Any]] = []

    class Curious(Talk):
        def on_create(self, options: dict[str, Any]) -> None:
            seen.append(options)

    async with Server(rooms={"curious": Curious}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        await a.create(RuleSet(2, mode="ranked", level=3), options={"level": 4, "map": "dust"})
        assert seen == [{"mode": "ranked", "level": 4, "map": "dust"}]


@on_a_loop
async def test_metadata_and_locks_show_in_lists() -> None:
    class Host(Talk):
        max_clients = 2

        def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
            if protocol == "lock":
                self.lock()
            elif protocol == "unlock":
                self.unlock()
            else:
                self.metadata = {"round": data}

    async with Server(rooms={"host": Host}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        room = await a.create(RuleSet(2))
        await room.send("lock", ack=True)
        await room.send("metadata", 7, ack=True)
        (entry,) = await b.rooms()
        assert (entry["locked"], entry["metadata"]) == (True, {"round": 7})
        with pytest.raises(RoomLocked):
            await b.join_by_id(room.id)
        await room.send("unlock", ack=True)
        assert (await b.join_by_id(room.id)).id == room.id
        (entry,) = await b.rooms()
        assert (entry["locked"], entry["clients"]) == (False, 2)


@on_a_loop
async def test_a_matched_room_is_closed_to_strangers() -> None:
    async with Server(TalkMaker()).listen(LOCAL, 0) as host, clients(host, 3) as (a, b, stranger):
        rooms = await matched(a, b)
        with pytest.raises(RoomLocked):
            await stranger.join_by_id(rooms[0].id)


@on_a_loop
async def test_every_refusal_says_why() -> None:
    class Picky(Talk):
        def on_join(self, client: Member, options: dict[str, Any]) -> None:
            if options.get("password") != "sesame":
                raise JoinRefused("wrong password")

    class Stillborn(Talk):
        def on_create(self, options: dict[str, Any]) -> None:
            raise RuntimeError("no disk")

    server = Server(rooms={"picky": Picky, "stillborn": Stillborn}, broker_limits=BrokerLimits(rooms=1))
    async with server.listen(LOCAL, 0) as host, clients(host, 3) as (a, b, c):
        refusals = [
            (
                a.create(RuleSet(2, room="nowhere")),
                UnknownRoomType,
                "no room type is named 'nowhere'; there are: picky, stillborn",
            ),
            (a.create(RuleSet(2)), UnknownRoomType, "name a room type: picky, stillborn"),
            (
                a.create(RuleSet(2, room="stillborn")),
                RoomFailed,
                "the room could not be made: the server's log says why",
            ),
            (a.join_by_id("0" * 32), RoomNotFound, "no such room"),
            (a.create(RuleSet(2, room="picky"), options={"password": "x"}), JoinRefused, "wrong password"),
        ]
        for attempt, error, text in refusals:
            raised = await raises(attempt)
            assert (type(raised), str(raised)) == (error, text)
        await until(lambda: not host.worker.rooms)  # the one that nobody was let into is closed
        room = await b.create(RuleSet(4, room="picky"), options={"password": "sesame"})
        with pytest.raises(CapacityReached):
            await c.create(RuleSet(4, room="picky"), options={"password": "sesame"})
        assert type(await raises(c.join_by_id(room.id, options={"password": "?"}))) is JoinRefused
        assert (await c.join_by_id(room.id, options={"password": "sesame"})).id == room.id  # the same client, again


@on_a_loop
async def test_a_server_takes_as_many_clients_as_it_was_told() -> None:
    server = Server(TalkMaker(), broker_limits=BrokerLimits(sessions=2))
    async with server.listen(LOCAL, 0) as host, clients(host, 2) as (a, _):
        assert type(await raises(AsyncClient(host.address).__aenter__())) is CapacityReached
        await a.close()
        async with AsyncClient(host.address) as newcomer:
            assert newcomer.connected


@on_a_loop
async def test_one_client_in_two_rooms_hears_each_apart() -> None:
    async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 3) as (both, left, right):
        first, at_left = await gathered(both, left)
        second, at_right = await gathered(both, right)
        for turn in range(10):
            await at_left.send("message", ["left", turn])
            await at_right.send("message", ["right", turn])
        await at_left.send("message", "end", ack=True)
        await at_right.send("message", "end", ack=True)
        heard_first = [message.data for message in await hear_all(first, [left.id, "end"])]
        heard_second = [message.data for message in await hear_all(second, [right.id, "end"])]
        assert [data for data in heard_first if data != "room ready!"][:-1] == [
            [left.id, ["left", turn]] for turn in range(10)
        ]
        assert [data for data in heard_second if data != "room ready!"][:-1] == [
            [right.id, ["right", turn]] for turn in range(10)
        ]
        assert both.misrouted_bundles == 0
