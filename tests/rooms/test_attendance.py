"""Who comes and goes: the order of answers, hooks and bundles, and what follows from each."""

from typing import Any

import pytest

from server_room_system import (
    ClientData,
    Code,
    ConfigError,
    HistoryLimits,
    JoinRefused,
    Member,
    ReservationRefused,
    RoomFull,
    RoomLocked,
    RuleSet,
)
from server_room_system.protocol import Deliver, Error, Item, Joined, LeftRoom, Position, Reset
from server_room_system.rooms.control import RoomEnded, RoomUpdated, Seated, Unseated
from server_room_system.rooms.life import RoomState
from server_room_system.rooms.seats import Seat, SeatState

from .fakes import Bench, Diary, FakeCaller, Gate


class Talkative(Diary):
    """Says something in every hook."""

    def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        super().on_join(client, options)
        self.broadcast("on_join", f"welcome {client.id}")
        client.send("on_join", f"only {client.id}")

    def on_leave(self, client: Member, reason: Code) -> Any:
        super().on_leave(client, reason)
        self.broadcast("on_leave", f"bye {client.id}")


class Watched(Diary):
    presence = True


# Joining.


def test_a_guest_is_answered_before_it_hears_anything() -> None:
    bench = Bench(Talkative())
    ann = bench.join(colour="red")
    assert [type(message) for message in ann.caller.heard] == [Joined, Deliver]
    (joined,) = ann.listen().joins
    assert (joined.ask, joined.room, joined.type, joined.uplink) == (71, "r1", "diary", 0)
    assert joined.epoch == bench.runner.fanout.epoch
    assert joined.info == {"max_clients": 4, "min_clients": 1, "metadata": {}}
    assert ann.heard == ["welcome 1", "only 1"]
    assert bench.room.events == [("create", {}), ("join", 1, {"colour": "red"})]  # type: ignore[attr-defined]
    assert bench.reported(Seated) == [Seated("r1", "session 1", ClientData(1, "10.0.0.1"))]


def test_what_was_said_before_a_guest_came_is_not_for_it() -> None:
    bench = Bench(Talkative())
    ann, bob = bench.join(), bench.join()
    assert ann.heard == ["welcome 1", "only 1", "welcome 2"]
    assert bob.heard == ["welcome 2", "only 2"]


def test_the_options_of_the_join_stand_over_those_of_the_reservation() -> None:
    room = Diary()
    bench = Bench(room)
    bench.take(bench.reserve(colour="red", size=1), colour="blue")
    assert room.events[-1] == ("join", 1, {"colour": "blue", "size": 1})


class Choosy(Diary):
    """Lets in who says please."""

    error: BaseException = JoinRefused("say please")

    def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        super().on_join(client, options)
        self.broadcast("on_join", client.id)
        if "please" not in options:
            raise self.error


@pytest.mark.parametrize(
    ("error", "text"),
    [(JoinRefused("say please"), "say please"), (ValueError("a secret"), JoinRefused.meaning)],
)
def test_a_guest_whom_on_join_refuses_was_never_a_member(error: BaseException, text: str) -> None:
    room = Choosy()
    room.error = error
    bench = Bench(room, 2)
    ann = bench.join(please=True)
    bob = bench.join()
    (refusal,) = bob.caller.heard
    assert refusal == Error(0, 72, Code.JOIN_REFUSED, text, None)
    assert bob.caller.refs == {}
    assert len(bench.runner.seats) == 1
    assert bench.reported(Seated) == [Seated("r1", "session 1", ClientData(1, "10.0.0.1"))]
    assert bench.reported(Unseated) == []
    assert room.names == ["create", "join", "join", "error"]
    assert ann.heard == [1, 2]
    carl = bench.join(please=True)
    assert carl.heard == [3]


def test_a_refused_guest_does_not_leave_an_empty_room_behind() -> None:
    room = Choosy()
    bench = Bench(room)
    bench.join()
    assert bench.state() is RoomState.DISPOSED
    assert bench.reported(RoomEnded) == [RoomEnded("r1")]


def test_on_dispose_is_the_last_hook_even_if_on_join_failed() -> None:
    """The error of the last guest's on_join was told to on_error after on_dispose."""
    room = Choosy()
    bench = Bench(room)
    bench.join()
    assert room.names == ["create", "join", "error", "dispose"]


class Slow(Diary):
    """Takes its time over every guest."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = [Gate() for _ in range(6)]
        self.gate: Gate | None = None

    async def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        await self.gates[client.id]
        super().on_join(client, options)

    async def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> Any:
        if self.gate is not None:
            await self.gate
        super().handle_response(protocol, data, sender, client_data)

    def open(self, number: int, bench: Bench) -> None:
        with bench.out.turn():
            self.gates[number].open()


def test_guests_wait_for_each_other_at_a_slow_door() -> None:
    room = Slow()
    bench = Bench(room)
    ann, bob = bench.join(), bench.join()
    room.open(2, bench)
    assert room.names == ["create"]
    assert ann.caller.heard == bob.caller.heard == []
    room.open(1, bench)
    assert room.events[1:] == [("join", 1, {}), ("join", 2, {})]
    assert len(ann.listen().joins) == len(bob.listen().joins) == 1


class Gossip(Slow):
    """Repeats what one says."""

    async def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> Any:
        await super().handle_response(protocol, data, sender, client_data)
        self.broadcast("m", data)


def test_what_is_said_while_a_guest_queues_is_not_for_it() -> None:
    room = Gossip()
    for gate in room.gates:
        gate.open()
    bench = Bench(room)
    ann = bench.join()
    room.gate = Gate()
    ann.send("m", "old news")
    bob = bench.join()
    with bench.out.turn():
        room.gate.open()
    ann.send("m", "news")
    assert ann.heard == ["old news", "news"]
    assert bob.heard == ["news"]


def test_a_guest_who_drops_in_front_of_a_slow_door_joins_on_the_next_connection() -> None:
    room = Slow()
    bench = Bench(room)
    ann = bench.join()
    ann.drop()
    with bench.out.turn():
        seat = bench.runner.seats.claim(ann.seat.reservation, frozenset(("session 1",)))
        ann.caller = FakeCaller(bench.out, "session 1")
        bench.runner.attendance.come_back(seat, ann.caller, 99, None)
    assert ann.caller.heard == []
    room.open(1, bench)
    assert [joined.ask for joined in ann.listen().joins] == [99]
    ann.send("hello", 1)
    assert room.events[-1] == ("message", 1, "hello", 1)


def test_a_guest_who_drops_for_good_in_front_of_a_slow_door_is_gone() -> None:
    room = Slow()
    bench = Bench(room)
    ann = bench.join()
    ann.drop()
    bench.out.advance(20.0)
    assert room.names == ["create"]
    room.open(1, bench)
    assert room.names == ["create", "join", "drop", "leave", "dispose"]
    assert room.events[3] == ("leave", 1, Code.GRACE_EXPIRED)
    assert len(bench.runner.seats) == 0


def test_a_lost_answer_to_a_join_is_given_again_for_the_same_reservation() -> None:
    bench = Bench(Talkative())
    ann = bench.join()
    bench.join()
    with bench.out.turn():
        ann.caller.lose()
    with bench.out.turn():
        seat = bench.runner.seats.claim(ann.seat.reservation, frozenset(("session 1",)))
        ann.caller = FakeCaller(bench.out, "session 1")
        bench.runner.attendance.come_back(seat, ann.caller, 99, None)
    assert [joined.ask for joined in ann.listen().joins] == [99]
    assert ann.heard == ["welcome 1", "only 1", "welcome 2"]
    assert bench.room.names.count("join") == 2  # type: ignore[attr-defined]


# Ready.


def test_a_created_room_is_ready_once_when_it_is_full() -> None:
    room = Diary()
    bench = Bench(room, 2)
    ann = bench.join()
    assert "ready" not in room.names
    bob = bench.join()
    assert room.names == ["create", "join", "join", "ready"]
    bob.leave()
    bench.join()
    ann.leave()
    bench.join()
    assert room.names.count("ready") == 1


def test_in_a_hall_that_is_never_full_nobody_is_counted_again_for_each_who_comes_or_goes() -> None:
    class Members(dict[int, Member]):
        walks = 0

        def values(self) -> Any:
            self.walks += 1
            return super().values()

    room = Diary()
    room.max_clients = 1000
    bench = Bench(room)
    members = bench.runner.members = Members()
    guests = [bench.join() for _ in range(50)]
    for guest in guests[10:]:
        with bench.out.turn():
            guest.member.kick()
    assert len(members) == 10
    assert bench.runner.attendance._here == sum(member.admitted for member in members.values()) == 10
    assert members.walks == 1


def test_a_matched_room_is_ready_when_all_who_were_expected_are_there() -> None:
    room = Diary()
    bench = Bench(room, 5, matched=True)
    seats = [bench.reserve() for _ in range(3)]
    for seat in seats[:2]:
        bench.take(seat)
    assert "ready" not in room.names
    bench.take(seats[2])
    assert room.names == ["create", "join", "join", "join", "ready"]


def test_a_matched_room_is_ready_when_the_last_one_expected_does_not_come() -> None:
    room = Diary()
    room.min_clients = 2
    bench = Bench(room, 3, matched=True)
    seats = [bench.reserve() for _ in range(3)]
    bench.take(seats[0])
    bench.take(seats[1])
    bench.out.advance(14.9)
    assert "ready" not in room.names
    bench.out.advance(0.2)
    assert room.names == ["create", "join", "join", "ready"]
    assert seats[2].state is SeatState.EXPIRED


def test_ready_waits_for_a_guest_who_is_still_at_the_door() -> None:
    room = Slow()
    bench = Bench(room, 2)
    room.gates[1].open()
    bench.join()
    bench.join()
    assert room.names == ["create", "join"]
    room.open(2, bench)
    assert room.names == ["create", "join", "join", "ready"]


def test_ready_waits_for_the_last_who_was_expected_and_is_at_the_door() -> None:
    room = Slow()
    bench = Bench(room, 5, matched=True)
    seats = [bench.reserve(), bench.reserve()]
    for seat in seats:
        bench.take(seat)
    room.open(1, bench)
    assert room.names == ["create", "join"]
    room.open(2, bench)
    assert room.names == ["create", "join", "join", "ready"]


def test_a_matched_room_closes_when_too_few_of_those_expected_come() -> None:
    room = Diary()
    room.min_clients = 2
    bench = Bench(room, 3, matched=True)
    seats = [bench.reserve() for _ in range(3)]
    ann = bench.take(seats[0])
    bench.out.advance(16.0)
    assert room.names == ["create", "join", "leave", "dispose"]
    assert ann.listen().left == LeftRoom(ann.ref, Code.BELOW_MINIMUM, "fewer than 2 are left", *ann.position[1:])


def test_everybody_hears_that_the_room_is_ready_unless_it_says_otherwise() -> None:
    class Plain(Diary):
        def ready(self) -> Any:
            return super(Diary, self).ready()

    bench = Bench(Plain(), 2)
    ann, bob = bench.join(), bench.join()
    assert ann.heard == bob.heard == ["room ready!"]
    assert ann.items[-1] == [Item.BROADCAST, "command", "room ready!"]


# Leaving.


def test_leaving_is_answered_told_and_reported() -> None:
    room = Talkative()
    bench = Bench(room)
    ann, bob = bench.join(), bench.join()
    bob.leave()
    assert bob.listen().left == LeftRoom(bob.ref, Code.LEFT, "", *bob.position[1:])
    assert room.events[-1] == ("leave", 2, Code.LEFT)
    assert ann.heard[-1] == "bye 2"
    assert "bye 2" not in bob.heard
    assert bob.caller.refs == {}
    assert bench.reported(Unseated) == [Unseated("r1", "session 2")]
    assert [member.id for member in room.clients] == [1]


def test_who_leaves_hears_what_was_said_before_first() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    bench.join()
    ann.listen()
    with bench.out.turn():
        room.broadcast("last", "words")
        ann.caller.refs[ann.ref].on_leave()
        room.broadcast("too", "late")
    assert ann.heard == ["words"]
    assert isinstance(ann.caller.heard[-1], LeftRoom)


def test_a_room_closes_when_it_falls_under_its_least_number() -> None:
    room = Talkative()
    room.min_clients = 2
    bench = Bench(room, 3)
    ann, bob, carl = (bench.join() for _ in range(3))
    carl.leave()
    assert bench.state() is RoomState.OPEN
    bob.leave()
    assert ann.listen().left == LeftRoom(ann.ref, Code.BELOW_MINIMUM, "fewer than 2 are left", *ann.position[1:])
    assert room.events[-2:] == [("leave", 1, Code.BELOW_MINIMUM), ("dispose",)]
    assert bench.state() is RoomState.DISPOSED
    assert bench.out.reports[-1] == RoomEnded("r1")


def test_a_room_that_was_never_ready_waits_for_more() -> None:
    room = Diary()
    room.min_clients = 2
    bench = Bench(room, 3)
    ann, bob = bench.join(), bench.join()
    bob.leave()
    assert bench.state() is RoomState.OPEN
    ann.leave()
    assert bench.state() is RoomState.DISPOSED


def test_a_seat_that_is_reserved_counts_as_taken_for_the_least_number() -> None:
    room = Diary()
    bench = Bench(room, 2)
    ann = bench.join()
    seat = bench.reserve()
    ann.leave()
    assert bench.state() is RoomState.OPEN
    bench.take(seat)
    assert room.names[-1] == "join"


def test_a_room_for_none_stays_open_when_it_is_empty() -> None:
    room = Diary()
    room.min_clients = 0
    bench = Bench(room)
    bench.join().leave()
    assert bench.state() is RoomState.OPEN
    bench.join()
    assert room.names == ["create", "join", "leave", "join"]


def test_a_reservation_that_nobody_takes_frees_its_seat_and_its_room() -> None:
    room = Diary()
    room.reservation_time = 3.0
    bench = Bench(room)
    seat = bench.reserve()
    bench.out.advance(2.9)
    assert len(bench.runner.seats) == 1
    bench.out.advance(0.2)
    assert bench.state() is RoomState.DISPOSED
    with pytest.raises(ReservationRefused):
        bench.runner.seats.claim(seat.reservation, None)


def a_reservation_that_ran_out_while_nothing_ran() -> tuple[Bench, Seat]:
    room = Diary()
    room.reservation_time = 3.0
    bench = Bench(room)
    seat = bench.reserve()
    bench.out.block(60.0)
    assert len(bench.runner.seats) == 1
    return bench, seat


def test_a_reservation_whose_time_ran_out_while_the_process_stood_still_is_good_for_who_has_come_meanwhile() -> None:
    bench, seat = a_reservation_that_ran_out_while_nothing_ran()
    bench.take(seat)
    bench.out.advance(100.0)
    assert len(bench.runner.members) == 1


def test_and_for_nobody_who_comes_much_later() -> None:
    bench, _ = a_reservation_that_ran_out_while_nothing_ran()
    bench.out.advance(2.9)
    assert len(bench.runner.seats) == 1
    bench.out.advance(0.2)
    assert bench.state() is RoomState.DISPOSED


@pytest.mark.parametrize("comes", [True, False])
def test_a_member_whose_grace_was_over_while_the_process_stood_still_may_have_come_back_meanwhile(comes: bool) -> None:
    room = Diary()
    room.reconnect_grace = 5.0
    bench = Bench(room)
    bench.join()
    member = bench.join()
    member.drop()
    bench.out.block(60.0)
    bench.out.advance(4.9)
    if comes:
        member.come_back()
    bench.out.advance(0.2)
    assert len(bench.runner.members) == (2 if comes else 1)


def test_a_process_that_is_always_late_does_not_hold_seats_for_ever() -> None:
    bench, seat = a_reservation_that_ran_out_while_nothing_ran()
    states: list[SeatState] = []
    for _ in range(3):
        bench.out.block(60.0)
        states.append(seat.state)
    assert states == [SeatState.RESERVED, SeatState.RESERVED, SeatState.EXPIRED]


def test_who_gives_a_reservation_up_frees_its_seat_at_once() -> None:
    bench = Bench(Diary(), 2)
    bench.join()
    seat = bench.reserve()
    with bench.out.turn():
        bench.runner.attendance.give_up(seat)
    assert (seat.state, len(bench.runner.seats)) == (SeatState.EXPIRED, 1)
    bench.out.advance(100.0)


def test_an_invitation_counts_as_a_seat_that_is_reserved_and_ends() -> None:
    room = Diary()
    bench = Bench(room, 2)
    ann = bench.join()
    with bench.out.turn():
        room.invite(77, 5.0)
    assert isinstance(report := bench.reported(RoomUpdated)[-1], RoomUpdated)
    assert (report.free, bench.runner.seats.reserved) == (0, 1)
    with pytest.raises(RoomFull):
        bench.reserve()
    with pytest.raises(RoomFull):
        room.invite(78)
    ann.leave()
    assert bench.state() is RoomState.OPEN, "somebody may come"
    bench.out.advance(4.0)
    with bench.out.turn():
        room.invite(77, 5.0)
    bench.out.advance(4.0)
    assert bench.state() is RoomState.OPEN, "its time began anew"
    bench.out.advance(1.1)
    assert bench.state() is RoomState.DISPOSED


def test_a_room_that_ends_leaves_no_invitation_behind() -> None:
    room = Diary()
    bench = Bench(room, 2)
    bench.join()
    with bench.out.turn():
        room.invite(77, 1000.0)
        room.close()
    assert bench.state() is RoomState.DISPOSED
    assert bench.runner.seats.invited == []
    assert (bench.out.alarms.next() or 0.0) < bench.out.now + 100.0, "that of the invitation is not among them"
    room.invite(78)
    room.uninvite(77)
    assert bench.runner.seats.invited == [], "it comes to nothing"


def test_whom_a_room_invites_while_it_is_made_has_a_seat_of_the_first_hour() -> None:
    class Club(Diary):
        def on_create(self, options: dict[str, Any]) -> Any:
            super().on_create(options)
            self.invite(77)

    bench = Bench(Club(), 1)
    with pytest.raises(RoomFull):
        bench.reserve()
    with bench.out.turn():
        bench.room.uninvite(77)
        bench.room.uninvite(77)
    assert bench.runner.seats.free == 1


@pytest.mark.parametrize("who", [True, -1, "ann", None, 1.0])
def test_only_numbers_of_clients_are_invited(who: Any) -> None:
    bench = Bench(Diary(), 2)
    with pytest.raises(ConfigError, match="by its number"):
        bench.room.invite(who)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), "5", True])
def test_an_invitation_lasts_for_some_seconds(seconds: Any) -> None:
    bench = Bench(Diary(), 2)
    with pytest.raises(ConfigError, match="lasts for some seconds"):
        bench.room.invite(1, seconds)


def test_a_reservation_that_was_taken_does_not_run_out() -> None:
    room = Diary()
    bench = Bench(room)
    bench.join()
    bench.out.advance(100.0)
    assert room.names == ["create", "join"]


def test_kick_lock_and_close_from_inside_a_hook() -> None:
    class Strict(Diary):
        def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> Any:
            super().handle_response(protocol, data, sender, client_data)
            if protocol == "kick":
                sender.kick("out")
                self.broadcast("after", "the kick")
            elif protocol == "lock":
                self.lock()
            else:
                self.close("enough")
                self.broadcast("after", "the close")

    room = Strict()
    bench = Bench(room, 3)
    ann, bob, carl = (bench.join() for _ in range(3))
    ann.send("lock")
    assert room.locked
    assert isinstance(report := bench.reported(RoomUpdated)[-1], RoomUpdated)
    assert report.locked
    with pytest.raises(RoomLocked):
        bench.reserve()
    bob.send("kick")
    assert bob.listen().left == LeftRoom(bob.ref, Code.KICKED, "out", *bob.position[1:])
    assert bob.heard == ["the kick"]  # it was said while it was a member
    assert room.events[-1] == ("leave", 2, Code.KICKED)
    carl.send("close")
    assert [guest.listen().left for guest in (ann, carl)] == [
        LeftRoom(ann.ref, Code.ROOM_CLOSED, "enough", *ann.position[1:]),
        LeftRoom(carl.ref, Code.ROOM_CLOSED, "enough", *carl.position[1:]),
    ]
    assert ann.heard == ["the kick", "the close"]
    assert room.names[-4:] == ["message", "leave", "leave", "dispose"]


def test_a_member_is_kicked_once() -> None:
    room = Diary()
    bench = Bench(room, 2)
    ann = bench.join()
    bench.join()
    member = ann.member
    with bench.out.turn():
        member.kick("first")
        member.kick("second")
    assert ann.listen().left == LeftRoom(ann.ref, Code.KICKED, "first", *ann.position[1:])
    assert room.names.count("leave") == 1
    with bench.out.turn():
        member.send("too", "late")
    assert ann.heard == []


# Dropping and coming back.


def test_a_member_who_comes_back_gets_what_it_missed_in_order() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    ann.drop()
    with bench.out.turn():
        room.broadcast("m", 1)
        room.clients[0].send("m", 2)
        room.broadcast("m", 3)
    bench.out.advance(10.0)
    ann.come_back()
    with bench.out.turn():
        room.broadcast("m", 4)
    assert ann.heard == [1, 2, 3, 4]
    assert ann.resets == []
    assert room.names == ["create", "join", "drop", "reconnect"]
    assert bench.reported(Unseated) == []
    bench.out.advance(100.0)
    assert bench.state() is RoomState.OPEN


def test_a_member_keeps_its_object_over_a_reconnect() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    member = room.clients[0]
    member.user_data = "mine"
    assert member.connected
    ann.drop()
    assert not member.connected
    assert room.clients == [member]
    ann.come_back()
    assert member.connected
    assert room.clients[0] is member


def test_what_a_client_sends_goes_on_after_a_reconnect_and_counts_once() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    ann.send("m", 1)
    ann.send("m", 2)
    ann.drop()
    ann.come_back()
    assert ann.listen().joins[-1].uplink == 2
    ann.number = 1  # the client had no acknowledgement: it sends the second one again
    ann.send("m", 2)
    ann.send("m", 3)
    assert [event[3] for event in room.events if event[0] == "message"] == [1, 2, 3]


class Forgetful(Diary):
    history = HistoryLimits(count=2)

    def snapshot(self) -> Any:
        return {"board": len(self.events)}


def test_a_member_who_was_away_for_too_long_gets_one_reset_with_the_snapshot() -> None:
    room = Forgetful()
    bench = Bench(room)
    ann = bench.join()
    ann.drop()
    for number in range(3):
        with bench.out.turn():
            room.broadcast("m", number)
    ann.come_back()
    with bench.out.turn():
        room.broadcast("m", "after")
    assert ann.heard == ["after"]
    assert ann.resets == [Reset(ann.ref, bench.runner.fanout.epoch, 3, 0, {"board": 3})]
    assert [type(message) for message in ann.caller.heard] == [Joined, Reset, Deliver]


@pytest.mark.parametrize("position", [Position(1, 0, 0), Position(2**53 - 1, 5, 0), Position(0, 3, 0)])
def test_a_position_in_another_life_is_no_place_to_go_on_from(position: Position) -> None:
    room = Forgetful()
    bench = Bench(room)
    ann = bench.join()
    with bench.out.turn():
        room.broadcast("m", 1)
    ann.drop()
    with bench.out.turn():
        seat = bench.runner.seats.reclaim(ann.token)
        ann.caller = FakeCaller(bench.out, "session 1")
        bench.runner.attendance.come_back(seat, ann.caller, 9, position)
    assert [type(message) for message in ann.caller.heard] == [Joined, Reset]


def test_a_member_cannot_recover_what_was_said_before_it_came() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    with bench.out.turn():
        room.broadcast("m", "secret")
    bob = bench.join()
    bob.drop()
    with bench.out.turn():
        seat = bench.runner.seats.reclaim(bob.token)
        bob.caller = FakeCaller(bench.out, "session 2")
        bench.runner.attendance.come_back(seat, bob.caller, 9, Position(bench.runner.fanout.epoch, 0, 0))
    assert [type(message) for message in bob.caller.heard] == [Joined, Reset]
    assert ann.heard == ["secret"]


@pytest.mark.parametrize("broken", ["raises", "holds an object", "is too large", "is nested too deeply"])
def test_a_snapshot_that_cannot_be_had_costs_the_snapshot_alone(broken: str) -> None:
    class Broken(Forgetful):
        def snapshot(self) -> Any:
            if broken == "raises":
                raise LookupError
            nested: Any = None
            for _ in range(40):
                nested = [nested]
            return {"holds an object": object(), "is too large": "x" * 300_000, "is nested too deeply": nested}[broken]

    room = Broken()
    bench = Bench(room)
    ann = bench.join()
    ann.drop()
    for number in range(3):
        with bench.out.turn():
            room.broadcast("m", number)
    ann.come_back()
    assert [reset.snapshot for reset in ann.resets or ann.listen().resets] == [None]
    bench.join()
    assert ("error", "snapshot") in [event[:2] for event in room.events]


def test_a_member_who_stays_away_is_gone_after_the_grace_period() -> None:
    room = Talkative()
    room.reconnect_grace = 7.0
    bench = Bench(room)
    ann, bob = bench.join(), bench.join()
    token = bob.token
    bob.drop()
    bench.out.advance(6.9)
    assert room.names[-1] == "drop"
    bench.out.advance(0.2)
    assert room.events[-1] == ("leave", 2, Code.GRACE_EXPIRED)
    assert ann.heard[-1] == "bye 2"
    assert len(bench.runner.seats) == 1
    with pytest.raises(ReservationRefused):
        bench.runner.seats.reclaim(token)


def test_the_grace_period_starts_anew_with_each_drop() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    for _ in range(4):
        ann.drop()
        bench.out.advance(14.0)
        ann.come_back()
    assert "leave" not in room.names


def test_who_is_back_in_time_stays_when_the_grace_period_would_be_over() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    ann.drop()
    bench.out.advance(room.reconnect_grace / 2)
    ann.come_back()
    bench.out.advance(room.reconnect_grace * 2)
    assert "leave" not in room.names
    assert ann.member.connected


def test_a_member_may_come_back_before_its_connection_is_known_to_be_lost() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    older = ann.caller
    with bench.out.turn():
        room.broadcast("m", 1)
    ann.come_back()
    assert older.refs == {}
    with bench.out.turn():
        older.lose()
        room.broadcast("m", 2)
    assert ann.heard == [1, 2]
    assert room.names == ["create", "join"]


def test_a_drop_and_a_return_while_the_room_is_busy_are_told_both_or_not_at_all() -> None:
    """Each reconnect that a room hears of follows a drop that it heard of."""
    room = Slow()
    for gate in room.gates:
        gate.open()
    bench = Bench(room)
    ann, bob = bench.join(), bench.join()
    room.gate = Gate()
    bob.send("m")
    ann.drop()
    ann.come_back()
    with bench.out.turn():
        room.gate.open()
    assert room.names.count("reconnect") == room.names.count("drop")


def test_a_member_who_left_while_it_was_away_cannot_come_back() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    bench.join()
    token, member = ann.token, ann.member
    ann.drop()
    with bench.out.turn():
        member.kick()
    with pytest.raises(ReservationRefused):
        bench.runner.seats.reclaim(token)
    bench.out.advance(100.0)
    assert room.names.count("leave") == 1


def test_a_member_who_is_back_before_its_removal_had_its_turn_stays() -> None:
    room = Slow()
    for gate in room.gates:
        gate.open()
    bench = Bench(room)
    ann, bob = bench.join(), bench.join()
    room.gate = Gate()
    bob.send("m")
    ann.drop()
    bench.out.advance(20.0)
    ann.come_back()
    with bench.out.turn():
        room.gate.open()
    assert "leave" not in room.names
    ann.send("still", "here")
    assert room.events[-1] == ("message", 1, "still", "here")


def test_a_reset_that_finds_no_room_is_said_later_and_once() -> None:
    room = Forgetful()
    bench = Bench(room)
    ann = bench.join()
    ann.drop()
    for number in range(3):
        with bench.out.turn():
            room.broadcast("m", number)
    caller = FakeCaller(bench.out, "session 1")
    bench.out.takes[caller.peer] = 1  # JOINED, and no more
    ann.come_back(caller)
    with bench.out.turn():
        room.broadcast("m", 3)
    bench.out.advance(0.5)
    assert [type(message) for message in caller.heard] == [Joined]
    bench.out.takes.clear()
    bench.out.advance(0.5)
    with bench.out.turn():
        room.broadcast("m", 4)
    assert [reset.offset for reset in ann.listen().resets] == [4]
    assert ann.heard == [4]


def test_a_slow_member_is_brought_up_though_the_room_talks_all_the_time() -> None:
    """Each broadcast put the next attempt off by 20 ms: in a room that ticks faster, it never came."""
    room = Diary()
    bench = Bench(room)
    slow, quick = bench.join(), bench.join()
    bench.out.full.add(slow.caller.peer)
    for number in range(20):
        with bench.out.turn():
            room.broadcast("m", number)
        bench.out.advance(0.01)
        if number == 9:
            bench.out.full.clear()
    assert slow.heard == quick.heard == list(range(20))


def test_a_bundle_does_not_overtake_an_answer_that_waits_for_room() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    ann.drop()
    with bench.out.turn():
        room.broadcast("m", 1)
    caller = FakeCaller(bench.out, "session 1")
    caller.clogged = True
    ann.come_back(caller)
    bench.out.advance(1.0)
    assert not any(isinstance(message, Deliver) for message in caller.heard)
    caller.clogged = False
    bench.out.advance(0.1)
    assert ann.heard == [1]


# Presence.


def test_members_are_told_of_each_other_in_rooms_that_show_presence() -> None:
    room = Watched()
    bench = Bench(room)
    ann, bob = bench.join(), bench.join()
    assert ann.listen().joins[-1].info["members"] == [1]
    assert bob.listen().joins[-1].info["members"] == [1, 2]
    bob.drop()
    bob.come_back()
    bob.leave()
    assert ann.presence == [("join", 2), ("drop", 2), ("reconnect", 2), ("leave", 2)]
    assert bob.presence == []


def test_a_guest_at_the_door_is_no_member_yet() -> None:
    class WatchedSlow(Slow):
        presence = True

    room = WatchedSlow()
    room.gates[1].open()
    bench = Bench(room)
    ann = bench.join()
    bench.join()
    ann.come_back()
    assert ann.listen().joins[-1].info["members"] == [1]
    room.open(2, bench)
    assert ann.presence == [("join", 2)]


def test_members_are_told_nothing_in_rooms_that_do_not() -> None:
    bench = Bench(Diary())
    ann, bob = bench.join(), bench.join()
    bob.leave()
    assert ann.presence == []
    assert "members" not in ann.joins[-1].info


def test_a_drop_of_thousands_fits_into_the_frames_of_those_who_stay() -> None:
    """Presence ignored that a turn was full: a frame of more than 1,024 items."""

    class Crowd(Watched):
        fanout = "unicast"

    bench = Bench(Crowd(), 1500)
    guests = [bench.join() for _ in range(1050)]
    stays = guests[0]
    with bench.out.turn():
        for guest in guests[1:]:
            guest.caller.lose()
    assert max(len(message.items) for message in stays.caller.heard if isinstance(message, Deliver)) <= 1024
    assert stays.presence[-1049:] == [("drop", number) for number in range(2, 1051)]


# What the directory hears.


def test_reports_say_how_many_seats_there_are() -> None:
    bench = Bench(Diary(), 3)
    bench.reserve()
    ann = bench.join()
    assert bench.reported(RoomUpdated)[-1] == RoomUpdated("r1", "diary", 1, 1, 3, False, {}, RuleSet(3).digest)
    bench.join()
    ann.leave()
    assert bench.reported(RoomUpdated)[-1] == RoomUpdated("r1", "diary", 1, 1, 3, False, {}, RuleSet(3).digest)


def test_who_is_still_joining_when_the_time_to_dispose_is_over_is_answered() -> None:
    """It was told LEFT, for a reference that it had never heard of, and waited for an answer that never came."""

    class Door(Diary):
        gate = Gate()

        def on_join(self, client: Member, options: dict[str, Any]) -> Any:
            return self.gate

    bench = Bench(Door())
    guest = bench.join()
    with bench.out.turn():
        bench.runner.close(Code.ROOM_CLOSED, "")
    assert guest.listen().errors == []
    bench.out.advance(5.1)
    (error,) = guest.listen().errors
    assert (error.ask, error.code) == (70 + guest.seat.key, Code.ROOM_CLOSED)
    assert bench.reported(Seated) == []
