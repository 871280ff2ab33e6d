"""Fan-out: what a room says in one turn leaves together; and unicast, which makes it one frame for each member.

Broadcasts are encoded once, when they are made, and joined once a turn. A
member who got something of its own in the turn (a direct message, a reply, a
broadcast that excepts it) gets a frame of its own, everyone else the same one.
A member whose queue is full gets nothing more until it has room, and then what
it missed, from the history: it costs no memory of its own. Where the
history keeps of each key only the newest, that is what it gets then.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from math import inf
from typing import Protocol

from ..protocol.conflation import Keyed, LatestHistory, LatestLog, conflated
from ..protocol.messages import HEAD_SIZE, bundle
from ..protocol.streams import (
    SKIP,
    DirectLog,
    Entry,
    Excepting,
    History,
    HistoryLimits,
    Position,
    bundles,
    merged,
)
from ..transport.network import Sent
from .lines import Line

__all__ = ["MOST_ITEMS", "ONE_FRAME", "Fanout", "FramesOut", "Own", "UnicastFanout", "interleaved"]

ONE_FRAME = 64 * 1024
"""Bytes after which a turn is full."""
MOST_ITEMS = 1024
"""Items after which a turn is full."""


class FramesOut(Protocol):
    """Where frames go."""

    def send(self, peer: bytes, frame: bytes) -> Sent: ...

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]: ...


Own = list[tuple[int, bytes, bool]]
"""A member's own items of a turn: before or at which broadcast, the item, whether it stands in its place."""


class Fanout:
    """The stream of one room: what it says in a turn, and what is kept of it.

    Args:
        epoch: the random name of this life of the stream.
        history: how much is kept for those who come back.
        most: bytes of one frame.
        latest: whether of each key only the newest is kept. Then lines are made so, too.
    """

    __slots__ = (
        "_apart",
        "_entries",
        "_items",
        "_latest",
        "_most",
        "_own",
        "_size",
        "behind",
        "epoch",
        "history",
        "waiting",
    )

    def __init__(self, epoch: int, history: HistoryLimits, most: int, *, latest: bool = False) -> None:
        self.epoch = epoch
        self.history: History | LatestHistory = LatestHistory(history) if latest else History(history)
        self.waiting = False
        """Whether a flush was asked for. (An attribute of whoever asks: this is read for every message.)"""
        self.behind: dict[Line, None] = {}
        """Connected lines that wait for room in their queue."""
        self._latest = latest
        self._most = most
        self._items: list[bytes] = []
        self._entries: list[Entry | Keyed] | None = None
        """The same for the history, if there is more to say of any than its bytes."""
        self._apart = False
        """Whether any of them is not for everybody."""
        self._size = 0
        self._own: dict[Line, Own] = {}

    @property
    def offset(self) -> int:
        """The number of the last broadcast, flushed or not."""
        return self.history.last + len(self._items)

    def broadcast(self, item: bytes) -> bool:
        """Add a broadcast of this turn.

        Returns:
            Whether the turn is full and has to be flushed before anything is added.
        """
        self._items.append(item)
        if self._entries is not None:
            self._entries.append(item)
        self._size += len(item)
        return self._size >= ONE_FRAME or len(self._items) >= MOST_ITEMS

    def broadcast_keyed(self, item: bytes, key: Hashable) -> bool:
        """The same for a broadcast that outdates older ones of its key, where only the newest is kept."""
        return self._add(item, Keyed(item, key)) if self._latest else self.broadcast(item)

    def broadcast_except(self, item: bytes, excepted: Iterable[Line], key: Hashable | None = None) -> bool:
        """The same for all but some members, who get a SKIP in its place."""
        lines = list(excepted)
        keys = frozenset(line.key for line in lines)
        index = len(self._items)
        for line in lines:
            if not line.behind:
                self._own.setdefault(line, []).append((index, SKIP, True))
        self._apart = True
        return self._add(item, Keyed(item, key, keys) if self._latest and key is not None else Excepting(item, keys))

    def _add(self, item: bytes, entry: Entry | Keyed) -> bool:
        if self._entries is None:
            self._entries = list(self._items)
        self._items.append(item)
        self._entries.append(entry)
        self._size += len(item)
        return self._size >= ONE_FRAME or len(self._items) >= MOST_ITEMS

    def direct(self, line: Line, item: bytes, now: float, key: Hashable | None = None) -> bool:
        """Add an item for one member; it carries the number ``line.last_direct + 1``.

        Args:
            line: the member's.
            item: what it gets.
            now: monotonic seconds.
            key: what it outdates older ones of, where only the newest is kept.
        """
        directs = line.directs
        if isinstance(directs, LatestLog):
            directs.add(item, self.offset, now, key)
        else:
            directs.add(item, self.offset, now)
        if not line.behind:
            own = self._own.setdefault(line, [])
            own.append((len(self._items), item, False))
            return len(own) >= MOST_ITEMS
        return False

    def misses(self, line: Line) -> bool:
        """Whether anything was said that the line has not got. Flush before."""
        return line.offset != self.history.last or line.direct != line.last_direct

    def can_catch_up(self, line: Line) -> bool:
        """Whether all that the line misses is still in the history. Flush before."""
        return not self.misses(line) or (
            self.history.holds(line.offset) and (line.direct == line.last_direct or line.directs.holds(line.direct))
        )

    def missing(
        self, line: Line, end: Position | None = None, held: LatestHistory | None = None
    ) -> Iterator[bytes] | None:
        """The items that a line misses, or None if some of them are forgotten or never were. Flush before.

        Args:
            line: the line.
            end: where the stream has ended for it; None: it goes on.
            held: what ``held`` gave when it ended.
        """
        history, end = held or self.history, end or self.end(line)
        directs = line.directs if line.direct != line.last_direct else None
        if isinstance(history, LatestHistory):
            newest = history.since(line.offset, line.key, end.offset)
            own = directs.since(line.direct) if isinstance(directs, LatestLog) else []
            if newest is None or own is None:
                return None
            return conflated(newest, own, Position(self.epoch, line.offset, line.direct), end)
        entries = history.since(line.offset)
        alone = directs.since(line.direct) if isinstance(directs, DirectLog) else []
        if entries is None or alone is None:
            return None
        return merged(entries[: end.offset - line.offset], alone, line.offset, line.key)

    def missing_since(self, line: Line) -> float | None:
        """When the first thing was said that a line misses: monotonic seconds, or -inf if it is forgotten.

        Flush before. None: it misses nothing, or only the newest of each key is kept, and it is not known.
        """
        history, directs = self.history, line.directs if line.direct != line.last_direct else None
        if isinstance(history, LatestHistory) or isinstance(directs, LatestLog):
            return None
        times = [history.when(line.offset + 1)] if line.offset != history.last else []
        if directs is not None:
            times.append(directs.when(line.direct + 1))
        return min((when if when is not None else -inf for when in times), default=None)

    def end(self, line: Line) -> Position:
        """Where the stream ends for this line. Flush before."""
        return Position(self.epoch, self.history.last, line.last_direct)

    def held(self) -> LatestHistory | None:
        """Of a stream that keeps only the newest of each key: what it keeps now, for those whose stream ends here.

        Flush before.
        """
        return self.history.frozen() if isinstance(self.history, LatestHistory) else None

    def jump(self, line: Line) -> None:
        """Give up what a line missed: it goes on from the end of the stream. Flush before."""
        _, line.offset, line.direct = self.end(line)

    def forget(self) -> None:
        """The stream is over. Rooms are in cycles, so that their memory is not freed at once: let the bulk of it go."""
        self.history.clear()

    def _end_turn(self, now: float) -> None:
        """Into the history with what was broadcast; the next turn is empty."""
        self.waiting = False
        if self._items:
            entries = self._items if self._entries is None else self._entries
            self.history.add(entries, self._size, now)  # type: ignore[arg-type]  # Keyed only where it is known
            self._items, self._entries, self._size = [], None, 0
            self._apart = False
        if self._own:
            self._own = {}


def interleaved(items: Sequence[bytes], own: Own) -> tuple[list[bytes], int]:
    """A turn as one member gets it, and how many direct items are in it."""
    mine: list[bytes] = []
    at = directs = 0
    for index, item, in_place in own:
        mine += items[at:index]
        mine.append(item)
        at = index + in_place
        directs += not in_place
    mine += items[at:]
    return mine, directs


class UnicastFanout(Fanout):
    """A frame for each member, on its own connection.

    For the arguments see ``Fanout``.
    """

    __slots__ = ("_lines", "_peers", "_sharing")

    def __init__(self, epoch: int, history: HistoryLimits, most: int, *, latest: bool = False) -> None:
        super().__init__(epoch, history, most, latest=latest)
        self._lines: dict[bytes, list[Line]] = {}
        self._peers: list[bytes] | None = []
        self._sharing: list[Line] = []

    def flush(self, out: FramesOut, now: float) -> None:
        """End the turn: one frame for each member."""
        items, own, size = self._items, self._own, self._size
        before = self.history.last
        self._end_turn(now)
        peers = self._peers
        if peers is None:
            peers = self._find_peers()
        if own:
            for line, parts in own.items():
                if line.peer is not None and not line.behind:
                    self._send_own(out, line, before, items, parts)
            apart = {line.peer for line in own}
            peers = [peer for peer in peers if peer not in apart]
        if not items:
            return
        if size + HEAD_SIZE <= self._most:
            self._send_shared(out, peers, bundle(self.epoch, 0, before, items), before)
        else:  # the last item made it too large for one frame
            start = before
            for frame, end, _ in bundles(self.epoch, 0, before, items, self._most):
                slow = self._send_shared(out, peers, frame, start)
                peers = [peer for peer in peers if peer not in slow]
                start = end
        for line in self._sharing:
            if line not in own:
                self._send_own(out, line, before, items, [])

    def connect(self, line: Line, peer: bytes, ref: int, position: Position | None) -> None:
        """Give a line its connection. It stays behind until ``catch_up`` has brought it up.

        Flush before: a position between two flushes has no place in a bundle.
        """
        self.disconnect(line)
        line.peer, line.ref = peer, ref
        if position is not None:
            line.offset, line.direct = position.offset, position.direct
        self._lines.setdefault(peer, []).append(line)
        self._peers = None
        self.behind[line] = None

    def disconnect(self, line: Line) -> None:
        """Take a line's connection away. The line goes on being logged, not sent."""
        if line.peer is None:
            return
        if not line.behind:
            line.offset, line.direct, line.behind = self.history.last, line.last_direct, True
        lines = self._lines[line.peer]
        lines.remove(line)
        if not lines:
            del self._lines[line.peer]
        self._own.pop(line, None)
        self.behind.pop(line, None)
        line.peer = None
        self._peers = None

    def catch_up(self, line: Line, out: FramesOut) -> bool:
        """Send a line what it missed, as far as its queue takes it. Flush before.

        Returns:
            Whether the line is up with the stream again (or gone).
        """
        if line.peer is None or not line.behind:
            return True
        items = self.missing(line) if self.misses(line) else ()
        if items is None:
            return False
        for frame, end, count in bundles(self.epoch, line.ref, line.offset, items, ONE_FRAME):
            if out.send(line.peer, frame) is not Sent.TAKEN:
                return False
            line.offset = end
            line.direct += count
        line.behind = False
        del self.behind[line]
        self._peers = None
        return True

    def has_room(self, line: Line, out: FramesOut) -> bool:
        """Whether a line's queue takes a frame now: a bundle without items, which says nothing, is sent as a trial."""
        assert line.peer is not None
        return out.send(line.peer, bundle(self.epoch, line.ref, 0, [])) is Sent.TAKEN

    def _find_peers(self) -> list[bytes]:
        # A connection that carries several members of this room gets a frame for
        # each, with its reference; reference 0 means "the only one here".
        up = {peer: [line for line in lines if not line.behind] for peer, lines in self._lines.items()}
        alone = [peer for peer, lines in up.items() if lines and len(self._lines[peer]) == 1]
        self._sharing = [line for peer, lines in up.items() if len(self._lines[peer]) > 1 for line in lines]
        self._peers = alone
        return alone

    def _send_shared(self, out: FramesOut, peers: list[bytes], frame: bytes, before: int) -> set[bytes]:
        slow: set[bytes] = set()
        for peer, sent in out.send_all(peers, frame):
            line = self._lines[peer][0]
            self._fall_behind(line, before, line.last_direct, sent)
            slow.add(peer)
        return slow

    def _send_own(self, out: FramesOut, line: Line, before: int, items: list[bytes], own: Own) -> None:
        mine, directs = interleaved(items, own)
        direct = line.last_direct - directs
        assert line.peer is not None
        if sum(map(len, mine)) + HEAD_SIZE <= self._most and len(mine) <= MOST_ITEMS:
            sent = out.send(line.peer, bundle(self.epoch, line.ref, before, mine))
            if sent is not Sent.TAKEN:
                self._fall_behind(line, before, direct, sent)
            return
        for frame, end, count in bundles(self.epoch, line.ref, before, mine, self._most):
            sent = out.send(line.peer, frame)
            if sent is not Sent.TAKEN:
                self._fall_behind(line, before, direct, sent)
                return
            before, direct = end, direct + count

    def _fall_behind(self, line: Line, offset: int, direct: int, sent: Sent) -> None:
        line.offset, line.direct, line.behind = offset, direct, True
        self._peers = None
        if sent is Sent.FULL:
            self.behind[line] = None
