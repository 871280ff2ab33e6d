"""The matcher of a queue alone: no network, no broker, tickets in and matches out."""

import gc
import time
import tracemalloc
from random import Random

from benchmarks.job import Job, Result
from benchmarks.machine import unmeasured
from server_room_system.broker.queues import Entrant, Matcher, MatchQueue, Ticket, Window

__all__ = ["duels", "raids"]

_SETTLING = 10
"""Turns that do not count: in the first of them malloc sorts what tracemalloc has given back, for 150 ms."""
_ARRIVALS = 1000
"""Tickets a second that come to the long queue."""


class _Duel(MatchQueue):
    window = Window(10, 0.1, 20)


class _Raid(MatchQueue):
    teams = {"red": 5, "blue": 5}  # noqa: RUF012
    roles = {"tank": 1, "healer": 1, "dps": 3}  # noqa: RUF012
    window = Window(100, 5, 400)
    hard = ("map",)


def duels(job: Job) -> Result:
    """As many wait as the job has rooms, too far apart to meet; two come at a time: a match, and who waits next."""
    matcher, random = Matcher(_Duel(), "duel"), Random(1)
    number = 0

    def ticket(place: int, now: float) -> Ticket:
        nonlocal number
        number += 1
        return Ticket(number, (Entrant(number, number, place * 50.0 + random.uniform(-4, 4)),), now)

    for place in range(job.rooms):
        matcher.add(ticket(place, 0.0), 0.0)
    while matcher.work(0.0)[1]:
        pass
    places = [random.randrange(job.rooms) for _ in range(int(job.seconds * 10_000))]
    coming = [ticket(place, 1e-4 * at) for at, place in enumerate(places) for _ in range(2)]
    gc.collect()
    gc.freeze()
    matched, longest = 0, 0.0
    began = time.perf_counter()
    for at in range(0, len(coming), 20):
        now = coming[at].since
        for one in coming[at : at + 20]:
            matcher.add(one, now)
        more = True
        while more:
            started = time.perf_counter()
            matches, more = matcher.work(now)
            longest = max(longest, time.perf_counter() - started)
            matched += sum(len(match.tickets) for match in matches)
    took = time.perf_counter() - began
    return Result({"matched": matched / took, "pass": longest * 1e3}, unmeasured(took))


def raids(job: Job) -> Result:
    """As many wait as the job has rooms, all in the role that is in demand nowhere; 1,000 a second come to them."""
    matcher, random = Matcher(_Raid(), "raid"), Random(2)
    number = 0

    def ticket(now: float, roles: list[str]) -> Ticket:
        nonlocal number
        number += 1
        entrant = Entrant(f"{number:032x}", number, random.gauss(1500, 300), frozenset(roles))
        maps = random.sample(["dust", "mill", "lake", "port", "wood"], 2)
        return Ticket(number, (entrant,), now, matcher.queue.read({"map": maps}))

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    now = 0.0
    for _ in range(job.rooms):
        now += 1 / _ARRIVALS
        matcher.add(ticket(now, ["dps"]), now)
    while matcher.work(now)[1]:
        pass
    memory = (tracemalloc.get_traced_memory()[0] - before) / job.rooms
    tracemalloc.stop()
    gc.collect()
    gc.freeze()
    passes: list[float] = []
    for turn in range(_SETTLING + int(job.seconds * 100)):
        if turn == _SETTLING:
            passes.clear()
        now += 0.01
        for _ in range(_ARRIVALS // 100):
            matcher.add(ticket(now, random.choices(["dps", "tank", "healer"], [6, 2, 2])), now)
        more = True
        while more:
            started = time.perf_counter()
            _, more = matcher.work(now)
            passes.append(time.perf_counter() - started)
    figures = {
        "memory": memory,
        "pass": max(passes) * 1e3,
        "busy": sum(passes) / job.seconds * 100,
    }
    return Result(figures, unmeasured(sum(passes)))
