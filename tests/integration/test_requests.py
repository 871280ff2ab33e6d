"""Requests: a reply, a refusal, a failure, or no answer in time; and each belongs to its own question."""

import asyncio
from typing import Any

import pytest

from server_room_system import (
    ClientClosedError,
    HandlerFailed,
    Member,
    NoHandler,
    NotInRoomError,
    PayloadError,
    RequestRefused,
    Room,
    RoomBusy,
    RoomClosed,
    Server,
    TimedOut,
    on_request,
)

from .system import LOCAL, clients, gathered, on_a_loop, over, raises, until


class Shop(Room):
    """Answers in every way that there is."""

    max_clients = 2
    message_rate = None

    def on_create(self, options: dict[str, Any]) -> None:
        self.gate = asyncio.Event()

    @on_request("buy")
    def buy(self, client: Member, item: str) -> Any:
        if item == "moon":
            raise RequestRefused("not for sale", {"item": item})
        if item == "bug":
            raise ZeroDivisionError
        if item == "nonsense":
            return object()
        if item == "huge":
            return "x" * 300_000
        if item == "refused with nonsense":
            raise RequestRefused("no", object())
        client.send("gold", 3)
        return {"item": item, "for": client.id}

    @on_request("wait")
    async def wait(self, client: Member, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    @on_request("hold")
    async def hold(self, client: Member, data: Any) -> Any:
        await self.gate.wait()
        return data

    @on_request("nothing")
    def nothing(self, client: Member, data: Any) -> None:
        pass


class Crowded(Shop):
    """More members than the events that a room holds are enough for."""

    max_clients = 6


@on_a_loop
async def test_a_request_gets_its_reply_and_what_was_said_before_it_comes_before() -> None:
    async with Server(rooms={"shop": Shop}).listen(LOCAL, 0) as host, clients(host, 2) as members:
        mine, theirs = await gathered(*members)
        assert await mine.request("buy", "sword") == {"item": "sword", "for": members[0].id}
        assert (await mine.receive(0)).type == "command"
        assert (await mine.receive(0))[:2] == ("gold", 3)  # no wait: it came before the reply
        assert await theirs.request("nothing") is None
        assert [message.type for message in (await theirs.receive(0),)] == ["command"]
        assert type(await raises(theirs.receive(0.05))) is TimedOut  # somebody else's reply is nobody else's


@on_a_loop
async def test_a_refusal_carries_the_rooms_words_and_data() -> None:
    async with Server(rooms={"shop": Shop}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (room,) = await gathered(a)
        with pytest.raises(RequestRefused, match="not for sale") as refused:
            await room.request("buy", "moon")
        assert refused.value.data == {"item": "moon"}


@on_a_loop
async def test_a_handler_that_fails_says_so_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    async with Server(rooms={"shop": Shop}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (room,) = await gathered(a)
        with pytest.raises(HandlerFailed) as failed:
            await room.request("buy", "bug")
        assert "ZeroDivision" not in str(failed.value)
        assert "ZeroDivisionError" in caplog.text
        assert room.id in caplog.text
        assert "buy" in caplog.text
        for nonsense in ("nonsense", "huge"):
            with pytest.raises(HandlerFailed, match="can't be sent"):
                await room.request("buy", nonsense)
        assert (await room.request("buy", "sword"))["item"] == "sword"


@on_a_loop
async def test_a_refusal_whose_data_cannot_be_sent_is_a_failure_and_nothing_escapes() -> None:
    escaped: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: escaped.append(context))
    async with Server(rooms={"shop": Shop}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (room,) = await gathered(a)
        error = await raises(room.request("buy", "refused with nonsense", timeout=2.0))
        assert (await room.request("buy", "sword"))["item"] == "sword"
    assert type(error) in (HandlerFailed, RequestRefused)
    assert escaped == []


@on_a_loop
async def test_no_handler_and_no_room() -> None:
    async with Server(rooms={"shop": Shop}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (room,) = await gathered(a)
        with pytest.raises(NoHandler, match="'sell'"):
            await room.request("sell", 1)
        with pytest.raises(PayloadError):
            await room.request("buy", object())
        await room.leave()
        with pytest.raises(NotInRoomError):
            await room.request("buy", "sword")


@on_a_loop
async def test_a_reply_that_comes_too_late_answers_nobody_elses_question() -> None:
    async with Server(rooms={"shop": Shop}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        (room,) = await gathered(a)
        with pytest.raises(TimedOut, match="reply to 'wait'"):
            await room.request("wait", 0.2, timeout=0.05)
        assert await room.request("wait", 0.01) == 0.01
        assert await asyncio.gather(*(room.request("wait", n / 1000) for n in range(10))) == [
            n / 1000 for n in range(10)
        ]


@on_a_loop
async def test_a_room_whose_hook_waits_holds_no_more_than_its_members_may_have_under_way() -> None:
    async with Server(rooms={"shop": Shop}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        mine, theirs = await gathered(a, b)
        held = asyncio.ensure_future(mine.request("hold", 1, timeout=20))
        many = [asyncio.ensure_future(raises(mine.send("message", n))) for n in range(1500)]
        (runner,) = host.worker.rooms.values()
        await theirs.send("message", "behind them")
        await asyncio.sleep(0.2)
        waiting = len(runner.mailbox)
        runner.room.gate.set()  # type: ignore[attr-defined]
        assert await held == 1
        assert set(await asyncio.gather(*many)) == {None}
        assert waiting < 2 * 256 + 50  # and not one event for each that waits for the window
        assert await theirs.request("wait", 0.0) == 0.0


@on_a_loop
async def test_a_room_that_has_too_much_to_do_says_so_and_goes_on() -> None:
    async with Server(rooms={"shop": Crowded}).listen(LOCAL, 0) as host, clients(host, 6) as members:
        rooms = await gathered(members[0], *members[1:])
        held = asyncio.ensure_future(rooms[0].request("hold", 1, timeout=20))
        asked = [asyncio.ensure_future(raises(rooms[n % 6].request("wait", 0.0))) for n in range(6 * 200)]
        (runner,) = host.worker.rooms.values()
        await until(lambda: host._port.counts["RoomBusy"] > 150)
        runner.room.gate.set()  # type: ignore[attr-defined]
        outcomes = [type(outcome) for outcome in await asyncio.gather(*asked)]
        assert set(outcomes) == {type(None), RoomBusy}
        assert 100 <= outcomes.count(RoomBusy) <= 200
        assert await held == 1
        assert await rooms[5].request("wait", 0.0) == 0.0


@on_a_loop
async def test_requests_under_way_end_with_the_room_or_the_client() -> None:
    async with Server(rooms={"shop": Shop}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        mine, theirs = await gathered(a, b)
        waiting = [asyncio.ensure_future(raises(room.request("hold", 1, timeout=20))) for room in (mine, theirs)]
        await until(lambda: all(runner.mailbox.busy for runner in host.worker.rooms.values()))
        await b.close()
        assert type(await waiting[1]) in (ClientClosedError, NotInRoomError)
        (runner,) = host.worker.rooms.values()
        runner.room.gate.set()  # type: ignore[attr-defined]
        runner.room.close("enough")
        await over(mine)
        assert await waiting[0] is None  # its reply was on its way before the room ended
        assert type(mine.error) is RoomClosed
        assert str(mine.error) == "enough"
