"""One run from beginning to end, and what is to be said of it."""

import re
import traceback
from collections import Counter
from dataclasses import dataclass, field

from server_room_system.testing import Deadlock, run

from .script import Script
from .watch import Broken
from .world import World

__all__ = ["Outcome", "play", "simulate"]

_NAMES = re.compile(r"\b[0-9a-f]{32}\b|[0-9]+(\.[0-9]+)?")
_LIMIT = 600.0
"""Seconds of a run's own clock."""


@dataclass
class Outcome:
    """What a run came to. Plain values, to be handed from process to process."""

    script: Script
    mistakes: list[str] = field(default_factory=list)
    """What must not be; empty: nothing."""
    ended: float = 0.0
    """When it ended, on its own clock."""
    counts: "Counter[str]" = field(default_factory=Counter)
    """How much of what there was."""
    faults: "Counter[str]" = field(default_factory=Counter)
    """How many of each kind."""

    @property
    def kind(self) -> str:
        """How it failed, without names and numbers; empty: it did not."""
        return _NAMES.sub("#", self.mistakes[0]) if self.mistakes else ""


def play(script: Script) -> tuple[Outcome, World]:
    """One run, and what is left of it to be looked at."""
    worlds: list[World] = []
    outcome = Outcome(script)

    async def begin() -> None:
        world = World(script)
        worlds.append(world)
        try:
            await world.run()
        finally:
            world.loop.on_event = None

    raised: list[str] = []
    try:
        run(begin, seed=script.seed, limit=_LIMIT)
    except Broken:
        pass  # it is in the ledger
    except (Deadlock, Exception) as error:  # noqa: BLE001  # whatever it is, it is a failure of this run
        raised.append("".join(traceback.format_exception(error)[-3:]).strip())
    (world,) = worlds
    outcome.ended = world.ledger.failed_at or world.loop.time()
    outcome.mistakes = world.ledger.mistakes + raised
    _count(world, outcome)
    return outcome, world


def simulate(script: Script) -> Outcome:
    """One run. The same script has the same outcome."""
    return play(script)[0]


def _count(world: World, outcome: Outcome) -> None:
    ledger = world.ledger
    streams = ledger.streams.values()
    entries = [entry for stream in streams for entry in stream.entries]
    outcome.counts.update(
        {
            "events": world.loop.events,
            "virtual seconds": round(world.loop.time()),
            "rooms": len(ledger.streams),
            "rooms lost with their process": sum(stream.dead for stream in streams),
            "visits": sum(visit.entered for visit in ledger.visits),
            "matched": sum(visit.wish is not None and visit.entered for visit in ledger.visits),
            "said": len(entries),
            "said to one": sum(entry.to is not None for entry in entries),
            "said to all but some": sum(bool(entry.excepted) for entry in entries),
            "read": ledger.read,
            "drops": ledger.drops,
            "reconnects": ledger.reconnects,
            "resets": sum(visit.resets for visit in ledger.visits),
            "sent": sum(len(visit.sent) for visit in ledger.visits),
            "applied": sum(len(visit.applied) for visit in ledger.visits),
            "acknowledged": sum(len(visit.acknowledged) for visit in ledger.visits),
            "refused": sum(len(visit.refused) for visit in ledger.visits),
        }
    )
    outcome.counts.update(ledger.counts)
    if hasattr(world, "faults"):
        outcome.faults.update(world.faults.counts)
