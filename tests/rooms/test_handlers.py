"""Which method handles what, and what its data is checked against."""

import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from server_room_system import BadPayload, ConfigError, Member, NotForSpectators, Room, on_message, on_request
from server_room_system.rooms.handlers import Handler, handler_for

if TYPE_CHECKING:
    from decimal import Decimal


class Move(msgspec.Struct):
    x: int
    y: int = 0


class Base(Room):
    @on_message("move")
    def move(self, client: Member, data: Any) -> str:
        return "base moved"

    @on_request("buy")
    def buy(self, client: Member, data: Any) -> str:
        return "base bought"

    def not_a_handler(self, client: Member, data: Any) -> None: ...


def run(room_class: type[Room], handler: Handler) -> Any:
    return handler.function(room_class(), None, None)


def test_messages_and_requests_have_tables_of_their_own() -> None:
    assert set(Base.handlers.messages) == {"move"}
    assert set(Base.handlers.requests) == {"buy"}
    assert run(Base, Base.handlers.messages["move"]) == "base moved"
    assert Base.handlers.messages["move"].name == "move ('move')"
    assert Base.handlers.messages["move"].convert is None


def test_a_plain_room_handles_nothing() -> None:
    assert Room.handlers.messages == {}
    assert Room.handlers.requests == {}


def test_handlers_are_inherited_and_added_to_without_touching_the_base() -> None:
    class Derived(Base):
        @on_message("jump")
        def jump(self, client: Member, data: Any) -> str:
            return "jumped"

    assert set(Derived.handlers.messages) == {"move", "jump"}
    assert set(Base.handlers.messages) == {"move"}
    assert run(Derived, Derived.handlers.messages["move"]) == "base moved"


def test_an_override_handles_what_its_base_declared_without_saying_so_again() -> None:
    class Derived(Base):
        def move(self, client: Member, data: int) -> str:
            return "derived moved"

    assert run(Derived, Derived.handlers.messages["move"]) == "derived moved"
    assert Derived.handlers.messages["move"].convert is not None
    assert run(Base, Base.handlers.messages["move"]) == "base moved"


def test_an_override_may_handle_another_type_instead() -> None:
    class Derived(Base):
        @on_request("move")
        def move(self, client: Member, data: Any) -> str:
            return "asked to move"

    assert set(Derived.handlers.messages) == set()
    assert run(Derived, Derived.handlers.requests["move"]) == "asked to move"


def test_a_second_base_counts_as_well() -> None:
    class Jumping:
        @on_message("jump")
        def jump(self, client: Member, data: Any) -> str:
            return "jumped"

    class Derived(Jumping, Base):
        pass

    assert set(Derived.handlers.messages) == {"move", "jump"}


def converted(annotation: Any, data: Any) -> Any:
    """What a handler with this annotation gets for this data."""

    class Annotated(Room):
        def handler(self, client: Member, data: Any) -> None: ...

        handler.__annotations__["data"] = annotation
        handler = on_message("m")(handler)

    convert = Annotated.handlers.messages["m"].convert
    return data if convert is None else convert(data)


@pytest.mark.parametrize(
    ("annotation", "data"),
    [
        (str, "text"),
        (int, 3),
        (float, 3.5),
        (float, 3),
        (bool, True),
        (bytes, b"raw"),
        (list, [1, "two"]),
        (dict, {"a": 1}),
        (Any, {"anything": [1]}),
        (object, None),
        (list[int], [1, 2]),
        (dict[str, int], {"a": 1}),
        (int | None, None),
    ],
)
def test_data_that_fits_reaches_the_handler_as_it_is(annotation: Any, data: Any) -> None:
    assert converted(annotation, data) == data
    assert type(converted(annotation, data)) is type(data) or annotation is float


@pytest.mark.parametrize(
    ("annotation", "data", "text"),
    [
        (str, 3, "expected str, got int"),
        (str, b"raw", "expected str, got bytes"),
        (int, "3", "expected int, got str"),
        (int, 3.0, "expected int, got float"),
        (int, True, "expected int, got bool"),
        (float, "x", "expected float, got str"),
        (float, False, "expected float, got bool"),
        (bool, 1, "expected bool, got int"),
        (bytes, "x", "expected bytes, got str"),
        (list, {"a": 1}, "expected list, got dict"),
        (dict, [1], "expected dict, got list"),
        (str, None, "expected str, got NoneType"),
        (list[int], [1, "two"], "Expected `int`, got `str`"),
        (Move, {"y": 1}, "missing required field `x`"),
        (Move, {"x": "far"}, "Expected `int`, got `str`"),
        (Move, [1, 2], "Expected `object`, got `array`"),
    ],
)
def test_data_that_does_not_fit_is_refused_in_words(annotation: Any, data: Any, text: str) -> None:
    with pytest.raises(BadPayload) as refused:
        converted(annotation, data)
    assert text in refused.value.text


def test_structs_are_made_of_maps() -> None:
    assert converted(Move, {"x": 1}) == Move(1, 0)
    assert converted(list[Move], [{"x": 1}, {"x": 2, "y": 3}]) == [Move(1, 0), Move(2, 3)]


def test_an_annotation_may_be_a_string() -> None:
    assert converted("Move", {"x": 1}) == Move(1, 0)
    assert converted("int", 3) == 3


def test_an_unknown_name_in_an_annotation_is_told_when_the_class_is_made() -> None:
    with pytest.raises(ConfigError, match=r"Annotated\.handler: name 'Nowhere' is not defined"):
        converted("Nowhere", 1)


def test_only_the_annotation_of_the_data_has_to_be_known() -> None:
    """Types that are imported for type checkers alone may annotate everything else."""

    class Careful(Room):
        @on_message("m")
        def handler(self, client: "Decimal", data: "int") -> "Decimal":
            raise NotImplementedError

    convert = Careful.handlers.messages["m"].convert
    assert convert is not None
    with pytest.raises(BadPayload):
        convert("three")


def test_a_type_that_needs_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(ConfigError, match=r"Annotated\.handler wants Move, .*'server-room-system\[typed\]'"):
        converted(Move, {"x": 1})
    with pytest.raises(ConfigError, match=r"wants list\[int\]"):
        converted(list[int], [1])
    assert converted(int, 3) == 3
    assert converted(Any, 3) == 3


@pytest.mark.parametrize("annotation", [dict[str, int] | Move, Move | list[int] | tuple[int, int]])
def test_a_type_that_cannot_be_checked_is_told_before_the_first_message(annotation: Any) -> None:
    """msgspec refuses ambiguous unions only when it converts: then it was the client's message that raised."""
    with pytest.raises(ConfigError, match=r"Annotated\.handler: data can't be checked"):
        converted(annotation, {"x": 1})


def test_a_struct_that_fails_while_it_is_made_refuses_the_data() -> None:
    class Touchy(msgspec.Struct):
        x: int

        def __post_init__(self) -> None:
            raise LookupError("a secret")

    with pytest.raises(BadPayload) as refused:
        converted(Touchy, {"x": 1})
    assert refused.value.text == BadPayload.meaning


@pytest.mark.parametrize("name", ["", "x" * 65, None, 5, b"m"])
def test_a_message_type_is_a_short_string(name: Any) -> None:
    with pytest.raises(ConfigError, match="1 to 64 characters"):
        on_message(name)
    with pytest.raises(ConfigError, match="1 to 64 characters"):
        on_request(name)


def test_a_handler_takes_client_and_data() -> None:
    with pytest.raises(ConfigError, match=r"Wrong\.handler takes \(self, client, data\), not 2"):

        class Wrong(Room):  # pyright: ignore[reportUnusedClass]
            @on_message("m")
            def handler(self, data: Any) -> None: ...


def test_a_handler_is_not_called_forgetfully() -> None:
    with pytest.raises(ConfigError):
        on_message(lambda self, client, data: None)  # type: ignore[arg-type]  # @on_message without brackets


class Gallery(Room):
    @on_message("cheer", spectators=True)
    def cheer(self, client: Member, data: str) -> None: ...

    @on_message("move")
    def move(self, client: Member, data: int) -> None: ...

    @on_request("score", spectators=True)
    def score(self, client: Member, data: Any) -> None: ...

    @on_request("buy")
    def buy(self, client: Member, data: Any) -> None: ...


@pytest.mark.parametrize(
    ("way", "name", "data"), [("messages", "cheer", "go"), ("requests", "score", None)], ids=["message", "request"]
)
def test_who_looks_on_may_use_what_is_declared_for_it(way: str, name: str, data: Any) -> None:
    handlers = getattr(Gallery.handlers, way)
    for spectator in (False, True):
        assert handler_for(handlers, name, data, spectator=spectator) == (handlers[name], data)


@pytest.mark.parametrize(("way", "name"), [("messages", "move"), ("requests", "buy"), ("messages", "unknown")])
def test_who_looks_on_may_use_nothing_else(way: str, name: str) -> None:
    handlers = getattr(Gallery.handlers, way)
    with pytest.raises(NotForSpectators):
        handler_for(handlers, name, 1, spectator=True)
    assert handler_for(handlers, name, 1, spectator=False) == (handlers.get(name), 1)


def test_data_of_who_may_not_use_it_is_not_looked_at() -> None:
    with pytest.raises(NotForSpectators):
        handler_for(Gallery.handlers.messages, "move", "no number", spectator=True)
    with pytest.raises(BadPayload):
        handler_for(Gallery.handlers.messages, "move", "no number", spectator=False)
