"""The life of rooms and of those in them: ready, leave, kick, close, too few, and what everybody is told."""

import asyncio
from typing import Any

from server_room_system import (
    AsyncClient,
    BelowMinimum,
    GraceExpired,
    Kicked,
    Left,
    Member,
    NotInRoomError,
    Room,
    RoomClosed,
    RoomNotFound,
    RuleSet,
    Server,
)
from server_room_system.protocol import Code

from .proxy import Proxy
from .system import LOCAL, PATIENCE, Talk, clients, gathered, hear, matched, on_a_loop, over, raises, until


class Diary(Room):
    """Writes down what happens to it."""

    max_clients = 3
    min_clients = 0
    reconnect_grace = 0.3

    def on_create(self, options: dict[str, Any]) -> None:
        self.events: list[Any] = ["create"]

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        self.events.append(("join", client.id, options))

    def ready(self) -> None:
        self.events.append("ready")

    def on_drop(self, client: Member) -> None:
        self.events.append(("drop", client.id))

    def on_reconnect(self, client: Member) -> None:
        self.events.append(("reconnect", client.id))

    def on_leave(self, client: Member, reason: Code) -> None:
        self.events.append(("leave", client.id, reason))

    def on_dispose(self) -> None:
        self.events.append("dispose")

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> None:
        if protocol == "kick":
            next(client for client in self.clients if client.id == data).kick("no cheating")
        elif protocol == "close":
            self.close("goodnight")
        else:
            self.broadcast("message", data)


def only_room(host: Any) -> Any:
    """The one room that the server hosts, as its owner's code sees it."""
    (runner,) = host.worker.rooms.values()
    return runner.room


@on_a_loop
async def test_hooks_run_once_each_and_in_order() -> None:
    async with Server(rooms={"diary": Diary}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        first = await a.create(RuleSet(2), options={"name": "Ada"})
        room = only_room(host)
        second = await b.join_by_id(first.id, options={"name": "Bob"})
        assert room.events == ["create", ("join", a.id, {"name": "Ada"}), ("join", b.id, {"name": "Bob"})]
        await second.leave()
        assert type(second.error) is Left
        await first.send("close")
        await over(first)
        assert (type(first.error), str(first.error)) == (RoomClosed, "goodnight")
        assert room.events[3:] == [("leave", b.id, Code.LEFT), ("leave", a.id, Code.ROOM_CLOSED), "dispose"]
        await until(lambda: not host.worker.rooms)
        assert await a.rooms() == []
        assert type(await raises(b.join_by_id(first.id))) is RoomNotFound


@on_a_loop
async def test_a_room_is_ready_once_when_everybody_is_there() -> None:
    async with Server(rooms={"talk": Talk, "diary": Diary}).listen(LOCAL, 0) as host, clients(host, 3) as members:
        rooms = await matched(*members, room="talk")
        for room in rooms:
            message = await room.receive(PATIENCE)
            assert message[:2] == ("command", "room ready!")
        await rooms[0].leave()
        await rooms[1].send("message", 1, ack=True)
        assert await hear(rooms[1]) == [members[1].id, 1]
        assert len(host.worker.rooms) == 1


@on_a_loop
async def test_kicking_tells_the_one_and_not_the_others() -> None:
    async with Server(rooms={"diary": Diary}).listen(LOCAL, 0) as host, clients(host, 3) as (a, b, c):
        at_a, at_b, at_c = await gathered(a, b, c)
        await at_a.send("kick", b.id)
        await over(at_b)
        assert (type(at_b.error), str(at_b.error)) == (Kicked, "no cheating")
        assert not at_b.joined
        assert type(await raises(at_b.send("message", 1))) is NotInRoomError
        await at_a.send("message", "we three", ack=True)
        assert [await hear(room) for room in (at_a, at_c)] == ["we three"] * 2
        assert ("leave", b.id, Code.KICKED) in only_room(host).events
        assert b.connected  # the room is one thing, the server another
        again = await b.join_by_id(at_a.id)
        await at_a.send("message", "welcome", ack=True)
        assert await hear(again) == "welcome"


@on_a_loop
async def test_a_member_who_comes_again_hears_nothing_of_the_time_between() -> None:
    async with Server(rooms={"diary": Diary}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        at_a, at_b = await gathered(a, b)
        await at_b.leave()
        await at_a.send("message", "behind your back", ack=True)
        again = await b.join_by_id(at_a.id)
        await at_a.send("message", "hello again", ack=True)
        assert await hear(again) == "hello again"


@on_a_loop
async def test_a_room_with_too_few_members_closes_and_says_so() -> None:
    class Trio(Diary):
        min_clients = 2

    async with Server(rooms={"trio": Trio}).listen(LOCAL, 0) as host, clients(host, 3) as members:
        rooms = await matched(*members)
        await until(lambda: "ready" in only_room(host).events)
        await rooms[0].leave()
        await rooms[1].send("message", "two are enough", ack=True)
        assert await hear(rooms[2]) == "two are enough"
        await rooms[1].leave()
        await over(rooms[2])
        assert type(rooms[2].error) is BelowMinimum
        await until(lambda: not host.worker.rooms)
        await matched(*members)  # coming back makes sense


@on_a_loop
async def test_a_room_that_stays_open_takes_others_when_it_is_empty() -> None:
    async with Server(rooms={"diary": Diary}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        (at_a,) = await gathered(a)
        await at_a.leave()
        assert len(host.worker.rooms) == 1
        again = await b.join_by_id(at_a.id)
        await again.send("message", "echo", ack=True)
        assert await hear(again) == "echo"
        room = only_room(host)
    assert room.events[-2:] == [("leave", b.id, Code.LEFT), "dispose"]  # the client left before its server stopped


@on_a_loop
async def test_presence_tells_the_others_what_happens_to_one() -> None:
    class Open(Diary):
        presence = True

    async with Server(rooms={"open": Open}).listen(LOCAL, 0) as host, Proxy(host.address) as proxy:
        async with clients(host, 2) as (a, b):
            at_a, at_b = await gathered(a, b)
            assert at_b.members == {a.id, b.id}
            async with AsyncClient(proxy.address) as c:
                at_c = await c.join_by_id(at_a.id)
                assert at_c.members == {a.id, b.id, c.id}
                proxy.reset()
                await until(lambda: ("reconnect", c.id) in only_room(host).events)
                await at_c.leave()
            heard: list[tuple[str, Any]] = []
            while len(heard) < 4:
                message = await at_b.receive(PATIENCE)
                if message.kind == "presence":
                    heard.append((message.type, message.data))
            assert heard == [("join", c.id), ("drop", c.id), ("reconnect", c.id), ("leave", c.id)]
            first = [(message.type, message.data) for message in [await at_a.receive(PATIENCE)]]
            assert first == [("join", b.id)]  # and nobody is told of itself
            assert at_b.members == {a.id, b.id}


@on_a_loop
async def test_who_stays_away_for_longer_than_the_grace_period_is_gone_everywhere() -> None:
    async with Server(rooms={"diary": Diary}).listen(LOCAL, 0) as host, Proxy(host.address) as proxy:
        async with clients(host, 1) as (a,), AsyncClient(proxy.address) as away:
            at_a, at_away = await gathered(a, away)
            proxy.accepting = False
            proxy.reset()
            room = only_room(host)
            await until(lambda: ("leave", away.id, Code.GRACE_EXPIRED) in room.events)
            assert [event[0] for event in room.events[3:]] == ["drop", "leave"]
            assert [client.id for client in room.clients] == [a.id]
            (entry,) = await a.rooms()
            assert entry["clients"] == 1
            proxy.accepting = True
            await over(at_away)
            assert at_away.error is not None
            await until(lambda: away.connected)  # the session has a grace period of its own
            assert len(host.broker.sessions) == 2
            again = await away.join_by_id(at_a.id)
            await at_a.send("message", "there you are", ack=True)
            assert await hear(again) == "there you are"


@on_a_loop
async def test_a_membership_that_is_over_says_how_it_ended_to_who_comes_back_too_late() -> None:
    async with Server(rooms={"diary": Diary}).listen(LOCAL, 0) as host, Proxy(host.address) as proxy:
        async with clients(host, 1) as (a,), AsyncClient(proxy.address) as away:
            _, at_away = await gathered(a, away)
            proxy.accepting = False
            proxy.reset()
            await until(lambda: len(only_room(host).clients) == 1)
            proxy.accepting = True
            await over(at_away)
            assert isinstance(at_away.error, GraceExpired)
            assert not at_away.joined


@on_a_loop
async def test_many_come_and_go_and_nothing_is_left_of_them() -> None:
    async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host:
        for _ in range(5):
            async with clients(host, 12) as members:
                groups = [members[start : start + 4] for start in range(0, 12, 4)]
                all_rooms = await asyncio.gather(*(matched(*group, group=n) for n, group in enumerate(groups)))
                for rooms in all_rooms:
                    await rooms[0].send("message", rooms[0].id, ack=True)
                for rooms in all_rooms:
                    assert [(await hear(room))[1] for room in rooms] == [rooms[0].id] * 4
            await until(lambda: not host.worker.rooms and not len(host.broker.sessions))
        await until(lambda: not len(host._port))
        assert len(host.broker.queues) == len(host.broker.directory) == 0
        assert not host.broker._searches
        assert not host.broker.seating._wishes
