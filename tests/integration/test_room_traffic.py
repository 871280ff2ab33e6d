"""What is said in rooms: broadcasts, direct messages, exceptions, acknowledgements, typed data."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from server_room_system import (
    BadPayload,
    ClientRoom,
    Member,
    NotInRoomError,
    PayloadError,
    RateLimited,
    Received,
    Room,
    Server,
    TimedOut,
    on_message,
    on_request,
)

from .system import LOCAL, Talk, clients, gathered, hear, hear_all, matched, on_a_loop, raises

pytestmark = pytest.mark.usefixtures("each_fanout")


def plain(messages: Iterable[Received]) -> list[Any]:
    """What the room said, without the framework's own commands."""
    return [message.data for message in messages if message.type != "command"]


@on_a_loop
async def test_except_leaves_one_or_several_out_and_nobody_else() -> None:
    class Whisper(Room):
        max_clients = 3

        def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
            left_out = [self.clients[index] for index in data["not"]]
            self.broadcast("message", data["text"], except_=left_out[0] if len(left_out) == 1 else left_out)

    async with Server(rooms={"whisper": Whisper}).listen(LOCAL, 0) as host, clients(host, 3) as members:
        rooms = await gathered(members[0], *members[1:])
        script = [([0], "not a"), ([1], "not b"), ([0, 2], "only b"), ([], "all"), ([0, 1, 2], "nobody"), ([], "end")]
        for excepted, text in script:
            await rooms[0].send("message", {"not": excepted, "text": text})
        for index, room in enumerate(rooms):
            heard = await hear_all(room, "end")
            assert plain(heard) == [text for excepted, text in script if index not in excepted]
            assert heard[-1].position.offset == rooms[0]._membership.reader.offset  # one numbering, without holes


class Teller(Room):
    """Tells its first member something alone after every third broadcast."""

    max_clients = 3

    @on_message("count")
    def count(self, client: Member, upto: int) -> None:
        for number in range(upto):
            self.broadcast("all", number)
            if number % 3 == 0:
                self.clients[0].send("alone", number)
            if number % 5 == 0:
                self.broadcast("others", number, except_=self.clients[0])
        self.broadcast("all", "end")


@on_a_loop
async def test_direct_messages_keep_their_place_among_broadcasts() -> None:
    async with Server(rooms={"teller": Teller}).listen(LOCAL, 0) as host, clients(host, 3) as members:
        rooms = await gathered(members[0], *members[1:])
        await rooms[1].send("count", 500)
        first = [(message.type, message.data) for message in await hear_all(rooms[0], "end")]
        second = [(message.type, message.data) for message in await hear_all(rooms[1], "end")]
        wanted_first, wanted_second = [], []
        for number in range(500):
            wanted_first.append(("all", number))
            wanted_second.append(("all", number))
            if number % 3 == 0:
                wanted_first.append(("alone", number))
            if number % 5 == 0:
                wanted_second.append(("others", number))
        assert [said for said in first if said[0] != "command"] == [*wanted_first, ("all", "end")]
        assert [said for said in second if said[0] != "command"] == [*wanted_second, ("all", "end")]


@on_a_loop
async def test_an_acknowledged_message_has_been_applied() -> None:
    applied: list[Any] = []

    class Slow(Room):
        max_clients = 2

        async def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
            await asyncio.sleep(0.05)
            applied.append(data)

    async with Server(rooms={"slow": Slow}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (room,) = await gathered(a)
        await room.send("message", 1)
        assert applied == []
        await room.send("message", 2, ack=True)
        assert applied == [1, 2]
        with pytest.raises(TimedOut):
            await room.send("message", 3, ack=True, timeout=0.01)
        await room.send("message", 4, ack=True)
        assert applied == [1, 2, 3, 4]  # no answer in time says nothing about what happened


class Move(msgspec.Struct):
    x: int
    y: float = 0.0


class Board(Room):
    """Takes moves, and says what it took."""

    max_clients = 2

    @on_message("move")
    def move(self, client: Member, data: Move) -> None:
        assert isinstance(data, Move)
        self.broadcast("moved", {"x": data.x, "y": data.y})

    @on_message("count")
    def count(self, client: Member, data: int) -> None:
        self.broadcast("counted", data)

    @on_message("names")
    def names(self, client: Member, data: list[str]) -> None:
        self.broadcast("named", data)

    @on_request("add")
    def add(self, client: Member, data: Move) -> Any:
        return data.x + data.y


@on_a_loop
async def test_typed_data_is_converted_or_refused_before_it_gets_there() -> None:
    async with Server(rooms={"board": Board}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (room,) = await gathered(a)
        await room.send("move", {"x": 3}, ack=True)
        assert await hear(room, "moved") == {"x": 3, "y": 0.0}
        for name, data in [
            ("move", {"x": "3"}),
            ("move", {"x": 3, "y": None}),
            ("move", {}),
            ("move", [3]),
            ("move", None),
            ("count", "3"),
            ("count", 3.5),
            ("count", True),
            ("names", ["a", 1]),
            ("names", "ab"),
        ]:
            with pytest.raises(BadPayload):
                await room.send(name, data, ack=True)
        with pytest.raises(BadPayload):
            await room.request("add", {"x": []})
        assert await room.request("add", {"x": 2, "y": 0.5}) == 2.5
        await room.send("names", ["a", "b"], ack=True)
        assert await hear(room, "named") == ["a", "b"]
        assert len(host.worker.rooms) == 1


@on_a_loop
async def test_every_kind_of_data_arrives_as_it_was_sent() -> None:
    data: dict[str, Any] = {
        "none": None,
        "yes": True,
        "no": False,
        "ints": [0, -1, 127, 128, -(2**63), 2**64 - 1],
        "floats": [0.5, -1e300, float("inf")],
        "text": "häß 漢字 🎲 \x00",
        "bytes": bytes(range(256)),
        "map": {"": {"a": [[], {}]}},
        "long": "x" * 50_000,
    }
    async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 2) as members:
        rooms = await gathered(*members)
        await rooms[0].send("message", data, ack=True)
        for room in rooms:
            assert await hear(room) == [members[0].id, data]


@on_a_loop
async def test_data_that_cannot_be_sent_is_refused_where_it_is_given() -> None:
    refused: list[type[BaseException]] = []

    class Strict(Room):
        max_clients = 2

        def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
            for nonsense in (object(), {1: 2}, {"a": {1, 2}}, "x" * 300_000, 2**64):
                try:
                    self.broadcast("message", nonsense)
                except PayloadError as error:
                    refused.append(type(error))
            self.broadcast("message", "still here")

    async with Server(rooms={"strict": Strict}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (room,) = await gathered(a)
        for nonsense in (object(), {1: 2}, 2**64, "x" * 70_000, [[]] * 1025, _nested(18)):
            with pytest.raises(PayloadError):
                await room.send("message", nonsense)
        await room.send("message", _nested(16), ack=True)
        assert await hear(room) == "still here"
        assert refused == [PayloadError] * 5


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@on_a_loop
async def test_a_member_who_sends_too_fast_is_told_and_stays() -> None:
    class Narrow(Talk):
        message_rate = 50.0
        message_burst = 5

    async with Server(rooms={"narrow": Narrow}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        mine, theirs = await gathered(a, b)
        outcomes = await asyncio.gather(*(raises(mine.send("message", n, ack=True)) for n in range(20)))
        refused = [n for n, outcome in enumerate(outcomes) if outcome is not None]
        assert {type(outcomes[n]) for n in refused} == {RateLimited}
        assert 5 <= len(refused) <= 15
        await asyncio.sleep(0.1)  # the bucket's own time
        await mine.send("message", "after", ack=True)
        heard = plain(await hear_all(theirs, [a.id, "after"]))
        assert heard == [[a.id, n] for n in range(20) if n not in refused] + [[a.id, "after"]]


@on_a_loop
async def test_a_refused_message_is_never_acknowledged_as_applied_however_many_are_refused() -> None:
    applied: list[int] = []

    class Narrow(Talk):
        message_rate = 1.0
        message_burst = 5

        def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
            applied.append(data)

    async with Server(rooms={"narrow": Narrow}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (mine,) = await gathered(a)
        outcomes = await asyncio.gather(*(raises(mine.send("message", n, ack=True)) for n in range(150)))
        assert [n for n, outcome in enumerate(outcomes) if outcome is None] == applied
        assert {type(outcome) for outcome in outcomes} == {type(None), RateLimited}


@on_a_loop
async def test_a_burst_larger_than_the_window_waits_and_loses_nothing() -> None:
    class Wide(Talk):
        message_rate = None

    async with Server(rooms={"wide": Wide}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        mine, theirs = await gathered(a, b)
        for number in range(2000):
            await mine.send("message", number)
        await mine.send("message", "end", ack=True)
        assert plain(await hear_all(theirs, [a.id, "end"]))[:-1] == [[a.id, number] for number in range(2000)]


@on_a_loop
async def test_nothing_can_be_sent_to_a_room_that_was_left() -> None:
    async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        mine, theirs = await matched(a, b)
        await mine.leave()
        for attempt in (mine.send("message", 1), mine.request("x"), mine.receive(0.1)):
            assert type(await raises(_until_empty(mine, attempt))) is NotInRoomError
        await theirs.send("message", "alone", ack=True)
        assert await hear(theirs) == [b.id, "alone"]


async def _until_empty(room: ClientRoom, attempt: Any) -> None:
    async for _ in room:
        pass
    await attempt


@on_a_loop
async def test_a_member_of_another_room_named_in_except_hears_nothing_of_this_one() -> None:
    strangers: list[Member] = []

    class Hall(Room):
        max_clients = 2

        def on_join(self, client: Member, options: dict[str, Any]) -> None:
            strangers.append(client)

    class Vault(Room):
        max_clients = 2

        def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
            try:
                self.broadcast("message", "secret")
                self.broadcast("message", "other secret", except_=strangers[0])
            finally:
                self.broadcast("message", "end")

    async with Server(rooms={"hall": Hall, "vault": Vault}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        await gathered(a, room="hall")
        (vault,) = await gathered(b, room="vault")
        await vault.send("message")
        await hear_all(vault, "end")
        await a.rooms()  # what was sent to it before has come
        assert a.misrouted_bundles == 0
