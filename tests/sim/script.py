"""What is to happen in one run, drawn up from its seed before anything does.

A run that fails is the more telling the less happens in it: faults and players
can be left out one by one, and what is left happens as it would have.
"""

from dataclasses import dataclass, replace
from random import Random

__all__ = ["CHAOS", "KINDS", "PLAYERS", "Fault", "Script", "draw"]

CHAOS = 30.0
"""Seconds in which things fail and everybody does something."""
PLAYERS = 8
_PAUSE = 0.3
"""Seconds between two faults, on average."""

_BROKEN_CONNECTIONS = {
    "cut": 30.0,
    "unplug": 14.0,
    "stall": 5.0,
    "stall up": 3.0,
    "stall down": 3.0,
    "lag": 8.0,
    "late handshakes": 2.0,
    "late partings": 3.0,
    "squeeze": 3.0,
    "misgrant": 4.0,
}
_BROKEN_CLIENTS = {"freeze a client": 6.0, "kill a client": 3.0}
_BROKEN_BROKERS = {"freeze the broker": 1.5, "kill the broker": 2.0, "set the clock": 1.5}
_BROKEN_WORKERS = {
    "freeze a worker": 3.0,
    "kill a worker": 2.5,
    "drain a worker": 1.5,
    "one more worker": 1.0,
    "silence a worker": 1.5,
}
_WEIGHTS = _BROKEN_CONNECTIONS | _BROKEN_CLIENTS | _BROKEN_BROKERS | _BROKEN_WORKERS

KINDS = frozenset(_WEIGHTS)
"""All kinds of faults."""

_LASTS = {
    "unplug": (0.3, 2.0, 5.0, 10.0),
    "lag": (0.5, 2.0, 5.0),
    "late handshakes": (2.0, 6.0),
    "late partings": (2.0, 6.0),
    "squeeze": (0.5, 3.0),
    "freeze a client": (0.3, 2.0, 5.0, 17.0),
    "freeze the broker": (0.3, 2.0, 4.7, 6.0),
    "kill the broker": (1.1, 2.0, 5.0),
    "set the clock": (-3600.0, -5.0, -1.0, 2.0, 86400.0),
    "freeze a worker": (0.3, 2.0, 4.6, 5.2, 9.0),
    "kill a worker": (0.1, 1.0, 4.0),
    "drain a worker": (0.5, 3.0),
}
"""Seconds that a fault lasts; of the clock, by which it is set."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    number: int
    """Its place in the script."""
    at: float
    """When, in seconds."""
    kind: str
    share: float
    """Whom it falls on, from 0 to 1: of those who are there then, in the order of their age."""
    lasts: float
    """How long, in seconds, where it is over by itself."""

    def __str__(self) -> str:
        lasts = f" ({self.lasts:g} s)" if self.kind in _LASTS else ""
        return f"{self.number}: {self.kind}{lasts} at {self.at:.2f} s"


@dataclass(frozen=True)
class Script:
    """All that is not left to the players."""

    seed: int
    fanout: str
    """Of all rooms."""
    workers: int | None
    """How many host the rooms; None: the broker does."""
    mark: int
    """Frames that a connection takes before it is full."""
    spread: float
    """Seconds that one connection may be slower than another."""
    players: tuple[int, ...]
    faults: tuple[Fault, ...]
    queues: bool = False
    """Whether players wait in queues, and make parties, as well."""
    ways: bool = False
    """Whether players come into rooms that they do not name, and watch lists of rooms, as well."""
    until: float = CHAOS
    """Seconds after which nothing more goes wrong, and players rest."""

    def left(self, players: tuple[int, ...], faults: tuple[Fault, ...], until: float) -> "Script":
        """The same with less in it."""
        return replace(self, players=players, faults=tuple(each for each in faults if each.at < until), until=until)

    def command(self) -> str:
        """What to type to see it again."""
        whole = draw(self.seed)
        words = ["python -m tests.sim", f"--seed {self.seed}"]
        gone = [str(fault.number) for fault in whole.faults if fault not in self.faults and fault.at < self.until]
        kept = [str(fault.number) for fault in self.faults]
        if gone:
            words.append(
                f"--only {','.join(kept) or 'none'}" if len(kept) < len(gone) else f"--without {','.join(gone)}"
            )
        if self.players != whole.players:
            words.append(f"--players {','.join(map(str, self.players))}")
        if self.until != whole.until:
            words.append(f"--until {self.until:g}")
        return " ".join(words)


def draw(seed: int) -> Script:
    """The script of a seed.

    Each seed has some kinds of faults and not others: what never happens at the
    same time as something else would otherwise be seen too seldom (A. Groce et al.,
    "Swarm testing", ISSTA 2012).
    """
    random = Random(f"script {seed}")
    fanout = random.choice(("unicast", "topic"))
    workers = random.choice((None, None, 2, 3))
    mark = random.choice((5, 30, 256))
    spread = random.choice((0.0, 0.0, 0.02, 0.3))
    kinds = [kind for kind in _WEIGHTS if random.random() < 0.55 and _makes_sense(kind, fanout, workers)] or ["cut"]
    weights = [_WEIGHTS[kind] for kind in kinds]
    faults: list[Fault] = []
    at = random.expovariate(1 / _PAUSE)
    while at < CHAOS:
        (kind,) = random.choices(kinds, weights)
        lasts = random.choice(_LASTS.get(kind, (0.0,)))
        faults.append(Fault(len(faults), round(at, 3), kind, round(random.random(), 4), lasts))
        at += random.expovariate(1 / _PAUSE)
    queues = random.random() < 0.5
    ways = random.random() < 0.5
    return Script(seed, fanout, workers, mark, spread, tuple(range(PLAYERS)), tuple(faults), queues, ways)


def _makes_sense(kind: str, fanout: str, workers: int | None) -> bool:
    if kind == "misgrant":
        return fanout == "topic"
    return workers is not None or kind not in _BROKEN_WORKERS
