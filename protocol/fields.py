"""What the fields of messages may hold, and how named tuples become frames and come back.

A conversation (clients', workers', an administrator's) is a set of named
tuples whose fields are annotated with these types; ``Shapes`` checks what a
peer sent against them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

from .codec import pack
from .errors import BadMessage, UnknownKind

__all__ = [
    "ARRAY",
    "Ask",
    "Code16",
    "Data",
    "Endpoint",
    "Epoch",
    "Flag",
    "Items",
    "Map",
    "Number",
    "OptionalDownlink",
    "OptionalEndpoint",
    "OptionalTypeName",
    "Proof",
    "Ref",
    "RoomId",
    "Seconds",
    "Secret",
    "Sentence",
    "SessionId",
    "Shapes",
    "Token",
    "TypeName",
    "Version",
    "Versions",
]


@dataclass(frozen=True, slots=True)
class _Field:
    """What a field may hold: the words of the documentation, and the check."""

    label: str
    accepts: Callable[[Any], bool]


def _uint(bits: int) -> _Field:
    most = (1 << bits) - 1
    return _Field(f"uint{bits}", lambda value: type(value) is int and 0 <= value <= most)


def _text(most: int) -> _Field:
    return _Field(f"str, at most {most} characters", lambda value: type(value) is str and len(value) <= most)


def _bin(size: int) -> _Field:
    return _Field(f"bin, {size} bytes", lambda value: type(value) is bytes and len(value) == size)


def _optional(field: _Field) -> _Field:
    return _Field(f"{field.label}, or nil", lambda value: value is None or field.accepts(value))


_UINT16 = _uint(16)
_BIN16 = _bin(16)
_TOKEN = _Field("bin, 16 to 64 bytes", lambda value: type(value) is bytes and 16 <= len(value) <= 64)
_MAP = _Field("map with str keys", lambda value: type(value) is dict and all(type(key) is str for key in value))
ARRAY = _Field("array", lambda value: type(value) is list)
"""For annotations that say more of the elements; who parses checks these."""
_ANY = _Field("any", lambda value: True)
_BOOL = _Field("bool", lambda value: type(value) is bool)
_SECONDS = _Field("seconds, over 0", lambda value: type(value) in (int, float) and 0 < value < 1e9)
_VERSIONS = _Field(
    "array of uint16, 1 to 16 of them",
    lambda value: type(value) is list and 1 <= len(value) <= 16 and all(_UINT16.accepts(item) for item in value),
)
_DOWNLINK = _Field(
    "array of uint16 and bin, 16 bytes",
    lambda value: type(value) is list and len(value) == 2 and _UINT16.accepts(value[0]) and _BIN16.accepts(value[1]),
)

Ref = Annotated[int, _uint(32)]
Number = Annotated[int, _uint(53)]
Epoch = Annotated[int, _uint(53)]
Ask = Annotated[int, _uint(32)]
Code16 = Annotated[int, _UINT16]
Version = Annotated[int, _UINT16]
Versions = Annotated[list[int], _VERSIONS]
Secret = Annotated[bytes, _BIN16]
Token = Annotated[bytes, _TOKEN]
Proof = Annotated[bytes, _bin(32)]
SessionId = Annotated[str, _text(32)]
RoomId = Annotated[str, _text(32)]
TypeName = Annotated[str, _text(64)]
OptionalTypeName = Annotated[str | None, _optional(_text(64))]
Endpoint = Annotated[str, _text(256)]
OptionalEndpoint = Annotated[str | None, _optional(_text(256))]
OptionalDownlink = Annotated[list[Any] | None, _optional(_DOWNLINK)]
Sentence = Annotated[str, _text(512)]
Flag = Annotated[bool, _BOOL]
Items = Annotated[list[Any], ARRAY]
Map = Annotated[dict[str, Any], _MAP]
Data = Annotated[Any, _ANY]
Seconds = Annotated[float, _SECONDS]

M = TypeVar("M", bound=tuple[Any, ...])

# A named tuple of fields that were counted: ``_make`` counts them again.
_new: Callable[[Any, list[Any]], Any] = tuple.__new__


class Shapes(Generic[M]):
    """The messages of one conversation.

    Args:
        shapes: a named tuple for each kind.
    """

    def __init__(self, shapes: Mapping[Any, type[M]]) -> None:
        self._kind_of = {shape: int(kind) for kind, shape in shapes.items()}
        self._names = {shape: kind.name for kind, shape in shapes.items()}
        self._shapes = {
            int(kind): (shape, tuple(check.accepts for _, check in _checks(shape))) for kind, shape in shapes.items()
        }

    def fields_of(self, shape: type[M]) -> dict[str, str]:
        """The fields of a message in order, each with what it may hold in words."""
        return {name: check.label for name, check in _checks(shape)}

    def to_wire(self, message: M) -> tuple[Any, ...]:
        """``(kind, field, ...)``: for those who send several in one frame."""
        return (self._kind_of[type(message)], *message)

    def encode(self, message: M) -> bytes:
        """The frame of a message that we made. Payloads in it are checked before."""
        return pack((self._kind_of[type(message)], *message))

    def what_is_wrong(self, message: M) -> str | None:
        """Which field of a message that we made of a program's values would be refused, and why. None: none of them."""
        shape = type(message)
        _, checks = self._shapes[self._kind_of[shape]]
        for (name, field), accepts in zip(zip(shape._fields, message, strict=True), checks, strict=True):  # type: ignore[attr-defined]  # a named tuple
            if not accepts(field):
                return f"{name} has to be {dict(_checks(shape))[name].label}, not {field!r:.60}"
        return None

    def parse(self, value: object) -> M:
        """Check a decoded frame field by field.

        Raises:
            UnknownKind: no message has this kind.
            BadMessage: the fields are too few, too many or of wrong types or sizes.
        """
        if type(value) is not list or not value or type(value[0]) is not int:
            raise BadMessage("a message is an array that begins with its kind")
        known = self._shapes.get(value[0])
        if known is None:
            raise UnknownKind(f"unknown kind {value[0]:.0f}" if abs(value[0]) < 1e6 else "unknown kind")
        shape, checks = known
        fields = value[1:]
        if len(fields) != len(checks):
            raise BadMessage(f"{self._names[shape]} has {len(checks)} fields, not {len(fields)}")
        for accepts, field in zip(checks, fields, strict=True):
            if not accepts(field):
                raise BadMessage(self._what_is_wrong(shape, fields))
        made: M = _new(shape, fields)
        return made

    def _what_is_wrong(self, shape: type[M], fields: list[Any]) -> str:
        wrong = next(
            f"{name} is not {check.label}"
            for (name, check), field in zip(_checks(shape), fields, strict=True)
            if not check.accepts(field)
        )
        return f"{self._names[shape]}: {wrong}"


def _checks(shape: type[tuple[Any, ...]]) -> list[tuple[str, _Field]]:
    hints = get_type_hints(shape, include_extras=True)
    return [(name, hints[name].__metadata__[0]) for name in shape._fields]  # type: ignore[attr-defined]  # likewise
