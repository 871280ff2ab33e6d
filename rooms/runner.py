"""What happens in a room, decided: its life cycle, what members send, what it sends.

The runner calls the room's hooks through its mailbox, one event at a time, and
writes what must happen to the outbox that it was given. It owns no socket, task
or clock.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any
from typing import Protocol as Interface

from ..protocol.codec import check_type_name, pack_payload
from ..protocol.conflation import message_key
from ..protocol.errors import Code, ConfigError, RequestError, RoomBusy, RoomClosed
from ..protocol.ids import ROOM_TOPIC, Entropy, new_epoch, new_topic
from ..protocol.lifecycle import step
from ..protocol.limits import Limits
from ..protocol.messages import HEAD_SIZE, Item, encode_item
from ..protocol.names import Protocol
from ..protocol.rates import TokenBucket
from ..protocol.rulesets import RuleSet
from .answers import Answers
from .attendance import Attendance
from .audience import Audience, DownlinkDesk
from .control import RoomEnded
from .fanout import FramesOut, UnicastFanout
from .farewells import Farewells
from .handlers import handler_for
from .life import ROOM, RoomEvent, RoomState
from .lines import Line
from .mailbox import HookRunner, Mailbox
from .member import Member
from .patience import SHORTEST_PAUSE
from .privacy import Privacy
from .pulses import PulsingClock
from .reports import Reports, ReportsOut
from .room import Room
from .seats import Seat, Seats, SeatState
from .timers import Timers
from .topic import TopicFanout, TopicsOut

__all__ = ["RoomOutbox", "Runner"]

_BROADCAST = int(Item.BROADCAST)
_DIRECT = int(Item.DIRECT)
_DISPOSE_TIME = 5.0
_PLACES = 32
"""Places in an interval at which rooms tick: few enough that those of one place share a turn, and enough that what
250 rooms say at once is on its way within a millisecond."""
_RESET_HEAD = 64
"""Bytes of a RESET besides its snapshot, at most."""


class RoomOutbox(FramesOut, TopicsOut, DownlinkDesk, HookRunner, PulsingClock, ReportsOut, Interface):
    """Where a room writes what must happen."""

    def flush_later(self, runner: "Runner") -> None:
        """Call ``runner.flush`` before this turn ends."""

    def stop_hook(self, mailbox: Mailbox) -> None:
        """Cancel the async hook that is running, if there is one; it counts as raised."""


class Runner:
    """One room at work.

    Args:
        room: what the owner wrote.
        room_id: unique in the life of the server.
        type_name: what the room's class is registered as, or the class's name.
        ruleset: what its clients asked for.
        matched: whether its first members were matched: then the room is ready
            when all of them have come or failed to.
        limits: sizes of messages.
        out: where to write.
        entropy: where epoch and secrets come from.
        match: what the queue says that has put them together.
        access: how its creator wants it closed to strangers.
    """

    __slots__ = (
        "_limits",
        "_nesting",
        "_payload",
        "_retrying",
        "_state",
        "answers",
        "attendance",
        "audience",
        "draining",
        "fanout",
        "farewells",
        "id",
        "mailbox",
        "match",
        "matched",
        "members",
        "out",
        "privacy",
        "reports",
        "room",
        "seats",
        "timers",
        "type",
        "why",
    )

    def __init__(
        self,
        room: Room,
        room_id: str,
        type_name: str,
        ruleset: RuleSet,
        *,
        matched: bool,
        limits: Limits,
        out: RoomOutbox,
        entropy: Entropy,
        match: dict[str, Any] | None = None,
        access: dict[str, Any] | None = None,
    ) -> None:
        self.room = room
        self.id = room_id
        self.type = type_name
        self.out = out
        self.matched = matched
        self.match = match or {}
        """What the queue that made it says of the match."""
        self.privacy = Privacy(entropy)
        self.privacy.adopt(access or {})
        self.members: dict[int, Member] = {}
        self.seats = Seats(room.max_clients or ruleset.clients, entropy, room.max_spectators)
        parts = self.seats, self.privacy, self.members
        self.reports = Reports(room_id, type_name, ruleset.digest, *parts, limits.nesting, out)
        self.fanout: UnicastFanout | TopicFanout
        self.audience: Audience | None
        """The downlinks of the members, if the room is a topic."""
        self.fanout, self.audience = self._make_fanout(entropy, limits)
        self.farewells = Farewells(room_id, type_name, self.fanout)
        """What is kept for who is a member no more."""
        self.mailbox = Mailbox(room_id, out, room.on_error)
        self.timers = Timers(out, self.mailbox)
        self.attendance = Attendance(self)
        self.answers = Answers(self)
        self.draining = False
        """Whether members were told that the worker is taken out of service."""
        self._state = RoomState.CREATING
        self._retrying = False
        self._limits = limits
        self._payload = limits.download - HEAD_SIZE
        self._nesting = limits.nesting + 1
        room._bind(self, ruleset)  # noqa: SLF001  # the two halves of one thing

    def _make_fanout(
        self, entropy: Entropy, limits: Limits
    ) -> tuple[UnicastFanout, None] | tuple[TopicFanout, Audience]:
        room, epoch, latest = self.room, new_epoch(entropy), self.room.slow_members == "latest"
        if not room.is_topic(self.seats.capacity + self.seats.gallery):
            return UnicastFanout(epoch, room.history, limits.download, latest=latest), None
        topic = new_topic(ROOM_TOPIC, entropy)
        fanout = TopicFanout(epoch, room.history, limits.download, topic, latest=latest)
        return fanout, Audience(self, fanout, self.out, entropy)

    # Life cycle.

    @property
    def state(self) -> RoomState:
        """Where the room is in its life."""
        return self._state

    def create(self, options: dict[str, Any], then: Callable[[BaseException | None], None]) -> None:
        """Run ``on_create``; then the room is open, or was never born."""

        def created(result: Any, error: BaseException | None) -> None:
            if self._state is RoomState.CREATING:
                self._step(RoomEvent.FAIL if error is not None else RoomEvent.OPEN)
            if error is not None:
                self.timers.end()
            elif self._state is RoomState.OPEN and self.room.tick_rate:
                self.timers.tick(self.room.tick_rate, self.fanout.epoch % _PLACES / _PLACES, self.room.on_tick)
            then(error)

        self.mailbox.call("on_create", self.room.on_create, (options,), created)

    def close(self, code: Code, text: str) -> None:
        """End the room: every member leaves with this code, then it is disposed."""
        if self._state is RoomState.CREATING:
            raise ConfigError("a room that is being made can't be closed: raise in on_create instead")
        if self._state is not RoomState.OPEN:
            return
        self._step(RoomEvent.CLOSE)
        self.why = code
        self.seats.locked = True
        self.timers.end()
        self.out.alarm(self.out.now + _DISPOSE_TIME, self.dispose_now)
        self.mailbox.post(self._dismiss, code, text)

    def dispose_now(self) -> None:
        """The time to dispose is over: the room ends, whatever its hooks do."""
        if self._state is RoomState.CLOSING:
            self.out.stop_hook(self.mailbox)
            self.flush()
            self.attendance.dismiss_silently(Code.ROOM_CLOSED, RoomClosed.meaning)
            self._end(None, None)

    def abandon(self, code: Code, text: str) -> None:
        """Every member goes at once, whatever hooks are at work; then the room is disposed."""
        if self._state is RoomState.OPEN:
            self.flush()
            self.attendance.dismiss_silently(code, text)
            self.close(code, text)

    def drain(self, seconds: float) -> None:
        """The worker is taken out of service: tell the members, and let the room's owner end things well."""
        if self._state is RoomState.OPEN:
            self.mailbox.post(self._drain, seconds)

    def _drain(self, seconds: float) -> None:
        if self._state is RoomState.OPEN:
            self.draining = True
            self.broadcast(Protocol.Response.COMMAND, "draining")
            self.mailbox.call("on_drain", self.room.on_drain, (seconds,))

    def _dismiss(self, code: Code, text: str) -> None:
        # In one event: if a member's on_leave has to wait, the other members and the end queue up behind it.
        self.attendance.dismiss_all(code, text)
        self.mailbox.post(self._dispose)

    def _dispose(self) -> None:
        if self._state is RoomState.CLOSING:
            self.mailbox.call("on_dispose", self.room.on_dispose, (), self._end)

    def _end(self, result: Any, error: BaseException | None) -> None:
        if self._state is RoomState.CLOSING:
            self._step(RoomEvent.DISPOSE)
            self.out.clear_alarm(self.dispose_now)
            for client in self.seats.invited:
                self.attendance.uninvite(client)
            if self.audience is not None:
                self.audience.end()
            self.fanout.waiting = False  # what was said in this turn is for nobody
            if not self.farewells:
                self.fanout.forget()
            self.out.report(RoomEnded(self.id))

    def let_go(self) -> None:
        """Nothing happens in the room any more, and no hook is at work: cut the circles of its parts.

        Without them they are gone at once, and not when the cyclic collector looks, which it rarely does (see
        ``tuned_collector``). What the owner's code still holds may be used as before; it comes to nothing.
        """
        self.mailbox.forget()
        del self.room, self.attendance, self.audience, self.answers

    def _step(self, event: RoomEvent) -> None:
        self._state = step(ROOM, self._state, event)
        self.reports.open = self._state is RoomState.OPEN

    # Members.

    def invite(self, client: int, seconds: float | None) -> None:
        """Keep a seat for a client for so long; None: no more. A room that ends keeps none."""
        if self._state not in (RoomState.CREATING, RoomState.OPEN):
            return
        if seconds is None:
            self.attendance.uninvite(client)
        else:
            self.attendance.invite(client, seconds)

    def make_member(self, seat: Seat) -> Member:
        """A member for a seat that was claimed."""
        rate = self.room.message_rate
        bucket = None if rate is None else TokenBucket(rate, self.room.message_burst)
        line = Line(seat.key, self.fanout.offset, latest=self.room.slow_members == "latest")
        return Member(self, seat, line, bucket)

    def confirm(self, member: Member) -> None:
        """See ``Seats.confirm``."""
        self.seats.confirm(member.seat)

    def remove(self, member: Member, code: Code, text: str) -> None:
        """See ``Attendance.remove``."""
        if self._state is not RoomState.DISPOSED:
            self.attendance.remove(member, code, text)

    def lost(self, member: Member) -> None:
        """See ``Attendance.lost``."""
        self.attendance.lost(member)

    def message(self, member: Member, name: str, data: Any) -> None:
        """A member's message, numbered ``member.uplink``."""
        if not self.mailbox.busy:
            self._message(member, name, data, member.uplink)
        elif not self.mailbox.full:
            self.mailbox.post(self._message, member, name, data, member.uplink)
        else:
            member.refuse(RoomBusy(), member.uplink)

    def request(self, member: Member, number: int, name: str, data: Any) -> None:
        """A member's request."""
        self.answers.request(member, number, name, data)

    def acknowledge(self, member: Member) -> None:
        """Tell a member how far its messages are applied, once those before are."""
        self.mailbox.post_last(member.say_acknowledged, member.uplink)

    def _message(self, member: Member, name: str, data: Any, number: int) -> None:
        room, seat = self.room, member.seat
        if seat.state is SeatState.LEFT:
            return
        handler = room.handlers.messages.get(name)
        if handler is not None and handler.convert is None and not seat.spectator:  # the commonest: nothing to check
            self.mailbox.call(handler.name, handler.function, (room, member, data), None, member, number)
            return
        try:
            handler, data = handler_for(room.handlers.messages, name, data, spectator=member.spectator)
        except RequestError as error:
            member.refuse(error, number)
            return
        if handler is None:
            args = (name, data, member, member.seat.client)
            self.mailbox.call("handle_response", room.handle_response, args, None, member, number)
            return
        self.mailbox.call(handler.name, handler.function, (room, member, data), None, member, number)

    # What the room sends.

    def broadcast(
        self,
        name: str,
        data: Any,
        except_: Member | Iterable[Member] | None = None,
        key: str | int | None = None,
    ) -> None:
        """To all members, or all but some."""
        check_type_name(name)
        whole_key = None if key is None else message_key(name, key)
        item = pack_payload((_BROADCAST, name, data), self._payload, self._nesting)
        fanout = self.fanout
        if not fanout.waiting:
            if self._state is RoomState.DISPOSED:
                return  # no turn would end with it
            self._flush_later()
        if except_ is None:
            full = fanout.broadcast(item) if whole_key is None else fanout.broadcast_keyed(item, whole_key)
        else:
            excepted = (except_,) if isinstance(except_, Member) else except_
            # Ours alone: a line of another room would be sent what is said in this one.
            lines = [member.line for member in excepted if self.members.get(member.seat.key) is member]
            full = fanout.broadcast_except(item, lines, whole_key)
        if full:
            self.flush()

    def direct(self, member: Member, name: str, data: Any, key: str | int | None = None) -> None:
        """To one member."""
        check_type_name(name)
        whole_key = None if key is None else message_key(name, key)
        item = pack_payload((_DIRECT, member.line.last_direct + 1, name, data), self._payload, self._nesting)
        if member.seat.state is not SeatState.LEFT:
            self.send_item(member, item, whole_key)

    def tell_presence(self, event: str, member: Member) -> None:
        """Tell the others what happened to a member, if the room shows presence. Who only looks on is not shown."""
        if self.room.presence and not member.spectator:
            if not self.fanout.waiting:
                self._flush_later()
            if self.fanout.broadcast_except(encode_item(Item.PRESENCE, event, member.id), [member.line]):
                self.flush()

    def _flush_later(self) -> None:
        self.fanout.waiting = True
        self.out.flush_later(self)

    def flush(self) -> None:
        """End the turn: send what was said."""
        if self._state is RoomState.DISPOSED:
            return  # nobody is here to hear it
        fanout = self.fanout
        if fanout.waiting:
            fanout.flush(self.out, self.out.now)
            if self.audience is not None:
                self.audience.beat_later()
        if fanout.behind:
            self.retry_later()

    def retry_later(self) -> None:
        """Try again soon to send to those whose queue was full."""
        if not self._retrying:  # a room that talks all the time must not put it off all the time
            self._retrying = True
            self.out.alarm(self.out.now + SHORTEST_PAUSE, self.catch_up)

    def catch_up(self) -> None:
        """Try again to send to those whose queue was full."""
        self._retrying = False
        self.flush()
        for line in list(self.fanout.behind):
            member = self.members.get(line.key)
            if member is not None and member.admitted and line.patience.is_due(self.out.now):
                self.attendance.try_again(member)
        if self.fanout.behind:
            self.retry_later()

    def check_payload(self, data: Any) -> None:
        """Raise PayloadError for what no message can carry."""
        pack_payload(data, self._payload - _RESET_HEAD, self._limits.nesting)

    # What parts of the room send.

    def pack(self, item: tuple[Any, ...]) -> bytes:
        """Encode an item. Raises PayloadError."""
        return pack_payload(item, self._payload, self._nesting)

    def fits(self, item: bytes) -> bool:
        """Whether a message can carry an item that is encoded."""
        return len(item) <= self._payload

    def send_item(self, member: Member, item: bytes, key: Hashable | None) -> None:
        """Send an item to one member. It has the member's next direct number."""
        if not self.fanout.waiting:
            self._flush_later()
        if self.fanout.direct(member.line, item, self.out.now, key):
            self.flush()
