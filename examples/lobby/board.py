"""How a list of tables looks: each has a short number, the same for as long as it is there."""

from typing import Any

__all__ = ["Board"]

_WIDTHS = {"game": 12, "level": 5, "title": 28, "owner": 12, "seats": 5}

_MOST_KNOWN = 1000
"""Numbers that are remembered, also of tables that are not shown any more."""


class Board:
    """Lines to show for a list of rooms, and which room somebody means by a number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._last = 0

    def number(self, room: dict[str, Any]) -> int:
        """Its number here."""
        known = self._numbers.get(room["room"])
        if known is None:
            self._last += 1
            known = self._numbers[room["room"]] = self._last
            if len(self._numbers) > _MOST_KNOWN:
                del self._numbers[next(iter(self._numbers))]
        return known

    def find(self, number: str) -> str | None:
        """The id of the room with this number."""
        return next((room for room, known in self._numbers.items() if str(known) == number), None)

    def table(self, rooms: list[dict[str, Any]], most: int) -> list[str]:
        """All of them, at most so many lines, under a headline."""
        head = "".join(name.upper().ljust(width + 2) for name, width in _WIDTHS.items())
        lines = [f"   # {head}".rstrip()]
        by_number = sorted(rooms, key=self.number)
        lines += [f"{self.number(room):4} {self._row(room)}" for room in by_number[: most - 2]]
        if len(rooms) > most - 2:
            lines.append(f"     and {len(rooms) - (most - 2)} more")
        if not rooms:
            lines.append("     no table fits: /create makes one")
        return lines

    def line(self, sign: str, room: dict[str, Any]) -> str:
        """What has happened to one."""
        about = room["metadata"]
        seats = f"{room['clients']}/{room['max_clients']}{_closed(room)}"
        what = f"{about['game']} at level {about['level']}"
        return f"{sign} #{self.number(room)} {about['title']}: {what}, {about['owner']}'s, {seats}"

    def _row(self, room: dict[str, Any]) -> str:
        cells = {**room["metadata"], "seats": f"{room['clients']}/{room['max_clients']}"}
        return "".join(str(cells[name])[:width].ljust(width + 2) for name, width in _WIDTHS.items()) + _closed(room)


def _closed(room: dict[str, Any]) -> str:
    return (" locked" if room["locked"] else "") + (" password" if room["password"] else "")
