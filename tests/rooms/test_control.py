"""Orders and reports: what one process writes, the other reads."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system import ClientData, RuleSet
from server_room_system.protocol import BadMessage, Limits, UnknownKind, download_decoder, pack
from server_room_system.rooms.control import (
    ORDER_SHAPES,
    REPORT_SHAPES,
    CloseRoom,
    Drain,
    Draining,
    Failed,
    Inspect,
    Inspected,
    Kick,
    OpenRoom,
    Order,
    OrderKind,
    Refused,
    ReleaseSeats,
    ReportKind,
    Reserved,
    ReserveSeats,
    RoomEnded,
    RoomReport,
    RoomUpdated,
    Seated,
    SeatWish,
    Settled,
    Unseated,
    order_from_wire,
    order_to_wire,
    report_from_wire,
    report_to_wire,
)

decode = download_decoder(Limits())

_ids = st.text("0123456789abcdef", min_size=1, max_size=32)
_asks = st.integers(0, (1 << 32) - 1)
_numbers = st.integers(0, (1 << 53) - 1)
_codes = st.integers(0, (1 << 16) - 1)
_sentences = st.text(max_size=40)
_scalars = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=9) | st.binary(max_size=9)
)
_maps = st.dictionaries(st.text(max_size=9), _scalars | st.lists(_scalars, max_size=3), max_size=4)
_seconds = st.floats(0.001, 1e6) | st.integers(1, 10**6)
_clients = st.builds(ClientData, st.integers(0, 1 << 40), st.text(max_size=20), st.none() | _maps)
_wishes = st.lists(
    st.builds(
        SeatWish,
        *(_ids, _clients, _maps, st.none() | st.binary(min_size=32, max_size=32)),
        *(st.none() | st.tuples(_sentences, _sentences), _maps),
    ),
    max_size=4,
)
_rulesets = st.builds(
    lambda clients, room, criteria: RuleSet(clients, room=room, **criteria),
    st.integers(1, 100),
    st.none() | st.just("duel"),
    st.dictionaries(st.sampled_from(["mode", "map", "level"]), st.integers(0, 9) | st.text(max_size=5), max_size=3),
)

orders: st.SearchStrategy[Order] = st.one_of(
    st.builds(OpenRoom, _asks, _ids, _rulesets, _maps, st.booleans(), _wishes, _maps, _maps),
    st.builds(ReserveSeats, _asks, _ids, _wishes, st.booleans()),
    st.builds(ReleaseSeats, _ids, st.lists(_ids, max_size=3)),
    st.builds(CloseRoom, _ids, _codes, _sentences),
    st.builds(Kick, _ids, _numbers, _sentences),
    st.builds(Inspect, _asks, _ids),
    st.builds(Drain, _seconds, _codes),
)
reports: st.SearchStrategy[RoomReport] = st.one_of(
    st.builds(Reserved, _asks, _ids, st.lists(st.binary(min_size=16, max_size=16), max_size=4), _seconds),
    st.builds(Refused, _asks, _codes, _sentences),
    st.builds(
        RoomUpdated,
        *(
            _ids,
            _sentences,
            _numbers,
            _numbers,
            _numbers,
            st.booleans(),
            _maps,
            st.binary(min_size=16, max_size=16),
            _maps,
        ),
    ),
    st.builds(Seated, _ids, _ids, _clients),
    st.builds(Unseated, _ids, _ids),
    st.builds(RoomEnded, _ids),
    st.builds(Inspected, _asks, _maps),
    st.builds(Failed, _asks, _codes, _sentences),
    st.builds(Draining),
    st.builds(Settled),
)


def over_the_wire(item: tuple[Any, ...]) -> Any:
    return decode(pack(item))


@given(orders)
@settings(max_examples=200, deadline=None)
def test_orders_come_back_as_they_were(order: Order) -> None:
    back = order_from_wire(over_the_wire(order_to_wire(order)))
    assert back == order
    assert type(back) is type(order)
    if isinstance(back, OpenRoom | ReserveSeats):
        assert all(type(seat) is SeatWish and type(seat.client) is ClientData for seat in back.seats)


@given(reports)
@settings(max_examples=200, deadline=None)
def test_reports_come_back_as_they_were(report: RoomReport) -> None:
    back = report_from_wire(over_the_wire(report_to_wire(report)))
    assert back == report
    assert type(back) is type(report)
    if isinstance(back, Seated):
        assert type(back.client) is ClientData


def test_every_order_and_report_has_a_kind() -> None:
    assert set(ORDER_SHAPES) == set(OrderKind)
    assert set(REPORT_SHAPES) == set(ReportKind)


WISH = ["s", [1, "10.0.0.1", None], {}]


@pytest.mark.parametrize(
    "item",
    [
        [1, 1, "r1", [0, None, {}], {}, True, []],
        [1, 1, "r1", [2, None], {}, True, []],
        [1, 1, "r1", [2, None, {}], {}, True, [["s", [1, "a", None]]]],
        [2, 1, "r1", [["s", [1, "a", None], []]]],
        [2, 1, "r1", [[1, [1, "a", None], {}]]],
        [2, 1, "r1", [["s", ["1", "a", None], {}]]],
        [2, 1, "r1", [["s", [True, "a", None], {}]]],
        [2, 1, "r1", [["s", None, {}]]],
        [2, 1, "r1", [WISH, None]],
        [2, 1, "x" * 33, [WISH]],
        [3, "s", [1]],
        [3, "s", "r1"],
        [4, "r1", -1, ""],
        [5, "r1", "ann", ""],
        [7, 0, 2103],
        [7, float("inf"), 2103],
    ],
    ids=repr,
)
def test_an_order_that_makes_no_sense_is_refused(item: list[Any]) -> None:
    with pytest.raises(BadMessage):
        order_from_wire(over_the_wire(tuple(item)))


@pytest.mark.parametrize(
    "item",
    [
        [1, 1, "r1", [bytes(15)], 15.0],
        [1, 1, "r1", ["x" * 16], 15.0],
        [1, 1, "r1", [None], 15.0],
        [1, 1, "r1", [], 0],
        [4, "r1", "ann", [1]],
        [4, "r1", "ann", [True, "a", None]],
        [4, "r1", "ann", ["1", "a", None]],
        [3, "r1", "duel", 0, 2, 2, 0, {}],
        [3, "r1", "duel", 0, -1, 2, False, {}],
        [9, 1],
        [10, None],
    ],
    ids=repr,
)
def test_a_report_that_makes_no_sense_is_refused(item: list[Any]) -> None:
    with pytest.raises(BadMessage):
        report_from_wire(over_the_wire(tuple(item)))


_anything = st.recursive(
    _scalars | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("read", "write", "good"),
    [(order_from_wire, order_to_wire, orders), (report_from_wire, report_to_wire, reports)],
    ids=["orders", "reports"],
)
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_read_or_refused_with_a_code(
    read: Callable[[object], Any], write: Callable[[Any], tuple[Any, ...]], good: Any, data: st.DataObject
) -> None:
    item = data.draw(_anything)
    if data.draw(st.booleans()):
        item = over_the_wire(write(data.draw(good)))
        item[data.draw(st.integers(0, len(item) - 1))] = data.draw(_anything)
    try:
        taken = read(item)
    except (BadMessage, UnknownKind):
        return
    assert over_the_wire(write(read(over_the_wire(write(taken))))) == over_the_wire(write(taken))
