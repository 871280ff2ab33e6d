"""Arrivals that were recorded, as CSV or as JSON lines.

Each line is a ticket. A CSV file begins with the names of its columns: ``time``,
and as you have them ``rating``, ``roles``, ``regions`` and ``patience``; every
other column is a criterion. Where a cell holds several values, ``|`` stands
between them: several ratings are a party, and so are several roles.

    time,rating,mode,map,patience
    0,1510,ctf,dust|mill,120
    3.2,1480|1533,ctf,dust,

As JSON lines:

    {"time": 0, "rating": 1510, "criteria": {"mode": "ctf", "map": ["dust", "mill"]}, "patience": 120}
    {"time": 3.2, "rating": [1480, 1533], "roles": ["tank", "healer"], "regions": {"eu": 0.02}}

Times are seconds, or dates in ISO 8601, and grow; the first is the beginning.
"""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from ..protocol.errors import ConfigError
from .draws import read_number

__all__ = ["Recorded", "read_recording"]

_SEVERAL = "|"
_LONGEST_LINE = 65_536
_LARGEST_PARTY = 64
_KNOWN = ("time", "rating", "roles", "regions", "patience")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording says of one ticket. What it leaves out is empty."""

    at: float
    """Seconds since the first one."""
    ratings: tuple[float, ...] = ()
    roles: tuple[tuple[str, ...], ...] = ()
    criteria: dict[str, Any] = field(default_factory=dict[str, Any])
    regions: dict[str, float] = field(default_factory=dict[str, float])
    patience: float | None = None


class _Wrong(ValueError):
    """A line that says no ticket."""


def read_recording(path: Path) -> Iterator[Recorded]:
    """The tickets of a file, one after the other.

    Args:
        path: CSV if its name ends with ``.csv``, otherwise JSON lines.

    Raises:
        ConfigError: it can't be read, or a line makes no sense; says which, and why.
    """
    first: float | None = None
    latest = -math.inf
    line = 1
    try:
        with path.open(encoding="utf-8", newline="") as file:
            tickets = _rows(file) if path.suffix.lower() == ".csv" else _objects(file)
            while (ticket := next(tickets, None)) is not None:
                line, read = ticket
                recorded = _recorded(read())
                if recorded.at < latest:
                    raise _Wrong("its time is before that of the line above")
                latest = recorded.at
                first = latest if first is None else first
                yield replace(recorded, at=latest - first)
    except _Wrong as error:
        raise ConfigError(f"{path}, line {line}: {error}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} can't be read after line {line}: {error}") from error
    if first is None:
        raise ConfigError(f"{path} holds no arrivals.")


_Fields = Mapping[str, Any]
_Line = tuple[int, Callable[[], _Fields]]
"""Its number, and how to read it: so whoever reads knows where it was when that fails."""


def _rows(file: TextIO) -> Iterator[_Line]:
    rows = csv.reader(file)
    names = next(rows, [])
    if "time" not in names or len(set(names)) != len(names) or not all(names):
        raise _Wrong("the names of the columns are to be there, each once, and time among them")
    for row in rows:
        if row:
            yield rows.line_num, partial(_cells, names, row)


def _cells(names: list[str], row: list[str]) -> _Fields:
    if len(row) != len(names):
        raise _Wrong(f"{len(row)} cells, where there are {len(names)} columns")
    cells = {name: cell.strip() for name, cell in zip(names, row, strict=True) if cell.strip()}
    known = {name: cells.pop(name, None) for name in _KNOWN}
    return {
        "time": known["time"],
        "rating": _several(known["rating"]),
        "roles": _several(known["roles"]),
        "regions": {name: trip for name, _, trip in (each.partition("=") for each in _several(known["regions"]))},
        "patience": known["patience"],
        "criteria": {name: _several(cell) if _SEVERAL in cell else cell for name, cell in cells.items()},
    }


def _objects(file: TextIO) -> Iterator[_Line]:
    for number, text in enumerate(iter(lambda: file.readline(_LONGEST_LINE), ""), 1):
        if text.strip():
            yield number, partial(_object, text)


def _object(text: str) -> _Fields:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"no JSON ({error})"[:120]) from error
    if not isinstance(fields, dict):
        raise _Wrong("no JSON object")
    unknown = fields.keys() - {*_KNOWN, "criteria"}
    if unknown:
        raise _Wrong(f"it has {min(unknown)!r:.40}, which is none of {', '.join(_KNOWN)}, criteria")
    return fields


def _several(cell: str | None) -> list[str]:
    return [] if cell is None else [part.strip() for part in cell.split(_SEVERAL)]


def _recorded(fields: _Fields) -> Recorded:
    ratings = fields.get("rating")
    ratings = [] if ratings is None else ratings if isinstance(ratings, list) else [ratings]
    roles = _array(fields.get("roles"), "roles")
    if len(ratings) > _LARGEST_PARTY or (roles and ratings and len(roles) != len(ratings)):
        raise _Wrong(f"{len(ratings)} ratings and {len(roles)} roles: as many of both, at most {_LARGEST_PARTY}")
    patience = fields.get("patience")
    return Recorded(
        _time(fields.get("time")),
        tuple(_number(each, "rating") for each in ratings),
        tuple(tuple(str(role) for role in (each if isinstance(each, list) else [each])) for each in roles),
        {str(name): value for name, value in _map(fields.get("criteria"), "criteria").items()},
        {str(name): _number(each, "round trip") for name, each in _map(fields.get("regions"), "regions").items()},
        None if patience is None else _number(patience, "patience"),
    )


def _time(value: Any) -> float:
    if isinstance(value, str) and read_number(value) is None:
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError as error:
            raise _Wrong(f"no time: {value!r:.40}") from error
    return _number(value, "time")


def _number(value: Any, what: str) -> float:
    known = read_number(str(value)) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
    if known is None:
        raise _Wrong(f"no {what}: {value!r:.40}")
    return known


def _array(value: Any, what: str) -> Sequence[Any]:
    if value is None or isinstance(value, list):
        return value or []
    raise _Wrong(f"{what} is to be an array, not {value!r:.40}")


def _map(value: Any, what: str) -> Mapping[Any, Any]:
    if value is None or isinstance(value, dict):
        return value or {}
    raise _Wrong(f"{what} is to be an object, not {value!r:.40}")
