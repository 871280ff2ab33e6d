"""Of each key only the newest: what is kept, for whom, how much of it, and what says that the rest is outdated."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import (
    SKIP,
    BadMessage,
    Deliver,
    Excepting,
    Gap,
    HistoryLimits,
    Item,
    Keyed,
    LatestHistory,
    LatestLog,
    Limits,
    PayloadError,
    Position,
    StreamReader,
    bundles,
    conflated,
    download_decoder,
    encode_item,
    message_key,
    outdated,
    outdated_direct,
    parse,
)
from server_room_system.protocol.messages import HEAD_SIZE
from server_room_system.protocol.streams import Entry

decode = download_decoder(Limits())
MANY = HistoryLimits(count=1000, size=1_000_000, age=1e9)


def numbers(log: LatestLog, since: int = 0, member: int = 0) -> list[int] | None:
    kept = log.since(since, member)
    return None if kept is None else [one.number for one in kept]


def test_a_newer_message_takes_the_place_of_the_older_one_of_its_key() -> None:
    log = LatestLog(MANY)
    for item, key in ((b"a", "x"), (b"bb", None), (b"cc", "y"), (b"dddd", "x")):
        log.add(item, 0, 0.0, key)
    assert numbers(log) == [2, 3, 4]
    assert (len(log), log.size, log.last) == (3, 8, 4)
    assert numbers(log, 3) == [4]
    assert numbers(log, 4) == []
    assert numbers(log, 5) is None


def test_it_reaches_back_as_long_as_nothing_was_forgotten_that_is_not_outdated() -> None:
    log = LatestLog(HistoryLimits(count=3, size=1000, age=1e9))
    log.add(b"news", 0, 0.0)
    for number in range(10_000):
        log.add(b"at", 0, 0.0, number % 2)
    assert numbers(log) == [1, 10_000, 10_001]
    log.add(b"news", 0, 0.0)
    assert numbers(log) is None
    assert numbers(log, 1) == [10_000, 10_001, 10_002]


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (HistoryLimits(count=2, size=1000, age=1e9), [4, 5]),
        (HistoryLimits(count=1000, size=5, age=1e9), [4, 5]),
        (HistoryLimits(count=1000, size=1000, age=3.0), [3, 4, 5]),
        (HistoryLimits(count=1000, size=1, age=1e9), []),
    ],
)
def test_what_is_over_a_limit_is_forgotten_oldest_first(limits: HistoryLimits, kept: list[int]) -> None:
    log = LatestLog(limits)
    for number in range(1, 6):
        log.add(b"xx", 0, float(number), number)
    first = 6 - len(kept)
    assert numbers(log, first - 1) == kept
    assert numbers(log, first - 2) is None
    assert log.size == 2 * len(kept)
    log.add(b"x", 0, 5.0, 1)  # the key of one that is forgotten, or not
    assert numbers(log, 5) == [6]


def test_who_was_excepted_from_the_newest_keeps_the_one_before() -> None:
    log = LatestLog(MANY)
    log.add(b"1", 0, 0.0, "k")
    log.add(b"2", 0, 0.0, "k", frozenset({7}))
    log.add(b"3", 0, 0.0, "k", frozenset({7, 8}))
    assert [numbers(log, 0, member) for member in (7, 8, 9)] == [[1], [2], [3]]
    log.add(b"4", 0, 0.0, "k", frozenset({8}))
    assert [numbers(log, 0, member) for member in (7, 8, 9)] == [[4], [2], [4]]
    assert len(log) == 2
    log.add(b"5", 0, 0.0, "k")
    assert len(log) == 1


def test_there_is_no_more_of_a_key_than_one_for_each_who_was_excepted() -> None:
    log = LatestLog(MANY)
    for number in range(1000):
        log.add(b"x", 0, 0.0, "k", frozenset({number % 5}))
    assert len(log) == 2  # whoever did not get the newest got the one before
    for number in range(1000):
        log.add(b"x", 0, 0.0, "k", frozenset(range(number % 5 + 1)))
    assert len(log) <= 6


def test_what_is_cleared_goes_on_with_the_next_number() -> None:
    log = LatestLog(MANY)
    log.add(b"a", 0, 0.0, "k")
    log.clear()
    assert (len(log), log.size, numbers(log)) == (0, 0, None)
    log.add(b"b", 0, 0.0, "k")
    assert numbers(log, 1) == [2]


def test_a_history_takes_whole_turns() -> None:
    history = LatestHistory(MANY)
    turn: list[Entry | Keyed] = [
        b"a",
        Excepting(b"bb", frozenset({7})),
        Keyed(b"c", "k"),
        Keyed(b"d", "k", frozenset({7})),
    ]
    history.add(turn, 5, 0.0)
    assert history.last == 4
    assert history.size == 5
    for member, items in ((7, [b"a", b"c"]), (8, [b"a", b"bb", b"d"])):
        kept = history.since(0, member)
        assert kept is not None
        assert [one.item for one in kept] == items
    history.clear()
    assert not history.holds(3)
    assert history.holds(4)


@pytest.mark.parametrize("key", [None, 1.0, b"k", ("a",), "k" * 65, False])
def test_keys_are_integers_and_short_strings(key: Any) -> None:
    with pytest.raises(PayloadError):
        message_key("at", key)


def test_a_key_belongs_to_its_type() -> None:
    assert message_key("at", 1) != message_key("hp", 1)
    assert message_key("at", 1) != message_key("at", "1")
    assert message_key("at", "k" * 64) == message_key("at", "k" * 64)


# --- what a reader makes of it -----------------------------------------------------------------------------------


def items_of(frame: bytes) -> Deliver:
    message = parse(decode(frame))
    assert isinstance(message, Deliver)
    return message


def read(reader: StreamReader, offset: int, *items: list[Any]) -> list[Any]:
    return [item[-1] for item, _ in reader.read(offset, list(items))]


def test_an_item_stands_for_many_broadcasts() -> None:
    assert outdated(1) == SKIP
    assert decode(outdated(300)) == [Item.OUTDATED, 300]
    assert decode(outdated_direct(4, 9)) == [Item.OUTDATED_DIRECT, 4, 9]
    reader = StreamReader(Position(1, 2, 1))
    assert read(reader, 2, [7, 10], [0, "t", "a"], [8, 2, 5], [2, 6, "t", "b"]) == ["a", "b"]
    assert reader.position == Position(1, 13, 6)


def test_what_overlaps_with_what_was_seen_is_passed_over() -> None:
    reader = StreamReader(Position(1, 7, 4))
    assert read(reader, 2, [7, 3], [0, "t", 6], [8, 1, 2], [0, "t", 7], [2, 5, "t", "a"], [8, 1, 6]) == ["a"]
    assert read(reader, 2, [7, 5], [2, 7, "t", "b"], [7, 3]) == ["b"]
    assert reader.position == Position(1, 10, 7)
    reader = StreamReader(Position(1, 7, 4))
    assert read(reader, 2, [7, 10], [0, "t", 13]) == [13]
    assert reader.position == Position(1, 13, 4)


def test_an_item_does_not_hide_a_hole_before_it() -> None:
    for offset, item in ((3, [7, 10]), (2, [8, 3, 5]), (3, [8, 2, 5])):
        reader = StreamReader(Position(1, 2, 1))
        with pytest.raises(Gap):
            read(reader, offset, item)
        assert reader.position == Position(1, 2, 1)


@pytest.mark.parametrize(
    "item",
    [[7], [7, 0], [7, -1], [7, 1.0], [7, True], [7, 1, 1], [7, 1 << 53], [8], [8, 2], [8, 3, 2], [8, 0, 2],
     [8, 2, 1 << 53], [8, 2, "3"], [8, 2, 3, 4], [8, True, 2]],
)  # fmt: skip
def test_what_is_no_such_item_is_refused(item: list[Any]) -> None:
    reader = StreamReader(Position(1, 2, 1))
    with pytest.raises(BadMessage):
        read(reader, 2, item)
    assert reader.position == Position(1, 2, 1)


# --- whatever was said, and from wherever one reads ----------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """Something that was said."""

    label: int
    key: int | None
    to: int | None
    """The member that it was said to alone; None: to all but those excepted."""
    excepted: frozenset[int]


MEMBERS = (1, 2, 3)
SAYINGS = st.lists(
    st.tuples(
        st.sampled_from([None, 1, 2]),
        st.sampled_from([None, None, *MEMBERS]),
        st.frozensets(st.sampled_from(MEMBERS), max_size=2),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(sayings=SAYINGS, kept=st.integers(1, 40), most=st.integers(HEAD_SIZE, 120), data=st.data())
def test_news_come_once_and_of_each_key_the_newest_from_any_place(
    sayings: list[tuple[int | None, int | None, frozenset[int]]], kept: int, most: int, data: st.DataObject
) -> None:
    member = data.draw(st.sampled_from(MEMBERS))
    limits = HistoryLimits(count=kept, size=100_000, age=1e9)
    history, log = LatestHistory(limits), LatestLog(limits)
    places = [Position(1, 0, 0)]
    said: list[Said] = []
    for label, (key, to, excepted) in enumerate(sayings):
        what = Said(label, key, to, excepted if to is None else frozenset())
        if to is None:
            item = encode_item(Item.BROADCAST, "t", label)
            entry: Entry | Keyed = item
            if key is not None:
                entry = Keyed(item, key, excepted)
            elif excepted:
                entry = Excepting(item, excepted)
            history.add([entry], len(item), 0.0)
        elif to == member:
            log.add(encode_item(Item.DIRECT, log.last + 1, "t", label), history.last, 0.0, key)
        else:
            continue
        said.append(what)
        places.append(Position(1, history.last, log.last))
    index = data.draw(st.integers(0, len(said)))
    start, end = places[index], places[-1]
    follows = [what for what in said[index:] if member not in what.excepted]
    expected = [
        what.label
        for place, what in enumerate(follows)
        if what.key is None or (what.key, what.to) not in {(later.key, later.to) for later in follows[place + 1 :]}
    ]
    broadcasts, directs = history.since(start.offset, member), log.since(start.direct)
    if broadcasts is None or directs is None:
        assert len(said) > kept, "forgotten, though there was room"
        return
    reader, at, numbered = StreamReader(start), start.offset, start.direct
    heard: list[int] = []
    for frame, ends_at, takes in bundles(1, 0, start.offset, conflated(broadcasts, directs, start, end), most):
        message = items_of(frame)
        assert message.offset == at
        for read, position in reader.read(message.offset, message.items):
            heard.append(read[-1])
            assert position <= end
        at, numbered = ends_at, numbered + takes
        assert reader.position == Position(1, at, numbered)
    assert heard == expected
    assert reader.position == end
