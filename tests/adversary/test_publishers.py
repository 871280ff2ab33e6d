# pyright: reportArgumentType=false, reportAssignmentType=false, reportOperatorIssue=false
# (msgpack has no types: what packb returns is unknown.)
"""Hostile subscribers: whatever they say to a publisher, each member hears its own room and nothing else."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import pytest

from .cluster import Subscriber
from .target import SECRET, Target
from .wire import COMMAND, CREATE, JOIN_BY_ID, LIST, MORE, PATIENCE, Gone, Peer, Seat, Zmtp, framed, greeting, ready

TOPIC_SIZE = 17
STRANGER_TIME = 5.0
"""Seconds after which a publisher cuts who was granted nothing."""
BUSY = 0.2
"""Seconds for which a room holds its worker up."""
PING = framed(b"\x04PING\x00\x64context", COMMAND)


class Member(NamedTuple):
    """A member of a topic room, and what it knows of its downlink."""

    broker: Peer
    seat: Seat
    publisher: str
    token: bytes

    def listen(self) -> Subscriber:
        """Its downlink: connected, and its token shown."""
        one = Subscriber(self.publisher)
        one.raw(framed(b"\x01" + self.token))
        return one


@contextmanager
def member(target: Target, room: str | None = None) -> Iterator[Member]:
    """A member of a yard, new or not. Its downlink is not connected yet."""
    with ExitStack() as stack:
        broker = Peer(stack.enter_context(Zmtp(target.address))).hello()
        asked: tuple[Any, ...] = (CREATE, [8, "yard", {}], {}, {}) if room is None else (JOIN_BY_ID, room, {}, {})
        assigned = broker.ask(*asked)
        worker = Peer(stack.enter_context(Zmtp(assigned[4])))
        seat = worker.take(assigned)
        assert seat.downlink is not None
        port, token = seat.downlink
        yield Member(broker, seat, f"{assigned[4].rpartition(':')[0]}:{port}", token)


def hears(one: Zmtp, word: bytes, within: float = PATIENCE) -> list[bytes]:
    """What it heard up to the frame that has this word in it."""
    heard: list[bytes] = []
    deadline = time.monotonic() + within
    while not heard or word not in heard[-1]:
        frame = one.receive(max(0.001, deadline - time.monotonic()))
        assert frame is not None, f"it never heard {word!r}"
        heard.append(frame)
    return heard


def alone(one: Member) -> None:
    """Wait until nobody else is in its room."""
    deadline = time.monotonic() + PATIENCE
    while [room["clients"] for room in one.broker.ask(LIST, None, {})[3] if room["room"] == one.seat.room] != [1]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def says_until_heard(speaker: Member, word: bytes, *listeners: Zmtp) -> None:
    """Say something again and again, until all hear it: whose token was not read yet presents it again."""
    waiting = list(listeners)
    deadline = time.monotonic() + PATIENCE
    while waiting:
        assert time.monotonic() < deadline, f"{len(waiting)} never heard {word!r}"
        speaker.seat.send("message", word)
        for one in list(waiting):
            frame = one.receive(0.05)
            while frame is not None and word not in frame:
                frame = one.receive(0.05)
            if frame is not None:
                waiting.remove(one)


def test_topics_are_no_secret_and_open_nothing(cluster: Target) -> None:
    with cluster.watched(), ExitStack() as stack:
        honest = stack.enter_context(member(cluster))
        downlink = stack.enter_context(honest.listen())
        says_until_heard(honest, b"for-members", downlink)
        honest.seat.send("message", b"once more")
        topic = hears(downlink, b"once more")[-1][:TOPIC_SIZE]
        thieves = []
        for wanted in (topic, b"", topic[:1], topic[:8], topic + b"x", bytes(TOPIC_SIZE), honest.token[:15]):
            thief = stack.enter_context(Subscriber(honest.publisher))
            thief.raw(framed(b"\x01" + wanted))
            thief.raw(framed(b"\x09SUBSCRIBE" + wanted, COMMAND))  # as ZMTP 3.1 says it
            thieves.append(thief)
        for number in range(20):
            honest.seat.send("message", b"secret-%d" % number)
            time.sleep(0.01)
        hears(downlink, b"secret-19")
        for thief in thieves:
            assert thief.receive(0.05) is None
            assert b"secret" not in thief._data
            assert SECRET not in thief._data


def test_a_token_is_good_for_one_connection_at_a_time(cluster: Target) -> None:
    with cluster.watched(), ExitStack() as stack:
        honest = stack.enter_context(member(cluster))
        downlink = stack.enter_context(honest.listen())
        says_until_heard(honest, b"first", downlink)
        thief = stack.enter_context(honest.listen())
        for number in range(20):
            honest.seat.send("message", b"number-%d" % number)
            time.sleep(0.01)
        assert thief.receive(0.2) is None
        assert b"".join(hears(downlink, b"number-19")).count(b"number-") == 20


def test_a_token_of_a_member_who_left_is_worth_nothing(cluster: Target) -> None:
    with cluster.watched(), ExitStack() as stack:
        honest = stack.enter_context(member(cluster))
        with member(cluster, honest.seat.room) as leaver:
            token = leaver.token
        alone(honest)
        late = stack.enter_context(Subscriber(honest.publisher))
        late.raw(framed(b"\x01" + token))
        for _ in range(10):
            honest.seat.send("message", b"after it left")
            time.sleep(0.02)
        with suppress(Gone):  # a stranger is cut after a while
            assert late.receive(0.1) is None


def test_subscribing_twice_or_cancelling_changes_nothing(cluster: Target) -> None:
    with cluster.watched(), ExitStack() as stack:
        honest = stack.enter_context(member(cluster))
        downlink = stack.enter_context(honest.listen())
        says_until_heard(honest, b"first", downlink)
        for word in (b"\x01", b"\x00", b"\x00", b"\x01", b"\x00"):
            downlink.raw(framed(word + honest.token))
        for number in range(10):
            honest.seat.send("message", b"number-%d" % number)
        bundled = b"".join(hears(downlink, b"number-9"))
        assert [bundled.count(b"number-%d" % number) for number in range(10)] == [1] * 10


@pytest.mark.parametrize(
    "flood",
    [
        b"".join(framed(b"\x01" + number.to_bytes(16, "big")) for number in range(3000)),
        b"".join(framed(b"\x09SUBSCRIBE" + number.to_bytes(16, "big"), COMMAND) for number in range(3000)),
        framed(b"\x00" + bytes(16)) * 3000,
        framed(b"\x02 a message"),
        framed(b""),
        framed(b"x", MORE) * 100_000,
        PING * 20_000,
        framed(b"\x01" + bytes(200)),
    ],
    ids=["subscriptions", "SUBSCRIBE", "cancellations", "a message", "nothing", "no end", "heartbeats", "long"],
)
def test_a_member_that_breaks_a_rule_loses_its_downlink_and_nobody_elses(cluster: Target, flood: bytes) -> None:
    memory = cluster.memory()
    with cluster.watched(), ExitStack() as stack:
        honest = stack.enter_context(member(cluster))
        hostile = stack.enter_context(member(cluster, honest.seat.room))
        ear, mouth = stack.enter_context(honest.listen()), stack.enter_context(hostile.listen())
        says_until_heard(honest, b"first", ear, mouth)
        since = time.monotonic()
        with suppress(Gone):
            mouth.raw(flood)
        assert mouth.is_cut()
        assert time.monotonic() - since < STRANGER_TIME - 1.0
        honest.seat.send("message", b"still here")
        hears(ear, b"still here")
    assert cluster.memory() - memory < 64 * 1024 * 1024


def test_user_messages_while_members_come_shift_nobodys_topics(cluster: Target) -> None:
    with cluster.watched(), ExitStack() as stack:
        alpha, beta = (stack.enter_context(member(cluster)) for _ in range(2))
        for _ in range(4):
            with ExitStack() as visit:
                homes = ((alpha, b"alpha"), (beta, b"beta"))
                visitors = [visit.enter_context(member(cluster, home.seat.room)) for home, _ in homes]
                hostile = visit.enter_context(Subscriber(visitors[0].publisher))
                ears = [visit.enter_context(Subscriber(visitor.publisher)) for visitor in visitors]
                # While the worker is busy, what takes one entry out of libzmq's queue lies there before both tokens.
                alpha.seat.send("block", BUSY)
                time.sleep(BUSY / 5)
                hostile.raw(framed(b"\x02" + os.urandom(16)))
                for ear, visitor in zip(ears, visitors, strict=True):
                    time.sleep(BUSY / 20)
                    ear.raw(framed(b"\x01" + visitor.token))
                time.sleep(BUSY)
                for ear, visitor, (home, word) in zip(ears, visitors, homes, strict=True):
                    foreign = b"beta" if word == b"alpha" else b"alpha"
                    shown, frame = time.monotonic(), None
                    deadline = shown + PATIENCE
                    while frame is None or word not in frame:
                        assert time.monotonic() < deadline
                        for one, said in homes:
                            one.seat.send("message", said)
                        if time.monotonic() - shown > 0.3:  # what was not granted is shown again
                            ear.raw(framed(b"\x01" + visitor.token))
                            shown = time.monotonic()
                        frame = ear.receive(0.05)
                        assert frame is None or not {foreign, SECRET} & set(words(frame)), home.seat.room
            alone(alpha)
            alone(beta)


def words(frame: bytes) -> list[bytes]:
    """What of all that was said in these rooms is in a frame."""
    return [word for word in (b"alpha", b"beta", SECRET) if word in frame]


def test_downlinks_that_close_halfway_are_closed(cluster: Target) -> None:
    with cluster.watched(), ExitStack() as stack:
        honest = stack.enter_context(member(cluster))
        hostile = stack.enter_context(member(cluster, honest.seat.room))
        ear, half = stack.enter_context(honest.listen()), stack.enter_context(hostile.listen())
        says_until_heard(honest, b"first", ear, half)
        half.socket.shutdown(socket.SHUT_WR)
        assert half.is_cut(STRANGER_TIME - 1.0)
        honest.seat.send("message", b"still here")
        hears(ear, b"still here")


@pytest.mark.parametrize("opening", [b"\x01\x00", b"\xff" + bytes(8) + b"\x7f\x01\x02"], ids=["ZMTP 1.0", "ZMTP 2.0"])
def test_subscribers_of_old_versions_hear_nothing(cluster: Target, opening: bytes) -> None:
    with cluster.watched(), member(cluster) as honest, Zmtp(honest.publisher, shake=False) as old:
        with suppress(Gone):
            old.raw(opening + framed(b"\x01" + honest.token))
            for _ in range(10):
                honest.seat.send("message", b"secret")
                time.sleep(0.02)
        assert old.is_cut(STRANGER_TIME + 2.0)
        assert b"secret" not in old._data


def test_a_subscriber_that_speaks_zmtp_3_0_is_a_subscriber(cluster: Target) -> None:
    with cluster.watched(), ExitStack() as stack:
        honest = stack.enter_context(member(cluster))
        old = stack.enter_context(Zmtp(honest.publisher, shake=False))
        old.raw(greeting(3, 0) + ready(b"SUB"))
        old._take(64, PATIENCE)
        old.frame(PATIENCE)
        old.raw(framed(b"\x01" + honest.token))
        says_until_heard(honest, b"hello", old)
