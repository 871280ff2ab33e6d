"""Every message, field by field: what is accepted comes back as it was, what is not is refused by name."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import (
    SKIP,
    BadMessage,
    Deliver,
    Item,
    Kind,
    Limits,
    Message,
    UnknownKind,
    bundle,
    download_decoder,
    encode,
    encode_item,
    pack,
    parse,
)
from server_room_system.protocol.messages import HEAD_SIZE, SHAPES, fields_of

decode = download_decoder(Limits())

# What a field of each type may hold at its edges, and what it may not. A type
# that is not listed here fails the tests: it has to be listed.
ACCEPTED: dict[str, list[Any]] = {
    "uint16": [0, 1, (1 << 16) - 1],
    "uint32": [0, 1, (1 << 32) - 1],
    "uint53": [0, 1, (1 << 53) - 1],
    "bool": [True, False],
    "bin, 16 bytes": [bytes(16), b"0123456789abcdef"],
    "str, at most 32 characters": ["", "x", "€" * 32],
    "str, at most 64 characters": ["", "x", "🙂" * 64],
    "str, at most 512 characters": ["", "x" * 512],
    "str, at most 64 characters, or nil": [None, "", "x" * 64],
    "str, at most 256 characters, or nil": [None, "", "x" * 256],
    "map with str keys": [{}, {"": None, "k": [1]}],
    "array": [[], [1, "x", None]],
    "any": [None, 1, -1, 1.5, "x", b"x", [1], {"k": b"v"}],
    "seconds, over 0": [1, 0.001, 1e8],
    "array of uint16, 1 to 16 of them": [[0], [1] * 16, [65535]],
}
REFUSED: dict[str, list[Any]] = {
    "uint16": [-1, 1 << 16, 1.0, True, None, "1", b"1", [1], {}],
    "uint32": [-1, 1 << 32, 1.0, True, None, "1", b"1", [1], {}],
    "uint53": [-1, 1 << 53, (1 << 64) - 1, 1.0, True, None, "1", b"1", [1], {}],
    "bool": [0, 1, None, "true", 1.0],
    "bin, 16 bytes": [b"", bytes(15), bytes(17), "0" * 16, None, 0, [0] * 16],
    "str, at most 32 characters": ["x" * 33, b"x", None, 1, ["x"]],
    "str, at most 64 characters": ["x" * 65, b"x", None, 1, ["x"]],
    "str, at most 512 characters": ["x" * 513, b"x", None, 1, ["x"]],
    "str, at most 64 characters, or nil": ["x" * 65, b"x", 1, False, []],
    "str, at most 256 characters, or nil": ["x" * 257, b"x", 1, False, []],
    "map with str keys": [{b"k": 1}, [], None, "k", 1],
    "array": [{}, None, "x", b"x", 1],
    "any": [],
    "seconds, over 0": [0, -1, 0.0, -0.5, 1e9, float("inf"), float("nan"), True, None, "1"],
    "array of uint16, 1 to 16 of them": [[], [1] * 17, [-1], [65536], [True], [1.0], ["1"], [None], 1, None, {}],
}

every_message = pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)


def sample(kind: Kind) -> list[Any]:
    """A message of this kind as it is on the wire, with the first accepted value in each field."""
    return [int(kind), *(ACCEPTED[label][0] for label in fields_of(SHAPES[kind]).values())]


def on_the_wire(message: list[Any]) -> Any:
    return decode(pack(message))


def test_every_kind_has_a_shape_and_a_number_of_its_own() -> None:
    assert set(SHAPES) == set(Kind)
    assert len(set(SHAPES.values())) == len(Kind)
    assert all(0 < kind < 128 for kind in Kind), "a kind is one byte"
    assert all(0 <= item < 128 for item in Item)


def test_the_table_of_types_is_the_codes() -> None:
    labels = {label for shape in SHAPES.values() for label in fields_of(shape).values()}
    assert labels == set(ACCEPTED) == set(REFUSED)


@every_message
def test_each_field_takes_what_it_may_hold(kind: Kind) -> None:
    fields = fields_of(SHAPES[kind])
    for place, label in enumerate(fields.values(), start=1):
        for good in ACCEPTED[label]:
            wire = sample(kind)
            wire[place] = good
            message = parse(on_the_wire(wire))
            assert type(message) is SHAPES[kind]
            assert [int(kind), *message] == wire
            assert type(message[place - 1]) is type(good)


@every_message
def test_each_field_refuses_what_it_may_not_hold(kind: Kind) -> None:
    fields = fields_of(SHAPES[kind])
    for place, (name, label) in enumerate(fields.items(), start=1):
        for bad in REFUSED[label]:
            wire = sample(kind)
            wire[place] = bad
            with pytest.raises(BadMessage) as caught:
                parse(on_the_wire(wire))
            assert caught.value.text == f"{kind.name}: {name} is not {label}"


@every_message
def test_too_few_and_too_many_fields_are_refused(kind: Kind) -> None:
    wire = sample(kind)
    count = len(wire) - 1
    for wrong in ([*wire, None], *(wire[:length] for length in range(1, len(wire)))):
        with pytest.raises(BadMessage, match=f"^{kind.name} has {count} fields, not {len(wrong) - 1}$"):
            parse(on_the_wire(wrong))


strategies: dict[str, st.SearchStrategy[Any]] = {
    "uint16": st.integers(0, (1 << 16) - 1),
    "uint32": st.integers(0, (1 << 32) - 1),
    "uint53": st.integers(0, (1 << 53) - 1),
    "bin, 16 bytes": st.binary(min_size=16, max_size=16),
    "seconds, over 0": st.floats(1e-6, 1e6) | st.integers(1, 10**6),
}


@given(st.data(), st.sampled_from(Kind))
@settings(max_examples=200, deadline=None)
def test_messages_come_back_as_they_were(data: st.DataObject, kind: Kind) -> None:
    labels = fields_of(SHAPES[kind]).values()
    fields = [data.draw(strategies.get(label, st.sampled_from(ACCEPTED[label]))) for label in labels]
    message: Message = SHAPES[kind]._make(fields)
    assert parse(decode(encode(message))) == message
    assert encode(message)[1] == kind


def test_unknown_kinds_are_told_from_malformed_messages() -> None:
    for kind in {*range(-200, 300), (1 << 64) - 1, -(1 << 63)} - set(Kind):
        with pytest.raises(UnknownKind) as caught:
            parse(on_the_wire([kind, 1, 2, 3]))
        assert len(caught.value.text) < 40


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
def test_what_does_not_begin_with_a_kind_is_refused(value: Any) -> None:
    with pytest.raises(BadMessage):
        parse(on_the_wire(value))


@pytest.mark.parametrize("kind", [True, 1.0])
def test_a_kind_is_an_integer_and_nothing_that_equals_one(kind: Any) -> None:
    with pytest.raises(BadMessage, match="begins with its kind"):
        parse(on_the_wire([kind, *sample(Kind.HELLO)[1:]]))


def test_refusals_repeat_nothing_of_the_peer() -> None:
    wire = sample(Kind.HELLO)
    wire[3] = "secret " * 100
    with pytest.raises(BadMessage) as caught:
        parse(wire)
    assert "secret" not in str(caught.value)


# --- bundles, which are put together by hand --------------------------------------------------------------------


@given(
    epoch=st.integers(1, (1 << 53) - 1),
    ref=st.integers(0, (1 << 32) - 1),
    offset=st.integers(0, (1 << 53) - 1),
    count=st.integers(0, 40),
)
@settings(max_examples=100, deadline=None)
def test_a_bundle_is_a_deliver_with_a_head_of_fixed_width(epoch: int, ref: int, offset: int, count: int) -> None:
    items = [encode_item(Item.PRESENCE, "join", number) for number in range(count)]
    frame = bundle(epoch, ref, offset, items)
    assert len(frame) == HEAD_SIZE + sum(map(len, items))
    assert int.from_bytes(frame[3:11], "big") == epoch
    assert int.from_bytes(frame[12:16], "big") == ref
    assert int.from_bytes(frame[17:25], "big") == offset
    assert parse(decode(frame)) == Deliver(epoch, ref, offset, [[5, "join", number] for number in range(count)])
    assert parse(decode(encode(parse(decode(frame))))) == parse(decode(frame))


def test_a_bundle_holds_as_many_items_as_its_head_can_count() -> None:
    message = parse(decode(bundle(1, 0, 0, [SKIP] * 65_535)))
    assert isinstance(message, Deliver)
    assert len(message.items) == 65_535


@pytest.mark.parametrize("item", list(Item), ids=lambda item: item.name)
def test_the_second_byte_of_an_item_is_its_kind(item: Item) -> None:
    for fields in range(15):
        encoded = encode_item(item, *range(fields))
        assert (encoded[0], encoded[1]) == (0x90 | (fields + 1), item)
