"""What server and clients say to each other outside of rooms, and that it stays outside."""

import asyncio
from typing import Any

import pytest

from server_room_system import (
    ClientData,
    ConfigError,
    InRoom,
    NoHandler,
    PayloadError,
    Protocol,
    RuleSet,
    Server,
    Session,
    TimedOut,
)

from .system import LOCAL, PATIENCE, Talk, clients, gathered, hear, matched, on_a_loop, raises, until


class Front(Server):
    """Answers those who are in no room, and writes down who they were."""

    def handle_response(self, protocol: str, data: Any, sender: Session, client_data: ClientData) -> Any:
        if data == "raise":
            raise ValueError(data)
        if data == "wait":
            return self._answer_later(sender)
        if protocol == "all":
            self.broadcast_message(data)
        else:
            sender.send(protocol, [client_data.ID, client_data.ADDRESS, data])
        return None

    async def _answer_later(self, sender: Session) -> None:
        await asyncio.sleep(0.05)
        sender.send("message", "waited")


@on_a_loop
async def test_a_client_in_no_room_is_answered_by_the_server() -> None:
    async with Front().listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        await a.send("message", "hello")
        await b.send(Protocol.Request.COMMAND, {"x": 1})
        assert await hear(a) == [a.id, "127.0.0.1", "hello"]
        assert await hear(b, "command") == [b.id, "127.0.0.1", {"x": 1}]
        assert {a.id, b.id} == {session.id for session in host._server.clients}  # type: ignore[attr-defined]


@on_a_loop
async def test_an_async_answer_keeps_order_and_an_error_costs_one_message(caplog: pytest.LogCaptureFixture) -> None:
    async with Front().listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        for text in ("wait", "raise", "last"):
            await a.send("message", text)
        await a.send("message", "acknowledged", ack=True)
        assert await hear(a) == "waited"
        assert (await hear(a))[2] == "last"
        assert (await hear(a))[2] == "acknowledged"
        assert "handle_response raised ValueError" in caplog.text


@on_a_loop
async def test_clients_in_rooms_are_not_heard_and_not_reached_unless_everyone_is_meant() -> None:
    server = Front(rooms={"talk": Talk})
    async with server.listen(LOCAL, 0) as host, clients(host, 4) as (a, b, waiting, outside):
        ours = await matched(a, b)
        ticket = asyncio.ensure_future(waiting.match(RuleSet(2), timeout=PATIENCE))
        await until(lambda: len(host.broker.queues) == 1)
        assert type(await raises(a.send("message", "from inside", ack=True))) is InRoom
        await outside.send("all", "to those outside", ack=True)
        assert await hear(outside) == "to those outside"
        assert await hear(waiting) == "to those outside"
        server.broadcast_message("to everybody", everyone=True)
        for client in (a, b, waiting, outside):
            assert await hear(client) == "to everybody"  # and those in rooms heard nothing before
        server.broadcast_command("tea")
        assert await hear(waiting, "command") == "tea"
        await ours[0].send("message", "inside", ack=True)
        assert await hear(ours[1]) == [a.id, "inside"]
        for client in (a, b):
            assert type(await raises(client.receive(0.05))) is TimedOut
        await ours[0].leave()
        server.broadcast_message("you are out again")
        assert await hear(a) == "you are out again"
        ticket.cancel()
        await asyncio.gather(ticket, return_exceptions=True)


@on_a_loop
async def test_a_waiting_client_can_talk_to_the_server() -> None:
    async with Front(rooms={"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        waiting = asyncio.ensure_future(a.match(RuleSet(2), timeout=PATIENCE))
        await until(lambda: len(host.broker.queues) == 1)
        await a.send("message", "how long?", ack=True)
        assert (await hear(a))[2] == "how long?"
        room = await b.match(RuleSet(2), timeout=PATIENCE)
        assert (await waiting).id == room.id


@on_a_loop
async def test_a_session_object_of_the_server_reaches_its_client_in_a_room_too() -> None:
    sessions: list[Session] = []

    class Collecting(Server):
        def handle_response(self, protocol: str, data: Any, sender: Session, client_data: ClientData) -> None:
            sessions.append(sender)

    async with Collecting(rooms={"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 2) as (a, b):
        await a.send("message", 1, ack=True)
        mine, theirs = await gathered(a, b)
        sessions[0].send("private", "psst")
        assert await hear(a, "private") == "psst"
        with pytest.raises(PayloadError):
            sessions[0].send("private", object())
        await mine.send("message", 2, ack=True)
        assert await hear(theirs) == [a.id, 2]
        assert type(await raises(b.receive(0.05))) is TimedOut
        await a.close()
        await until(lambda: not sessions[0].connected)
        sessions[0].send("private", "nobody there")  # no error: it has just left


@on_a_loop
async def test_the_server_answers_no_requests_and_says_so() -> None:
    async with Front().listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        # AsyncClient offers none; a client in another language may try.
        asking = a._shell.request(a._shell.core.home, "x", None, 2.0)
        assert type(await raises(asking)) is NoHandler


def test_a_server_that_does_not_run_says_so() -> None:
    for attempt in (
        lambda: Server().broadcast_message("x"),
        lambda: Server().stop(),
        lambda: Server().clients,
    ):
        with pytest.raises(ConfigError, match="does not run"):
            attempt()


@on_a_loop
async def test_messages_to_many_clients_outside_arrive_in_order() -> None:
    server = Front()
    async with server.listen(LOCAL, 0) as host, clients(host, 20) as everybody:
        for number in range(100):
            server.broadcast_message(number)
            if number % 10 == 0:
                await asyncio.sleep(0)
        for client in everybody:
            assert [await hear(client) for _ in range(100)] == list(range(100))
