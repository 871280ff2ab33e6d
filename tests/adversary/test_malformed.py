# pyright: reportArgumentType=false, reportAssignmentType=false, reportOperatorIssue=false
# (msgpack has no types: what packb returns is unknown.)
"""Frames that are no messages, and messages that are not what the protocol describes."""

import random
import struct
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from .target import SECRET, Target
from .wire import (
    ACK,
    ASSIGNED,
    CANCEL,
    CREATE,
    DELIVER,
    ENDPOINTS,
    ERROR,
    GOODBYE,
    HELLO,
    JOIN,
    JOIN_BY_ID,
    JOIN_OR_CREATE,
    JOIN_WHERE,
    JOINED,
    LEAVE,
    LEFT,
    LIST,
    LISTED,
    MATCH,
    MORE,
    PING,
    PONG,
    RECOVER,
    REKEYED,
    REQUEST,
    RESET,
    RESUME,
    ROOM_LOST,
    ROOMS,
    SEND,
    TICKET,
    UNWATCH,
    WATCH,
    WELCOME,
    Gone,
    Zmtp,
    framed,
    peer,
)

AT_ONCE = 1.5
"""Seconds: less than the silence after which the server gives anybody up."""

BAD_MESSAGE, UNKNOWN_KIND, TOO_LARGE, RATE_LIMITED, NOT_A_MEMBER = range(1000, 1005)


def packed(*fields: Any) -> bytes:
    data: bytes = msgpack.packb(fields)
    return data


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


SECRET16 = bytes(16)
ID = "0" * 32

NOT_A_VALUE = {
    "empty": b"",
    "nil": b"\xc0",
    "never used byte": b"\xc1",
    "empty array": b"\x90",
    "number": b"\x01",
    "map": b"\x81\x01\x02",
    "text": b"\xa5hello",
    "truncated": packed(PING, 7)[:-1],
    "truncated text": b"\x92\x04\xdb\xff\xff\xff\xff",
    "huge array": b"\xdd\xff\xff\xff\xff",
    "huge map": b"\x92\x04\xdf\xff\xff\xff\xff",
    "huge binary": b"\x92\x04\xc6\xff\xff\xff\xff",
    "huge extension": b"\x92\x04\xc9\xff\xff\xff\xff\x01",
    "two values": packed(PING, 1) + packed(PING, 2),
    "bytes behind": packed(PING, 1) + b"\x00",
    "not UTF-8": b"\x93\x14\x01\xa2\xff\xfe",
    "surrogate": b"\x93\x14\x01\xa3\xed\xa0\x80",
    "extension": b"\x92\x04" + msgpack.packb(msgpack.ExtType(5, b"x")),
    "empty extension": b"\x92\x04\xc7\x00\x05",
    "timestamp": b"\x92\x04\xd6\xff\x00\x00\x00\x00",
    "deeply nested": packed(PING, nested(40)),
    "very deeply nested": b"\x91" * 600 + b"\x00",
    "60,000 deep": b"\x91" * 60_000 + b"\x00",
    "map with a number as key": b"\x95\x28\x01\x01\xa1t\x81\x01\x02",
    "map with nil as key": b"\x95\x28\x01\x01\xa1t\x81\xc0\x02",
    "map with an array as key": b"\x95\x28\x01\x01\xa1t\x81\x91\x01\x02",
    "long array": packed(SEND, 1, 1, "t", [0] * 1025),
    "wide map": packed(SEND, 1, 1, "t", {str(key): key for key in range(257)}),
    "1,025 fields": packed(*([PING] * 1025)),
}

WRONG = {
    "kind is text": ("4", 1),
    "kind is true": (True, 1),
    "kind is a float": (4.0, 1),
    "kind is nil": (None, 1),
    "kind is an array": ([4], 1),
    "PING without number": (PING,),
    "PING with a field too many": (PING, 1, 1),
    "PING with a float": (PING, 1.0),
    "PING with a bool": (PING, True),
    "PING with NaN": (PING, float("nan")),
    "PING with -1": (PING, -1),
    "PING with 2^53": (PING, 2**53),
    "PING with 2^64-1": (PING, 2**64 - 1),
    "HELLO with no versions": (HELLO, 1, [], "x", {}),
    "HELLO with 17 versions": (HELLO, 1, [1] * 17, "x", {}),
    "HELLO with a version of text": (HELLO, 1, ["1"], "x", {}),
    "HELLO with a version of -1": (HELLO, 1, [-1], "x", {}),
    "HELLO with a version of 2^16": (HELLO, 1, [2**16], "x", {}),
    "HELLO with true as version": (HELLO, 1, [True], "x", {}),
    "HELLO with a version alone": (HELLO, 1, 1, "x", {}),
    "HELLO with a long name": (HELLO, 1, [1], "x" * 65, {}),
    "HELLO with a binary name": (HELLO, 1, [1], b"x", {}),
    "HELLO with options of an array": (HELLO, 1, [1], "x", []),
    "HELLO with binary option names": (HELLO, 1, [1], "x", {b"a": 1}),
    "HELLO with an ask of 2^32": (HELLO, 2**32, [1], "x", {}),
    "RESUME with a token of 15 bytes": (RESUME, 1, [1], ID, bytes(15), 0, {}),
    "RESUME with a token of text": (RESUME, 1, [1], ID, "0" * 16, 0, {}),
    "RESUME with a long session": (RESUME, 1, [1], "0" * 33, SECRET16, 0, {}),
    "RESUME with a session of bin": (RESUME, 1, [1], bytes(32), SECRET16, 0, {}),
    "RESUME without options": (RESUME, 1, [1], ID, SECRET16, 0),
    "RESUME with options of an array": (RESUME, 1, [1], ID, SECRET16, 0, []),
    "RESUME with a direct of nil": (RESUME, 1, [1], ID, SECRET16, None, {}),
    "MATCH with a ruleset of a map": (MATCH, 1, 1, {}, {}, 1.0),
    "MATCH with a timeout of 0": (MATCH, 1, 1, [2, None, {}], {}, 0),
    "MATCH with a timeout of -1": (MATCH, 1, 1, [2, None, {}], {}, -1.0),
    "MATCH with a timeout of NaN": (MATCH, 1, 1, [2, None, {}], {}, float("nan")),
    "MATCH with a timeout of infinity": (MATCH, 1, 1, [2, None, {}], {}, float("inf")),
    "MATCH with a timeout of true": (MATCH, 1, 1, [2, None, {}], {}, True),
    "MATCH with a timeout of 10^9": (MATCH, 1, 1, [2, None, {}], {}, 1e9),
    "MATCH with a timeout of text": (MATCH, 1, 1, [2, None, {}], {}, "1"),
    "MATCH with a ref of -1": (MATCH, -1, 1, [2, None, {}], {}, 1.0),
    "JOIN with a reservation of 17 bytes": (JOIN, 1, ID, bytes(17), {}),
    "JOIN with a room of 33 characters": (JOIN, 1, "0" * 33, SECRET16, {}),
    "JOIN with nil as room": (JOIN, 1, None, SECRET16, {}),
    "RECOVER with a negative offset": (RECOVER, 1, ID, SECRET16, 1, -1, 0),
    "RECOVER with a float offset": (RECOVER, 1, ID, SECRET16, 1, 1.5, 0),
    "LEAVE with a ref of 2^32": (LEAVE, 2**32),
    "LEAVE with nothing": (LEAVE,),
    "ACK with text": (ACK, 1, "1"),
    "CANCEL with nil": (CANCEL, 1, None),
    "LIST with a long type": (LIST, 1, 1, "x" * 65, {}),
    "LIST with a filter of nil": (LIST, 1, 1, None, None),
    "CREATE with access of text": (CREATE, 1, 1, [2, None, {}], {}, "private"),
    "JOIN_OR_CREATE with a filter that is an array": (JOIN_OR_CREATE, 1, 1, [2, None, {}], [], {}),
    "JOIN_OR_CREATE without options": (JOIN_OR_CREATE, 1, 1, [2, None, {}], {}),
    "JOIN_WHERE of no type": (JOIN_WHERE, 1, 1, None, {}, {}),
    "WATCH from a negative place": (WATCH, 1, 1, None, {}, 0, -1),
    "WATCH with an epoch of text": (WATCH, 1, 1, None, {}, "1", 0),
    "UNWATCH of nothing": (UNWATCH, 1),
    "LIST with a number as type": (LIST, 1, 1, 5, {}),
    "GOODBYE with a code of 2^16": (GOODBYE, 1, 2**16, ""),
    "GOODBYE with a long text": (GOODBYE, 1, 3004, "x" * 513),
    "CREATE with options of nil": (CREATE, 1, 1, [2, None, {}], None),
    "JOIN_BY_ID with a number": (JOIN_BY_ID, 1, 1, 5, {}, {}),
    "SEND with too few fields": (SEND, 1, 1),
    "REQUEST with too many fields": (REQUEST, 1, 1, "t", 1, "t", 2),
}

UNKNOWN: dict[str, tuple[Any, ...]] = {
    **{f"kind {kind}": (kind, 1) for kind in (0, 8, 15, 39, 44, 63, 85, 127, 128, 255, 10**6, 2**32, 2**63)},
    **{f"kind {kind}": (kind, 1) for kind in (-1, -32, -(2**31), -(2**63))},
    "WELCOME": (WELCOME, 1, 1, 1, ID, SECRET16, 1, "", 1, 0, 0, False, {}),
    "PONG": (PONG, 1),
    "ERROR": (ERROR, 0, 0, 1000, "", None),
    "TICKET": (TICKET, 1, 1, 1.0),
    "ASSIGNED": (ASSIGNED, 1, 1, ID, None, SECRET16, 1.0),
    "ROOMS": (ROOMS, 1, 1, []),
    "ROOM_LOST": (ROOM_LOST, 1, ID, 2102, ""),
    "ENDPOINTS": (ENDPOINTS, 1, 1, []),
    "LISTED": (LISTED, 1, 1, 1, 0, []),
    "JOINED": (JOINED, 1, 1, ID, "t", 1, 0, 0, 0, SECRET16, None, {}),
    "RESET": (RESET, 1, 1, 0, 0, None),
    "LEFT": (LEFT, 1, 3100, "", 0, 0),
    "REKEYED": (REKEYED, 1),
    "DELIVER": (DELIVER, 1, 0, 0, [[0, "message", "forged"]]),
}


def codes_of(target: Target, frames: list[bytes], *, in_session: bool) -> list[int]:
    """The code that each frame is refused with: one connection for each two dozen of them."""
    codes: list[int] = []
    for start in range(0, len(frames), 24):
        with peer(target.address) as one:
            if in_session:
                one.hello()
            for frame in frames[start : start + 24]:
                one.link.send(frame)
                answers = one.all()
                assert [answer[0] for answer in answers] == [ERROR], (frame[:60], answers)
                assert answers[0][1:3] == [0, 0] or in_session or answers[0][1] in (0, 1)
                codes.append(answers[0][3])
            assert SECRET not in b"".join(one.heard)
    return codes


@pytest.mark.parametrize("in_session", [False, True], ids=["a stranger", "a client"])
def test_what_is_no_value_within_the_limits_is_a_bad_message(target: Target, in_session: bool) -> None:
    before = target.counted("BadMessage")
    with target.watched():
        codes = codes_of(target, list(NOT_A_VALUE.values()), in_session=in_session)
    assert dict(zip(NOT_A_VALUE, codes, strict=True)) == dict.fromkeys(NOT_A_VALUE, BAD_MESSAGE)
    assert target.counted("BadMessage") - before == len(NOT_A_VALUE)


@pytest.mark.parametrize("in_session", [False, True], ids=["a stranger", "a client"])
def test_fields_of_wrong_number_type_or_size_are_a_bad_message(target: Target, in_session: bool) -> None:
    with target.watched():
        codes = codes_of(target, [packed(*fields) for fields in WRONG.values()], in_session=in_session)
    assert dict(zip(WRONG, codes, strict=True)) == dict.fromkeys(WRONG, BAD_MESSAGE)


@pytest.mark.parametrize("in_session", [False, True], ids=["a stranger", "a client"])
def test_kinds_that_are_none_or_go_the_other_way_are_unknown(target: Target, in_session: bool) -> None:
    with target.watched():
        codes = codes_of(target, [packed(*fields) for fields in UNKNOWN.values()], in_session=in_session)
    assert dict(zip(UNKNOWN, codes, strict=True)) == dict.fromkeys(UNKNOWN, UNKNOWN_KIND)


def test_messages_in_a_room_are_checked_as_strictly(target: Target) -> None:
    with target.watched(), peer(target.address) as one:
        yard = one.hello().create("yard")
        ref = yard.ref
        refused: dict[str, tuple[tuple[Any, ...], int]] = {
            "number 0": ((SEND, ref, 0, "t", 1), BAD_MESSAGE),
            "number -1": ((SEND, ref, -1, "t", 1), BAD_MESSAGE),
            "number true": ((SEND, ref, True, "t", 1), BAD_MESSAGE),
            "number 1.0": ((SEND, ref, 1.0, "t", 1), BAD_MESSAGE),
            "number NaN": ((SEND, ref, float("nan"), "t", 1), BAD_MESSAGE),
            "number nil": ((SEND, ref, None, "t", 1), BAD_MESSAGE),
            "number of text": ((SEND, ref, "1", "t", 1), BAD_MESSAGE),
            "number of an array": ((SEND, ref, [1], "t", 1), BAD_MESSAGE),
            "number ahead": ((SEND, ref, 3, "t", 1), 1005),
            "number far ahead": ((SEND, ref, 2**64 - 1, "t", 1), 1005),
            "request number true": ((REQUEST, ref, True, "echo", 1), BAD_MESSAGE),
            "request number 1.0": ((REQUEST, ref, 1.0, "echo", 1), BAD_MESSAGE),
            "ref true": ((SEND, True, 1, "t", 1), BAD_MESSAGE),
            "ref float": ((SEND, float(ref), 1, "t", 1), BAD_MESSAGE),
            "data nested too deep": ((SEND, ref, 1, "t", nested(17)), BAD_MESSAGE),
            "an array too long": ((SEND, ref, 1, "t", [0] * 1025), BAD_MESSAGE),
            "a map too wide": ((SEND, ref, 1, "t", {str(key): 1 for key in range(257)}), BAD_MESSAGE),
            "keys of numbers": ((SEND, ref, 1, "t", {1: 1}), BAD_MESSAGE),
            "pair without data": ((SEND, ref, 1, "t", 1, "t"), BAD_MESSAGE),
            "pairs with number true": ((SEND, ref, True, "t", 1, "t", 1), BAD_MESSAGE),
            "pairs with number nil": ((SEND, ref, None, "t", 1, "t", 1), BAD_MESSAGE),
        }
        for why, (fields, code) in refused.items():
            one.say(*fields)
            answers = [answer for answer in one.all() if answer[0] != DELIVER]
            assert [(answer[0], answer[3]) for answer in answers] == [(ERROR, code)], (why, answers)
        used: dict[str, tuple[Any, ...]] = {
            "type nil": (None, 1),
            "type of bin": (b"t", 1),
            "type too long": ("t" * 65, 1),
            "type of a map": ({}, 1),
        }
        for why, (name, data) in used.items():
            number = yard.send(name, data)  # its number is used up all the same
            answers = [answer for answer in one.all() if answer[0] != DELIVER]
            assert [answer[1:4] for answer in answers] == [[ref, number, BAD_MESSAGE]], why
        yard.send("move", {"x": "no number"})
        assert one.error() == 1033
        yard.send("move", {"x": nested(15)})
        assert one.error() == 1033
        one.say(SEND, ref, yard.number, "message", "sent again")
        yard.send("message", "after all that")
        messages = [one.wait(DELIVER), *one.all()]  # a bundle leaves at the end of its turn
        assert [items for _, _, _, _, items in messages] == [[[0, "message", "after all that"]]]


def test_frames_at_their_limit_pass_and_one_byte_more_does_not(target: Target) -> None:
    with target.watched(), peer(target.address) as one:
        yard = one.hello().create("yard")
        head = len(packed(SEND, yard.ref, 1, "message", b"x" * 60_000)) - 60_000
        yard.send("message", b"x" * (65_536 - head))
        assert len(one.wait(DELIVER)[4][0][2]) == 65_536 - head
        yard.send("message", b"x" * (65_536 - head + 1))
        assert isinstance(one.link, Zmtp)
        assert one.link.is_cut(AT_ONCE)
    with peer(target.address) as one:
        one.hello()
        for size, code in ((16_300, 1010), (16_500, TOO_LARGE), (60_000, TOO_LARGE)):
            answer = one.ask(CREATE, [2, "nowhere", {}], {"x": "y" * size}, {})
            assert answer[3] == code
    target.settles()


def test_an_oversized_frame_costs_its_sender_the_connection_and_nobody_else(target: Target) -> None:
    memory = target.memory()
    with target.watched():
        for size in (65_537, 10**6, 2**31, 2**40, 2**63 - 1, 2**63, 2**64 - 1):
            with peer(target.address) as one:
                one.hello()
                assert isinstance(one.link, Zmtp)
                one.link.raw(bytes((2,)) + struct.pack(">Q", size) + b"x" * 1000)  # announced, never sent
                assert one.link.is_cut(AT_ONCE)
    target.settles()
    assert target.memory() - memory < 8 * 1024 * 1024


def test_messages_of_several_frames_are_a_violation(target: Target) -> None:
    with target.watched():
        for parts in (2, 3, 100):
            with peer(target.address) as one:
                one.hello()
                assert isinstance(one.link, Zmtp)
                one.link.raw(framed(packed(PING, 1), MORE) * (parts - 1) + framed(packed(PING, 1)))
                assert one.link.is_cut(AT_ONCE)
        counted = target.counted("ProtocolViolation")
        assert counted >= 3
        for first in (b"", packed(HELLO, 1, [1], "x", {})):  # by somebody who has not been heard before
            with peer(target.address) as one:
                assert isinstance(one.link, Zmtp)
                one.link.raw(framed(first, MORE) + framed(packed(PING, 1)))
                assert one.link.is_cut(AT_ONCE)
    target.settles()


def test_other_versions_are_told_apart(target: Target) -> None:
    with target.watched():
        for versions in ([0], [2], [2, 3, 65_535], [65_535] * 16):
            with peer(target.address) as one:
                one.say(HELLO, 1, versions, "from the future", {})
                assert one.wait(GOODBYE)[1:3] == [0, 3000]
                one.say(RESUME, 1, versions, ID, SECRET16, 0, {})
                assert one.wait(GOODBYE)[1:3] == [0, 3000]
        with peer(target.address) as one:
            one.say(HELLO, 1, [7, 1, 0], "from the future", {})
            assert one.wait(WELCOME)[2] == 1


BAD_RULESETS: list[Any] = [
    [],
    [2],
    [2, None],
    [2, None, {}, 1],
    [0, None, {}],
    [-1, None, {}],
    [100_001, None, {}],
    [2**63, None, {}],
    [2.0, None, {}],
    [True, None, {}],
    ["2", None, {}],
    [None, None, {}],
    [2, "", {}],
    [2, "x" * 65, {}],
    [2, b"yard", {}],
    [2, 5, {}],
    [2, None, None],
    [2, None, []],
    [2, None, {"x": []}],
    [2, None, {"x": {}}],
    [2, None, {"x" * 65: 1}],
    [2, None, {b"x": 1}],
    [2, None, {"self": 1}],
    [2, None, {"clients": 3}],
    [2, None, {"room": "vault"}],
    [2, None, {str(key): key for key in range(33)}],
    [2, None, {"x": "y" * 5000}],
]


@pytest.mark.parametrize("kind", [MATCH, CREATE])
def test_rulesets_of_wrong_types_and_sizes(target: Target, kind: int) -> None:
    with target.watched():
        for start in range(0, len(BAD_RULESETS), 20):
            with peer(target.address) as one:
                one.hello()
                for ruleset in BAD_RULESETS[start : start + 20]:
                    rest: tuple[Any, ...] = (ruleset, {}, 5.0) if kind == MATCH else (ruleset, {}, {})
                    assert one.ask(kind, *rest)[3] == BAD_MESSAGE, ruleset
    assert target.stats()["tickets"] == 0


def test_odd_rulesets_that_are_allowed_do_no_harm(target: Target) -> None:
    odd: list[dict[str, Any]] = [
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": 2**64 - 1},
        {"": None},
        {"__class__": "x", "__init__": b"\0"},
        {"x; import os": "y" * 3000},
    ]
    with target.watched():
        for criteria in odd:
            with peer(target.address) as one:
                assert one.hello().ask(CREATE, [2, "yard", criteria], {"__class__": 1}, {})[0] == ASSIGNED
        with peer(target.address) as one:
            one.hello()
            for name in ("vault ", "../vault", "Vault", "__main__", "os:system"):
                assert one.ask(CREATE, [2, name, {}], {}, {})[3] == 1010
    target.settles()


def random_value(rng: random.Random, depth: int = 0) -> Any:
    """Any value that msgpack can encode."""
    scalars: list[Callable[[], Any]] = [
        lambda: None,
        lambda: rng.random() < 0.5,
        lambda: rng.choice([0, 1, -1, 127, 255, 2**16, 2**31, 2**32, 2**53, 2**63, 2**64 - 1, -(2**63)]),
        lambda: rng.choice([0.0, 1.0, -1.5, float("nan"), float("inf"), 1e308]),
        lambda: "".join(chr(rng.choice([65, 233, 0x4E2D, 0x1F600, 0])) for _ in range(rng.randrange(70))),
        lambda: rng.randbytes(rng.choice([0, 1, 15, 16, 17, 300])),
    ]
    if depth > 3 or rng.random() < 0.6:
        return rng.choice(scalars)()
    if rng.random() < 0.5:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(6))]
    return {str(rng.randrange(9)): random_value(rng, depth + 1) for _ in range(rng.randrange(5))}


def random_frame(rng: random.Random, ref: int, number: int) -> bytes:
    """Bytes at random, values at random, or a good message that is changed a little."""
    good: list[tuple[Any, ...]] = [
        (SEND, ref, number, "message", {"x": [1, 2, "three"]}),
        (REQUEST, ref, number, "echo", [1, 2, 3]),
        (PING, 5),
        (MATCH, ref, 9, [2, "yard", {"a": 1}], {}, 3.0),
        (CREATE, ref, 9, [2, "yard", {}], {"a": [1]}, {}),
        (JOIN, 9, ID, SECRET16, {}),
        (RECOVER, 9, ID, SECRET16, 1, 2, 3),
        (ACK, ref, 1),
        (LIST, ref, 9, None, {}),
        (RESUME, 9, [1], ID, SECRET16, 0, {}),
        (CANCEL, ref, 9),
    ]
    way = rng.random()
    if way < 0.2:
        return rng.randbytes(rng.choice([1, 2, 5, 20, 100, 1000]))
    fields = list(rng.choice(good))
    if way < 0.5:
        fields[rng.randrange(len(fields))] = random_value(rng)
        return packed(*fields)
    if way < 0.6:
        return packed(rng.randrange(50), *(random_value(rng) for _ in range(rng.randrange(7))))
    data = bytearray(packed(*fields))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data))
        action = rng.random()
        if action < 0.5:
            data[at] ^= 1 << rng.randrange(8)
        elif action < 0.75:
            del data[at:]
            data += rng.randbytes(1)
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 4))
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_random_frames_harm_nobody(target: Target, seed: int) -> None:
    rng = random.Random(seed)
    sent = 0
    heard: list[bytes] = []
    with target.watched():
        while sent < 2500:
            with peer(target.address) as one:
                try:
                    yard = one.hello().create("yard")
                    for _ in range(30):
                        for _ in range(10):
                            one.link.send(random_frame(rng, rng.choice([yard.ref, one.ref, 0]), yard.number + 1))
                            sent += 1
                        one.all()
                except Gone:
                    pass  # it was too much: a new one
                heard += one.heard
    assert SECRET not in b"".join(heard)
    target.settles()
