"""What happened lately, by key."""

from collections.abc import Hashable
from math import inf
from typing import Generic, TypeVar

__all__ = ["Recent"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A dictionary that forgets what is old, a whole age at a time.

    One by one would cost more the more is kept: to find its first key, a
    dictionary steps over the places of all that were taken out before (59 µs at
    50,000 keys, 4 µs at 4,000).

    Args:
        most: a key is kept until at least so many came after it. It never holds more than twice as many.
        seconds: or until it is at least so old.
    """

    __slots__ = ("_before", "_here", "_most", "_seconds", "_since", "forgot")

    def __init__(self, most: int, seconds: float = inf) -> None:
        self.forgot = False
        """Whether there was ever a key that is not kept any more."""
        self._most = most
        self._seconds = seconds
        self._since = -inf
        self._before: dict[K, V] = {}
        self._here: dict[K, V] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._here or key in self._before

    def get(self, key: K) -> V | None:
        """What was put there; None if it was nothing, or is forgotten."""
        value = self._here.get(key)
        return value if value is not None else self._before.get(key)

    def put(self, key: K, value: V, now: float) -> None:
        """Remember a key; ``now``: monotonic seconds."""
        if len(self._here) >= self._most or now - self._since >= self._seconds:
            self.forgot = self.forgot or bool(self._before)
            self._before, self._here, self._since = self._here, {}, now
        self._here[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._before, self._here = {}, {}
