"""A TCP relay that breaks what it carries: resets, stalls, half-closed connections, frames cut in the middle."""

import asyncio
import contextlib
import socket
import struct
from types import TracebackType

_CHUNK = 16 * 1024


class _Relay:
    """One connection through the proxy."""

    def __init__(self, proxy: "Proxy", near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near = near
        self.far = far
        self.proxy = proxy
        self.half_closed = False

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        down = writer is self.near
        with contextlib.suppress(OSError):  # one end or the other is gone
            while True:
                await self.proxy.flowing.wait()
                data = await reader.read(_CHUNK)
                await self.proxy.flowing.wait()
                if not data:
                    break
                if down:
                    data = self.proxy.count(data)
                if writer.is_closing() or (self.half_closed and not down):
                    continue
                writer.write(data)
                await writer.drain()
                if down and self.proxy.allowance == 0:
                    self.reset()
            if not writer.is_closing():
                writer.write_eof()

    def reset(self) -> None:
        for writer in (self.near, self.far):
            end: socket.socket | None = writer.get_extra_info("socket")
            if end is not None and end.fileno() >= 0:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST instead of FIN
            writer.transport.abort()


class Proxy:
    """Between clients and the server at ``target``. Use it with ``async with``.

    Args:
        target: ``tcp://host:port``.
        buffer: bytes that a stalled connection can hold on its way, for each socket; None: the system's choice.
    """

    def __init__(self, target: str, buffer: int | None = None) -> None:
        self._target = target
        self._buffer = buffer
        self._relays: dict[_Relay, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.accepting = True
        self.accepted = 0
        """Connections since the start."""
        self.allowance: int | None = None
        """Bytes from the server that may still pass; at 0 the connection is reset."""

    @property
    def address(self) -> str:
        """Where clients connect to."""
        return f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.accepting = False
        self.flowing.set()
        self.reset()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    def reset(self) -> None:
        """Reset every connection, both ends, now."""
        for relay in list(self._relays):
            relay.reset()

    def stall(self) -> None:
        """Carry nothing any more, and close nothing: as when a cable is pulled."""
        self.flowing.clear()

    def flow(self) -> None:
        """Carry again what waits."""
        self.flowing.set()

    def half_close(self) -> None:
        """Close the way to the server; the way back stays open."""
        for relay in self._relays:
            relay.half_closed = True
            relay.far.write_eof()

    def cut_after(self, count: int) -> None:
        """Reset the connection behind so many more bytes from the server, most often inside a frame."""
        self.allowance = count

    def count(self, data: bytes) -> bytes:
        """What of this may still pass."""
        if self.allowance is None:
            return data
        data = data[: self.allowance]
        self.allowance -= len(data)
        return data

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not self.accepting:
            writer.transport.abort()
            return
        self.accepted += 1
        if self.allowance == 0:
            self.allowance = None
        host, _, port = self._target.removeprefix("tcp://").rpartition(":")
        try:
            far_reader, far = await asyncio.open_connection(host, int(port))
        except ConnectionError:
            writer.transport.abort()
            return
        if self._buffer is not None:
            for end in (writer, far):
                raw: socket.socket = end.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)
        relay = _Relay(self, writer, far)
        self._relays[relay] = None
        try:
            await asyncio.gather(relay.pump(reader, far), relay.pump(far_reader, writer))
        finally:
            del self._relays[relay]
            writer.close()
            far.close()
