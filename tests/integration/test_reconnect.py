"""Connections that break in every way: nothing is lost, nothing comes twice, and what can't be had again is said."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server_room_system import (
    AsyncClient,
    BrokerUnreachable,
    ClientRoom,
    Displaced,
    HistoryLimits,
    Left,
    Limits,
    Member,
    Received,
    Room,
    RuleSet,
    Server,
    SessionUnknown,
    TimedOut,
    on_request,
)
from server_room_system.broker import BrokerLimits
from server_room_system.broker.host import Host
from server_room_system.protocol import messages

from .lines import lines
from .proxy import Proxy
from .system import LOCAL, PATIENCE, Talk, clients, gathered, hear, hear_all, on_a_loop, over, raises, until

each_fanout = pytest.mark.usefixtures("each_fanout")


class Ledger(Room):
    """Applies what it is sent, tells all, and some of it to the second member alone."""

    max_clients = 2
    message_rate = None

    def on_create(self, options: dict[str, Any]) -> None:
        self.applied: list[Any] = []

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> None:
        self.applied.append(data)
        self.broadcast("message", data)
        if len(self.applied) % 3 == 0 and len(self.clients) > 1:
            self.clients[1].send("alone", data)
        if len(self.applied) % 4 == 0:
            self.broadcast("other", data, except_=self.clients[-1])

    @on_request("ask")
    async def ask(self, client: Member, data: Any) -> Any:
        await asyncio.sleep(0.02)
        self.applied.append(data)
        return data


@contextlib.asynccontextmanager
async def two(server: Server, buffer: int | None = None) -> AsyncIterator[tuple[Host, Proxy, AsyncClient, AsyncClient]]:
    """A server, and two clients of it: the second one behind a proxy."""
    async with server.listen(LOCAL, 0) as host, Proxy(host.address, buffer) as proxy:
        async with AsyncClient(host.address) as near, AsyncClient(proxy.address) as far:
            yield host, proxy, near, far


def ledger(host: Host) -> Ledger:
    (runner,) = host.worker.rooms.values()
    assert isinstance(runner.room, Ledger)
    return runner.room


def story(heard: list[Received]) -> list[tuple[str, Any]]:
    """What was heard, in order, without the framework's commands."""
    return [(message.type, message.data) for message in heard if message.type != "command"]


def has_reset(room: ClientRoom) -> bool:
    """Whether a reset waits to be read."""
    return any(message.kind == "reset" for message in room._membership.inbox._messages)


def wanted_story(applied: list[Any], second: bool) -> list[tuple[str, Any]]:
    """What a member has to hear of what was applied, up to the last message."""
    told: list[tuple[str, Any]] = []
    for count, data in enumerate(applied, 1):
        told.append(("message", data))
        if second and count % 3 == 0:
            told.append(("alone", data))
        if not second and count % 4 == 0:
            told.append(("other", data))
    return told[: told.index(("message", applied[-1])) + 1]


@on_a_loop
async def test_resets_in_full_flow_lose_nothing_and_double_nothing() -> None:
    async with two(Server(rooms={"ledger": Ledger})) as (host, proxy, near, far):
        at_near, at_far = await gathered(near, far)
        finished = asyncio.Event()

        async def talk(room: ClientRoom, name: str) -> int:
            number = 0
            while not finished.is_set():
                await room.send("message", [name, number])
                number += 1
                await asyncio.sleep(0.001)
            return number

        talking = [asyncio.ensure_future(talk(at_near, "near")), asyncio.ensure_future(talk(at_far, "far"))]
        for count in range(8):
            before = len(ledger(host).applied)
            await until(lambda before=before: len(ledger(host).applied) > before + 20)  # type: ignore[misc]
            if count % 2:
                proxy.cut_after(700 + 97 * count)  # in the middle of a frame, more often than not
                await until(lambda: proxy.allowance == 0)
            else:
                proxy.reset()
            await until(lambda count=count: proxy.accepted == count + 2 and at_far.connected)  # type: ignore[misc]
        finished.set()
        sent_near, sent_far = await asyncio.gather(*talking)
        await at_far.send("message", "far is done", ack=True)
        await at_near.send("message", "end", ack=True)
        assert proxy.accepted == 9
        applied = ledger(host).applied
        assert [data[1] for data in applied if data[0] == "near"] == list(range(sent_near))
        assert [data[1] for data in applied if data[0] == "far"] == list(range(sent_far))
        assert story(await hear_all(at_near, "end")) == wanted_story(applied, second=False)
        assert story(await hear_all(at_far, "end")) == wanted_story(applied, second=True)


@each_fanout
@on_a_loop
async def test_each_acknowledged_message_is_applied_once_whenever_the_connection_breaks() -> None:
    async with two(Server(rooms={"ledger": Ledger})) as (host, proxy, near, far):
        _, at_far = await gathered(near, far)
        for number in range(12):
            sending = asyncio.ensure_future(at_far.send("message", number, ack=True))
            for _ in range(number % 4):
                await asyncio.sleep(0)  # at different places on the way there and back
            proxy.reset()
            await sending
        assert ledger(host).applied == list(range(12))


@each_fanout
@on_a_loop
async def test_requests_get_their_reply_across_a_reset() -> None:
    async with two(Server(rooms={"ledger": Ledger})) as (host, proxy, near, far):
        _, at_far = await gathered(near, far)
        asking = [asyncio.ensure_future(at_far.request("ask", number)) for number in range(10)]
        await until(lambda: len(ledger(host).applied) >= 3)
        proxy.reset()
        assert await asyncio.gather(*asking) == list(range(10))
        assert ledger(host).applied == list(range(10))


@each_fanout
@on_a_loop
async def test_what_is_sent_while_away_arrives_when_back() -> None:
    async with two(Server(rooms={"ledger": Ledger})) as (_, proxy, near, far):
        at_near, at_far = await gathered(near, far)
        proxy.accepting = False
        proxy.reset()
        await until(lambda: not far.connected)
        for number in range(50):
            await at_far.send("message", ["far", number])
            await at_near.send("message", ["near", number])
        await at_near.send("message", "meanwhile", ack=True)
        proxy.accepting = True
        await at_far.send("message", "end", ack=True)
        for room in (at_near, at_far):
            heard = [data for name, data in story(await hear_all(room, "end")) if name == "message"]
            assert [data[1] for data in heard if data[0] == "far"] == list(range(50))
            assert [data[1] for data in heard if data[0] == "near"] == list(range(50))


@each_fanout
@on_a_loop
async def test_leaving_while_the_connection_is_away_is_leaving() -> None:
    async with two(Server(rooms={"ledger": Ledger})) as (host, proxy, near, far):
        at_near, at_far = await gathered(near, far)
        proxy.reset()
        await until(lambda: not far.connected)
        await at_far.send("message", "farewell")
        await at_far.leave()
        assert type(at_far.error) is Left
        assert await hear(at_near) == "farewell"
        assert [member.id for member in ledger(host).clients] == [near.id]


@each_fanout
@on_a_loop
async def test_a_half_closed_connection_is_replaced() -> None:
    async with two(Server(rooms={"ledger": Ledger})) as (_, proxy, near, far):
        at_near, at_far = await gathered(near, far)
        proxy.half_close()
        await until(lambda: proxy.accepted == 2 and at_far.connected)
        await at_near.send("message", 1, ack=True)
        assert await hear(at_far) == 1


@each_fanout
@on_a_loop
async def test_a_stalled_connection_is_given_up_and_replaced_by_both_ends() -> None:
    quick = Limits(ping_interval=0.2, ping_timeout=0.6)
    async with two(Server(rooms={"ledger": Ledger}, limits=quick)) as (host, proxy, near, far):
        at_near, at_far = await gathered(near, far)
        proxy.stall()
        for number in range(10):
            await at_near.send("message", number)
        await until(lambda: not far.connected)
        await until(lambda: host._port.counts["ConnectionTimedOut"] or len(host._port) == 1)
        proxy.reset()
        proxy.flow()
        await until(lambda: at_far.connected)
        await at_near.send("message", "end", ack=True)
        heard = [data for name, data in story(await hear_all(at_far, "end")) if name == "message"]
        assert heard == [*range(10), "end"]


@each_fanout
@on_a_loop
async def test_a_client_that_only_listens_is_not_given_up() -> None:
    class Radio(Room):
        max_clients = 1
        tick_rate = 50.0

        def on_tick(self, dt: float) -> None:
            self.broadcast("message", dt)

    quick = Limits(ping_interval=0.2, ping_timeout=0.6)
    async with Server(rooms={"radio": Radio}, limits=quick).listen(LOCAL, 0) as host, Proxy(host.address) as proxy:
        async with AsyncClient(proxy.address) as listener:
            (room,) = await gathered(listener)
            for _ in range(125):
                await hear(room)
            assert proxy.accepted == 1
            assert host._port.counts["ConnectionTimedOut"] == 0


@on_a_loop
async def test_a_short_stall_is_nothing_but_late() -> None:
    async with two(Server(rooms={"ledger": Ledger})) as (_, proxy, near, far):
        at_near, at_far = await gathered(near, far)
        await at_far.receive(PATIENCE)  # that the room is ready
        proxy.stall()
        for number in range(300):
            await at_near.send("message", number)
        await at_near.send("message", "end", ack=True)
        assert type(await raises(at_far.receive(0.2))) is TimedOut
        proxy.flow()
        heard = [data for name, data in story(await hear_all(at_far, "end")) if name == "message"]
        assert heard == [*range(300), "end"]
        assert proxy.accepted == 1


@on_a_loop
async def test_what_the_server_says_outside_of_rooms_survives_resets_too() -> None:
    async with two(Server()) as (host, proxy, _, far):
        session = next(session for session in host.broker.sessions if session.id == far.id)
        for number in range(60):
            session.send("notice", number)
            if number % 20 == 10:
                proxy.reset()
                await until(lambda: not far.connected)
            if number % 20 == 15:
                await until(lambda: far.connected)
        assert [await hear(far, "notice") for _ in range(60)] == list(range(60))


@each_fanout
@on_a_loop
async def test_a_client_waiting_for_a_match_keeps_its_place_across_a_reset() -> None:
    async with two(Server(rooms={"talk": Talk})) as (host, proxy, near, far):
        waiting = asyncio.ensure_future(far.match(RuleSet(2), timeout=PATIENCE))
        await until(lambda: len(host.broker.queues) == 1)
        proxy.reset()
        await until(lambda: not far.connected)
        ours = asyncio.ensure_future(near.match(RuleSet(2), timeout=PATIENCE))
        room, other = await asyncio.gather(waiting, ours)
        assert room.id == other.id
        await other.send("message", "hello", ack=True)
        assert await hear(room) == [near.id, "hello"]


@each_fanout
@on_a_loop
async def test_beyond_the_history_there_is_one_reset_with_the_rooms_snapshot() -> None:
    class Short(Ledger):
        history = HistoryLimits(count=20)

        def snapshot(self) -> Any:
            return {"applied": len(self.applied)}

    async with two(Server(rooms={"short": Short})) as (_, proxy, near, far):
        at_near, at_far = await gathered(near, far)
        await at_near.send("message", "before", ack=True)
        assert await hear(at_far) == "before"
        proxy.accepting = False
        proxy.reset()
        await until(lambda: not far.connected)  # a downlink does not go through the proxy: the client closes it
        for number in range(100):
            await at_near.send("message", number)
        await at_near.send("message", "last before", ack=True)
        proxy.accepting = True
        await until(lambda: has_reset(at_far))  # in a topic room it comes when the downlink stands
        await at_near.send("message", "end", ack=True)
        heard = await hear_all(at_far, "end")
        assert [(message.kind, message.data) for message in heard] == [
            ("reset", {"applied": 102}),
            ("broadcast", "end"),
        ]


@each_fanout
@on_a_loop
async def test_a_snapshot_that_cannot_be_sent_is_left_out_and_nothing_escapes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Foolish(Ledger):
        history = HistoryLimits(count=5)

        def snapshot(self) -> Any:
            return {"everything": self}

    async with two(Server(rooms={"foolish": Foolish})) as (_, proxy, near, far):
        at_near, at_far = await gathered(near, far)
        proxy.accepting = False
        proxy.reset()
        await until(lambda: not far.connected)  # a downlink does not go through the proxy: the client closes it
        for number in range(100):
            await at_near.send("message", number)
        await at_near.send("message", "last before", ack=True)
        proxy.accepting = True
        await until(lambda: has_reset(at_far))  # in a topic room it comes when the downlink stands
        await at_near.send("message", "end", ack=True)
        heard = await hear_all(at_far, "end")
        assert story(heard) == [("reset", None), ("message", "end")]
    assert "snapshot" in caplog.text


@each_fanout
@on_a_loop
async def test_a_client_that_cannot_come_back_in_time_says_where_it_tried() -> None:
    async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host, Proxy(host.address) as proxy:
        async with AsyncClient(proxy.address, reconnect_timeout=0.6) as away:
            (room,) = await gathered(away)
            asking = asyncio.ensure_future(raises(room.request("x", timeout=20)))
            await away.rooms()
            proxy.accepting = False
            proxy.reset()
            async with asyncio.timeout(3.0):
                await over(room)
            await until(lambda: away.closed)
            assert type(away.error) is BrokerUnreachable
            assert proxy.address in str(away.error)
            assert await asking is not None
            for attempt in (away.rooms(), room.send("message", 1), away.match(RuleSet(2))):
                assert type(await raises(attempt)) is BrokerUnreachable


@each_fanout
@on_a_loop
async def test_a_session_that_ended_meanwhile_is_said_to_have_ended() -> None:
    server = Server(rooms={"talk": Talk}, broker_limits=BrokerLimits(session_grace=0.2))
    async with two(server) as (host, proxy, near, far):
        at_near, at_far = await gathered(near, far)
        proxy.accepting = False
        proxy.reset()
        await until(lambda: len(host.broker.sessions) == 1)
        assert [member.id for member in next(iter(host.worker.rooms.values())).members.values()] == [near.id]
        proxy.accepting = True
        await over(at_far)
        await until(lambda: far.closed)
        assert type(far.error) is SessionUnknown
        assert at_near.joined


@on_a_loop
async def test_a_second_resume_displaces_the_first_and_takes_its_rooms_with_it() -> None:
    async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 1) as (mate,):
        (at_mate,) = await gathered(mate)
        async with lines(*[host.address] * 3) as (old, new, late):
            old.say(messages.Hello(1, [1], "test", {}))
            first = await old.hear(messages.Welcome)
            old.say(messages.Ack(first.ref, 0))
            old.say(messages.JoinById(first.ref, 2, at_mate.id, {}))
            seat = await old.hear(messages.Assigned)
            old.say(messages.Join(3, seat.room, seat.reservation, {}))
            joined = await old.hear(messages.Joined)
            old.say(messages.Ack(joined.ref, 0))
            await old.hear(messages.Ack)

            new.say(messages.Resume(4, [1], first.session, first.token, 0))
            second = await new.hear(messages.Welcome)
            assert (second.resumed, second.session, second.client_id) == (True, first.session, first.client_id)
            assert second.token != first.token
            goodbye = await old.hear(messages.Goodbye)
            assert (goodbye.ref, goodbye.code) == (first.ref, Displaced.code)
            for stale in (messages.Send(joined.ref, 1, "message", "ghost"), messages.Leave(joined.ref)):
                old.say(stale)
                assert (await old.hear(messages.Error)).code == 1004

            new.say(messages.Ack(second.ref, 0))
            new.say(messages.Recover(5, seat.room, joined.token, joined.epoch, joined.offset, joined.direct))
            again = await new.hear(messages.Joined)
            new.say(messages.Ack(again.ref, 0))
            new.say(messages.Send(again.ref, 1, "message", "it is me"))
            assert await hear(at_mate) == [first.client_id, "it is me"]
            assert (await new.hear(messages.Deliver)).epoch == joined.epoch

            late.say(messages.Resume(6, [1], first.session, first.token, 0))  # confirmed by now: the old token is void
            assert (await late.hear(messages.Goodbye)).code == SessionUnknown.code
            late.say(messages.Recover(7, seat.room, joined.token, joined.epoch, 0, 0))
            assert (await late.hear(messages.Error)).code == 1015
            await at_mate.send("message", "still two", ack=True)
            assert len(next(iter(host.worker.rooms.values())).members) == 2
            assert old.heard.empty()


@each_fanout
@on_a_loop
async def test_a_member_cannot_recover_what_was_said_before_it_joined() -> None:
    async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 1) as (mate,):
        (at_mate,) = await gathered(mate)
        for number in range(10):
            await at_mate.send("message", f"secret {number}", ack=True)
        async with lines(host.address) as (late,):
            late.say(messages.Hello(1, [1], "test", {}))
            welcome = await late.hear(messages.Welcome)
            late.say(messages.JoinById(welcome.ref, 2, at_mate.id, {}))
            seat = await late.hear(messages.Assigned)
            late.say(messages.Join(3, seat.room, seat.reservation, {}))
            joined = await late.hear(messages.Joined)
            late.say(messages.Recover(4, seat.room, joined.token, joined.epoch, 0, 0))
            again = await late.hear(messages.Joined)
            assert again.offset >= joined.offset
            late.say(messages.Ack(again.ref, 0))
            await late.hear(messages.Ack)
            rest = [late.heard.get_nowait() for _ in range(late.heard.qsize())]
            assert "secret" not in repr(rest)


@pytest.mark.parametrize("end", ["kicked", "closed"])
@each_fanout
@on_a_loop
async def test_all_that_was_said_before_the_end_is_heard_before_the_end(end: str) -> None:
    class Loud(Talk):
        message_rate = None

        def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> None:
            for number in range(500):
                self.broadcast("message", number)
            self.clients[1].send("message", "for you alone")
            if end == "closed":
                self.close("enough")
            else:
                self.clients[1].kick("enough")
                self.call_later(0.0, lambda: self.broadcast("message", "not for who is gone"))

    async with Server(rooms={"loud": Loud}).listen(LOCAL, 0) as host, AsyncClient(host.address) as near:
        async with AsyncClient(host.address, inbox=5) as far:
            at_near, at_far = await gathered(near, far)
            await at_near.send("message")
            await until(lambda: not at_far.joined)  # nothing is read before: most of it does not fit
            heard = [message.data async for message in at_far if message.type == "message"]
            assert heard == [*range(500), "for you alone"]
            assert str(at_far.error) == "enough"


@each_fanout
@on_a_loop
async def test_who_was_away_when_the_room_ended_hears_the_rest_when_it_is_back() -> None:
    async with two(Server(rooms={"ledger": Ledger})) as (host, proxy, near, far):
        at_near, at_far = await gathered(near, far)
        proxy.accepting = False
        proxy.reset()
        await until(lambda: not far.connected)
        for number in range(20):
            await at_near.send("message", number, ack=True)
        applied = ledger(host).applied
        ledger(host).close("enough")
        await over(at_near)
        proxy.accepting = True
        async with asyncio.timeout(PATIENCE):
            heard = story([message async for message in at_far])
        assert heard == [*wanted_story(applied, second=True)]
        assert str(at_far.error) == "enough"
