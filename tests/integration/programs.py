"""Programs in processes of their own, spoken to as a user would: by typing, by signals, by reading what they print."""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO

import server_room_system

SOURCES = str(Path(server_room_system.__file__).parents[1])


class Program:
    """A Python program. Use it with ``with``; it is killed at the end if it still runs.

    Args:
        source: the program itself.
        arguments: what stands behind it on its command line.
        stdin: what its standard input is, as for ``Popen``; None closes it.
        ignore_sigint: start it as a shell starts what runs in the background.
    """

    def __init__(
        self,
        source: str,
        *arguments: object,
        stdin: int | IO[bytes] | None = subprocess.PIPE,
        ignore_sigint: bool = False,
    ) -> None:
        command = [sys.executable, "-W", "error", "-c", source, *map(str, arguments)]
        if stdin is None:
            command = ["/bin/sh", "-c", 'exec "$0" "$@" <&-', *command]
        self._ignored = ignore_sigint
        self._command = command
        self._stdin = subprocess.DEVNULL if stdin is None else stdin
        self._printed = b""
        self._state = tempfile.TemporaryDirectory()  # a server that is killed leaves its file

    def __enter__(self) -> "Program":
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if self._ignored else None
        try:
            self.process = subprocess.Popen(
                self._command,
                stdin=self._stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": SOURCES, "XDG_RUNTIME_DIR": self._state.name},
            )
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._state.cleanup()

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def send(self, sent: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(sent)

    def prints(self, text: str, within: float = 10.0) -> str:
        """Wait for a line that contains this; the line. Lines before it are passed over."""
        deadline = time.monotonic() + within
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while True:
                *lines, rest = self._printed.split(b"\n")
                for number, line in enumerate(lines):
                    if text in line.decode():
                        self._printed = b"\n".join([*lines[number + 1 :], rest])
                        return line.decode()
                self._printed = rest
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(f"{text!r} was not printed within {within} s")
                data = os.read(self.process.stdout.fileno(), 65_536)
                if not data:
                    _, errors = self.process.communicate()
                    raise AssertionError(f"it ended before it printed {text!r}:\n{errors.decode()}")
                self._printed += data

    def ends(self, within: float = 10.0) -> tuple[int, str, str]:
        """Wait for its end: exit code, the rest of what it printed, and what it printed as errors."""
        stdin, self.process.stdin = self.process.stdin, None
        try:
            output, errors = self.process.communicate(timeout=within)
        finally:
            if stdin is not None:
                stdin.close()  # only now: it must not end because its input does
        return self.process.returncode, (self._printed + output).decode(), errors.decode()
