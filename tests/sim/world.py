"""One run: a server, players, and what goes wrong; and what must hold all the while."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from random import Random

from server_room_system import errors
from server_room_system.protocol.filters import Filter
from server_room_system.testing import Process, VirtualLoop, system

from .faults import Faults
from .ledger import Ledger, Visit
from .meeting import meet
from .players import Player
from .queues import QUEUES, Arena
from .rooms import RecordingServer
from .script import Script
from .watch import Broken, Watch
from .ways import Lounge

__all__ = ["World"]

SETTLING = 40.0
"""Seconds after which everybody who can be back is back, and has read everything."""
GOING = 15.0
"""Seconds after which nobody is left of clients that were closed."""


class World:
    """A run. ``await World(script).run()``; then ``ledger.mistakes`` holds what must not be."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.calm = False
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.ledger = Ledger(loop.time)
        self.server = RecordingServer(
            self.ledger, script.seed, script.fanout, {"arena": Arena, "lounge": Lounge}, QUEUES
        )
        self.trace: list[tuple[float, int, object]] = []
        """What was read, when and by which visit: two runs of one seed have the same."""
        self.ledger.abandoned = self._is_abandoned
        self.ledger.party_code = self._party_code
        self.system = system(self.server, workers=script.workers)
        self.system.network.mark = script.mark
        self.system.network.spread = script.spread
        self.players = [Player(self, number) for number in script.players]
        self._dead: set[Process | None] = set()
        self.faults: Faults
        self.watch: Watch

    async def run(self) -> None:
        """Chaos, then calm, then the end."""
        with _errors_in_the_log(self.ledger, self._dead):
            try:
                await self._play()
            except Broken:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, there must be none
                self.ledger.mistake(f"raised {error!r}")
        self.ledger.check_visits()

    async def _play(self) -> None:
        async with self.system:
            self.faults = Faults(self.system, self.players, self._dies, self._broker_starts)
            self.watch = Watch(self.loop, self.system, self.ledger, self.players, self.faults.awake)
            self.loop.on_event = self.watch.look
            lives = [asyncio.ensure_future(player.process.run(player.live())) for player in self.players]
            await self._chaos()
            self.calm = True
            self.server.calm_down()
            await self.faults.heal()
            await asyncio.sleep(SETTLING)
            self.ledger.check_visits()
            self.ledger.check_calm()
            for player in self.players:
                player.check_told()
                self._check_party(player)
                self._check_list(player)
            if self.script.ways and not self.ledger.mistakes:
                await meet(self.system, self.ledger, self.players, Random(f"{self.script.seed} meeting"))
            for life in lives:
                life.cancel()
            for end in await asyncio.gather(*lives, return_exceptions=True):
                if not isinstance(end, asyncio.CancelledError):
                    self.ledger.mistake(f"a player ended: {end!r}")
            for player in self.players:
                if player.client is not None:
                    await player.client.close()
            await asyncio.sleep(GOING)
            self._check_nobody_is_left()
            self.faults.end()
            self.loop.on_event = None
        self._check_nothing_is_left()

    async def _chaos(self) -> None:
        for fault in self.script.faults:
            await asyncio.sleep(max(0.0, fault.at - self.loop.time()))
            await self.faults.happen(fault)
        await asyncio.sleep(max(0.0, self.script.until - self.loop.time()))

    def read(self, visit: Visit, data: object) -> None:
        """See ``Stage``."""
        self.trace.append((self.loop.time(), visit.number, data))

    def codes(self) -> list[str]:
        """See ``Stage``."""
        parties = [player.queueing.party_of(player.client) for player in self.players]
        return sorted({party.code for party in parties if party is not None})

    def _party_code(self, client: int) -> str:
        broker = self.system.host.broker
        session = broker.sessions.of_client(client)
        return broker._parties.code_of(session) if session is not None else ""

    def _check_party(self, player: Player) -> None:
        """Its client knows which party it is in, and who else is."""
        if player.client is None or player.client.closed:
            return
        broker, party = self.system.host.broker, player.queueing.party_of(player.client)
        session = broker.sessions.of_client(player.client.id)
        known = broker._parties._state(session) if session is not None else {}
        believed = party._state if party is not None else {}
        if known != believed:
            self.ledger.mistake(f"client {player.client.id} is in the party {known} and believes in {believed}")

    def _check_list(self, player: Player) -> None:
        """The list that its client watches is what there is."""
        if player.client is not None and not player.client.closed:
            rooms = self.system.host.broker.directory.list("lounge", Filter(player.entering.where))
            player.entering.check_list(player.client, {room["room"]: room for room in rooms})

    def _dies(self, process: Process) -> None:
        self._dead.add(process)
        for stream in self.ledger.streams.values():
            if stream.process is process and not stream.dead:
                stream.dies()

    def _is_abandoned(self, process: Process | None) -> bool:
        return any(
            self.system.process(name) is process and host.registration.generation == 0
            for name, host in self.system.workers.items()
        )

    def _broker_starts(self) -> None:
        self.server.start_anew()

    def _check_nobody_is_left(self) -> None:
        broker = self.system.host.broker
        for what, count in {
            "sessions": len(broker.sessions),
            "tickets": len(broker.queues),
            "tickets of queues": len(broker.tickets) + len(broker.tickets._entries._of) + broker.tickets.proposals,
            "parties": len(broker._parties),
            "rematches": len(broker._rematches._rounds),
            "members": sum(len(stream.present) for stream in self.ledger.streams.values()),
            "connections": self.system.network.connections - len(self.system.workers),
        }.items():
            if count:
                self.ledger.mistake(f"{count} {what} are left when all clients are closed")

    def _check_nothing_is_left(self) -> None:
        host = self.system.host
        left: dict[str, int] = {
            "rooms": len(host.worker.rooms),
            "rooms in the directory": len(host.broker.directory),
            "connections": self.system.network.connections,
            "tasks": len(asyncio.all_tasks()) - 1,
        }
        for what, count in left.items():
            if count:
                self.ledger.mistake(f"{count} {what} are left after the end")


class _Errors(logging.Handler):
    def __init__(self, ledger: Ledger, dead: set[Process | None]) -> None:
        super().__init__(logging.ERROR)
        self._ledger = ledger
        self._dead = dead

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, errors.RequestError) or Process.current() in self._dead:
            return  # what a hook refuses with is an answer; and of a process that was killed nothing would be heard
        if isinstance(error, asyncio.CancelledError | TimeoutError):
            return  # a hook's time may be over when its process goes on, as that of a room that closes: it is stopped
        if "the lease is over" not in record.msg:  # silence ends one
            self._ledger.mistake(f"in the log: {record.getMessage()}: {error!r}")


@contextlib.contextmanager
def _errors_in_the_log(ledger: Ledger, dead: set[Process | None]) -> Iterator[None]:
    handler = _Errors(ledger, dead)
    loggers = [logging.getLogger("server_room_system"), logging.getLogger("asyncio")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)
