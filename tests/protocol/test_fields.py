"""Every message, field by field: what is accepted comes back as it was, what is not is refused by name."""

from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import BadMessage, ClusterKind, Kind, Limits, UnknownKind, download_decoder, pack

from .conversations import CLIENTS, CLUSTER, Conversation, each_conversation, each_kind

decode = download_decoder(Limits())

# What a field of each type may hold at its edges, and what it may not. A type
# that is not listed here fails the tests: it has to be listed.
ACCEPTED: dict[str, list[Any]] = {
    "uint16": [0, 1, (1 << 16) - 1],
    "uint32": [0, 1, (1 << 32) - 1],
    "uint53": [0, 1, (1 << 53) - 1],
    "bool": [True, False],
    "bin, 16 bytes": [bytes(16), b"0123456789abcdef"],
    "bin, 32 bytes": [bytes(32), b"x" * 32],
    "bin, 16 to 64 bytes": [bytes(16), bytes(36), b"x" * 64],
    "str, at most 32 characters": ["", "x", "€" * 32],
    "str, at most 64 characters": ["", "x", "🙂" * 64],
    "str, at most 256 characters": ["", "x" * 256],
    "str, at most 512 characters": ["", "x" * 512],
    "str, at most 64 characters, or nil": [None, "", "x" * 64],
    "str, at most 256 characters, or nil": [None, "", "x" * 256],
    "map with str keys": [{}, {"": None, "k": [1]}],
    "array": [[], [1, "x", None]],
    "any": [None, 1, -1, 1.5, "x", b"x", [1], {"k": b"v"}],
    "seconds, over 0": [1, 0.001, 1e8],
    "array of uint16, 1 to 16 of them": [[0], [1] * 16, [65535]],
    "array of uint16 and bin, 16 bytes, or nil": [None, [0, bytes(16)], [65535, b"x" * 16]],
}
REFUSED: dict[str, list[Any]] = {
    "uint16": [-1, 1 << 16, 1.0, True, None, "1", b"1", [1], {}],
    "uint32": [-1, 1 << 32, 1.0, True, None, "1", b"1", [1], {}],
    "uint53": [-1, 1 << 53, (1 << 64) - 1, 1.0, True, None, "1", b"1", [1], {}],
    "bool": [0, 1, None, "true", 1.0],
    "bin, 16 bytes": [b"", bytes(15), bytes(17), "0" * 16, None, 0, [0] * 16],
    "bin, 32 bytes": [b"", bytes(16), bytes(31), bytes(33), "0" * 32, None],
    "bin, 16 to 64 bytes": [b"", bytes(15), bytes(65), "0" * 16, None, 0, [0] * 16],
    "str, at most 32 characters": ["x" * 33, b"x", None, 1, ["x"]],
    "str, at most 64 characters": ["x" * 65, b"x", None, 1, ["x"]],
    "str, at most 256 characters": ["x" * 257, b"x", None, 1, ["x"]],
    "str, at most 512 characters": ["x" * 513, b"x", None, 1, ["x"]],
    "str, at most 64 characters, or nil": ["x" * 65, b"x", 1, False, []],
    "str, at most 256 characters, or nil": ["x" * 257, b"x", 1, False, []],
    "map with str keys": [{b"k": 1}, [], None, "k", 1],
    "array": [{}, None, "x", b"x", 1],
    "any": [],
    "seconds, over 0": [0, -1, 0.0, -0.5, 1e9, float("inf"), float("nan"), True, None, "1"],
    "array of uint16, 1 to 16 of them": [[], [1] * 17, [-1], [65536], [True], [1.0], ["1"], [None], 1, None, {}],
    "array of uint16 and bin, 16 bytes, or nil": [
        [],
        [1],
        [bytes(16), 1],
        [1, bytes(15)],
        [65536, bytes(16)],
        [True, bytes(16)],
        [1, bytes(16), 1],
        {},
        1,
        b"x" * 16,
    ],
}


def sample(talk: Conversation, kind: IntEnum) -> list[Any]:
    """A message of this kind as it is on the wire, with the first accepted value in each field."""
    return [int(kind), *(ACCEPTED[label][0] for label in talk.fields_of(talk.shapes[kind]).values())]


def on_the_wire(message: list[Any]) -> Any:
    return decode(pack(message))


@each_conversation
def test_every_kind_has_a_shape_and_a_number_of_its_own(talk: Conversation) -> None:
    assert set(talk.shapes) == set(talk.kinds)
    assert len(set(talk.shapes.values())) == len(talk.kinds)
    assert all(0 < kind < 128 for kind in talk.kinds), "a kind is one byte"


def test_a_port_tells_the_conversations_apart_by_the_kind() -> None:
    assert max(Kind) < min(ClusterKind)


def test_the_table_of_types_is_the_codes() -> None:
    shapes = [(talk, shape) for talk in (CLIENTS, CLUSTER) for shape in talk.shapes.values()]
    labels = {label for talk, shape in shapes for label in talk.fields_of(shape).values()}
    assert labels == set(ACCEPTED) == set(REFUSED)


@each_kind
def test_each_field_takes_what_it_may_hold(talk: Conversation, kind: IntEnum) -> None:
    fields = talk.fields_of(talk.shapes[kind])
    for place, label in enumerate(fields.values(), start=1):
        for good in ACCEPTED[label]:
            wire = sample(talk, kind)
            wire[place] = good
            message = talk.parse(on_the_wire(wire))
            assert type(message) is talk.shapes[kind]
            assert [int(kind), *message] == wire
            assert type(message[place - 1]) is type(good)


@each_kind
def test_each_field_refuses_what_it_may_not_hold(talk: Conversation, kind: IntEnum) -> None:
    fields = talk.fields_of(talk.shapes[kind])
    for place, (name, label) in enumerate(fields.items(), start=1):
        for bad in REFUSED[label]:
            wire = sample(talk, kind)
            wire[place] = bad
            with pytest.raises(BadMessage) as caught:
                talk.parse(on_the_wire(wire))
            assert caught.value.text == f"{kind.name}: {name} is not {label}"


@each_kind
def test_too_few_and_too_many_fields_are_refused(talk: Conversation, kind: IntEnum) -> None:
    wire = sample(talk, kind)
    count = len(wire) - 1
    for wrong in ([*wire, None], *(wire[:length] for length in range(1, len(wire)))):
        with pytest.raises(BadMessage, match=f"^{kind.name} has {count} fields, not {len(wrong) - 1}$"):
            talk.parse(on_the_wire(wrong))


strategies: dict[str, st.SearchStrategy[Any]] = {
    "uint16": st.integers(0, (1 << 16) - 1),
    "uint32": st.integers(0, (1 << 32) - 1),
    "uint53": st.integers(0, (1 << 53) - 1),
    "bin, 16 bytes": st.binary(min_size=16, max_size=16),
    "seconds, over 0": st.floats(1e-6, 1e6) | st.integers(1, 10**6),
}


_ALL = [(talk, kind) for talk in (CLIENTS, CLUSTER) for kind in talk.kinds]


@given(st.data(), st.sampled_from(_ALL))
@settings(max_examples=200, deadline=None)
def test_messages_come_back_as_they_were(data: st.DataObject, one: tuple[Conversation, IntEnum]) -> None:
    talk, kind = one
    labels = talk.fields_of(talk.shapes[kind]).values()
    fields = [data.draw(strategies.get(label, st.sampled_from(ACCEPTED[label]))) for label in labels]
    message = talk.shapes[kind]._make(fields)
    assert talk.parse(decode(talk.encode(message))) == message
    assert talk.encode(message)[1] == kind


@each_conversation
def test_unknown_kinds_are_told_from_malformed_messages(talk: Conversation) -> None:
    for kind in {*range(-200, 300), (1 << 64) - 1, -(1 << 63)} - set(talk.kinds):
        with pytest.raises(UnknownKind) as caught:
            talk.parse(on_the_wire([kind, 1, 2, 3]))
        assert len(caught.value.text) < 40


@each_conversation
@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        "HELLO",
        b"",
        {},
        {"kind": 1},
        [],
        [[]],
        [None, 1],
        ["1", 1],
        [True, 1],
        [1.0, 1],
        [b"\x01"],
        [{}],
        [[1]],
    ],
    ids=repr,
)
def test_what_does_not_begin_with_a_kind_is_refused(talk: Conversation, value: Any) -> None:
    with pytest.raises(BadMessage):
        talk.parse(on_the_wire(value))


@pytest.mark.parametrize("kind", [True, 1.0])
def test_a_kind_is_an_integer_and_nothing_that_equals_one(kind: Any) -> None:
    with pytest.raises(BadMessage, match="begins with its kind"):
        CLIENTS.parse(on_the_wire([kind, *sample(CLIENTS, Kind.HELLO)[1:]]))


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


def refusal(talk: Conversation, wire: Any) -> str | None:
    """With which words a message is refused; None if it is taken."""
    try:
        message = talk.parse(wire)
    except (BadMessage, UnknownKind) as error:
        return error.text
    assert type(message) in talk.shapes.values()
    return None


@given(st.data(), st.sampled_from(_ALL))
@settings(max_examples=300, deadline=None)
def test_whatever_is_sent_is_parsed_or_refused_with_a_code(
    data: st.DataObject, one: tuple[Conversation, IntEnum]
) -> None:
    talk, kind = one
    wire = data.draw(_values | st.just(sample(talk, kind)))
    if type(wire) is list and len(wire) > 1:
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(_values)
    assert len(refusal(talk, wire) or "") < 120


@each_kind
def test_refusals_repeat_nothing_of_the_peer(talk: Conversation, kind: IntEnum) -> None:
    for place in range(1, len(sample(talk, kind))):
        wire = sample(talk, kind)
        wire[place] = "secret " * 100
        assert "secret" not in (refusal(talk, wire) or "")
