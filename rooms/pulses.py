"""The pulses that rooms tick to.

Rooms that tick equally often share a pulse, whenever they were made: with one
deadline and one turn for all of them, a tick costs little more than what the
room does in it.
"""

from collections.abc import Callable
from typing import Any, Protocol

from ..protocol.alarms import AlarmClock
from .mailbox import Mailbox

__all__ = ["Pulses", "PulsingClock", "Ticker", "next_turn"]

_SLACK = 0.001
"""Seconds by which a turn may be early: clocks meet deadlines this close to each other together."""


class PulsingClock(AlarmClock, Protocol):
    """The same, with pulses for all who share it."""

    pulses: "Pulses"


class Ticker:
    """The tick of one room, until it is stopped.

    Args:
        pulses: whose pulse it ticks to.
        pulse: which one: the interval in seconds, and the place in it.
        mailbox: where the tick becomes an event.
        function: gets the seconds since it was called last.
        now: when it begins.
    """

    __slots__ = ("_function", "_last", "_mailbox", "_not_before", "_pulses", "_waiting", "pulse")

    def __init__(
        self,
        pulses: "Pulses",
        pulse: tuple[float, float],
        mailbox: Mailbox,
        function: Callable[[float], Any],
        now: float,
    ) -> None:
        self.pulse = pulse
        self._pulses = pulses
        self._mailbox = mailbox
        self._function: Callable[[float], Any] | None = function
        self._last = now
        self._not_before = now + _SLACK
        """Nothing has happened yet in the turn in which it began."""
        self._waiting = False

    def stop(self) -> None:
        """Tick no more. Once."""
        self._function = None
        self._pulses.leave(self)

    def due(self, now: float) -> None:
        """The pulse has come."""
        if now > self._not_before and not self._waiting:  # one that still waits is not queued twice
            self._waiting = True
            self._mailbox.post(self._run)

    def _run(self) -> None:
        self._waiting = False
        if self._function is not None:
            now = self._pulses.now
            elapsed, self._last = now - self._last, now
            self._mailbox.call("on_tick", self._function, (elapsed,))


class _Pulse:
    __slots__ = ("tickers", "when")

    def __init__(self, when: float) -> None:
        self.when = when
        self.tickers: dict[Ticker, None] = {}


class Pulses:
    """All pulses of one process.

    Args:
        clock: calls back.
    """

    def __init__(self, clock: AlarmClock) -> None:
        self._clock = clock
        self._pulses: dict[tuple[float, float], _Pulse] = {}

    @property
    def now(self) -> float:
        """The time of this turn, monotonic seconds."""
        return self._clock.now

    def start(self, interval: float, place: float, mailbox: Mailbox, function: Callable[[float], Any]) -> Ticker:
        """Call a function each interval.

        Args:
            interval: in seconds. Intervals are counted from the clock's zero, not from now.
            place: where in each of them, in [0, 1).
            mailbox: where the calls become events.
            function: gets the seconds since it was called last.
        """
        now, key = self._clock.now, (interval, place)
        pulse = self._pulses.get(key)
        if pulse is None:
            pulse = self._pulses[key] = _Pulse(now + interval * (1.0 - (now / interval - place) % 1.0))
            self._clock.alarm(pulse.when, self._due, key)
        ticker = Ticker(self, key, mailbox, function, now)
        pulse.tickers[ticker] = None
        return ticker

    def leave(self, ticker: Ticker) -> None:
        """Somebody does not tick to its pulse any more. When nobody is left, the pulse is over."""
        pulse = self._pulses[ticker.pulse]
        del pulse.tickers[ticker]
        if not pulse.tickers:
            del self._pulses[ticker.pulse]
            self._clock.clear_alarm(self._due, ticker.pulse)

    def _due(self, key: tuple[float, float]) -> None:
        pulse, now, interval = self._pulses[key], self._clock.now, key[0]
        pulse.when = next_turn(pulse.when, interval, now)
        self._clock.alarm(pulse.when, self._due, key)
        for ticker in list(pulse.tickers):
            ticker.due(now)


def next_turn(when: float, interval: float, now: float) -> float:
    """When what was due at ``when``, and has its turn now, has the next one.

    Late turns keep time; what was missed altogether is left out, and so is the turn that would be met together
    with this one.
    """
    return when + interval * (max(0.0, (now + _SLACK - when) // interval) + 1.0)
