"""A member's end of its room's stream: where it stands, on which connection, and what it was sent alone."""

from typing import NamedTuple

from ..protocol.conflation import LatestLog
from ..protocol.streams import DirectLog
from .patience import Patience

__all__ = ["Downlink", "Line"]


class Downlink(NamedTuple):
    """Where a member of a topic room gets all that the room says to it."""

    shard: int
    """Which of the worker's publishers."""
    peer: int
    """The connection there."""
    topic: bytes
    """The member's own topic, which it was granted beside the room's."""
    mark: int
    """By which marks in shared frames mean this member: ``mark_of`` its token."""

    @property
    def ref(self) -> int:
        """What frames on the member's own topic carry as their reference, so that it knows them for its own."""
        return self.mark & 0xFFFFFFFF


class Line:
    """One member's end of the stream.

    Args:
        key: names the member in the stream.
        offset: where the stream stands for it.
        latest: whether of each key of its direct messages only the newest is kept.

    ``peer`` is None while there is no connection. ``offset`` and ``direct`` are
    what was handed to the network, and are kept up only while ``behind``.
    ``downlink`` is for topic rooms: there, nothing is sent without one. So is
    ``mark``, by which marks mean this member: that of its downlink, set when the
    token is offered, because shared frames may come before the room hears of the grant.
    ``patience`` is for whoever tries again to send what its queue did not take.
    """

    __slots__ = (
        "_directs",
        "_latest",
        "behind",
        "direct",
        "downlink",
        "key",
        "mark",
        "offset",
        "patience",
        "peer",
        "ref",
        "start",
    )

    def __init__(self, key: int, offset: int, *, latest: bool = False) -> None:
        self.key = key
        self.peer: bytes | None = None
        self.ref = 0
        self.behind = True
        self.start = self.offset = offset
        self.direct = 0
        self.downlink: Downlink | None = None
        self.mark = 0
        self.patience = Patience()
        self._latest = latest
        self._directs: DirectLog | LatestLog | None = None

    @property
    def directs(self) -> DirectLog | LatestLog:
        """The log of what this member got alone, made when it is first needed."""
        if self._directs is None:
            self._directs = LatestLog() if self._latest else DirectLog()
        return self._directs

    @property
    def size(self) -> int:
        """Bytes that are kept of it."""
        return self._directs.size if self._directs is not None else 0

    @property
    def last_direct(self) -> int:
        """The number of the last direct message."""
        return self._directs.last if self._directs is not None else 0
