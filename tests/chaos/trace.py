"""How parties tell the oracle what they do: each writes to a pipe of its own, in the folder that the oracle watches.

What a party has written stays in the pipe when it is killed, once the oracle has it open. A pipe that is full
makes its writer wait: nothing is lost, and nothing grows.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Any

import msgpack

from .events import Event

__all__ = ["Trace"]

_CAPACITY = 1024 * 1024
"""Bytes of a pipe: the most that the system gives to everybody."""
_PATIENCE = 30.0
_UNWRITTEN = 16 * 1024
"""Bytes that may wait for ``flush``."""


class Trace:
    """One party's pipe.

    Args:
        folder: where the oracle looks for pipes.
        role: ``client``, ``worker`` or ``lead``.
        name: of the party; its process id is added.
    """

    def __init__(self, folder: Path, role: str, name: str) -> None:
        path = folder / f"{name}-{os.getpid()}"
        hidden = path.with_suffix(".new")
        os.mkfifo(hidden)
        # For reading as well: it is no end of the pipe when the oracle is not there yet.
        self._pipe = os.open(hidden, os.O_RDWR | os.O_CLOEXEC)
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _CAPACITY)
        self._pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack
        self._waiting = bytearray()
        self.write(Event.HELLO, role, name)
        hidden.rename(path)
        self._path = path

    def await_reader(self) -> "Trace":
        """Wait until the oracle has the pipe: what is in one that nobody else has open is lost with its writer.

        Raises:
            TimeoutError: there is no oracle.
        """
        deadline = time.monotonic() + _PATIENCE
        while self._path.exists():  # who opens it takes the name away
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody reads {self._path}")
            time.sleep(0.005)
        return self

    def write(self, event: Event, *fields: Any) -> None:
        """Say what happens, at once: afterwards the oracle knows it, even if this process is killed."""
        self.note(event, *fields)
        self.flush()

    def note(self, event: Event, *fields: Any) -> None:
        """Say what happened, soon, in order with all else."""
        self._waiting += self._pack((int(event), time.monotonic(), *fields))
        if len(self._waiting) > _UNWRITTEN:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = memoryview(bytes(self._waiting)), bytearray()
        while waiting:
            waiting = waiting[os.write(self._pipe, waiting) :]

    def close(self) -> None:
        """Nothing more will come."""
        self.flush()
        os.close(self._pipe)
