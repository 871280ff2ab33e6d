"""Filters: what fits them, against the plainest reading of the rules, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_room_system import BadFilter
from server_room_system.protocol import Filter

_values = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 2.5]) | st.text("ab", max_size=3)
_names = st.sampled_from(["map", "level", "mode"])
_conditions = (
    _values
    | st.lists(_values, min_size=1, max_size=4)
    | st.fixed_dictionaries({}, optional={"min": st.integers(-3, 1), "max": st.integers(1, 3)}).filter(bool)
    | st.builds(lambda prefix: {"prefix": prefix}, st.text("ab", max_size=2))
)


def kind(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def holds(condition: Any, value: Any) -> bool:
    if isinstance(condition, list):
        return any(holds(one, value) for one in condition)
    if not isinstance(condition, dict):
        return kind(condition) == kind(value) and bool(condition == value)
    if "prefix" in condition:
        return isinstance(value, str) and value.startswith(condition["prefix"])
    return kind(value) == "number" and condition.get("min", -99) <= value <= condition.get("max", 99)


@given(st.dictionaries(_names, _conditions), st.dictionaries(_names, _values))
def test_a_room_fits_where_each_condition_holds(where: dict[str, Any], metadata: dict[str, Any]) -> None:
    expected = all(name in metadata and holds(condition, metadata[name]) for name, condition in where.items())
    assert Filter(where).fits(metadata) is expected


@given(
    st.dictionaries(_names, _conditions), st.dictionaries(_names, st.lists(_values) | st.dictionaries(_names, _values))
)
def test_values_that_are_no_scalars_fit_nothing_but_hurt_nobody(
    where: dict[str, Any], metadata: dict[str, Any]
) -> None:
    assert Filter(where).fits(metadata) is (not where)


def test_filters_that_want_the_same_have_one_key() -> None:
    one, other = Filter({"a": 1, "b": {"min": 1, "max": 2}}), Filter({"b": {"max": 2, "min": 1}, "a": 1})
    assert one.key == other.key
    assert one.key != Filter({"a": True, "b": {"min": 1, "max": 2}}).key
    assert Filter({"a": [2, 1, 1.0]}).key == Filter({"a": [1, 2.0]}).key
    assert Filter({"a": [1]}).key == Filter({"a": 1}).key
    assert Filter({"a": {"min": 1}}).key == Filter({"a": {"min": 1.0}}).key != Filter({"a": {"max": 1}}).key


@given(st.lists(st.dictionaries(_names, _conditions, max_size=2), min_size=2, max_size=2), st.data())
def test_filters_with_one_key_want_the_same(wheres: list[dict[str, Any]], data: st.DataObject) -> None:
    one, other = map(Filter, wheres)
    if one.key == other.key:
        metadata = data.draw(st.dictionaries(_names, _values))
        assert one.fits(metadata) == other.fits(metadata)


def test_a_range_with_one_side_has_no_bound_on_the_other() -> None:
    for far in (1 << 53, (1 << 53) + 1, 1 << 63, 1e300, float("inf")):
        assert Filter({"a": {"min": 3}}).fits({"a": far})
        assert Filter({"a": {"max": 3}}).fits({"a": -far})
        assert not Filter({"a": {"max": 3}}).fits({"a": far})
        assert not Filter({"a": {"min": 3}}).fits({"a": -far})
    assert not Filter({"a": {"min": 3}}).fits({"a": float("nan")})
    assert not Filter({"a": {"max": 3}}).fits({"a": float("nan")})


@pytest.mark.parametrize(
    "where",
    [
        {str(number): 1 for number in range(9)},
        {"": 1},
        {"x" * 65: 1},
        {"a": "x" * 65},
        {"a": []},
        {"a": list(range(33))},
        {"a": [[1]]},
        {"a": {}},
        {"a": {"min": 1, "like": 2}},
        {"a": {"min": "1"}},
        {"a": {"min": True}},
        {"a": {"max": float("nan")}},
        {"a": {"max": float("inf")}},
        {"a": {"min": 5, "max": 3}},
        {"a": float("nan")},
        {"a": [float("nan")]},
        {"a": 1 << 60},
        {"a": b"bytes"},
        {"a": {"prefix": 1}},
        {"a": {"prefix": "x" * 65}},
        {"a": {"prefix": "x", "min": 1}},
        {"a": {"b": {"c": 1}}},
    ],
    ids=str,
)
def test_what_would_cost_too_much_or_means_nothing_is_refused(where: dict[str, Any]) -> None:
    with pytest.raises(BadFilter):
        Filter(where)
