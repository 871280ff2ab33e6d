"""Which worker processes are to run: started, restarted ever more slowly, given up, stopped.

    launch            what begins the process; it has 20 s to register
    register          it serves
    lose              its lease ended; it lives, and has 20 s to register again
    crash             it ended, and is started again after the back-off
    give up           it ended, as so often before
    stop, end         it is asked to drain, and is gone

A worker outlives its broker. One that registers though this broker has not
started it takes the place of its name (it is *adopted*): nobody holds its
process then, and its end shows as ``lost``.

The back-off is exponential with equal jitter ("Exponential Backoff And Jitter",
AWS Architecture Blog, 2015).
"""

import logging
import signal
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from ..protocol.lifecycle import Table, step

__all__ = ["SLOT_LIFE", "SlotEvent", "SlotState", "SupervisionOutbox", "Supervisor"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".workers")

_SHORTEST, _LONGEST = 0.25, 30.0
"""Seconds before a restart: the first, doubled for each one that follows, up to the last."""
_STEADY = 30.0
"""Seconds of serving after which the back-off begins anew."""
_REGISTER_WITHIN = 20.0
"""Seconds from the launch, or from a lost lease, in which a worker must register."""
_CRASHES, _CRASHES_WITHIN, _SHORT_LIFE = 5, 60.0, 10.0
"""A crash loop: so many ends in so many seconds, and none of them after serving that long."""
_FINISH_WITHIN = 10.0
"""Seconds for a process that was made for one room, from the room's end to its own."""


class SlotState(Enum):
    """Where a worker's place stands."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    GIVEN_UP = "given up"
    ENDED = "ended"


class SlotEvent(Enum):
    """What happens to it."""

    LAUNCH = "launch"
    REGISTER = "register"
    LOSE = "lose"
    CRASH = "crash"
    GIVE_UP = "give up"
    STOP = "stop"
    END = "end"


SLOT_LIFE: Table[SlotState, SlotEvent] = {
    SlotState.WAITING: {
        SlotEvent.LAUNCH: SlotState.STARTING,
        SlotEvent.REGISTER: SlotState.RUNNING,
        SlotEvent.STOP: SlotState.ENDED,
    },
    SlotState.STARTING: {
        SlotEvent.REGISTER: SlotState.RUNNING,
        SlotEvent.LOSE: SlotState.STARTING,
        SlotEvent.CRASH: SlotState.WAITING,
        SlotEvent.GIVE_UP: SlotState.GIVEN_UP,
        SlotEvent.STOP: SlotState.STOPPING,
        SlotEvent.END: SlotState.ENDED,
    },
    SlotState.RUNNING: {
        SlotEvent.REGISTER: SlotState.RUNNING,
        SlotEvent.LOSE: SlotState.STARTING,
        SlotEvent.CRASH: SlotState.WAITING,
        SlotEvent.GIVE_UP: SlotState.GIVEN_UP,
        SlotEvent.STOP: SlotState.STOPPING,
        SlotEvent.END: SlotState.ENDED,
    },
    SlotState.STOPPING: {
        SlotEvent.REGISTER: SlotState.STOPPING,
        SlotEvent.LOSE: SlotState.STOPPING,
        SlotEvent.STOP: SlotState.STOPPING,
        SlotEvent.END: SlotState.ENDED,
    },
    SlotState.GIVEN_UP: {SlotEvent.REGISTER: SlotState.RUNNING, SlotEvent.STOP: SlotState.ENDED},
    SlotState.ENDED: {},
}


class SupervisionOutbox(Protocol):
    """What a supervisor asks for. Each end of a process comes back as ``ended``, a failed launch too."""

    def launch(self, name: str, isolated: bool) -> None:
        """Start a process that registers under this name; ``isolated``: for one room only."""

    def terminate(self, name: str) -> None:
        """Ask its process to drain and end."""

    def kill(self, name: str) -> None:
        """End its process, at once."""


@dataclass(slots=True)
class _Slot:
    name: str
    kept: bool
    """Started again when it ends."""
    state: SlotState
    due: float | None
    """When to launch, to kill, or to stop waiting, as the state has it."""
    held: bool = False
    """We started its process, and have not heard of its end."""
    adopted: bool = False
    serving_since: float | None = None
    attempts: int = 0
    short_lives: deque[float] = field(default_factory=lambda: deque(maxlen=_CRASHES))
    """When those lives ended."""

    def take(self, event: SlotEvent) -> None:
        self.state = step(SLOT_LIFE, self.state, event)


class Supervisor:
    """Keeps ``count`` worker processes running, named w1, w2 and so on.

    Args:
        count: how many.
        now: the time. Nothing is launched before the first ``tick``.
        outbox: starts and ends processes.
        random: gives a float in [0, 1), for jitter.
        settle: seconds that workers of an earlier broker have to come by themselves before any is launched.
    """

    def __init__(
        self, count: int, now: float, outbox: SupervisionOutbox, random: Callable[[], float], settle: float = 0.0
    ) -> None:
        self._outbox = outbox
        self._random = random
        self._count = count
        self._spares = 0
        self._stopping = False
        self._slots = {
            name: _Slot(name, True, SlotState.WAITING, now + settle)
            for name in (f"w{number}" for number in range(1, count + 1))
        }

    @property
    def states(self) -> dict[str, SlotState]:
        """How each stands, by name."""
        return {slot.name: slot.state for slot in self._slots.values()}

    @property
    def expected(self) -> int:
        """Workers that do not serve now and soon will: starting, or waiting for their restart."""
        return sum(slot.kept and slot.state in (SlotState.WAITING, SlotState.STARTING) for slot in self._slots.values())

    @property
    def gave_up(self) -> bool:
        """Whether no worker of ours runs, or will."""
        kept = [slot.state for slot in self._slots.values() if slot.kept]
        return bool(kept) and all(state is SlotState.GIVEN_UP for state in kept)

    @property
    def done(self) -> bool:
        """Whether all have ended, after ``stop``."""
        return self._stopping and not self._slots

    # What is asked for.

    def spare(self, now: float) -> str:
        """One more process, for one isolated room: its name. It is not started again.

        If it ends before it has registered, there will be no such worker.
        """
        self._spares += 1
        while (name := f"s{self._spares}") in self._slots:  # one that was adopted
            self._spares += 1
        slot = self._slots[name] = _Slot(name, False, SlotState.WAITING, None)
        self._launch(slot, now)
        return name

    def finish(self, name: str, now: float) -> None:
        """The isolated room of this process has ended: so does the process, unless it is adopted."""
        slot = self._slots.get(name)
        if slot is not None and not slot.kept:
            self._stop(slot, now + _FINISH_WITHIN)

    def stop(self, now: float, within: float, told: Container[str] = ()) -> None:
        """All drain and end; after ``within`` seconds they are killed.

        Args:
            now: the time.
            within: seconds.
            told: names of those that were told over the wire, as adopted ones have to be: a signal would overtake
                what they were told, and hurry them past it.
        """
        self._stopping = True
        for slot in list(self._slots.values()):
            self._stop(slot, now + within, told=slot.name in told)

    # What happens.

    def registered(self, name: str, now: float) -> None:
        """A worker of this name serves. Names that are none of ours are somebody else's business."""
        slot = self._slots.get(name)
        if slot is None:
            return
        slot.take(SlotEvent.REGISTER)
        slot.adopted = slot.adopted or not slot.held
        if slot.serving_since is None:
            slot.serving_since = now
        if slot.state is SlotState.RUNNING:
            slot.due = None

    def adopt(self, name: str, now: float) -> None:
        """A worker serves under this name that an earlier broker has started. A launch of ours makes way for it."""
        slot = self._slots.get(name)
        if slot is None:
            slot = self._slots[name] = _Slot(name, False, SlotState.WAITING, None)
        elif slot.held and not slot.adopted:
            self._outbox.kill(name)
        slot.adopted = True
        self.registered(name, now)
        if self._stopping and slot.state is SlotState.RUNNING:
            self._stop(slot, now + _FINISH_WITHIN)

    def lost(self, name: str, now: float, *, drained: bool = False) -> None:
        """The lease of the worker ended, or its connection. If it still lives it may register again.

        ``drained``: it had said that it would end.
        """
        slot = self._slots.get(name)
        if slot is None or slot.state not in (SlotState.STARTING, SlotState.RUNNING, SlotState.STOPPING):
            return
        if slot.adopted:
            how = "it was drained" if drained else "it does not answer any more"
            self._gone(slot, how, now, orderly=drained or slot.state is SlotState.STOPPING)
            return
        slot.take(SlotEvent.LOSE)
        if slot.state is SlotState.STARTING:
            slot.due = now + _REGISTER_WITHIN

    def ended(self, name: str, code: int, now: float) -> None:
        """Its process ended.

        Args:
            name: the worker's.
            code: the exit code; below zero, the signal that ended it, as in ``subprocess``.
            now: the time.
        """
        slot = self._slots.get(name)
        if slot is None or not slot.held:
            return
        slot.held = False
        if not slot.adopted and slot.state is not SlotState.WAITING:
            asked = slot.state is SlotState.STOPPING and code == -signal.SIGTERM  # before it could listen to it
            self._gone(slot, _how(code), now, orderly=code == 0 or asked)

    def tick(self, now: float) -> float | None:
        """Do what is due; when to come again at the latest, or None."""
        for slot in list(self._slots.values()):
            if slot.due is None or slot.due > now:
                continue
            slot.due = None
            if slot.state is SlotState.WAITING:
                if slot.held:  # what made way for an adopted one takes its time to end
                    slot.due = now + _SHORTEST
                else:
                    self._launch(slot, now)
            elif slot.adopted:  # nobody can kill it
                self._end(slot)
            else:
                late = (
                    f"register within {_REGISTER_WITHIN:.0f} s" if slot.state is SlotState.STARTING else "end in time"
                )
                logger.warning("worker %s did not %s: it is killed", slot.name, late, extra={"worker": slot.name})
                self._outbox.kill(slot.name)
        return min((slot.due for slot in self._slots.values() if slot.due is not None), default=None)

    # How.

    def _launch(self, slot: _Slot, now: float) -> None:
        slot.take(SlotEvent.LAUNCH)
        slot.held, slot.adopted, slot.serving_since = True, False, None
        slot.due = now + _REGISTER_WITHIN
        logger.info("worker %s starts", slot.name, extra={"worker": slot.name})
        self._outbox.launch(slot.name, not slot.kept)

    def _stop(self, slot: _Slot, deadline: float, *, told: bool = False) -> None:
        asked = slot.state is SlotState.STOPPING
        slot.take(SlotEvent.STOP)
        if slot.state is SlotState.ENDED:
            del self._slots[slot.name]
            return
        slot.due = deadline if slot.due is None or not asked else min(slot.due, deadline)
        if slot.held and not (slot.adopted or asked or told):
            self._outbox.terminate(slot.name)

    def _gone(self, slot: _Slot, how: str, now: float, *, orderly: bool = False) -> None:
        served = 0.0 if slot.serving_since is None else now - slot.serving_since
        slot.adopted, slot.serving_since = False, None
        if slot.state is SlotState.STOPPING or not slot.kept:
            level = logging.INFO if orderly else logging.WARNING
            logger.log(level, "worker %s is gone: %s", slot.name, how, extra={"worker": slot.name})
            self._end(slot)
            return
        if served >= _STEADY:
            slot.attempts = 0
        if served >= _SHORT_LIFE:
            slot.short_lives.clear()
        elif not (orderly and served > 0.0):  # who served and was drained is no crash
            slot.short_lives.append(now)
        if len(slot.short_lives) == _CRASHES and now - slot.short_lives[0] <= _CRASHES_WITHIN:
            self._give_up(slot, how)
            return
        delay = min(_LONGEST, _SHORTEST * 2.0 ** min(slot.attempts, 10)) * (0.5 + 0.5 * self._random())
        slot.attempts += 1
        slot.take(SlotEvent.CRASH)
        slot.due = now + delay
        level = logging.INFO if orderly else logging.WARNING
        logger.log(
            level,
            "worker %s ended (%s) after serving %.1f s; it starts again in %.2f s",
            slot.name,
            how,
            served,
            delay,
            extra={"worker": slot.name},
        )

    def _give_up(self, slot: _Slot, how: str) -> None:
        slot.take(SlotEvent.GIVE_UP)
        slot.due = None
        logger.error(
            "worker %s ended %d times within %.0f s, the last time so: %s. It is not started again: "
            "mend what its lines above say, then restart the server",
            slot.name,
            _CRASHES,
            _CRASHES_WITHIN,
            how,
            extra={"worker": slot.name},
        )
        if self.gave_up:
            logger.error("all %d workers are given up: nobody hosts rooms here any more", self._count)

    def _end(self, slot: _Slot) -> None:
        slot.take(SlotEvent.END)
        del self._slots[slot.name]


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
