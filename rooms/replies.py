"""A member's recent replies, kept beside its history: a request is run once, and answered even after a reset."""

from collections import OrderedDict

__all__ = ["Replies"]

_MOST = 64
_LARGEST = 256 * 1024
"""What is kept for each member: replies, and bytes. The oldest are forgotten first."""


class Replies:
    """Those of one member.

    While the history holds a reply too, the bytes are the same object: it takes
    memory of its own only once the history has lost it.
    """

    __slots__ = ("_kept", "_size")

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    def add(self, request: int, direct: int, item: bytes) -> None:
        """A request was answered, or its answer is said again.

        Args:
            request: its number.
            direct: the number of the item among what the member gets alone.
            item: the reply or failure, encoded.
        """
        self._forget(request)
        self._kept[request] = direct, item
        self._size += len(item)
        while len(self._kept) > _MOST or self._size > _LARGEST:
            self._forget(next(iter(self._kept)))

    def after(self, direct: int) -> list[tuple[int, bytes]]:
        """Numbers of the requests, and the answers, that a member has not got which has seen this direct item."""
        return [(request, item) for request, (number, item) in self._kept.items() if number > direct]

    def _forget(self, request: int) -> None:
        known = self._kept.pop(request, None)
        if known is not None:
            self._size -= len(known[1])
