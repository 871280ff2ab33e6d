"""Ways in, in the broker: who shares a room that is being made, and that nothing is left of whoever ends meanwhile."""

import pytest

from server_room_system import Code, RuleSet
from server_room_system.protocol import Assigned, Goodbye, JoinOrCreate, Message
from server_room_system.rooms.control import OpenRoom, ReleaseSeats, Reserved, ReserveSeats, RoomUpdated

from .fakes import Bench, Guest
from .test_broker import codes, come

FOUR = RuleSet(4, room="duel")


def ask(guest: Guest, number: int = 10) -> list[Message]:
    return guest.ask(JoinOrCreate(guest.ref, number, FOUR.to_wire(), {}, {}))


def end(guest: Guest) -> None:
    guest.ask(Goodbye(guest.ref, 0, ""))


def opened(bench: Bench) -> list[OpenRoom]:
    return [one for one in bench.out.asked if isinstance(one, OpenRoom)]


def reserved(bench: Bench) -> list[str]:
    """Sessions for which seats were asked in rooms that are there."""
    return [seat.session for one in bench.out.asked if isinstance(one, ReserveSeats) for seat in one.seats]


def make(bench: Bench, wanted: OpenRoom, free: int = 3) -> None:
    """The worker has made the room: it tells of it, and then that the seat is held."""
    with bench.out.turn():
        bench.report(RoomUpdated(wanted.room, "duel", 0, free, 4, False, {}, FOUR.digest))
        bench.report(Reserved(wanted.ask, wanted.room, [bytes(16)], 15.0))


def test_those_who_ask_while_a_room_is_made_wait_for_it() -> None:
    bench = Bench()
    guests = [come(bench) for _ in range(6)]
    for guest in guests:
        assert ask(guest) == []
        assert ask(guest) == [], "asked again, after a reconnect"
    assert len(opened(bench)) == 2, "one for four, and one for those whom it has no seats for"
    make(bench, opened(bench)[0])
    assert reserved(bench) == [guest.welcome.session for guest in guests[1:4]]


@pytest.mark.parametrize("made", [True, False], ids=["made", "not made"])
@pytest.mark.parametrize("leaver", [0, 1, 2], ids=["its maker", "one who waits", "the last who waits"])
def test_whoever_ends_while_a_room_is_made_is_not_in_the_way(leaver: int, made: bool) -> None:
    bench = Bench()
    guests = [come(bench) for _ in range(3)]
    for guest in guests:
        ask(guest)
    (wanted,) = opened(bench)
    end(guests[leaver])
    stay = [guest.welcome.session for number, guest in enumerate(guests) if number not in (0, leaver)]
    if made:
        make(bench, wanted)
        assert reserved(bench) == stay
        released = [one.session for one in bench.out.asked if isinstance(one, ReleaseSeats)]
        assert released == ([guests[0].welcome.session] if leaver == 0 else [])
    else:
        bench.refuse(wanted, Code.ROOM_FAILED)
        assert [seat.session for seat in opened(bench)[1].seats] == stay[:1]
        assert codes(guests[0].heard()) == ([] if leaver == 0 else [(10, Code.ROOM_FAILED)])


def test_whoever_ends_while_a_seat_is_asked_for_is_not_sent_on() -> None:
    bench = Bench()
    ann, ben = come(bench), come(bench)
    ask(ann)
    make(bench, opened(bench)[0])
    assert isinstance(ann.heard()[0], Assigned)
    ask(ben)
    wanted = bench.wanted
    assert isinstance(wanted, ReserveSeats)
    end(ben)
    bench.refuse(wanted, Code.ROOM_FULL)
    assert bench.wanted is wanted
    cyd = come(bench)
    ask(cyd)
    assert reserved(bench)[-1] == cyd.welcome.session, "the seat that was asked for is free again"


def test_whoever_is_refused_by_one_room_tries_the_next_and_makes_one_in_the_end() -> None:
    bench = Bench()
    for number in range(6):
        bench.report(RoomUpdated(f"{number:032x}", "duel", 1, 1, 4, False, {}, FOUR.digest))
    ann = come(bench)
    ask(ann)
    for _ in range(4):
        assert not opened(bench)
        bench.refuse(bench.wanted, Code.ROOM_FULL)
    tried = [one.room for one in bench.out.asked if isinstance(one, ReserveSeats)]
    assert tried == [f"{number:032x}" for number in range(4)]
    assert len(opened(bench)) == 1


def test_a_seat_that_is_asked_for_is_not_asked_for_twice() -> None:
    bench = Bench()
    bench.report(RoomUpdated("a" * 32, "duel", 3, 1, 4, False, {}, FOUR.digest))
    ann, ben = come(bench), come(bench)
    ask(ann)
    ask(ben)
    assert reserved(bench) == [ann.welcome.session]
    assert [seat.session for one in opened(bench) for seat in one.seats] == [ben.welcome.session]


def test_a_room_that_has_refused_somebody_is_not_tried_again_for_it() -> None:
    bench = Bench()
    bench.report(RoomUpdated("a" * 32, "duel", 1, 1, 4, False, {}, FOUR.digest))
    ann = come(bench)
    ask(ann)
    bench.refuse(bench.wanted, Code.ROOM_FULL)
    assert reserved(bench) == [ann.welcome.session]
    assert len(opened(bench)) == 1
