"""Who comes and goes: joining, dropping, coming back, leaving, and what follows from it."""

import logging
from typing import TYPE_CHECKING, Any

from ..protocol.errors import AddressInUse, CapacityReached, Code, ConfigError, JoinRefused, RoomClosed
from ..protocol.messages import Error, Joined, Reset, encode
from ..protocol.names import Protocol
from ..protocol.streams import Position
from ..transport.network import Sent
from .control import Seated, Unseated
from .fanout import UnicastFanout
from .farewells import KEPT, Farewell
from .member import Member
from .seats import Seat, SeatState
from .standstill import respite
from .uplink import Caller

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["Attendance"]

logger = logging.getLogger(__name__.partition(".rooms")[0] + ".rooms")

_HEARD_ENOUGH = (Code.LEFT, Code.TOO_SLOW)
"""Why a member is gone that is not to get the rest of what was said to it."""


class Attendance:
    """The comings and goings of one room's members."""

    __slots__ = ("_asks", "_away", "_here", "_runner", "_was_ready")

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._was_ready = False
        self._here = 0
        """How many are admitted that do not only look on."""
        self._asks: dict[int, int] = {}
        """Which JOIN of a member is not answered yet, by seat."""
        self._away: set[int] = set()
        """Whose drop was told, by seat: only then is the return."""

    # Coming.

    def join(self, seat: Seat, connection: Caller, ask: int, options: dict[str, Any]) -> None:
        """A seat was claimed for the first time."""
        runner = self._runner
        runner.out.clear_alarm(self.time_is_up, seat.key)
        member = runner.make_member(seat)
        member.attach(connection)
        self._asks[seat.key] = ask
        runner.members[seat.key] = member
        runner.mailbox.post(self._join, member, {**seat.options, **options})

    def come_back(self, seat: Seat, connection: Caller, ask: int, position: Position | None) -> None:
        """A seat was claimed again, on a new connection or on the same one.

        Args:
            seat: the seat, joined again.
            connection: where the client is now.
            ask: what to answer.
            position: what the client saw last; None if it does not know that it joined.
        """
        runner = self._runner
        runner.out.clear_alarm(self.time_is_up, seat.key)
        runner.flush()
        member = runner.members[seat.key]
        was_away = member.connection is None
        runner.fanout.disconnect(member.line)
        member.attach(connection)
        if not member.admitted:
            self._asks[seat.key] = ask  # on_join is still at work
        else:
            self._answer(member, ask, position)
            if was_away:
                runner.mailbox.post(self._reconnected, member)

    def bring_up(self, member: Member) -> None:
        """Send a member what it missed, or a RESET where that is gone. Flush before.

        What its queue does not take now is tried again soon.
        """
        runner, line, connection = self._runner, member.line, member.connection
        if connection is None:
            return
        if self._is_too_slow(member):
            fields = {"room": runner.id, "client": member.id}
            logger.info("room %s: client %d reads too slowly and is removed", runner.id, member.id, extra=fields)
            runner.fanout.disconnect(line)  # it is sent nothing more, however long its turn takes to come
            self.remove(member, Code.TOO_SLOW, "")
            return
        if runner.audience is not None:
            runner.audience.bring_up(member)
            return
        if not connection.clogged and not runner.fanout.can_catch_up(line):
            reset, seen = self.reset(member, member.ref), line.direct
            if runner.out.send(connection.peer, encode(reset)) is Sent.TAKEN:
                runner.fanout.jump(line)
                runner.answers.say_again(member, seen)
        if connection.clogged or not runner.fanout.catch_up(line, runner.out):
            runner.retry_later()

    def try_again(self, member: Member) -> None:
        """The same for a member whose queue was full."""
        runner, line = self._runner, member.line
        before = line.offset, line.direct
        fanout, connection = runner.fanout, member.connection
        in_vain = (
            line.patience.begin()
            and isinstance(fanout, UnicastFanout)
            and connection is not None
            and not connection.clogged
            and not self._is_too_slow(member)
            and not fanout.has_room(line, runner.out)
        )
        if not in_vain:
            self.bring_up(member)
        stuck = line.behind and before == (line.offset, line.direct)
        line.patience.end(runner.out.now, stuck=stuck, trial_failed=in_vain)

    def _is_too_slow(self, member: Member) -> bool:
        runner = self._runner
        if runner.room.slow_members != "close":
            return False
        # Who comes back has missed what was said meanwhile, and gets the same time to catch up.
        since = runner.fanout.missing_since(member.line)
        return since is not None and runner.out.now - max(since, member.since) > runner.room.most_lag

    def reset(self, member: Member, ref: int) -> Reset:
        """What a member is told who missed more than the history holds."""
        return Reset(ref, *self._runner.fanout.end(member.line), self._snapshot())

    def _join(self, member: Member, options: dict[str, Any]) -> None:
        runner = self._runner
        if member.seat.state is SeatState.LEFT:
            return  # the room was given up while it waited for its turn
        if runner.state.value != "open":
            self._refuse(member, RoomClosed.code, RoomClosed.meaning)
            return
        runner.flush()
        member.line.start = member.line.offset = runner.fanout.offset

        def joined(result: Any, error: BaseException | None) -> None:
            if member.seat.state is SeatState.LEFT:
                return  # the time of the room was over
            if error is not None:
                text = str(error) if isinstance(error, JoinRefused) else JoinRefused.meaning
                self._refuse(member, Code.JOIN_REFUSED, text)
            else:
                self._admit(member)

        runner.mailbox.call("on_join", runner.room.on_join, (member, options), joined)

    def _admit(self, member: Member) -> None:
        runner = self._runner
        member.admitted = True
        self._here += not member.spectator
        runner.out.report(Seated(runner.id, member.session, member.data))
        runner.tell_presence("join", member)
        runner.flush()
        ask = self._asks.pop(member.seat.key)
        if member.connection is not None:
            self._answer(member, ask, None)
        if runner.draining:  # who comes now has not heard it
            runner.direct(member, Protocol.Response.COMMAND, "draining")
        self._check_ready()
        runner.reports.changed()

    def _answer(self, member: Member, ask: int, position: Position | None) -> None:
        runner, line, connection = self._runner, member.line, member.connection
        assert connection is not None
        try:
            downlink = runner.audience.offer(member) if runner.audience is not None else None
        except (AddressInUse, ConfigError) as error:
            fields = {"room": runner.id, "client": member.id}
            logger.error("room %s: no way to client %d: %s", runner.id, member.id, error, extra=fields)
            connection.say(Error(0, ask, int(CapacityReached.code), "the worker has no port left", None))
            if position is None:  # who knows that it is a member tries again
                self.remove(member, Code.JOIN_REFUSED, "")
            return
        fanout = runner.fanout
        known = position is not None and position.epoch == fanout.epoch and position.offset >= line.start
        if position is not None and not known:
            # Another life, or a place before this member came: what was said then is not for it.
            position = Position(fanout.epoch, fanout.history.last + 1, 0)
        elif position is None:
            position = Position(fanout.epoch, line.start, 0)
            member.since = runner.out.now  # on_join may have taken its time
        fanout.connect(line, connection.peer, member.ref, position)
        connection.say(
            Joined(
                ask,
                member.ref,
                runner.id,
                runner.type,
                fanout.epoch,
                position.offset,
                position.direct,
                member.uplink,
                member.seat.token,
                downlink,
                self._info(member),
            )
        )
        self.bring_up(member)

    def _reconnected(self, member: Member) -> None:
        runner = self._runner
        if member.seat.state is SeatState.LEFT or member.seat.key not in self._away:
            return
        self._away.remove(member.seat.key)
        runner.tell_presence("reconnect", member)
        runner.mailbox.call("on_reconnect", runner.room.on_reconnect, (member,))

    def _refuse(self, member: Member, code: int, text: str) -> None:
        ask = self._asks.pop(member.seat.key, 0)
        if member.connection is not None:
            member.connection.say(Error(0, ask, int(code), text[:512], None))
        self._free(member)
        self._after_departure()

    # Going.

    def lost(self, member: Member) -> None:
        """A member's connection is gone: it has the grace period to come back."""
        runner = self._runner
        self._disconnect(member)
        grace = runner.room.reconnect_grace
        runner.seats.drop(member.seat, runner.out.now + grace)
        runner.out.alarm(runner.out.now + grace, self.time_is_up, member.seat.key)
        runner.mailbox.post(self._dropped, member)

    def time_is_up(self, seat_key: int) -> None:
        """A reservation or a grace period ran out."""
        runner = self._runner
        member = runner.members.get(seat_key)
        if member is not None:
            if member.seat.state is SeatState.DROPPED and not self._holds_on(member.seat, runner.room.reconnect_grace):
                self.remove(member, Code.GRACE_EXPIRED, "")
            return
        seat = runner.seats.get(seat_key)
        if seat is None or seat.state is not SeatState.RESERVED:
            return
        if not self._holds_on(seat, runner.room.reservation_time):
            self.give_up(seat)

    def give_up(self, seat: Seat) -> None:
        """A seat that is reserved is not wanted."""
        runner = self._runner
        if seat.state is SeatState.RESERVED:
            runner.out.clear_alarm(self.time_is_up, seat.key)
            runner.seats.expire(seat)
            runner.reports.changed()
            runner.reports.not_taken(seat.place)
            runner.mailbox.post(self._after_departure)

    def _holds_on(self, seat: Seat, most: float) -> bool:
        """Whether a seat is kept for longer, ``most`` seconds at most: its time ran out while this process was late, or
        stood still, and whoever has it may have come long ago."""
        runner = self._runner
        assert seat.deadline is not None
        until = respite(seat.deadline, runner.out.now, seat.waits, most)
        if until is None:
            return False
        seat.waits += 1
        seat.deadline = until
        runner.out.alarm(seat.deadline, self.time_is_up, seat.key)
        return True

    # Invitations.

    def invite(self, client: int, seconds: float) -> None:
        """See ``Room.invite``."""
        runner = self._runner
        runner.seats.invite(client)
        runner.out.clear_alarm(self.uninvite, client)
        runner.out.alarm(runner.out.now + seconds, self.uninvite, client)
        runner.reports.changed()

    def uninvite(self, client: int) -> None:
        """See ``Room.uninvite``."""
        runner = self._runner
        if runner.seats.uninvite(client):
            runner.out.clear_alarm(self.uninvite, client)
            runner.reports.changed()
            runner.mailbox.post(self._after_departure)

    def remove(self, member: Member, code: Code, text: str) -> None:
        """A member goes, in its turn."""
        self._runner.mailbox.post(self._remove, member, code, text)

    def dismiss_all(self, code: Code, text: str) -> None:
        """Every member goes."""
        for member in list(self._runner.members.values()):
            self.remove(member, code, text)

    def dismiss_silently(self, code: Code, text: str) -> None:
        """Every member goes, and no hook is asked. Flush before."""
        for member in list(self._runner.members.values()):
            ask = self._asks.pop(member.seat.key, None)
            if ask is None:
                self._say_left(member, code, text)
            elif member.connection is not None:  # its on_join has not ended: it knows no reference that could be over
                member.connection.say(Error(0, ask, int(code), text[:512], None))
            self._free(member)

    def _dropped(self, member: Member) -> None:
        runner = self._runner
        if member.seat.state is SeatState.DROPPED and member.admitted and member.seat.key not in self._away:
            self._away.add(member.seat.key)
            runner.tell_presence("drop", member)
            runner.mailbox.call("on_drop", runner.room.on_drop, (member,))

    def _remove(self, member: Member, code: Code, text: str) -> None:
        runner = self._runner
        if member.seat.state is SeatState.LEFT or (
            code is Code.GRACE_EXPIRED and member.seat.state is not SeatState.DROPPED
        ):
            return
        runner.flush()
        self._say_left(member, code, text)
        self._free(member)
        runner.tell_presence("leave", member)

        def left(result: Any, error: BaseException | None) -> None:
            self._after_departure()

        runner.mailbox.call("on_leave", runner.room.on_leave, (member, code), left)

    def _say_left(self, member: Member, code: Code, text: str) -> None:
        runner, seat = self._runner, member.seat
        text, end = text[:512], runner.fanout.end(member.line)
        # While the room goes on, who leaves is cut from what it says at once.
        if runner.audience is not None and runner.state.value == "closing":
            runner.audience.say_farewell(member, int(code), text, end)
        member.say_left(code, text, end)
        if code not in _HEARD_ENOUGH:
            until = runner.out.now + KEPT
            held = runner.fanout.held()
            farewell = Farewell(seat.token, seat.owner, member.line, end, member.uplink, int(code), text, until, held)
            runner.farewells.keep(farewell, seat.tokens())
            self.forget_farewells()

    def forget_farewells(self) -> None:
        """Forget those who are gone for long."""
        runner = self._runner
        when = runner.farewells.expire(runner.out.now)
        if when is not None:
            runner.out.alarm(when, self.forget_farewells)

    def _free(self, member: Member) -> None:
        runner = self._runner
        runner.out.clear_alarm(self.time_is_up, member.seat.key)
        self._disconnect(member)
        member.detach()
        runner.seats.leave(member.seat)
        del runner.members[member.seat.key]
        self._away.discard(member.seat.key)
        if member.admitted:
            self._here -= not member.spectator
            runner.out.report(Unseated(runner.id, member.session))
        runner.reports.changed()

    def _disconnect(self, member: Member) -> None:
        self._runner.fanout.disconnect(member.line)
        if self._runner.audience is not None:
            self._runner.audience.part_with(member)

    # What follows.

    def _check_ready(self) -> None:
        runner, here = self._runner, self._here
        if self._was_ready or here < runner.room.min_clients:
            return
        full = here == runner.seats.capacity
        settled = runner.matched and not runner.seats.reserved and here == len(runner.seats)
        if full or settled:
            self._was_ready = True
            runner.mailbox.post(runner.mailbox.call, "ready", runner.room.ready, ())

    def _after_departure(self) -> None:
        runner = self._runner
        if runner.state.value != "open":
            return
        self._check_ready()
        taken, least = len(runner.seats), runner.room.min_clients
        nobody_more_comes = self._was_ready or (runner.matched and not runner.seats.reserved)
        if taken < least and (nobody_more_comes or not taken):
            text = f"fewer than {least} are left" if least > 1 else ""
            runner.close(Code.BELOW_MINIMUM if taken else Code.ROOM_CLOSED, text)

    def _info(self, member: Member) -> dict[str, Any]:
        runner = self._runner
        info: dict[str, Any] = {
            "max_clients": runner.seats.capacity,
            "min_clients": runner.room.min_clients,
            "metadata": runner.reports.metadata,
        }
        if member.spectator:
            info["spectator"] = True
        if runner.room.presence:
            members = runner.members.values()
            info["members"] = [one.id for one in members if one.admitted and not one.spectator]
        return info

    def _snapshot(self) -> Any:
        runner = self._runner
        try:
            snapshot = runner.room.snapshot()
            runner.check_payload(snapshot)
            return snapshot
        except Exception as error:  # noqa: BLE001  # contained like every hook
            runner.mailbox.failed("snapshot", error)
            return None
