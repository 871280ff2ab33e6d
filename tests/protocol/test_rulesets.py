"""Rulesets: immutable, equal by value, the same after the wire, and refused when they make no sense."""

import copy
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import Limits, RuleSet, RuleSetError, pack, upload_decoder

decode = upload_decoder(Limits())

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "ranked", "ключ", "1"])
    | st.binary(max_size=8)
)
names = st.sampled_from(["mode", "level", "map", "ü", "a" * 64, "x"])
criteria = st.dictionaries(names, scalars, max_size=5)
rulesets = st.builds(
    lambda clients, room, criteria: RuleSet(clients, room, **criteria),
    st.integers(1, 100_000),
    st.none() | st.sampled_from(["duel", "x" * 64]),
    criteria,
)


def identity(ruleset: RuleSet) -> Any:
    """What makes a ruleset what it is, in types that compare strictly."""

    def strict(value: object) -> tuple[str, str]:
        return type(value).__name__, repr(value)

    parts = sorted((name, *strict(value)) for name, value in ruleset.criteria.items())
    return ruleset.clients, ruleset.room, parts


@given(rulesets, rulesets)
@settings(max_examples=150, deadline=None)
def test_equality_is_by_value_and_type(one: RuleSet, other: RuleSet) -> None:
    same = identity(one) == identity(other)
    assert (one == other) is same
    assert (one.key == other.key) is same
    assert (one != other) is not same
    if same:
        assert hash(one) == hash(other)


@given(st.integers(1, 5), st.lists(st.tuples(names, scalars), unique_by=lambda pair: pair[0], max_size=5), st.randoms())
@settings(max_examples=100, deadline=None)
def test_the_order_of_criteria_does_not_matter(clients: int, pairs: list[tuple[str, Any]], random: Any) -> None:
    one = RuleSet(clients, **dict(pairs))
    random.shuffle(pairs)
    assert one == RuleSet(clients, **dict(pairs))
    assert one.key == RuleSet(clients, **dict(pairs)).key


@given(rulesets)
@settings(max_examples=100, deadline=None)
def test_the_wire_changes_nothing(ruleset: RuleSet) -> None:
    arrived = RuleSet.from_wire(decode(pack(ruleset.to_wire())))
    assert arrived == ruleset
    assert arrived.key == ruleset.key
    assert identity(arrived) == identity(ruleset)


DIFFERENT: list[Any] = [1, 1.0, True, "1", b"1", None, 0, 0.0, -0.0, False, "", b"", 2]


@pytest.mark.parametrize("one", DIFFERENT, ids=repr)
def test_one_and_one_point_nought_and_true_are_different_wishes(one: Any) -> None:
    equal = [other for other in DIFFERENT if RuleSet(2, level=one) == RuleSet(2, level=other)]
    assert [repr(other) for other in equal] == [repr(one)]


def test_size_and_room_are_part_of_the_wish() -> None:
    assert RuleSet(2) == RuleSet(2)
    assert RuleSet(2) != RuleSet(3)
    assert RuleSet(2) != RuleSet(2, room="duel")
    assert RuleSet(2, mode=None) != RuleSet(2)
    assert RuleSet(2) != 2
    assert RuleSet(2) != [2, None, {}]
    assert len({RuleSet(2), RuleSet(2), RuleSet(3)}) == 2


def test_a_criterion_that_is_not_a_number_is_equal_to_itself() -> None:
    assert RuleSet(2, x=math.nan) == RuleSet(2, x=math.nan)


def test_a_ruleset_never_changes() -> None:
    ruleset = RuleSet(2, room="duel", mode="ranked")
    for name in ("clients", "room", "criteria", "key", "_criteria", "_key", "anything"):
        with pytest.raises(AttributeError):
            setattr(ruleset, name, 3)
    for name in ("clients", "room", "_criteria", "_key"):
        with pytest.raises(AttributeError):
            delattr(ruleset, name)
    ruleset.criteria["mode"] = "casual"
    wire = ruleset.to_wire()
    assert isinstance(wire[2], dict)
    wire[2]["mode"] = "casual"
    wire[0] = 9
    assert ruleset == RuleSet(2, room="duel", mode="ranked")
    assert ruleset.criteria == {"mode": "ranked"}
    assert ruleset.to_wire() == [2, "duel", {"mode": "ranked"}]


def test_a_copy_is_as_good_as_the_original() -> None:
    ruleset = RuleSet(2, room="duel", mode="ranked")
    assert copy.copy(ruleset) == copy.deepcopy(ruleset) == ruleset


def test_repr_is_how_it_is_written() -> None:
    for ruleset in (RuleSet(2), RuleSet(2, room="duel"), RuleSet(3, room="d", b=b"x", a=1.0, c=None)):
        assert eval(repr(ruleset), {"RuleSet": RuleSet}) == ruleset  # our own text


@pytest.mark.parametrize("clients", [0, -1, 100_001, 1.0, True, "2", None, [2], 1 << 70])
def test_a_number_of_clients_that_makes_no_sense(clients: Any) -> None:
    with pytest.raises(RuleSetError):
        RuleSet(clients)
    with pytest.raises(RuleSetError):
        RuleSet.from_wire([clients, None, {}])


@pytest.mark.parametrize("clients", [1, 100_000])
def test_the_fewest_and_the_most_clients(clients: int) -> None:
    assert RuleSet(clients).clients == clients


@pytest.mark.parametrize("room", ["", "x" * 65, b"duel", 1, True, ["duel"], "\ud800"])
def test_a_room_type_that_makes_no_sense(room: Any) -> None:
    with pytest.raises(RuleSetError):
        RuleSet(2, room)
    with pytest.raises(RuleSetError):
        RuleSet.from_wire([2, room, {}])


@pytest.mark.parametrize(
    "value", [[1], (1,), {}, {1}, object(), 1j, bytearray(b"x"), 1 << 64, -(1 << 63) - 1, "\ud800", "x" * 5000]
)
def test_a_criterion_that_makes_no_sense(value: Any) -> None:
    with pytest.raises(RuleSetError):
        RuleSet(2, mode=value)
    with pytest.raises(RuleSetError):
        RuleSet.from_wire([2, None, {"mode": value}])


def test_names_and_numbers_of_criteria_are_bounded() -> None:
    RuleSet(2, None, **{"n" * 64: 1})
    RuleSet(2, None, **{f"n{index}": index for index in range(32)})
    for bad in ({"n" * 65: 1}, {f"n{index}": index for index in range(33)}, {"\ud800": 1}):
        with pytest.raises(RuleSetError):
            RuleSet(2, None, **bad)
        with pytest.raises(RuleSetError):
            RuleSet.from_wire([2, None, bad])


def test_the_bytes_of_a_ruleset_are_bounded() -> None:
    # The three fields, one name of one character, and the text with its three bytes of length.
    room_for_text = 4096 - len(pack([2, None, {"t": ""}])) - 2
    assert len(RuleSet(2, t="x" * room_for_text).key) == 4096
    with pytest.raises(RuleSetError):
        RuleSet(2, t="x" * (room_for_text + 1))


@pytest.mark.parametrize(
    "wire",
    [[], [2], [2, None], [2, None, {}, 1], [2, None, None], [2, None, []], [2, None, [["mode", 1]]]]
    + [[2, None, {name: 1}] for name in ("self", "clients", "room", b"mode")],
    ids=repr,
)
def test_what_is_no_ruleset_on_the_wire(wire: list[object]) -> None:
    with pytest.raises(RuleSetError):
        RuleSet.from_wire(wire)


junk = st.recursive(
    scalars | st.sampled_from(["self", "clients", "room"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.sampled_from(["room", b"x"]), inner),
    max_leaves=8,
)


@given(st.lists(junk, max_size=4) | st.tuples(st.integers(0, 5), st.none(), junk).map(list))
@settings(max_examples=120, deadline=None)
def test_whatever_comes_is_a_ruleset_or_refused(wire: list[object]) -> None:
    try:
        ruleset = RuleSet.from_wire(wire)
    except RuleSetError:
        return
    assert RuleSet.from_wire(ruleset.to_wire()) == ruleset
