"""How this package's log looks when a program of ours sets it up: lines of text for people, of JSON for programs.

Lines about a room, a client or a worker carry its name in fields of their own.
Secrets and session ids are in no line, at no level.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

__all__ = ["FIELDS", "TEXT", "JsonLines", "LogFormat", "wrapped_line"]

LogFormat = Literal["text", "json"]
TEXT = "%(levelname)-7s %(name)s: %(message)s"
"""A line of text, as ``logging`` takes it."""
FIELDS = ("room", "client", "worker")
"""The fields that records may have beyond logging's own: a room's id, a client's number, a worker's name."""

_LONGEST = 8000
"""Bytes of a line; the launcher cuts those of 8,192."""
_SHORTENED = ("message", "traceback")


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and the fields and traceback that there are.

    Args:
        worker: the name of the worker that this process is, for all of its lines.
    """

    def __init__(self, worker: str | None = None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``. A line is never longer than 8,000 bytes."""
        told = _head(record.created, record.levelname, record.name, record.getMessage())
        if self._worker is not None:
            told["worker"] = self._worker
        told.update({name: getattr(record, name) for name in FIELDS if hasattr(record, name)})
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return _fitted(told)


def wrapped_line(worker: str, line: str, now: float) -> str:
    """A line that a worker process printed, as JSON: as it is, if its log made it, or else as the message of one.

    Args:
        worker: its name.
        line: what it printed.
        now: seconds since 1970.
    """
    if line.startswith("{"):
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            told = None
        if isinstance(told, dict) and told.get("worker") == worker:
            return line
    return _fitted({**_head(now, "INFO", "output", line), "worker": worker})


def _head(at: float, level: str, logger: str, message: str) -> dict[str, Any]:
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"time": time, "level": level, "logger": logger, "message": message}


def _fitted(told: dict[str, Any]) -> str:
    line = json.dumps(told, default=str)
    kept = _LONGEST
    while len(line) > _LONGEST and kept > 1:  # how long a character becomes in JSON is not known before
        kept //= 2
        shortened = {name: _ends(told[name], kept) for name in _SHORTENED if name in told}
        line = json.dumps({**told, **shortened}, default=str)
    return line


def _ends(text: str, most: int) -> str:
    """The beginning and the end of a text: a traceback says at its end what happened."""
    return text if len(text) <= most else f"{text[: most // 4]} [cut] {text[-(most - most // 4) :]}"
