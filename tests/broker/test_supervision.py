"""Which worker processes are to run."""

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_room_system.broker.supervision import SLOT_LIFE, SlotEvent, SlotState, Supervisor

CRASH = 1


class Processes:
    """The outbox: what was asked for, and which processes there would be."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.running: set[str] = set()

    def launch(self, name: str, isolated: bool) -> None:
        assert name not in self.running, "two processes of one name"
        self.running.add(name)
        self.asked.append(f"launch {name}" + " isolated" * isolated)

    def terminate(self, name: str) -> None:
        assert name in self.running
        self.asked.append(f"terminate {name}")

    def kill(self, name: str) -> None:
        assert name in self.running
        self.asked.append(f"kill {name}")

    def take(self) -> list[str]:
        asked, self.asked = self.asked, []
        return asked


class World:
    """A supervisor with its outbox, and a time that moves by hand."""

    def __init__(self, count: int = 1, random: Callable[[], float] = lambda: 1.0 - 2**-53, settle: float = 0.0) -> None:
        self.now = 1000.0
        self.processes = Processes()
        self.supervisor = Supervisor(count, self.now, self.processes, random, settle)

    def tick(self, seconds: float = 0.0) -> list[str]:
        """Let time pass, and do what is due on the way; what was asked for."""
        end = self.now + seconds
        due = self.supervisor.tick(self.now)
        while due is not None and due <= end:
            assert due > self.now, "it is due again at once"
            self.now = due
            due = self.supervisor.tick(self.now)
        self.now = end
        return self.processes.take()

    def registers(self, name: str = "w1") -> None:
        self.supervisor.registered(name, self.now)

    def ends(self, name: str = "w1", code: int = CRASH) -> None:
        self.processes.running.discard(name)
        self.supervisor.ended(name, code, self.now)

    def restarts_after(self) -> float:
        """Crash, and the seconds until it is launched again."""
        self.ends()
        before = self.now
        due = self.supervisor.tick(self.now)
        assert due is not None
        assert self.processes.take() == []
        assert self.tick(due - before) == ["launch w1"]
        return self.now - before

    def state(self, name: str = "w1") -> SlotState | None:
        return self.supervisor.states.get(name)


def test_workers_are_launched_by_the_first_tick_and_wait_for_nothing() -> None:
    world = World(3)
    assert world.processes.take() == []
    assert world.supervisor.expected == 3
    assert world.tick() == ["launch w1", "launch w2", "launch w3"]
    world.registers("w2")
    assert world.supervisor.expected == 2
    assert world.state("w2") is SlotState.RUNNING


def test_what_runs_is_left_alone() -> None:
    world = World()
    world.tick()
    world.registers()
    assert world.supervisor.tick(world.now) is None
    assert world.tick(10_000) == []


def test_the_back_off_doubles_up_to_half_a_minute() -> None:
    world = World()
    world.tick()
    delays: list[float] = []
    for _ in range(10):
        world.registers()
        world.tick(12)  # long enough to be no crash loop, too short to be steady
        delays.append(world.restarts_after())
    assert delays == pytest.approx([0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30])


def test_the_jitter_takes_up_to_half_of_it() -> None:
    world = World(random=lambda: 0.0)
    world.tick()
    assert world.restarts_after() == pytest.approx(0.125)
    assert world.restarts_after() == pytest.approx(0.25)


def test_after_half_a_minute_of_serving_the_back_off_begins_anew() -> None:
    world = World()
    world.tick()
    for _ in range(3):
        world.registers()
        world.tick(12)
        world.restarts_after()
    world.registers()
    world.tick(29)
    assert world.restarts_after() == pytest.approx(2.0)
    world.registers()
    world.tick(30)
    assert world.restarts_after() == pytest.approx(0.25)


def test_a_restart_that_was_asked_for_is_a_restart() -> None:
    world = World()
    world.tick()
    world.registers()
    world.tick(100)
    world.ends(code=0)
    assert world.tick(1) == ["launch w1"]


def test_a_worker_that_does_not_register_is_killed_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.tick()
    assert world.tick(19.9) == []
    assert world.tick(0.2) == ["kill w1"]
    assert "did not register within 20 s" in caplog.text
    assert world.tick(100) == []  # it is not gone yet
    world.ends(code=-9)
    assert world.tick(0.3) == ["launch w1"]


# Crash loops.


def test_five_quick_ends_are_given_up_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World(2)
    world.tick()
    world.registers("w2")
    for _ in range(4):
        world.restarts_after()
    assert "given up" not in caplog.text
    world.ends(code=-11)
    assert world.tick(10_000) == []
    assert world.state() is SlotState.GIVEN_UP
    assert world.state("w2") is SlotState.RUNNING
    assert not world.supervisor.gave_up
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "worker w1 ended 5 times within 60 s, the last time so: killed by SIGSEGV" in errors[0]
    assert "mend what its lines above say" in errors[0]


def test_when_all_are_given_up_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    world = World(2)
    world.tick()
    for name in ("w1", "w2"):
        for _ in range(5):
            assert not world.supervisor.gave_up
            world.ends(name)
            world.tick(5)
    assert world.supervisor.gave_up
    assert world.supervisor.expected == 0
    assert "all 2 workers are given up" in caplog.text
    assert world.supervisor.tick(world.now) is None


def test_ends_that_are_far_apart_are_no_crash_loop() -> None:
    world = World()
    world.tick()
    for _ in range(20):
        world.tick(7)
        world.registers()
        world.tick(9)
        world.restarts_after()
    assert world.state() is SlotState.STARTING


def test_a_life_of_ten_seconds_ends_a_crash_loop() -> None:
    world = World()
    world.tick()
    for _ in range(4):
        world.restarts_after()
    world.registers()
    world.tick(10)
    for _ in range(4):
        world.restarts_after()
    assert world.state() is SlotState.STARTING


def test_exit_zero_right_away_is_a_crash_loop_too() -> None:
    world = World()
    world.tick()
    for _ in range(5):
        world.ends(code=0)
        world.tick(5)
    assert world.state() is SlotState.GIVEN_UP


def test_workers_that_served_and_were_drained_are_started_again_however_often() -> None:
    world = World()
    world.tick()
    for _ in range(5):
        world.registers()
        world.tick(2)
        world.ends(code=0)
        world.tick(5)
    assert world.state() is SlotState.STARTING


# Spare workers.


def test_a_spare_serves_one_room_and_ends_with_it() -> None:
    world = World()
    world.tick()
    name = world.supervisor.spare(world.now)
    assert name == "s1"
    assert world.processes.take() == ["launch s1 isolated"]
    assert world.supervisor.expected == 1, "a spare is expected by its own room only"
    world.registers(name)
    world.registers()
    assert world.tick(1000) == []
    world.supervisor.finish(name, world.now)
    world.supervisor.finish(name, world.now)
    assert world.tick(9) == ["terminate s1"]
    assert world.tick(1) == ["kill s1"]
    world.ends(name, -9)
    assert world.state(name) is None
    assert world.tick(1000) == []


def test_a_spare_that_crashes_is_not_started_again() -> None:
    world = World(0)
    name = world.supervisor.spare(world.now)
    world.processes.take()
    world.ends(name)
    assert world.tick(1000) == []
    assert world.supervisor.states == {}
    assert world.supervisor.spare(world.now) != name
    assert not world.supervisor.gave_up


def test_only_spares_are_finished() -> None:
    world = World()
    world.tick()
    world.supervisor.finish("w1", world.now)
    world.supervisor.finish("nobody", world.now)
    assert world.processes.take() == []


# Workers that outlived their broker.


def test_survivors_are_waited_for_and_take_their_places() -> None:
    world = World(3, settle=2.0)
    assert world.tick(1) == []
    world.supervisor.adopt("w2", world.now)
    world.supervisor.adopt("s1", world.now)
    assert world.tick(1) == ["launch w1", "launch w3"]
    assert world.state("w2") is SlotState.RUNNING
    assert world.supervisor.spare(world.now) == "s2"


def test_the_end_of_a_survivor_is_known_by_its_silence() -> None:
    world = World(1, settle=2.0)
    world.supervisor.adopt("w1", world.now)
    world.tick(100)
    world.supervisor.lost("w1", world.now)
    assert world.state() is SlotState.WAITING
    assert world.tick(1) == ["launch w1"]
    world.registers()
    world.ends()
    assert world.tick(1) == ["launch w1"]


def test_a_survivor_that_comes_late_is_preferred_to_its_replacement() -> None:
    world = World()
    world.tick()
    world.supervisor.adopt("w1", world.now)
    assert world.processes.take() == ["kill w1"]
    world.ends(code=-9)
    assert world.tick(1000) == []
    assert world.state() is SlotState.RUNNING
    world.supervisor.lost("w1", world.now)
    assert world.tick(1) == ["launch w1"]


def test_a_survivor_with_no_place_is_not_replaced() -> None:
    world = World(1, settle=2.0)
    world.supervisor.adopt("w7", world.now)
    world.tick(3)
    world.supervisor.lost("w7", world.now)
    assert world.state("w7") is None
    assert world.tick(15) == []


def test_the_replacement_of_a_survivor_waits_for_the_end_of_what_made_way() -> None:
    world = World()
    world.tick()
    world.supervisor.adopt("w1", world.now)
    world.supervisor.lost("w1", world.now)
    assert world.tick(1) == ["kill w1"]
    world.ends(code=-9)
    assert world.tick(1) == ["launch w1"]


def test_workers_of_other_machines_are_none_of_its_business() -> None:
    world = World()
    world.tick()
    for event in (world.supervisor.registered, world.supervisor.lost):
        event("elsewhere", world.now)
    world.supervisor.ended("elsewhere", 0, world.now)
    assert world.supervisor.states.keys() == {"w1"}


# A lease that ends.


def test_a_worker_that_was_held_up_may_register_again() -> None:
    world = World()
    world.tick()
    world.restarts_after()
    world.registers()
    world.tick(100)
    world.supervisor.lost("w1", world.now)
    assert world.supervisor.expected == 1
    assert world.tick(19) == []
    world.registers()
    assert world.tick(1) == []
    assert world.restarts_after() == pytest.approx(0.25), "it has served for long"


def test_a_worker_that_hangs_for_good_is_killed() -> None:
    world = World()
    world.tick()
    world.registers()
    world.supervisor.lost("w1", world.now)
    assert world.tick(21) == ["kill w1"]


# Stopping.


def test_to_stop_is_to_ask_and_then_to_kill(caplog: pytest.LogCaptureFixture) -> None:
    world = World(3)
    world.tick()
    world.registers("w1")
    world.ends("w3")
    world.supervisor.spare(world.now)
    world.processes.take()
    world.supervisor.stop(world.now, 6.0)
    assert world.tick(5) == ["terminate w1", "terminate w2", "terminate s1"]
    world.ends("w1", 0)
    world.registers("w2")
    world.supervisor.stop(world.now, 6.0)
    assert world.tick(1) == ["kill w2", "kill s1"]
    assert "worker w2 did not end in time" in caplog.text
    assert not world.supervisor.done
    world.ends("w2", -9)
    world.ends("s1", -9)
    assert world.supervisor.done
    assert world.tick(1000) == []


def test_who_was_told_to_stop_over_the_wire_is_not_hurried_by_a_signal() -> None:
    world = World(2)
    world.tick()
    world.registers("w1")
    world.processes.take()
    world.supervisor.stop(world.now, 6.0, {"w1"})
    assert world.tick(5) == ["terminate w2"]
    assert world.tick(1) == ["kill w1", "kill w2"]


def test_a_stop_before_the_first_launch_launches_nothing() -> None:
    world = World()
    world.supervisor.stop(world.now, 1.0)
    assert world.supervisor.done
    assert world.tick(100) == []


def test_survivors_are_not_waited_for_longer_than_the_others() -> None:
    world = World(2, settle=2.0)
    world.supervisor.adopt("w1", world.now)
    world.supervisor.stop(world.now, 5.0)
    world.supervisor.adopt("w9", world.now)
    world.supervisor.lost("w9", world.now)
    assert world.tick(4) == []
    assert not world.supervisor.done
    world.tick(1)
    assert world.supervisor.done


def test_a_place_that_was_given_up_stops_too() -> None:
    world = World()
    world.tick()
    for _ in range(5):
        world.ends()
        world.tick(5)
    world.supervisor.stop(world.now, 1.0)
    assert world.supervisor.done


# Whatever happens.


NAMES = ["w1", "w2", "s1", "x"]
EVENTS = st.one_of(
    st.tuples(st.sampled_from(["registered", "adopt", "lost", "finish"]), st.sampled_from(NAMES)),
    st.tuples(st.just("ended"), st.sampled_from(NAMES)),
    st.tuples(st.just("tick"), st.floats(0, 40)),
    st.tuples(st.just("spare"), st.none()),
    st.tuples(st.just("stop"), st.none()),
)


@given(st.lists(EVENTS, max_size=40), st.sampled_from([0.0, 2.0]))
def test_whatever_happens_there_is_one_process_a_name_and_a_stop_ends_all(
    events: list[tuple[str, object]], settle: float
) -> None:
    world = World(2, lambda: 0.5, settle)
    for what, value in events:
        if what == "tick":
            assert isinstance(value, float)
            world.tick(value)
        elif what == "ended":
            if value in world.processes.running:  # each process ends once
                world.ends(str(value))
        elif what == "spare":
            world.supervisor.spare(world.now)
        elif what == "stop":
            world.supervisor.stop(world.now, 5.0)
        else:
            getattr(world.supervisor, what)(value, world.now)
    world.supervisor.stop(world.now, 5.0)
    world.tick(5)
    for name in sorted(world.processes.running):
        world.ends(name)
    world.tick(5)
    assert world.supervisor.done
    assert not world.supervisor.states


def test_every_state_is_in_the_table() -> None:
    assert set(SLOT_LIFE) == set(SlotState)
    assert {event for row in SLOT_LIFE.values() for event in row} == set(SlotEvent)
