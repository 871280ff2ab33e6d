"""The proxy breaks what it is told to, and nothing else."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from .proxy import _GREETING, _NO_FRAME, Proxy, _Frames
from .system import LOCAL, PATIENCE, on_a_loop

SHORT = b"\x00\x05hello"
LONG = b"\x02" + (300).to_bytes(8, "big") + b"x" * 300
GREETING = b"g" * _GREETING


@contextlib.asynccontextmanager
async def echoed(
    proxy_knows_frames: bool = False,
) -> AsyncIterator[tuple[Proxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection through a proxy to somebody who says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, LOCAL, 0)
    target = f"tcp://{LOCAL}:{server.sockets[0].getsockname()[1]}"
    async with asyncio.timeout(PATIENCE), Proxy(target, knows_frames=proxy_knows_frames) as proxy:
        host, _, port = proxy.address.removeprefix("tcp://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield proxy, reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            server.close()
            await server.wait_closed()


@on_a_loop
async def test_slow_is_not_broken() -> None:
    async with echoed() as (proxy, reader, writer):
        proxy.delay, proxy.jitter, proxy.rate = 0.001, 0.001, 5_000_000.0
        sent = bytes(range(256)) * 1000
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent


@on_a_loop
async def test_what_is_stalled_one_way_comes_when_it_flows_again() -> None:
    async with echoed() as (proxy, reader, writer):
        writer.write(b"first")
        assert await reader.readexactly(5) == b"first"
        proxy.stall(up=False)
        writer.write(b"second")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        proxy.flow()
        assert await reader.readexactly(6) == b"second"


@on_a_loop
async def test_what_has_lost_bytes_does_not_go_on() -> None:
    async with echoed() as (proxy, reader, writer):
        proxy.blackhole = True
        writer.write(b"lost")
        await asyncio.sleep(0.05)
        proxy.blackhole = False
        writer.write(b"and what follows")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        proxy.reset_robbed()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        assert proxy.accepted == 1


@on_a_loop
async def test_the_head_of_the_next_frame_is_garbled_and_what_was_before_it_is_whole() -> None:
    async with echoed(proxy_knows_frames=True) as (proxy, reader, writer):
        writer.write(GREETING + SHORT)
        assert await reader.readexactly(_GREETING + len(SHORT)) == GREETING + SHORT
        proxy.corrupt(1)
        writer.write(LONG + SHORT)
        assert (
            await reader.readexactly(len(_NO_FRAME)) == _NO_FRAME
        )  # garbled on its way there, and not on its way back
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)


@on_a_loop
async def test_a_server_that_is_gone_without_a_goodbye_resets_its_clients() -> None:
    hung_up = asyncio.Event()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        end: socket.socket = writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        hung_up.set()

    server = await asyncio.start_server(hang_up, LOCAL, 0)
    target = f"tcp://{LOCAL}:{server.sockets[0].getsockname()[1]}"
    async with asyncio.timeout(PATIENCE), Proxy(target) as proxy:
        host, _, port = proxy.address.removeprefix("tcp://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        assert hung_up.is_set()
        writer.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("piece", [1, 3, 64, 1000])
def test_frames_are_found_however_they_are_cut(piece: int) -> None:
    stream = GREETING + SHORT + LONG + SHORT + b"\x00\x00" + LONG
    begins = [64, 71, 380, 387, 389]
    frames, found = _Frames(), []
    for start in range(0, len(stream), piece):
        part = stream[start : start + piece]
        first = frames.first_in(part)
        expected = [begin for begin in begins if start <= begin < start + len(part)]
        assert first == (expected[0] - start if expected else None)
        found += expected
    assert found == begins
