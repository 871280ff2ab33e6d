"""Bytes as a course of decisions: what a fuzzer makes up becomes what hostile peers say, message by message.

A fuzzer that only flips bytes hardly ever gets past the first check of a message. So most inputs
are read as a list of decisions (which message, which value in which field), where the values are those that the
other side would take, those that it has just said itself, and now and then something else entirely.
"""

import re
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgpack

from server_room_system.protocol import Item
from server_room_system.rooms.control import ORDER_SHAPES, REPORT_SHAPES, order_fields_of, report_fields_of

__all__ = ["Memory", "Script", "Shape", "make_message", "packed"]

T = TypeVar("T")

Shape = Mapping[Any, Any]
"""A named tuple for each kind."""

_DEEPEST = 5
_REMEMBERED = 8
_SPECIAL = (
    0,
    1,
    -1,
    255,
    256,
    1 << 16,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 53) - 1,
    1 << 53,
    (1 << 64) - 1,
    -1 << 63,
)
_NAMES = (
    "",
    "ping_interval",
    "upload",
    "unacked",
    "message",
    "command",
    "plain",
    "topic",
    "say",
    "ask",
    "r" * 64,
    "r" * 65,
    "room",
    "clients",
    "self",
)


def packed(value: object) -> bytes:
    """As msgpack; raises whatever msgpack raises."""
    frame: bytes = msgpack.Packer().pack(value)
    return frame


class Script:
    """Reads decisions out of bytes; when they are used up, every decision is the first choice."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Whether all bytes are used up."""
        return self._at >= len(self._data)

    def byte(self) -> int:
        """0 to 255."""
        if self._at >= len(self._data):
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def take(self, size: int) -> bytes:
        """So many bytes, or as many as are left."""
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))

    def chunk(self) -> bytes:
        """Some bytes: two say how many."""
        return self.take(int.from_bytes(self.take(2), "big"))

    def pick(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[self.byte() % len(choices)]

    def plain(self) -> Any:
        """A value that holds no others."""
        kind = self.byte() % 8
        if kind == 0:
            return None
        if kind == 1:
            return bool(self.byte() & 1)
        if kind == 2:
            return self.byte()
        if kind == 3:
            return self.pick(_SPECIAL)
        if kind == 4:
            return struct.unpack(">d", self.take(8).ljust(8, b"\0"))[0]
        if kind == 5:
            return self.take(self.byte()).decode("latin-1")
        if kind == 6:
            return self.take(self.byte())
        return self.pick(_NAMES)

    def value(self, depth: int = 0) -> Any:
        """Anything that msgpack can carry, and some things that receivers refuse."""
        kind = self.byte()
        if kind < 160 or depth >= _DEEPEST:
            return self.plain()
        if kind < 200:
            return [self.value(depth + 1) for _ in range(self.byte() % 8)]
        if kind < 230:
            return {self.pick(_NAMES): self.value(depth + 1) for _ in range(self.byte() % 6)}
        if kind < 240:
            return {self.plain(): self.value(depth + 1) for _ in range(self.byte() % 6)}
        nested: Any = []
        for _ in range(self.byte()):
            nested = [nested] if kind & 1 else {"": nested}
        return nested


class Memory:
    """What the other side has said, by what it may stand in: references, numbers, tokens, names of rooms."""

    def __init__(self) -> None:
        self._said: dict[str, deque[Any]] = {}

    def note(self, message: tuple[Any, ...], fields: Mapping[str, str]) -> None:
        """Remember the fields of a message."""
        for label, value in zip(fields.values(), message, strict=True):
            self.add(label, value)

    def add(self, label: str, value: Any) -> None:
        """Remember one value."""
        self._said.setdefault(label, deque(maxlen=_REMEMBERED)).append(value)

    def of(self, label: str) -> list[Any]:
        """What was said, the latest first."""
        return list(reversed(self._said.get(label, ())))


def _plain(script: Script, label: str) -> Any:
    """A value that a field takes, going by the words of the documentation."""
    if label.startswith("uint"):
        return script.byte() % 16
    if label.startswith("str"):
        return script.pick(_NAMES)
    if label.startswith("bin"):
        size = int(re.findall(r"\d+", label)[0])
        return script.take(size).ljust(size, b"\0")
    if label == "bool":
        return bool(script.byte() & 1)
    if label.startswith("seconds"):
        return script.pick((1.0, 0.001, 15, 3600, 1e8))
    if label.startswith("map"):
        return {script.pick(_NAMES): script.value() for _ in range(script.byte() % 4)}
    if label == "array of uint16, 1 to 16 of them":
        return [script.byte() % 3 for _ in range(1 + script.byte() % 3)]
    if label.startswith("array of uint16 and bin"):
        return [script.byte(), script.take(16).ljust(16, b"\0")]
    return script.value()


def _a_ruleset(script: Script) -> Any:
    return [script.byte() % 4, script.pick((None, "plain", "topic", "?")), {"mode": script.plain()}]


def _an_item(script: Script) -> Any:
    kind = script.byte() % 10
    number = script.byte() % 8
    return {
        Item.BROADCAST: lambda: [kind, script.pick(_NAMES), script.value()],
        Item.SKIP: lambda: [kind],
        Item.DIRECT: lambda: [kind, number, script.pick(_NAMES), script.value()],
        Item.REPLY: lambda: [kind, number, script.byte() % 4, script.value()],
        Item.FAILURE: lambda: [kind, number, script.byte() % 4, script.pick((1030, 1031, 5)), "no", script.value()],
        Item.PRESENCE: lambda: [kind, script.pick(("join", "drop", "leave")), number],
        Item.MARK: lambda: [kind, number, script.byte() % 4],
        Item.OUTDATED: lambda: [kind, number],
        Item.OUTDATED_DIRECT: lambda: [kind, number, script.byte() % 8],
    }.get(kind, script.value)()  # type: ignore[call-overload]  # an IntEnum is its number


def _an_order(script: Script, memory: Memory) -> Any:
    return make_message(script, ORDER_SHAPES, order_fields_of, memory)


def _a_report(script: Script, memory: Memory) -> Any:
    return make_message(script, REPORT_SHAPES, report_fields_of, memory)


def _a_seat(script: Script, memory: Memory) -> Any:
    session = script.pick([*memory.of("str, at most 32 characters"), "s"])
    return [session, [script.byte(), "10.0.0.1"], {"mode": script.plain()}]


def _array(script: Script, owner: str, name: str, memory: Memory) -> Any:
    if name == "ruleset":
        return _a_ruleset(script)
    if name == "client":
        return [script.byte(), script.pick(_NAMES)]
    make: Callable[[], Any] = script.value
    if name == "items":
        made = {"Orders": lambda: _an_order(script, memory), "Reports": lambda: _a_report(script, memory)}
        make = made.get(owner, lambda: _an_item(script))
    elif name == "seats":
        make = lambda: _a_seat(script, memory)  # noqa: E731
    elif name in ("rooms", "reservations"):
        label = "str, at most 32 characters" if name == "rooms" else "bin, 16 bytes"
        make = lambda: _field(script, owner, "", label, memory)  # noqa: E731
    return [make() for _ in range(script.byte() % 5)]


def _field(script: Script, owner: str, name: str, label: str, memory: Memory) -> Any:
    decision = script.byte()
    if decision >= 240:
        return script.value()
    said = memory.of(label)
    if decision < 120 and said:
        return said[decision % len(said)]
    if label.endswith(", or nil"):
        if decision & 1:
            return None
        label = label.removesuffix(", or nil")
    if label == "array":
        return _array(script, owner, name, memory)
    return _plain(script, label)


def make_message(
    script: Script, shapes: Shape, fields_of: Callable[[Any], Mapping[str, str]], memory: Memory
) -> list[Any]:
    """A message of one of these shapes, as a list that begins with its kind: mostly well made."""
    kind = script.pick(list(shapes))
    shape = shapes[kind]
    fields = [_field(script, shape.__name__, name, label, memory) for name, label in fields_of(shape).items()]
    message = [int(kind), *fields]
    if script.byte() >= 250:  # too long, or too short
        message = message[:-1] if script.byte() & 1 else [*message, *script.take(4)]
    return message
