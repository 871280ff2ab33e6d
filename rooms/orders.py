"""What a broker orders of a worker: rooms, seats, and to close, to kick, to tell."""

import logging
from collections.abc import Callable
from typing import Any, Protocol

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
)
from ..protocol.ids import Entropy
from ..protocol.limits import Limits
from ..protocol.rulesets import RuleSet
from .control import (
    CloseRoom,
    Drain,
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
    RoomReport,
    SeatWish,
)
from .inspection import describe
from .life import RoomState
from .room import Room
from .runner import RoomOutbox, Runner
from .seats import Seat

__all__ = ["Orders", "OrdersOut", "RoomFactory"]

logger = logging.getLogger(__name__.partition(".rooms")[0] + ".rooms")

_CODES = frozenset(map(int, Code))

RoomFactory = Callable[[RuleSet], tuple[str, Room]]
"""Makes the room for a ruleset and names its type. Raises UnknownRoomType."""


class OrdersOut(RoomOutbox, Protocol):
    """The worker, as orders need it: it has the rooms, and is their outbox."""

    rooms: dict[str, Runner]
    stopping: bool
    """Whether no more rooms are made, as the process ends."""
    draining: bool
    """Whether no more rooms are made, as the worker is taken out of service."""

    def drain(self, within: float, code: Code) -> None:
        """Make no new rooms; let those that are there end, and close what is left after ``within`` seconds."""

    def report_changes(self) -> None:
        """Tell the broker now what rooms look like that have changed."""

    def never_born(self, runner: Runner) -> None:
        """A room that was to be made is none."""


class Orders:
    """Does what the broker asks.

    Args:
        worker: whose rooms.
        make_room: called with a ruleset for each new room.
        tell: gets the answers.
        limits: of what clients may send.
        entropy: where secrets come from.
    """

    def __init__(
        self,
        worker: OrdersOut,
        make_room: RoomFactory,
        tell: Callable[[RoomReport], None],
        limits: Limits,
        entropy: Entropy,
    ) -> None:
        self._worker = worker
        self._make_room = make_room
        self._tell = tell
        self._limits = limits
        self._entropy = entropy
        self._takes: dict[type[Order], Callable[[Any], None]] = {
            OpenRoom: self._open,
            ReserveSeats: self._reserve,
            ReleaseSeats: self._release,
            CloseRoom: self._act_on_room,
            Kick: self._act_on_room,
            Drain: self._drain,
            Inspect: self._inspect,
        }

    def take(self, order: Order) -> None:
        """Do what the broker asks."""
        self._takes[type(order)](order)

    def _drain(self, order: Drain) -> None:
        self._worker.drain(order.within, Code(order.code) if order.code in _CODES else Code.WORKER_DRAINED)

    def _inspect(self, order: Inspect) -> None:
        runner = self._worker.rooms.get(order.room)
        if runner is None:
            self._tell(Failed(order.ask, int(RoomNotFound.code), RoomNotFound.meaning))
        else:
            self._tell(Inspected(order.ask, describe(runner)))

    def _act_on_room(self, order: CloseRoom | Kick) -> None:
        runner = self._worker.rooms.get(order.room)
        if runner is not None and runner.state is RoomState.CREATING and isinstance(order, CloseRoom):
            # The broker has waited long enough, or has asked somebody else meanwhile.
            self._worker.stop_hook(runner.mailbox)
            return
        if runner is None or runner.state is not RoomState.OPEN:
            return
        if isinstance(order, CloseRoom):
            runner.close(Code(order.code) if order.code in _CODES else Code.ROOM_CLOSED, order.text)
            return
        for member in [member for member in runner.members.values() if member.id == order.client]:
            runner.remove(member, Code.KICKED, order.text)

    # Rooms and seats.

    def _open(self, wanted: OpenRoom) -> None:
        def refuse(error: RemoteError) -> None:
            self._tell(Refused(wanted.ask, error.code, error.text))

        if self._worker.stopping or self._worker.draining:
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
            limits=self._limits,
            out=self._worker,
            entropy=self._entropy,
        )
        if len(wanted.seats) > runner.seats.capacity:  # nobody looks on who makes a room
            self._worker.never_born(runner)
            refuse(RoomFull(f"{type_name} has {runner.seats.capacity} seats; {len(wanted.seats)} are needed"))
            return
        self._worker.rooms[wanted.room] = runner

        def created(error: BaseException | None) -> None:
            if error is not None:
                self._worker.never_born(runner)
                refuse(error if isinstance(error, RequestError) else RoomFailed())
            elif self._worker.stopping or self._worker.draining:
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
        return WorkerDrained() if self._worker.draining else RoomFailed("the server is stopping")

    def _reserve(self, wanted: ReserveSeats) -> None:
        runner = self._worker.rooms.get(wanted.room)
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
            self._tell(Refused(wanted.ask, error.code, error.text))
            if runner is not None:
                runner.reports.seeking_changed()  # it was asked for what it does not seek any more

    def _hold(self, runner: Runner, wishes: list[SeatWish]) -> list[Seat]:
        """Hold a seat for each. Raises RequestError."""
        deadline = self._worker.now + runner.room.reservation_time
        if len(wishes) > 1 and not runner.seats.have_room(wish.client.ID for wish in wishes):
            raise RoomFull
        seats = [
            runner.seats.reserve(
                wish.session, wish.client, wish.options, deadline, wish.key, wish.place, spectator=wish.spectates
            )
            for wish in wishes
        ]
        for seat in seats:
            self._worker.alarm(deadline, runner.attendance.time_is_up, seat.key)
        return seats

    def _say_held(self, runner: Runner, ask: int, seats: list[Seat]) -> None:
        runner.reports.changed()
        self._worker.report_changes()  # the directory knows the room before anybody can ask for it
        reservations = [seat.reservation for seat in seats]
        self._tell(Reserved(ask, runner.id, reservations, runner.room.reservation_time))

    def _release(self, wanted: ReleaseSeats) -> None:
        for runner in filter(None, map(self._worker.rooms.get, wanted.rooms)):
            for seat in runner.seats.of(wanted.session):
                member = runner.members.get(seat.key)
                if member is None:
                    runner.attendance.give_up(seat)
                elif wanted.joined or runner.seats.is_unknown(seat):
                    runner.attendance.remove(member, Code.LEFT, "the session ended")
