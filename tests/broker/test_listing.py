"""Live lists: what a watcher has replayed is the true list, whatever has changed and whatever was lost on the way."""

from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from server_room_system import BadMessage, CapacityReached, Limits, Session
from server_room_system.broker import listing
from server_room_system.broker.directory import Directory
from server_room_system.broker.listing import Listing
from server_room_system.client.room_list import Replay
from server_room_system.protocol import Filter, Listed, Watch, parse
from server_room_system.protocol.codec import download_decoder
from server_room_system.rooms.control import RoomUpdated

from .fakes import FakeOutbox, a_worker

_TYPES = ["duel", "chat"]
_ROOMS = [f"r{number}" for number in range(6)]
_FILTERS: list[dict[str, Any]] = [{}, {"level": {"min": 2}}, {"level": [1, 3]}]


_decode = download_decoder(Limits())


class Reader:
    """A session, as lists need it, and what its client has made of what came."""

    ref = 7

    def __init__(self) -> None:
        self.sent: list[Listed] = []
        self.replay = Replay()
        self.behind = False

    def say_frame(self, frame: bytes) -> None:
        message = parse(_decode(frame))
        assert isinstance(message, Listed)
        self.sent.append(message)

    def as_session(self) -> Session:
        return self  # type: ignore[return-value]  # all of it that lists use


class Lists(RuleBasedStateMachine):
    """Rooms change, watchers come and go, and frames are lost."""

    @initialize()
    def begin(self) -> None:
        self.out = FakeOutbox()
        self.directory = Directory()
        self.listing = Listing(self.directory, self.out, Random(3).randbytes)
        self.worker = a_worker("w", self.out)
        self.readers: list[tuple[Reader, str | None, dict[str, Any]]] = []
        for type_name in ("duel", None):
            for where in _FILTERS:
                self.readers.append((Reader(), type_name, where))
        for number in range(len(self.readers)):
            self.ask(number)

    def ask(self, number: int) -> None:
        reader, type_name, where = self.readers[number]
        reader.behind = False
        self.listing.watch(reader.as_session(), Watch(7, 5, type_name, where, *reader.replay.position))
        self.read(number)

    def read(self, number: int) -> None:
        reader, _, _ = self.readers[number]
        sent, reader.sent = reader.sent, []
        for message in sent:
            if reader.replay.take(message) is None:
                reader.behind = True
        if reader.behind:
            self.ask(number)

    @rule(
        room=st.sampled_from(_ROOMS),
        type_name=st.sampled_from(_TYPES),
        level=st.integers(0, 3),
        clients=st.integers(0, 2),
        access=st.sampled_from([{}, {}, {"private": True}, {"unlisted": True}, {"password": True}]),
    )
    def changes(self, room: str, type_name: str, level: int, clients: int, access: dict[str, Any]) -> None:
        report = RoomUpdated(room, type_name, clients, 2 - clients, 2, False, {"level": level}, bytes(16), access)
        self.directory.update(report, self.worker)

    @rule(room=st.sampled_from(_ROOMS))
    def ends(self, room: str) -> None:
        self.directory.remove(room, self.worker)

    @rule()
    def time_passes(self) -> None:
        self.out.advance(0.1)

    @rule(number=st.integers(0, 5))
    def is_read(self, number: int) -> None:
        self.read(number)

    @rule(number=st.integers(0, 5), lost=st.integers(1, 3))
    def frames_are_lost_with_the_connection(self, number: int, lost: int) -> None:
        reader, _, _ = self.readers[number]
        self.listing.gone(reader.as_session())
        del reader.sent[-lost:]
        for message in reader.sent:
            reader.replay.take(message)
        reader.sent = []
        reader.behind = True

    @rule(number=st.integers(0, 5), lost=st.integers(0, 2))
    def a_frame_is_lost_on_the_way(self, number: int, lost: int) -> None:
        reader, _, _ = self.readers[number]
        if lost < len(reader.sent):
            del reader.sent[lost]

    @rule()
    def long_away(self) -> None:
        self.out.advance(100.0)

    @rule(number=st.integers(0, 5))
    def comes_back(self, number: int) -> None:
        self.ask(number)

    @invariant()
    def what_is_replayed_is_the_true_list(self) -> None:
        if not hasattr(self, "readers"):
            return
        self.out.advance(0.1)
        for number, (reader, type_name, where) in enumerate(self.readers):
            if reader.behind:
                continue  # its client does not have a connection
            self.read(number)
            true = {entry["room"]: entry for entry in self.directory.list(type_name, Filter(where))}
            if reader.replay.rooms != true:  # the last frame was lost: nothing tells, until one more comes
                self.ask(number)
            assert reader.replay.complete
            assert reader.replay.rooms == true


TestLists = Lists.TestCase
TestLists.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


class Stage:
    def __init__(self) -> None:
        self.out = FakeOutbox()
        self.directory = Directory()
        self.listing = Listing(self.directory, self.out, Random(3).randbytes)
        self.worker = a_worker("w", self.out)

    def room(self, number: int, type_name: str = "duel", **metadata: Any) -> None:
        self.directory.update(RoomUpdated(f"r{number}", type_name, 0, 2, 2, False, metadata), self.worker)

    def watch(self, reader: Reader, ask: int = 5, type_name: str | None = "duel", **where: Any) -> None:
        self.listing.watch(reader.as_session(), Watch(7, ask, type_name, where, *reader.replay.position))


def test_what_happens_within_a_moment_is_told_once() -> None:
    stage, reader = Stage(), Reader()
    stage.watch(reader)
    for level in range(10):
        stage.room(1, level=level)
        stage.room(2)
        stage.directory.remove("r2", stage.worker)
    stage.out.advance(1.0)
    _, message = reader.sent
    assert [(kind, entry["room"]) for kind, entry in message.changes] == [(1, "r1")]


def test_rooms_of_another_type_cost_and_tell_nothing() -> None:
    stage, reader = Stage(), Reader()
    stage.watch(reader)
    stage.room(1, "chat")
    stage.out.advance(1.0)
    assert len(reader.sent) == 1


def test_who_comes_back_gets_what_it_missed_and_after_long_the_whole_list() -> None:
    stage, reader = Stage(), Reader()
    stage.watch(reader)
    stage.room(1)
    stage.out.advance(1.0)
    for message in reader.sent:
        reader.replay.take(message)
    reader.sent.clear()
    stage.listing.gone(reader.as_session())
    stage.room(2)
    stage.out.advance(1.0)
    stage.watch(reader)
    (message,) = reader.sent
    assert [kind for kind, _ in message.changes] == [1]
    reader.replay.take(message)
    stage.listing.gone(reader.as_session())
    stage.out.advance(100.0)
    assert len(stage.listing) == 0, "nobody has watched it for long"
    reader.sent.clear()
    stage.watch(reader)
    assert [kind for kind, _ in reader.sent[0].changes] == [0, 1, 1]


def test_a_list_is_bounded_and_filled_again() -> None:
    stage, reader = Stage(), Reader()
    for number in range(700):
        stage.room(number, text="x" * 1000)
    stage.watch(reader)
    assert len(reader.sent) > 1, "a frame holds less"
    for message in reader.sent:
        reader.replay.take(message)
    assert reader.replay.complete
    assert len(reader.replay.rooms) == 500
    reader.sent.clear()
    for number in range(200):
        stage.directory.remove(f"r{number}", stage.worker)
    stage.out.advance(1.0)
    for message in reader.sent:
        assert reader.replay.take(message) is not None
    assert len(reader.replay.rooms) == 500
    assert set(reader.replay.rooms) == {f"r{number}" for number in range(200, 700)}


@pytest.mark.parametrize(
    "changes",
    [
        [5],
        [[]],
        [[1, {}]],
        [[1, {"room": 5}]],
        [[9, {"room": "r"}]],
        [[True, {"room": "r"}]],
        [[0, {"rooms": -1}]],
        [[0, {}]],
        [[0, {"rooms": 1, "from": 2}]],
        [[0, {"rooms": 1, "from": -1}]],
        [[0, {"rooms": 1, "from": "0"}]],
        [[1, {"room": "r"}], [0, {"rooms": 0}]],
        [[3, ["r"]]],
    ],
    ids=str,
)
def test_what_is_no_change_is_refused_whole(changes: list[Any]) -> None:
    replay = Replay()
    replay.take(Listed(7, 5, 3, 1, [[0, {"rooms": 1}], [1, {"room": "here"}]]))
    with pytest.raises(BadMessage):
        replay.take(Listed(7, 5, 3, 1, [[3, {"room": "here"}], *changes]))
    assert list(replay.rooms) == ["here"]
    assert replay.position == (3, 1)


def test_a_session_watches_few_lists_at_once() -> None:
    stage, reader = Stage(), Reader()
    for ask in range(4):
        stage.watch(reader, ask, level=ask)
    with pytest.raises(CapacityReached):
        stage.watch(reader, 4, level=4)
    stage.listing.unwatch(reader.as_session(), 0)
    stage.watch(reader, 4, level=4)


def test_a_change_is_judged_once_for_all_who_watch_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []
    look_at = listing._View.look_at

    def count(view: Any, room: str, entry: Any) -> Any:
        judged.append(room)
        return look_at(view, room, entry)

    stage = Stage()
    readers = [Reader() for _ in range(50)]
    for number, reader in enumerate(readers):
        stage.watch(reader, level=[1, 2] if number % 2 else [2.0, 1])
    assert len(stage.listing) == 1
    monkeypatch.setattr(listing._View, "look_at", count)
    stage.room(1, level=2)
    stage.out.advance(1.0)
    assert judged == ["r1"]
    assert all([kind for kind, _ in reader.sent[-1].changes] == [1] for reader in readers)


def test_more_different_lists_than_may_be_are_refused_until_one_is_not_watched() -> None:
    stage, readers = Stage(), [Reader() for _ in range(256)]
    for number in range(1024):
        stage.watch(readers[number % 256], number // 256, level=number)
    late = Reader()
    with pytest.raises(CapacityReached, match="1024 different lists"):
        stage.watch(late, level=-1)
    stage.watch(late, level=7)
    stage.listing.unwatch(readers[0].as_session(), 0)
    stage.watch(late, 6, level=-1)
    assert len(stage.listing) == 1024


def test_what_is_too_much_to_judge_at_once_is_told_bit_by_bit() -> None:
    stage, readers = Stage(), [Reader() for _ in range(100)]
    for number in range(400):
        stage.watch(readers[number % 100], number // 100, level={"min": -number})
    for number in range(30):
        stage.room(number, level=1)
    stage.out.advance(0.06)
    first = sum(len(message.changes) for message in readers[0].sent if message.ask == 0)
    assert 1 < first < 31
    stage.room(0, level=2)  # changes again before it is its turn, or after
    stage.out.advance(1.0)
    for reader in readers:
        lists = {ask: Replay() for ask in range(4)}
        for message in reader.sent:
            assert lists[message.ask].take(message) is not None
        for replay in lists.values():
            assert len(replay.rooms) == 30
            assert replay.rooms["r0"]["metadata"] == {"level": 2}


def in_parts() -> tuple[Stage, Reader, list[Listed]]:
    """A list that comes in several messages."""
    stage, reader = Stage(), Reader()
    for number in range(450):
        stage.room(number, text="x" * 1000)
    stage.watch(reader)
    assert len(reader.sent) == 3
    return stage, reader, reader.sent


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_part_of_a_whole_list_that_is_lost_is_missed(lost: int) -> None:
    stage, reader, parts = in_parts()
    replay = reader.replay
    for number in range(3):  # a change is what a part looks like
        stage.room(450 + number)
    stage.out.advance(1.0)
    taken = [replay.take(message) for number, message in enumerate(parts) if number != lost]
    assert None in taken
    assert replay.position == (0, 0), "not even what has come is of use"
    reader.sent.clear()
    stage.watch(reader)
    for message in reader.sent:
        assert replay.take(message) is not None
    assert replay.complete
    assert len(replay.rooms) == 453


def test_a_part_that_comes_twice_or_of_another_list_is_not_taken() -> None:
    _, reader, parts = in_parts()
    replay = reader.replay
    assert replay.take(parts[0]) is not None
    assert replay.take(parts[1]._replace(epoch=5)) is None
    assert replay.take(parts[1]) is not None
    assert replay.take(parts[1]) is None
    assert replay.take(parts[2]) is not None
    assert replay.complete
    assert replay.take(parts[2]) is None
    assert replay.position == (parts[0].epoch, 0), "the list is whole: what comes late does not harm it"
    assert len(replay.rooms) == 450
