"""A TCP relay that breaks what it carries: resets, delays, stalls, half-closed connections, frames cut short."""

import asyncio
import contextlib
import random
import socket
import struct
from types import TracebackType

_CHUNK = 16 * 1024
_GREETING = 64
"""Bytes that a ZMTP connection begins with, before its first frame."""
_ON_ITS_WAY = 0.02
"""Seconds that a frame has to arrive before its connection is reset."""
_NO_FRAME = b"\xff" * 9
"""The head of a frame of 2**64 - 1 bytes: every receiver has to hang up."""


class _Frames:
    """Where the frames of one way of a ZMTP connection begin."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._skip = _GREETING
        self._greeting = True
        self.ends: list[int] = []
        """The places behind the frames that end in the bytes that were looked at last."""

    def first_in(self, data: bytes) -> int | None:
        """The place of the first frame that begins in the next bytes of the connection, if one does."""
        first: int | None = None
        at = 0
        self.ends = []
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                if not self._skip and not self._greeting:
                    self.ends.append(at)
                self._greeting = self._greeting and self._skip > 0
                continue
            if not self._head and first is None:
                first = at
            self._head.append(data[at])
            at += 1
            size = 8 if self._head[0] & 0x02 else 1
            if len(self._head) == 1 + size:
                self._skip = int.from_bytes(self._head[1:], "big")
                self._head.clear()
                if not self._skip:
                    self.ends.append(at)
        return first


class _Relay:
    """One connection through the proxy."""

    def __init__(self, proxy: "Proxy", near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near = near
        self.far = far
        self.proxy = proxy
        self.half_closed = False
        self.robbed = False
        """One way or the other has lost bytes: it can't go on."""

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        down = writer is self.near
        proxy, flows = self.proxy, self.proxy.down if down else self.proxy.up
        frames = _Frames() if proxy.knows_frames else None
        robbed = False
        try:
            while True:
                await flows.wait()
                data = await reader.read(_CHUNK)
                await flows.wait()
                if not data:
                    break
                if proxy.blackhole:
                    self.robbed = robbed = True
                    continue
                if proxy.delay or proxy.jitter:
                    await asyncio.sleep(proxy.delay + random.random() * proxy.jitter)
                begin = frames.first_in(data) if frames is not None else None
                cut = frames is not None and proxy.ends_behind(frames.ends)
                if cut and frames is not None:
                    data = data[: frames.ends[-1]]
                if down:
                    data = proxy.count(data)
                if writer.is_closing() or robbed or (self.half_closed and not down):
                    continue
                if begin is not None and proxy.corrupts():
                    data = data[:begin] + _NO_FRAME
                    self.robbed = robbed = True
                writer.write(data)
                await writer.drain()
                if cut:
                    proxy.stall()  # this one arrives, and no answer to it
                    await asyncio.sleep(_ON_ITS_WAY)
                    self.reset()
                    proxy.flow()
                if proxy.rate is not None:
                    await asyncio.sleep(len(data) / proxy.rate)
                if down and proxy.allowance == 0:
                    self.reset()
            if not writer.is_closing():
                writer.write_eof()
        except OSError:  # one end is gone without a goodbye, and so is the other
            self.reset()

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
        host: where it listens.
        port: where it listens; 0: any free one.
        knows_frames: whether it follows the frames of ZMTP, as ``corrupt`` and ``cut_behind`` need.
    """

    def __init__(
        self,
        target: str,
        buffer: int | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        knows_frames: bool = False,
    ) -> None:
        self._target = target
        self._buffer = buffer
        self._where = host, port
        self._relays: dict[_Relay, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._corrupted = 0
        self._frames_left = 0
        self.knows_frames = knows_frames
        self.up = asyncio.Event()
        """Whether bytes pass to the server."""
        self.down = asyncio.Event()
        """Whether bytes pass from the server."""
        self.flow()
        self.delay = 0.0
        """Seconds that each piece waits, one after the other."""
        self.jitter = 0.0
        """At most so many seconds more, by chance."""
        self.rate: float | None = None
        """Bytes a second that pass each way of each connection."""
        self.blackhole = False
        """Whether bytes vanish. What has lost some is reset with ``reset_robbed``."""
        self.accepting = True
        """Whether new connections are taken; otherwise they are reset at once."""
        self.accepted = 0
        """Connections since the start."""
        self.allowance: int | None = None
        """Bytes from the server that may still pass; at 0 the connection is reset."""

    @property
    def address(self) -> str:
        """Where clients connect to."""
        host, port = self._server.sockets[0].getsockname()
        return f"tcp://{host}:{port}"

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._relays)

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, *self._where)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.accepting = False
        self.flow()
        self.reset()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    def reset(self, share: float = 1.0) -> None:
        """Reset every connection, both ends, now; or a share of them, by chance."""
        for relay in list(self._relays):
            if share >= 1.0 or random.random() < share:
                relay.reset()

    def reset_robbed(self) -> None:
        """Reset what has lost bytes."""
        for relay in list(self._relays):
            if relay.robbed:
                relay.reset()

    def stall(self, *, up: bool = True, down: bool = True) -> None:
        """Carry nothing any more, or only one way, and close nothing: as when a cable is pulled."""
        if up:
            self.up.clear()
        if down:
            self.down.clear()

    def flow(self) -> None:
        """Carry again what waits."""
        self.up.set()
        self.down.set()

    def half_close(self) -> None:
        """Close the way to the server; the way back stays open."""
        for relay in self._relays:
            relay.half_closed = True
            with contextlib.suppress(OSError):  # it is closed already
                relay.far.write_eof()

    def cut_after(self, count: int) -> None:
        """Reset the connection behind so many more bytes from the server, most often inside a frame."""
        self.allowance = count

    def corrupt(self, count: int) -> None:
        """Garble the head of the next frame, of so many connections. Nothing behind it arrives.

        Only the head: ZeroMQ has no checksum, and a message that is garbled inside is another message.
        """
        self._corrupted = count

    def cut_behind(self, frames: int) -> None:
        """Reset the connection behind so many more frames, whichever way they go; the last of them arrives."""
        self._frames_left = frames

    def ends_behind(self, ends: list[int]) -> bool:
        """Whether the connection is to be cut behind one of the frames that end here; those after it are cut off."""
        if not self._frames_left or not ends:
            return False
        del ends[self._frames_left :]
        self._frames_left -= len(ends)
        return not self._frames_left

    def corrupts(self) -> bool:
        """Whether this connection is to be garbled now."""
        if self._corrupted:
            self._corrupted -= 1
            return True
        return False

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
        except OSError:
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
