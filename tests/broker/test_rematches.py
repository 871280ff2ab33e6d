"""Rematches: for whom, of what, and for how long a room is remembered."""

import pytest

from server_room_system import Code, RuleSet
from server_room_system.protocol import Create, Error, Goodbye, Message
from server_room_system.protocol.messages import Assigned, Ticket
from server_room_system.protocol.queue_messages import Rematch
from server_room_system.rooms.control import OpenRoom, RoomEnded, RoomUpdated, Unseated

from .fakes import Bench, Guest
from .test_broker import codes, come
from .waiters import only

RANKED = RuleSet(2, None, mode="ranked", points=3)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def play(bench: Bench, *guests: Guest, room: str | None = None) -> str:
    """A room with these in it, made of a ruleset, or of one that this broker does not know."""
    if room is None:
        guests[0].ask(Create(guests[0].ref, 1, RANKED.to_wire(), {}))
        room = bench.wanted.room
        bench.grant(bench.wanted)
        guests[0].heard()
    else:
        bench.report(RoomUpdated(room, "duel", 0, 2, 2, False, {}))
    for guest in guests:
        bench.seat(guest, room)
    return room


def leave(bench: Bench, guest: Guest, room: str) -> None:
    bench.report(Unseated(room, guest.welcome.session))


def again(guest: Guest, room: str, timeout: float = 20.0) -> list[Message]:
    return guest.ask(Rematch(guest.ref, 20, room, {}, timeout))


def test_a_rematch_is_made_of_what_the_room_was_made_of(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    room = play(bench, ann, bob)
    bench.report(RoomUpdated(room, "duel", 2, 0, 2, True, {}))  # what changes about the room does not change that
    assert again(ann, room) == []
    assert again(bob, room) == []
    wanted = bench.wanted
    assert isinstance(wanted, OpenRoom)
    assert (wanted.ruleset, wanted.match["rematch"]) == (RANKED, room)
    bench.grant(wanted)
    assert [only(guest.heard(), Assigned).room for guest in (ann, bob)] == [wanted.room] * 2
    for guest in (ann, bob):
        bench.seat(guest, wanted.room)
    for guest in (ann, bob):
        guest.ask(Rematch(guest.ref, 21, wanted.room, {}, 20.0))
    assert isinstance(bench.wanted, OpenRoom)
    assert bench.wanted.ruleset == RANKED, "and once more"


def test_a_rematch_of_a_room_that_has_ended_is_made_of_the_same(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    room = play(bench, ann, bob)
    for guest in (ann, bob):
        leave(bench, guest, room)
    bench.report(RoomEnded(room))
    again(ann, room)
    again(bob, room)
    assert isinstance(bench.wanted, OpenRoom)
    assert bench.wanted.ruleset == RANKED


def test_of_a_room_that_an_earlier_broker_had_made_no_more_than_the_type_is_known(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    room = play(bench, ann, bob, room="c2a94e07d15b4f3896d0a7e1b3f5c842")
    again(ann, room)
    again(bob, room)
    assert isinstance(bench.wanted, OpenRoom)
    assert bench.wanted.ruleset == RuleSet(2), "this server leaves types to create_room"


def test_who_is_left_at_the_deadline_plays_if_they_are_two(bench: Bench) -> None:
    ann, bob, cyd = come(bench), come(bench), come(bench)
    room = play(bench, ann, bob, cyd)
    again(ann, room)
    again(bob, room)
    assert bench.wanted.room == room
    bench.out.advance(20.0)
    assert isinstance(bench.wanted, OpenRoom)
    assert bench.wanted.ruleset == RANKED
    assert [seat.session for seat in bench.wanted.seats] == [ann.welcome.session, bob.welcome.session]


def test_whoever_is_alone_at_the_deadline_is_told_so(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    room = play(bench, ann, bob)
    again(ann, room, timeout=5.0)
    assert 0 < only(again(ann, room), Ticket).timeout <= 5.0, "asked again after a reconnect"
    bench.out.advance(5.0)
    assert codes(ann.heard()) == [(20, Code.MATCH_EXPIRED)]


def test_nobody_waits_for_who_has_ended(bench: Bench) -> None:
    ann, bob, cyd = come(bench), come(bench), come(bench)
    room = play(bench, ann, bob, cyd)
    again(ann, room)
    again(bob, room)
    cyd.ask(Goodbye(cyd.ref, 0, ""))
    assert isinstance(bench.wanted, OpenRoom)
    assert len(bench.wanted.seats) == 2


def test_everybody_is_remembered_for_a_minute_after_leaving_not_only_the_first(bench: Bench) -> None:
    ann, bob, cyd = come(bench), come(bench), come(bench)
    room = play(bench, ann, bob, cyd)
    leave(bench, ann, room)
    bench.out.advance(50.0)
    leave(bench, bob, room)
    bench.out.advance(5.0)
    leave(bench, cyd, room)
    bench.report(RoomEnded(room))
    bench.out.advance(10.0)
    assert [type(one) for one in again(ann, room)] == [Error], "65 seconds ago"
    assert again(bob, room) == []
    assert again(cyd, room) == []
    assert isinstance(bench.wanted, OpenRoom)
    assert bench.wanted.ruleset == RANKED
    assert len(bench.wanted.seats) == 2


def test_a_room_that_all_have_left_for_long_is_forgotten(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    room = play(bench, ann, bob)
    leave(bench, ann, room)
    bench.out.advance(30.0)
    leave(bench, bob, room)
    bench.report(RoomEnded(room))
    bench.out.advance(60.0)
    assert [type(one) for one in (*again(ann, room), *again(bob, room))] == [Error, Error]
    assert not bench.broker._rematches._past


def test_whoever_comes_back_and_leaves_once_more_is_remembered_from_then(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    room = play(bench, ann, bob)
    leave(bench, ann, room)
    bench.out.advance(40.0)
    bench.seat(ann, room)
    leave(bench, ann, room)
    leave(bench, bob, room)
    bench.out.advance(40.0)
    assert again(ann, room) == []
