"""Random bytes for ids and secrets."""

import os

__all__ = ["EntropyPool"]

_FETCHED = 4096


class EntropyPool:
    """The system's random bytes, fetched many at a time: one system call for a hundred secrets.

    No byte is given twice. Not for processes that fork: a child would repeat its parent's.
    """

    def __init__(self) -> None:
        self._pool = b""
        self._used = 0

    def __call__(self, count: int) -> bytes:
        """``count`` random bytes, at most 4096."""
        if self._used + count > len(self._pool):
            self._pool, self._used = os.urandom(_FETCHED), 0
        start, self._used = self._used, self._used + count
        return self._pool[start : self._used]
