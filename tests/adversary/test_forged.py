"""Messages in the name of others, for rooms that one isn't in, with secrets that are made up or used up."""

import os
import time
from typing import Any

import msgpack
import pytest

from .target import SECRET, Target
from .wire import (
    ACK,
    ASSIGNED,
    CANCEL,
    CREATE,
    DELIVER,
    ERROR,
    GOODBYE,
    HELLO,
    JOIN,
    JOIN_BY_ID,
    JOINED,
    LEAVE,
    LEFT,
    LIST,
    MATCH,
    PATIENCE,
    RECOVER,
    REQUEST,
    RESET,
    RESUME,
    SEND,
    TICKET,
    WELCOME,
    Dealer,
    Peer,
    peer,
)

NOT_A_MEMBER, ROOM_NOT_FOUND, ROOM_LOCKED, REFUSED = 1004, 1011, 1013, 1015


def heard_nothing_secret(*peers: Peer) -> None:
    """These never got a byte of what the honest ones say."""
    for one in peers:
        one.all()
        assert SECRET not in b"".join(one.heard)


def test_a_locked_room_and_its_messages_stay_out_of_reach(target: Target) -> None:
    with target.watched(), peer(target.address) as one:
        one.hello()
        assert one.ask(JOIN_BY_ID, target.vault, {}, {})[3] == ROOM_LOCKED
        assert one.ask(JOIN_BY_ID, "0" * 32, {}, {})[3] == ROOM_NOT_FOUND
        assert one.ask(JOIN_BY_ID, target.vault[:-1], {}, {})[3] == ROOM_NOT_FOUND
        assert one.ask(JOIN_BY_ID, target.vault.upper(), {}, {})[3] in (ROOM_NOT_FOUND, ROOM_LOCKED)
        for reservation in (bytes(16), b"\xff" * 16, os.urandom(16), bytes.fromhex(target.vault)):
            one.say(JOIN, 5, target.vault, reservation, {})
            assert one.error() == REFUSED
            one.say(RECOVER, 5, target.vault, reservation, 1, 0, 0)
            assert one.error() == REFUSED
        listed = {entry["room"]: entry for entry in one.ask(LIST, None, {})[3]}
        assert listed[target.vault]["locked"] is True
        kept = {"room", "type", "clients", "max_clients", "locked", "password", "spectators", "max_spectators"}
        assert set(listed[target.vault]) == {*kept, "metadata"}
        heard_nothing_secret(one)


@pytest.mark.parametrize("distance", [range(1, 100), range(-99, 0)], ids=["above", "below"])
def test_references_of_others_are_nobodys_here(target: Target, distance: range) -> None:
    # The honest ones have references just below ours: they are counted up.
    with target.watched(), peer(target.address) as one, peer(target.address) as other:
        mine = one.hello().create("yard")
        yours = other.hello().create("yard")
        refs = [ref for base in (mine.ref, one.ref) for ref in (base + step for step in distance)]
        guesses = sorted({*refs, yours.ref, other.ref} - {mine.ref, one.ref})
        for start in range(0, len(guesses), 25):
            with peer(target.address) as guesser:
                guesser.hello()
                for ref in guesses[start : start + 25]:
                    if ref == guesser.ref:
                        continue
                    guesser.say(SEND, ref, 1, "count", [0, 0, "forged"])
                    assert guesser.error() == NOT_A_MEMBER
        for kind, *fields in (
            [REQUEST, yours.ref, 1, "echo", 1],
            [LEAVE, yours.ref],
            [ACK, yours.ref, 0],
            [GOODBYE, other.ref, 3004, ""],
            [MATCH, other.ref, 5, [2, "yard", {}], {}, 5.0],
            [CANCEL, other.ref, 5],
            [CREATE, other.ref, 5, [2, "yard", {}], {}, {}],
            [LIST, other.ref, 5, None, {}],
            [JOIN_BY_ID, other.ref, 5, mine.room, {}, {}],
        ):
            one.say(kind, *fields)
            assert one.error() == NOT_A_MEMBER, kind
        yours.send("message", "untouched")
        assert other.wait(DELIVER)[4][0] == [0, "message", "untouched"]
        heard_nothing_secret(one, other)


def test_references_end_with_what_they_stood_for(target: Target) -> None:
    with target.watched(), peer(target.address) as one, peer(target.address) as other:
        yard = one.hello().create("yard")
        theirs = other.hello().enter(yard.room)
        one.say(LEAVE, yard.ref)
        assert one.wait(LEFT)[1:3] == [yard.ref, 3100]
        stale: list[list[Any]] = [[SEND, yard.ref, 1, "message", "stale"], [LEAVE, yard.ref], [ACK, yard.ref, 0]]
        for message in stale:
            one.say(*message)
            assert one.error() == NOT_A_MEMBER
        again = one.enter(yard.room)
        assert again.ref != yard.ref
        for message in stale:
            one.say(*message)
            assert one.error() == NOT_A_MEMBER
        again.send("message", "fresh")
        assert other.wait(DELIVER)[4] == [[0, "message", "fresh"]]
        one.say(RECOVER, 9, again.room, again.token, again.epoch, again.offset + 1, 0)
        recovered = one.wait(JOINED)
        one.say(SEND, again.ref, 2, "message", "stale")  # the reference before the last JOINED
        assert one.error() == NOT_A_MEMBER
        one.say(SEND, recovered[2], 2, "message", "fresher")
        assert other.wait(DELIVER)[4] == [[0, "message", "fresher"]]
        assert theirs.room == again.room
        heard_nothing_secret(one, other)


def test_sessions_are_taken_back_with_their_own_token_only(target: Target) -> None:
    with target.watched(), peer(target.address) as one, peer(target.address) as thief:
        one.hello()
        thief.hello()
        for session, token in (
            (one.session, os.urandom(16)),
            (one.session, thief.token),
            (thief.session, one.token),
            ("", one.token),
            ("f" * 32, one.token),
            (one.session.upper(), one.token) if one.session.upper() != one.session else ("0" * 32, one.token),
        ):
            thief.say(RESUME, 5, [1], session, token, 0, {})
            assert thief.wait(GOODBYE)[1:3] == [0, 3001]
        assert [message for message in one.all() if message[0] == GOODBYE] == []
        assert one.ask(LIST, None, {})[0] != ERROR
        assert thief.ask(LIST, None, {})[0] != ERROR  # a refused RESUME touches nothing else


def test_a_token_is_good_until_the_next_one_is_confirmed_and_never_after(target: Target) -> None:
    with target.watched(), peer(target.address) as first, peer(target.address) as second, peer(target.address) as third:
        first.hello()
        second.say(RESUME, 5, [1], first.session, first.token, 0, {})
        welcome = second.wait(WELCOME)
        assert first.wait(GOODBYE)[1:3] == [first.ref, 3002]
        third.say(RESUME, 5, [1], first.session, first.token, 0, {})  # not confirmed yet: still good
        again = third.wait(WELCOME)
        assert second.wait(GOODBYE)[2] == 3002
        third.say(ACK, again[3], 0)
        third.wait(ACK)
        for token in (first.token, welcome[5]):
            second.say(RESUME, 6, [1], first.session, token, 0, {})
            assert second.wait(GOODBYE)[1:3] == [0, 3001]
        second.say(RESUME, 6, [1], first.session, again[5], 0, {})
        assert second.wait(WELCOME)[4] == first.session


def test_a_reservation_is_used_once_by_its_own_session_for_its_own_room(target: Target) -> None:
    with target.watched(), peer(target.address) as one, peer(target.address) as thief:
        yard = one.hello().create("yard")
        other = thief.hello().create("yard")
        assigned = one.ask(CREATE, [3, "yard", {}], {}, {})
        room, reservation = assigned[3], assigned[5]
        thief.say(JOIN, 5, room, reservation, {})  # another session's
        assert thief.error() == REFUSED
        for wrong in (yard.room, other.room, target.vault):
            one.say(JOIN, 5, wrong, reservation, {})  # another room's
            assert one.error() == REFUSED
        one.say(JOIN, 5, room, reservation, {})
        joined = one.wait(JOINED)
        one.say(JOIN, 6, room, reservation, {})  # used
        assert one.error() == REFUSED
        one.say(ACK, joined[2], 0)
        one.wait(ACK)
        for used in (reservation, yard.reservation, other.reservation):
            one.say(JOIN, 7, room, used, {})
            assert one.error() == REFUSED
        for token in (joined[9][::-1], yard.token, other.token, reservation):
            one.say(RECOVER, 8, room, token, joined[5], 0, 0)
            assert one.error() == REFUSED
        heard_nothing_secret(one, thief)


def test_a_reservation_that_ran_out_is_void(target: Target) -> None:
    with target.watched(), peer(target.address) as one:
        assigned = one.hello().ask(CREATE, [3, "yard", {}], {}, {})
        assert assigned[6] == pytest.approx(0.5, abs=0.1)
        deadline = time.monotonic() + PATIENCE
        while any(entry["room"] == assigned[3] for entry in one.ask(LIST, None, {})[3]):  # nobody came: it closes
            assert time.monotonic() < deadline
            time.sleep(0.1)
        one.say(JOIN, 5, assigned[3], assigned[5], {})
        assert one.error() == ROOM_NOT_FOUND


def test_no_recovery_of_what_was_said_before_one_joined(target: Target) -> None:
    with target.watched(), peer(target.address) as one, peer(target.address) as late:
        yard = one.hello().create("yard")
        for number in range(5):
            yard.send("message", f"before-{number}")
        one.all()
        seat = late.hello().enter(yard.room)
        yard.send("message", "after")
        late.wait(DELIVER)
        for offset, direct in ((0, 0), (1, 0), (seat.offset - 1, 0), (2**53 - 1, 0), (0, 2**53 - 1)):
            late.say(RECOVER, 5, seat.room, seat.token, seat.epoch, offset, direct)
            joined = late.wait(JOINED)
            seat.token = joined[9]
            late.say(ACK, joined[2], 0)
            late.wait(RESET)
        late.say(RECOVER, 5, seat.room, seat.token, seat.epoch + 1, 0, 0)
        late.wait(JOINED)
        late.wait(RESET)
        late.all()
        assert b"before-" not in b"".join(late.heard)
        late.say(RECOVER, 5, seat.room, late_token(late), seat.epoch, seat.offset, 0)
        late.wait(JOINED)
        assert late.wait(DELIVER)[4] == [[0, "message", "after"]]  # what was said since then it may have again


def late_token(one: Peer) -> bytes:
    """The token of the last JOINED that this peer got."""
    tokens = [message[9] for message in map(_unpacked, one.heard) if message[0] == JOINED]
    token: bytes = tokens[-1]
    return token


def _unpacked(frame: bytes) -> list[Any]:
    message: list[Any] = msgpack.unpackb(frame, strict_map_key=False)
    return message


def test_two_sessions_on_one_connection_are_two(target: Target) -> None:
    with target.watched(), peer(target.address) as one, peer(target.address) as watcher:
        yard = watcher.hello().create("yard")
        one.hello()
        first = one.enter(yard.room)
        first_ref, first_session = one.ref, one.session
        one.hello()
        assert one.session != first_session
        second = one.enter(yard.room)
        assert len({first.ref, second.ref, first_ref, one.ref}) == 4
        assert first.epoch == second.epoch
        first.send("message", "from the first")
        bundles = [one.wait(DELIVER), one.wait(DELIVER)]
        assert {bundle[2] for bundle in bundles} == {first.ref, second.ref}  # each its own, by its reference
        one.say(GOODBYE, first_ref, 3004, "")
        one.wait(LEFT)
        second.send("message", "from the second")
        assert watcher.wait(DELIVER)[4] == [[0, "message", "from the first"]]
        assert watcher.wait(DELIVER)[4] == [[0, "message", "from the second"]]
        one.say(SEND, first.ref, 2, "message", "from nobody")
        assert one.error() == NOT_A_MEMBER


def test_one_session_has_one_wish_at_a_time(target: Target) -> None:
    with target.watched(), peer(target.address) as one:
        one.hello()
        one.say(MATCH, one.ref, 5, [2, "yard", {"only": os.urandom(8)}], {}, 5.0)
        assert one.wait(TICKET)[2] == 5
        for kind, rest in (
            (MATCH, [[2, "yard", {}], {}, 5.0]),
            (CREATE, [[2, "yard", {}], {}, {}]),
            (JOIN_BY_ID, [target.vault, {}, {}]),
        ):
            assert one.ask(kind, *rest)[3] == 1022
        one.say(MATCH, one.ref, 5, [2, "yard", {}], {}, 5.0)
        assert one.wait(TICKET)[2] == 5  # the same question again: the same answer
        one.say(CANCEL, one.ref, 5)
        assert one.error() == 1021
        one.say(CANCEL, one.ref, 5)
        assert [message for message in one.all() if message[0] != ACK] == []
    assert target.stats()["tickets"] == 0


def test_joining_oneself_or_a_full_room_leads_nowhere(target: Target) -> None:
    with target.watched(), peer(target.address) as one, peer(target.address) as other:
        small = one.hello().take(one.ask(CREATE, [2, "yard", {}], {}, {}))
        seats = [other.hello().enter(small.room) for _ in range(7)]  # a yard has eight
        assert other.ask(JOIN_BY_ID, small.room, {}, {})[3] == 1022  # this session is in it already
        assert other.hello().ask(JOIN_BY_ID, small.room, {}, {})[3] == 1012
        assert len({seat.ref for seat in seats}) == 7


@pytest.mark.parametrize(
    "routing_id",
    [b"thief", b"x" * 255, b"\x01\x02\x03\x04\x05", "häß".encode(), b"srs"],
    ids=["text", "long", "five bytes", "umlauts", "short"],
)
def test_peers_that_choose_their_own_routing_id_are_not_heard(target: Target, routing_id: bytes) -> None:
    target.settles()
    with target.watched(), Dealer(target.address, routing_id) as dealer:
        one = Peer(dealer)
        one.say(HELLO, 1, [1], "adversary", {})
        assert one.hear(0.3) is None
        with Dealer(target.address, routing_id) as same:  # and another with the same
            two = Peer(same)
            two.say(HELLO, 1, [1], "adversary", {})
            assert two.hear(0.2) is None
        assert target.stats()["connections"] == 3  # the honest ones'
    with Dealer(target.address) as dealer:  # while a DEALER without one is a client like any other
        assert Peer(dealer).hello().ask(LIST, None, {})[0] != ERROR


def test_routing_ids_like_libzmqs_own_take_nothing_from_anybody(target: Target) -> None:
    with target.watched():
        with peer(target.address, b"\0AAAA") as one, peer(target.address, b"\0AAAA") as double:
            one.say(HELLO, 1, [1], "adversary", {})
            double.say(HELLO, 1, [1], "adversary", {})
            double.say(HELLO, 1, [1], "adversary", {})
            yard = None
            if one.hear(0.5) is not None:
                yard = one.hello().create("yard")
                yard.send("message", "for one alone")
                one.wait(DELIVER)
            assert double.hear(0.3) is None
            assert b"for one alone" not in b"".join(double.heard)
            one.link.send(b"\0BBBB")
        for number in range(200):
            with peer(target.address, b"\0" + number.to_bytes(4, "big")) as one:
                one.say(HELLO, 1, [1], "adversary", {})
        for identity in (b"", b"\0", b"\0\0\0\0\0", b"\0" * 255, b"\0AAAAA"):
            with peer(target.address, identity) as one:
                one.say(HELLO, 1, [1], "adversary", {})
                one.hear(0.1)
    target.settles()


def test_an_assignment_can_be_asked_for_again_but_only_by_its_own_session(target: Target) -> None:
    with target.watched(), peer(target.address) as one, peer(target.address) as other:
        one.hello()
        other.hello()
        one.say(CREATE, one.ref, 9, [2, "yard", {}], {}, {})
        first = one.wait(ASSIGNED)
        one.say(CREATE, one.ref, 9, [2, "yard", {}], {}, {})
        again = one.wait(ASSIGNED)
        assert (again[3], again[5]) == (first[3], first[5])
        other.say(CREATE, other.ref, 9, [2, "yard", {}], {}, {})
        theirs = other.wait(ASSIGNED)
        assert theirs[3] != first[3]
        assert theirs[5] != first[5]
