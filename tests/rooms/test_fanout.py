"""The fan-outs: whatever happens to connections, each member's reader sees exactly what was said to it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server_room_system import HistoryLimits, Position
from server_room_system.protocol import (
    ROOM_TOPIC,
    Deliver,
    Gap,
    Item,
    Reset,
    StreamReader,
    encode,
    encode_item,
    streams,
)
from server_room_system.protocol.messages import HEAD_SIZE
from server_room_system.rooms import fanout as fanout_module
from server_room_system.rooms import topic as topic_module
from server_room_system.rooms.fanout import UnicastFanout
from server_room_system.rooms.lines import Downlink, Line
from server_room_system.rooms.topic import TopicFanout
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
        for module in (fanout_module, topic_module):
            self.patch.setattr(module, "ONE_FRAME", ONE_FRAME)
            self.patch.setattr(module, "MOST_ITEMS", MOST_ITEMS)
        self.patch.setattr(streams, "MOST_ITEMS", MOST_ITEMS)
        self.readers: list[Reader] = []
        self.given_up: dict[tuple[Position, int], int] = {}
        """The last label that was said before a reset, by its position and reference."""
        self.not_for: dict[int, list[Reader]] = {}
        """Who must not even be sent what has this label."""

    latest = False
    """Whether of each key only the newest is kept."""

    @initialize(count=st.integers(2, 60))
    def begin(self, count: int) -> None:
        limits = HistoryLimits(count=count, size=4000, age=1e9)
        self.fanout = UnicastFanout(EPOCH, limits, MOST, latest=self.latest)
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
        self.not_for[label] = excepted
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
            self.say_directly(reader, size)

    def say_directly(self, reader: Reader, size: int) -> None:
        label = self.label()
        self.not_for[label] = [other for other in self.readers if other is not reader]
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
        line = Line(self.keys, self.fanout.offset, latest=self.latest)
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
            if reader.line in self.fanout.behind and self.has_room(reader):
                self.bring_up(reader)

    def has_room(self, reader: Reader) -> bool:
        """Whether there is room for a trial."""
        assert reader.wire is not None
        takes = self.fanout.has_room(reader.line, self.network)
        assert takes == (reader.wire.state is Sent.TAKEN)
        return takes

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
        assert len(message.items) <= MOST_ITEMS
        if message.ref == 0:
            (reader,) = wire.members  # "the only one here"
        else:
            (reader,) = (reader for reader in wire.members if reader.line.ref == message.ref)
        for item, _ in reader.stream.read(message.offset, message.items):
            assert reader.wire is wire or reader.wire is None
            self.saw(reader, item)

    def saw(self, reader: Reader, item: list[Any]) -> None:
        """A member is shown something: each once, and in order."""
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


@dataclass(eq=False)
class Pipe:
    """A downlink: what is on its way, which topics it was granted, whether it takes more or loses it."""

    shard: int
    reader: Reader
    downlink: Downlink
    topics: set[bytes]
    flying: deque[bytes] = field(default_factory=deque)
    full: bool = False
    alive: bool = True
    whole: bool = True
    """Nothing was lost on it, so that there is no reason for a gap."""


class Publishers:
    """The network of a topic room."""

    def __init__(self, machine: "TopicMachine") -> None:
        self.pipes: list[Pipe] = []
        self._machine = machine

    def publish(self, shard: int, topic: bytes, frame: bytes) -> None:
        assert len(frame) <= MOST, "a frame is larger than its receiver takes"
        message = read(frame)
        assert isinstance(message, Deliver)
        takers = [pipe for pipe in self.pipes if pipe.alive and pipe.shard == shard and topic in pipe.topics]
        for pipe in takers:
            assert pipe.reader in self._machine.readers, "who was kicked is sent something"
            for item in message.items:
                if item[0] not in (Item.SKIP, Item.MARK, Item.OUTDATED, Item.OUTDATED_DIRECT):
                    assert pipe.reader not in self._machine.not_for.get(item[-1], ()), "sent to who was excepted"
            if pipe.full:
                pipe.whole = False
            else:
                pipe.flying.append(frame)


class TopicMachine(FanoutMachine):
    """The same over topics, where nobody hears of what is lost until its reader finds out."""

    fanout: TopicFanout  # type: ignore[assignment]  # the other kind
    network: Publishers  # type: ignore[assignment]

    @initialize(count=st.integers(2, 60), marks=st.integers(0, 3))
    def begin(self, count: int, marks: int) -> None:
        self.patch.setattr(topic_module, "_MOST_MARKS", marks)
        self.topics = self.names = 0
        limits = HistoryLimits(count=count, size=4000, age=1e9)
        self.fanout = TopicFanout(EPOCH, limits, MOST, self.new_topic(), latest=self.latest)
        self.network = Publishers(self)
        self.labels = self.refs = self.keys = 0
        self.now = 1.0
        self.downlinks: dict[Reader, Pipe] = {}
        """The downlink that a member has or waits for."""
        self.missing: set[Reader] = set()
        """Members who found a hole and will ask."""

    def new_topic(self) -> bytes:
        self.topics += 1
        return ROOM_TOPIC + self.topics.to_bytes(16, "big")

    def flush(self) -> None:
        self.fanout.flush(self.network, self.now)

    # What happens to connections.

    def connect(self, data: st.DataObject, reader: Reader, shared: bool) -> None:
        self.put_on(reader, Wire(b"wire"))

    def put_on(self, reader: Reader, wire: Wire) -> None:
        """The member says where it is; if it has no downlink, it is told to make one."""
        self.refs += 1
        reader.wire = wire
        self.missing.discard(reader)
        self.fanout.connect(reader.line, wire.peer, self.refs, reader.stream.position)
        self.bring_up(reader)
        pipe = self.downlinks.get(reader)
        if pipe is None or not pipe.alive:
            self.names += 1
            downlink = Downlink(self.names % 2, self.names, self.new_topic(), self.names)
            reader.line.mark = downlink.mark
            self.downlinks[reader] = Pipe(downlink.shard, reader, downlink, set())

    def bring_up(self, reader: Reader) -> None:
        if not self.fanout.can_catch_up(reader.line):
            reader.stream = StreamReader(self.fanout.end(reader.line))
            reader.to_come.clear()
            self.fanout.jump(reader.line)
        assert self.fanout.catch_up(reader.line, self.network)
        assert reader.line.behind == (reader.line.downlink is None)

    def grant(self, reader: Reader, *, late: bool) -> None:
        """The topics are granted; the room hears so at once, or after it has said more."""
        pipe = self.downlinks[reader]
        if not pipe.topics:
            self.network.pipes.append(pipe)
        pipe.topics = {self.fanout.topic, pipe.downlink.topic}
        if late:
            pipe.whole = False
            return
        self.flush()
        self.fanout.grant(reader.line, pipe.downlink)
        if reader.wire is not None:
            self.bring_up(reader)
        else:
            pipe.whole = False  # it hears what is shared, and nothing else

    def waiting(self) -> list[Reader]:
        """Whose downlink the room has not heard of."""
        return [reader for reader, pipe in self.downlinks.items() if reader.line.downlink != pipe.downlink]

    @precondition(lambda self: self.waiting())
    @rule(data=st.data(), late=st.booleans())
    def a_grant(self, data: st.DataObject, late: bool) -> None:
        self.grant(data.draw(st.sampled_from(self.waiting())), late=late)

    def hang_up(self, reader: Reader) -> None:
        pipe = self.downlinks.pop(reader, None)
        if pipe is not None:
            pipe.alive = False

    @precondition(lambda self: any(reader.wire for reader in self.readers))
    @rule(data=st.data(), both=st.booleans())
    def lose(self, data: st.DataObject, both: bool) -> None:
        """A member's connection is lost, with its downlink or before it."""
        reader = data.draw(st.sampled_from([reader for reader in self.readers if reader.wire is not None]))
        self.fanout.disconnect(reader.line)
        reader.wire = None
        if both:
            self.lose_downlink_of(reader)
        elif reader in self.downlinks:
            self.downlinks[reader].whole = False

    @precondition(lambda self: self.downlinks)
    @rule(data=st.data(), told=st.booleans())
    def lose_downlink(self, data: st.DataObject, told: bool) -> None:
        """A downlink is lost; its member asks for another one before the room hears of it, or after."""
        reader = data.draw(st.sampled_from(list(self.downlinks)))
        downlink = self.downlinks[reader].downlink
        if told:
            self.lose_downlink_of(reader)
        else:
            self.hang_up(reader)
        if reader.wire is not None:
            self.flush()
            self.put_on(reader, reader.wire)
            self.fanout.ungrant(reader.line, downlink)

    def lose_downlink_of(self, reader: Reader) -> None:
        pipe = self.downlinks.get(reader)
        self.hang_up(reader)
        if pipe is not None:
            self.fanout.ungrant(reader.line, pipe.downlink)

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.flush()
        reader = data.draw(st.sampled_from(self.readers))
        self.fanout.disconnect(reader.line)
        self.lose_downlink_of(reader)
        self.readers.remove(reader)
        self.missing.discard(reader)

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def kick(self, data: st.DataObject) -> None:
        """A member goes whose downlink could not be cut: the others go on without it."""
        self.flush()
        reader = data.draw(st.sampled_from(self.readers))
        self.fanout.disconnect(reader.line)
        self.downlinks.pop(reader, None)
        self.readers.remove(reader)
        self.missing.discard(reader)
        self.fanout.rekey(self.new_topic())
        for other in self.readers:
            self.hang_up(other)
            if other.wire is not None:
                self.put_on(other, other.wire)

    @precondition(lambda self: self.downlinks)
    @rule(data=st.data(), full=st.booleans())
    def turn_bad_or_good(self, data: st.DataObject, full: bool) -> None:
        """A queue is full, so that what is published is lost on it, or has room again."""
        self.downlinks[data.draw(st.sampled_from(list(self.downlinks)))].full = full

    @precondition(lambda self: self.downlinks)
    @rule(data=st.data(), directs=st.integers(0, 2))
    def end_the_turn_in_vain(self, data: st.DataObject, directs: int) -> None:
        """What is said to somebody in one turn is lost, and the next thing arrives."""
        reader = data.draw(st.sampled_from(list(self.downlinks)))
        for _ in range(directs):
            self.say_directly(reader, 5)
        self.downlinks[reader].full = True
        self.flush()
        self.downlinks[reader].full = False

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def say_something_before_a_grant_is_heard_of(self, data: st.DataObject) -> None:
        """What is shared comes already, and what is said to the member alone does not."""
        reader = data.draw(st.sampled_from(self.waiting()))
        self.grant(reader, late=True)
        self.say_directly(reader, 5)
        self.broadcast(1)
        self.flush()
        self.arrive(10_000)

    @precondition(lambda self: any(not reader.line.behind for reader in self.readers))
    @rule(data=st.data())
    def ask_in_vain(self, data: st.DataObject) -> None:
        """A direct message is lost, and also what brings it once more."""
        reader = data.draw(st.sampled_from([reader for reader in self.readers if not reader.line.behind]))
        pipe = self.downlinks.get(reader)
        if pipe is not None and reader.wire is not None:
            self.arrive(10_000)
            pipe.full = True
            self.say_directly(reader, 5)
            self.flush()
            self.put_on(reader, reader.wire)
            pipe.full = False
            self.broadcast(1)
            self.flush()
            self.arrive(10_000)

    @rule()
    def try_again(self) -> None:
        """Who found a hole asks for what is missing."""
        self.flush()
        for reader in list(self.missing):
            if reader.wire is not None:
                self.put_on(reader, reader.wire)

    @rule(early=st.booleans())
    def beat(self, early: bool) -> None:
        self.flush()
        due = self.fanout.next_beat(self.now)
        if due is not None:
            self.now = due - (0.1 if early else 0.0)
            self.fanout.beat(self.network, self.now)

    @rule(count=st.integers(1, 5))
    def arrive(self, count: int) -> None:
        for pipe in list(self.network.pipes):
            for _ in range(min(count, len(pipe.flying))):
                self.hear(pipe, pipe.flying.popleft())

    def hear(self, pipe: Pipe, frame: bytes) -> None:
        message = read(frame)
        assert isinstance(message, Deliver)
        assert message.epoch == EPOCH
        assert len(message.items) <= MOST_ITEMS
        reader = pipe.reader
        if self.downlinks.get(reader) is not pipe:
            return
        assert message.ref in (0, *range(1, self.refs + 1))
        try:
            for item, _ in reader.stream.read(message.offset, message.items, pipe.downlink.mark):
                self.saw(reader, item)
        except Gap:
            assert not pipe.whole, "a gap where nothing was lost"
            self.missing.add(reader)

    def all_comes_in_the_end(self) -> None:
        """Nobody asks who did not find a hole: every loss shows, at the latest when the room has fallen silent."""
        if self.fanout.next_beat(self.now) is None and self.readers:
            self.broadcast(1)
        self.flush()
        for reader in self.readers:
            if reader.wire is None:
                self.put_on(reader, Wire(b"wire"))
            self.downlinks[reader].full = False
        for reader in self.waiting():
            self.grant(reader, late=False)
        for reader in self.readers[:1]:
            self.downlinks[reader].full, self.downlinks[reader].whole = True, False
            self.say_directly(reader, 5)
            self.flush()
            self.downlinks[reader].full = False
        for _ in range(2 * len(self.readers) + 5):
            self.arrive(10_000)
            self.try_again()
            self.beat(early=False)
        assert self.fanout.next_beat(self.now) is None, "a room that says nothing has no timer in the end"
        assert not any(reader.to_come for reader in self.readers)


class Latest(FanoutMachine):
    """Besides, things are said that have a key: of each the newest comes in any case, and no older one after it."""

    latest = True

    def __init__(self) -> None:
        super().__init__()
        self.key_of: dict[int, tuple[str, int]] = {}
        """By label, what it outdates older ones of."""

    @rule(data=st.data(), key=st.integers(1, 3))
    def broadcast_keyed(self, data: st.DataObject, key: int) -> None:
        excepted = data.draw(st.lists(st.sampled_from(self.readers), unique=True)) if self.readers else []
        label = self.label()
        self.key_of[label] = "all", key
        self.not_for[label] = excepted
        for reader in self.readers:
            if reader not in excepted:
                reader.to_come.append(label)
        item = self.broadcast_item(label, 5)
        if excepted:
            full = self.fanout.broadcast_except(item, [reader.line for reader in excepted], key)
        else:
            full = self.fanout.broadcast_keyed(item, key)
        if full:
            self.flush()

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), key=st.integers(1, 2), count=st.integers(1, 4))
    def direct_keyed(self, data: st.DataObject, key: int, count: int) -> None:
        reader = self.a_reader(data)
        for _ in range(count):
            label = self.label()
            self.key_of[label] = "one", key
            self.not_for[label] = [other for other in self.readers if other is not reader]
            reader.to_come.append(label)
            item = encode_item(Item.DIRECT, reader.line.last_direct + 1, "", label)
            if self.fanout.direct(reader.line, item, 1.0, key):
                self.flush()

    def saw(self, reader: Reader, item: list[Any]) -> None:
        assert item[-1] in reader.to_come, "something was said twice, or an older one after a newer"
        while (label := reader.to_come.popleft()) != item[-1]:
            key = self.key_of.get(label)
            assert key is not None, "what has no key was left out"
            assert key in map(self.key_of.get, reader.to_come), "the newest was left out"


class LatestTopic(Latest, TopicMachine):
    """The same over topics."""


TestFanout = FanoutMachine.TestCase
TestTopics = TopicMachine.TestCase
TestLatestFanout = Latest.TestCase
TestLatestTopics = LatestTopic.TestCase
for machine, examples in ((TestFanout, 100), (TestTopics, 100), (TestLatestFanout, 60), (TestLatestTopics, 60)):
    machine.settings = settings(max_examples=examples, stateful_step_count=50, deadline=None)
del machine  # or it is run once more


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
