"""What a bot puts into each message, so that those who get it can tell which one it is and how old."""

import re
from typing import Any, NamedTuple

__all__ = ["Stamp", "find_stamp"]

_WRITTEN = re.compile(r"\bsrs\.(\d{1,9})\.(\d{1,12})\.(\d{1,19})\b")


class Stamp(NamedTuple):
    """One message of one bot. As text it passes through any room that passes on text."""

    bot: int
    """Number of the bot."""
    number: int
    """Of this bot's messages, from 1."""
    due: int
    """When it was to be sent: monotonic nanoseconds of the machine that makes the load."""

    def __str__(self) -> str:
        return f"srs.{self.bot}.{self.number}.{self.due}"


def find_stamp(data: Any) -> Stamp | None:
    """The stamp in what a room sent: a text that contains it, or a list or map with such a text in it."""
    if isinstance(data, str):
        found = _WRITTEN.search(data)
        return Stamp(int(found[1]), int(found[2]), int(found[3])) if found else None
    parts = data.values() if isinstance(data, dict) else data if isinstance(data, list | tuple) else ()
    return next((stamp for part in parts if isinstance(part, str) and (stamp := find_stamp(part))), None)
