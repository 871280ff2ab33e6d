"""Nothing but broken connections: a few members of one room, who lose theirs twice a second each.

What the room says is far within its history, so that every message has to be
read once, in order, by everybody whom it is for; and what members send has to
be applied once. Small runs without other faults, so that there can be a million.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random

from server_room_system import AsyncClient, BrokerLimits, ClientRoom, Limits, Member, RuleSet, Server
from server_room_system.testing import InMemorySystem, VirtualLoop, run, system

from .farm import in_parallel
from .ledger import Ledger, Visit
from .rooms import Recorder

__all__ = ["Broken", "break_connections", "report"]

_MEMBERS = 4
_SECONDS = 60.0
_SETTLING = 8.0
_LINE_EVERY = 5.0
_FIGURES = ("reconnects", "cuts", "deliveries", "said", "applied", "events", "violations")


@dataclass
class Broken:
    """What one run came to."""

    seed: int
    counts: "Counter[str]" = field(default_factory=Counter)
    mistakes: list[str] = field(default_factory=list)


class Loyal(Recorder):
    """Its members stay, whatever happens to their connections."""

    max_clients = _MEMBERS
    reconnect_grace = 60.0

    def on_drop(self, client: Member) -> None:
        self.ledger.drops += 1


def break_connections(seed: int) -> Broken:
    """One run."""
    ledger = Ledger(lambda: asyncio.get_running_loop().time())
    outcome = Broken(seed)

    async def begin() -> None:
        await _Crowd(seed, ledger, outcome.counts).live()

    try:
        run(begin, seed=seed)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is a failure of this run
        ledger.mistakes.append(f"raised {error!r}")
    outcome.mistakes = ledger.mistakes
    outcome.counts.update(
        reconnects=ledger.reconnects,
        deliveries=ledger.read,
        said=sum(len(stream.entries) for stream in ledger.streams.values()),
        applied=sum(len(visit.applied) for visit in ledger.visits),
        violations=len(ledger.mistakes),
    )
    return outcome


class _Crowd:
    def __init__(self, seed: int, ledger: Ledger, counts: "Counter[str]") -> None:
        self._random = Random(f"reconnects {seed}")
        self._ledger = ledger
        self._counts = counts
        self._fanout = "topic" if seed % 2 else "unicast"
        self._seed = seed
        self._over = False

    async def live(self) -> None:
        bound = {"ledger": self._ledger, "seed": self._seed, "calm": False, "fanout": self._fanout}
        server = Server(
            rooms={"loyal": type("Loyal", (Loyal,), bound)},
            limits=Limits(ping_interval=20.0, ping_timeout=60.0, control_rate=1000.0, control_burst=5000),
            broker_limits=BrokerLimits(session_grace=60.0),
        )
        spread = self._random.choice((0.002, 0.02, 0.1))
        async with system(server, latency=(0.0005, spread)) as s:
            wish = RuleSet(_MEMBERS, room="loyal")
            clients = [await s.client(reconnect_timeout=60.0) for _ in range(_MEMBERS)]
            visits = [self._ledger.asks(client.id, wish) for client in clients]
            rooms = await asyncio.gather(
                *(
                    client.match(wish, options={"visit": visit.number})
                    for client, visit in zip(clients, visits, strict=True)
                )
            )
            for visit in visits:
                visit.entered = True
            reading = [asyncio.ensure_future(self._read(*each)) for each in zip(visits, rooms, strict=True)]
            lives = [
                *(self._talk(*each) for each in zip(visits, rooms, strict=True)),
                *(self._lose(s, client) for client in clients),
            ]
            await asyncio.gather(*lives)
            self._over = True
            for stream in self._ledger.streams.values():
                self._stop(s, stream.room)
            await asyncio.sleep(_SETTLING)
            self._ledger.check_visits()
            self._ledger.check_calm()
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            self._counts["events"] += loop.events

    def _stop(self, s: InMemorySystem, room: str) -> None:
        recorder = s.room(room)
        assert isinstance(recorder, Recorder)
        type(recorder).calm = True

    async def _lose(self, s: InMemorySystem, client: AsyncClient) -> None:
        until = s.now + _SECONDS
        while s.now < until:
            await asyncio.sleep(self._random.uniform(0.01, 0.5))
            if client.connected or self._random.random() < 0.3:  # now and then in the middle of coming back
                s.drop(client)
                self._counts["cuts"] += 1

    async def _talk(self, visit: Visit, room: ClientRoom) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _SECONDS
        while loop.time() < until:
            await asyncio.sleep(self._random.uniform(0.1, 1.5))
            number = len(visit.sent) + 1
            visit.sent.append(number)
            ack = self._random.random() < 0.3
            await room.send("say", [room.id, number], ack=ack, timeout=30.0)
            if ack:
                self._ledger.acknowledges(visit, number)

    async def _read(self, visit: Visit, room: ClientRoom) -> None:
        async for message in room:
            assert visit.stream is not None
            visit.stream.reads(visit, message)


def report(least: int, jobs: int, say: Callable[[str], None], *, as_json: bool) -> bool:
    """Run until so many members have come back; say what came of it. Whether all was as it must be."""
    counts: Counter[str] = Counter()
    failures: list[Broken] = []
    began = said = time.monotonic()
    for outcome in in_parallel(break_connections, count(), jobs):
        counts += outcome.counts
        if outcome.mistakes:
            failures.append(outcome)
        now = time.monotonic()
        if not as_json and now - said >= _LINE_EVERY:
            said = now
            say(", ".join(f"{counts[what]:,} {what}" for what in ("reconnects", "deliveries", "violations")))
        if counts["reconnects"] >= least:
            break
    figures = {
        **{what: counts[what] for what in _FIGURES},
        "seconds": round(time.monotonic() - began, 1),
        "failures": [{"seed": each.seed, "mistakes": each.mistakes[:3]} for each in failures[:10]],
    }
    if as_json:
        say(json.dumps(figures))
    else:
        say(", ".join(f"{what}: {value}" for what, value in figures.items()))
    return not failures
