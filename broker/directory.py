"""The directory: what the broker knows of the rooms, as their workers report it."""

from typing import Any

from ..rooms.control import RoomUpdated

__all__ = ["Directory"]


class Directory:
    """Rooms by id. An index only: the worker that owns a room decides."""

    def __init__(self) -> None:
        self._rooms: dict[str, RoomUpdated] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def __contains__(self, room: str) -> bool:
        return room in self._rooms

    def update(self, report: RoomUpdated) -> None:
        """A room is there, or has changed."""
        self._rooms[report.room] = report

    def remove(self, room: str) -> None:
        """A room has ended."""
        self._rooms.pop(room, None)

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
            for report in self._rooms.values()
            if type_name in (None, report.type)
        ]
