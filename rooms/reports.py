"""What the broker is told of a room: how it is, and whom it seeks."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from ..protocol.codec import pack_payload
from ..protocol.errors import PayloadError
from .control import RoomReport, RoomUpdated, Seated, Seeking
from .member import Member
from .privacy import Privacy
from .seats import Seats
from .seeking import Seeker

__all__ = ["Reports", "ReportsOut"]

_MOST_METADATA = 4096


class ReportsOut(Protocol):
    """Where a room writes what the broker must know."""

    def report(self, report: RoomReport) -> None:
        """Tell the broker."""

    def changed(self, room: str) -> None:
        """Tell the broker before this turn ends how that room is then, with its ``summary``."""


class Reports:
    """Those of one room. They are of what the room is made of, and hold nothing that holds them.

    Args:
        room_id: which room.
        type_name: what its class is registered as.
        ruleset: what names its ruleset.
        seats, privacy, members: what is told of.
        nesting: how deep metadata may be.
        out: where to write.
    """

    __slots__ = (
        "_id",
        "_members",
        "_nesting",
        "_out",
        "_privacy",
        "_ruleset",
        "_seats",
        "_type",
        "metadata",
        "open",
        "seeker",
    )

    def __init__(
        self,
        room_id: str,
        type_name: str,
        ruleset: bytes,
        seats: Seats,
        privacy: Privacy,
        members: Mapping[int, Member],
        nesting: int,
        out: ReportsOut,
    ) -> None:
        self.open = False
        """Whether the room is open: before and after, the broker is told nothing."""
        self.metadata: dict[str, Any] = {}
        """What lists show of the room."""
        self.seeker: Seeker | None = None
        """What it seeks of a queue."""
        self._id = room_id
        self._type = type_name
        self._ruleset = ruleset
        self._seats = seats
        self._privacy = privacy
        self._members = members
        self._nesting = nesting
        self._out = out

    # How the room is.

    def changed(self) -> None:
        """Tell the broker what the room looks like now."""
        if self.open:
            self._out.changed(self._id)

    def set_locked(self, locked: bool) -> None:
        """Take new members, or none."""
        self._seats.locked = locked
        self.changed()

    def set_private(self, private: bool) -> None:
        """Let in only those who have its id, or whoever comes."""
        self._privacy.private = bool(private)
        self.changed()

    def set_unlisted(self, unlisted: bool) -> None:
        """Be left out of lists, or not."""
        self._privacy.unlisted = bool(unlisted)
        self.changed()

    def set_password(self, password: str | None) -> None:
        """See ``Privacy.set_password``."""
        self._privacy.set_password(password)
        self.changed()

    def set_metadata(self, metadata: dict[str, Any]) -> None:
        """Replace what lists show. Raises PayloadError where it can't be sent."""
        if not isinstance(metadata, dict):  # what a client sent may be anything
            raise PayloadError(f"metadata is a map, like {{'map': 'mill'}}, not {metadata!r:.60}")
        pack_payload(metadata, _MOST_METADATA, self._nesting)
        self.metadata = dict(metadata)
        self.changed()

    def summary(self) -> RoomUpdated:
        """What the directory knows of the room."""
        seats = self._seats
        access, looking = self._privacy.describe(), 0
        if seats.gallery:
            looking = sum(member.spectator for member in self._members.values())
            access |= {"spectators": looking, "max_spectators": seats.gallery}
        clients, free, capacity = len(self._members) - looking, seats.free, seats.capacity
        return RoomUpdated(
            self._id, self._type, clients, free, capacity, seats.locked, self.metadata, self._ruleset, access
        )

    def everything(self) -> Iterator[RoomReport]:
        """All that a broker needs to know which knows nothing of it."""
        if not self.open:
            return
        yield self.summary()
        for member in self._members.values():
            if member.admitted:
                yield Seated(self._id, member.session, member.data)
        if self.seeker is not None:
            yield self.seeker.report(self._id)

    # Whom it seeks.

    def seek(self, seeker: Seeker | None) -> None:
        """Seek members from a queue; None: no more."""
        if seeker is None and self.seeker is not None:
            self._out.report(Seeking(self._id, "", {}, {}))
        self.seeker = seeker
        self.seeking_changed()

    def seeking_changed(self) -> None:
        """Tell the broker what the room seeks now."""
        if self.seeker is not None and self.open:
            self._out.report(self.seeker.report(self._id))

    def not_taken(self, place: tuple[str, str] | None) -> None:
        """A seat that was held for somebody whom a queue sent is free again."""
        if self.seeker is not None and place is not None:
            self.seeker.give_back(place)
            self.seeking_changed()
