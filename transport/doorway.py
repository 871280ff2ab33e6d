"""Where connections come from, told to whoever counts them before they have said a word."""

import contextlib

from .descriptors import borrow
from .locks import Porter

__all__ = ["Doorway"]


class Doorway:
    """The connections of one port, by their descriptors.

    Args:
        porter: who counts; None lets everybody in.
    """

    def __init__(self, porter: Porter | None) -> None:
        self._porter = porter
        self._from: dict[int, str] = {}

    def opened(self, fd: int, now: float) -> bool:
        """A connection was accepted. False: it is to be cut."""
        if self._porter is None:
            return True
        address = _address(fd)
        if address is None:
            return True  # it is over already
        self.closed(fd)
        self._from[fd] = address
        return self._porter.connected(address, now)

    def closed(self, fd: int) -> None:
        """A connection is over."""
        address = self._from.pop(fd, None)
        if address is not None and self._porter is not None:
            self._porter.disconnected(address)

    def flooded(self, fd: int, now: float) -> None:
        """A connection is cut for sending bytes that are no messages."""
        address = self._from.get(fd)
        if address is not None and self._porter is not None:
            self._porter.flooded(address, now)

    def close(self) -> None:
        """The port is closed, and all its connections with it."""
        for fd in list(self._from):
            self.closed(fd)


def _address(fd: int) -> str | None:
    with contextlib.suppress(OSError):
        borrowed = borrow(fd)
        try:
            return str(borrowed.getpeername()[0])
        finally:
            borrowed.detach()  # it is libzmq's
    return None
