"""What goes wrong in a run, when its script says so."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from server_room_system import RemoteError
from server_room_system.rooms.worker_host import WorkerHost
from server_room_system.testing import InMemorySystem, Process
from server_room_system.transport.memory_wires import Wire

from .script import Fault

__all__ = ["Faults", "Victim"]

T = TypeVar("T")
_SMALL = 3
_MOST_WORKERS = 5


class Victim(Protocol):
    """A player, as far as faults go."""

    process: Process

    def pull_the_plug(self, seconds: float) -> bool:
        """No connection for so long. Whether there was one."""
        ...

    async def die(self) -> bool:
        """Its client is gone without a word. Whether there was one."""
        ...


class Faults:
    """Lets faults happen, and undoes what would last.

    Args:
        system: where.
        players: who may suffer.
        told_of_death: called with each process that is about to be killed.
        broker_starts: called before each broker but the first.

    ``counts`` says how many of each kind have happened. ``awake`` says since when
    each process runs that was frozen: exactly, since many of its timers ring late then.
    """

    def __init__(
        self,
        system: InMemorySystem,
        players: Sequence[Victim],
        told_of_death: Callable[[Process], None],
        broker_starts: Callable[[], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.awake: dict[Process, float] = {}
        self._system = system
        self._players = players
        self._told_of_death = told_of_death
        self._broker_starts = broker_starts
        self._mark = system.network.mark
        self._frozen: dict[Process, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keepers: dict[str, asyncio.Future[None]] = {}
        self._workers = len(system.workers)
        for name in system.workers:
            self.keep(name)

    async def happen(self, fault: Fault) -> None:
        """Let it happen, if there is somebody whom it can happen to."""
        happens = {
            "cut": self._cut,
            "unplug": self._unplug,
            "stall": lambda fault: self._stall(fault, up=True, down=True),
            "stall up": lambda fault: self._stall(fault, up=True, down=False),
            "stall down": lambda fault: self._stall(fault, up=False, down=True),
            "lag": self._lag,
            "late handshakes": self._late_handshakes,
            "late partings": self._late_partings,
            "squeeze": self._squeeze,
            "misgrant": lambda fault: self._system.network.misgrant_one(),
            "freeze a client": self._freeze_a_client,
            "freeze the broker": lambda fault: self._freeze("broker", fault.lasts),
            "set the clock": self._set_the_clock,
            "freeze a worker": self._freeze_a_worker,
            "drain a worker": self._drain_a_worker,
            "one more worker": lambda fault: self._add_a_worker(0.0),
            "silence a worker": self._silence_a_worker,
        }
        if fault.kind == "kill a client":
            victim = _chosen(self._players, fault.share)
            happened = victim is not None and await victim.die()
        elif fault.kind == "kill the broker":
            happened = await self._kill_the_broker(fault.lasts)
        elif fault.kind == "kill a worker":
            happened = await self._kill_a_worker(fault)
        else:
            happened = happens[fault.kind](fault)
        self.counts[fault.kind] += happened

    async def heal(self) -> None:
        """Undo what would last; connections that are broken stay so."""
        for process in list(self._frozen):
            self._thaw(process)
        network = self._system.network
        network.handshake = network.parting = (0.0, 0.0)
        network.mark = self._mark
        for wire in network.standing:
            wire.lag = 0.0
        while self._tasks:
            await asyncio.wait(self._tasks)

    # Connections.

    def _cut(self, fault: Fault) -> bool:
        wire = _chosen(self._system.network.standing, fault.share)
        if wire is not None:
            wire.cut()
        return wire is not None

    def _unplug(self, fault: Fault) -> bool:
        victim = _chosen(self._players, fault.share)
        return victim is not None and victim.pull_the_plug(fault.lasts)

    def _stall(self, fault: Fault, *, up: bool, down: bool) -> bool:
        # Of workers' own connections, only silence is a fault to live through: see the leases.
        wire = _chosen([wire for wire in self._of_clients() if not wire.stalled], fault.share)
        if wire is not None:
            wire.stall(up=up, down=down)
        return wire is not None

    def _lag(self, fault: Fault) -> bool:
        wire = _chosen(self._of_clients(), fault.share)
        if wire is None:
            return False
        wire.lag = (fault.share * 997) % 1.2

        def over() -> None:
            wire.lag = 0.0

        asyncio.get_running_loop().call_later(fault.lasts, over)
        return True

    def _late_handshakes(self, fault: Fault) -> bool:
        network = self._system.network
        network.handshake = (0.0, 4.0)

        def over() -> None:
            network.handshake = (0.0, 0.0)

        asyncio.get_running_loop().call_later(fault.lasts, over)
        return True

    def _late_partings(self, fault: Fault) -> bool:
        network = self._system.network
        network.parting = (0.0, 2.5)

        def over() -> None:
            network.parting = (0.0, 0.0)

        asyncio.get_running_loop().call_later(fault.lasts, over)
        return True

    def _squeeze(self, fault: Fault) -> bool:
        network = self._system.network
        network.mark = _SMALL

        def over() -> None:
            network.mark = self._mark

        asyncio.get_running_loop().call_later(fault.lasts, over)
        return True

    def _of_clients(self) -> list[Wire]:
        clients = {player.process for player in self._players}
        return [wire for wire in self._system.network.standing if Process.of(wire.near_context) in clients]

    # Processes.

    def _freeze_a_client(self, fault: Fault) -> bool:
        victim = _chosen(self._players, fault.share)
        return victim is not None and self._freeze(victim.process, fault.lasts)

    def _freeze_a_worker(self, fault: Fault) -> bool:
        name = _chosen(list(self._system.workers), fault.share)
        return name is not None and self._freeze(name, fault.lasts)

    def _freeze(self, what: Process | str, seconds: float) -> bool:
        system = self._system
        if what == "broker" and not system.broker_runs:
            return False
        process = what if isinstance(what, Process) else system.process(what)
        if process.stopped:
            return False
        process.stop()
        system.network.stands_still(process)
        self._frozen[process] = None
        self.awake[process] = math.inf
        asyncio.get_running_loop().call_later(seconds, self._thaw, process)
        return True

    def _thaw(self, process: Process) -> None:
        if process in self._frozen:
            del self._frozen[process]
            self.awake[process] = asyncio.get_running_loop().time()
            process.go_on()

    def _set_the_clock(self, fault: Fault) -> bool:
        self._system.wall += fault.lasts
        return True

    async def _kill_the_broker(self, seconds: float) -> bool:
        system = self._system
        if not system.broker_runs:
            return False
        self._told_of_death(system.process("broker"))
        await system.kill_broker()
        self._spawn(self._restart_the_broker(seconds))
        return True

    async def _restart_the_broker(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._broker_starts()
        await self._system.restart_broker()

    async def _kill_a_worker(self, fault: Fault) -> bool:
        system = self._system
        name = _chosen(list(system.workers), fault.share)
        if name is None:
            return False
        self._told_of_death(system.process(name))
        await system.kill_worker(name)
        self._add_a_worker(fault.lasts, name if fault.share < 0.3 else None)
        return True

    def _add_a_worker(self, after: float, name: str | None = None) -> bool:
        if len(self._system.workers) >= _MOST_WORKERS:
            return False
        if name is None:
            self._workers += 1
            name = f"w{self._workers}"
        self._spawn(self._begin_a_worker(after, name))
        return True

    async def _begin_a_worker(self, after: float, name: str) -> None:
        await asyncio.sleep(after)
        if name not in self._system.workers:
            await self._system.add_worker(name, drain_seconds=2.0, registered=False)
            self.keep(name)

    def keep(self, name: str) -> None:
        """See to a worker's end, as its process would."""
        self._keepers[name] = asyncio.ensure_future(self._keep(name, self._system.workers[name]))

    async def _keep(self, name: str, worker: WorkerHost) -> None:
        try:
            await worker.ended()
        except RemoteError:  # its name was still another's, say
            self._told_of_death(self._system.process(name))
            await self._system.kill_worker(name)
            self.counts["a worker was refused"] += 1
            self._add_a_worker(0.5)
        else:
            if self._system.workers.get(name) is worker:
                del self._system.workers[name]
                await worker.__aexit__(None, None, None)

    def end(self) -> None:
        """See to nothing any more."""
        for keeper in self._keepers.values():
            keeper.cancel()

    def _drain_a_worker(self, fault: Fault) -> bool:
        workers = self._system.workers
        fit = [name for name in workers if not (workers[name].worker.draining or self._system.process(name).stopped)]
        name = _chosen(fit, fault.share)
        if name is None or len(workers) < 2:
            return False
        workers[name].drain()
        self._add_a_worker(fault.lasts)
        return True

    def _silence_a_worker(self, fault: Fault) -> bool:
        workers = {self._system.process(name) for name in self._system.workers}
        ours = [wire for wire in self._system.network.standing if Process.of(wire.near_context) in workers]
        wire = _chosen(ours, fault.share)
        if wire is not None:
            wire.stall(up=fault.share * 7 % 1 < 0.7, down=fault.share * 7 % 1 > 0.3)
        return wire is not None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _chosen(among: Sequence[T], share: float) -> T | None:
    return among[min(int(share * len(among)), len(among) - 1)] if among else None
