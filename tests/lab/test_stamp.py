"""Stamps survive what rooms do with them."""

from typing import Any

import pytest

from server_room_system.lab.stamp import Stamp, find_stamp

STAMP = Stamp(17, 4, 123_456_789_000)


@pytest.mark.parametrize(
    "data",
    [
        str(STAMP),
        str(STAMP).ljust(100),
        f"<ann> {STAMP} is what I say",
        {"by": 3, "text": str(STAMP)},
        ["said", str(STAMP), 1],
        {"a": "no stamp", "b": f"here: {STAMP}"},
    ],
)
def test_it_is_found_where_rooms_put_it(data: Any) -> None:
    assert find_stamp(data) == STAMP


@pytest.mark.parametrize(
    "data",
    [
        None,
        3,
        b"srs.1.2.3",
        "srs.1.2",
        "srs.1.2.x",
        {"deep": {"text": str(STAMP)}},
        "xsrs.1.2.3",
        f"srs.1.2.{'9' * 30}",
    ],
)
def test_anything_else_has_none(data: Any) -> None:
    assert find_stamp(data) is None
