"""``@on_message`` and ``@on_request``: which method of a room handles what, and with which type of data."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from ..protocol.errors import BadPayload, ConfigError, NotForSpectators

__all__ = ["Handler", "HandlerTable", "find_handlers", "handler_for", "on_message", "on_request"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "_server_room_system_handles"
_PLAIN = (str, int, float, bool, bytes, list, dict)


class Handler(NamedTuple):
    """A method, and how its data is checked."""

    name: str
    function: Callable[..., Any]
    convert: Callable[[Any], Any] | None
    spectators: bool = False
    """Whether those may use it as well who only look on."""


class HandlerTable(NamedTuple):
    """A room class's handlers by the type of the message."""

    messages: dict[str, Handler]
    requests: dict[str, Handler]


def on_message(type_name: str, *, spectators: bool = False) -> Callable[[F], F]:
    """Mark a method of a Room as the handler of messages of one type.

    The method gets ``(client, data)``. If ``data`` is annotated with a plain
    type (str, int, float, bool, bytes, list, dict) it is checked before the
    method is called; with the extra ``[typed]`` any type that msgspec knows is
    checked and converted. Data that does not fit is answered with BadPayload
    and does not reach the method. Raising RequestRefused tells the sender that
    its message was not applied.

    Args:
        type_name: of the messages.
        spectators: whether members may send it as well who only look on; to others it is refused.
    """
    return _marker("message", type_name, spectators)


def on_request(type_name: str, *, spectators: bool = False) -> Callable[[F], F]:
    """Mark a method of a Room as the answer to requests of one type.

    What it returns is the reply. Raising RequestRefused answers with an error of
    your words; any other exception answers HandlerFailed, and is logged. Data is
    checked as for ``on_message``, and so is who asks.
    """
    return _marker("request", type_name, spectators)


def _marker(way: str, type_name: str, spectators: bool) -> Callable[[F], F]:
    if not isinstance(type_name, str) or not 1 <= len(type_name) <= 64:
        raise ConfigError(f"a message type is a string of 1 to 64 characters, not {type_name!r}")

    def mark(function: F) -> F:
        setattr(function, _MARK, (way, type_name, spectators))
        return function

    return mark


def find_handlers(room_class: type) -> HandlerTable:
    """The handlers of a class and its bases, the nearest first.

    Raises:
        ConfigError: an annotation needs the extra ``[typed]``, or can't be resolved.
    """
    table = HandlerTable({}, {})
    for name in dir(room_class):
        # An override without the decorator still handles what its base declared.
        marks = [getattr(base.__dict__.get(name), _MARK, None) for base in room_class.__mro__]
        mark = next((found for found in marks if found), None)
        if mark is None:
            continue
        way, type_name, spectators = mark
        function = inspect.getattr_static(room_class, name)
        handler = Handler(f"{name} ({type_name!r})", function, _converter(room_class, function), spectators)
        (table.messages if way == "message" else table.requests)[type_name] = handler
    return table


def handler_for(
    handlers: Mapping[str, Handler], name: str, data: Any, *, spectator: bool
) -> tuple[Handler | None, Any]:
    """What handles something that a member has sent, and its data, checked and converted.

    Args:
        handlers: those of messages, or those of requests.
        name: the message type.
        data: what was sent.
        spectator: whether who sent it only looks on.

    Returns:
        None where there is none.

    Raises:
        NotForSpectators: it is for members who play.
        BadPayload: the data does not fit.
    """
    handler = handlers.get(name)
    if spectator and not (handler is not None and handler.spectators):
        raise NotForSpectators
    if handler is not None and handler.convert is not None:
        data = handler.convert(data)
    return handler, data


def _converter(room_class: type, function: Callable[..., Any]) -> Callable[[Any], Any] | None:
    parameters = list(inspect.signature(function).parameters.values())
    where = f"{room_class.__name__}.{function.__name__}"
    if len(parameters) != 3:
        raise ConfigError(f"{where} takes (self, client, data), not {len(parameters)} arguments")
    annotation = parameters[2].annotation
    if isinstance(annotation, str):
        try:
            # This one alone: the others may name what only type checkers import.
            only = types.SimpleNamespace(__annotations__={"data": annotation})
            annotation = typing.get_type_hints(only, inspect.unwrap(function).__globals__)["data"]
        except NameError as error:
            raise ConfigError(f"{where}: {error}, which annotates its data") from error
    if annotation in (inspect.Parameter.empty, Any, object):
        return None
    if annotation in _PLAIN:
        return _plain_check(annotation)
    try:
        import msgspec  # noqa: PLC0415  # an extra: only rooms that need it load it
    except ImportError as error:
        shown = (
            annotation if isinstance(annotation, types.GenericAlias) else getattr(annotation, "__name__", annotation)
        )
        raise ConfigError(
            f"{where} wants {shown}, which needs msgspec: pip install 'server-room-system[typed]'"
        ) from error

    try:
        msgspec.msgpack.Decoder(annotation)
    except (TypeError, NameError) as error:
        raise ConfigError(f"{where}: data can't be checked: {error}") from error

    def convert(data: Any) -> Any:
        try:
            return msgspec.convert(data, annotation)
        except (msgspec.ValidationError, RecursionError) as error:
            raise BadPayload(str(error)) from error
        except Exception as error:  # a Struct's own checks may raise anything
            raise BadPayload from error

    return convert


def _plain_check(wanted: type) -> Callable[[Any], Any]:
    accepted = (float, int) if wanted is float else wanted

    def check(data: Any) -> Any:
        if not isinstance(data, accepted) or (isinstance(data, bool) and wanted is not bool):
            raise BadPayload(f"expected {wanted.__name__}, got {type(data).__name__}")
        return data

    return check
