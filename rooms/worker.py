"""The worker: hosts rooms, and is the shell around their runners.

It has the tasks of async hooks and the one timer behind all deadlines; frames
go through the port that it shares with the broker, or has for itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from ..protocol.errors import (
    Code,
    RoomNotFound,
    WorkerLost,
    error_for,
)
from ..protocol.ids import Entropy
from ..protocol.messages import Join, Recover
from ..protocol.streams import Position
from ..transport.network import Publisher, PublisherSink, Sent
from .audience import DownlinkOfMember
from .connection import Connection
from .control import (
    Draining,
    Order,
    RoomEnded,
    RoomReport,
)
from .downlinks import Downlinks
from .ended import EndedRooms
from .hook_tasks import HookTasks
from .life import RoomState
from .mailbox import Mailbox, Then
from .orders import Orders, RoomFactory
from .port import Port
from .pulses import Pulses
from .runner import Runner

__all__ = ["Worker"]

logger = logging.getLogger(__name__.partition(".rooms")[0] + ".rooms")


class Worker:
    """Hosts rooms.

    Args:
        port: where its rooms' clients are.
        make_room: called with a ruleset for each new room.
        on_report: gets what the broker must know.
        entropy: where secrets come from.
        open_publisher: binds one more port for topic rooms.
        carries_sessions: whether the port's connections carry sessions too, so
            that a reservation can be held against them.
    """

    def __init__(
        self,
        port: Port,
        make_room: RoomFactory,
        on_report: Callable[[RoomReport], None],
        entropy: Entropy,
        open_publisher: Callable[[PublisherSink], Publisher],
        *,
        carries_sessions: bool,
    ) -> None:
        self.rooms: dict[str, Runner] = {}
        self.current: Mailbox | None = None
        self.stopping = False
        self.draining = False
        self._drain_until = 0.0
        self._port = port
        self.alarm = port.alarm
        self.clear_alarm = port.clear_alarm
        self.pulses = Pulses(port)
        self._on_report = on_report
        self._carries_sessions = carries_sessions
        self._downlinks = Downlinks(open_publisher, entropy, port.wake)
        self._unflushed: list[Runner] = []
        self._changed: dict[str, None] = {}
        """Rooms that the broker has to be told of in this turn."""
        self._ended_now: list[Runner] = []
        """Rooms that have ended, in this turn or while a hook was at work."""
        self._hooks = HookTasks(port.touch, self._hook_ended)
        self._ended = EndedRooms(port)
        self._emptied = asyncio.Event()
        self._drained = asyncio.Event()
        self._orders = Orders(self, make_room, on_report, port.limits, entropy)
        port.on_room_message = self.on_room_message

    # What the broker asks.

    def order(self, order: Order) -> None:
        """Do what the broker asks; the answer goes to ``on_report``."""
        self._orders.take(order)

    def drain(self, within: float, code: Code = Code.WORKER_DRAINED) -> None:
        """Make no new rooms; let those that are there end, and close what is left after ``within`` seconds.

        Asked again, the shorter time counts.
        """
        if self.stopping:
            return
        text = error_for(code).text
        if self.draining:
            self._drain_until = min(self._drain_until, self.now + within)
            self.alarm(self._drain_until, self.close_rooms, code, text)
            self._port.wake()
            return
        self.draining, self._drain_until = True, self.now + within
        logger.info("draining: %d rooms have %.0f s to end", len(self.rooms), within)
        self._on_report(Draining())
        for runner in list(self.rooms.values()):
            runner.drain(within)
        self.alarm(self._drain_until, self.close_rooms, code, text)
        self._port.wake()
        if not self.rooms:
            self._drained.set()

    async def drained(self) -> None:
        """Wait until a drain is over: no room is left, and none comes."""
        await self._drained.wait()

    def drop_rooms(self) -> None:
        """The lease is over: every member goes at once, told code 2102, and every room is disposed."""
        for runner in list(self.rooms.values()):
            if runner.state is RoomState.CREATING:
                self.stop_hook(runner.mailbox)
            else:
                runner.abandon(Code.WORKER_LOST, WorkerLost.meaning)
        self.flush()

    def everything(self) -> Iterator[RoomReport]:
        """All that a broker which knows nothing needs to know of our rooms."""
        for runner in self.rooms.values():
            yield from runner.reports.everything()
        if self.draining:
            yield Draining()

    def close_rooms(self, code: Code, text: str) -> None:
        """Close every room, and make no new ones."""
        self.stopping = True
        for runner in list(self.rooms.values()):
            if runner.state is RoomState.CREATING:
                self.stop_hook(runner.mailbox)
            else:
                runner.close(code, text)
        self.flush()

    async def emptied(self, within: float) -> bool:
        """Wait until no room is left, at most ``within`` seconds."""
        if not self.rooms:
            return True
        self._emptied.clear()
        try:
            async with asyncio.timeout(within):
                await self._emptied.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """End the hooks that still wait; nothing follows from that any more."""
        await self._hooks.close()
        self.rooms.clear()
        self._ended.clear()
        self._downlinks.close()

    # What clients ask.

    def on_room_message(self, connection: Connection, message: Join | Recover) -> None:
        """Let a client take its seat, or take it back. Raises what the client is told."""
        runner = self.rooms.get(message.room)
        if isinstance(message, Recover):
            self._recover(runner, connection, message)
            return
        if runner is None or runner.state is not RoomState.OPEN:
            raise RoomNotFound
        sessions = connection.sessions if self._carries_sessions else None
        seat = runner.seats.claim(message.reservation, sessions, connection.vouched.key)
        if seat.key in runner.members:
            runner.attendance.come_back(seat, connection, message.ask, None)
        else:
            runner.attendance.join(seat, connection, message.ask, message.options)

    def _recover(self, runner: Runner | None, connection: Connection, message: Recover) -> None:
        position = Position(message.epoch, message.offset, message.direct)
        farewells = runner.farewells if runner is not None else self._ended.get(message.room)
        farewell = farewells.find(message.token, connection.vouched.key) if farewells is not None else None
        if farewells is not None and farewell is not None:
            if runner is not None:
                runner.flush()
            farewells.say(farewell, connection, message.ask, position)
        elif runner is None:
            raise self._ended.why(message.room)
        else:  # also while it closes: those who are not dismissed yet have their turn
            seat = runner.seats.reclaim(message.token, connection.vouched.key)
            runner.attendance.come_back(seat, connection, message.ask, position)

    # The outbox of the runners.

    @property
    def now(self) -> float:
        """The time of this turn."""
        return self._port.now

    def send(self, peer: bytes, frame: bytes) -> Sent:
        """See ``Listener.send``."""
        return self._port.listener.send(peer, frame)

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]:
        """See ``Listener.send_all``."""
        return self._port.listener.send_all(peers, frame)

    def begin(self) -> None:
        """A turn begins: grant and notice, before anything is heard or said."""
        self._downlinks.pump()

    def publish(self, shard: int, topic: bytes, frame: bytes) -> None:
        """See ``Publisher.publish``."""
        self._downlinks.publish(shard, topic, frame)

    def offer(self, holder: DownlinkOfMember) -> tuple[int, bytes]:
        """See ``DownlinkDesk.offer``."""
        return self._downlinks.offer(holder)

    def revoke(self, token: bytes) -> bool:
        """See ``DownlinkDesk.revoke``."""
        return self._downlinks.revoke(token)

    def flush_later(self, runner: Runner) -> None:
        """See ``RoomOutbox.flush_later``."""
        self._unflushed.append(runner)
        self._port.wake()

    def flush(self) -> None:
        """Send what rooms said in this turn, and report what changed."""
        while self._unflushed:
            runners, self._unflushed = self._unflushed, []
            for runner in runners:
                runner.flush()
        if self._changed:
            self.report_changes()
        if self._ended_now:
            self._let_go()

    def _let_go(self) -> None:
        ended, self._ended_now = self._ended_now, []
        for runner in ended:
            if runner.mailbox.busy:  # a hook that was stopped has not come to its end
                self._ended_now.append(runner)
            else:
                runner.let_go()

    def report_changes(self) -> None:
        """See ``OrdersOut.report_changes``."""
        rooms, self._changed = self._changed, {}
        for room in rooms:
            runner = self.rooms.get(room)
            if runner is not None and runner.reports.open:
                self._on_report(runner.reports.summary())

    def run(self, mailbox: Mailbox, waiting: Awaitable[Any], then: Then) -> None:
        """See ``HookRunner.run``."""
        self._hooks.run(mailbox, waiting, then)

    def stop_hook(self, mailbox: Mailbox) -> None:
        """See ``RoomOutbox.stop_hook``."""
        self._hooks.stop(mailbox)

    def report(self, report: RoomReport) -> None:
        """See ``ReportsOut.report``."""
        if isinstance(report, RoomEnded):
            runner = self.rooms[report.room]
            self._changed.pop(report.room, None)
            self._forget(report.room)
            for seat in runner.seats:
                self.clear_alarm(runner.attendance.time_is_up, seat.key)
            self.clear_alarm(runner.catch_up)
            self.clear_alarm(runner.attendance.forget_farewells)
            self._ended.keep(runner.id, runner.farewells, runner.why)
            self._over_now(runner)
        self._on_report(report)

    def changed(self, room: str) -> None:
        """See ``ReportsOut.changed``."""
        self._changed[room] = None
        self._port.wake()

    def never_born(self, runner: Runner) -> None:
        """See ``OrdersOut.never_born``."""
        if self.rooms.get(runner.id) is runner:
            self._forget(runner.id)
        self._over_now(runner)

    def _hook_ended(self) -> None:
        if self._ended_now:
            self._port.wake()

    def _over_now(self, runner: Runner) -> None:
        self._ended_now.append(runner)
        self._port.wake()

    def _forget(self, room: str) -> None:
        self.rooms.pop(room, None)
        if not self.rooms:
            self._emptied.set()
            if self.draining:
                self._drained.set()
