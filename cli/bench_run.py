"""One run of ``srs bench``: the server, the load processes, the meter, and the order of things."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..lab.bot import Bot
from ..lab.figures import Figures, Moment, figures_of, moment_of
from ..lab.ledger import expected
from ..lab.plan import Plan
from ..lab.schedule import SECOND
from ..lab.tally import Tally
from .bench_meter import Foreign, Meter, machine
from .bench_server import BenchServer
from .children import Child, ChildFailed, end_all

__all__ = ["Progress", "Settings", "measure"]

_JOIN_RATE = 200.0
_JOINING = 60.0
"""Seconds that bots have to join, beyond the time that their schedule takes."""
_LEAD = 0.2
"""Seconds between telling the load processes when to begin, and that time."""
_ACTING = 15.0
"""Seconds after the end until which the load processes must have told what they sent."""
_SETTLING = 20.0
"""Seconds that what was sent has to arrive after the last act."""
_QUIET = 3.0
"""Seconds without any arrival after which what is missing then counts as lost."""
_GOODBYE = 20.0
_SHOWING = 0.3
"""Seconds after an interval until its figures are shown: the load processes tell theirs four times a second."""
_SAID = 3
"""Lines of the server's that are shown."""

Progress = Callable[[str, Moment | None, float | None], None]
"""Called with what is happening, and while measuring with the last interval and the server's share of a core."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What to run. Times are seconds."""

    scenario: str
    kind: type[Bot]
    target: str | None
    """The server to start, as ``srs serve`` takes it."""
    address: str | None
    """The server that runs already, in the place of ``target``."""
    bots: int
    rate: float | None
    seconds: float
    warm_up: float
    processes: int
    workers: int | None = None
    server_pids: tuple[int, ...] = field(default=())
    """Processes of a server that runs already, to be measured."""

    @property
    def slot(self) -> float:
        """Width of the intervals of figures over time."""
        return self.seconds / max(4, min(60, int(self.seconds)))


async def measure(settings: Settings, progress: Progress) -> Figures:
    """Run it, and leave nothing behind.

    Raises:
        ChildFailed: a process broke off, or something took too long.
    """
    server: BenchServer | None = None
    run: _Run | None = None
    try:
        if settings.target is not None:
            progress("starting the server", None, None)
            server = await BenchServer.start(settings.target, settings.workers)
        run = _Run(settings, server, progress)
        return await run.perform()
    finally:
        await end_all(run.children if run else ())
        if server is not None:
            await server.stop()


class _Run:
    def __init__(self, settings: Settings, server: BenchServer | None, progress: Progress) -> None:
        self._settings = settings
        self._server = server
        self._progress = progress
        self._address = settings.address or (server.address if server else "")
        self._plan = Plan(
            scenario=settings.scenario,
            address=self._address,
            index=0,
            processes=settings.processes,
            bots=settings.bots,
            rate=settings.rate,
            warm_up=settings.warm_up,
            seconds=settings.seconds,
            slot=settings.slot,
            join_rate=_JOIN_RATE,
        )
        self._tally = Tally(self._plan.slots)
        self._joined: set[str] = set()
        self._sent: set[str] = set()
        self._why: str | None = None
        self._foreign: float | None = None
        self._changed = asyncio.Event()
        self.children: list[Child] = []

    async def perform(self) -> Figures:
        """Everything, one after the other."""
        for index in range(self._settings.processes):
            plan = {**self._plan.to_json(), "index": index}
            self.children.append(await Child.start(f"load {index + 1}", "cli.bench_load", json.dumps(plan)))
        following = [asyncio.ensure_future(child.follow(self._on_event)) for child in self.children]
        watching = [asyncio.ensure_future(self._server.process.wait())] if self._server else []
        acting = asyncio.ensure_future(self._act())
        try:
            await asyncio.wait((acting, *following, *watching), return_when=asyncio.FIRST_COMPLETED)
            if not acting.done():
                raise ChildFailed(await self._broken(following, watching))
            servers, loads = acting.result()
            async with asyncio.timeout(_GOODBYE):
                await asyncio.gather(*following)  # the last events of each come right before its end
            return self._figures(servers, loads)
        except TimeoutError as error:
            raise ChildFailed(str(error) or "the load processes did not end") from error
        finally:
            for task in (acting, *following, *watching):
                task.cancel()
            await asyncio.gather(acting, *following, *watching, return_exceptions=True)

    async def _broken(self, following: list[Any], watching: list[Any]) -> str:
        if any(task.done() for task in watching):
            assert self._server is not None
            last = self._server.said[-1] if self._server.said else "it said nothing"
            return f"the server {self._server.target} ended: {last}"
        await asyncio.wait(following, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        failed = next((task.exception() for task in following if task.done() and task.exception()), None)
        why = self._why or str(failed or "a load process ended too early")
        said = f" The server said last: {self._server.said[-1]}" if self._server and self._server.said else ""
        return f"{why}{said}"

    async def _act(self) -> tuple[Meter, Meter]:
        settings, plan = self._settings, self._plan
        if not settings.kind.visits:
            self._progress(f"{settings.bots} bots join", None, None)
        self._command("join", time.monotonic_ns() + int(_LEAD * SECOND))
        joining = settings.bots / _JOIN_RATE + _JOINING
        await self._until(lambda: len(self._joined) == len(self.children), joining, "all bots have joined")
        start = time.monotonic_ns() + int(_LEAD * SECOND)
        self._command("go", start)
        begin, _ = plan.window(start)
        self._progress("warming up", None, None)
        await _sleep_until(begin)
        servers, loads = await self._watch(begin)
        self._progress("waiting for what is under way", None, None)
        await self._until(lambda: len(self._sent) == len(self.children), _ACTING, "all bots have sent what they had to")
        await self._settle()
        self._command("end")
        return servers, loads

    async def _watch(self, begin: int) -> tuple[Meter, Meter]:
        pids = [self._server.process.pid] if self._server else list(self._settings.server_pids)
        servers = Meter({pid: "server" if len(pids) == 1 else f"server {pid}" for pid in pids})
        loads = Meter({child.process.pid: child.name for child in self.children})
        width = self._settings.seconds / self._plan.slots
        foreign = Foreign()
        kind = "join" if self._settings.kind.visits else "delivery"
        for index in range(self._plan.slots):
            await _sleep_until(begin + int((index + 1) * width * SECOND))
            servers.sample()
            loads.sample()
            await asyncio.sleep(min(_SHOWING, width / 2))
            moment = moment_of(self._tally.slots[index], (index + 1) * width, width, kind)
            busy = max((use.cpu[-1] or 0.0 for use in servers.uses), default=None)
            self._progress("measuring", moment, busy)
        used = (use.busy * self._settings.seconds for use in (*servers.uses, *loads.uses))
        self._foreign = foreign.share(sum(used)) if servers.uses else None
        return servers, loads

    async def _settle(self) -> None:
        if not self._settings.kind.visits:
            awaited = expected(self._tally.accounts, self._settings.kind.heard_by)
            until = time.monotonic() + _SETTLING
            arrived = -1
            while arrived < self._tally.total < awaited and time.monotonic() < until:
                arrived = self._tally.total
                with suppress(TimeoutError):  # then the condition says so
                    await self._until(lambda: self._tally.total >= awaited, _QUIET, "everything has arrived")

    def _figures(self, servers: Meter, loads: Meter) -> Figures:
        settings = self._settings
        return figures_of(
            self._tally,
            scenario=settings.scenario,
            server=settings.target or self._address,
            heard_by=settings.kind.heard_by,
            visits=settings.kind.visits,
            bots=settings.bots,
            processes=settings.processes,
            seconds=settings.seconds,
            warm_up=settings.warm_up,
            servers=servers.uses,
            loads=loads.uses,
            machine=machine(),
            foreign=self._foreign,
            server_said=list(self._server.said)[-_SAID:] if self._server else (),
        )

    def _command(self, word: str, when: int | None = None) -> None:
        for child in self.children:
            child.command(word if when is None else f"{word} {when}")

    def _on_event(self, child: Child, event: dict[str, Any]) -> None:
        match event["event"]:
            case "joined":
                self._joined.add(child.name)
            case "broken":
                self._why = f"{child.name}: {event['why']}"
            case other:
                self._tally.take(child.name, event)
                if other == "all sent":
                    self._sent.add(child.name)
        self._changed.set()

    async def _until(self, condition: Callable[[], bool], within: float, what: str) -> None:
        try:
            async with asyncio.timeout(within):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"after {within:.0f} s it is not so that {what}") from None


async def _sleep_until(when: int) -> None:
    await asyncio.sleep(max(0, when - time.monotonic_ns()) / SECOND)
