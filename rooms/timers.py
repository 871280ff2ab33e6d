"""What a room does later: timers and the tick, as events in its mailbox."""

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from ..protocol.errors import ConfigError
from .mailbox import Mailbox

__all__ = ["AlarmClock", "Timer", "Timers"]

_MOST_TIMERS = 1024
_SLACK = 0.001
"""Seconds by which a turn may be early: clocks meet deadlines this close to each other together."""


class AlarmClock(Protocol):
    """Calls back at a time."""

    @property
    def now(self) -> float:
        """The time of this turn, monotonic seconds."""
        ...

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        """Call back at that time."""

    def clear_alarm(self, callback: Callable[..., None], *args: Hashable) -> None:
        """Do not call back."""


class Timer:
    """A function that a room runs later. It ends with its room."""

    __slots__ = ("_timers", "function", "hook", "interval", "last", "ticks", "waiting", "when")

    def __init__(
        self, timers: "Timers", hook: str, function: Callable[..., Any], interval: float | None, when: float
    ) -> None:
        self.hook = hook
        self.function = function
        self.interval = interval
        self.when = when
        self.waiting = False
        self.ticks = False
        """Whether the function gets the seconds since it was called last."""
        self.last = 0.0
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

    __slots__ = ("_clock", "_mailbox", "_over", "_timers")

    def __init__(self, clock: AlarmClock, mailbox: Mailbox) -> None:
        self._clock = clock
        self._mailbox = mailbox
        self._timers: dict[Timer, None] = {}
        self._over = False

    def every(self, interval: float, function: Callable[[], Any]) -> Timer:
        """See ``Room.every``."""
        if not interval > 0:
            raise ConfigError(f"an interval is longer than 0 s, not {interval!r}")
        return self._start(Timer(self, "timer", function, interval, self._clock.now + interval))

    def call_later(self, delay: float, function: Callable[[], Any]) -> Timer:
        """See ``Room.call_later``."""
        if not delay >= 0:
            raise ConfigError(f"a delay is 0 s or longer, not {delay!r}")
        return self._start(Timer(self, "timer", function, None, self._clock.now + delay))

    def tick(self, rate: float, function: Callable[[float], Any], phase: float = 0.0) -> Timer:
        """Run a function ``rate`` times a second; it gets the seconds since the last time.

        ``phase``: in [0, 1), at which place of an interval it runs. Intervals are counted from the clock's zero, not
        from now: so all who have the same rate and place share turns, whenever they began, and those who began in one
        turn do not have to.
        """
        interval = 1.0 / rate
        now = self._clock.now
        first = now + interval * (1.0 - (now / interval - phase) % 1.0)
        if first - now <= _SLACK:  # it would be met in this very turn, and nothing has happened yet
            first += interval
        timer = Timer(self, "on_tick", function, interval, first)
        timer.ticks, timer.last = True, now
        return self._start(timer)

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
            # Late turns keep the beat; what was missed altogether is left out, and
            # so is the turn that would be met together with this one.
            missed = (self._clock.now + _SLACK - timer.when) // timer.interval
            timer.when += timer.interval * (max(0.0, missed) + 1.0)
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
        args: tuple[float, ...] = ()
        if timer.ticks:
            now = self._clock.now
            args, timer.last = (now - timer.last,), now
        self._mailbox.call(timer.hook, timer.function, args)


def _nothing() -> None:
    pass
