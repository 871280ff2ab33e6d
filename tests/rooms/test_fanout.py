"""The fan-out: whatever happens to connections, each member's reader sees exactly what was said to it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server_room_system import HistoryLimits, Position
from server_room_system.protocol import Deliver, Item, Reset, StreamReader, encode, encode_item, streams
from server_room_system.protocol.messages import HEAD_SIZE
from server_room_system.rooms import fanout as fanout_module
from server_room_system.rooms.fanout import Line, UnicastFanout
from server_room_system.transport import Sent

from .fakes import FakeOutbox, read

EPOCH = 4711
ONE_FRAME = 128
MOST = 512
MOST_ITEMS = 12


@dataclass
class Wire:
    """A connection: what is on its way, how its queue is, and who at its far end knows to be a member."""

    peer: bytes
    flying: "deque[bytes | Answer]" = field(default_factory=deque)
    state: Sent = Sent.TAKEN
    members: "list[Reader]" = field(default_factory=list)


@dataclass(eq=False)
class Reader:
    """A member at the other end."""

    line: Line
    stream: StreamReader
    wire: Wire | None = None
    to_come: deque[int] = field(default_factory=deque)
    """What was said to it and not seen yet."""


class Answer(NamedTuple):
    """JOINED or LEFT, in order with the frames."""

    reader: Reader
    joined: bool


class Wires:
    """The network."""

    def __init__(self) -> None:
        self.wires: dict[bytes, Wire] = {}
        self.frames = 0

    def open(self) -> Wire:
        wire = Wire(b"wire %d" % len(self.wires))
        self.wires[wire.peer] = wire
        return wire

    def send(self, peer: bytes, frame: bytes) -> Sent:
        assert len(frame) <= MOST, "a frame is larger than its receiver takes"
        wire = self.wires[peer]
        if wire.state is Sent.TAKEN:
            wire.flying.append(frame)
        return wire.state

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]:
        outcomes = [(peer, self.send(peer, frame)) for peer in peers]
        return [(peer, sent) for peer, sent in outcomes if sent is not Sent.TAKEN]


class FanoutMachine(RuleBasedStateMachine):
    """Broadcasts, direct messages and connections in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()  # limits that a few items reach, in the proportions of the real ones
        self.patch.setattr(fanout_module, "ONE_FRAME", ONE_FRAME)
        self.patch.setattr(fanout_module, "MOST_ITEMS", MOST_ITEMS)
        self.patch.setattr(streams, "MOST_ITEMS", MOST_ITEMS)
        self.readers: list[Reader] = []
        self.given_up: dict[tuple[Position, int], int] = {}
        """The last label that was said before a reset, by its position and reference."""

    @initialize(count=st.integers(2, 60))
    def begin(self, count: int) -> None:
        self.fanout = UnicastFanout(EPOCH, HistoryLimits(count=count, size=4000, age=1e9), MOST)
        self.network = Wires()
        self.labels = 0
        self.refs = self.keys = 0

    def a_reader(self, data: st.DataObject) -> Reader:
        return data.draw(st.sampled_from(self.readers))

    def label(self) -> int:
        self.labels += 1
        return self.labels

    def flush(self) -> None:
        self.fanout.flush(self.network, 1.0)

    def broadcast_item(self, label: int, size: int) -> bytes:
        return encode_item(Item.BROADCAST, "x" * size, label)

    # What a room says.

    @rule(size=st.sampled_from([0, 1, 20, 40, MOST - HEAD_SIZE - 9]))
    def broadcast(self, size: int) -> None:
        label = self.label()
        for reader in self.readers:
            reader.to_come.append(label)
        if self.fanout.broadcast(self.broadcast_item(label, size)):
            self.flush()

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def broadcast_except(self, data: st.DataObject) -> None:
        excepted = data.draw(st.lists(st.sampled_from(self.readers), unique=True))
        label = self.label()
        for reader in self.readers:
            if reader not in excepted:
                reader.to_come.append(label)
        if self.fanout.broadcast_except(self.broadcast_item(label, 5), [reader.line for reader in excepted]):
            self.flush()

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), size=st.sampled_from([0, 20, 40]), count=st.integers(1, 4))
    def direct(self, data: st.DataObject, size: int, count: int) -> None:
        reader = self.a_reader(data)
        for _ in range(count):
            label = self.label()
            reader.to_come.append(label)
            item = encode_item(Item.DIRECT, reader.line.last_direct + 1, "x" * size, label)
            if self.fanout.direct(reader.line, item, 1.0):
                self.flush()

    @rule()
    def end_the_turn(self) -> None:
        self.fanout.waiting = True
        self.flush()
        assert not self.fanout.waiting

    # What happens to connections.

    @precondition(lambda self: len(self.readers) < 6)
    @rule(data=st.data(), shared=st.booleans())
    def join(self, data: st.DataObject, shared: bool) -> None:
        self.flush()
        self.keys += 1
        line = Line(self.keys, self.fanout.offset)
        reader = Reader(line, StreamReader(Position(EPOCH, self.fanout.offset, 0)))
        self.readers.append(reader)
        self.connect(data, reader, shared)

    @precondition(lambda self: any(reader.wire is None for reader in self.readers))
    @rule(data=st.data(), shared=st.booleans())
    def come_back(self, data: st.DataObject, shared: bool) -> None:
        self.flush()
        away = [reader for reader in self.readers if reader.wire is None]
        self.connect(data, data.draw(st.sampled_from(away)), shared)

    def connect(self, data: st.DataObject, reader: Reader, shared: bool) -> None:
        in_use = [other.wire for other in self.readers if other.wire is not None and other.wire.state is not Sent.GONE]
        wire = data.draw(st.sampled_from(in_use)) if shared and in_use else self.network.open()
        self.put_on(reader, wire)

    def put_on(self, reader: Reader, wire: Wire) -> None:
        self.refs += 1
        reader.wire = wire
        wire.flying.append(Answer(reader, joined=True))
        self.fanout.connect(reader.line, wire.peer, self.refs, reader.stream.position)
        self.bring_up(reader)

    def bring_up(self, reader: Reader) -> None:
        """As rooms do it."""
        line = reader.line
        assert line.peer is not None
        if not self.fanout.can_catch_up(line):
            end = self.fanout.end(line)
            if self.network.send(line.peer, encode(Reset(line.ref, *end, None))) is not Sent.TAKEN:
                return
            self.given_up[end, line.ref] = self.labels
            self.fanout.jump(line)
        assert self.fanout.catch_up(line, self.network) == (not line.behind)

    @precondition(lambda self: any(reader.wire for reader in self.readers))
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """A connection is lost with all that is on its way, for everybody on it."""
        wires = {reader.wire.peer: reader.wire for reader in self.readers if reader.wire is not None}
        lost = data.draw(st.sampled_from(list(wires.values())))
        lost.flying.clear()
        lost.state = Sent.GONE
        for reader in self.readers:
            if reader.wire is lost:
                self.fanout.disconnect(reader.line)
                reader.wire = None

    @precondition(lambda self: any(reader.wire for reader in self.readers))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A member goes, and others on its connection stay."""
        self.flush()
        reader = data.draw(st.sampled_from([reader for reader in self.readers if reader.wire is not None]))
        assert reader.wire is not None
        self.fanout.disconnect(reader.line)
        reader.wire.flying.append(Answer(reader, joined=False))
        self.readers.remove(reader)

    @precondition(lambda self: any(reader.wire for reader in self.readers))
    @rule(data=st.data(), state=st.sampled_from(Sent))
    def turn_bad_or_good(self, data: st.DataObject, state: Sent) -> None:
        """A queue is full, or has room again, or the network knows before us that its peer is gone."""
        here = [reader.wire for reader in self.readers if reader.wire is not None]
        wire = data.draw(st.sampled_from(here))
        if wire.state is not Sent.GONE:
            wire.state = state

    @rule()
    def try_again(self) -> None:
        self.flush()
        for reader in self.readers:
            if reader.line in self.fanout.behind:
                self.bring_up(reader)

    @rule(count=st.integers(1, 5))
    def arrive(self, count: int) -> None:
        for wire in self.network.wires.values():
            for _ in range(min(count, len(wire.flying))):
                self.take(wire, wire.flying.popleft())

    def take(self, wire: Wire, frame: bytes | Answer) -> None:
        if isinstance(frame, Answer):
            (wire.members.append if frame.joined else wire.members.remove)(frame.reader)
            return
        message = read(frame)
        if isinstance(message, Reset):
            (reader,) = (reader for reader in wire.members if reader.line.ref == message.ref)
            position = Position(message.epoch, message.offset, message.direct)
            reader.stream = StreamReader(position)
            # What was said up to there is given up: to_come is what follows.
            reader.to_come = deque(label for label in reader.to_come if label > self.given_up[position, message.ref])
            return
        assert isinstance(message, Deliver)
        assert message.epoch == EPOCH
        assert 1 <= len(message.items) <= MOST_ITEMS
        if message.ref == 0:
            (reader,) = wire.members  # "the only one here"
        else:
            (reader,) = (reader for reader in wire.members if reader.line.ref == message.ref)
        for item, _ in reader.stream.read(message.offset, message.items):
            assert reader.wire is wire or reader.wire is None
            assert reader.to_come, "something was said twice, or to the wrong one"
            assert item[-1] == reader.to_come.popleft()

    # What is always true.

    @invariant()
    def behind_are_those_who_wait_for_room(self) -> None:
        for line in self.fanout.behind:
            assert line.peer is not None
            assert line.behind

    def teardown(self) -> None:
        try:
            self.all_comes_in_the_end()
        finally:
            self.patch.undo()

    def all_comes_in_the_end(self) -> None:
        if not self.readers:
            return
        self.flush()
        for reader in self.readers:
            self.fanout.disconnect(reader.line)
            if reader.wire is not None:
                reader.wire.flying.clear()
            self.put_on(reader, self.network.open())
        self.arrive(10_000)
        assert not any(reader.to_come for reader in self.readers)


TestFanout = FanoutMachine.TestCase
TestFanout.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


# --- one case at a time ------------------------------------------------------------------------------------------


@dataclass
class Said:
    """Some lines of one room, each on a connection of its own, all up with the stream."""

    out: FakeOutbox
    fanout: UnicastFanout
    lines: list[Line]

    def frames(self, line: Line) -> list[bytes]:
        return [frame for peer, frame in self.out.frames if peer == line.peer]

    def labels(self, line: Line) -> list[object]:
        """What the items for a line end with; None for a SKIP."""
        return [
            item[-1] if item[0] != Item.SKIP else None
            for frame in self.frames(line)
            if isinstance(message := read(frame), Deliver)
            for item in message.items
        ]


def lines_of_a_room(count: int, most: int = 256 * 1024) -> Said:
    out, fanout = FakeOutbox(), UnicastFanout(EPOCH, HistoryLimits(), most)
    lines = [Line(key, 0) for key in range(1, count + 1)]
    for line in lines:
        fanout.connect(line, b"peer %d" % line.key, line.key + 500, Position(EPOCH, 0, 0))
        assert fanout.catch_up(line, out)
    return Said(out, fanout, lines)


def said(label: object) -> bytes:
    return encode_item(Item.BROADCAST, "t", label)


def told(line: Line, label: object) -> bytes:
    return encode_item(Item.DIRECT, line.last_direct + 1, "t", label)


def test_what_goes_to_all_is_one_object_for_all() -> None:
    room = lines_of_a_room(3)
    for label in range(5):
        assert not room.fanout.broadcast(said(label))
    room.fanout.flush(room.out, 1.0)
    assert len(room.out.frames) == 3
    first, *others = (frame for _, frame in room.out.frames)
    assert all(frame is first for frame in others)
    assert all(room.labels(line) == [0, 1, 2, 3, 4] for line in room.lines)


def test_only_who_gets_something_of_its_own_gets_a_frame_of_its_own() -> None:
    room = lines_of_a_room(4)
    one, two, three, four = room.lines
    room.fanout.broadcast(said("a"))
    room.fanout.direct(one, told(one, "for one"), 1.0)
    room.fanout.broadcast_except(said("not for two"), [two])
    room.fanout.broadcast(said("b"))
    room.fanout.flush(room.out, 1.0)
    assert room.labels(one) == ["a", "for one", "not for two", "b"]
    assert room.labels(two) == ["a", None, "b"]
    assert room.labels(three) == room.labels(four) == ["a", "not for two", "b"]
    assert room.frames(three)[0] is room.frames(four)[0]
    assert [len(room.frames(line)) for line in room.lines] == [1, 1, 1, 1]


def test_frames_name_the_member_where_a_connection_carries_several() -> None:
    room = lines_of_a_room(2)
    sharing = Line(9, 0)
    assert room.lines[0].peer is not None
    room.fanout.connect(sharing, room.lines[0].peer, 509, Position(EPOCH, 0, 0))
    room.fanout.catch_up(sharing, room.out)
    room.fanout.broadcast(said("a"))
    room.fanout.flush(room.out, 1.0)
    refs = [(message.ref, room.lines[0].peer == peer) for peer, message in delivered(room.out)]
    assert sorted(refs) == [(0, False), (501, True), (509, True)]
    room.out.frames.clear()
    room.fanout.disconnect(sharing)
    room.fanout.broadcast(said("b"))
    room.fanout.flush(room.out, 1.0)
    assert [message.ref for _, message in delivered(room.out)] == [0, 0]


def delivered(out: FakeOutbox) -> list[tuple[bytes, Deliver]]:
    messages = [(peer, read(frame)) for peer, frame in out.frames]
    return [(peer, message) for peer, message in messages if isinstance(message, Deliver)]


def test_a_slow_member_costs_no_memory_and_gets_all_of_it_later() -> None:
    room = lines_of_a_room(2)
    slow, quick = room.lines
    assert slow.peer is not None
    room.fanout.direct(slow, told(slow, "before"), 1.0)
    room.fanout.flush(room.out, 1.0)
    room.out.full.add(slow.peer)
    for label in range(4):
        room.fanout.broadcast(said(label))
        room.fanout.flush(room.out, 1.0)
        room.fanout.direct(slow, told(slow, f"direct {label}"), 1.0)
        room.fanout.flush(room.out, 1.0)
    assert list(room.fanout.behind) == [slow]
    assert room.labels(slow) == ["before"]
    assert room.labels(quick) == [0, 1, 2, 3]
    assert not room.fanout.catch_up(slow, room.out)
    room.out.full.clear()
    assert room.fanout.catch_up(slow, room.out)
    assert not room.fanout.behind
    assert room.labels(slow) == ["before", 0, "direct 0", 1, "direct 1", 2, "direct 2", 3, "direct 3"]
    room.fanout.broadcast(said("after"))
    room.fanout.flush(room.out, 1.0)
    assert room.frames(slow)[-1] is room.frames(quick)[-1]


def test_a_member_whose_connection_is_gone_is_not_tried_again() -> None:
    room = lines_of_a_room(2)
    gone, here = room.lines
    assert gone.peer is not None
    room.out.gone.add(gone.peer)
    room.fanout.broadcast(said("a"))
    room.fanout.flush(room.out, 1.0)
    assert not room.fanout.behind
    assert gone.behind
    room.fanout.broadcast(said("b"))
    room.fanout.flush(room.out, 1.0)
    assert room.labels(here) == ["a", "b"]


def test_a_turn_is_full_when_its_bytes_or_its_items_are() -> None:
    room = lines_of_a_room(1)
    assert not room.fanout.broadcast(said("x" * 60_000))
    assert room.fanout.broadcast(said("x" * 6_000))
    room.fanout.flush(room.out, 1.0)
    assert not any(room.fanout.broadcast(said(1)) for _ in range(1023))
    assert room.fanout.broadcast_except(said(1), [])
    room.fanout.flush(room.out, 1.0)
    line = room.lines[0]
    assert not any(room.fanout.direct(line, told(line, 1), 1.0) for _ in range(1023))
    assert room.fanout.direct(line, told(line, 1), 1.0)


def test_a_large_broadcast_behind_others_left_in_a_frame_that_no_receiver_takes() -> None:
    """63 KiB waited, then 255 KiB more came in the same turn: 318 KiB in one frame cut every member's connection."""
    most = 256 * 1024
    room = lines_of_a_room(3, most)
    slow = room.lines[2]
    assert slow.peer is not None
    large = encode_item(Item.BROADCAST, "t", b"x" * (most - HEAD_SIZE - 9))
    assert len(large) + HEAD_SIZE == most
    room.fanout.broadcast(said("x" * 63_000))
    room.fanout.broadcast(large)
    room.out.full.add(slow.peer)
    room.fanout.flush(room.out, 1.0)
    room.out.full.clear()
    room.fanout.catch_up(slow, room.out)
    for line in room.lines:
        frames = room.frames(line)
        assert all(len(frame) <= most for frame in frames)
        assert [message.offset for message in map(read, frames) if isinstance(message, Deliver)] == [0, 1]
    assert room.frames(room.lines[0])[1] is room.frames(room.lines[1])[1]


def test_what_is_forgotten_is_given_up_once_and_openly() -> None:
    out, fanout = FakeOutbox(), UnicastFanout(EPOCH, HistoryLimits(count=3), 1024)
    line = Line(1, 0)
    for label in range(5):
        fanout.broadcast(said(label))
    fanout.direct(line, told(line, "direct"), 1.0)
    fanout.flush(out, 1.0)
    fanout.connect(line, b"peer", 5, Position(EPOCH, 1, 0))
    assert not fanout.can_catch_up(line)
    assert not fanout.catch_up(line, out)
    assert fanout.end(line) == Position(EPOCH, 5, 1)
    fanout.jump(line)
    assert fanout.can_catch_up(line)
    assert fanout.catch_up(line, out)
    assert out.frames == []


@pytest.mark.parametrize("position", [Position(EPOCH, 6, 0), Position(EPOCH, 5, 2), Position(EPOCH, 2**53 - 1, 0)])
def test_a_position_that_never_was_cannot_be_caught_up_from(position: Position) -> None:
    out, fanout = FakeOutbox(), UnicastFanout(EPOCH, HistoryLimits(), 1024)
    line = Line(1, 0)
    for label in range(5):
        fanout.broadcast(said(label))
    fanout.direct(line, told(line, "direct"), 1.0)
    fanout.flush(out, 1.0)
    fanout.connect(line, b"peer", 5, position)
    assert not fanout.can_catch_up(line)


@pytest.mark.parametrize("in_one_turn", [True, False])
def test_what_a_queue_took_is_not_sent_again(in_one_turn: bool) -> None:
    out, fanout = FakeOutbox(), UnicastFanout(EPOCH, HistoryLimits(), 100_000)
    line = Line(1, 0)
    fanout.connect(line, b"peer", 5, Position(EPOCH, 0, 0))
    fanout.catch_up(line, out)
    for label in range(6):
        fanout.broadcast(said([label, "x" * 30_000]))
        fanout.direct(line, told(line, label), 1.0)
        if not in_one_turn:
            fanout.flush(out, 1.0)
    out.takes[b"peer"] = 1 if in_one_turn else 0
    fanout.flush(out, 1.0)
    while line.behind:
        out.takes[b"peer"] = 1
        fanout.catch_up(line, out)
    items = [item for _, message in delivered(out) for item in message.items]
    assert [item[-1] if item[0] == Item.DIRECT else item[-1][0] for item in items] == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        4,
        5,
        5,
    ]
    assert [message.offset for _, message in delivered(out)] == sorted({m.offset for _, m in delivered(out)})
