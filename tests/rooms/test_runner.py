"""The runner: a room's life, what members send, what it sends."""

from typing import Any

import pytest

from server_room_system import (
    Code,
    ConfigError,
    JoinRefused,
    Limits,
    Member,
    PayloadError,
    RoomLocked,
    RuleSet,
)
from server_room_system.protocol import Deliver, Error, Item, LeftRoom
from server_room_system.rooms.control import RoomEnded
from server_room_system.rooms.life import RoomState

from .desk import Desk
from .fakes import START, Bench, Diary, FakeCaller, Gate

# Life.


def test_a_room_is_open_when_on_create_has_returned() -> None:
    room = Diary()
    bench = Bench(room, 3, create=False)
    assert bench.state() is RoomState.CREATING
    bench.create({"map": "desert"})
    assert bench.state() is RoomState.OPEN
    assert bench.born == [None]
    assert room.events == [("create", {"map": "desert"})]
    assert room.id == "r1"
    assert room.ruleset == RuleSet(3)
    assert bench.runner.seats.capacity == 3


def test_a_room_may_have_its_own_number_of_seats() -> None:
    room = Diary()
    room.max_clients = 9
    assert Bench(room, 3).runner.seats.capacity == 9


@pytest.mark.parametrize("is_async", [False, True])
def test_a_room_whose_on_create_raises_is_never_born(is_async: bool) -> None:
    error = JoinRefused("not today")

    class Refusing(Diary):
        def on_create(self, options: dict[str, Any]) -> Any:
            self.every(1.0, lambda: self.events.append(("timer",)))
            if is_async:
                return self.later()
            raise error

        async def later(self) -> None:
            raise error

    room = Refusing()
    bench = Bench(room)
    assert bench.born == [error]
    assert bench.state() is RoomState.DISPOSED
    assert room.events == [("error", "on_create", JoinRefused)]
    bench.out.advance(10.0)
    assert bench.out.alarms.next() is None
    assert "timer" not in room.names
    assert bench.out.reports == []


def test_a_room_is_not_open_before_it_is_made() -> None:
    class Early(Diary):
        def __init__(self) -> None:
            super().__init__()
            self.broadcast("too", "early")

    with pytest.raises(ConfigError, match="not open yet"):
        Early()
    with pytest.raises(ConfigError, match="no ruleset yet"):
        Diary().ruleset  # noqa: B018
    assert Diary(RuleSet(2)).ruleset == RuleSet(2)


def test_a_room_that_is_being_made_cannot_be_closed() -> None:
    class Undecided(Diary):
        def on_create(self, options: dict[str, Any]) -> Any:
            self.close()

    bench = Bench(Undecided())
    assert isinstance(bench.born[0], ConfigError)


def test_closing_lets_everybody_know_and_runs_the_hooks_in_order() -> None:
    room = Diary()
    bench = Bench(room)
    ann, bob = bench.join(), bench.join()
    bob.drop()
    with bench.out.turn():
        room.broadcast("last", "words")
        room.close("good night")
        room.close("twice")
    assert room.names[-3:] == ["leave", "leave", "dispose"]
    assert room.events[-3:-1] == [("leave", 1, Code.ROOM_CLOSED), ("leave", 2, Code.ROOM_CLOSED)]
    assert ann.heard == ["words"]
    assert ann.left == LeftRoom(ann.ref, Code.ROOM_CLOSED, "good night", *ann.position[1:])
    assert bench.state() is RoomState.DISPOSED
    assert bench.reported(RoomEnded) == [RoomEnded("r1")]
    bench.out.advance(60.0)  # what was said is kept for who has not heard it
    assert bench.out.alarms.next() is None


class Sleepy(Diary):
    """Waits in the hooks that have a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, Gate] = {}

    async def _wait(self, hook: str) -> None:
        if hook in self.gates:
            await self.gates[hook]

    async def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        await self._wait(f"join {client.id}")
        super().on_join(client, options)

    async def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> Any:
        await self._wait("message")
        super().handle_response(protocol, data, sender, client_data)

    async def on_leave(self, client: Member, reason: Code) -> Any:
        await self._wait("leave")
        super().on_leave(client, reason)

    async def on_dispose(self) -> Any:
        await self._wait("dispose")
        super().on_dispose()


def test_a_room_that_is_over_keeps_nothing_of_what_it_said() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    with bench.out.turn():
        room.broadcast("m", "x" * 10_000)
    assert bench.runner.fanout.history.size > 10_000
    ann.leave()  # by its own wish: nobody is there who may miss something
    assert bench.reported(RoomEnded)
    assert bench.runner.fanout.history.size == 0


def test_closing_waits_for_the_hook_at_work() -> None:
    room = Sleepy()
    bench = Bench(room)
    ann = bench.join()
    room.gates["message"] = Gate()
    ann.send("m", 1)
    with bench.out.turn():
        room.close()
    ann.send("m", 2)
    assert room.names == ["create", "join"]
    assert ann.listen().left is None
    with pytest.raises(RoomLocked):
        bench.reserve()
    with bench.out.turn():
        room.gates["message"].open()
    assert room.names == ["create", "join", "message", "leave", "dispose"]


@pytest.mark.parametrize("hook", ["message", "leave", "dispose", "join 2"])
def test_a_hook_that_never_ends_cannot_keep_its_room_open(hook: str) -> None:
    room = Sleepy()
    bench = Bench(room)
    ann = bench.join()
    room.gates[hook] = Gate()
    bench.join()
    ann.send("m", 1)
    with bench.out.turn():
        room.close()
    bench.out.advance(4.9)
    assert bench.state() is RoomState.CLOSING
    bench.out.advance(0.2)
    assert bench.state() is RoomState.DISPOSED
    assert bench.reported(RoomEnded) == [RoomEnded("r1")]
    assert isinstance(ann.listen().left, LeftRoom)
    assert ann.caller.refs == {}
    assert len(bench.runner.seats) == 0
    assert not bench.runner.mailbox.busy  # it was stopped
    bench.out.advance(100.0)
    assert bench.out.alarms.next() is None


def test_guests_who_were_still_at_the_door_are_refused_when_the_room_closes() -> None:
    room = Sleepy()
    bench = Bench(room)
    ann = bench.join()
    room.gates["message"] = Gate()
    ann.send("m", 1)
    bob = bench.join()
    with bench.out.turn():
        room.close()
    with bench.out.turn():
        room.gates["message"].open()
    assert [(error.ask, error.code) for error in bob.listen().errors] == [(72, Code.ROOM_CLOSED)]
    assert room.names == ["create", "join", "message", "leave", "dispose"]


def test_a_reservation_of_a_closing_room_runs_out_quietly() -> None:
    room = Sleepy()
    bench = Bench(room)
    bench.join()
    room.gates["dispose"] = Gate()
    room.reservation_time = 1.0
    bench.reserve()
    with bench.out.turn():
        room.close()
    bench.out.advance(2.0)
    assert len(bench.runner.seats) == 0
    with bench.out.turn():
        room.gates["dispose"].open()
    assert bench.reported(RoomEnded) == [RoomEnded("r1")]


# Messages.


def test_messages_reach_their_handlers_or_else_handle_response() -> None:
    room = Desk()
    bench = Bench(room)
    ann = bench.join()
    ann.send("move", 3)
    ann.send("other", [1, 2])
    assert room.events[-2:] == [("move", 1, 3), ("message", 1, "other", [1, 2])]


def test_a_message_that_does_not_fit_its_handler_is_refused_with_its_number() -> None:
    room = Desk()
    bench = Bench(room)
    ann = bench.join()
    ann.send("move", 3)
    number = ann.send("move", "three")
    assert ann.caller.refusals == [(Code.BAD_PAYLOAD, number)]
    ann.send("move", 4)
    assert room.events[-2:] == [("move", 1, 3), ("move", 1, 4)]


def test_a_handler_that_fails_tells_the_room_and_not_the_client() -> None:
    room = Desk()
    bench = Bench(room)
    ann = bench.join()
    ann.send("break", 1)
    ann.send("move", 1)
    assert room.events[-2:] == [("error", "fail ('break')", LookupError), ("move", 1, 1)]
    assert ann.caller.refusals == []


def test_messages_wait_behind_an_async_handler_in_order() -> None:
    room = Desk()
    room.gate = Gate()
    bench = Bench(room)
    ann, bob = bench.join(), bench.join()
    ann.send("wait", "first")
    bob.send("move", 2)
    ann.send("move", 3)
    assert room.names == ["create", "join", "join"]
    with bench.out.turn():
        room.gate.open()
    assert room.events[3:] == [("waited", 1, "first"), ("move", 2, 2), ("move", 1, 3)]


def test_a_room_that_falls_behind_refuses_more_than_it_can_hold() -> None:
    room = Desk()
    room.gate = Gate()
    bench = Bench(room)
    ann = bench.join()
    ann.send("wait", 0)
    with bench.out.turn():
        for _ in range(1024):
            ann.say("move", 1)
    waiting = len(bench.runner.mailbox)
    refused = ann.send("move", 2)
    refused_request = ann.request("double", 2)
    assert [refusal for refusal in ann.caller.refusals if refusal[1] >= refused] == [
        (Code.ROOM_BUSY, refused),
        (Code.ROOM_BUSY, refused_request),
    ]
    assert len(bench.runner.mailbox) == waiting
    with bench.out.turn():
        room.gate.open()
    assert len([event for event in room.events if event[0] == "move"]) == 1024 - len(ann.caller.refusals) + 2
    ann.send("move", 9)
    assert room.events[-1] == ("move", 1, 9)


def test_what_a_member_sent_before_it_left_is_not_applied_after() -> None:
    room = Desk()
    room.gate = Gate()
    bench = Bench(room)
    ann, bob = bench.join(), bench.join()
    bob.send("wait", 0)
    ann.member.kick()
    ann.send("move", 1)
    ann.request("double", 1)
    with bench.out.turn():
        room.gate.open()
    assert "move" not in room.names
    assert ann.replies == {}


# What rooms send.


def test_broadcasts_and_direct_messages_of_a_turn_leave_as_one_frame() -> None:
    room = Diary()
    bench = Bench(room)
    ann, bob, carl = (bench.join() for _ in range(3))
    before = len(bench.out.frames)
    with bench.out.turn():
        room.broadcast("m", 1)
        bob.member.send("m", 2)
        room.broadcast("m", 3, except_=carl.member)
        room.broadcast("m", 4, except_=[ann.member, bob.member])
        room.broadcast_message("text")
        room.broadcast_command("stop")
        assert len(bench.out.frames) == before
    assert len(bench.out.frames) == before + 3
    assert ann.heard == [1, 3, "text", "stop"]
    assert bob.heard == [1, 2, 3, "text", "stop"]
    assert carl.heard == [1, 4, "text", "stop"]
    assert [item[1] for item in ann.items[-2:]] == ["message", "command"]


def test_a_turn_that_says_too_much_leaves_in_several_frames() -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    with bench.out.turn():
        for number in range(2500):
            room.broadcast("m", number)
    frames = [message for message in ann.caller.heard if isinstance(message, Deliver)]
    assert [len(frame.items) for frame in frames] == [1024, 1024, 452]
    assert ann.heard == list(range(2500))


def test_a_member_of_another_room_is_nobody_to_except() -> None:
    room, other = Diary(), Diary()
    bench, elsewhere = Bench(room), Bench(other)
    ann, stranger = bench.join(), elsewhere.join()
    with bench.out.turn():
        room.broadcast("m", "for ann", except_=stranger.member)
    assert ann.heard == ["for ann"]
    assert not [frame for peer, frame in bench.out.frames if peer == stranger.caller.peer]
    assert stranger.heard == []


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize("data", [object(), {1: "keys are text"}, "x" * 300_000, 2**70, nested(17)])
def test_what_cannot_be_sent_raises_where_it_is_said_and_changes_nothing(data: Any) -> None:
    room = Diary()
    bench = Bench(room)
    ann = bench.join()
    with bench.out.turn():
        room.broadcast("m", 1)
        with pytest.raises(PayloadError):
            room.broadcast("m", data)
        with pytest.raises(PayloadError):
            ann.member.send("m", data)
        with pytest.raises(PayloadError):
            room.broadcast("m", data, except_=ann.member)
        room.broadcast("m", 2)
        ann.member.send("m", 3)
    assert ann.heard == [1, 2, 3]


def test_the_largest_payload_fits_into_a_frame() -> None:
    limits = Limits(download=8192)
    room = Diary()
    bench = Bench(room, limits=limits)
    ann = bench.join()
    fits = 0
    for size in range(8100, 8192):
        try:
            with bench.out.turn():
                room.broadcast("m", b"x" * size)
                ann.member.send("m", b"x" * size)
        except PayloadError:
            break
        fits = size
    assert 8100 < fits < 8191
    assert max(len(frame) for _, frame in bench.out.frames) <= limits.download
    assert [len(data) for data in ann.heard[-2:]] == [fits, fits]


# Numbers, acknowledgements and rates.


def test_messages_are_acknowledged_unasked_every_32() -> None:
    bench = Bench(Desk())
    ann = bench.join()
    for _ in range(70):
        ann.send("move", 1)
    assert ann.listen().acked == [32, 64]


def test_an_acknowledgement_is_said_when_all_before_it_is_applied() -> None:
    room = Desk()
    room.gate = Gate()
    bench = Bench(room)
    ann = bench.join()
    ann.send("wait", 1)
    ann.send("move", 2)
    ann.confirm()
    assert ann.listen().acked == []
    with bench.out.turn():
        room.gate.open()
    assert ann.listen().acked == [2]
    ann.confirm()
    assert ann.listen().acked == [2, 2]


def test_a_client_that_asks_has_got_its_token() -> None:
    bench = Bench(Desk())
    ann = bench.join()
    assert not ann.seat.confirmed
    ann.confirm()
    assert ann.seat.confirmed


def test_asking_again_and_again_does_not_fill_the_mailbox() -> None:
    room = Desk()
    room.gate = Gate()
    bench = Bench(room)
    ann = bench.join()
    ann.send("wait", 1)
    for _ in range(500):
        ann.confirm()
    assert len(bench.runner.mailbox) <= 1
    with bench.out.turn():
        room.gate.open()
    assert ann.listen().acked == [1]


def test_a_message_that_comes_twice_is_applied_once() -> None:
    room = Desk()
    bench = Bench(room)
    ann = bench.join()
    ann.send("move", 1)
    ann.number = 0
    ann.send("move", 1)
    assert [event for event in room.events if event[0] == "move"] == [("move", 1, 1)]
    assert ann.caller.refusals == []


def test_a_gap_is_told_with_the_number_that_is_expected() -> None:
    room = Desk()
    bench = Bench(room)
    ann = bench.join()
    ann.send("move", 1)
    ann.number = 4
    ann.send("move", 5)
    ann.request("double", 6)
    assert "move" in room.names
    assert room.names.count("move") == 1
    assert [(error.code, error.ask, error.data) for error in ann.listen().errors] == [(Code.UPLINK_GAP, 0, 2)] * 2
    assert ann.replies == {}
    ann.number = 1
    ann.send("move", 2)
    assert room.events[-1] == ("move", 1, 2)


def test_several_messages_in_one_frame_are_taken_one_by_one() -> None:
    room = Desk()
    bench = Bench(room)
    ann = bench.join()
    ann.send("move", 1)
    with bench.out.turn():
        ann.member.on_send([40, ann.ref, 1, "move", 1, "move", 2, "other", 3, "move", 4])
    assert room.events[-4:] == [("move", 1, 1), ("move", 1, 2), ("message", 1, "other", 3), ("move", 1, 4)]
    assert ann.member.uplink == 4


def test_the_rest_of_a_frame_is_not_heard_of_a_member_who_left_in_the_middle() -> None:
    class Bouncer(Desk):
        def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> Any:
            sender.kick()

    room = Bouncer()
    bench = Bench(room)
    bench.join()
    ann = bench.join()
    member = ann.member
    with bench.out.turn():
        member.on_send([40, ann.listen().ref, 1, "move", 1, "kick me", None, "move", 2, "move", 3])
    assert [event for event in room.events if event[0] == "move"] == [("move", 2, 1)]
    assert member.uplink == 2


@pytest.mark.parametrize(
    ("message", "refusal"),
    [
        ([40, 0, "1", "move", 1], (Code.BAD_MESSAGE, 0)),
        ([40, 0, 0, "move", 1], (Code.BAD_MESSAGE, 0)),
        ([40, 0, -5, "move", 1], (Code.BAD_MESSAGE, 0)),
        ([40, 0, 1.0, "move", 1], (Code.BAD_MESSAGE, 0)),
        ([40, 0, True, "move", 1], (Code.BAD_MESSAGE, 0)),
        ([40, 0, None, "move", 1], (Code.BAD_MESSAGE, 0)),
        ([40, 0, 1, b"move", 1], (Code.BAD_MESSAGE, 1)),
        ([40, 0, 1, "x" * 65, 1], (Code.BAD_MESSAGE, 1)),
        ([40, 0, 1, None, 1], (Code.BAD_MESSAGE, 1)),
        ([40, 0, 1, "move", 1, "move"], (Code.BAD_MESSAGE, 0)),
        ([40, 0, "1", "move", 1, "move", 2], (Code.BAD_MESSAGE, 0)),
    ],
)
def test_a_message_of_a_wrong_shape_is_refused(message: list[Any], refusal: tuple[int, int]) -> None:
    room = Desk()
    bench = Bench(room)
    ann = bench.join()
    with bench.out.turn():
        ann.member.on_send(message)
    assert ann.caller.refusals == [refusal]
    assert room.names == ["create", "join"]
    if len(message) == 5:
        with bench.out.turn():
            ann.member.on_request(message)
        assert ann.replies == {}


def test_a_message_of_a_wrong_shape_takes_its_number() -> None:
    room = Desk()
    bench = Bench(room)
    ann = bench.join()
    with bench.out.turn():
        ann.member.on_send([40, ann.ref, 1, "x" * 65, 1])
    ann.number = 1
    ann.send("move", 2)
    assert room.events[-1] == ("move", 1, 2)


def test_a_member_may_send_as_fast_as_its_room_allows() -> None:
    room = Diary()
    room.message_rate, room.message_burst = 10.0, 3
    bench = Bench(room)
    ann, bob = bench.join(), bench.join()
    numbers = [ann.send("m", 0) for _ in range(5)]
    numbers.append(ann.request("double", 1))
    assert [event for event in room.events if event[0] == "message"] == [("message", 1, "m", 0)] * 3
    assert ann.caller.refusals == [(Code.RATE_LIMITED, number) for number in numbers[3:]]
    bob.send("m", 1)
    assert room.events[-1] == ("message", 2, "m", 1)
    bench.out.advance(0.1)
    ann.send("m", 2)
    assert room.events[-1] == ("message", 1, "m", 2)
    ann.send("m", 3)
    assert room.events[-1] == ("message", 1, "m", 2)


def test_a_message_over_the_rate_is_dropped_and_not_sent_again() -> None:
    room = Diary()
    room.message_rate, room.message_burst = 1.0, 1
    bench = Bench(room)
    ann = bench.join()
    ann.send("m", 1)
    ann.send("m", 2)
    bench.out.advance(10.0)
    ann.send("m", 3)
    assert [event[3] for event in room.events if event[0] == "message"] == [1, 3]
    ann.confirm()
    assert ann.listen().acked == [3]


def test_a_new_connection_brings_no_new_allowance() -> None:
    room = Diary()
    room.message_rate, room.message_burst = 1.0, 2
    bench = Bench(room)
    ann = bench.join()
    ann.send("m", 1)
    ann.drop()
    ann.come_back()
    ann.send("m", 2)
    ann.send("m", 3)
    assert [event[3] for event in room.events if event[0] == "message"] == [1, 2]


def test_the_rate_can_be_lifted() -> None:
    room = Diary()
    room.message_rate = None
    bench = Bench(room)
    ann = bench.join()
    for _ in range(1000):
        ann.send("m", 1)
    assert room.names.count("message") == 1000
    assert bench.out.now == START


# Members.


def test_a_member_is_known_by_its_client() -> None:
    bench = Bench(Diary())
    ann = bench.join(FakeCaller(bench.out, "session 1"))
    member = ann.member
    assert (member.id, member.ID, member.ADDRESS) == (1, 1, "10.0.0.1")
    assert (member.data.ID, member.data.ADDRESS) == (1, "10.0.0.1")
    assert repr(member) == "<Member 1 joined in r1>"


def test_errors_are_answered_under_the_reference_and_number_of_the_message() -> None:
    bench = Bench(Desk())
    ann = bench.join()
    number = ann.send("move", "three")
    (error,) = ann.listen().errors
    assert error == Error(ann.ref, number, Code.BAD_PAYLOAD, "expected int, got str", None)
    assert not [item for item in ann.items if item[0] == Item.FAILURE]
