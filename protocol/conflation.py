"""Of each key only the newest: what is kept of a stream whose older messages mean nothing once newer ones are there.

A position or a cursor is worth nothing as soon as the next one is known. So a
message may have a *key*; a newer message of the same key *outdates* it, and who
catches up gets an item in its place that says so: offsets and direct numbers
stay without holes, and no reader takes the place for a loss.

A message of a key is kept until it is outdated for everybody who was to get it,
so that such a stream reaches back for as long as nothing else was forgotten:
its history is bounded by the number of its keys, not by how fast they change.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from .errors import PayloadError
from .streams import DIRECT_LIMITS, Entry, Excepting, HistoryLimits, Position, outdated, outdated_direct

__all__ = ["Keyed", "LatestHistory", "LatestLog", "conflated", "message_key"]

_NOBODY: frozenset[int] = frozenset()
_LONGEST_KEY = 64


def message_key(name: str, key: object) -> Hashable:
    """What a message outdates older ones of: a key belongs to its type. Raises PayloadError for what is no key."""
    if type(key) is not int and (type(key) is not str or len(key) > _LONGEST_KEY):
        raise PayloadError(f"a key is an integer, or a string of at most {_LONGEST_KEY} characters, not {key!r:.80}")
    return name, key


class Keyed(NamedTuple):
    """A broadcast item with a key, that members with the keys in ``excepted`` did not get."""

    item: bytes
    key: Hashable
    excepted: frozenset[int] = _NOBODY

    def __len__(self) -> int:  # so that sizes add up over all kinds of entry
        return len(self.item)


class Kept(NamedTuple):
    """One message that is kept."""

    number: int
    after: int
    when: float
    item: bytes
    key: Hashable | None
    excepted: frozenset[int]


class LatestLog:
    """Numbered messages, the older ones of a key left out, bounded as a history is.

    Args:
        limits: how much is kept; messages that are outdated do not count.
    """

    __slots__ = ("_forgotten", "_kept", "_limits", "_of", "_size", "last")

    def __init__(self, limits: HistoryLimits = DIRECT_LIMITS) -> None:
        self.last = 0
        self._limits = limits
        self._kept: OrderedDict[int, Kept] = OrderedDict()
        self._of: dict[Hashable, list[int]] = {}
        """By key, the numbers that are kept, oldest first: more than one only where the newer ones except somebody."""
        self._size = 0
        self._forgotten = 0
        """The last number of a message that is gone and was not outdated."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    def add(
        self, item: bytes, after: int, now: float, key: Hashable | None = None, excepted: frozenset[int] = _NOBODY
    ) -> None:
        """Append a message; it carries number ``last + 1``.

        Args:
            item: the message, encoded.
            after: the broadcast that it follows, if it is a direct message.
            now: the time, for the limits.
            key: what it outdates older messages of.
            excepted: the members who do not get it, and keep the older one.
        """
        self.last += 1
        self._kept[self.last] = Kept(self.last, after, now, item, key, excepted)
        self._size += len(item)
        if key is not None:
            self._outdate(key, excepted)
        self.trim(now)

    def _outdate(self, key: Hashable, excepted: frozenset[int]) -> None:
        # Backwards: whoever got none of the newer ones still needs this one, unless it was excepted here as well.
        # Each that is kept leaves fewer to look for, so that there is no more than one for each who was excepted.
        still, needed = excepted, [self.last]
        for number in reversed(self._of.get(key, ())):
            older = self._kept[number]
            if still <= older.excepted:
                self._size -= len(older.item)
                del self._kept[number]
            else:
                still &= older.excepted
                needed.append(number)
        needed.reverse()
        self._of[key] = needed

    def trim(self, now: float) -> None:
        """Forget what is over the limits, oldest first."""
        limits = self._limits
        while self._kept:
            oldest = next(iter(self._kept.values()))
            within = len(self._kept) <= limits.count and self._size <= limits.size
            if within and oldest.when + limits.age > now:
                return
            self._kept.popitem(last=False)
            self._size -= len(oldest.item)
            self._forgotten = oldest.number
            if oldest.key is not None:
                numbers = self._of[oldest.key]
                del numbers[0]
                if not numbers:
                    del self._of[oldest.key]

    def clear(self) -> None:
        """Forget everything; the next number stays what it is."""
        self._kept.clear()
        self._of.clear()
        self._size, self._forgotten = 0, self.last

    def copy(self) -> "LatestLog":
        """The same once more: what is added to one of them is not in the other."""
        copy = LatestLog(self._limits)
        copy.last, copy._size, copy._forgotten = self.last, self._size, self._forgotten
        copy._kept = self._kept.copy()
        copy._of = {key: numbers.copy() for key, numbers in self._of.items()}
        return copy

    def holds(self, number: int) -> bool:
        """Whether all that follows ``number`` is kept, or outdated."""
        return self._forgotten <= number <= self.last

    def since(self, number: int, member: int = 0, upto: int | None = None) -> list[Kept] | None:
        """What a member gets of what follows ``number``, or None if some of it is forgotten or never was.

        Args:
            number: of the last message that it got.
            member: its key, for what it was excepted from.
            upto: of the last message that is for it; None: all are. What was outdated after that is left out as well:
                who is to get it needs a copy of that time.
        """
        if not self.holds(number):
            return None
        newest: set[Hashable] = set()
        wanted: list[Kept] = []
        for kept in reversed(self._kept.values()):
            if kept.number <= number:
                break
            if member in kept.excepted or kept.key in newest or (upto is not None and kept.number > upto):
                continue
            if kept.key is not None:
                newest.add(kept.key)
            wanted.append(kept)
        wanted.reverse()
        return wanted


class LatestHistory:
    """What a stream broadcast last, of each key only the newest: in the place of a ``History``."""

    __slots__ = ("_frozen", "_limits", "_log")

    def __init__(self, limits: HistoryLimits, log: LatestLog | None = None) -> None:
        self._log = log if log is not None else LatestLog(limits)
        self._limits = limits
        self._frozen: LatestHistory | None = None

    def __len__(self) -> int:
        return len(self._log)

    @property
    def last(self) -> int:
        """The offset of the last broadcast."""
        return self._log.last

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._log.size

    def add(self, entries: Sequence[Entry | Keyed], size: int, now: float) -> None:
        """Append a batch of entries; they take the next offsets."""
        self._frozen = None
        add = self._log.add
        for entry in entries:
            if type(entry) is bytes:
                add(entry, 0, now)
            elif type(entry) is Keyed:
                add(entry.item, 0, now, entry.key, entry.excepted)
            elif type(entry) is Excepting:
                add(entry.item, 0, now, None, entry.keys)

    def clear(self) -> None:
        """Forget everything; the next offset stays what it is."""
        self._frozen = None
        self._log.clear()

    def frozen(self) -> "LatestHistory":
        """As it is now: for whose stream ends here, as what comes later outdates nothing for them.

        One copy for all who ask before anything is added.
        """
        if self._frozen is None:
            self._frozen = LatestHistory(self._limits, self._log.copy())
        return self._frozen

    def holds(self, offset: int) -> bool:
        """Whether all that follows ``offset`` is kept, or outdated."""
        return self._log.holds(offset)

    def since(self, offset: int, member: int, upto: int | None = None) -> list[Kept] | None:
        """See ``LatestLog.since``."""
        return self._log.since(offset, member, upto)


def conflated(broadcasts: Sequence[Kept], directs: Sequence[Kept], start: Position, end: Position) -> Iterator[bytes]:
    """Both kinds in the order of sending, from one position to another, with items in the place of what is left out."""
    at, number = start.offset, start.direct
    waiting = iter(directs)
    direct = next(waiting, None)
    for place, broadcast in [*((kept.number, kept.item) for kept in broadcasts), (end.offset + 1, b"")]:
        while direct is not None and direct.after < place:
            if direct.after > at:
                yield outdated(direct.after - at)
                at = direct.after
            if direct.number > number + 1:
                yield outdated_direct(number + 1, direct.number - 1)
            yield direct.item
            number = direct.number
            direct = next(waiting, None)
        if place > at + 1:
            yield outdated(place - at - 1)
        if broadcast:
            yield broadcast
        at = place
    if end.direct > number:
        yield outdated_direct(number + 1, end.direct)
