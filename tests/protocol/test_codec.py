"""Bytes to values and back: whatever the bytes, a value within the limits or BadMessage, and little memory."""

import math
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import (
    BadMessage,
    Limits,
    PayloadError,
    UnknownKind,
    decoder,
    download_decoder,
    pack,
    pack_payload,
    parse,
    upload_decoder,
)

LIMITS = Limits()
upload = upload_decoder(LIMITS)
download = download_decoder(LIMITS)

names = st.sampled_from(["", "x", "name", "ключ", "🙂", "a" * 40])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | names
    | st.binary(max_size=40)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names, inner, max_size=5), max_leaves=15
)


def levels(value: object) -> int:
    """How many containers are within each other."""
    if isinstance(value, list | tuple):
        return 1 + max(map(levels, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(levels, value.values()), default=0)
    return 0


def nested(depth: int, core: object = None) -> object:
    """``depth`` containers, lists and maps by turns."""
    for level in range(depth):
        core = [core] if level % 2 else {"k": core}
    return core


def same(one: object, other: object) -> bool:
    """Equal in value and in every type: 1, 1.0 and True differ."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    return one == other


# --- round trips -------------------------------------------------------------------------------------------------


@given(values)
@settings(max_examples=150, deadline=None)
def test_what_is_packed_comes_back(value: object) -> None:
    assert same(upload(pack(value)), value)
    assert same(download(pack(value)), value)
    assert pack_payload(value, 1 << 20, 16) == pack(value)


def widen(data: st.DataObject, value: object) -> bytes:
    """Encode ``value`` with any of the widths that msgpack allows, as other languages' encoders do."""

    def sized(length: int, heads: dict[int, bytes], small: tuple[int, int] | None) -> bytes:
        """A length with one of the heads that can hold it: {bytes of the length: head byte}."""
        options = [head + length.to_bytes(width, "big") for width, head in heads.items() if length < 1 << (8 * width)]
        if small is not None and length < small[1]:
            options.append(bytes([small[0] | length]))
        return data.draw(st.sampled_from(options))

    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        options = []
        for code, form in (
            (0xCC, "B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q"),
            (0xD0, "b"), (0xD1, ">h"), (0xD2, ">i"), (0xD3, ">q"),
        ):  # fmt: skip
            try:
                options.append(bytes([code]) + struct.pack(form, value))
            except struct.error:
                continue
        if -32 <= value < 128:
            options.append(struct.pack("b", value))
        return data.draw(st.sampled_from(options))
    if isinstance(value, float):
        single = struct.unpack(">f", struct.pack(">f", value))[0] if math.isinf(value) or abs(value) < 1e38 else None
        if single == value and data.draw(st.booleans()):
            return b"\xca" + struct.pack(">f", value)
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        encoded = value.encode()
        return sized(len(encoded), {1: b"\xd9", 2: b"\xda", 4: b"\xdb"}, (0xA0, 32)) + encoded
    if isinstance(value, bytes):
        return sized(len(value), {1: b"\xc4", 2: b"\xc5", 4: b"\xc6"}, None) + value
    if isinstance(value, list):
        head = sized(len(value), {2: b"\xdc", 4: b"\xdd"}, (0x90, 16))
        return head + b"".join(widen(data, item) for item in value)
    assert isinstance(value, dict)
    head = sized(len(value), {2: b"\xde", 4: b"\xdf"}, (0x80, 16))
    return head + b"".join(widen(data, key) + widen(data, item) for key, item in value.items())


@given(st.data(), values)
@settings(max_examples=100, deadline=None)
def test_any_valid_encoding_is_accepted(data: st.DataObject, value: object) -> None:
    assert same(upload(widen(data, value)), value)


# --- limits ------------------------------------------------------------------------------------------------------


def test_each_limit_of_a_decoder_is_exact() -> None:
    decode = decoder(array=3, map=2, nesting=4, text=5)
    assert decode(pack([1, 2, 3])) == [1, 2, 3]
    assert decode(pack({"a": 1, "b": 2})) == {"a": 1, "b": 2}
    assert decode(pack("12345")) == "12345"
    assert decode(pack(b"12345")) == b"12345"
    for over in ([1, 2, 3, 4], {"a": 1, "b": 2, "c": 3}, "123456", b"123456", {"123456": 1}, "€€"):
        with pytest.raises(BadMessage):
            decode(pack(over))


@pytest.mark.parametrize("core", [None, "text", 5, [], {}])
@pytest.mark.parametrize("breadth", [0, 30])
def test_nesting_is_exact(core: object, breadth: int) -> None:
    """With many siblings as well: what a frame's bytes suggest is only a first guess."""
    decode = decoder(array=100, map=100, nesting=6, text=100)
    fits = nested(6 - levels(core), core)
    over = nested(7 - levels(core), core)
    assert levels(fits) == 6
    assert decode(pack(fits)) == fits
    wide = [fits_inner := nested(5), *([[]] * breadth)]
    assert decode(pack(wide)) == wide
    assert levels(fits_inner) == 5
    for value in (over, [*([[]] * breadth), nested(6)], {"a": [1] * breadth, "b": nested(6)}):
        with pytest.raises(BadMessage):
            decode(pack(value))


@pytest.mark.parametrize(
    "opening",
    [b"\x91", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01"]
    + [head + b"\xa1k" for head in (b"\x81", b"\xde\x00\x01", b"\xdf\x00\x00\x00\x01")],
    ids=lambda opening: opening.hex(),
)
def test_nesting_is_exact_in_every_encoding(opening: bytes) -> None:
    decode = decoder(array=100, map=100, nesting=6, text=100)
    assert levels(decode(opening * 6 + b"\xc0")) == 6
    with pytest.raises(BadMessage):
        decode(opening * 7 + b"\xc0")


@given(values)
@settings(max_examples=100, deadline=None)
def test_nesting_is_what_a_count_says(value: object) -> None:
    for most in range(1, 5):
        decode = decoder(array=100, map=100, nesting=most, text=100)
        if levels(value) <= most:
            assert same(decode(pack(value)), value)
            assert pack_payload(value, 1 << 20, most) == pack(value)
        else:
            with pytest.raises(BadMessage):
                decode(pack(value))
            with pytest.raises(PayloadError):
                pack_payload(value, 1 << 20, most)


def test_a_full_payload_fits_into_the_messages_that_carry_it() -> None:
    """The nesting limit is the payload's own: what carries it is not counted."""
    deepest = nested(LIMITS.nesting)
    pack_payload(deepest, LIMITS.upload, LIMITS.nesting)
    assert upload(pack([40, 1, 1, "t", deepest])) == [40, 1, 1, "t", deepest]
    assert download(pack([43, 1, 1, 0, [[0, "t", deepest]]])) == [43, 1, 1, 0, [[0, "t", deepest]]]
    with pytest.raises(BadMessage):
        upload(pack([40, 1, 1, "t", [deepest]]))
    with pytest.raises(BadMessage):
        download(pack([43, 1, 1, 0, [[0, "t", [deepest]]]]))


def test_upload_bounds_arrays_and_maps_and_download_only_the_frame() -> None:
    long, broad = [0] * (LIMITS.array + 1), {str(key): 0 for key in range(LIMITS.map + 1)}
    assert upload(pack(long[1:])) == long[1:]
    broad_enough = dict(list(broad.items())[1:])
    assert upload(pack(broad_enough)) == broad_enough
    for value in (long, broad):
        with pytest.raises(BadMessage):
            upload(pack(value))
        assert download(pack(value)) == value


# --- what is no message ------------------------------------------------------------------------------------------

SAMPLE = pack([40, 7, 1, "move", {"x": 1.5, "who": ["a", b"b"], "none": None}])


@pytest.mark.parametrize("decode", [upload, download])
def test_every_truncation_is_refused(decode: Callable[[bytes], Any]) -> None:
    for length in range(len(SAMPLE)):
        with pytest.raises(BadMessage):
            decode(SAMPLE[:length])


@pytest.mark.parametrize("decode", [upload, download])
@pytest.mark.parametrize("trailing", [b"\x00", b"\xc0", b"\xc1", SAMPLE])
def test_trailing_bytes_are_refused(decode: Callable[[bytes], Any], trailing: bytes) -> None:
    with pytest.raises(BadMessage):
        decode(SAMPLE + trailing)


EXTENSIONS = {
    "fixext1": b"\xd4\x01a",
    "fixext2": b"\xd5\x01aa",
    "fixext4, a timestamp": b"\xd6\xff\x00\x00\x00\x01",
    "fixext8, a timestamp": b"\xd7\xff" + bytes(8),
    "fixext16": b"\xd8\x01" + bytes(16),
    "ext8": b"\xc7\x01\x05a",
    "ext8, a timestamp": b"\xc7\x0c\xff" + bytes(12),
    "ext8, empty": b"\xc7\x00\x01",
    "ext8, an empty timestamp": b"\xc7\x00\xff",
    "ext16, empty": b"\xc8\x00\x00\x01",
    "ext32, empty": b"\xc9\x00\x00\x00\x00\x01",
    "ext32": b"\xc9\x00\x00\x00\x01\x01a",
}
KEYS = {
    "int": b"\x81\x01\xc0",
    "nil": b"\x81\xc0\xc0",
    "bool": b"\x81\xc3\xc0",
    "float": b"\x81\xca\x00\x00\x00\x00\xc0",
    "array": b"\x81\x90\xc0",
    "map": b"\x81\x80\xc0",
    "extension": b"\x81\xd4\x01a\xc0",
}
BROKEN = {
    "nothing": b"",
    "the byte that msgpack never uses": b"\xc1",
    "text that is not UTF-8": b"\xa1\xff",
    "a surrogate in UTF-8": b"\xa3\xed\xa0\x80",
    "a key that is not UTF-8": b"\x81\xa1\xff\xc0",
}


@pytest.mark.parametrize("decode", [upload, download])
@pytest.mark.parametrize(
    "frame", [pytest.param(frame, id=name) for cases in (EXTENSIONS, KEYS, BROKEN) for name, frame in cases.items()]
)
def test_what_the_protocol_does_not_know_is_refused(decode: Callable[[bytes], Any], frame: bytes) -> None:
    for wrapped in (frame, b"\x91" + frame, b"\x81\xa1k" + frame):
        with pytest.raises(BadMessage):
            decode(wrapped)


HOSTILE = {
    "an array that announces 2^32 - 1 elements": b"\xdd\xff\xff\xff\xff",
    "an array one element over": b"\xdc" + (LIMITS.array + 1).to_bytes(2, "big") + b"\xc0" * (LIMITS.array + 1),
    "a map that announces 2^32 - 1 pairs": b"\xdf\xff\xff\xff\xff\xa1a",
    "text that announces 4 GiB": b"\xdb\xff\xff\xff\xff" + b"a" * 100,
    "bytes that announce 4 GiB": b"\xc6\xff\xff\xff\xff" + b"a" * 100,
    "an extension that announces 4 GiB": b"\xc9\xff\xff\xff\xff\x01",
    "64 KiB of array openings": b"\x91" * LIMITS.upload,
    "64 KiB of map openings": b"\x81\xa1a" * (LIMITS.upload // 3),
    "full arrays announced within each other": b"\xdc\x04\x00" * (LIMITS.upload // 3),
    "the same with four-byte lengths": b"\xdd\x00\x00\x04\x00" * (LIMITS.upload // 5),
    "full maps announced within each other": b"\xde\x01\x00\xa1a" * (LIMITS.upload // 5),
    "40 levels": b"\x91" * 40 + b"\x90",
    "500 levels": b"\x91" * 500 + b"\x90",
}


def peak_of(decode: Callable[[bytes], Any], frame: bytes) -> int:
    """Bytes that decoding takes at its worst moment."""
    tracemalloc.start()
    try:
        with suppress(BadMessage):
            decode(frame)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("frame", [pytest.param(frame, id=name) for name, frame in HOSTILE.items()])
def test_hostile_frames_are_refused_in_little_memory(frame: bytes) -> None:
    assert len(frame) <= LIMITS.upload
    with pytest.raises(BadMessage):
        upload(frame)
    # 8 MiB is a list of 1,024 places on each of the 1,024 levels that msgpack's stack has.
    assert peak_of(upload, frame) < 10 << 20


@pytest.mark.parametrize("frame", [pytest.param(frame, id=name) for name, frame in HOSTILE.items()])
def test_a_hostile_server_costs_its_client_bounded_memory(frame: bytes) -> None:
    assert peak_of(download, frame) < 100 << 20


@pytest.mark.parametrize("filling", [b"\x80", b"\x90", b"\xa0", b"\xc4\x00", b"\xcb" + bytes(8)])
def test_the_largest_honest_frame_takes_little_memory(filling: bytes) -> None:
    inner = b"\xdc\x03\xff" + filling * 1023
    frame = b"\xdc" + (LIMITS.upload // len(inner)).to_bytes(2, "big") + inner * (LIMITS.upload // len(inner))
    assert isinstance(upload(frame), list)
    assert peak_of(upload, frame) < 10 << 20


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_parse_or_are_refused(frame: bytes) -> None:
    for decode in (upload, download):
        with suppress(BadMessage, UnknownKind):
            parse(decode(frame))


@given(st.data(), st.lists(values, max_size=8), st.integers(0, 45))
@settings(max_examples=120, deadline=None)
def test_damaged_messages_parse_or_are_refused(data: st.DataObject, fields: list[object], kind: int) -> None:
    frame = bytearray(pack([kind, *fields]))
    for _ in range(data.draw(st.integers(0, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadMessage, UnknownKind):
        parse(upload(bytes(frame)))


# --- what is ours to send ----------------------------------------------------------------------------------------


class Point(NamedTuple):
    x: int
    y: int


def test_payloads_may_hold_what_python_programs_hold() -> None:
    given_ = {"tuple": (1, 2), "point": Point(1, 2), "array": bytearray(b"ab"), "key": {b"bytes": None}}
    assert upload(pack_payload(given_, 1000, 16)) == {
        "tuple": [1, 2],
        "point": [1, 2],
        "array": b"ab",
        "key": {b"bytes": None},
    }


def endless() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        1j,
        1 << 64,
        -(1 << 63) - 1,
        "\ud800",
        endless(),
        nested(2000),
        print,
        msgpack.ExtType(1, b"a"),
        msgpack.ExtType(1, b""),
        msgpack.Timestamp(1, 2),
        {1: "a member's id as a key"},
        {None: 1},
        {True: 1},
        {1.5: 1},
        {(1, 2): 1},
        {"deep": [{"x": {2: 3}}]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_receivers_would_refuse_is_refused_before_it_is_sent(value: object) -> None:
    for payload in (value, ["t", value], ("t", {"k": value})):
        with pytest.raises(PayloadError):
            pack_payload(payload, 1 << 20, 3000)


@given(values | st.dictionaries(scalars, scalars, max_size=3))
@settings(max_examples=120, deadline=None)
def test_what_is_sent_is_always_readable(value: object) -> None:
    try:
        frame = pack_payload(value, LIMITS.upload, LIMITS.nesting)
    except PayloadError:
        return
    upload(frame)


def test_a_payload_over_the_bytes_is_refused() -> None:
    assert len(pack_payload("x" * 98, 100, 1)) == 100
    with pytest.raises(PayloadError, match="101 bytes are over the limit of 100"):
        pack_payload("x" * 99, 100, 1)


def test_a_payload_fits_the_limits_of_whoever_receives_it() -> None:
    """A frame over these could not be decoded: its number would be missing for ever."""
    limits = Limits(array=20, map=5)
    receive = upload_decoder(limits)
    for fits in ([0] * 20, {str(key): 0 for key in range(5)}, [[0] * 20] * 20, "x" * 50):
        receive(pack_payload(("t", fits), 1000, 16, limits))
        receive(pack_payload(fits, 1000, 16, limits))
    for over in (
        [0] * 21,
        {str(key): 0 for key in range(6)},
        {"deep": [[0] * 21]},
        [{str(key): 0 for key in range(20)}],
    ):
        for payload in (over, ("t", over)):
            pack_payload(payload, 1000, 16)
            with pytest.raises(PayloadError, match="receivers refuse it"):
                pack_payload(payload, 1000, 16, limits)


def test_a_failure_leaves_nothing_behind_in_the_shared_packer() -> None:
    before = pack(["a", 1])
    for packing in (pack, lambda value: pack_payload(value, 1000, 16)):
        with pytest.raises((TypeError, PayloadError)):
            packing(["half of this", {"is": "encoded", "before": object()}])
        assert pack(["a", 1]) == before


def test_errors_tell_what_to_do_and_repeat_nothing_of_the_peer() -> None:
    with pytest.raises(PayloadError, match="Send numbers, text, bytes, lists and maps"):
        pack_payload({1, 2}, 1000, 16)
    with pytest.raises(BadMessage) as caught:
        upload(b"\x92\xa6secret")
    assert "secret" not in str(caught.value)
