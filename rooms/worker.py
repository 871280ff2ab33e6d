"""The worker: hosts rooms, and is the shell around their runners.

It owns the tasks of async hooks and the one timer behind all deadlines; frames
go through the port that it shares with the broker, or has for itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from ..protocol.errors import (
    AlreadyWaiting,
    Code,
    RemoteError,
    RequestError,
    RoomFailed,
    RoomFull,
    RoomNotFound,
    ServerStopping,
    WorkerDrained,
    WorkerLost,
    error_for,
)
from ..protocol.ids import Entropy
from ..protocol.messages import Join, Recover
from ..protocol.rulesets import RuleSet
from ..protocol.streams import Position
from ..transport.network import Publisher, PublisherSink, Sent
from .audience import DownlinkOfMember
from .control import (
    CloseRoom,
    Drain,
    Draining,
    Failed,
    Inspect,
    Inspected,
    Kick,
    OpenRoom,
    Order,
    Refused,
    ReleaseSeats,
    Reserved,
    ReserveSeats,
    RoomEnded,
    RoomReport,
    RoomUpdated,
    SeatWish,
)
from .downlinks import Downlinks
from .ended import EndedRooms
from .inspection import describe
from .life import RoomState
from .mailbox import Mailbox, Then
from .port import Connection, Port
from .room import Room
from .runner import Runner
from .seats import Seat

__all__ = ["RoomFactory", "Worker"]

logger = logging.getLogger(__name__.partition(".rooms")[0] + ".rooms")

_CODES = frozenset(map(int, Code))

RoomFactory = Callable[[RuleSet], tuple[str, Room]]
"""Makes the room for a ruleset and names its type. Raises UnknownRoomType."""


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
        self._over = False
        self._drain_until = 0.0
        self._port = port
        self.alarm = port.alarm
        self.clear_alarm = port.clear_alarm
        self._make_room = make_room
        self._on_report = on_report
        self._entropy = entropy
        self._carries_sessions = carries_sessions
        self._downlinks = Downlinks(open_publisher, entropy, port.wake)
        self._loop = asyncio.get_running_loop()
        self._unflushed: list[Runner] = []
        self._updates: dict[str, RoomUpdated] = {}
        self._ended_now: list[Runner] = []
        """Rooms that have ended, in this turn or while a hook was at work."""
        self._hooks: dict[Mailbox, asyncio.Task[None]] = {}
        self._stopped: set[Mailbox] = set()
        """Whose hooks are about to be cancelled."""
        self._ended = EndedRooms(port)
        self._emptied = asyncio.Event()
        self._drained = asyncio.Event()
        port.on_room_message = self.on_room_message

    # What the broker asks.

    def order(self, order: Order) -> None:
        """Do what the broker asks; the answer goes to ``on_report``."""
        if isinstance(order, OpenRoom):
            self._open(order)
        elif isinstance(order, ReserveSeats):
            self._reserve(order)
        elif isinstance(order, ReleaseSeats):
            self._release(order)
        elif isinstance(order, Drain):
            self.drain(order.within, Code(order.code) if order.code in _CODES else Code.WORKER_DRAINED)
        elif isinstance(order, Inspect):
            self._inspect(order)
        else:
            self._act_on_room(order)

    def _inspect(self, order: Inspect) -> None:
        runner = self.rooms.get(order.room)
        if runner is None:
            self._on_report(Failed(order.ask, int(RoomNotFound.code), RoomNotFound.meaning))
        else:
            self._on_report(Inspected(order.ask, describe(runner)))

    def _act_on_room(self, order: CloseRoom | Kick) -> None:
        runner = self.rooms.get(order.room)
        if runner is not None and runner.state is RoomState.CREATING and isinstance(order, CloseRoom):
            self.stop_hook(runner.mailbox)  # the broker has waited long enough, or has asked somebody else meanwhile
            return
        if runner is None or runner.state is not RoomState.OPEN:
            return
        if isinstance(order, CloseRoom):
            runner.close(Code(order.code) if order.code in _CODES else Code.ROOM_CLOSED, order.text)
            return
        for member in [member for member in runner.members.values() if member.id == order.client]:
            runner.remove(member, Code.KICKED, order.text)

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
        self._over = True
        hooks = list(self._hooks.values())
        for task in hooks:
            self._loop.call_soon(task.cancel)  # see stop_hook
        if hooks:
            await asyncio.wait(hooks, timeout=1.0)
        self.rooms.clear()
        self._ended.clear()
        self._downlinks.close()

    def _open(self, wanted: OpenRoom) -> None:
        def refuse(error: RemoteError) -> None:
            self._on_report(Refused(wanted.ask, error.code, error.text))

        if self.stopping or self.draining:
            refuse(self._why_no_rooms())
            return
        try:
            type_name, room = self._make_room(wanted.ruleset)
        except RequestError as error:
            refuse(error)
            return
        except Exception:
            logger.exception(
                "room %s: create_room raised for %r", wanted.room, wanted.ruleset, extra={"room": wanted.room}
            )
            refuse(RoomFailed())
            return
        runner = Runner(
            room,
            wanted.room,
            type_name,
            wanted.ruleset,
            matched=wanted.matched,
            match=wanted.match,
            access=wanted.access,
            limits=self._port.limits,
            out=self,
            entropy=self._entropy,
        )
        if len(wanted.seats) > runner.seats.capacity:  # nobody looks on who makes a room
            self._over_now(runner)
            refuse(RoomFull(f"{type_name} has {runner.seats.capacity} seats; {len(wanted.seats)} are needed"))
            return
        self.rooms[wanted.room] = runner

        def created(error: BaseException | None) -> None:
            if error is not None:
                self._forget(wanted.room)
                self._over_now(runner)
                refuse(error if isinstance(error, RequestError) else RoomFailed())
            elif self.stopping or self.draining:
                runner.close(Code.SERVER_STOPPING, ServerStopping.meaning)
                refuse(self._why_no_rooms())
            else:
                # A lock, also one of on_create, is for those who come later.
                locked, runner.seats.locked = runner.seats.locked or wanted.matched, False
                try:
                    seats = self._hold(runner, wanted.seats)
                except RequestError as full:  # on_create has invited others into the seats
                    runner.close(Code.ROOM_CLOSED, "nobody whom this room was made for has a seat in it")
                    refuse(full)
                    return
                runner.seats.locked = locked
                self._say_held(runner, wanted.ask, seats)

        runner.create({**wanted.ruleset.criteria, **wanted.options}, created)

    def _why_no_rooms(self) -> RemoteError:
        # Another worker can make what one that drains does not.
        return WorkerDrained() if self.draining else RoomFailed("the server is stopping")

    def _reserve(self, wanted: ReserveSeats) -> None:
        runner = self.rooms.get(wanted.room)
        try:
            if runner is None or runner.state is not RoomState.OPEN:
                raise RoomNotFound
            # The broker may not know yet that a session is in here.
            if any(runner.seats.of(wish.session) for wish in wanted.seats):
                raise AlreadyWaiting("this client is in that room already")
            for wish in wanted.seats:
                invited = runner.seats.is_invited(wish.client.ID) and not wish.spectates
                if wish.place is None and not invited:  # whom a queue sends has not come by itself
                    runner.privacy.check(wish.access.get("password"), picked=wanted.picked)
            places = [wish.place for wish in wanted.seats if wish.place is not None]
            if places and runner.seats.free >= len(wanted.seats):
                seeker = runner.reports.seeker
                if seeker is None:
                    raise RoomFull("the room seeks nobody")
                seeker.take(places)
            self._say_held(runner, wanted.ask, self._hold(runner, wanted.seats))
        except RequestError as error:
            self._on_report(Refused(wanted.ask, error.code, error.text))
            if runner is not None:
                runner.reports.seeking_changed()  # it was asked for what it does not seek any more

    def _hold(self, runner: Runner, wishes: list[SeatWish]) -> list[Seat]:
        """Hold a seat for each. Raises RequestError."""
        deadline = self.now + runner.room.reservation_time
        if len(wishes) > 1 and not runner.seats.have_room(wish.client.ID for wish in wishes):
            raise RoomFull
        seats = [
            runner.seats.reserve(
                wish.session, wish.client, wish.options, deadline, wish.key, wish.place, spectator=wish.spectates
            )
            for wish in wishes
        ]
        for seat in seats:
            self.alarm(deadline, runner.attendance.time_is_up, seat.key)
        return seats

    def _say_held(self, runner: Runner, ask: int, seats: list[Seat]) -> None:
        runner.reports.changed()
        self._report_updates()  # the directory knows the room before anybody can ask for it
        reservations = [seat.reservation for seat in seats]
        self._on_report(Reserved(ask, runner.id, reservations, runner.room.reservation_time))

    def _release(self, wanted: ReleaseSeats) -> None:
        for runner in filter(None, map(self.rooms.get, wanted.rooms)):
            for seat in runner.seats.of(wanted.session):
                member = runner.members.get(seat.key)
                if member is None:
                    runner.attendance.give_up(seat)
                elif wanted.joined:
                    runner.attendance.remove(member, Code.LEFT, "the session ended")

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
        if self._updates:
            self._report_updates()
        if self._ended_now:
            self._let_go()

    def _let_go(self) -> None:
        ended, self._ended_now = self._ended_now, []
        for runner in ended:
            if runner.mailbox.busy:  # a hook that was stopped has not come to its end
                self._ended_now.append(runner)
            else:
                runner.let_go()

    def _report_updates(self) -> None:
        updates, self._updates = self._updates, {}
        for update in updates.values():
            self._on_report(update)

    def run(self, mailbox: Mailbox, waiting: Awaitable[Any], then: Then) -> None:
        """See ``HookRunner.run``."""
        self._hooks[mailbox] = self._loop.create_task(self._await(mailbox, waiting, then))

    def stop_hook(self, mailbox: Mailbox) -> None:
        """See ``RoomOutbox.stop_hook``."""
        task = self._hooks.get(mailbox)
        if task is not None:
            self._stopped.add(mailbox)
            self._loop.call_soon(self._cancel, mailbox, task)  # before its first step, it would never begin nor end

    def _cancel(self, mailbox: Mailbox, task: "asyncio.Task[None]") -> None:
        self._stopped.discard(mailbox)
        task.cancel()

    def report(self, report: RoomReport) -> None:
        """See ``ReportsOut.report``."""
        if isinstance(report, RoomUpdated):
            self._updates[report.room] = report
            self._port.wake()
            return
        if isinstance(report, RoomEnded):
            runner = self.rooms[report.room]
            self._updates.pop(report.room, None)
            self._forget(report.room)
            for seat in runner.seats:
                self.clear_alarm(runner.attendance.time_is_up, seat.key)
            self.clear_alarm(runner.catch_up)
            self.clear_alarm(runner.attendance.forget_farewells)
            self._ended.keep(runner.id, runner.farewells, runner.why)
            self._over_now(runner)
        self._on_report(report)

    def _over_now(self, runner: Runner) -> None:
        self._ended_now.append(runner)
        self._port.wake()

    def _forget(self, room: str) -> None:
        self.rooms.pop(room, None)
        if not self.rooms:
            self._emptied.set()
            if self.draining:
                self._drained.set()

    async def _await(self, mailbox: Mailbox, waiting: Awaitable[Any], then: Then) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = await waiting
        except asyncio.CancelledError as cancelled:  # by stop_hook or by the hook itself
            error = cancelled
        except (Exception, SystemExit) as raised:  # noqa: BLE001  # a hook may raise anything
            error = raised
        finally:
            self._hooks.pop(mailbox, None)
            if mailbox in self._stopped:
                self._stopped.discard(mailbox)
                error = error or asyncio.CancelledError()  # over with its first step, before it could be cancelled
        if self._over:
            return
        self._port.touch()
        try:
            mailbox.finished(then, result, error)
        finally:
            del error  # its traceback is of this very frame
        if self._ended_now:
            self._port.wake()
