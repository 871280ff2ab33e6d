"""Topic fan-out, one case at a time: what is published where, and what is said when the room falls silent."""

from server_room_system import HistoryLimits, Position
from server_room_system.protocol import MARK, MEMBER_TOPIC, ROOM_TOPIC, Deliver, Item, encode_item
from server_room_system.rooms.lines import Downlink, Line
from server_room_system.rooms.topic import TopicFanout

from .fakes import read

EPOCH = 4711
ROOM = ROOM_TOPIC + bytes(16)


class Published:
    """What was published, in order."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes, Deliver]] = []

    def publish(self, shard: int, topic: bytes, frame: bytes) -> None:
        message = read(frame)
        assert isinstance(message, Deliver)
        self.frames.append((shard, topic, message))

    def take(self) -> list[tuple[int, str, int, list[object]]]:
        """Where each frame went ("room", or the member's number), its place, and what its items end with."""
        taken = [
            (
                shard,
                "room" if topic == ROOM else str(topic[1]),
                message.offset,
                [_short(item) for item in message.items],
            )
            for shard, topic, message in self.frames
        ]
        self.frames.clear()
        return taken


def _short(item: list[object]) -> object:
    if item[0] == MARK:
        return (item[1], item[2])
    return None if item[0] == Item.SKIP else item[-1]


def a_room(members: int, shards: int = 2, *, latest: bool = False) -> tuple[TopicFanout, list[Line], Published]:
    fanout, out = TopicFanout(EPOCH, HistoryLimits(), 256 * 1024, ROOM, latest=latest), Published()
    lines = [Line(key, 0, latest=latest) for key in range(1, members + 1)]
    for line in lines:
        fanout.connect(line, b"peer", line.key, Position(EPOCH, 0, 0))
        assert fanout.catch_up(line, out)
        assert line.behind
        fanout.grant(line, Downlink(line.key % shards, line.key, MEMBER_TOPIC + bytes([line.key]) * 16, 100 + line.key))
        assert fanout.catch_up(line, out)
        assert not line.behind
    assert out.frames == []
    return fanout, lines, out


def said(label: object) -> bytes:
    return encode_item(Item.BROADCAST, "t", label)


def told(line: Line, label: object) -> bytes:
    return encode_item(Item.DIRECT, line.last_direct + 1, "t", label)


def test_what_goes_to_all_is_published_once_on_each_publisher() -> None:
    fanout, _, out = a_room(5)
    for label in range(3):
        fanout.broadcast(said(label))
    fanout.flush(out, 1.0)
    assert out.take() == [(1, "room", 0, [0, 1, 2]), (0, "room", 0, [0, 1, 2])]
    fanout.flush(out, 1.0)
    assert out.take() == []


def test_what_is_ones_own_goes_ahead_of_what_is_shared_and_is_marked_there() -> None:
    fanout, (one, _), out = a_room(2, shards=1)
    fanout.broadcast(said("a"))
    fanout.direct(one, told(one, "for one"), 1.0)
    fanout.broadcast(said("b"))
    fanout.flush(out, 1.0)
    assert out.take() == [(0, "1", 0, ["a", "for one"]), (0, "room", 0, ["a", (101, 1), "b"])]
    fanout.broadcast(said("c"))
    fanout.flush(out, 1.0)
    assert out.take() == [(0, "room", 2, [(101, 1), "c"])]
    fanout.broadcast(said("d"))
    fanout.flush(out, 1.0)
    assert out.take() == [(0, "room", 3, ["d"])]


def test_a_direct_message_alone_is_for_its_member_alone() -> None:
    fanout, (one, two), out = a_room(2, shards=1)
    fanout.direct(two, told(two, "for two"), 1.0)
    fanout.flush(out, 1.0)
    assert out.take() == [(0, "2", 0, ["for two"])]
    assert one.last_direct == 0


def test_a_turn_that_excepts_somebody_is_not_on_the_rooms_topic() -> None:
    fanout, (_, two, _), out = a_room(3, shards=1)
    fanout.broadcast(said("a"))
    fanout.broadcast_except(said("not for two"), [two])
    fanout.flush(out, 1.0)
    assert out.take() == [(0, str(key), 0, ["a", None if key == 2 else "not for two"]) for key in (1, 2, 3)]
    fanout.broadcast_except(said("for all"), [])
    fanout.flush(out, 1.0)
    assert out.take() == [(0, "room", 2, ["for all"])]


def test_where_many_were_told_something_each_gets_a_frame_and_not_everybodys_marks() -> None:
    fanout, lines, out = a_room(66, shards=1)
    for line in lines[:65]:
        fanout.direct(line, told(line, "own"), 1.0)
    fanout.flush(out, 1.0)
    assert len(out.take()) == 65
    fanout.broadcast(said("a"))
    fanout.flush(out, 1.0)
    frames = out.take()
    assert frames[0] == (0, "1", 0, [(101, 1), "a"])
    assert frames[65] == (0, "66", 0, ["a"])
    assert len(frames) == 66
    fanout.broadcast(said("b"))
    fanout.flush(out, 1.0)
    assert out.take() == [(0, "room", 1, ["b"])]


def test_a_silent_room_says_five_times_where_its_stream_ends_and_then_nothing() -> None:
    fanout, (one, _), out = a_room(2, shards=1)
    fanout.direct(one, told(one, "own"), 1.0)
    fanout.broadcast(said("a"))
    fanout.flush(out, 10.0)
    out.take()
    beats: list[float] = []
    now = 10.0
    while (due := fanout.next_beat(now)) is not None:
        fanout.beat(out, due - 0.01)
        assert out.take() == []
        fanout.beat(out, due)
        assert out.take() == [(0, "room", 1, [(101, 1)])]
        beats.append(due)
        now = due
    assert beats == [11.0, 12.0, 14.0, 18.0, 26.0]
    fanout.beat(out, 1e9)
    assert out.take() == []


def test_what_is_said_between_two_beats_puts_the_next_one_off() -> None:
    fanout, _, out = a_room(1)
    fanout.broadcast(said("a"))
    fanout.flush(out, 10.0)
    assert fanout.next_beat(10.0) == 11.0
    fanout.broadcast(said("b"))
    fanout.flush(out, 10.9)
    out.take()
    fanout.beat(out, 11.0)
    assert out.take() == []
    assert fanout.next_beat(11.0) == 12.0


def test_nobody_is_there_to_hear_a_beat() -> None:
    fanout, (one,), out = a_room(1)
    fanout.broadcast(said("a"))
    fanout.disconnect(one)
    fanout.flush(out, 10.0)
    assert out.take() == []
    assert fanout.next_beat(10.0) is None


def test_who_has_no_downlink_yet_is_sent_it_all_when_it_has_one() -> None:
    fanout, _, out = a_room(0)
    line = Line(9, 0)
    fanout.connect(line, b"peer", 5, Position(EPOCH, 0, 0))
    assert fanout.catch_up(line, out)
    assert not fanout.behind
    fanout.broadcast(said("a"))
    fanout.direct(line, told(line, "own"), 1.0)
    fanout.broadcast(said("b"))
    fanout.flush(out, 1.0)
    assert out.take() == []
    fanout.grant(line, Downlink(0, 1, MEMBER_TOPIC + bytes([9]) * 16, 109))
    assert list(fanout.behind) == [line]
    assert fanout.catch_up(line, out)
    assert out.take() == [(0, "9", 0, ["a", "own", "b"])]


def test_the_loss_of_an_older_downlink_changes_nothing() -> None:
    fanout, (one,), out = a_room(1, shards=1)
    older, newer = one.downlink, Downlink(0, 7, MEMBER_TOPIC + bytes([7]) * 16, 107)
    assert older is not None
    fanout.grant(one, newer)
    assert fanout.catch_up(one, out)
    fanout.ungrant(one, older)
    assert one.downlink == newer
    fanout.broadcast(said("a"))
    fanout.flush(out, 1.0)
    assert out.take() == [(0, "room", 0, ["a"])]
    fanout.ungrant(one, newer)
    fanout.broadcast(said("b"))
    fanout.flush(out, 1.0)
    assert out.take() == []


def test_after_a_rekey_the_old_topic_carries_nothing() -> None:
    fanout, (one, two), out = a_room(2, shards=1)
    fanout.disconnect(two)
    new = ROOM_TOPIC + b"n" * 16
    assert fanout.rekey(new) == [one, two]
    assert (one.downlink, two.downlink) == (None, None)
    fanout.broadcast(said("a"))
    fanout.flush(out, 1.0)
    assert out.take() == []
    fanout.grant(one, Downlink(0, 3, MEMBER_TOPIC + bytes([1]) * 16, 101))
    assert fanout.catch_up(one, out)
    fanout.broadcast(said("b"))
    fanout.flush(out, 1.0)
    assert [(topic, message.offset) for _, topic, message in out.frames] == [
        (MEMBER_TOPIC + bytes([1]) * 16, 0),
        (new, 1),
    ]


def test_what_has_a_key_is_on_the_rooms_topic_unless_it_excepts_somebody() -> None:
    fanout, (one, two), out = a_room(2, shards=1, latest=True)
    fanout.broadcast_keyed(said("a"), "k")
    fanout.broadcast(said("b"))
    fanout.broadcast_except(said("c"), [], "k")
    fanout.flush(out, 1.0)
    assert out.take() == [(0, "room", 0, ["a", "b", "c"])]
    fanout.broadcast_except(said("not for two"), [two], "k")
    fanout.flush(out, 1.0)
    assert out.take() == [(0, "1", 3, ["not for two"]), (0, "2", 3, [None])]
    fanout.direct(one, told(one, "first"), 1.0, "k")
    fanout.direct(one, told(one, "second"), 1.0, "k")
    fanout.flush(out, 1.0)
    assert out.take() == [(0, "1", 4, ["first", "second"])]


def test_who_found_a_hole_is_sent_the_newest_of_each_key_on_its_own_topic() -> None:
    fanout, (one, _), out = a_room(2, shards=1, latest=True)
    for label in range(5):
        fanout.broadcast_keyed(said(label), "k")
        fanout.direct(one, told(one, ["own", label]), 1.0, "k")
        fanout.flush(out, 1.0)
    out.take()
    fanout.connect(one, b"peer", 9, Position(EPOCH, 1, 1))
    assert fanout.catch_up(one, out)
    ((_, topic, message),) = out.frames
    assert topic == MEMBER_TOPIC + bytes([1]) * 16
    assert message.offset == 1
    assert message.items == [
        [Item.OUTDATED, 3],
        [Item.BROADCAST, "t", 4],
        [Item.OUTDATED_DIRECT, 2, 4],
        [Item.DIRECT, 5, "t", ["own", 4]],
    ]


def test_what_was_said_to_one_before_is_marked_ahead_of_a_broadcast_on_its_own_topic() -> None:
    """Where it was lost, its member read the broadcast first, and found the hole behind it."""
    fanout, (line, _), out = a_room(2)
    fanout.direct(line, told(line, "lost, perhaps"), 1.0)
    fanout.flush(out, 1.0)
    out.frames.clear()
    fanout.broadcast(said("all"))
    fanout.direct(line, told(line, "one"), 2.0)
    fanout.flush(out, 2.0)
    assert out.take()[0] == (1, "1", 0, [(101, 1), "all", "one"])


def test_what_one_is_excepted_from_goes_to_each_of_the_others_under_its_own_reference() -> None:
    """Under none, whoever was granted another member's topic by mistake took it for its own."""
    fanout, lines, out = a_room(3)
    fanout.broadcast_except(said("not you"), [lines[0]])
    fanout.flush(out, 1.0)
    assert sorted(message.ref for _, _, message in out.frames) == [101, 102, 103]
