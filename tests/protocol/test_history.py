"""The rings that serve recovery: bounded by count, bytes and age, and honest about what they forgot."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import DirectLog, Excepting, History, HistoryLimits
from server_room_system.protocol.streams import DIRECT_LIMITS, Entry

WIDE = HistoryLimits(count=1000, size=1 << 30, age=1e6)


def batch(*items: bytes) -> tuple[list[Entry], int]:
    return list(items), sum(map(len, items))


def test_a_new_history_holds_nothing_and_knows_it() -> None:
    history = History(WIDE)
    assert (history.first, history.last, history.size) == (1, 0, 0)
    assert history.since(0) == []
    assert history.since(1) is None


def test_offsets_count_from_one_without_holes() -> None:
    history = History(WIDE)
    history.add(*batch(b"a", b"b"), now=0.0)
    history.add(*batch(b"c"), now=1.0)
    assert (history.first, history.last, history.size) == (1, 3, 3)
    assert history.since(0) == [b"a", b"b", b"c"]
    assert history.since(1) == [b"b", b"c"]
    assert history.since(3) == []


@pytest.mark.parametrize("offset", [4, 100, -1])
def test_what_never_was_cannot_be_recovered(offset: int) -> None:
    history = History(WIDE)
    history.add(*batch(b"a", b"b", b"c"), now=0.0)
    assert history.since(offset) is None


def test_count_is_bounded_message_by_message() -> None:
    history = History(HistoryLimits(count=3, size=1000, age=100.0))
    history.add(*batch(b"a", b"b"), now=0.0)
    history.add(*batch(b"c", b"d"), now=0.0)
    assert (history.first, history.last) == (2, 4)
    assert history.since(1) == [b"b", b"c", b"d"]
    assert history.since(0) is None


def test_a_batch_larger_than_the_count_keeps_its_end() -> None:
    history = History(HistoryLimits(count=2, size=1000, age=100.0))
    history.add(*batch(b"a", b"b", b"c"), now=0.0)
    assert history.since(1) == [b"b", b"c"]
    assert history.since(0) is None


def test_bytes_are_bounded_by_whole_batches() -> None:
    history = History(HistoryLimits(count=100, size=5, age=100.0))
    history.add(*batch(b"aa", b"b"), now=0.0)
    history.add(*batch(b"cc"), now=0.0)
    assert (history.first, history.size) == (1, 5)
    history.add(*batch(b"d"), now=0.0)
    assert (history.first, history.size) == (3, 3)
    assert history.since(2) == [b"cc", b"d"]
    assert history.since(1) is None


def test_one_batch_over_the_bytes_is_not_kept_at_all() -> None:
    history = History(HistoryLimits(count=100, size=5, age=100.0))
    history.add(*batch(b"123456"), now=0.0)
    assert (history.first, history.last, history.size) == (2, 1, 0)
    assert history.since(0) is None
    assert history.since(1) == []


def test_age_is_bounded_at_the_very_second() -> None:
    history = History(HistoryLimits(count=100, size=1000, age=10.0))
    history.add(*batch(b"a"), now=0.0)
    history.add(*batch(b"b"), now=5.0)
    history.trim(9.999)
    assert history.first == 1
    history.trim(10.0)
    assert (history.first, history.size) == (2, 1)
    history.add(*batch(b"c"), now=15.0)
    assert (history.first, history.last) == (3, 3)


def test_an_excepting_entry_counts_with_the_bytes_of_its_item() -> None:
    entry = Excepting(b"12345", frozenset({1, 2, 3}))
    assert len(entry) == 5
    history = History(WIDE)
    history.add([entry], len(entry), now=0.0)
    assert history.since(0) == [entry]
    assert history.size == 5


def test_the_list_that_since_gives_is_the_callers_own() -> None:
    history = History(WIDE)
    history.add(*batch(b"a"), now=0.0)
    given_away = history.since(0)
    assert given_away is not None
    given_away.clear()
    assert history.since(0) == [b"a"]


@dataclass
class Batch:
    when: float
    last: int
    size: int


class NaiveHistory:
    """Everything is remembered; which of it is still to be had is worked out from the rules."""

    def __init__(self, limits: HistoryLimits) -> None:
        self.limits = limits
        self.all: list[bytes] = []
        self.batches: list[Batch] = []
        self.first = 1

    def add(self, items: list[bytes], now: float) -> None:
        self.all += items
        self.batches.append(Batch(now, len(self.all), sum(map(len, items))))
        self.trim(now)

    def trim(self, now: float) -> None:
        self.first = max(self.first, len(self.all) - self.limits.count + 1)
        for each in self.batches:
            if each.last < self.first:
                continue
            if self.size > self.limits.size or now - each.when >= self.limits.age:
                self.first = each.last + 1

    def when(self, offset: int) -> float | None:
        if not self.first <= offset <= len(self.all):
            return None
        return next(each.when for each in self.batches if each.last >= offset)

    @property
    def size(self) -> int:
        return sum(each.size for each in self.batches if each.last >= self.first)


steps = st.tuples(st.integers(0, 6), st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=5) | st.none())


@given(
    limits=st.builds(HistoryLimits, st.integers(0, 10), st.integers(1, 40), st.integers(1, 12).map(float)),
    script=st.lists(steps, max_size=25),
)
@settings(max_examples=150, deadline=None)
def test_history_is_its_naive_model(limits: HistoryLimits, script: list[tuple[int, list[bytes] | None]]) -> None:
    history, naive, now = History(limits), NaiveHistory(limits), 0.0
    for seconds, items in script:
        now += seconds
        if items is None:
            history.trim(now)
            naive.trim(now)
        else:
            history.add(list(items), sum(map(len, items)), now)
            naive.add(items, now)
        assert (history.first, history.last, history.size) == (naive.first, len(naive.all), naive.size)
        assert history.size <= limits.size
        for offset in range(-2, len(naive.all) + 3):
            known = naive.first - 1 <= offset <= len(naive.all)
            assert history.holds(offset) == known
            assert history.since(offset) == (naive.all[offset:] if known else None)
            assert history.when(offset) == naive.when(offset)


def test_a_history_that_runs_for_long_stays_small() -> None:
    history = History(HistoryLimits(count=50, size=4000, age=10.0))
    for turn in range(5000):
        history.add(*batch(b"x" * 100), now=turn / 10)
        assert history.size <= 4000
        assert history.last - history.first + 1 <= 40
    assert len(history._marks) <= 51
    assert len(history._entries) <= 50


# --- what one member got alone -----------------------------------------------------------------------------------


def items_since(log: DirectLog, number: int) -> list[bytes] | None:
    entries = log.since(number)
    return None if entries is None else [entry.item for entry in entries]


def test_a_direct_log_numbers_from_one_and_remembers_what_each_follows() -> None:
    log = DirectLog()
    assert (log.last, log.since(0), log.since(1)) == (0, [], None)
    log.add(b"a", 7, 0.0)
    log.add(b"b", 9, 0.0)
    entries = log.since(0)
    assert entries is not None
    assert [(entry.number, entry.after, entry.item) for entry in entries] == [(1, 7, b"a"), (2, 9, b"b")]
    assert items_since(log, 1) == [b"b"]
    assert items_since(log, 2) == []
    assert log.since(3) is None
    assert log.since(-1) is None


def test_a_direct_log_is_bounded_by_count_bytes_and_age() -> None:
    log = DirectLog(HistoryLimits(count=2, size=1000, age=100.0))
    for item in (b"a", b"b", b"c"):
        log.add(item, 0, 0.0)
    assert (items_since(log, 1), log.since(0)) == ([b"b", b"c"], None)

    log = DirectLog(HistoryLimits(count=100, size=5, age=100.0))
    for item in (b"aa", b"bbb", b"c"):
        log.add(item, 0, 0.0)
    assert (items_since(log, 1), log.since(0)) == ([b"bbb", b"c"], None)

    log = DirectLog(HistoryLimits(count=100, size=1000, age=10.0))
    log.add(b"a", 0, 0.0)
    log.add(b"b", 0, 9.999)
    assert items_since(log, 0) == [b"a", b"b"]
    log.add(b"c", 0, 10.0)
    assert (items_since(log, 1), log.since(0)) == ([b"b", b"c"], None)


def test_a_direct_item_over_the_bytes_is_not_kept_and_counts_all_the_same() -> None:
    log = DirectLog(HistoryLimits(count=100, size=5, age=100.0))
    log.add(b"123456", 0, 0.0)
    assert (log.last, log.since(0), log.since(1)) == (1, None, [])
    log.add(b"a", 0, 0.0)
    assert items_since(log, 1) == [b"a"]


@given(
    limits=st.builds(HistoryLimits, st.integers(0, 6), st.integers(1, 30), st.integers(1, 12).map(float)),
    script=st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=8)), max_size=25),
)
@settings(max_examples=120, deadline=None)
def test_a_direct_log_is_its_naive_model(limits: HistoryLimits, script: list[tuple[int, bytes]]) -> None:
    log, now, sent, first = DirectLog(limits), 0.0, list[tuple[float, bytes]](), 0
    for seconds, item in script:
        now += seconds
        log.add(item, 0, now)
        sent.append((now, item))
        while first < len(sent) and (
            len(sent) - first > limits.count
            or sum(len(each) for _, each in sent[first:]) > limits.size
            or now - sent[first][0] >= limits.age
        ):
            first += 1
        assert log.last == len(sent)
        assert log.size == sum(len(each) for _, each in sent[first:])
        for number in range(-2, len(sent) + 3):
            known = first <= number <= len(sent)
            assert log.holds(number) == known
            assert log.when(number) == (sent[number - 1][0] if first < number <= len(sent) else None)
            assert items_since(log, number) == ([each for _, each in sent[number:]] if known else None)


def test_defaults_are_what_the_protocol_document_promises() -> None:
    assert (HistoryLimits().count, HistoryLimits().size, HistoryLimits().age) == (1024, 4 * 1024 * 1024, 120.0)
    assert (DIRECT_LIMITS.count, DIRECT_LIMITS.size, DIRECT_LIMITS.age) == (256, 256 * 1024, 120.0)


def test_a_history_that_was_cleared_goes_on_counting() -> None:
    history = History(HistoryLimits())
    history.add([b"a", b"b"], 2, 0.0)
    history.clear()
    assert (history.last, history.size, history.since(2), history.since(1)) == (2, 0, [], None)
    history.add([b"c"], 1, 1.0)
    assert (history.last, history.since(2)) == (3, [b"c"])
