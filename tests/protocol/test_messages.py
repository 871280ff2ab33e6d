"""Clients' messages: kinds, and bundles, which are put together by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import (
    SKIP,
    Deliver,
    Item,
    Limits,
    Listed,
    bundle,
    download_decoder,
    encode,
    encode_item,
    listed,
    listed_body,
    pack,
    parse,
)
from server_room_system.protocol.messages import HEAD_SIZE

decode = download_decoder(Limits())


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
    assert 0 <= item < 128
    for fields in range(15):
        encoded = encode_item(item, *range(fields))
        assert (encoded[0], encoded[1]) == (0x90 | (fields + 1), item)


@given(
    epoch=st.integers(1, (1 << 53) - 1),
    ref=st.integers(0, (1 << 32) - 1),
    ask=st.integers(0, (1 << 32) - 1),
    offset=st.integers(0, (1 << 53) - 1),
    count=st.integers(0, 40),
)
def test_a_listed_is_put_together_of_a_head_for_one_and_a_body_for_all(
    epoch: int, ref: int, ask: int, offset: int, count: int
) -> None:
    changes = [[3, {"room": f"r{number}"}] for number in range(count)]
    body = listed_body(epoch, offset, [pack(change) for change in changes])
    assert parse(decode(listed(ref, ask, body))) == Listed(ref, ask, epoch, offset, changes)
