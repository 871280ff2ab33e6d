"""The directory: what the broker knows of the rooms, as their workers report it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..rooms.control import RoomUpdated
from .workers import WorkerRecord

__all__ = ["Directory", "RoomEntry"]


class RoomEntry(NamedTuple):
    """A room, who has it, and who is in it."""

    report: RoomUpdated
    worker: WorkerRecord
    sessions: set[str]
    """Ids of the members' sessions."""


class Directory:
    """Rooms by id. An index only: the worker that owns a room decides."""

    def __init__(self) -> None:
        self._rooms: dict[str, RoomEntry] = {}

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
        self._rooms[report.room] = RoomEntry(report, worker, known.sessions if known is not None else set())
        worker.rooms[report.room] = report.max_clients - report.free
        return True

    def remove(self, room: str, worker: WorkerRecord) -> RoomEntry | None:
        """A room has ended; what was known of it. None: this worker does not have it."""
        worker.rooms.pop(room, None)
        known = self._rooms.get(room)
        if known is None or known.worker is not worker:
            return None
        return self._rooms.pop(room)

    def __iter__(self) -> Iterator[RoomEntry]:
        return iter(list(self._rooms.values()))

    def list(self, type_name: str | None) -> list[dict[str, Any]]:
        """The rooms of one type, or of all, as ROOMS carries them."""
        return [
            {
                "room": report.room,
                "type": report.type,
                "clients": report.clients,
                "max_clients": report.max_clients,
                "locked": report.locked,
                "metadata": report.metadata,
            }
            for report, _, _ in self._rooms.values()
            if type_name in (None, report.type)
        ]
