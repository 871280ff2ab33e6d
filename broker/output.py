"""What a worker process prints, on its way to the broker's standard error: both ends of the pipe.

A worker outlives its broker, and then nobody reads its pipe. So the worker
never waits for its reader: what finds the pipe full is dropped and counted,
and when the reader is gone, all goes to ``/dev/null``. Who wants the logs of
workers without a broker gives ``logging`` a handler of his own.
"""

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["LONGEST_LINE", "Lines", "print_without_waiting"]

LONGEST_LINE = 8192
"""Bytes; what goes on is cut."""
_WHOLE = 4096
"""Bytes that a pipe takes as a whole or not at all, on Linux (``PIPE_BUF``)."""


class Lines:
    """Makes lines of what comes in pieces, and keeps no more than one line of it."""

    def __init__(self) -> None:
        self._begun = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete."""
        first, *others = data.split(b"\n")
        lines: list[bytes] = []
        self._add(first)
        for other in others:
            lines.append(self._begun)
            self._begun = b""
            self._add(other)
        return [_shown(line) for line in lines]

    def rest(self) -> list[str]:
        """What was begun and will not be completed."""
        begun, self._begun = self._begun, b""
        return [_shown(begun)] if begun else []

    def _add(self, piece: bytes) -> None:
        self._begun += piece[: LONGEST_LINE + 1 - len(self._begun)]


def _shown(line: bytes) -> str:
    text = line[:LONGEST_LINE].decode("utf-8", errors="replace").removesuffix("\r")
    return text + " [cut]" if len(line) > LONGEST_LINE else text


def print_without_waiting() -> None:
    """Let ``sys.stdout`` and ``sys.stderr`` of this process never wait or fail. Call it before logging is set up."""
    sys.stdout = _stream(1)
    sys.stderr = _stream(2)


def _stream(descriptor: int) -> TextIO:
    os.set_blocking(descriptor, False)
    raw = _Unhurried(descriptor)
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", errors="backslashreplace", line_buffering=True)


class _Unhurried(io.RawIOBase):
    """Writes to a descriptor what it takes, and drops the rest."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._dropped = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: "ReadableBuffer", /) -> int:
        view, written = bytes(data), 0
        try:
            if self._dropped:
                os.write(self._descriptor, b"\n[%d bytes of output were dropped here]\n" % self._dropped)
                self._dropped = 0
            while written < len(view):
                written += os.write(self._descriptor, view[written : written + _WHOLE])
        except BlockingIOError:  # nobody reads just now: said when somebody does again
            self._dropped += len(view) - written
        except OSError:  # nobody ever will
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._descriptor)
            os.close(nowhere)
            self._dropped = 0
        return len(view)
