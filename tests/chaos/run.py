"""A run: faults for a while, then calm, then faults again; and what came of it."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from ..integration.cluster import Processes
from ..integration.hosts import network
from .cluster import ChaosCluster
from .faults import Cast, Fault, blip, schedule
from .grounds import Cables, Proxied
from .slopes import Slope, slope_of

__all__ = ["Outcome", "Plan", "play"]


class Plan(NamedTuple):
    """What a run is."""

    seed: int
    seconds: float
    """In which faults come; the calm in between and at the end is not counted."""
    fault_every: float
    round_seconds: float
    """After so many there is calm, until everything is as it has to be."""
    longest_fault: float
    bot_processes: int = 2
    bots: int = 12
    """In each process."""
    rate: float = 5.0
    """Messages a second of each."""
    machines: bool = False
    """Whether everybody has a machine and a cable of their own, made of network namespaces, instead of proxies."""
    blip_every: float | None = None
    """Seconds between two resets of some connections, beside the other faults; None: there are none."""
    spared_after: float = float("inf")
    """After so many seconds broker, first worker and first bots are killed no more, so that their growth shows."""


class Outcome(NamedTuple):
    """What came of a run."""

    report: dict[str, Any]
    """The oracle's."""
    complaints: list[str]
    """What else must not be: tracebacks, processes that ended by themselves or not well."""
    slopes: dict[tuple[str, int], Slope]
    """Of each life, by name of the process and pid."""


async def play(plan: Plan, folder: Path, tell: Callable[[ChaosCluster, float, str], None]) -> Outcome:
    """Run it.

    Args:
        plan: what.
        folder: for logs and pipes; must exist.
        tell: called each second with the system, the seconds of chaos so far, and what happens.
    """
    cast = Cast(tuple(f"b{number}" for number in range(plan.bot_processes)), ("w1", "w2"), plan.machines)
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(network(1 + len(cast.workers) + len(cast.bots))) if plan.machines else []
        processes = stack.enter_context(Processes(folder))
        ground = Cables(hosts, cast) if plan.machines else Proxied(processes, cast)
        async with ChaosCluster(processes, ground, cast, plan.seed, plan.bots, plan.rate) as cluster:
            run = _Run(plan, cluster)
            beside = [
                asyncio.ensure_future(one)
                for one in (_look(cluster, lambda: tell(cluster, run.elapsed, run.what)), run.blips())
            ]
            try:
                await run.rounds()
            finally:
                for one in beside:
                    one.cancel()
                for ended in await asyncio.gather(*beside, return_exceptions=True):
                    if not isinstance(ended, asyncio.CancelledError | None):
                        raise ended
            await cluster.finish()
            slopes = {life: slope_of(samples) for life, samples in cluster.samples.items()}
            return Outcome(cluster.report(), cluster.complaints, slopes)


class _Run:
    def __init__(self, plan: Plan, cluster: ChaosCluster) -> None:
        self.elapsed = 0.0
        self.what = "begins"
        self._plan = plan
        self._cluster = cluster
        self._faults = schedule(Random(plan.seed), cluster.cast, plan.longest_fault)

    async def rounds(self) -> None:
        plan, spare = self._plan, {"broker", self._cluster.cast.workers[0], self._cluster.cast.bots[0]}
        while self.elapsed < plan.seconds:
            end = min(self.elapsed + plan.round_seconds, plan.seconds)
            while self.elapsed < end:
                fault = next(self._faults)
                if fault.what == "kill" and fault.target in spare and self.elapsed > plan.spared_after:
                    continue
                await self._one(fault)
            self.what = "calm"
            await self._cluster.rest()
            if self.elapsed < plan.seconds:
                self._cluster.go_on()

    async def blips(self) -> None:
        """Reset some connections, again and again, except while everybody is to be calm."""
        every, random = self._plan.blip_every, Random(self._plan.seed)
        while every is not None:
            await asyncio.sleep(every)
            if not self._cluster.calm:
                await self._cluster.strike(blip(random, self._cluster.cast))

    async def _one(self, fault: Fault) -> None:
        begin = time.monotonic()
        self.what = f"{fault.what} {fault.target}, {fault.seconds:.1f} s"
        await self._cluster.strike(fault)
        self.what = "faults"
        await asyncio.sleep(max(0.0, self._plan.fault_every - (time.monotonic() - begin)))
        self.elapsed += time.monotonic() - begin


async def _look(cluster: ChaosCluster, tell: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(1.0)
        cluster.measure(time.monotonic())
        tell()
