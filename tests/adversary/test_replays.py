# pyright: reportArgumentType=false, reportAssignmentType=false, reportOperatorIssue=false
# (msgpack has no types: what packb returns is unknown.)
"""What somebody has recorded, byte by byte, and says again: on another connection, or in a later life."""

import time
from contextlib import suppress
from typing import Any

import msgpack

from .target import SECRET, Target
from .wire import (
    ACK,
    DELIVER,
    ERROR,
    GOODBYE,
    JOINED,
    PATIENCE,
    RECOVER,
    RESET,
    RESUME,
    SEND,
    WELCOME,
    Gone,
    Peer,
    Zmtp,
    peer,
)


class Recorder(Zmtp):
    """A connection that keeps what was said on it."""

    def __init__(self, address: str) -> None:
        self.said: list[bytes] = []
        super().__init__(address)

    def send(self, frame: bytes) -> None:
        self.said.append(frame)
        super().send(frame)


def a_life(target: Target) -> tuple[list[bytes], Peer, Any]:
    """What an honest client said on a connection, from HELLO to SEND; it is still there."""
    one = Peer(Recorder(target.address)).hello()
    yard = one.create("yard")
    for number in range(5):
        yard.send("message", f"number-{number}")
    while len(heard_numbers([_unpacked(frame) for frame in one.heard])) < 5:
        one.wait(DELIVER)
    assert isinstance(one.link, Recorder)
    one.say(ACK, yard.ref, 0)
    one.say(RECOVER, 9, yard.room, yard.token, yard.epoch, yard.offset + 5, 0)
    recovered = one.wait(JOINED)
    one.say(ACK, recovered[2], 0)
    one.all()
    return one.link.said, one, yard


def replay(target: Target, frames: list[bytes]) -> list[list[Any]]:
    """Say it all on a new connection; what is answered."""
    with Zmtp(target.address) as link:
        thief = Peer(link)
        with suppress(Gone):
            for frame in frames:
                link.send(frame)
            thief.all()
            thief.all()
        return [msgpack.unpackb(frame, strict_map_key=False) for frame in thief.heard]


def heard_numbers(messages: list[list[Any]]) -> list[str]:
    items = [item for message in messages if message[0] == DELIVER for item in message[4]]
    return [item[2] for item in items if isinstance(item[2], str) and item[2].startswith("number-")]


def test_a_whole_connection_said_again_opens_a_session_of_its_own_and_nothing_else(target: Target) -> None:
    with target.watched():
        frames, victim, yard = a_life(target)
        with victim.link:  # type: ignore[attr-defined]  # it is a Zmtp
            answers = replay(target, frames)
            welcomes = [message for message in answers if message[0] == WELCOME]
            assert [message[4] == victim.session for message in welcomes] == [False]
            assert victim.token not in [message[5] for message in welcomes]
            assert heard_numbers(answers) == []
            assert not [message for message in answers if message[0] == JOINED and message[4] == yard.room]
            assert SECRET not in msgpack.packb(answers)
            # The victim's room has heard each number once, and its member is where it was.
            assert sorted(heard_numbers([_unpacked(frame) for frame in victim.heard])) == sorted(
                f"number-{number}" for number in range(5)
            )
            victim.say(SEND, victim_ref(victim), 6, "message", "still mine")
            while "still mine" not in str(victim.wait(DELIVER)[4]):
                pass


def victim_ref(victim: Peer) -> int:
    """The reference of the last JOINED."""
    refs: list[int] = [m[2] for m in map(_unpacked, victim.heard) if m[0] == JOINED]
    return refs[-1]


def _unpacked(frame: bytes) -> list[Any]:
    message: list[Any] = msgpack.unpackb(frame, strict_map_key=False)
    return message


def test_a_resume_said_again_is_good_for_nobody_once_the_next_token_is_confirmed(target: Target) -> None:
    with target.watched(), peer(target.address) as first:
        first.hello()
        link = Recorder(target.address)
        with link:
            second = Peer(link)
            second.say(RESUME, 5, [1], first.session, first.token, 0, {})
            welcome = second.wait(WELCOME)
            second.say(ACK, welcome[3], 0)
            second.wait(ACK)
            answers = replay(target, link.said)
            assert [message[2] for message in answers if message[0] == GOODBYE] == [3001]
            assert not [message for message in answers if message[0] == WELCOME]
            assert second.all() == [], "and its owner stays where it is"


def test_what_was_said_to_an_earlier_life_of_a_room_reaches_none(target: Target) -> None:
    with target.watched():
        frames, victim, yard = a_life(target)
        victim.link.close()  # type: ignore[attr-defined]  # it is a Zmtp
        target.settles()  # the room is gone, and the session
        with peer(target.address) as one:
            later = one.hello().create("yard")
            answers = replay(target, frames)
            assert not [message for message in answers if message[0] == JOINED and message[4] == yard.room]
            refusals = {message[3] for message in answers if message[0] == ERROR}
            assert refusals <= {1000, 1004, 1011, 1015, 2100}
            assert refusals
            later.send("message", "alone")
            assert one.wait(DELIVER)[4] == [[0, "message", "alone"]]
            assert one.all() == []
    target.settles()


def test_messages_said_twice_on_their_own_connection_are_applied_once(target: Target) -> None:
    with target.watched(), peer(target.address) as one, peer(target.address) as other:
        yard = one.hello().create("yard")
        target.stats()
        other.hello().enter(yard.room)
        frames = [msgpack.packb((SEND, yard.ref, number, "message", f"number-{number}")) for number in (1, 2, 3)]
        for frame in frames + frames[::-1] + frames + frames[1:]:
            one.link.send(frame)
        one.all()
        heard: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while len(heard) < 3:
            assert time.monotonic() < deadline
            heard += heard_numbers(other.all())
        heard += heard_numbers(other.all() + other.all())
        assert heard == ["number-1", "number-2", "number-3"]


def test_a_recovery_said_again_takes_no_seat_from_who_came_back(target: Target) -> None:
    with target.watched(), peer(target.address) as one:
        yard = one.hello().create("yard")
        recover = msgpack.packb((RECOVER, 9, yard.room, yard.token, yard.epoch, yard.offset, 0))
        one.link.send(recover)
        joined = one.wait(JOINED)
        one.say(ACK, joined[2], 0)  # its new token is confirmed: the old one is void
        one.wait(ACK)
        for _ in range(3):
            answers = replay(target, [recover])
            assert [message[3] for message in answers if message[0] == ERROR] == [1015]
            assert not [message for message in answers if message[0] in (JOINED, RESET, DELIVER)]
        one.say(SEND, joined[2], 1, "message", "still mine")
        assert one.wait(DELIVER)[4] == [[0, "message", "still mine"]]
