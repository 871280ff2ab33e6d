"""Which faults come when: drawn from a seed, before the run."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

__all__ = ["Cast", "Fault", "blip", "schedule"]


class Cast(NamedTuple):
    """Who is in a run."""

    bots: tuple[str, ...]
    workers: tuple[str, ...]
    cables: bool = False
    """Whether they have cables that can be pulled, instead of links with proxies."""


class Fault(NamedTuple):
    """One fault."""

    what: str
    """``kill`` or ``stop`` for a process, ``cable`` for its machine, else what proxies do, see ``proxies.py``."""
    target: str
    """A process, or a link: ``control b1`` (bots to broker), ``rooms w1`` (bots to a worker), ``lease w1`` (worker to
    broker)."""
    seconds: float
    """After so long a killed process is started again, a stopped one goes on, and a link is whole."""
    suffers: tuple[str, ...]
    """Whose rooms or members may come to harm. What is not named here must not notice more than a pause."""

    @property
    def name(self) -> str:
        """What it is, without numbers: for counting."""
        return f"{self.what} {self.target.rstrip('0123456789').rstrip('wb ') or self.target[0]}"


_STROKES = ("reset", "reset some", "half close", "cut", "corrupt")
_STATES = ("delay", "throttle", "stall", "stall up", "stall down", "blackhole", "refuse")
_LONGEST = 6.0
"""Seconds that a fault takes at most: half of the grace period of the rooms."""
_BRIEF_HANG = 2.0
"""Seconds that a broker may hang without harm: well under a lease."""


def schedule(random: Random, cast: Cast, longest: float = _LONGEST) -> Iterator[Fault]:
    """Faults without end.

    Args:
        random: decides.
        cast: what can break.
        longest: seconds that a fault takes at most.
    """
    everybody = ("broker", *cast.workers, *cast.bots)
    while True:
        seconds = random.uniform(0.3, longest)
        kind = random.choices(("kill", "stop", "link"), (3, 3, 6))[0]
        if kind == "link" and not cast.cables:
            yield _on_a_link(random, cast, seconds)
            continue
        target = random.choice(everybody)
        hangs = seconds > _BRIEF_HANG
        if kind == "kill":
            # Rooms live on while the broker is dead; a worker's rooms die with it; who is killed needs no excuse.
            yield Fault("kill", target, max(1.0, seconds / 2), (target,) if target in cast.workers else ())
        else:
            suffers = (target,) if target != "broker" else cast.workers if hangs else ()
            yield Fault("stop" if kind == "stop" else "cable", target, seconds, suffers)


def _on_a_link(random: Random, cast: Cast, seconds: float) -> Fault:
    what = random.choice(_STROKES + _STATES)
    seconds = 0.0 if what in _STROKES else seconds
    link = random.choice(("control", "rooms", "rooms", "lease"))
    if link == "control":
        return Fault(what, f"control {random.choice(cast.bots)}", seconds, ())
    worker = random.choice(cast.workers)
    # Who is reset comes back well within its grace period. A worker has 0.6 s to come back to its broker.
    harmless = link == "rooms" and what in _STROKES
    return Fault(what, f"{link} {worker}", seconds, () if harmless else (worker,))


def blip(random: Random, cast: Cast) -> Fault:
    """A reset of some members' connections, for a load of reconnects beside all other faults."""
    return Fault("reset some", f"rooms {random.choice(cast.workers)}", 0.0, ())
