"""The lines of the standard input, typed or piped, without a thread."""

import asyncio
import os
import sys

__all__ = ["Lines"]

_LONGEST = 1 << 20


class Lines:
    """Reads the standard input of a program that runs on an event loop.

    Nothing is read before it is asked for, so that a pipe's writer waits.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._fd: int | None = None
        try:
            self._fd = sys.stdin.fileno()
            self.typed = sys.stdin.isatty()
            """Whether a person types at a terminal."""
        except (AttributeError, OSError, ValueError):  # there is no standard input
            self.typed = False

    async def next(self) -> str | None:
        """The next line without its end; None when there will be no more."""
        while b"\n" not in self._buffer and len(self._buffer) < _LONGEST:
            if self._fd is None:
                break
            await self._readable(self._fd)
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                data = b""
            if not data:
                self._fd = None
            self._buffer += data
        if not self._buffer:
            return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    async def _readable(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        try:
            loop.add_reader(fd, _set, readable)
        except PermissionError:  # a file: always readable
            await asyncio.sleep(0)
            return
        try:
            await readable
        finally:
            loop.remove_reader(fd)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
