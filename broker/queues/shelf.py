"""A sorted list that stays quick when it is long: blocks of a few hundred, each sorted."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from heapq import heapify, heappop, heapreplace
from math import inf
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

__all__ = ["Key", "Shelf", "padded"]

_BLOCK = 256
"""Where a block is cut in two. Inserting moves half a block on average, and looking for who has waited longest
sorts one: both are quickest near here."""

_PADDING = 1e-14

Key = tuple[float, ...]
"""The rating, and a number that only this one has."""


class _Waits(Protocol):
    @property
    def place(self) -> Key: ...


T = TypeVar("T", bound=_Waits)
_by_place = attrgetter("place")


class Shelf(Generic[T]):
    """Tickets (or rooms) in the order of their keys."""

    __slots__ = ("_ages", "_items", "_keys", "_lasts", "_length")

    def __init__(self) -> None:
        self._keys: list[list[Key]] = []
        self._items: list[list[T]] = []
        self._lasts: list[Key] = []
        self._ages: list[list[T] | None] = []
        """The items of a block, who has waited longest first; None where nobody has asked since it changed."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        for items in self._items:
            yield from items

    def add(self, key: Key, item: T) -> None:
        """Put an item in its place."""
        self._length += 1
        if not self._keys:
            self._keys.append([key])
            self._items.append([item])
            self._lasts.append(key)
            self._ages.append(None)
            return
        if key > self._lasts[-1]:
            block = len(self._lasts) - 1
            self._lasts[block] = key
            keys = self._keys[block]
            keys.append(key)
            self._items[block].append(item)
        else:
            block = bisect_left(self._lasts, key)
            keys = self._keys[block]
            at = bisect_left(keys, key)
            keys.insert(at, key)
            self._items[block].insert(at, item)
        self._ages[block] = None
        if len(keys) > _BLOCK:
            self._split(block)

    def remove(self, key: Key) -> None:
        """Take an item out. Raises KeyError when it is not there."""
        block = bisect_left(self._lasts, key)
        at = bisect_left(self._keys[block], key) if block < len(self._keys) else 0
        if block == len(self._keys) or self._keys[block][at] != key:
            raise KeyError(key)
        self._length -= 1
        keys = self._keys[block]
        del keys[at], self._items[block][at]
        self._ages[block] = None
        if not keys:
            del self._keys[block], self._items[block], self._lasts[block], self._ages[block]
        elif at == len(keys):
            self._lasts[block] = keys[-1]

    def between(self, low: float, high: float, most: int) -> list[T] | None:
        """The items with ratings from low to high; None when they are more than ``most``."""
        block = bisect_left(self._lasts, (low,))
        if block == len(self._lasts):
            return []
        end = (high, inf)
        keys = self._keys[block]
        at = bisect_left(keys, (low,))
        if keys[-1] >= end:
            stop = bisect_right(keys, end, at)
            return self._items[block][at:stop] if stop - at <= most else None
        found = self._items[block][at:]
        for more in range(block + 1, len(self._keys)):
            if len(found) > most:
                return None
            keys = self._keys[more]
            if keys[-1] >= end:
                found += self._items[more][: bisect_right(keys, end)]
                break
            found += self._items[more]
        return found if len(found) <= most else None

    def count(self, low: float, high: float, most: int) -> int:
        """How many have ratings from low to high, counted up to ``most``."""
        block = bisect_left(self._lasts, (low,))
        if block == len(self._lasts):
            return 0
        end = (high, inf)
        number = -bisect_left(self._keys[block], (low,))
        while block < len(self._keys) and number < most:
            keys = self._keys[block]
            if keys[-1] >= end:
                number += bisect_right(keys, end)
                break
            number += len(keys)
            block += 1
        return min(number, most)

    def oldest(self, low: float, high: float) -> Iterator[T]:
        """The items with ratings from low to high, who has waited longest first. Not to be changed meanwhile."""
        ends: list[tuple[Key, int, Iterator[T], T]] = []
        first, end = (low,), (high, inf)
        for block in range(bisect_left(self._lasts, first), len(self._keys)):
            keys = self._keys[block]
            if keys[0] > end:
                break
            ages = self._ages[block]
            if ages is None:
                ages = self._ages[block] = sorted(self._items[block], key=_by_place)
            if keys[0] < first or keys[-1] > end:
                inside = set(map(id, self._items[block][bisect_left(keys, first) : bisect_right(keys, end)]))
                ages = [item for item in ages if id(item) in inside]
            if ages:
                rest = iter(ages)
                item = next(rest)
                ends.append((item.place, block, rest, item))
        heapify(ends)
        while ends:
            _, block, rest, item = ends[0]
            yield item
            following = next(rest, None)
            if following is None:
                heappop(ends)
            else:
                heapreplace(ends, (following.place, block, rest, following))

    def before(self, rating: float, most: int) -> list[T]:
        """Up to ``most`` items of lower ratings, the nearest first."""
        block = bisect_left(self._lasts, (rating,))
        found: list[T] = []
        at = bisect_left(self._keys[block], (rating,)) if block < len(self._keys) else 0
        while True:
            if at:
                found += self._items[block][max(0, at - most + len(found)) : at][::-1]
            block -= 1
            if len(found) >= most or block < 0:
                return found
            at = len(self._keys[block])

    def after(self, key: Key, most: int) -> list[T]:
        """Up to ``most`` items after a key, the nearest first."""
        block = bisect_right(self._lasts, key)
        if block == len(self._lasts):
            return []
        at = bisect_right(self._keys[block], key)
        found = self._items[block][at : at + most]
        while len(found) < most and block + 1 < len(self._keys):
            block += 1
            found += self._items[block][: most - len(found)]
        return found

    def last(self) -> Key:
        """The highest key. Raises IndexError when there is none."""
        return self._lasts[-1]

    def rank(self, key: Key) -> int:
        """How many come before a key."""
        block = bisect_left(self._lasts, key)
        return sum(map(len, self._keys[:block])) + (
            bisect_left(self._keys[block], key) if block < len(self._keys) else 0
        )

    def _split(self, block: int) -> None:
        keys, items = self._keys[block], self._items[block]
        half = len(keys) // 2
        self._keys[block : block + 1] = [keys[:half], keys[half:]]
        self._items[block : block + 1] = [items[:half], items[half:]]
        self._lasts.insert(block, keys[half - 1])
        self._ages[block : block + 1] = [None, None]


def padded(rating: float, limit: float) -> tuple[float, float]:
    """What to ask a shelf for, so that rounding hides nobody who is that far away; each is measured afterwards."""
    if limit < inf:
        limit += (abs(rating) + limit) * _PADDING
    return rating - limit, rating + limit
