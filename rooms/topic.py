"""Topic fan-out: what a room says to all leaves once, and ZeroMQ spreads it.

Everything for a member comes down one connection, its downlink: what is shared
on the room's topic, what is its own on a topic of its own. What is published on
the room's topic reaches all that were granted it, so that nothing may be in it
that anybody is not to see: a turn with a broadcast that excepts somebody goes to
each member on its own topic.

Nobody says which frames a slow member lost. So every loss must show at the
member's end before it reads on. A lost broadcast leaves a hole in the offsets.
A lost direct message would not: so the shared frames carry *marks* that say, to
each member that was sent something of its own lately, up to which number. And
when the room falls silent, *beats* say where the stream ends.
"""

from collections.abc import Hashable, Iterable
from typing import Protocol

from ..protocol.messages import HEAD_SIZE, bundle
from ..protocol.streams import HistoryLimits, Position, bundles, mark
from .fanout import MOST_ITEMS, ONE_FRAME, Fanout, Own, interleaved
from .lines import Downlink, Line

__all__ = ["TopicFanout", "TopicsOut"]

_MOST_MARKS = 64
"""Marks in a shared frame. Every member gets them all: with more, a frame for each member is cheaper."""
_BEATS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds after the last thing that was said."""


class TopicsOut(Protocol):
    """Where frames go."""

    def publish(self, shard: int, topic: bytes, frame: bytes) -> None: ...


class TopicFanout(Fanout):
    """One publish for all members, on each of the worker's publishers that has some.

    Args:
        epoch: the random name of this life of the stream.
        history: how much is kept for those who come back.
        most: bytes of one frame.
        topic: the room's.
        latest: see ``Fanout``.
    """

    __slots__ = ("_beats", "_granted", "_lately", "_shards", "_since", "_stirred", "_up", "topic")

    def __init__(self, epoch: int, history: HistoryLimits, most: int, topic: bytes, *, latest: bool = False) -> None:
        super().__init__(epoch, history, most, latest=latest)
        self.topic = topic
        self._granted: dict[Line, None] = {}
        """Lines that have a downlink."""
        self._up: dict[Line, Downlink] = {}
        """Lines that get what is said, and where."""
        self._shards: dict[int, int] = {}
        """How many of them are on which publisher."""
        self._lately: dict[Line, None] = {}
        """Lines that something was said to alone, which was not marked in a later turn. Also those that are not up:
        their members may hear what is shared already, or still."""
        self._stirred = False
        """Whether something was sent since ``next_beat`` was asked last."""
        self._since = 0.0
        self._beats = len(_BEATS)

    def broadcast_except(self, item: bytes, excepted: Iterable[Line], key: Hashable | None = None) -> bool:
        """See ``Fanout.broadcast_except``."""
        lines = list(excepted)
        if lines:
            return super().broadcast_except(item, lines, key)
        return self.broadcast(item) if key is None else self.broadcast_keyed(item, key)

    def direct(self, line: Line, item: bytes, now: float, key: Hashable | None = None) -> bool:
        """See ``Fanout.direct``."""
        if line.behind:
            self._lately[line] = None
        return super().direct(line, item, now, key)

    def flush(self, out: TopicsOut, now: float) -> None:
        """End the turn: one frame for all, or one for each."""
        items, own, size, apart = self._items, self._own, self._size, self._apart
        before = self.history.last
        self._end_turn(now)
        if not items and not own:
            return
        self._stirred = True
        marks = self._marks(own, len(items)) if items and (own or self._lately) and not apart else []
        if items and (apart or len(marks) > _MOST_MARKS):
            self._send_apart(out, before, items, own)
        else:
            for line, parts in own.items():
                # Ahead of the shared frame: as far as what is its own, and no further.
                mine, _ = interleaved(items[: parts[-1][0]], parts)
                if line in self._lately:  # or a broadcast of this turn would be read before what was lost of its own
                    mine.insert(0, self._mark_before(line, parts))
                self._send(out, line, before, mine)
            if items:
                self._send_shared(out, before, items, marks, size)
        if items:
            self._lately = {}
        self._lately |= dict.fromkeys(line for line, parts in own.items() if not all(part[2] for part in parts))

    def grant(self, line: Line, downlink: Downlink) -> None:
        """A member's downlink stands: it was granted the room's topic and its own. ``catch_up`` brings it up.

        Flush before. What comes before that is not lost on the member: it finds a
        hole, and asks for what is missing.
        """
        self._lower(line)
        line.downlink, line.mark = downlink, downlink.mark
        self._granted[line] = None
        if line.peer is not None:
            self.behind[line] = None

    def ungrant(self, line: Line, downlink: Downlink) -> None:
        """A downlink is lost; if the member has another one by now, nothing happens."""
        if line.downlink == downlink:
            self._lower(line)
            line.downlink = None
            del self._granted[line]

    def rekey(self, topic: bytes) -> list[Line]:
        """Go on with another topic, because somebody has the old one who is not to hear any more. Flush before.

        Returns:
            The lines that lost their downlink by it: their members need new grants.
        """
        self.topic = topic
        lines, self._granted = list(self._granted), {}
        for line in lines:
            self._lower(line)
            line.downlink = None
        return lines

    def connect(self, line: Line, peer: bytes, ref: int, position: Position | None) -> None:
        """Give a line its connection, and say where its member stands. It is behind until ``catch_up``.

        Its downlink is another connection, which stays if it is there. Flush before.
        """
        self.disconnect(line)
        line.peer, line.ref = peer, ref
        if position is not None:
            line.offset, line.direct = position.offset, position.direct
        if line.direct < line.last_direct:
            self._lately[line] = None
        self.behind[line] = None

    def disconnect(self, line: Line) -> None:
        """Take a line's connection away. The line goes on being logged, not sent."""
        self._lower(line)
        self.behind.pop(line, None)
        line.peer = None

    def catch_up(self, line: Line, out: TopicsOut) -> bool:
        """Send a line what it missed, if it has a downlink. Flush before.

        It is sent from where the member said that it stands: there is nobody else
        who knows. What it has got already, it passes over.

        Returns:
            Whether there is nothing to try again: False if the history does not reach back so far.
        """
        downlink = line.downlink
        if line.peer is None or not line.behind:
            return True
        if downlink is None:
            del self.behind[line]  # it waits for its grant, not for room
            return True
        frames = self.missed(line, downlink.ref)
        if frames is None:
            return False
        for frame in frames:
            out.publish(downlink.shard, downlink.topic, frame)
        line.behind = False
        del self.behind[line]
        self._up[line] = downlink
        self._shards[downlink.shard] = self._shards.get(downlink.shard, 0) + 1
        if line.direct != line.last_direct:
            self._lately[line] = None
        self._stirred = True
        return True

    def missed(self, line: Line, ref: int, end: Position | None = None) -> list[bytes] | None:
        """All that was said since a line's member told where it stands, for ``ref``; None where that is gone.

        ``end``: see ``missing``.
        """
        items = self.missing(line, end)
        if items is None:
            return None
        return [frame for frame, _, _ in bundles(self.epoch, ref, line.offset, items, ONE_FRAME)]

    def next_beat(self, now: float) -> float | None:
        """When to call ``beat``, monotonic seconds; None while there is nothing to say.

        An answer may be too early: ask again when it has come, and after a flush or
        ``catch_up`` if there was none.
        """
        if self._stirred:
            self._stirred, self._since, self._beats = False, now, 0
        if self._beats == len(_BEATS) or not self._up:
            return None
        return self._since + _BEATS[self._beats]

    def beat(self, out: TopicsOut, now: float) -> None:
        """Say where the stream stands, if it is time: whoever lost the end of it finds out. Flush before."""
        due = self.next_beat(now)
        if due is None or due > now:
            return
        self._beats += 1
        place = self.history.last
        if len(self._lately) > _MOST_MARKS:
            for line in self._lately.keys() & self._up.keys():
                self._send(out, line, place, [mark(line.mark, line.last_direct)])
            self._publish(out, bundle(self.epoch, 0, place, []))
        else:
            self._publish(
                out, bundle(self.epoch, 0, place, [mark(line.mark, line.last_direct) for line in self._lately])
            )

    def forget(self) -> None:
        """See ``Fanout.forget``."""
        super().forget()
        self._granted.clear()
        self._up.clear()
        self._shards.clear()
        self._lately.clear()

    def _lower(self, line: Line) -> None:
        """A line gets nothing more for now."""
        if line.behind:
            return
        line.behind = True
        shard = self._up.pop(line).shard
        self._shards[shard] -= 1
        if not self._shards[shard]:
            del self._shards[shard]
        if self._own.pop(line, None) is not None:
            self._lately[line] = None

    def _marks(self, own: dict[Line, Own], end: int) -> Own:
        """Where which marks stand in a shared frame: each before the broadcasts that follow what it is about."""
        marks: Own = [(0, self._mark_before(line, own.get(line, [])), False) for line in self._lately]
        for line, parts in own.items():
            number = line.last_direct - len(parts)
            last = {index: number + nth for nth, (index, _, _) in enumerate(parts, 1)}
            marks += [(index, mark(line.mark, upto), False) for index, upto in last.items() if index < end]
        marks.sort(key=_index)
        return marks

    def _send_shared(self, out: TopicsOut, before: int, items: list[bytes], marks: Own, size: int) -> None:
        if marks:
            items, _ = interleaved(items, marks)
            size = sum(map(len, items))
        if size + HEAD_SIZE <= self._most and len(items) <= MOST_ITEMS:
            self._publish(out, bundle(self.epoch, 0, before, items))
            return
        for frame, _, _ in bundles(self.epoch, 0, before, items, self._most):
            self._publish(out, frame)

    def _send_apart(self, out: TopicsOut, before: int, items: list[bytes], own: dict[Line, Own]) -> None:
        # Not even what is the same for many goes under a common reference: whoever was granted another member's topic
        # by mistake must not take for its own what it was excepted from.
        for line in self._up:
            parts = own.get(line, [])
            if not parts and line not in self._lately:
                self._send(out, line, before, items)
                continue
            mine, _ = interleaved(items, parts)
            if line in self._lately:
                mine.insert(0, self._mark_before(line, parts))
            self._send(out, line, before, mine)

    def _mark_before(self, line: Line, parts: Own) -> bytes:
        """The mark for what a line was sent of its own before this turn."""
        return mark(line.mark, line.last_direct - sum(not in_place for _, _, in_place in parts))

    def _send(self, out: TopicsOut, line: Line, before: int, items: list[bytes]) -> None:
        downlink = self._up[line]
        for frame, _, _ in bundles(self.epoch, downlink.ref, before, items, self._most):
            out.publish(downlink.shard, downlink.topic, frame)

    def _publish(self, out: TopicsOut, frame: bytes) -> None:
        for shard in self._shards:
            out.publish(shard, self.topic, frame)


def _index(part: tuple[int, bytes, bool]) -> int:
    return part[0]
