"""Timers and the tick: events of their room, at their time, and gone with it."""

import math
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from server_room_system import ConfigError, Member
from server_room_system.rooms import runner
from server_room_system.rooms.timers import Timer

from .fakes import START, Bench, Diary, Gate


class Clockwork(Diary):
    """Writes down when things ran, in seconds since the start."""

    min_clients = 0

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []
        self.gate: Gate | None = None

    def note(self) -> None:
        assert self._runner is not None
        self.times.append(round(self._runner.out.now - START, 6))

    async def note_slowly(self) -> None:
        self.note()
        if self.gate is not None:
            await self.gate

    def on_tick(self, dt: float) -> Any:
        self.note()
        self.events.append(("tick", round(dt, 6)))

    async def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> Any:
        if self.gate is not None:
            await self.gate


@pytest.fixture
def room() -> Clockwork:
    return Clockwork()


@pytest.fixture
def bench(room: Clockwork) -> Bench:
    return Bench(room)


def test_every_runs_at_its_interval_until_it_is_cancelled(room: Clockwork, bench: Bench) -> None:
    timer = room.every(0.5, room.note)
    bench.out.advance(1.75)
    assert room.times == [0.5, 1.0, 1.5]
    timer.cancel()
    timer.cancel()
    bench.out.advance(10.0)
    assert room.times == [0.5, 1.0, 1.5]
    assert bench.out.alarms.next() is None


def test_call_later_runs_once(room: Clockwork, bench: Bench) -> None:
    room.call_later(0.5, room.note)
    room.call_later(0.0, room.note)
    bench.out.advance(0.0)
    assert room.times == [0.0]
    bench.out.advance(10.0)
    assert room.times == [0.0, 0.5]
    assert bench.out.alarms.next() is None


def test_a_call_can_be_cancelled(room: Clockwork, bench: Bench) -> None:
    room.call_later(0.5, room.note).cancel()
    bench.out.advance(10.0)
    assert room.times == []


@pytest.fixture
def one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks begin a whole interval after the room."""
    monkeypatch.setattr(runner, "_PLACES", 1)


@pytest.mark.usefixtures("one_place")
def test_the_tick_is_told_how_long_it_has_been(room: Clockwork) -> None:
    room.tick_rate = 4.0
    bench = Bench(room)
    bench.out.advance(1.1)
    assert room.times == [0.25, 0.5, 0.75, 1.0]
    assert room.events == [("create", {}), *[("tick", 0.25)] * 4]


def test_rooms_that_are_made_in_one_turn_do_not_all_tick_in_one() -> None:
    first = set()
    for seed in range(40):
        clockwork = Clockwork()
        clockwork.tick_rate = 10.0
        bench = Bench(clockwork, entropy=Random(seed).randbytes)
        bench.out.advance(0.31)
        assert [round(late - early, 6) for early, late in pairwise(clockwork.times)] == [0.1] * (
            len(clockwork.times) - 1
        )
        first.add(clockwork.times[0])
    assert len(first) > 5
    assert all(0.0 < when <= 0.1 + 1e-9 for when in first)


def test_rooms_of_one_place_tick_in_one_turn_whenever_they_were_made() -> None:
    """Each room counted from when it was made: 250 rooms woke the loop 700 times a second, to tick 20 times."""
    places: set[float] = set()
    for made_after in (0.0, 0.03, 0.0999, 0.45, 77.7777):
        clockwork = Clockwork()
        clockwork.tick_rate = 10.0
        bench = Bench(clockwork, create=False)
        bench.out.advance(made_after)
        bench.create()
        bench.out.advance(0.5)
        assert len(clockwork.times) == 5
        assert all(made_after < when <= made_after + 0.5 for when in clockwork.times)
        places.update(round(when % 0.1, 5) for when in clockwork.times)
    assert len(places) == 1


@pytest.mark.usefixtures("one_place")
def test_the_first_tick_is_not_in_the_turn_in_which_the_room_was_made() -> None:
    for early in (0.0, 1e-9, 0.0009):
        clockwork = Clockwork()
        clockwork.tick_rate = 10.0
        bench = Bench(clockwork, create=False)
        bench.out.advance(0.1 - early)
        bench.create()
        bench.out.advance(0.15)
        assert [event[1] for event in clockwork.events if event[0] == "tick"] == [round(0.1 + early, 6)]


@pytest.mark.usefixtures("one_place")
def test_late_turns_keep_the_beat_and_are_not_piled_up(room: Clockwork) -> None:
    room.tick_rate = 10.0
    bench = Bench(room)
    bench.out.advance(0.2)
    bench.out.block(0.55)
    assert room.times == [0.1, 0.2, 0.75]
    bench.out.advance(0.2)
    assert room.times == [0.1, 0.2, 0.75, 0.8, 0.9]
    assert [event[1] for event in room.events if event[0] == "tick"] == [0.1, 0.1, 0.55, 0.05, 0.1]


def test_a_turn_that_is_late_by_whole_intervals_runs_once(room: Clockwork, bench: Bench) -> None:
    """Late by exactly three intervals it ran twice at the same moment, the second time with dt = 0."""
    room.every(1.0, room.note)
    bench.out.block(3.0)
    assert room.times == [3.0]
    bench.out.advance(1.0)
    assert room.times == [3.0, 4.0]


def test_a_turn_that_is_late_by_almost_whole_intervals_runs_once(room: Clockwork, bench: Bench) -> None:
    timer = room.every(1.0, room.note)
    bench.out.now += 2.9995
    with bench.out.turn():
        bench.runner.timers._due(timer)
        for callback, args in bench.out.alarms.due(bench.out.now + 0.001):
            callback(*args)
    assert room.times == [2.9995]
    bench.out.advance(1.5)
    assert room.times == [2.9995, 4.0]


def test_a_turn_a_little_early_is_not_run_again(room: Clockwork, bench: Bench) -> None:
    """The port meets deadlines within a millisecond of each other in one turn."""
    timer = room.every(1.0, room.note)
    bench.out.now += 0.9995
    with bench.out.turn():
        bench.runner.timers._due(timer)
    bench.out.advance(1.5)
    assert room.times == [0.9995, 2.0]


def test_a_turn_that_comes_while_the_one_before_waits_is_left_out(room: Clockwork, bench: Bench) -> None:
    room.gate = Gate()
    room.every(1.0, room.note_slowly)
    bench.out.advance(5.5)
    assert room.times == [1.0]
    assert len(bench.runner.mailbox) == 1
    with bench.out.turn():
        room.gate.open()
    assert room.times == [1.0, 5.5]
    bench.out.advance(1.0)
    assert room.times == [1.0, 5.5, 6.0]


def test_a_timer_that_is_cancelled_while_it_waits_does_not_run(room: Clockwork, bench: Bench) -> None:
    ann = bench.join()
    room.gate = Gate()
    ann.send("m")
    once, always = room.call_later(1.0, room.note), room.every(1.0, room.note)
    bench.out.advance(1.5)
    once.cancel()
    always.cancel()
    with bench.out.turn():
        room.gate.open()
    bench.out.advance(5.0)
    assert room.times == []


def test_timers_run_as_events_of_their_room(room: Clockwork, bench: Bench) -> None:
    ann = bench.join()
    room.gate = Gate()
    room.every(1.0, room.note)
    ann.send("m")
    bench.out.advance(2.5)
    assert room.times == []
    with bench.out.turn():
        room.gate.open()
    assert room.times == [2.5]


def test_a_timer_that_fails_goes_on(room: Clockwork, bench: Bench) -> None:
    def fail() -> None:
        room.note()
        raise LookupError

    room.every(1.0, fail)
    bench.out.advance(2.5)
    assert room.times == [1.0, 2.0]
    assert room.names.count("error") == 2


def test_a_timer_may_cancel_itself(room: Clockwork, bench: Bench) -> None:
    timers: list[Timer] = []

    def once() -> None:
        room.note()
        timers[0].cancel()

    timers.append(room.every(1.0, once))
    bench.out.advance(5.0)
    assert room.times == [1.0]


def test_timers_end_with_their_room(room: Clockwork) -> None:
    room.tick_rate = 1.0
    bench = Bench(room)
    room.every(1.0, room.note)
    room.call_later(5.0, room.note)
    with bench.out.turn():
        room.close()
    bench.out.advance(10.0)
    assert room.times == []
    assert bench.out.alarms.next() is None
    with pytest.raises(ConfigError, match="closing"):
        room.every(1.0, room.note)
    with pytest.raises(ConfigError, match="closing"):
        room.call_later(1.0, room.note)


def test_a_room_has_a_thousand_timers_at_most(room: Clockwork, bench: Bench) -> None:
    timer = room.call_later(1.0, room.note)
    for _ in range(1023):
        room.call_later(1.0, room.note)
    with pytest.raises(ConfigError, match="1024"):
        room.every(1.0, room.note)
    timer.cancel()
    room.call_later(1.0, room.note)
    bench.out.advance(1.0)
    assert len(room.times) == 1024
    room.every(1.0, room.note)


@pytest.mark.parametrize("interval", [0.0, -1.0, math.nan])
def test_intervals_are_longer_than_nothing(room: Clockwork, bench: Bench, interval: float) -> None:
    with pytest.raises(ConfigError, match="interval"):
        room.every(interval, room.note)
    assert bench.out.alarms.next() is None


@pytest.mark.parametrize("delay", [-0.001, math.nan])
def test_delays_do_not_go_back(room: Clockwork, bench: Bench, delay: float) -> None:
    with pytest.raises(ConfigError, match="delay"):
        room.call_later(delay, room.note)
    assert bench.out.alarms.next() is None
