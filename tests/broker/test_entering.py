"""Seats that are taken at once: whose client says so needs no ASSIGNED, and loses nothing where JOINED is lost."""

from typing import Any

import pytest

from server_room_system import Code, RuleSet
from server_room_system.protocol import (
    Cancel,
    Create,
    Error,
    Join,
    JoinById,
    Match,
    Message,
)
from server_room_system.protocol.room_messages import JoinOrCreate
from server_room_system.rooms.control import OpenRoom, ReleaseSeats
from server_room_system.rooms.seats import SeatState

from .fakes import Bench, Guest
from .test_broker import assigned, come, come_back, create

FOUR = RuleSet(4, room="duel").to_wire()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def entered(bench: Bench) -> tuple[str, Join]:
    """Who was to take its seat last."""
    session, join = bench.out.entered[-1]
    return session.session, join


@pytest.mark.parametrize("way", [Match, Create, JoinById, JoinOrCreate])
def test_the_seat_is_taken_instead_of_assigned(bench: Bench, way: Any) -> None:
    maker, ann = come(bench), come(bench, enter=True)
    create(maker)
    bench.grant(bench.wanted)
    one = RuleSet(1, room="duel").to_wire()
    ways: dict[Any, Message] = {
        Match: Match(ann.ref, 10, one, {}, 9.0),
        Create: Create(ann.ref, 10, FOUR, {}),
        JoinById: JoinById(ann.ref, 10, bench.wanted.room, {}),
        JoinOrCreate: JoinOrCreate(ann.ref, 10, one, {}, {}),
    }
    ann.ask(ways[way])
    bench.grant(bench.wanted)
    assert ann.heard() == []
    session, join = entered(bench)
    assert session == ann.welcome.session
    assert (join.ask, join.room, join.options, len(join.reservation)) == (10, bench.wanted.room, {}, 16)


@pytest.mark.parametrize("why", ["it is not asked for", "it is elsewhere", "it is refused", "it is away"])
def test_where_that_can_not_be_it_is_assigned(bench: Bench, why: str) -> None:
    ann = come(bench, **({} if why == "it is not asked for" else {"enter": True}))
    bench.out.takes_in = why != "it is refused"
    create(ann)
    if why == "it is elsewhere":
        bench.worker.endpoint = "tcp://192.0.2.1:9"
    if why == "it is away":
        ann.lose()
    bench.grant(bench.wanted)
    if why == "it is away":
        assert come_back(ann, enter=True) == []
        create(ann)
    answer = assigned(ann.heard()) if why != "it is away" else None
    assert answer is None or (answer.ask, answer.room) == (10, bench.wanted.room)
    assert len(bench.out.entered) == (why == "it is refused")


def taken(bench: Bench, seat: SeatState | None = SeatState.JOINED) -> tuple[Guest, Join]:
    """Somebody whose seat was taken at once; how it stands now."""
    ann = come(bench, enter=True)
    create(ann)
    bench.grant(bench.wanted)
    session, join = entered(bench)
    if seat is None:
        del bench.out.seats[session, join.room]
    else:
        bench.out.seats[session, join.room] = seat
        bench.seat(ann, join.room)
    return ann, join


def test_who_has_not_got_joined_takes_its_seat_with_the_reservation(bench: Bench) -> None:
    ann, join = taken(bench, SeatState.DROPPED)
    ann.lose()
    bench.out.advance(20.0)  # longer than reservations are held
    assert come_back(ann, enter=True) == []
    again = assigned(create(ann))
    assert (again.ref, again.ask, again.room, again.reservation) == (ann.ref, 10, join.room, join.reservation)
    assert again.timeout > 0
    assert len(bench.out.asked_for(OpenRoom)) == 1


@pytest.mark.parametrize("seat", [SeatState.JOINED, None])
def test_who_asks_twice_on_one_connection_is_answered_once(bench: Bench, seat: SeatState | None) -> None:
    """A ticket that is matched as its client resumes is answered before the client has asked for it once more."""
    ann, _ = taken(bench, seat)
    assert create(ann) == []
    assert len(bench.out.asked_for(OpenRoom)) == 1


def test_who_has_taken_its_seat_with_the_reservation_is_not_sent_there_again(bench: Bench) -> None:
    ann, _ = taken(bench, SeatState.JOINED)
    ann.lose()
    assert come_back(ann, enter=True) == []
    assert create(ann) == []
    assert len(bench.out.asked_for(OpenRoom)) == 1


def test_who_comes_back_when_its_seat_is_gone_is_told_so_and_comes_into_no_second_room(bench: Bench) -> None:
    ann, _ = taken(bench, None)
    for _ in range(2):  # the answer may be lost as well
        ann.lose()
        assert come_back(ann, enter=True) == []
        (refused,) = create(ann)
        assert isinstance(refused, Error)
        assert (refused.ask, refused.code) == (10, Code.RESERVATION_REFUSED)
    assert len(bench.out.asked_for(OpenRoom)) == 1
    create(ann, 11)
    bench.grant(bench.wanted)
    assert entered(bench)[1].ask == 11


def test_who_asks_for_something_else_has_got_it(bench: Bench) -> None:
    ann = come(bench, enter=True)
    create(ann)
    bench.grant(bench.wanted)
    bench.seat(ann, bench.wanted.room)
    assert create(ann, 11) == []
    assert len(bench.out.asked_for(OpenRoom)) == 2
    assert bench.out.asked_for(ReleaseSeats) == []
    bench.grant(bench.wanted)
    assert entered(bench)[1].ask == 11


def test_who_cancels_a_seat_that_is_taken_gives_it_up_unless_it_is_there(bench: Bench) -> None:
    ann, join = taken(bench)
    assert ann.ask(Cancel(ann.ref, 10)) == []
    assert bench.out.asked_for(ReleaseSeats) == [ReleaseSeats(ann.welcome.session, [join.room], joined=False)]
