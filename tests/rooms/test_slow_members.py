"""Members that take nothing for a while: what each policy of a room makes of them, on a clock that is moved."""

from typing import Any, ClassVar

import pytest

from server_room_system import Code, ConfigError, HistoryLimits, PayloadError, Position, Room
from server_room_system.protocol import Item
from server_room_system.rooms.inspection import describe
from server_room_system.rooms.life import RoomState
from server_room_system.rooms.member import Member

from .fakes import Bench, Diary, FakeCaller, Gate, Guest

STOPPED = 60
"""Seconds."""
RATE = 20
"""Broadcasts a second."""
BOTH = (int(Item.BROADCAST), int(Item.DIRECT))


class Track(Diary):
    """Two runners move, and now and then there is news."""

    max_clients = 3
    min_clients = 0
    said = 0

    def say(self) -> None:
        """One in twenty is news."""
        self.said += 1
        if self.said % RATE == 0:
            self.broadcast("news", self.said)
        else:
            self.broadcast("at", self.said, key=self.said % 2)

    def snapshot(self) -> Any:
        return self.said


class Recovering(Track):
    pass


class Latest(Track):
    slow_members = "latest"


class Closing(Track):
    slow_members = "close"
    most_lag = 5.0


def stopped_for_a_minute(room: Track) -> tuple[Bench, Guest, Guest]:
    """One member's queue is full from the first second to the sixtieth, while the room talks; then it has room."""
    bench = Bench(room)
    quick, slow = bench.join(), bench.join()
    bench.out.full.add(slow.caller.peer)
    for _ in range(STOPPED * RATE):
        with bench.out.turn():
            room.say()
        bench.out.advance(1 / RATE)
        quick.listen()
    if slow.seat.key in bench.runner.members:
        assert slow.member.lagging
        assert not quick.member.lagging
    bench.out.full.clear()
    bench.out.advance(1.0)
    return bench, quick, slow


def test_by_default_it_gets_what_the_history_holds_or_one_reset() -> None:
    room = Recovering()
    room.history = HistoryLimits(count=2000)
    _, quick, slow = stopped_for_a_minute(room)
    assert slow.heard == quick.heard == list(range(1, STOPPED * RATE + 1))
    assert slow.resets == []

    bench, quick, slow = stopped_for_a_minute(Recovering())
    assert quick.heard == list(range(1, STOPPED * RATE + 1))
    assert slow.heard == []
    assert [reset.snapshot for reset in slow.resets] == [STOPPED * RATE]
    assert not slow.member.lagging
    with bench.out.turn():
        bench.room.broadcast("news", "again")
    assert slow.heard == ["again"]


def test_where_the_newest_counts_it_gets_all_news_and_of_each_key_the_newest() -> None:
    bench, quick, slow = stopped_for_a_minute(Latest())
    last = STOPPED * RATE
    news = [number for number in range(1, last + 1) if number % RATE == 0]
    assert quick.heard == list(range(1, last + 1))
    assert slow.heard == sorted([*news, last - 2, last - 1])
    assert slow.resets == []  # though 1,200 messages are more than the history holds
    assert slow.position == quick.position == Position(bench.runner.fanout.epoch, last, 0)


def test_where_slow_members_are_removed_it_is_told_why_and_the_room_too() -> None:
    room = Closing()
    bench, quick, slow = stopped_for_a_minute(room)
    assert quick.heard == list(range(1, STOPPED * RATE + 1))
    assert slow.seat.key not in bench.runner.members
    assert room.events[-1] == ("leave", 2, Code.TOO_SLOW)


def test_the_bound_is_the_age_of_the_first_thing_that_a_member_misses() -> None:
    room = Closing()
    bench = Bench(room)
    bench.join()
    slow = bench.join()
    bench.out.advance(100.0)
    bench.out.full.add(slow.caller.peer)
    with bench.out.turn():
        room.say()
    bench.out.advance(4.7)
    assert slow.seat.key in bench.runner.members
    bench.out.full.clear()
    bench.out.advance(0.2)
    bench.out.full.add(slow.caller.peer)
    with bench.out.turn():
        bench.runner.direct(slow.member, "own", "lost")
    bench.out.advance(4.9)
    assert slow.seat.key in bench.runner.members
    bench.out.advance(0.3)
    assert slow.seat.key not in bench.runner.members
    assert slow.heard == [1]


def test_who_misses_more_than_the_history_holds_is_too_slow_at_once() -> None:
    room = Closing()
    room.history = HistoryLimits(count=5)
    bench = Bench(room)
    bench.join()
    slow = bench.join()
    bench.out.advance(10.0)
    bench.out.full.add(slow.caller.peer)
    for _ in range(6):
        with bench.out.turn():
            room.say()
    bench.out.advance(0.1)
    assert room.events[-1] == ("leave", 2, Code.TOO_SLOW)


def test_who_is_too_slow_is_told_so_as_soon_as_it_takes_something() -> None:
    room = Closing()
    bench = Bench(room)
    bench.join()
    slow = bench.join()
    slow.listen()
    bench.out.takes[slow.caller.peer] = 0
    with bench.out.turn():
        room.say()
    bench.out.advance(5.2)
    assert slow.listen().left is None  # a connection keeps it until there is room; here, it takes nothing
    assert room.events[-1] == ("leave", 2, Code.TOO_SLOW)


def test_who_asks_on_the_same_connection_for_what_is_too_old_is_too_slow() -> None:
    """A program that does not read, or a topic that lost something: nobody knows before it asks."""
    room = Closing()
    bench = Bench(room)
    bench.join()
    slow = bench.join()
    slow.confirm()
    place = slow.position
    for seconds, stays in ((4.0, True), (1.5, False)):
        with bench.out.turn():
            room.say()
        bench.out.advance(seconds)
        with bench.out.turn():
            seat = bench.runner.seats.reclaim(slow.token)
            bench.runner.attendance.come_back(seat, slow.caller, 77, place)
        slow.confirm() if stays else slow.listen()
        assert (slow.seat.key in bench.runner.members) is stays
    assert slow.left is not None
    assert slow.left.code == Code.TOO_SLOW


def test_who_comes_back_has_the_same_time_to_catch_up() -> None:
    room = Closing()
    room.reconnect_grace = 100.0
    bench = Bench(room)
    bench.join()
    away = bench.join()
    away.drop()
    for _ in range(60):
        with bench.out.turn():
            room.say()
        bench.out.advance(1.0)
    caller = FakeCaller(bench.out, away.seat.session)
    bench.out.full.add(caller.peer)
    away.come_back(caller)
    bench.out.advance(4.7)
    bench.out.full.clear()
    bench.out.advance(0.2)
    assert away.seat.key in bench.runner.members
    assert not away.member.lagging
    room.events.clear()
    bench.out.full.add(caller.peer)
    with bench.out.turn():
        room.say()
    bench.out.advance(5.2)
    assert ("leave", 2, Code.TOO_SLOW) in room.events


class Hesitant(Closing):
    """Takes its time to let somebody in."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[int, Gate] = {}

    async def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        if client.id in self.gates:
            await self.gates[client.id]


def test_who_had_to_wait_for_on_join_is_not_slow() -> None:
    room = Hesitant()
    bench = Bench(room)
    bench.join()
    room.gates[2] = Gate()
    newcomer = bench.join()
    with bench.out.turn():
        room.say()
    bench.out.advance(30.0)
    with bench.out.turn():
        room.gates[2].open()
    bench.out.advance(0.1)
    assert newcomer.heard == [1]
    assert newcomer.left is None


def test_removing_a_slow_member_waits_for_the_hook_at_work_and_is_asked_for_once() -> None:
    class Busy(Closing):
        gate = Gate()

        async def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> None:
            await self.gate

    room = Busy()
    bench = Bench(room)
    quick, slow = bench.join(), bench.join()
    bench.out.full.add(slow.caller.peer)
    with bench.out.turn():
        room.say()
    quick.send("m")
    bench.out.advance(60.0)
    assert len(bench.runner.mailbox) == 1
    with bench.out.turn():
        room.gate.open()
    assert slow.seat.key not in bench.runner.members


def test_who_is_away_or_not_in_yet_does_not_lag() -> None:
    room = Hesitant()
    bench = Bench(room)
    bench.join()
    away = bench.join()
    bench.out.full.add(away.caller.peer)
    with bench.out.turn():
        room.say()
    assert away.member.lagging
    away.drop()
    room.gates[3] = Gate()
    newcomer = bench.join()
    with bench.out.turn():
        room.say()
    assert [member.lagging for member in room.clients] == [False, False, False]
    told = {one["client"]: one["lagging"] for one in describe(bench.runner)["members"]}
    assert told == {1: False, 2: False, newcomer.member.id: False}
    assert describe(bench.runner)["slow_members"] == "close"


# --- direct messages, keys, exceptions ---------------------------------------------------------------------------


def test_direct_messages_have_keys_of_their_own() -> None:
    room = Latest()
    bench = Bench(room)
    bench.join()
    slow = bench.join()
    bench.out.full.add(slow.caller.peer)
    for number in range(1000):
        with bench.out.turn():
            slow.member.send("hp", ["own", number], key="p1")
            room.broadcast("hp", ["all", number], key="p1")
            room.broadcast("at", ["at", number], key="p1")
            if number % 250 == 0:
                slow.member.send("hp", ["unkeyed", number])
        bench.out.advance(0.01)
    bench.out.full.clear()
    bench.out.advance(0.1)
    unkeyed = [["unkeyed", number] for number in range(0, 1000, 250)]
    assert slow.heard == [*unkeyed, ["own", 999], ["all", 999], ["at", 999]]
    assert slow.position.direct == 1004
    assert slow.resets == []


def test_who_was_excepted_from_the_newest_gets_the_newest_of_its_own() -> None:
    room = Latest()
    bench = Bench(room)
    other, slow = bench.join(), bench.join()
    bench.out.full |= {other.caller.peer, slow.caller.peer}
    with bench.out.turn():
        room.broadcast("at", "first", key=1)
        room.broadcast("at", "for all", key=1)
        room.broadcast("at", "not for slow", key=1, except_=slow.member)
    with bench.out.turn():
        room.broadcast("at", "nor this", key=1, except_=slow.member)
    bench.out.full.clear()
    bench.out.advance(0.1)
    assert slow.heard == ["for all"]
    assert other.heard == ["nor this"]
    assert slow.position.offset == other.position.offset == 4


def test_who_comes_back_gets_of_each_key_the_newest_as_well() -> None:
    room = Latest()
    bench = Bench(room)
    bench.join()
    away = bench.join()
    away.drop()
    for _ in range(50):
        with bench.out.turn():
            room.say()
    away.come_back()
    assert away.heard == [20, 40, 49, 50]
    with bench.out.turn():
        room.say()
    assert away.heard == [20, 40, 49, 50, 51]
    assert away.position.offset == 51


@pytest.mark.parametrize("room", [Recovering(), Closing()], ids=["recover", "close"])
def test_elsewhere_keys_mean_nothing(room: Track) -> None:
    bench = Bench(room)
    bench.join()
    away = bench.join()
    away.drop()
    with bench.out.turn():
        room.broadcast("at", 1, key="k")
        room.broadcast("at", 2, key="k", except_=away.member)
        room.broadcast("at", 3, key="k")
        away.member.send("own", 4, key="k")
        away.member.send("own", 5, key="k")
    away.come_back()
    assert away.heard == [1, 3, 4, 5]


@pytest.mark.parametrize("key", [1.5, b"k", ("a", 1), "k" * 65, True])
def test_what_is_no_key_is_refused_and_nothing_is_sent(key: Any) -> None:
    room = Latest()
    bench = Bench(room)
    guest = bench.join()
    for say in (room.broadcast, guest.member.send):
        with bench.out.turn(), pytest.raises(PayloadError, match="a key is an integer, or a string"):
            say("at", 1, key=key)
    assert guest.heard == []
    assert bench.runner.fanout.offset == 0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"slow_members": "wait"}, "slow_members is recover, latest, close"),
        ({"most_lag": 0}, "most_lag is a number of at least 0.1"),
        ({"most_lag": None}, "most_lag is a number of at least 0.1"),
    ],
)
def test_settings_are_checked_when_the_class_is_made(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        type("Odd", (Room,), settings)


# --- work --------------------------------------------------------------------------------------------------------


class Costly(Recovering):
    """Its snapshot is work."""

    history = HistoryLimits(count=10)
    snapshots = 0

    def snapshot(self) -> Any:
        self.snapshots += 1
        return super().snapshot()


def test_no_snapshot_is_made_for_a_queue_that_is_full() -> None:
    room = Costly()
    bench, _, slow = stopped_for_a_minute(room)
    assert [reset.snapshot for reset in slow.listen().resets] == [STOPPED * RATE]
    assert room.snapshots <= 3
    with bench.out.turn():
        room.say()
    assert slow.heard == [STOPPED * RATE + 1]


def test_a_queue_with_room_for_one_frame_at_a_time_is_not_filled_with_trials() -> None:
    room = Recovering()
    bench = Bench(room)
    bench.join()
    slow = bench.join().listen()
    peer = slow.caller.peer
    bench.out.takes[peer] = 0
    for _ in range(100):
        with bench.out.turn():
            room.say()
        bench.out.advance(0.05)
    for _ in range(10):
        bench.out.takes[peer] = 1
        bench.out.advance(0.2)
    assert slow.heard == list(range(1, 101))


# --- memory ------------------------------------------------------------------------------------------------------


class Bytes(Track):
    """Everything that it says has a kilobyte."""

    history: ClassVar[HistoryLimits] = HistoryLimits(size=64 * 1024)  # type: ignore[misc]  # for all of them

    def say(self) -> None:
        self.said += 1
        for member in self.clients:
            member.send("own", [self.said, "x" * 1000], key=self.said % 2)
        self.broadcast("all", [self.said, "x" * 1000], key=self.said % 300)
        self.broadcast("all", [self.said, "x" * 1000])


@pytest.mark.parametrize("policy", ["recover", "latest", "close"])
def test_a_stopped_member_costs_no_more_than_the_histories_and_its_queue(policy: str) -> None:
    room = type(policy.title(), (Bytes,), {"slow_members": policy, "most_lag": 1e9})()
    bench = Bench(room)
    _, slow = bench.join(), bench.join().listen()
    bench.out.full.add(slow.caller.peer)
    sizes: list[int] = []
    for _ in range(STOPPED * RATE):
        with bench.out.turn():
            room.say()
        bench.out.advance(1 / RATE)
        log = slow.member.line.directs
        sizes.append(log.size + bench.runner.fanout.history.size)
        assert len(bench.runner.mailbox) == 0
    assert max(sizes) < 64 * 1024 + 256 * 1024 + 4096
    assert bench.state() is RoomState.OPEN
    bench.out.full.clear()
    bench.out.advance(1.0)
    slow.listen()
    assert [reset.snapshot for reset in slow.resets] == [room.said]
    with bench.out.turn():
        room.say()
    assert {(item[0], item[-1][0]) for item in slow.listen().items} == {(kind, room.said) for kind in BOTH}
