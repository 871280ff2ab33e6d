"""Filters: which rooms somebody wants to see, or to come into, by what their owners say of them.

A filter is a map from a name of the room's metadata to a condition. It is checked whole when it comes, so that
looking at a room costs a few comparisons, whatever a client has sent: no nesting, no patterns, few and short values.
"""

from collections.abc import Callable, Mapping
from math import inf, isnan
from typing import Any

from .codec import pack
from .errors import BadFilter

__all__ = ["EVERYTHING", "Filter"]

_MOST_CONDITIONS = 8
_MOST_CHOICES = 32
_LONGEST_TEXT = 64
_FAR = 1 << 53
"""Numbers are exact in every language up to here."""

Scalar = str | int | float | bool | None
_Condition = Callable[[Any], bool]

_ALLOWED = (
    f"a filter has at most {_MOST_CONDITIONS} names, each with a value (text of at most {_LONGEST_TEXT} characters, "
    f"a number, a boolean or None), a list of 1 to {_MOST_CHOICES} such values, {{'min': number, 'max': number}} with "
    "one of them or both, or {'prefix': text}"
)


class Filter:
    """What a room's metadata must be like.

    Values are compared with their types: ``1`` and ``True`` differ, ``1`` and ``1.0`` do not. A name that a room
    does not have fits no condition.

    Args:
        where: a map from names to conditions: a value, which must be equal; a list, one of which must be; ``{"min":
            3, "max": 5}``, both included, or one of them; ``{"prefix": "ab"}``. Empty: every room fits.

    Raises:
        BadFilter: it is anything else; the sentence says what is allowed.
    """

    __slots__ = ("_conditions", "key", "where")

    def __init__(self, where: Mapping[str, Any]) -> None:
        if len(where) > _MOST_CONDITIONS:
            raise BadFilter(f"{len(where)} names: {_ALLOWED}")
        self._conditions = [(_name(name), _condition(name, wanted)) for name, wanted in where.items()]
        self.where = dict(where)
        """What it was made of."""
        self.key: bytes = pack([[name, _plain(where[name])] for name in sorted(where)])
        """What filters that want the same have in common, however they say it."""

    def fits(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a room with this metadata is wanted."""
        return all(name in metadata and fits(metadata[name]) for name, fits in self._conditions)

    def __bool__(self) -> bool:
        """Whether there is any condition."""
        return bool(self._conditions)


def _name(name: object) -> str:
    if type(name) is not str or not 1 <= len(name) <= _LONGEST_TEXT:
        raise BadFilter(f"a name has 1 to {_LONGEST_TEXT} characters: {name!r:.40}")
    return name


def _condition(name: str, wanted: Any) -> _Condition:
    if type(wanted) is list:
        if not 1 <= len(wanted) <= _MOST_CHOICES:
            raise BadFilter(f"{name:.40}: {_ALLOWED}")
        choices = frozenset(_typed(name, choice) for choice in wanted)
        return lambda value: type(value) in _KINDS and (_KINDS[type(value)], value) in choices
    if type(wanted) is not dict:
        (kind, choice) = _typed(name, wanted)
        return lambda value: _KINDS.get(type(value)) == kind and value == choice
    if set(wanted) == {"prefix"}:
        prefix = wanted["prefix"]
        if type(prefix) is not str or len(prefix) > _LONGEST_TEXT:
            raise BadFilter(f"{name:.40}: {_ALLOWED}")
        return lambda value: type(value) is str and value.startswith(prefix)
    if not wanted or not set(wanted) <= {"min", "max"}:
        raise BadFilter(f"{name:.40}: {_ALLOWED}")
    # The side that is left out has no bound: what rooms say of themselves may be any number.
    least = _bound(name, wanted["min"]) if "min" in wanted else -inf
    most = _bound(name, wanted["max"]) if "max" in wanted else inf
    if least > most:
        raise BadFilter(f"{name:.40}: no number is at least {least} and at most {most}")
    return lambda value: type(value) in (int, float) and least <= value <= most


def _bound(name: str, value: object) -> int | float:
    if type(value) not in (int, float) or not -_FAR <= value <= _FAR:  # type: ignore[operator]  # NaN is refused too
        raise BadFilter(f"{name:.40}: a bound is a number between -2^53 and 2^53")
    return value  # type: ignore[return-value]  # a number


_KINDS = {str: "text", int: "number", float: "number", bool: "boolean", type(None): "none"}


def _typed(name: str, value: Any) -> tuple[str, Scalar]:
    kind = _KINDS.get(type(value))
    if kind is None or (kind == "text" and len(value) > _LONGEST_TEXT) or (type(value) is float and isnan(value)):
        raise BadFilter(f"{name:.40}: {_ALLOWED}")
    if type(value) is int and not -_FAR <= value <= _FAR:
        raise BadFilter(f"{name:.40}: a number is between -2^53 and 2^53")
    return kind, value


def _plain(wanted: Any) -> list[Any]:
    if type(wanted) is dict:
        return [[name, _number(wanted[name])] for name in sorted(wanted)]
    choices = wanted if type(wanted) is list else [wanted]
    return sorted({pack(_number(choice)) for choice in choices})


def _number(value: Any) -> Any:
    """Of a number that is whole, the integer: they are equal."""
    return int(value) if type(value) is float and value.is_integer() and -_FAR <= value <= _FAR else value


EVERYTHING = Filter({})
"""Every room fits."""
