"""What is kept for those whose membership is over: what was said to them before the end, and why it ended.

The end of a membership may overtake what was said before it, or meet a client
that is away, or one that had no space for more. Such a client asks for the rest
as for anything else that it missed, with its member token, and is told the end
once more behind it. It is told nothing that was said after.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..protocol.conflation import LatestHistory
from ..protocol.messages import Joined, LeftRoom, Reset
from ..protocol.streams import Position, bundles
from .fanout import ONE_FRAME, Fanout
from .lines import Line
from .uplink import Caller, Uplink

__all__ = ["KEPT", "Farewell", "Farewells"]

KEPT = 60.0
"""Seconds that what was said is kept for who is gone: as long as a session may be away."""
_MOST = 1024
_MOST_ALONE = 4 * 1024 * 1024
"""Members of a room for whom it is kept at once, and bytes of what they got alone; the oldest are forgotten first."""
_EACH = 2048
_MESSAGE = 64
"""Bytes that a farewell and a message take besides what was said, about."""


class Farewell(NamedTuple):
    """The end of one membership."""

    token: bytes
    """The member's newest."""
    owner: bytes | None
    """The key that whoever asks must have proved to have, as for the seat."""
    line: Line
    end: Position
    """Where what was said to it ends."""
    uplink: int
    code: int
    text: str
    until: float
    """Monotonic seconds."""
    held: LatestHistory | None = None
    """What ``Fanout.held`` gave at the end."""


class _Gone(Uplink):
    """Stands for a member that is gone, as long as it takes to tell it the rest. It says nothing any more."""

    __slots__ = ()

    def take(self, name: str, data: Any) -> None: ...

    def take_request(self, name: str, data: Any) -> None: ...

    def acknowledge(self) -> None: ...

    def confirmed(self) -> None: ...

    def on_leave(self) -> None: ...

    def on_lost(self) -> None: ...


class Farewells:
    """Those of one room.

    Args:
        room: its id.
        type_name: its type.
        fanout: its stream.
    """

    __slots__ = ("_alone", "_by_token", "_held", "_kept", "_room", "_type", "fanout")

    def __init__(self, room: str, type_name: str, fanout: Fanout) -> None:
        self.fanout = fanout
        self._room = room
        self._type = type_name
        self._kept: OrderedDict[int, tuple[Farewell, list[bytes]]] = OrderedDict()
        """By the key of the line: the farewell, and the tokens that it is found by."""
        self._by_token: dict[bytes, Farewell] = {}
        self._held: Counter[LatestHistory] = Counter()
        """For how many each of these is kept."""
        self._alone = 0
        """Bytes of what they got alone, and of what is held for some."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes that are kept once the room is over, about."""
        history = self.fanout.history
        return history.size + _MESSAGE * len(history) + self._alone + _EACH * len(self._kept)

    def keep(self, farewell: Farewell, tokens: Iterable[bytes]) -> None:
        """A membership is over. ``tokens``: those by which the member may show that it was it."""
        names = list(tokens)
        self._kept[farewell.line.key] = farewell, names
        self._by_token.update(dict.fromkeys(names, farewell))
        self._alone += farewell.line.size  # it grows no more
        if farewell.held is not None:
            self._alone += 0 if farewell.held in self._held else farewell.held.size
            self._held[farewell.held] += 1
        while len(self._kept) > _MOST or self._alone > _MOST_ALONE:
            self._forget_oldest()

    def expire(self, now: float) -> float | None:
        """Forget those whose time is over; when that of the next one will be, or None."""
        while self._kept:
            farewell, _ = next(iter(self._kept.values()))
            if farewell.until > now:
                return farewell.until
            self._forget_oldest()
        return None

    def forget(self) -> None:
        """Forget all of it, and the stream. (An alarm that was cleared may refer to the room until its time comes.)"""
        self._kept.clear()
        self._by_token.clear()
        self._held.clear()
        self._alone = 0
        self.fanout.forget()

    def _forget_oldest(self) -> None:
        _, (farewell, tokens) = self._kept.popitem(last=False)
        self._alone -= farewell.line.size
        if farewell.held is not None:
            self._held[farewell.held] -= 1
            if not self._held[farewell.held]:
                del self._held[farewell.held]
                self._alone -= farewell.held.size
        for token in tokens:
            del self._by_token[token]

    def find(self, token: bytes, owner: bytes | None = None) -> Farewell | None:
        """That of the member who has this token, and the key ``owner``."""
        farewell = self._by_token.get(token)
        return farewell if farewell is not None and farewell.owner == owner else None

    def say(self, farewell: Farewell, connection: Caller, ask: int, position: Position) -> None:
        """Tell somebody who asked with its position the rest of what was said to it, and the end.

        Flush before.
        """
        line, end, epoch = farewell.line, farewell.end, self.fanout.epoch
        known = position.epoch == epoch and line.start <= position.offset <= end.offset
        known = known and position.direct <= end.direct
        if not known:
            position = Position(epoch, end.offset + 1, 0)  # nothing is known to follow it
        line.offset, line.direct = position.offset, position.direct
        # What follows a place that was never known was said after the end.
        items = self.fanout.missing(line, end, farewell.held) if known else None
        gone = _Gone("", None)
        gone.attach(connection)
        connection.say(
            Joined(
                ask,
                gone.ref,
                self._room,
                self._type,
                epoch,
                position.offset,
                position.direct,
                farewell.uplink,
                farewell.token,
                None,
                {"over": True},
            )
        )
        if items is None:
            connection.say(Reset(gone.ref, epoch, end.offset, end.direct, None))
        else:
            for frame, _, _ in bundles(epoch, gone.ref, line.offset, items, ONE_FRAME):
                connection.say_frame(frame)
        connection.say(LeftRoom(gone.ref, farewell.code, farewell.text, end.offset, end.direct))
        gone.detach()
