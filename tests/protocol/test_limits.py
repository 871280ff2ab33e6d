"""Limits as they are announced and read."""

from dataclasses import asdict, fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import Limits, download_decoder, pack

NAMES = [field.name for field in fields(Limits)]


def test_what_is_announced_is_what_is_read() -> None:
    limits = Limits(upload=100, nesting=3, message_rate=2.5, ping_timeout=60.0, unacked=7)
    announced = download_decoder(Limits())(pack(limits.to_wire()))
    assert Limits.from_wire(announced) == limits
    assert set(announced) == set(NAMES)


def test_what_is_missing_keeps_its_default_and_what_is_unknown_is_ignored() -> None:
    assert Limits.from_wire({}) == Limits()
    assert Limits.from_wire({"upload": 5, "from_the_future": 1, "": None}) == Limits(upload=5)


@pytest.mark.parametrize("name", NAMES)
def test_nonsense_is_ignored(name: str) -> None:
    nonsense: list[Any] = [None, True, False, "5", b"5", [5], {}, 0, -1, -0.5, float("nan"), float("inf"), 1 << 60]
    for value in nonsense:
        assert Limits.from_wire({name: value}) == Limits()


@pytest.mark.parametrize("name", NAMES)
def test_types_are_kept(name: str) -> None:
    default = getattr(Limits(), name)
    read = getattr(Limits.from_wire({name: 3}), name)
    assert read == 3
    assert type(read) is type(default)
    fraction = getattr(Limits.from_wire({name: 0.5}), name)
    assert fraction == (0.5 if type(default) is float else default), "a count of half an element would be none at all"


@given(st.dictionaries(st.sampled_from(NAMES), st.none() | st.integers() | st.floats() | st.booleans() | st.binary()))
@settings(max_examples=200, deadline=None)
def test_whatever_a_server_announces_makes_limits_that_work(announced: dict[str, object]) -> None:
    limits = Limits.from_wire(announced)
    for name, default in asdict(Limits()).items():
        value = getattr(limits, name)
        assert type(value) is type(default)
        assert 0 < value < 1 << 53


def test_limits_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Limits().upload = 5  # type: ignore[misc]
