"""What a room does later: timers and the tick, as events in its mailbox."""

from collections.abc import Callable
from typing import Any

from ..protocol.errors import ConfigError
from .mailbox import Mailbox
from .pulses import PulsingClock, Ticker, next_turn

__all__ = ["Timer", "Timers"]

_MOST_TIMERS = 1024


class Timer:
    """A function that a room runs later. It ends with its room."""

    __slots__ = ("_timers", "function", "interval", "waiting", "when")

    def __init__(self, timers: "Timers", function: Callable[[], Any], interval: float | None, when: float) -> None:
        self.function = function
        self.interval = interval
        self.when = when
        self.waiting = False
        self._timers = timers

    def cancel(self) -> None:
        """Do not run the function any more."""
        self._timers.cancel(self)


class Timers:
    """The timers of one room.

    Args:
        clock: calls back.
        mailbox: where due timers become events.
    """

    __slots__ = ("_clock", "_mailbox", "_over", "_ticker", "_timers")

    def __init__(self, clock: PulsingClock, mailbox: Mailbox) -> None:
        self._clock = clock
        self._mailbox = mailbox
        self._timers: dict[Timer, None] = {}
        self._ticker: Ticker | None = None
        self._over = False

    def every(self, interval: float, function: Callable[[], Any]) -> Timer:
        """See ``Room.every``."""
        if not interval > 0:
            raise ConfigError(f"an interval is longer than 0 s, not {interval!r}")
        return self._start(Timer(self, function, interval, self._clock.now + interval))

    def call_later(self, delay: float, function: Callable[[], Any]) -> Timer:
        """See ``Room.call_later``."""
        if not delay >= 0:
            raise ConfigError(f"a delay is 0 s or longer, not {delay!r}")
        return self._start(Timer(self, function, None, self._clock.now + delay))

    def tick(self, rate: float, place: float, function: Callable[[float], Any]) -> None:
        """Run a function ``rate`` times a second, until the end: see ``Pulses.start``. Once."""
        self._ticker = self._clock.pulses.start(1.0 / rate, place, self._mailbox, function)

    def cancel(self, timer: Timer) -> None:
        """Forget a timer."""
        self._timers.pop(timer, None)
        self._clock.clear_alarm(self._due, timer)
        timer.function = _nothing  # the clock may remember the timer for as long as it would have run

    def end(self) -> None:
        """Forget all, and start none any more."""
        self._over = True
        for timer in list(self._timers):
            self.cancel(timer)
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None

    def _start(self, timer: Timer) -> Timer:
        if self._over:
            raise ConfigError("the room is closing: it starts no timers")
        if len(self._timers) >= _MOST_TIMERS:
            raise ConfigError(f"a room has at most {_MOST_TIMERS} timers at once")
        self._timers[timer] = None
        self._clock.alarm(timer.when, self._due, timer)
        return timer

    def _due(self, timer: Timer) -> None:
        if timer.interval is not None:
            timer.when = next_turn(timer.when, timer.interval, self._clock.now)
            self._clock.alarm(timer.when, self._due, timer)
        if not timer.waiting:  # one that still waits is not queued twice
            timer.waiting = True
            self._mailbox.post(self._run, timer)

    def _run(self, timer: Timer) -> None:
        timer.waiting = False
        if timer not in self._timers:
            return
        if timer.interval is None:
            del self._timers[timer]
        self._mailbox.call("timer", timer.function, ())


def _nothing() -> None:
    pass
