"""One conversation: numbers, acknowledgements, what is sent again, and what is read."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server_room_system.client.membership import Membership
from server_room_system.client.received import Received
from server_room_system.protocol import (
    Backpressure,
    BadMessage,
    Code,
    Gap,
    Item,
    Kind,
    Limits,
    PayloadError,
    Position,
    RemoteError,
    Request,
    RequestRefused,
    Send,
    StreamReader,
)

from .fakes import broadcast, contact, direct, read

EPOCH = 7


def made(**limits: int) -> Membership:
    membership = Membership("r", contact(), Limits(**limits), 1000)
    membership.ref = 9
    membership.reader = StreamReader(Position(EPOCH, 0, 0))
    return membership


def add(membership: Membership, *data: Any) -> list[int]:
    return [membership.add(Kind.SEND, "say", one) for one in data]


def transmit(membership: Membership) -> list[int]:
    """Hand everything over; the numbers of what was waiting."""
    numbers = []
    for number, _ in membership.untransmitted():
        membership.transmitted(number)
        numbers.append(number)
    return numbers


# Sending.


def test_messages_are_numbered_from_one() -> None:
    membership = made()
    assert add(membership, "a", "b", "c") == [1, 2, 3]
    assert (membership.unacked, membership.acked) == (3, 0)


def test_a_frame_says_where_what_and_under_which_number() -> None:
    membership = made()
    membership.add(Kind.SEND, "move", {"x": [1, b"2", None]})
    membership.add(Kind.REQUEST, "buy", "sword")
    assert [read(frame) for _, frame in membership.untransmitted()] == [
        Send(9, 1, "move", {"x": [1, b"2", None]}),
        Request(9, 2, "buy", "sword"),
    ]


@pytest.mark.parametrize(("ref", "number"), [(1, 1), ((1 << 32) - 1, 1 << 40)])
def test_heads_hold_the_largest_numbers(ref: int, number: int) -> None:
    membership = made()
    membership.ref, membership._last = ref, number - 1
    add(membership, "x")
    assert [read(frame) for _, frame in membership.untransmitted()] == [Send(ref, number, "say", "x")]


def test_frames_carry_the_ref_that_counts_when_they_are_sent() -> None:
    membership = made()
    add(membership, "x")
    membership.ref = 77
    assert [read(frame) for _, frame in membership.untransmitted()] == [Send(77, 1, "say", "x")]


def test_what_is_handed_over_is_not_handed_over_again() -> None:
    membership = made()
    add(membership, 1, 2)
    assert transmit(membership) == [1, 2]
    add(membership, 3)
    assert transmit(membership) == [3]
    assert transmit(membership) == []


def test_acknowledged_messages_are_forgotten() -> None:
    membership = made()
    add(membership, 1, 2, 3)
    transmit(membership)
    membership.acknowledged(2)
    assert (membership.acked, membership.unacked) == (2, 1)
    membership.acknowledged(1)
    assert (membership.acked, membership.unacked) == (2, 1)
    membership.acknowledged(3)
    assert (membership.acked, membership.unacked) == (3, 0)


def test_what_follows_a_number_is_sent_again() -> None:
    membership = made()
    add(membership, 1, 2, 3, 4)
    transmit(membership)
    membership.acknowledged(2)
    membership.repeat_from(3)
    assert transmit(membership) == [3, 4]


def test_sending_again_begins_where_messages_are_still_kept() -> None:
    membership = made()
    add(membership, 1, 2, 3)
    transmit(membership)
    membership.acknowledged(2)
    membership.repeat_from(1)
    assert transmit(membership) == [3]


def test_nothing_is_skipped_by_sending_again_from_a_later_number() -> None:
    membership = made()
    add(membership, 1, 2, 3)
    membership.repeat_from(3)
    assert transmit(membership) == [1, 2, 3]


def test_numbers_go_on_after_everything_is_acknowledged() -> None:
    membership = made()
    add(membership, 1, 2)
    membership.acknowledged(2)
    assert add(membership, 3) == [3]
    assert transmit(membership) == [3]


def test_a_refused_message_keeps_its_number_and_is_not_sent_again() -> None:
    membership = made()
    add(membership, 1, 2, 3)
    transmit(membership)
    assert membership.answered(2)
    assert not membership.answered(2)
    membership.repeat_from(1)
    assert transmit(membership) == [1, 3]
    assert add(membership, 4) == [4]


def test_at_the_limit_no_more_is_taken() -> None:
    membership = made(unacked=2)
    add(membership, 1)
    assert not membership.full
    add(membership, 2)
    assert membership.full
    with pytest.raises(Backpressure) as refused:
        add(membership, 3)
    assert refused.value.unacked == 2
    assert membership.unacked == 2
    membership.acknowledged(1)
    assert not membership.full
    assert add(membership, 3) == [3]


@pytest.mark.parametrize(
    "data",
    [object(), {1: 2}, [0] * 1025, {str(key): 0 for key in range(257)}, 1 << 64, "x" * 65536],
    ids=["no value", "a key", "elements", "pairs", "an integer", "bytes"],
)
def test_what_can_not_be_sent_gets_no_number(data: Any) -> None:
    membership = made()
    with pytest.raises(PayloadError):
        add(membership, data)
    assert membership.unacked == 0
    assert add(membership, "next") == [1]


def test_the_largest_message_makes_a_frame_within_the_limit() -> None:
    membership = made(upload=1000)
    size = 1000
    while True:
        try:
            add(membership, b"x" * size)
        except PayloadError:
            size -= 1
            continue
        break
    [(_, frame)] = membership.untransmitted()
    assert 990 <= len(frame) <= 1000


# Reading.


def taken(membership: Membership) -> list[Received]:
    return [membership.inbox.take()[0] for _ in range(len(membership.inbox))]


def test_every_kind_of_item_is_read() -> None:
    membership = made()
    refused = int(Code.REQUEST_REFUSED)
    items = [
        [int(Item.BROADCAST), "moved", {"x": 3}],
        [int(Item.SKIP)],
        [int(Item.DIRECT), 1, "gold", 3],
        [int(Item.REPLY), 2, 4, "sword"],
        [int(Item.FAILURE), 3, 5, refused, "no gold", 9],
        [int(Item.PRESENCE), "join", 14],
    ]
    [(first, reply, no_error), (second, nothing, error)] = list(membership.read(0, items))
    assert (first, reply, no_error) == (4, "sword", None)
    assert (second, nothing) == (5, None)
    assert isinstance(error, RequestRefused)
    assert (error.text, error.data) == ("no gold", 9)
    assert taken(membership) == [
        Received("moved", {"x": 3}, Position(EPOCH, 1, 0), "broadcast"),
        Received("gold", 3, Position(EPOCH, 2, 1), "direct"),
        Received("join", 14, Position(EPOCH, 3, 3), "presence"),
    ]
    assert membership.reader.position == (EPOCH, 3, 3)


def test_a_failure_of_an_unknown_code_means_what_its_range_means() -> None:
    [(_, _, error)] = list(made().read(0, [[int(Item.FAILURE), 1, 1, 1999, "new", None]]))
    assert isinstance(error, RemoteError)
    assert error.code == 1999


def test_presence_keeps_the_members() -> None:
    membership = made()
    membership.members = {1}
    seen = []
    for offset, event in enumerate([("join", 2), ("drop", 2), ("leave", 1), ("reconnect", 2), ("leave", 9)]):
        list(membership.read(offset, [[int(Item.PRESENCE), *event]]))
        seen.append(set(membership.members))
    assert seen == [{1, 2}, {1, 2}, {2}, {2}, {2}]


def test_what_came_before_a_gap_counts() -> None:
    membership = made()
    with pytest.raises(Gap):
        list(membership.read(0, [broadcast(1), direct(2, "too early")]))
    assert [one.data for one in taken(membership)] == [1]
    assert membership.reader.position == (EPOCH, 1, 0)


def test_a_reset_is_one_message_and_the_place_to_go_on_from() -> None:
    membership = made()
    list(membership.read(0, [broadcast("old")]))
    membership.reset(Position(8, 100, 4), {"board": 1})
    list(membership.read(100, [broadcast("new"), direct(5, "d")]))
    assert taken(membership)[1:] == [
        Received("reset", {"board": 1}, Position(8, 100, 4), "reset"),
        Received("message", "new", Position(8, 101, 4), "broadcast"),
        Received("message", "d", Position(8, 101, 5), "direct"),
    ]


GOOD: list[list[Any]] = [
    [int(Item.BROADCAST), "moved", None],
    [int(Item.DIRECT), 1, "gold", None],
    [int(Item.REPLY), 1, 4, None],
    [int(Item.FAILURE), 1, 5, 1032, "no gold", None],
    [int(Item.PRESENCE), "join", 14],
]


@pytest.mark.parametrize("item", [item[:-1] for item in GOOD] + [[*item, None] for item in GOOD], ids=repr)
def test_a_wrong_number_of_fields_is_a_bad_message(item: list[Any]) -> None:
    membership = made()
    with pytest.raises(BadMessage):
        list(membership.read(0, [item]))
    assert taken(membership) == []


@pytest.mark.parametrize("item", [*([0], [2], [99, 1], [-1], [True, 1, 2], [None]), [], {}, 5, None], ids=repr)
def test_what_is_no_item_is_a_bad_message(item: Any) -> None:
    with pytest.raises(BadMessage):
        list(made().read(0, [item]))


ANY = st.none() | st.booleans() | st.integers(-1, 5) | st.text(max_size=2) | st.binary(max_size=2)
VALUES = st.recursive(
    ANY, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=1), inner, max_size=2)
)


@settings(deadline=None)
@given(
    st.lists(st.lists(VALUES, max_size=6) | VALUES, max_size=3)
    | st.builds(
        lambda item, field, value: [[*item[:field], value, *item[field + 1 :]]],
        st.sampled_from(GOOD),
        st.integers(1, 5),
        VALUES,
    )
)
def test_whatever_a_bundle_holds_is_read_or_refused(items: list[Any]) -> None:
    membership = made()
    with contextlib.suppress(BadMessage, Gap):
        for number, _, error in membership.read(0, items):
            assert type(number) is int
            assert error is None or isinstance(error, RemoteError)
    assert all(type(one.type) is str for one in taken(membership))


# Exactly once.


class NaiveServer:
    """Takes the number that follows the last, and nothing else. It outlives connections."""

    def __init__(self) -> None:
        self.uplink = 0
        self.applied: list[Any] = []
        self.ref = 1

    def take(self, frame: bytes) -> int | None:
        """Hear a frame; the number that is expected where it is another."""
        message = read(frame)
        assert isinstance(message, Send)
        assert message.ref == self.ref, "said with the reference of an older connection"
        if message.number > self.uplink + 1:
            return self.uplink + 1
        if message.number == self.uplink + 1:
            self.uplink += 1
            self.applied.append(message.data)
        return None


class Uplink(RuleBasedStateMachine):
    """A client, a naive server, and connections that lose all that follows a random prefix of what they carry."""

    MOST = 6

    def __init__(self) -> None:
        super().__init__()
        self.client = made(unacked=self.MOST)
        self.server = NaiveServer()
        self.client.ref = self.server.ref
        self.up: list[bytes] = []
        self.down: list[tuple[str, int]] = []
        self.sent: list[int] = []

    @rule()
    def send(self) -> None:
        data = len(self.sent) + 1
        if self.client.full:
            with pytest.raises(Backpressure):
                add(self.client, data)
            return
        assert add(self.client, data) == [data]
        self.sent.append(data)

    @rule(room=st.integers(0, 8))
    def pump(self, room: int) -> None:
        """The connection takes so many frames, and then no more."""
        for number, frame in self.client.untransmitted():
            if room == 0:
                return
            room -= 1
            self.up.append(frame)
            self.client.transmitted(number)

    @precondition(lambda self: self.up)
    @rule(count=st.integers(1, 8))
    def arrive(self, count: int) -> None:
        for _ in range(min(count, len(self.up))):
            expected = self.server.take(self.up.pop(0))
            if expected is not None:
                self.down.append(("gap", expected))

    @rule()
    def acknowledge(self) -> None:
        self.down.append(("ack", self.server.uplink))

    @precondition(lambda self: self.down)
    @rule(count=st.integers(1, 8))
    def hear(self, count: int) -> None:
        for _ in range(min(count, len(self.down))):
            kind, number = self.down.pop(0)
            if kind == "ack":
                self.client.acknowledged(number)
            else:
                self.client.repeat_from(number)

    @precondition(lambda self: self.up)
    @rule(index=st.integers(0, 100))
    def refuse_one_to_decode(self, index: int) -> None:
        """A frame that the server can't read uses no number: a hole within one connection."""
        del self.up[index % len(self.up)]

    @rule(arriving=st.integers(0, 12), heard=st.integers(0, 12))
    def reconnect(self, arriving: int, heard: int) -> None:
        """Some of what is under way arrives, the rest is lost; the answer to RECOVER says where the server is."""
        if self.up and arriving:
            self.arrive(arriving)
        if self.down and heard:
            self.hear(heard)
        self.up.clear()
        self.down.clear()
        self.server.ref += 1
        self.client.ref = self.server.ref
        self.client.repeat_from(self.server.uplink + 1)

    @invariant()
    def each_is_applied_once_and_in_order(self) -> None:
        assert self.server.applied == self.sent[: len(self.server.applied)]

    @invariant()
    def nothing_is_acknowledged_that_was_not_applied(self) -> None:
        assert self.client.acked <= self.server.uplink
        assert self.client.unacked == len(self.sent) - self.client.acked <= self.MOST

    def teardown(self) -> None:
        """One connection that loses nothing brings everything across."""
        self.reconnect(0, 0)
        self.pump(len(self.sent))
        if self.up:
            self.arrive(len(self.up))
        assert self.down == []
        assert self.server.applied == self.sent
        self.client.acknowledged(self.server.uplink)
        assert self.client.unacked == 0


TestUplink = Uplink.TestCase
TestUplink.settings = settings(stateful_step_count=60, max_examples=150, deadline=None)
