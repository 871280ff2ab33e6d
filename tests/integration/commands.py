"""Commands of ``srs`` that administer, run beside the processes of a test, and one in a terminal of its own."""

import asyncio
import contextlib
import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import time
from typing import Any, NamedTuple

from .cluster import PATIENCE, Processes

__all__ = ["Done", "Terminal", "srs"]

SRS = (sys.executable, "-P", "-m", "server_room_system.cli")


class Done(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


async def srs(processes: Processes, *arguments: object, **environment: str) -> Done:
    """Run a command to its end, where the brokers of this test keep their keys."""

    def run() -> Done:
        done = subprocess.run(
            [*SRS, *map(str, arguments)],
            env={**processes.environment, **environment}, cwd=processes.folder,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=25, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    return await asyncio.to_thread(run)


class Terminal:
    """A command in a terminal. Use it with ``with``: at the end it is gone.

    Args:
        processes: of the test.
        arguments: what follows ``srs``.
        columns: how wide the terminal is.
        lines: how high.
    """

    def __init__(self, processes: Processes, *arguments: object, columns: int = 80, lines: int = 24) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.set_blocking(self._master, False)
        self.process = subprocess.Popen(
            [*SRS, *map(str, arguments)],
            env={**processes.environment, "TERM": "xterm-256color"},
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.shown = ""
        """All that it has written, without colours."""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._master)

    async def shows(self, text: str, within: float = PATIENCE) -> None:
        """Wait until it has written this since the last time."""
        begin, deadline = len(self.shown), time.monotonic() + within
        while text not in self.shown[begin:]:
            assert time.monotonic() < deadline, f"no {text!r} within {within} s:\n{self.shown[begin:]}"
            ended = self.process.poll() is not None
            self._read()
            assert not ended or text in self.shown[begin:], f"it ended before it showed {text!r}:\n{self.shown}"
            await asyncio.sleep(0.02)

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    async def ends(self, within: float = PATIENCE) -> int:
        """Wait for its end; the exit code."""
        deadline = time.monotonic() + within
        while (code := self.process.poll()) is None:
            assert time.monotonic() < deadline, f"it did not end within {within} s:\n{self.shown}"
            self._read()
            await asyncio.sleep(0.02)
        self._read()
        return code

    def settings(self) -> list[Any]:
        """What ``termios`` says of the terminal."""
        return termios.tcgetattr(self._master)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # nothing is there, or the other end is closed
            while data := os.read(self._master, 65536):
                self.shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode(errors="replace"))
