"""Ordered streams: positions, bounded history, and catching up from it.

A stream is one life of a room or a session. Its broadcasts are numbered by
*offset*, from 1 and without holes for every member: a member whom a broadcast
excepts gets a SKIP in its place. What goes to one member alone carries a
*direct* number of that member, also without holes, and sits in the bundle right
behind the offset that it follows. So (epoch, offset, direct) is all that a
client needs to come back: the sender merges both kinds in the order of sending,
and the receiver sees each exactly once, or learns that there is a gap.

The epoch is random for each life of a stream, because an offset alone can't
tell "nothing was missed" from "this is another room, restarted at one".
"""

import struct
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .codec import pack
from .errors import BadMessage
from .messages import HEAD_SIZE, Item, bundle, encode_item

__all__ = [
    "MARK",
    "SKIP",
    "DirectLog",
    "Excepting",
    "Gap",
    "History",
    "HistoryLimits",
    "Position",
    "StreamReader",
    "bundles",
    "mark",
    "merged",
    "outdated",
    "outdated_direct",
    "renumbered",
]

SKIP = encode_item(Item.SKIP)
"""Stands for a broadcast that this member was excepted from."""

MARK = int(Item.MARK)
"""Kind of an item that says to one member, in a frame for many, what it must have got by now: see ``mark``."""

MOST_ITEMS = 1024
"""Items of one bundle, so that a receiver can bound its arrays."""

_OFFSET_ITEMS = frozenset((Item.BROADCAST, Item.SKIP, Item.PRESENCE))
_DIRECT_ITEMS = frozenset((Item.DIRECT, Item.REPLY, Item.FAILURE))
_OUTDATED = int(Item.OUTDATED)
_OUTDATED_DIRECT = int(Item.OUTDATED_DIRECT)
# With numbers of fixed width, so that what they take can be read from their bytes.
_OUTDATED_ITEM = struct.Struct(">BBBQ")
_OUTDATED_DIRECT_ITEM = struct.Struct(">BBBQBQ")
_LARGEST = (1 << 53) - 1
_WIDTHS = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9}
"""Bytes that an encoded unsigned integer takes, by its first; all others take one."""


class Position(NamedTuple):
    """A place in a stream: its life, the last broadcast seen, the last direct message seen."""

    epoch: int
    offset: int
    direct: int


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How much is kept for those who come back: the first limit that is reached counts."""

    count: int = 1024
    """Messages."""
    size: int = 4 * 1024 * 1024
    """Bytes, as encoded."""
    age: float = 120.0
    """Seconds."""


DIRECT_LIMITS = HistoryLimits(count=256, size=256 * 1024, age=120.0)
"""What is kept of the messages to one member: there is one such log for each member."""


class Excepting(NamedTuple):
    """A broadcast item that members with these keys did not get."""

    item: bytes
    keys: frozenset[int]

    def __len__(self) -> int:  # so that sizes add up over both kinds of entry
        return len(self.item)


Entry = bytes | Excepting


class History:
    """The bounded ring of what a stream broadcast last."""

    __slots__ = ("_entries", "_limits", "_marks", "_size", "last")

    def __init__(self, limits: HistoryLimits) -> None:
        self._limits = limits
        self._entries: deque[Entry] = deque(maxlen=limits.count)
        # One mark for each batch: when, its last offset, its bytes. Bytes and
        # age are bounded by whole batches, the count by the deque itself.
        self._marks: deque[tuple[float, int, int]] = deque()
        self._size = 0
        self.last = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def first(self) -> int:
        """The oldest offset that is kept; ``last + 1`` when there is none."""
        return self.last - len(self._entries) + 1

    @property
    def size(self) -> int:
        """Bytes that are accounted for: those kept, and up to one batch more."""
        return self._size

    def add(self, entries: Sequence[Entry], size: int, now: float) -> None:
        """Append a batch of entries with ``size`` bytes in all; they take the next offsets."""
        self._entries.extend(entries)
        self.last += len(entries)
        self._marks.append((now, self.last, size))
        self._size += size
        self.trim(now)

    def trim(self, now: float) -> None:
        """Forget what is over the limits."""
        marks, limits = self._marks, self._limits
        while marks:
            when, last, size = marks[0]
            fallen_out = last <= self.last - len(self._entries)
            if not fallen_out and self._size <= limits.size and when + limits.age > now:
                return
            marks.popleft()
            self._size -= size
            for _ in range(last - self.first + 1):
                self._entries.popleft()

    def clear(self) -> None:
        """Forget everything; the next offset stays what it is."""
        self._entries.clear()
        self._marks.clear()
        self._size = 0

    def when(self, offset: int) -> float | None:
        """When a broadcast was said; None if it is forgotten or never was."""
        if not self.first <= offset <= self.last:
            return None
        return self._marks[bisect_left(self._marks, offset, key=_last_of)][0]

    def holds(self, offset: int) -> bool:
        """Whether all that follows ``offset`` is kept."""
        return 0 <= self.last - offset <= len(self._entries)

    def since(self, offset: int) -> list[Entry] | None:
        """What follows ``offset``, or None if some of it is forgotten or never was."""
        if not self.holds(offset):
            return None
        return list(self._entries)[len(self._entries) - (self.last - offset) :]


def _last_of(mark: tuple[float, int, int]) -> int:
    return mark[1]


class _Direct(NamedTuple):
    number: int
    after: int
    when: float
    item: bytes


class DirectLog:
    """The bounded ring of what one member got alone."""

    __slots__ = ("_entries", "_limits", "_size", "last")

    def __init__(self, limits: HistoryLimits = DIRECT_LIMITS) -> None:
        self._limits = limits
        self._entries: deque[_Direct] = deque()
        self._size = 0
        self.last = 0

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    def add(self, item: bytes, after: int, now: float) -> None:
        """Append an item that carries number ``last + 1`` and follows the broadcast ``after``."""
        self.last += 1
        self._entries.append(_Direct(self.last, after, now, item))
        self._size += len(item)
        limits, entries = self._limits, self._entries
        while len(entries) > limits.count or self._size > limits.size or entries[0].when + limits.age <= now:
            self._size -= len(entries.popleft().item)
            if not entries:
                return

    def when(self, number: int) -> float | None:
        """When an item was added; None if it is forgotten or never was."""
        index = number - self.last - 1
        return self._entries[index].when if -len(self._entries) <= index < 0 else None

    def holds(self, number: int) -> bool:
        """Whether all that follows ``number`` is kept."""
        return 0 <= self.last - number <= len(self._entries)

    def since(self, number: int) -> list[_Direct] | None:
        """What follows ``number``, or None if some of it is forgotten or never was."""
        if not self.holds(number):
            return None
        return list(self._entries)[len(self._entries) - (self.last - number) :]


def merged(entries: Iterable[Entry], directs: Iterable[_Direct], offset: int, key: int) -> Iterator[bytes]:
    """Both kinds in the order of sending, as the member ``key`` sees them, from ``offset`` on."""
    waiting = iter(directs)
    direct = next(waiting, None)
    for entry in entries:
        while direct is not None and direct.after <= offset:
            yield direct.item
            direct = next(waiting, None)
        offset += 1
        if type(entry) is Excepting:
            yield SKIP if key in entry.keys else entry.item
        else:
            yield entry  # type: ignore[misc]  # bytes: an Entry is nothing else
    if direct is not None:
        yield direct.item
        yield from (rest.item for rest in waiting)


def mark(name: int, number: int) -> bytes:
    """The item that says to one member: what you were sent alone, up to this number, came before here.

    ``name`` is who is meant, see ``mark_of``.

    Where the shared part of a stream and what is for one member are sent apart, and
    either may be lost, this is how a member knows of a loss before it reads on.
    """
    return pack((MARK, name, number))


def outdated(count: int) -> bytes:
    """The item that stands for so many broadcasts that this member does not get: newer ones take their place."""
    return SKIP if count == 1 else _OUTDATED_ITEM.pack(0x92, _OUTDATED, 0xCF, count)


def outdated_direct(number: int, upto: int) -> bytes:
    """The item that stands for direct items from one number up to another: newer ones take their place."""
    return _OUTDATED_DIRECT_ITEM.pack(0x93, _OUTDATED_DIRECT, 0xCF, number, 0xCF, upto)


def _takes(item: bytes) -> tuple[int, int]:
    """How many offsets and direct numbers an encoded item takes."""
    kind = item[1]  # items are arrays of at most 15
    if kind in _OFFSET_ITEMS:
        return 1, 0
    if kind == _OUTDATED:
        return _OUTDATED_ITEM.unpack(item)[3], 0
    if kind == _OUTDATED_DIRECT:
        _, _, _, number, _, upto = _OUTDATED_DIRECT_ITEM.unpack(item)
        return 0, upto - number + 1
    return 0, 1


def renumbered(item: bytes, number: int) -> bytes:
    """A direct item as it would be with another number."""
    return item[:2] + pack(number) + item[2 + _WIDTHS.get(item[2], 1) :]


def bundles(epoch: int, ref: int, offset: int, items: Iterable[bytes], most: int) -> Iterator[tuple[bytes, int, int]]:
    """Cut items into frames of at most ``most`` bytes.

    Yields:
        The frame, the offset that it ends at, and how many direct numbers it takes.
    """
    batch: list[bytes] = []
    size, start, end, directs = HEAD_SIZE, offset, offset, 0
    for item in items:
        if batch and (size + len(item) > most or len(batch) == MOST_ITEMS):
            yield bundle(epoch, ref, start, batch), end, directs
            batch, size, start, directs = [], HEAD_SIZE, end, 0
        batch.append(item)
        size += len(item)
        offsets, numbers = _takes(item)
        end += offsets
        directs += numbers
    if batch:
        yield bundle(epoch, ref, start, batch), end, directs


class Gap(Exception):  # a signal between reader and client core, never raised to users
    """Something is missing before what just came: recover from the reader's position."""


class StreamReader:
    """The receiving end: where it stands in a stream, and what is new in a bundle."""

    __slots__ = ("direct", "epoch", "offset")

    def __init__(self, position: Position) -> None:
        self.epoch, self.offset, self.direct = position

    @property
    def position(self) -> Position:
        """The last broadcast and direct message that were seen."""
        return Position(self.epoch, self.offset, self.direct)

    def read(self, offset: int, items: list[Any], name: int = 0) -> Iterator[tuple[list[Any], Position]]:
        """The items of a bundle that were not seen before, each with its position.

        Args:
            offset: the stream's place before the first item.
            items: decoded items; without any, the bundle says no more than where the stream stands.
            name: by which marks mean this reader, see ``mark_of``.

        Raises:
            Gap: there is a hole before the next item, or before the place where the
                bundle ends; what was yielded counts.
            BadMessage: an item is not what the protocol describes.
        """
        for item in items:
            if type(item) is not list or not item or type(item[0]) is not int:
                raise BadMessage("an item is an array that begins with its kind")
            kind = item[0]
            if kind in _OFFSET_ITEMS:
                offset += 1
                if offset > self.offset + 1:
                    raise Gap
                if offset <= self.offset:
                    continue
                self.offset = offset
            elif kind in _DIRECT_ITEMS:
                number = item[1] if len(item) > 1 else None
                if type(number) is not int:
                    raise BadMessage("a direct item carries its number")
                if number > self.direct + 1 or offset > self.offset:
                    raise Gap
                if number <= self.direct:
                    continue
                self.direct = number
            elif kind == _OUTDATED:
                if len(item) != 2 or type(item[1]) is not int or not 1 <= item[1] <= _LARGEST - offset:
                    raise BadMessage("an item OUTDATED says how many broadcasts it stands for")
                if offset > self.offset:
                    raise Gap
                offset += item[1]
                self.offset = max(self.offset, offset)
                continue
            elif kind == _OUTDATED_DIRECT:
                if [type(field) for field in item[1:]] != [int, int] or not 1 <= item[1] <= item[2] <= _LARGEST:
                    raise BadMessage("an item OUTDATED_DIRECT says which numbers it stands for")
                if item[1] > self.direct + 1 or offset > self.offset:
                    raise Gap
                self.direct = max(self.direct, item[2])
                continue
            elif kind == MARK:
                if [type(field) for field in item[1:]] != [int, int]:
                    raise BadMessage("a mark carries a name and a number")
                if offset > self.offset or (item[1] == name and item[2] > self.direct):
                    raise Gap
                continue
            else:
                raise BadMessage("unknown kind of item")
            if kind != Item.SKIP:
                yield item, self.position
        if offset > self.offset:
            raise Gap
