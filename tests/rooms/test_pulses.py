"""The pulses that rooms tick to: one deadline for all who share one."""

import pytest

from server_room_system.rooms.mailbox import Mailbox
from server_room_system.rooms.pulses import Ticker

from .fakes import START, FakeOutbox


class Hall:
    """Some who tick, and when they did, in seconds since the start."""

    def __init__(self) -> None:
        self.out = FakeOutbox()
        self.times: dict[str, list[float]] = {}
        self.mailboxes: dict[str, Mailbox] = {}
        self.errors: list[BaseException] = []

    def start(self, name: str, interval: float = 0.5, place: float = 0.0) -> Ticker:
        def tick(elapsed: float) -> None:
            self.times[name].append(round(self.out.now - START, 6))
            if name == "bad":
                raise ValueError("a tick")

        self.times[name] = []
        mailbox = self.mailboxes[name] = Mailbox(name, self.out, lambda hook, error: self.errors.append(error))
        return self.out.pulses.start(interval, place, mailbox, tick)

    @property
    def deadlines(self) -> int:
        return len(self.out.alarms)


@pytest.fixture
def hall() -> Hall:
    return Hall()


def test_who_has_the_same_interval_and_place_shares_a_deadline(hall: Hall) -> None:
    hall.start("ann")
    hall.out.advance(0.3)
    hall.start("bob")
    assert hall.deadlines == 1
    hall.start("cat", place=0.5)
    hall.start("dan", interval=0.25)
    assert hall.deadlines == 3
    hall.out.advance(0.9)
    assert hall.times == {"ann": [0.5, 1.0], "bob": [0.5, 1.0], "cat": [0.75], "dan": [0.5, 0.75, 1.0]}
    assert hall.deadlines == 3


def test_a_pulse_is_over_when_nobody_is_left(hall: Hall) -> None:
    ann, bob = hall.start("ann"), hall.start("bob")
    hall.out.advance(0.6)
    ann.stop()
    hall.out.advance(0.5)
    assert hall.times == {"ann": [0.5], "bob": [0.5, 1.0]}
    bob.stop()
    assert hall.deadlines == 0
    hall.out.advance(5.0)
    hall.start("ann")
    hall.out.advance(0.5)
    assert hall.times == {"ann": [6.5], "bob": [0.5, 1.0]}


def test_what_one_raises_or_stops_is_nothing_to_the_others(hall: Hall, caplog: pytest.LogCaptureFixture) -> None:
    hall.start("bad")
    hall.start("ann")
    bob = hall.start("bob")
    hall.times["ann"] = Stopping(bob)
    hall.out.advance(1.1)
    assert hall.times == {"bad": [0.5, 1.0], "ann": [0.5, 1.0], "bob": []}
    assert len(hall.errors) == 2
    assert "on_tick raised ValueError" in caplog.text


class Stopping(list[float]):
    """Times, the first of which stops somebody."""

    def __init__(self, other: Ticker) -> None:
        super().__init__()
        self._other = other

    def append(self, when: float) -> None:
        if not self:
            self._other.stop()
        super().append(when)


def test_who_is_busy_ticks_once_when_it_is_free_again(hall: Hall) -> None:
    hall.start("ann")
    hall.mailboxes["ann"].busy = True
    hall.out.advance(1.7)
    hall.mailboxes["ann"].finished(None, None, None)
    hall.out.advance(0.5)
    assert hall.times == {"ann": [1.7, 2.0]}


@pytest.mark.parametrize("rate", [100, 500, 1000])
def test_fast_ones_leave_none_out(hall: Hall, rate: int) -> None:
    hall.start("ann", interval=1.0 / rate)
    hall.out.advance(1.0)
    assert 0.9 * rate <= len(hall.times["ann"]) <= rate + 1


def test_late_turns_run_once_and_keep_time(hall: Hall) -> None:
    hall.start("ann")
    hall.out.block(1.6)
    assert hall.times == {"ann": [1.6]}
    hall.out.advance(0.5)
    assert hall.times == {"ann": [1.6, 2.0]}
