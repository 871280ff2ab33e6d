"""The directory: what the broker knows of the rooms, as their workers report it."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..protocol.filters import EVERYTHING, Filter
from ..protocol.rulesets import RuleSet
from ..rooms.control import RoomUpdated
from .workers import WorkerRecord

__all__ = ["Directory", "RoomEntry", "is_listed", "shown"]

_MOST_LOOKED_AT = 1000
"""Open rooms that are compared with one filter before it counts as fitting none: about a millisecond."""


@dataclass(slots=True, eq=False)
class RoomEntry:
    """A room, who has it, and who is in it."""

    report: RoomUpdated
    worker: WorkerRecord
    sessions: set[str] = field(default_factory=set)
    """Ids of the members' sessions."""
    ruleset: RuleSet | None = None
    """What it was made of; None: by a broker before this one."""


def shown(report: RoomUpdated) -> dict[str, Any]:
    """A room, as lists show it."""
    access = report.access
    return {
        "room": report.room,
        "type": report.type,
        "clients": report.clients,
        "max_clients": report.max_clients,
        "locked": report.locked,
        "password": access.get("password") is True,
        "spectators": access.get("spectators", 0),
        "max_spectators": access.get("max_spectators", 0),
        "metadata": report.metadata,
    }


class Directory:
    """Rooms by id. An index only: the worker that owns a room decides.

    Those that anybody may be sent to are kept by their rulesets and types as
    well, in the order in which they opened, so that choosing one costs the same
    however many there are. Seats that were asked for there and are not answered
    about count as taken.
    """

    def __init__(self) -> None:
        self.on_change: Callable[[str, str], None] = lambda room, type_name: None
        """Called with id and type of a room that is new, has changed, or is gone."""
        self._rooms: dict[str, RoomEntry] = {}
        self._asked: dict[str, int] = {}
        """Seats that a room was asked for."""
        self._by_type: dict[str, dict[str, None]] = {}
        """All rooms."""
        self._open: set[str] = set()
        """Those that anybody may be sent to."""
        self._open_by_ruleset: dict[bytes, dict[str, None]] = {}
        self._open_by_type: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def __contains__(self, room: str) -> bool:
        return room in self._rooms

    def get(self, room: str) -> RoomEntry | None:
        """The room with this id."""
        return self._rooms.get(room)

    def update(self, report: RoomUpdated, worker: WorkerRecord) -> bool:
        """A room is there, or has changed. False: it is another worker's, whose word counts."""
        known = self._rooms.get(report.room)
        if known is not None and known.worker is not worker:
            return False
        if known is None:
            self._rooms[report.room] = RoomEntry(report, worker)
            self._by_type.setdefault(report.type, {})[report.room] = None
        else:
            before, known.report = known.report, report
            if (before.type, before.ruleset) != (report.type, report.ruleset):  # a worker may say anything
                self._forget(before)
                self.on_change(report.room, before.type)
                self._by_type.setdefault(report.type, {})[report.room] = None
        worker.has(report.room, report.max_clients - report.free)
        self._sort(report)
        self.on_change(report.room, report.type)
        return True

    def made(self, room: str, ruleset: RuleSet) -> None:
        """A room that is there was made of this."""
        known = self._rooms.get(room)
        if known is not None:
            known.ruleset = ruleset

    def remove(self, room: str, worker: WorkerRecord) -> RoomEntry | None:
        """A room has ended; what was known of it. None: this worker does not have it."""
        worker.has_no_more(room)
        known = self._rooms.get(room)
        if known is None or known.worker is not worker:
            return None
        self._forget(known.report)
        del self._rooms[room]
        self.on_change(room, known.report.type)
        return known

    # Which rooms anybody may be sent to.

    def pick_by_ruleset(self, digest: bytes, where: Filter, besides: Collection[str]) -> str | None:
        """The open room of this ruleset that has been open for longest, fits, and is none of ``besides``."""
        return self._pick(self._open_by_ruleset.get(digest, {}), where, besides)

    def pick_by_type(self, type_name: str, where: Filter, besides: Collection[str]) -> str | None:
        """The same, of a type."""
        return self._pick(self._open_by_type.get(type_name, {}), where, besides)

    def ask_seat(self, room: str) -> None:
        """A seat is asked for there."""
        self._asked[room] = self._asked.get(room, 0) + 1
        self._sort(self._rooms[room].report)

    def answered(self, room: str) -> None:
        """That is answered: what the worker says of the room counts that seat, if it is held."""
        self._asked[room] -= 1
        if not self._asked[room]:
            del self._asked[room]
        known = self._rooms.get(room)
        if known is not None:
            self._sort(known.report)

    def _pick(self, rooms: dict[str, None], where: Filter, besides: Collection[str]) -> str | None:
        for looked_at, room in enumerate(rooms):
            if looked_at >= _MOST_LOOKED_AT:
                break
            if room not in besides and where.fits(self._rooms[room].report.metadata):
                return room
        return None

    def _sort(self, report: RoomUpdated) -> None:
        room, access = report.room, report.access
        closed = report.locked or (access and (access.get("private") or access.get("password")))
        is_open = not closed and report.free > self._asked.get(room, 0)
        if is_open is (room in self._open):
            return
        if is_open:
            self._open.add(room)
            self._open_by_ruleset.setdefault(report.ruleset, {})[room] = None
            self._open_by_type.setdefault(report.type, {})[room] = None
        else:
            self._close(report)

    def _close(self, report: RoomUpdated) -> None:
        self._open.discard(report.room)
        _take_out(self._open_by_ruleset, report.ruleset, report.room)
        _take_out(self._open_by_type, report.type, report.room)

    def _forget(self, report: RoomUpdated) -> None:
        _take_out(self._by_type, report.type, report.room)
        self._close(report)

    def __iter__(self) -> Iterator[RoomEntry]:
        return iter(list(self._rooms.values()))

    def of_type(self, type_name: str | None) -> Iterator[RoomUpdated]:
        """The rooms of one type, or of all, that lists may show."""
        for room in self._rooms if type_name is None else self._by_type.get(type_name, {}):
            report = self._rooms[room].report
            if is_listed(report):
                yield report

    def list(self, type_name: str | None, where: Filter = EVERYTHING) -> list[dict[str, Any]]:
        """The rooms of one type, or of all, that fit, as ROOMS carries them."""
        return [shown(report) for report in self.of_type(type_name) if where.fits(report.metadata)]


def is_listed(report: RoomUpdated) -> bool:
    """Whether lists may show a room."""
    return not (report.access.get("private") or report.access.get("unlisted"))


def _take_out(index: dict[Any, dict[str, None]], key: object, room: str) -> None:
    rooms = index.get(key)
    if rooms is not None:
        rooms.pop(room, None)
        if not rooms:
            del index[key]
