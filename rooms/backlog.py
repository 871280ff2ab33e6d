"""What waits to be sent to those who do not read: how much of it there is, of each and of all."""

from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Backlog"]

_MOST = 64 * 1024 * 1024
"""Bytes that wait for all peers of a port together."""

Peer = TypeVar("Peer")


class Backlog(Generic[Peer]):
    """Bytes by peer, in the order in which they began to wait."""

    __slots__ = ("_of", "size")

    def __init__(self) -> None:
        self.size = 0
        """Bytes that wait for all of them."""
        self._of: dict[Peer, int] = {}

    def put(self, peer: Peer, size: int) -> None:
        """So much more waits."""
        self._of[peer] = self._of.get(peer, 0) + size
        self.size += size

    def taken(self, peer: Peer, size: int) -> None:
        """So much has left."""
        self._of[peer] -= size
        self.size -= size

    def forget(self, peer: Peer) -> None:
        """Nothing waits for it any more."""
        self.size -= self._of.pop(peer, 0)

    def too_slow(self) -> Iterator[Peer]:
        """While there is too much: whom most waits for, and of equals the first; to be forgotten before the next.

        Not who has waited longest: one who takes a little now and then would outlast all others.
        """
        while self.size > _MOST:
            yield max(self._of, key=self._of.__getitem__)
