"""The console of a running server: the word ``close`` stops it."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable

__all__ = ["Console"]


class Console:
    """Reads the standard input without a thread, where it can be waited for.

    Args:
        close: called when somebody types ``close``.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._fd: int | None = None
        self._line = b""
        self._retry: asyncio.TimerHandle | None = None

    def __enter__(self) -> "Console":
        try:
            fd = sys.stdin.fileno()
            asyncio.get_running_loop().add_reader(fd, self._read)
        except (AttributeError, OSError, ValueError):
            return self  # no standard input, or a file: nobody types there
        self._fd = fd
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._forget()

    def _read(self) -> None:
        assert self._fd is not None
        with contextlib.suppress(OSError):  # not a terminal
            if os.tcgetpgrp(self._fd) != os.getpgrp():
                self._look_again_later()  # in the background: reading would stop the process
                return
        try:
            data = os.read(self._fd, 4096)
        except OSError:
            data = b""
        if not data:
            self._forget()
            return
        *lines, self._line = (self._line + data).split(b"\n")
        self._line = self._line[-64:]
        for line in lines:
            word = line.strip().decode(errors="replace")
            if word == "close":
                self._close()
            elif word:
                print(f"unknown command {word[:40]!r}: type close to stop the server", flush=True)  # noqa: T201

    def _look_again_later(self) -> None:
        self._forget()
        self._retry = asyncio.get_running_loop().call_later(1.0, self.__enter__)

    def _forget(self) -> None:
        if self._fd is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._fd = None
