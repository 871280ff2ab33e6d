"""One target for each decoder that is a function: any bytes are parsed, or are a documented error of ours."""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt

from server_room_system.broker.announcements import check_endpoint, read_description
from server_room_system.broker.command import WorkerCommand
from server_room_system.broker.jwt import JwtVerifier
from server_room_system.broker.logs import wrapped_line
from server_room_system.broker.passwords import PasswordFile
from server_room_system.broker.placement import Load
from server_room_system.broker.tokens import TokenMint
from server_room_system.lab.stamp import find_stamp
from server_room_system.protocol import (
    AuthRefused,
    BadMessage,
    ConfigError,
    Limits,
    PayloadError,
    RuleSet,
    RuleSetError,
    UnknownKind,
    WorkerRefused,
    decoder,
    download_decoder,
    encode,
    encode_cluster,
    error_for,
    parse,
    parse_cluster,
    upload_decoder,
)
from server_room_system.protocol.cluster import CLUSTER_SHAPES, cluster_fields_of
from server_room_system.protocol.codec import pack, pack_payload
from server_room_system.protocol.messages import SHAPES, fields_of
from server_room_system.protocol.streams import Gap, Position, StreamReader
from server_room_system.rooms.control import (
    ORDER_SHAPES,
    REPORT_SHAPES,
    order_fields_of,
    order_from_wire,
    order_to_wire,
    report_fields_of,
    report_from_wire,
    report_to_wire,
)
from server_room_system.transport.key_files import AuthorisedKeys, read_key_pair, read_public_key
from server_room_system.transport.keys import read_key
from server_room_system.transport.locks import endpoint_of, key_from_text, key_to_text, split_endpoint
from server_room_system.transport.roll import MOST_SAID, Attached, Said

from .script import Memory, Script, make_message, packed

__all__ = ["DECODERS"]

LIMITS = Limits()
_up = upload_decoder(LIMITS)
_down = download_decoder(LIMITS)
_wide = decoder(1 << 20, 1 << 20, 64, 1 << 20)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [inner for outer in level for inner in _inside(outer)]:
        depth += 1
    return depth + isinstance(value, list | dict)


def _inside(value: Any) -> list[Any]:
    return [one for one in _elements(value) if isinstance(one, list | dict)]


def _values(value: Any) -> int:
    """How many values there are, containers included."""
    count, level = 0, [value]
    while level:
        count += len(level)
        level = [inner for outer in level for inner in _elements(outer)]
    return count


def _elements(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def codec(data: bytes) -> None:
    """Clients' and servers' frames: what is decoded is within the limits, and as large as it looks."""
    for decode, deepest in ((_up, LIMITS.nesting + 1), (_down, LIMITS.nesting + 3)):
        try:
            value = decode(data)
        except BadMessage:
            continue
        assert _depth(value) <= deepest
        assert _values(value) <= len(data)
        assert _down(pack(value)) == value or _has_nan(value)


def _has_nan(value: Any) -> bool:
    if isinstance(value, list | dict):
        return any(map(_has_nan, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and math.isnan(value)


def payloads(data: bytes) -> None:
    """What a user gives us to send: what we encode, the other side takes."""
    script = Script(data)
    value = script.value()
    most, nesting = script.byte() * 64, script.byte() % 24
    limits = LIMITS if script.byte() & 1 else None
    try:
        encoded = pack_payload(value, most, nesting, limits)
    except PayloadError:
        return
    assert len(encoded) <= most
    took = _up if limits is not None else _wide
    if nesting <= LIMITS.nesting:
        took(encoded)


def _conversation(
    shapes: Mapping[Any, Any],
    fields: Callable[[Any], Mapping[str, str]],
    parse_one: Callable[[object], Any],
    to_bytes: Callable[[Any], bytes],
) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        script = Script(data)
        written = script.byte() & 1
        frame = script.rest() if written else packed(make_message(script, shapes, fields, Memory()))
        try:
            message = parse_one(_wide(frame))
        except (BadMessage, UnknownKind):
            return
        again = to_bytes(message)
        assert to_bytes(parse_one(_wide(again))) == again

    return target


messages = _conversation(SHAPES, fields_of, parse, encode)
cluster = _conversation(CLUSTER_SHAPES, cluster_fields_of, parse_cluster, encode_cluster)
orders = _conversation(ORDER_SHAPES, order_fields_of, order_from_wire, lambda order: pack(order_to_wire(order)))
reports = _conversation(REPORT_SHAPES, report_fields_of, report_from_wire, lambda report: pack(report_to_wire(report)))


def _sent(value: Any) -> Any:
    """A value as it comes out of the other end; None where it does not come so far."""
    try:
        return _wide(packed(value))
    except (BadMessage, ValueError, TypeError, OverflowError):
        return None


def rulesets(data: bytes) -> None:
    """What MATCH and CREATE ask for."""
    script = Script(data)
    wire = _sent([script.byte() % 8, script.value(), script.value()] if script.byte() & 1 else script.value())
    if type(wire) is not list:
        return  # the field of the message is an array
    try:
        ruleset = RuleSet.from_wire(wire)
    except RuleSetError:
        return
    assert RuleSet.from_wire(ruleset.to_wire()) == ruleset
    assert repr(ruleset)
    assert len(ruleset.key) <= 4096


def announcements(data: bytes) -> None:
    """The maps that servers and workers announce: limits, load, description, endpoint."""
    script = Script(data)
    names = [*Limits().to_wire(), *Load().__slots__, "types", "labels", "max_rooms", "isolated", "pid", "host"]
    said = _sent({script.pick(names): script.value() for _ in range(script.byte() % 12)})
    if said is None:
        return
    limits = Limits.from_wire(said)
    for name, default in Limits().to_wire().items():
        assert type(getattr(limits, name)) is type(default)
        assert 0 < getattr(limits, name) < 1 << 53
    load = Load.from_wire(said)
    assert 0 <= load.lag < 1e15
    assert 0 <= load.rss < 1e15
    with contextlib.suppress(WorkerRefused):
        read_description(said)
    endpoint = script.rest().decode("latin-1")
    with contextlib.suppress(WorkerRefused):
        check_endpoint(endpoint if len(data) & 1 else f"tcp://{endpoint}")


def streams(data: bytes) -> None:
    """Bundles of any kind, read by a member: a position never goes back, and no step is left out."""
    script = Script(data)
    reader = StreamReader(Position(1, script.byte() % 4, script.byte() % 4))
    while not script.is_over:
        bundle = _sent(make_message(script, {43: SHAPES[43]}, fields_of, Memory()))  # type: ignore[index]
        if type(bundle) is not list:
            continue
        try:
            message = parse(bundle)
        except (BadMessage, UnknownKind):
            continue
        before = reader.position
        try:
            for _, place in reader.read(message.offset, message.items, 3):  # type: ignore[union-attr]  # a Deliver
                assert place.offset - before.offset + place.direct - before.direct >= 1
                before = place
        except (Gap, BadMessage):
            pass
        assert reader.offset >= before.offset
        assert reader.direct >= before.direct


_MINT = TokenMint(bytes(range(32)), 7)
_SESSION = "5" * 32


def tokens(data: bytes) -> None:
    """Resume tokens: only those that we made are read, and as what they are."""
    script = Script(data)
    client, serial = script.byte() << 8 | script.byte(), script.byte()
    made = _MINT.make(_SESSION, client, serial)
    assert _MINT.read(_SESSION, made) == (7, client, serial)
    other = bytearray(made)
    for _ in range(script.byte() % 4):
        other[script.byte() % len(other)] ^= script.byte()
    shown = bytes(other) if script.byte() & 1 else script.take(64)
    content = _MINT.read(_SESSION, shown)
    assert (content is not None) == (shown == made)
    session = script.rest().decode("latin-1")
    assert _MINT.read(session, made) is None or session == _SESSION


def errors(data: bytes) -> None:
    """ERROR and GOODBYE with any code, text and data make one of our errors."""
    script = Script(data)
    code = int.from_bytes(script.take(2), "big")
    error = error_for(code, script.take(script.byte()).decode("latin-1"), script.value())
    assert error.code == code
    assert str(error) is not None
    assert repr(error)


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[Path]:
    handle, name = tempfile.mkstemp()
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        yield Path(name)
    finally:
        Path(name).unlink()


def files(data: bytes) -> None:
    """Files with keys, states and passwords: read, or said to be none."""
    with _file(data) as path:
        with contextlib.suppress(ConfigError):
            assert len(read_key(path)) == 32
        with contextlib.suppress(ConfigError):
            pair = read_key_pair(path)
            assert read_public_key(path) == pair.public
        with contextlib.suppress(ConfigError):
            assert all(len(key) == 32 for key in AuthorisedKeys(path)._keys)
        with contextlib.suppress(ConfigError):
            PasswordFile(path)


def endpoints(data: bytes) -> None:
    """Keys in text, alone and behind an address."""
    text = data.decode("latin-1")
    with contextlib.suppress(ConfigError):
        key = key_from_text(text)
        assert key_to_text(key) == text.strip()
    with contextlib.suppress(ConfigError):
        address, found = split_endpoint(text)
        assert endpoint_of(address, found) == text.partition("#")[0] + (
            "" if found is None else "#" + key_to_text(found)
        )


_JWT_KEY = bytes(range(32))
_of_a_secret = JwtVerifier(key=_JWT_KEY, algorithms=["HS256"])
_of_a_key_set = JwtVerifier(jwks_url="http://127.0.0.1:1/keys", algorithms=["RS256", "ES256", "EdDSA"])


def web_tokens(data: bytes) -> None:
    """Tokens of clients, and key sets of whoever issues them."""
    script = Script(data)
    way = script.byte() % 3
    if way == 0:
        with contextlib.suppress(ValueError, RecursionError, jwt.PyJWTError):
            _of_a_key_set._read(script.rest())
        return
    token: Any = script.rest().decode("latin-1")
    if way == 1:  # well signed, whatever it says
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            token = jwt.encode({"exp": script.value(), "aud": script.value()}, _JWT_KEY, "HS256", {"kid": "k"})
    with contextlib.suppress(AuthRefused, StopIteration):
        _of_a_secret(token).send(None)  # it waits for nothing


def lines(data: bytes) -> None:
    """What processes of ours print for each other, and what bots find in messages."""
    text = data.decode("utf-8", errors="replace")
    line = text.partition("\n")[0]
    assert json.loads(wrapped_line("w1", line, 0.0))["worker"] == "w1"
    assert find_stamp(text) is None or "srs." in text
    script = Script(data)
    find_stamp(script.value())
    command = WorkerCommand("app:server", script.take(20).decode("latin-1"), "w1", None, labels=("a", "b"))
    assert WorkerCommand.from_argv(command.to_argv()[-1:]) == command


def subscribers(data: bytes) -> None:
    """What a connection says to a publisher: judged, and never remembered without bound."""
    script = Script(data)
    attached = Attached(5, 1, 0.0)
    tokens: set[bytes] = set()
    now, said = 0.0, Said.NOTHING
    while said is not Said.HOSTILE and not script.is_over:  # who is hostile is cut
        now += script.byte() / 64
        message = script.take(script.byte() % (MOST_SAID + 1))
        said = attached.say(message, now)
        if said is Said.TOKEN:
            tokens.add(message)
    assert len(tokens) <= 2


DECODERS: dict[str, Callable[[bytes], None]] = {
    "codec": codec,
    "payloads": payloads,
    "messages": messages,
    "cluster": cluster,
    "orders": orders,
    "reports": reports,
    "rulesets": rulesets,
    "announcements": announcements,
    "streams": streams,
    "tokens": tokens,
    "errors": errors,
    "files": files,
    "endpoints": endpoints,
    "web_tokens": web_tokens,
    "lines": lines,
    "subscribers": subscribers,
}
"""Targets by name."""
