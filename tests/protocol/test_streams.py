"""Streams from end to end: what a sender logs and sends is what a reader sees, once and in order."""

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server_room_system.protocol import (
    MARK,
    SKIP,
    BadMessage,
    Deliver,
    DirectLog,
    Excepting,
    Gap,
    History,
    HistoryLimits,
    Item,
    Limits,
    Position,
    StreamReader,
    bundle,
    bundles,
    download_decoder,
    encode_item,
    mark,
    mark_of,
    merged,
    parse,
)
from server_room_system.protocol.messages import HEAD_SIZE
from server_room_system.protocol.streams import MOST_ITEMS, Entry

decode = download_decoder(Limits())


def deliver(frame: bytes) -> Deliver:
    """What a client makes of a frame."""
    message = parse(decode(frame))
    assert isinstance(message, Deliver)
    return message


def encoded(kind: Item, number: int, label: object, padding: int = 0) -> bytes:
    """An item of any kind that carries ``label`` as its last field."""
    fields: dict[Item, tuple[object, ...]] = {
        Item.BROADCAST: ("x" * padding, label),
        Item.PRESENCE: ("join", label),
        Item.DIRECT: (number, "t", label),
        Item.REPLY: (number, 7, label),
        Item.FAILURE: (number, 7, 1032, "no", label),
    }
    return encode_item(kind, *fields[kind])


# --- the whole way: a sender, a channel that breaks after any frame, a reader ------------------------------------


@dataclass(frozen=True)
class Said:
    """One thing that was said to a member, with the position behind it."""

    position: Position
    label: int | None  # None: this member was excepted from it, or it only marks a beginning
    size: int
    when: float
    turn: int


@dataclass
class Member:
    """A member at both ends: what was said to it, what is under way, what it saw."""

    key: int
    log: DirectLog
    reader: StreamReader
    said: list[Said]
    flying: deque[bytes | Position] = field(default_factory=deque)  # frames; a bare Position is a RESET to it
    connected: bool = True
    alone_in_turn: int = 0
    since: int = 1  # index in ``said`` of the first that counts: what follows the latest reset
    seen: list[int] = field(default_factory=list)  # from there on


class Streams(RuleBasedStateMachine):
    """A room of three members, each behind a channel of its own.

    The channel may break at any time: what was sent first still arrives, the
    rest is lost. Recovery, the bundles, the history and the merge are the
    package's; the model only remembers who was told what, in order.
    """

    @initialize(
        limits=st.builds(HistoryLimits, st.integers(1, 12), st.integers(60, 600), st.sampled_from([5.0, 50.0])),
        direct_limits=st.builds(HistoryLimits, st.integers(1, 6), st.integers(40, 200), st.sampled_from([5.0, 50.0])),
        most=st.integers(HEAD_SIZE, 120),
    )
    def begin(self, limits: HistoryLimits, direct_limits: HistoryLimits, most: int) -> None:
        self.limits, self.direct_limits, self.most = limits, direct_limits, most
        self.now, self.epoch, self.turns, self.labels = 1000.0, 1, 0, 0
        self.history = History(limits)
        self.turn: list[Entry] = []
        start = Position(1, 0, 0)
        self.members = [
            Member(key, DirectLog(direct_limits), StreamReader(start), [Said(start, None, 0, 0.0, 0)])
            for key in range(3)
        ]

    def say(self, member: Member, ordered: bool, label: int | None, size: int) -> None:
        epoch, offset, direct = member.said[-1].position
        position = Position(epoch, offset + ordered, direct + (not ordered))
        member.said.append(Said(position, label, size, self.now, self.turns))

    # What the room does.

    @rule(
        kind=st.sampled_from([Item.BROADCAST, Item.PRESENCE]),
        excepted=st.frozensets(st.integers(0, 2)),
        padding=st.integers(0, 60),
    )
    def say_to_all(self, kind: Item, excepted: frozenset[int], padding: int) -> None:
        self.labels += 1
        item = encoded(kind, 0, self.labels, padding)
        self.turn.append(Excepting(item, excepted) if excepted else item)
        for member in self.members:
            self.say(member, True, None if member.key in excepted else self.labels, len(item))

    @rule(key=st.integers(0, 2), kind=st.sampled_from([Item.DIRECT, Item.REPLY, Item.FAILURE]))
    def say_to_one(self, key: int, kind: Item) -> None:
        self.labels += 1
        member = self.members[key]
        item = encoded(kind, member.log.last + 1, self.labels)
        member.log.add(item, self.history.last + len(self.turn), self.now)
        member.alone_in_turn += 1
        self.say(member, False, self.labels, len(item))

    @rule()
    def end_turn(self) -> None:
        """Everybody who is connected gets what the turn said, cut into frames."""
        before, entries = self.history.last, self.turn
        self.turn = []
        self.turns += 1
        if entries:
            self.history.add(entries, sum(map(len, entries)), self.now)
        for member in self.members:
            count, member.alone_in_turn = member.alone_in_turn, 0
            if not member.connected:
                continue
            newest = member.log.since(member.log.last - count)
            if newest is None:  # more in one turn than the log holds
                member.flying.append(self.end_of_stream(member))
            else:
                self.fly(member, before, merged(entries, newest, before, member.key))

    def fly(self, member: Member, offset: int, items: Any) -> None:
        for frame, end, directs in bundles(self.epoch, 0, offset, items, self.most):
            message = deliver(frame)
            assert len(frame) <= self.most or len(message.items) == 1
            kinds = [item[0] for item in message.items]
            assert message.offset == offset
            assert end == offset + sum(kind in (Item.BROADCAST, Item.SKIP, Item.PRESENCE) for kind in kinds)
            assert directs == sum(kind in (Item.DIRECT, Item.REPLY, Item.FAILURE) for kind in kinds)
            offset = end
            member.flying.append(frame)

    @rule()
    def room_restarts(self) -> None:
        """Another life of the room: another epoch, offsets from 1 again, every connection lost."""
        self.end_turn()
        self.epoch += 1
        self.history = History(self.limits)
        for member in self.members:
            member.log = DirectLog(self.direct_limits)
            member.said.append(Said(Position(self.epoch, 0, 0), None, 0, self.now, self.turns))
            member.connected = False
            member.flying.clear()

    # What the network does.

    @rule(key=st.integers(0, 2), count=st.integers(1, 4))
    def arrive(self, key: int, count: int) -> None:
        member = self.members[key]
        for _ in range(min(count, len(member.flying))):
            self.receive(member, member.flying.popleft())

    @rule(key=st.integers(0, 2), prefix=st.integers(0, 3))
    def connection_breaks(self, key: int, prefix: int) -> None:
        self.arrive(key, prefix)
        self.members[key].flying.clear()
        self.members[key].connected = False

    @rule(key=st.integers(0, 2))
    def sender_skips_a_frame(self, key: int) -> None:
        """No sender of ours does; if one did, the reader would notice at the next frame."""
        member = self.members[key]
        if len(member.flying) < 2:
            return
        member.flying.popleft()
        after = member.flying.popleft()
        if isinstance(after, bytes):
            message = deliver(after)
            if message.offset > member.reader.offset:
                with pytest.raises(Gap):
                    list(member.reader.read(message.offset, message.items))
        member.flying.clear()
        member.connected = False

    @rule(seconds=st.sampled_from([0.5, 4.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.history.trim(self.now)

    # What both do to come together again.

    @precondition(lambda self: not all(member.connected for member in self.members))
    @rule()
    def recover(self) -> None:
        self.end_turn()
        for member in self.members:
            if not member.connected:
                member.connected = True
                self.answer_recover(member, member.reader.position)

    @rule(key=st.integers(0, 2))
    def recover_while_frames_are_under_way(self, key: int) -> None:
        """On the same connection: those frames come first, and the answer says their content once more."""
        self.end_turn()
        if self.members[key].connected:
            self.answer_recover(self.members[key], self.members[key].reader.position)

    def answer_recover(self, member: Member, position: Position) -> None:
        entries, directs = self.history.since(position.offset), member.log.since(position.direct)
        if position.epoch == self.epoch and entries is not None and directs is not None:
            self.fly(member, position.offset, merged(entries, directs, position.offset, member.key))
            return
        if position.epoch == self.epoch:
            assert self.may_be_forgotten(member), "a reset, though everything must still be there"
        member.flying.append(self.end_of_stream(member))

    def end_of_stream(self, member: Member) -> Position:
        return Position(self.epoch, self.history.last, member.log.last)

    def receive(self, member: Member, frame: bytes | Position) -> None:
        if isinstance(frame, Position):
            member.reader = StreamReader(frame)
            member.since, member.seen = self.place(member) + 1, []
            return
        message = deliver(frame)
        assert message.epoch == member.reader.epoch
        before = member.reader.position
        for item, position in member.reader.read(message.offset, message.items):
            assert position > before
            before = position
            member.seen.append(item[-1])

    # What must hold.

    def place(self, member: Member) -> int:
        """Index in ``said`` of the reader's position: it is always one in the order of sending."""
        (index,) = (i for i, said in enumerate(member.said) if said.position == member.reader.position)
        return index

    def may_be_forgotten(self, member: Member) -> bool:
        """Whether the limits allow that something this member misses is gone."""
        missed = list(pairwise(member.said[self.place(member) :]))
        ordered = [said for before, said in missed if said.position.offset > before.position.offset]
        alone = [said for before, said in missed if said.position.direct > before.position.direct]
        turn = ordered[0].turn if ordered else self.turns  # bytes are kept by whole turns
        sizes = [
            said.size
            for before, said in pairwise(member.said)
            if said.turn >= turn and said.position.offset > before.position.offset
        ]
        return (
            len(ordered) > self.limits.count
            or sum(sizes) > self.limits.size
            or any(said.when + self.limits.age <= self.now for said in ordered)
            or len(alone) > self.direct_limits.count
            or sum(said.size for said in alone) > self.direct_limits.size
            or any(said.when + self.direct_limits.age <= self.now for said in alone)
        )

    @invariant()
    def everything_was_seen_once_and_in_order(self) -> None:
        for member in getattr(self, "members", []):
            said = member.said[member.since : self.place(member) + 1]
            assert member.seen == [what.label for what in said if what.label is not None]

    def teardown(self) -> None:
        if not hasattr(self, "members"):
            return
        self.end_turn()
        self.recover()
        for member in self.members:
            self.arrive(member.key, len(member.flying))
            assert member.reader.position == self.end_of_stream(member)
            assert self.place(member) == len(member.said) - 1
        self.everything_was_seen_once_and_in_order()


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)


@given(
    breaks=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), min_size=1, max_size=20),
    most=st.integers(40, 200),
)
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_or_doubled_within_the_history(breaks: list[tuple[int, int]], most: int) -> None:
    """With a history that is never full there is never a reset: the reader gets all, over any number of connections."""
    history, log, reader = History(HistoryLimits()), DirectLog(), StreamReader(Position(5, 0, 0))
    expected: list[str] = []
    seen: list[str] = []
    for round_, (said, arriving) in enumerate(breaks):
        for index in range(said):
            text = f"{round_}.{index}"
            if index % 3 == 1:
                log.add(encoded(Item.DIRECT, log.last + 1, text), history.last, 0.0)
            else:
                item = encoded(Item.BROADCAST, 0, text)
                history.add([Excepting(item, frozenset({1, 2})) if index % 3 == 2 else item], len(item), 0.0)
            if index % 3 != 2:
                expected.append(text)
        entries, directs = history.since(reader.offset), log.since(reader.direct)
        assert entries is not None
        assert directs is not None
        items = merged(entries, directs, reader.offset, 1)
        frames = [frame for frame, _, _ in bundles(5, 0, reader.offset, items, most)]
        if round_ < len(breaks) - 1:
            frames = frames[:arriving]
        for frame in map(deliver, frames):
            seen += [item[-1] for item, _ in reader.read(frame.offset, frame.items)]
    assert seen == expected
    assert reader.position == Position(5, history.last, log.last)


# --- merge -------------------------------------------------------------------------------------------------------


def test_merged_puts_direct_messages_behind_the_broadcast_that_they_follow() -> None:
    entries: list[Entry] = [b"b3", b"b4", b"b5"]
    log = DirectLog()
    for item, after in ((b"d1", 1), (b"d2", 2), (b"d3", 4), (b"d4", 4), (b"d5", 5)):
        log.add(item, after, 0.0)
    directs = log.since(1)
    assert directs is not None
    assert list(merged(entries, directs, 2, 7)) == [b"d2", b"b3", b"b4", b"d3", b"d4", b"b5", b"d5"]


def test_merged_gives_a_skip_to_those_who_are_excepted_and_to_nobody_else() -> None:
    entries: list[Entry] = [b"a", Excepting(b"secret", frozenset({7})), b"c"]
    assert list(merged(entries, [], 0, 7)) == [b"a", SKIP, b"c"]
    assert list(merged(entries, [], 0, 8)) == [b"a", b"secret", b"c"]


def test_merged_with_direct_messages_only() -> None:
    log = DirectLog()
    log.add(b"d1", 4, 0.0)
    log.add(b"d2", 4, 0.0)
    assert list(merged([], log.since(0) or [], 4, 1)) == [b"d1", b"d2"]


# --- bundles -----------------------------------------------------------------------------------------------------


def test_bundles_are_cut_by_bytes_at_the_last_item_that_fits() -> None:
    items = [encoded(Item.BROADCAST, 0, label) for label in range(4)]
    size = len(items[0])
    exact = HEAD_SIZE + 2 * size
    frames = list(bundles(1, 0, 10, items, exact))
    assert [(len(frame), end, directs) for frame, end, directs in frames] == [(exact, 12, 0), (exact, 14, 0)]
    assert [len(deliver(frame).items) for frame, _, _ in bundles(1, 0, 10, items, exact - 1)] == [1, 1, 1, 1]


def test_bundles_are_cut_by_count() -> None:
    frames = list(bundles(1, 0, 0, [SKIP] * (2 * MOST_ITEMS + 1), 1 << 20))
    assert [len(deliver(frame).items) for frame, _, _ in frames] == [MOST_ITEMS, MOST_ITEMS, 1]
    assert [deliver(frame).offset for frame, _, _ in frames] == [0, MOST_ITEMS, 2 * MOST_ITEMS]
    assert [end for _, end, _ in frames] == [MOST_ITEMS, 2 * MOST_ITEMS, 2 * MOST_ITEMS + 1]


def test_an_item_that_is_too_large_travels_alone_rather_than_being_lost() -> None:
    items = [SKIP, encoded(Item.DIRECT, 1, "x" * 200), SKIP]
    frames = [(deliver(frame).items, end, directs) for frame, end, directs in bundles(1, 0, 0, items, 60)]
    assert [len(contents) for contents, _, _ in frames] == [1, 1, 1]
    assert [(end, directs) for _, end, directs in frames] == [(1, 0), (1, 1), (2, 0)]


def test_no_items_make_no_bundle() -> None:
    assert list(bundles(1, 0, 0, [], 1000)) == []


def test_bundles_carry_epoch_and_reference() -> None:
    ((frame, _, _),) = bundles((1 << 53) - 1, (1 << 32) - 1, 3, [SKIP], 1000)
    assert deliver(frame) == Deliver((1 << 53) - 1, (1 << 32) - 1, 3, [[Item.SKIP]])


# --- reader ------------------------------------------------------------------------------------------------------


def read(reader: StreamReader, offset: int, *items: list[Any]) -> list[list[Any]]:
    return [item for item, _ in reader.read(offset, list(items))]


def test_the_reader_drops_what_it_saw_and_yields_the_rest() -> None:
    reader = StreamReader(Position(1, 2, 1))
    assert read(reader, 0, [0, "t", 1], [2, 1, "t", 2], [0, "t", 3], [2, 2, "t", 4], [0, "t", 5]) == [
        [2, 2, "t", 4],
        [0, "t", 5],
    ]
    assert reader.position == Position(1, 3, 2)


def test_the_reader_passes_over_a_skip_in_silence() -> None:
    reader = StreamReader(Position(1, 0, 0))
    assert read(reader, 0, [1], [1], [0, "t", None]) == [[0, "t", None]]
    assert reader.position == Position(1, 3, 0)


@pytest.mark.parametrize(
    ("offset", "items"),
    [
        (1, [[0, "t", 1]]),  # a broadcast is missing before the bundle
        (1, [[1]]),
        (1, [[5, "join", 1]]),
        (0, [[2, 2, "t", 1]]),  # a direct message is missing
        (0, [[3, 2, 1, None]]),
        (0, [[4, 2, 1, 1030, "", None]]),
        (1, [[2, 1, "t", 1]]),  # the next direct message, but behind a broadcast that is missing
    ],
)
def test_the_reader_reports_a_gap_and_stays_where_it_is(offset: int, items: list[list[Any]]) -> None:
    reader = StreamReader(Position(1, 0, 0))
    with pytest.raises(Gap):
        list(reader.read(offset, items))
    assert reader.position == Position(1, 0, 0)


def test_what_came_before_a_gap_counts() -> None:
    reader = StreamReader(Position(1, 0, 0))
    reading = reader.read(0, [[0, "t", 1], [2, 1, "t", 2], [2, 3, "t", 4]])
    assert next(reading) == ([0, "t", 1], Position(1, 1, 0))
    assert next(reading) == ([2, 1, "t", 2], Position(1, 1, 1))
    with pytest.raises(Gap):
        next(reading)
    assert reader.position == Position(1, 1, 1)


@pytest.mark.parametrize(
    "item",
    [
        *[None, 0, "text", [], {}, [6], [-1], [[0], 1], [{}], [None], ["0"], [True], [0.0]],
        *[[2], [2, None], [3, "1", 1, 1], [2, True, "t", 1], [4, 1.0, 1, 1, "", None]],
    ],
    ids=repr,
)
def test_the_reader_refuses_what_is_no_item(item: Any) -> None:
    reader = StreamReader(Position(1, 0, 0))
    with pytest.raises(BadMessage):
        list(reader.read(0, [item]))
    assert reader.position == Position(1, 0, 0)


scraps: st.SearchStrategy[Any] = st.sampled_from([None, "t", b"t", True, 0.0, {}, -1, 0, 1, 2, 3, 4, 5, 6, 1 << 60])


@given(st.integers(0, 10), st.lists(st.recursive(scraps, st.lists, max_leaves=9)))
@settings(max_examples=100, deadline=None)
def test_the_reader_raises_nothing_but_gap_and_bad_message(offset: int, items: list[Any]) -> None:
    reader = StreamReader(Position(1, 3, 2))
    with suppress(Gap, BadMessage):
        list(reader.read(offset, items))
    assert reader.position >= Position(1, 3, 2)


def test_an_empty_bundle_is_nothing() -> None:
    reader = StreamReader(Position(1, 3, 2))
    assert list(reader.read(3, [])) == []
    frame = deliver(bundle(1, 0, 3, []))
    assert frame.items == []


def test_a_bundle_that_ends_beyond_the_reader_tells_of_a_loss() -> None:
    reader = StreamReader(Position(1, 3, 2))
    with pytest.raises(Gap):
        list(reader.read(4, []))
    assert list(reader.read(2, [])) == []
    assert reader.position == Position(1, 3, 2)


def test_a_mark_tells_who_is_meant_of_a_loss_before_it_reads_on() -> None:
    items = [[0, "t", 4], [MARK, 17, 3], [0, "t", 5]]
    meant, other = StreamReader(Position(1, 3, 2)), StreamReader(Position(1, 3, 2))
    assert [position.offset for _, position in other.read(3, items, name=18)] == [4, 5]
    reading = meant.read(3, items, name=17)
    assert next(reading) == ([0, "t", 4], Position(1, 4, 2))
    with pytest.raises(Gap):
        next(reading)
    assert [position.direct for _, position in meant.read(4, [[2, 3, "t", "lost"]], name=17)] == [3]
    assert [position.offset for _, position in meant.read(3, items, name=17)] == [5]


@pytest.mark.parametrize("item", [[MARK], [MARK, 17], [MARK, 17, "3"], [MARK, True, 3], [MARK, 17, 3, 3]])
def test_a_mark_of_another_shape_is_refused(item: list[Any]) -> None:
    with pytest.raises(BadMessage):
        list(StreamReader(Position(1, 3, 2)).read(3, [item], name=17))


def test_a_mark_is_an_item_of_any_bundle() -> None:
    frame = deliver(bundle(1, 0, 3, [mark(mark_of(bytes(16)), 1 << 40)]))
    assert frame.items == [[MARK, mark_of(bytes(16)), 1 << 40]]
    assert mark_of(bytes(16)) != mark_of(bytes(15) + b"x")
    assert 0 <= mark_of(bytes(16)) < 1 << 48
