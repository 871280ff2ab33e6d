"""Servers that are not there, not ours, or can't start: an error that says what was tried, in time."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from server_room_system import (
    AddressInUse,
    AsyncClient,
    BrokerUnreachable,
    ClientClosedError,
    ConfigError,
    NotInRoomError,
    Server,
    connect,
)

from .system import LOCAL, Talk, clients, gathered, hear, on_a_loop, raises


def free_port() -> int:
    """A port that nobody listens on (unless somebody takes it right now)."""
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        port: int = probe.getsockname()[1]
        return port


@on_a_loop
async def test_a_broker_that_is_not_there() -> None:
    address = f"tcp://{LOCAL}:{free_port()}"
    started = time.monotonic()
    with pytest.raises(BrokerUnreachable) as unreachable:
        async with connect(address, connect_timeout=0.7):
            pass
    assert time.monotonic() - started < 1.5
    assert address in str(unreachable.value)
    assert unreachable.value.address == address
    assert unreachable.value.waited == pytest.approx(0.7, abs=0.4)
    assert unreachable.value.attempts >= 2
    assert "attempts" in str(unreachable.value)


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await reader.read()


async def _hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)


async def _shakes_hands_and_is_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32))
    ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER"
    writer.write(bytes([4, len(ready)]) + ready)
    await reader.read()


async def _answers_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32))
    ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER"
    writer.write(bytes([4, len(ready)]) + ready + b"\x00\x03abc")
    await reader.read()


@contextlib.asynccontextmanager
async def listening(behaviour: Behaviour) -> AsyncIterator[str]:
    """A TCP server that is none of ours."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await behaviour(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, LOCAL, 0)
    try:
        yield f"tcp://{LOCAL}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)


@pytest.mark.parametrize("behaviour", [_silent, _web_server, _hangs_up, _shakes_hands_and_is_silent, _answers_nonsense])
@on_a_loop
async def test_somebody_else_who_listens_there(behaviour: Behaviour) -> None:
    async with listening(behaviour) as address:
        started = time.monotonic()
        with pytest.raises(BrokerUnreachable, match=address):
            async with connect(address, connect_timeout=0.5):
                pass
        assert time.monotonic() - started < 1.5
        await asyncio.sleep(0.02)  # for the ends of connections that this server still holds


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "127.0.0.1:1234",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:x",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:-1",
        "tcp://:1234",
        "tcp://[::1:1234",
        "tcp://127.0.0.1:1234/x",
        "tcp:127.0.0.1:1234",
        "http://127.0.0.1:1234",
        "ws://127.0.0.1:1234",
        "ipc:///tmp/nowhere",
        "inproc://nowhere",
        "udp://127.0.0.1:1234",
        "tcp://127.0.0.1:1234\0",
        "tcp://127.0.0.1:1234 ",
    ],
)
@on_a_loop
async def test_an_address_that_cannot_be_one_is_refused_at_once(address: str) -> None:
    started = time.monotonic()
    error = await raises(AsyncClient(address, connect_timeout=1.5).__aenter__())
    assert type(error) is ConfigError
    assert "tcp://host:port" in str(error)
    assert time.monotonic() - started < 1.0


@on_a_loop
async def test_two_servers_on_one_port() -> None:
    async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host, clients(host, 1) as (a,):
        port = int(host.address.rpartition(":")[2])
        second = Server(rooms={"talk": Talk})
        for _ in range(3):
            with pytest.raises(AddressInUse, match=f"{LOCAL}:{port} is in use") as taken:
                async with second.listen(LOCAL, port):
                    pass
            assert taken.value.address == f"tcp://{LOCAL}:{port}"
        (room,) = await gathered(a)  # the first one goes on
        await room.send("message", 1, ack=True)
        assert await hear(room) == [a.id, 1]
        async with (
            second.listen(LOCAL, 0) as other,
            clients(other, 1) as (b,),
        ):  # and the second one can start elsewhere
            assert await b.rooms() == []
            assert len(await a.rooms()) == 1


@pytest.mark.parametrize(
    ("host", "port"), [("192.0.2.1", 0), ("no such host", 0), ("", 0), (LOCAL, 70_000), (LOCAL, -1)]
)
@on_a_loop
async def test_an_address_that_is_not_this_machines_cannot_be_listened_on(host: str, port: int) -> None:
    with pytest.raises(ConfigError, match="can't listen on"):
        async with Server().listen(host, port, insecure=True):
            pass


@on_a_loop
async def test_a_server_runs_once_at_a_time_and_again_after() -> None:
    server = Server(rooms={"talk": Talk})
    ids = []
    for _ in range(2):
        async with server.listen(LOCAL, 0) as host, clients(host, 1) as (a,):
            with pytest.raises(ConfigError, match="runs already"):
                async with server.listen(LOCAL, 0):
                    pass
            (room,) = await gathered(a)
            ids.append(room.id)
    assert ids[0] != ids[1]


@on_a_loop
async def test_a_client_before_and_after_its_life() -> None:
    async with Server(rooms={"talk": Talk}).listen(LOCAL, 0) as host:
        client = AsyncClient(host.address)
        assert type(await raises(client.rooms())) is ConfigError
        async with client:
            await client.rooms()
        for attempt in (client.rooms(), client.send("message", 1)):
            assert type(await raises(attempt)) is ClientClosedError
        assert type(await raises(client.receive(1.0))) is NotInRoomError
        await client.close()  # twice is fine


@on_a_loop
async def test_a_server_that_starts_late_is_found_within_the_timeout() -> None:
    port = free_port()

    async def late() -> None:
        await asyncio.sleep(0.2)
        async with Server(rooms={"talk": Talk}).listen(LOCAL, port) as host:
            await host.stopped()

    serving = asyncio.ensure_future(late())
    async with connect(f"tcp://{LOCAL}:{port}", connect_timeout=5.0) as client:
        assert await client.rooms() == []
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
