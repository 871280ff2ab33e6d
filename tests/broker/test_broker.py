"""The broker: what each request means, and that a request which is asked again is answered once."""

from typing import Any

import pytest

from server_room_system import BrokerLimits, ClientData, Code, RuleSet
from server_room_system.protocol import (
    Assigned,
    Cancel,
    Create,
    Error,
    Goodbye,
    Hello,
    JoinById,
    ListRooms,
    Match,
    Message,
    Resume,
    Rooms,
    Ticket,
    Welcome,
)
from server_room_system.rooms.control import (
    OpenRoom,
    ReleaseSeats,
    Reserved,
    ReserveSeats,
    RoomEnded,
    RoomUpdated,
    Seated,
    Unseated,
)

from .fakes import Bench, FakeCaller, Guest, a_worker

DUEL = RuleSet(2, room="duel")


def come(bench: Bench, **options: Any) -> Guest:
    caller = FakeCaller(bench.out)
    bench.say(caller, Hello(1, [1], "test", options))
    (welcome,) = caller.heard()
    assert isinstance(welcome, Welcome)
    return Guest(bench, caller, welcome)


def come_back(guest: Guest, **options: Any) -> list[Message]:
    """On a new connection; what is heard after the welcome."""
    bench = guest.bench
    guest.caller = FakeCaller(bench.out)
    bench.say(guest.caller, Resume(2, [1], guest.welcome.session, guest.welcome.token, 0, options))
    welcome, *others = guest.heard()
    assert isinstance(welcome, Welcome)
    assert welcome.resumed
    guest.welcome = welcome
    guest.confirm()
    return others


def match(guest: Guest, ask: int = 10, ruleset: RuleSet = DUEL, timeout: float = 60.0, **options: Any) -> list[Message]:
    return guest.ask(Match(guest.ref, ask, ruleset.to_wire(), options, timeout))


def create(guest: Guest, ask: int = 10, ruleset: RuleSet = DUEL, **options: Any) -> list[Message]:
    return guest.ask(Create(guest.ref, ask, ruleset.to_wire(), options))


def join(guest: Guest, room: str, ask: int = 10, **options: Any) -> list[Message]:
    return guest.ask(JoinById(guest.ref, ask, room, options))


def codes(messages: list[Message]) -> list[tuple[int, int]]:
    """Number and code of the errors among these."""
    return [(message.ask, message.code) for message in messages if isinstance(message, Error)]


def assigned(messages: list[Message]) -> Assigned:
    (message,) = messages
    assert isinstance(message, Assigned)
    return message


@pytest.fixture
def bench() -> Bench:
    return Bench()


def a_room(bench: Bench) -> str:
    """A room that somebody made."""
    maker = come(bench)
    create(maker)
    bench.grant(bench.wanted)
    return bench.wanted.room


# Matches.


def test_clients_who_want_the_same_get_a_room_of_their_own(bench: Bench) -> None:
    ann, bob, cid, dan = (come(bench) for _ in range(4))
    assert match(ann, 10, colour="red") == []
    assert match(bob, 11, RuleSet(2, room="chess")) == []
    assert match(cid, 12, colour="blue") == []
    wanted = bench.wanted
    assert isinstance(wanted, OpenRoom)
    assert (wanted.ruleset, wanted.options, wanted.matched) == (DUEL, {}, True)
    assert [(wish.session, wish.client.ID, wish.options) for wish in wanted.seats] == [
        (ann.welcome.session, 1, {"colour": "red"}),
        (cid.welcome.session, 3, {"colour": "blue"}),
    ]
    bench.grant(wanted)
    answers = [assigned(ann.heard()), assigned(cid.heard())]
    assert [(answer.ask, answer.room, answer.endpoint, answer.timeout) for answer in answers] == [
        (10, wanted.room, None, 15.0),
        (12, wanted.room, None, 15.0),
    ]
    assert [answer.ref for answer in answers] == [ann.ref, cid.ref]
    assert answers[0].reservation != answers[1].reservation
    assert bob.heard() == []
    match(dan)
    assert len(bench.out.asked) == 1


def test_each_room_has_an_id_of_its_own(bench: Bench) -> None:
    for _ in range(20):
        create(come(bench))
    rooms = [wanted.room for wanted in bench.out.asked_for(OpenRoom)]
    assert len(set(rooms)) == 20
    assert all(len(room) == 32 for room in rooms)


def test_only_who_waits_longer_than_a_moment_is_given_a_ticket(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    match(ann, timeout=60.0)
    bench.out.advance(0.05)
    assert ann.heard() == []
    bench.out.advance(0.1)
    (ticket,) = ann.heard()
    assert isinstance(ticket, Ticket)
    assert (ticket.ref, ticket.ask) == (ann.ref, 10)
    assert ticket.timeout == pytest.approx(59.9)
    match(bob)
    bench.grant(bench.wanted)
    assert [type(message) for message in (*ann.heard(), *bob.heard())] == [Assigned, Assigned]
    bench.out.advance(1000.0)
    assert ann.heard() == bob.heard() == []


@pytest.mark.parametrize("timeout", [0.001, 0.04, 0.1, 0.12, 1.0, 60.0])
def test_a_ticket_ends_at_its_deadline(bench: Bench, timeout: float) -> None:
    ann, bob = come(bench), come(bench)
    match(ann, timeout=timeout)
    bench.out.advance(max(0.0, timeout - 0.051))  # who is told nothing yet may be told a little early
    assert codes(ann.heard()) == []
    bench.out.advance(0.052)
    assert codes(ann.heard()) == [(10, Code.MATCH_EXPIRED)]
    assert len(bench.broker.queues) == 0
    match(bob, timeout=timeout)
    assert bench.out.asked == []
    bench.out.advance(1000.0)
    assert ann.heard() == []


def test_nobody_waits_longer_than_the_server_allows() -> None:
    bench = Bench(BrokerLimits(longest_wait=5.0))
    ann = come(bench)
    match(ann, timeout=1e6)
    bench.out.advance(5.1)
    assert codes(ann.heard()) == [(10, Code.MATCH_EXPIRED)]


def test_a_match_can_be_cancelled_until_it_is_made(bench: Bench) -> None:
    ann, bob, cid = (come(bench) for _ in range(3))
    match(ann)
    assert ann.ask(Cancel(ann.ref, 99)) == []
    assert codes(ann.ask(Cancel(ann.ref, 10))) == [(10, Code.MATCH_CANCELLED)]
    assert ann.ask(Cancel(ann.ref, 10)) == []
    match(bob)
    assert bench.out.asked == []
    bench.out.advance(30.0)
    assert codes(ann.heard()) == []
    match(ann, 20)
    assert [wish.session for wish in bench.wanted.seats] == [bob.welcome.session, ann.welcome.session]
    match(cid)
    assert len(bench.out.asked) == 1


def test_a_cancel_that_comes_too_late_gives_the_seat_back(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    match(ann)
    match(bob)
    assert ann.ask(Cancel(ann.ref, 10)) == []  # the room is being made: it ends as ASSIGNED
    bench.grant(bench.wanted)
    room = assigned(ann.heard()).room
    assert ann.ask(Cancel(ann.ref, 10)) == []
    assert bench.out.asked[1:] == [ReleaseSeats(ann.welcome.session, [room], joined=False)]
    assert ann.ask(Cancel(ann.ref, 10)) == []
    assert len(bench.out.asked) == 2


def test_a_cancel_of_nothing_is_nothing(bench: Bench) -> None:
    ann = come(bench)
    assert ann.ask(Cancel(ann.ref, 10)) == []
    assert bench.out.asked == []


# One thing at a time.


@pytest.mark.parametrize("first", [match, create])
@pytest.mark.parametrize("second", [match, create, join])
def test_a_client_looks_for_one_room_at_a_time(bench: Bench, first: Any, second: Any) -> None:
    room = a_room(bench)
    ann = come(bench)
    asked = len(bench.out.asked)
    first(ann, ask=10)
    answers = second(ann, ask=11, **({"room": room} if second is join else {}))
    assert codes(answers) == [(11, Code.ALREADY_WAITING)]
    assert len(bench.out.asked) == asked + (first is create)


def test_a_client_who_asks_again_has_changed_its_mind_about_the_seat_it_did_not_take(bench: Bench) -> None:
    ann = come(bench)
    create(ann)
    bench.grant(bench.wanted)
    room = assigned(ann.heard()).room
    assert match(ann, 11) == []
    assert bench.out.asked[1:] == [ReleaseSeats(ann.welcome.session, [room], joined=False)]
    assert len(bench.broker.queues) == 1


def test_a_client_may_be_in_several_rooms_up_to_a_limit() -> None:
    bench = Bench(BrokerLimits(rooms_of_a_session=2))
    ann = come(bench)
    for ask in (10, 11):
        create(ann, ask)
        bench.grant(bench.wanted)
        bench.seat(ann, bench.wanted.room)
    ann.heard()
    assert codes(create(ann, 12)) == [(12, Code.CAPACITY_REACHED)]
    assert len(ann.session.rooms) == 2
    with bench.out.turn():
        bench.report(Unseated(bench.wanted.room, ann.welcome.session))
    assert codes(create(ann, 13)) == []


def test_a_server_makes_so_many_rooms() -> None:
    bench = Bench(BrokerLimits(rooms=1))
    room = a_room(bench)
    ann, bob = come(bench), come(bench)
    assert codes(create(ann)) == [(10, Code.CAPACITY_REACHED)]
    assert codes(match(bob)) == [(10, Code.CAPACITY_REACHED)]
    assert codes(join(ann, room, 11)) == []
    with bench.out.turn():
        bench.report(RoomEnded(room))
    assert codes(create(bob, 12)) == []


def test_a_server_takes_so_many_clients() -> None:
    bench = Bench(BrokerLimits(sessions=2))
    come(bench)
    bob = come(bench)
    caller = FakeCaller(bench.out)
    bench.say(caller, Hello(5, [1], "test", {}))
    assert codes(caller.heard()) == [(5, Code.CAPACITY_REACHED)]
    bob.ask(Goodbye(bob.ref, Code.SESSION_ENDED, ""))
    come(bench)


# Other ways into a room.


def test_a_room_is_made_with_what_its_maker_wants(bench: Bench) -> None:
    ann = come(bench)
    assert create(ann, 10, RuleSet(4, room="chess", level=3), board="wood") == []
    wanted = bench.wanted
    assert isinstance(wanted, OpenRoom)
    assert (wanted.ruleset, wanted.options, wanted.matched) == (
        RuleSet(4, room="chess", level=3),
        {"board": "wood"},
        False,
    )
    assert [(wish.session, wish.options) for wish in wanted.seats] == [(ann.welcome.session, {"board": "wood"})]
    bench.grant(wanted)
    assert assigned(ann.heard()).ask == 10


def test_a_room_is_joined_by_its_id(bench: Bench) -> None:
    room = a_room(bench)
    ann = come(bench)
    assert join(ann, room, colour="red") == []
    wanted = bench.wanted
    assert isinstance(wanted, ReserveSeats)
    assert wanted.room == room
    assert [(wish.session, wish.options) for wish in wanted.seats] == [(ann.welcome.session, {"colour": "red"})]
    bench.grant(wanted)
    assert (assigned(ann.heard()).room) == room


def test_a_room_that_is_not_there_cannot_be_joined(bench: Bench) -> None:
    room = a_room(bench)
    ann = come(bench)
    assert codes(join(ann, "nowhere")) == [(10, Code.ROOM_NOT_FOUND)]
    with bench.out.turn():
        bench.report(RoomEnded(room))
    assert codes(join(ann, room, 11)) == [(11, Code.ROOM_NOT_FOUND)]
    assert codes(create(ann, 12)) == []


@pytest.mark.parametrize(
    "wire",
    [
        [],
        [2],
        [2, None],
        [2, None, {}, 1],
        [0, None, {}],
        [2, 5, {}],
        ["2", None, {}],
        [2, None, []],
        [2, None, {"a": []}],
    ],
)
@pytest.mark.parametrize("kind", [Match, Create])
def test_a_ruleset_of_a_wrong_shape_is_a_bad_message(bench: Bench, kind: Any, wire: list[Any]) -> None:
    ann = come(bench)
    message = Match(ann.ref, 10, wire, {}, 5.0) if kind is Match else Create(ann.ref, 10, wire, {})
    assert codes(ann.ask(message)) == [(10, Code.BAD_MESSAGE)]
    assert bench.out.asked == []
    assert codes(match(ann, 11)) == []  # it is not left waiting for anything


def test_rooms_are_listed(bench: Bench) -> None:
    room = a_room(bench)
    ann = come(bench)
    (answer,) = ann.ask(ListRooms(ann.ref, 10, None))
    assert isinstance(answer, Rooms)
    assert (answer.ref, answer.ask) == (ann.ref, 10)
    assert [entry["room"] for entry in answer.rooms] == [room]
    (answer,) = ann.ask(ListRooms(ann.ref, 11, "chess"))
    assert isinstance(answer, Rooms)
    assert answer.rooms == []


def test_a_list_of_rooms_is_cut_to_what_a_frame_holds(bench: Bench) -> None:
    ann = come(bench)
    with bench.out.turn():
        for number in range(500):
            metadata = {"text": "x" * 4000}
            bench.report(RoomUpdated(f"r{number}", "duel", 0, 2, 2, False, metadata))
    (answer,) = ann.ask(ListRooms(ann.ref, 10, None))
    assert isinstance(answer, Rooms)
    assert 50 < len(answer.rooms) < 66
    assert len(bench.out.frames[-1][1]) <= 256 * 1024


# The worker's answers.


def test_what_the_worker_refuses_is_told_to_everybody_concerned(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    match(ann, 10)
    match(bob, 11)
    bench.refuse(bench.wanted, Code.ROOM_FAILED, "x" * 600)
    assert ann.heard() == [Error(ann.ref, 10, Code.ROOM_FAILED, "x" * 512, None)]
    assert bob.heard() == [Error(bob.ref, 11, Code.ROOM_FAILED, "x" * 512, None)]
    assert codes(match(ann, 12)) == []
    assert len(bench.broker.queues) == 1


def test_a_client_that_ended_while_its_room_was_made_has_no_seat(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    match(ann)
    match(bob)
    ann.ask(Goodbye(ann.ref, Code.SESSION_ENDED, ""))
    bench.grant(bench.wanted)
    assert bench.out.asked[-1] == ReleaseSeats(ann.welcome.session, [bench.wanted.room], joined=False)
    assert assigned(bob.heard()).ask == 10
    assert ann.heard() == []


def test_a_client_that_ended_while_its_room_was_made_hears_no_refusal(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    match(ann)
    match(bob)
    ann.ask(Goodbye(ann.ref, Code.SESSION_ENDED, ""))
    bench.refuse(bench.wanted, Code.ROOM_FAILED)
    assert ann.heard() == []
    assert codes(bob.heard()) == [(10, Code.ROOM_FAILED)]


def test_a_client_that_ends_gives_everything_back(bench: Bench) -> None:
    room = a_room(bench)
    ann, bob = come(bench), come(bench)
    bench.seat(ann, room)
    create(ann)
    bench.grant(bench.wanted)
    ann.ask(Goodbye(ann.ref, Code.SESSION_ENDED, ""))
    released = bench.out.asked_for(ReleaseSeats)
    both = sorted([room, bench.wanted.room])
    assert released == [ReleaseSeats(ann.welcome.session, [one]) for one in both], "the desk may be another's for each"
    match(bob)
    bob.ask(Goodbye(bob.ref, Code.SESSION_ENDED, ""))
    assert len(bench.broker.queues) == 0
    assert bench.out.asked_for(ReleaseSeats) == released
    assert bench.out.alarms.next() is None


def test_reports_about_clients_who_are_not_here_are_nothing(bench: Bench) -> None:
    bench.report(Seated("r1", "nobody", ClientData(9, "")))
    bench.report(Unseated("r1", "nobody"))
    ann = come(bench)
    bench.report(Unseated("r1", ann.welcome.session))
    assert ann.session.rooms == set()


# Over lost connections.


def test_nobody_who_is_away_is_matched_and_who_is_back_has_the_old_place(bench: Bench) -> None:
    ann, bob, cid = (come(bench) for _ in range(3))
    match(ann)
    ann.lose()
    match(bob)
    assert bench.out.asked == []
    bob.lose()
    match(cid)
    assert bench.out.asked == []
    come_back(ann)
    assert [wish.session for wish in bench.wanted.seats] == [ann.welcome.session, cid.welcome.session]
    assert len(bench.out.asked) == 1
    bench.grant(bench.wanted)
    assert len(ann.heard()) == len(cid.heard()) == 1


def test_a_ticket_ends_while_its_client_is_away(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    match(ann, timeout=5.0)
    ann.lose()
    bench.out.advance(6.0)
    assert len(bench.broker.queues) == 0
    come_back(ann)
    match(bob)
    assert bench.out.asked == []


def test_a_session_whose_grace_was_over_while_the_broker_stood_still_is_there_for_who_has_come_meanwhile(
    bench: Bench,
) -> None:
    ann, bob = come(bench), come(bench)
    for guest in (ann, bob):
        guest.lose()
    bench.out.now += 300.0
    bench.out.advance(59.0)
    come_back(ann)
    bench.out.advance(2.0)
    assert [session.id for session in bench.broker.sessions] == [ann.session.id]


def test_a_broker_that_is_always_late_does_not_keep_sessions_for_ever(bench: Bench) -> None:
    come(bench).lose()
    kept: list[int] = []
    for _ in range(4):
        bench.out.now += 300.0
        bench.out.advance(0.0)
        kept.append(len(bench.broker.sessions))
    assert kept == [1, 1, 1, 0]


def test_a_client_who_does_not_come_back_is_matched_with_nobody(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    match(ann, timeout=600.0)
    ann.lose()
    bench.out.advance(61.0)
    assert len(bench.broker.sessions) == 1
    assert len(bench.broker.queues) == 0
    match(bob)
    assert bench.out.asked == []


def test_a_match_that_is_asked_again_after_a_resume_keeps_its_ticket(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    match(ann, timeout=60.0)
    ann.lose()
    bench.out.advance(10.0)
    come_back(ann)
    (ticket,) = match(ann, timeout=60.0)
    assert isinstance(ticket, Ticket)
    assert (ticket.ref, ticket.ask) == (ann.ref, 10)
    assert ticket.timeout == pytest.approx(50.0)
    assert len(bench.broker.queues) == 1
    match(bob)
    bench.grant(bench.wanted)
    bench.out.advance(100.0)
    assert codes(ann.heard()) == []


@pytest.mark.parametrize("way", [match, create, join])
def test_a_request_that_is_asked_again_while_the_worker_works_is_answered_once(bench: Bench, way: Any) -> None:
    where = {"room": a_room(bench)} if way is join else {}
    ann = come(bench)
    ask = (lambda: match(ann, 10, RuleSet(1))) if way is match else (lambda: way(ann, ask=10, **where))
    before = len(bench.out.asked)
    assert ask() == []
    ann.lose()
    come_back(ann)
    assert ask() == []
    assert len(bench.out.asked) == before + 1
    bench.grant(bench.wanted)
    answer = assigned(ann.heard())
    assert (answer.ref, answer.ask) == (ann.ref, 10)


@pytest.mark.parametrize("way", [match, create, join])
def test_a_lost_assignment_is_given_again_with_the_time_that_is_left(bench: Bench, way: Any) -> None:
    where = {"room": a_room(bench)} if way is join else {}
    ann = come(bench)
    ask = (lambda: match(ann, 10, RuleSet(1))) if way is match else (lambda: way(ann, ask=10, **where))
    ask()
    ann.lose()
    bench.grant(bench.wanted)
    before = len(bench.out.asked)
    bench.out.advance(5.0)
    come_back(ann)
    again = assigned(ask())
    assert (again.ref, again.ask, again.room) == (ann.ref, 10, bench.wanted.room)
    assert again.timeout == pytest.approx(10.0)
    assert assigned(ask()).reservation == again.reservation
    assert len(bench.out.asked) == before


def test_an_assignment_that_ran_out_is_not_given_again(bench: Bench) -> None:
    ann = come(bench)
    create(ann)
    ann.lose()
    bench.grant(bench.wanted)
    bench.out.advance(16.0)
    come_back(ann)
    assert create(ann) == []
    assert len(bench.out.asked_for(OpenRoom)) == 2
    assert bench.out.asked_for(ReleaseSeats) == []


def test_an_assignment_that_was_used_is_not_given_again(bench: Bench) -> None:
    ann = come(bench)
    create(ann)
    bench.grant(bench.wanted)
    bench.seat(ann, bench.wanted.room)
    ann.heard()
    assert create(ann, 11) == []
    assert len(bench.out.asked_for(OpenRoom)) == 2
    assert bench.out.asked_for(ReleaseSeats) == []


def test_a_session_that_is_displaced_keeps_its_ticket(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    match(ann)
    come_back(ann)  # the older connection is still there
    assert len(bench.broker.queues) == 1
    match(bob)
    bench.grant(bench.wanted)
    assert assigned(ann.heard()).ask == 10


# Who may ask.


@pytest.mark.parametrize(
    "message",
    [
        Match(0, 10, DUEL.to_wire(), {}, 5.0),
        Cancel(0, 10),
        Create(0, 10, DUEL.to_wire(), {}),
        JoinById(0, 10, "r1", {}),
        ListRooms(0, 10, None),
        Goodbye(0, 3004, ""),
    ],
)
def test_nobody_asks_in_anothers_name(bench: Bench, message: Match) -> None:
    ann, eve = come(bench), come(bench)
    match(ann)
    with bench.out.turn():
        answers = eve.ask(message._replace(ref=ann.ref))
    assert [code for _, code in codes(answers)] == [Code.NOT_A_MEMBER]
    assert ann.heard() == []
    assert len(bench.broker.queues) == 1
    assert len(bench.broker.sessions) == 2
    assert bench.out.asked == []


def test_a_broker_that_was_left_holds_nothing(bench: Bench) -> None:
    guests = [come(bench) for _ in range(6)]
    room = a_room(bench)
    match(guests[0])
    match(guests[1])
    bench.grant(bench.wanted)
    match(guests[2])
    create(guests[3])
    bench.refuse(bench.wanted, Code.ROOM_FAILED)
    join(guests[4], room)
    for guest in guests:
        guest.lose()
    bench.grant(bench.wanted)
    bench.out.advance(61.0)
    assert len(bench.broker.sessions) == 1  # who made the room
    assert len(bench.broker.queues) == 0
    assert len(bench.broker._searches) == 1
    assert bench.broker.seating._wishes == {}
    assert bench.worker.promised == {}
    assert bench.out.alarms.next() is None


@pytest.mark.parametrize("ended_by", ["cancel", "match"])
def test_the_deadline_of_a_ticket_that_is_over_does_not_end_the_next_one(bench: Bench, ended_by: str) -> None:
    ann = come(bench)
    match(ann, 10, timeout=5.0)
    bench.out.advance(0.2)
    if ended_by == "cancel":
        ann.ask(Cancel(ann.ref, 10))
    else:
        match(come(bench))
        bench.refuse(bench.wanted, Code.ROOM_FAILED)
    bench.out.advance(4.75)
    ann.heard()
    match(ann, 11, timeout=60.0)
    bench.out.advance(1.0)
    assert codes(ann.heard()) == []
    assert len(bench.broker.queues) == 1


def test_a_room_that_a_draining_worker_does_not_make_is_made_by_another() -> None:
    bench = Bench()
    other = a_worker("other", bench.out, "tcp://127.0.0.1:7000", types=["duel"])
    bench.broker.workers.add(other)
    guest = come(bench)
    bench.worker.has("busy", 0)
    other.has("busier", 9)
    guest.ask(Create(guest.ref, 10, DUEL.to_wire(), {}))
    first = bench.wanted
    bench.refuse(first, Code.WORKER_DRAINED)
    second = bench.wanted
    assert first.room != second.room
    assert guest.heard() == []
    with bench.out.turn():
        bench.broker.on_report(other, Reserved(second.ask, second.room, [bytes(16)], 15.0))
    (assigned,) = guest.heard()
    assert isinstance(assigned, Assigned)
    assert (assigned.room, assigned.endpoint) == (second.room, other.endpoint)
