"""What happens in a room, decided: its life cycle, what members send, what it sends.

    creating ──open──▶ open ──close──▶ closing ──dispose──▶ disposed
        │                                                      ▲
        └───────────────────────fail───────────────────────────┘

The runner calls the room's hooks through its mailbox, one event at a time, and
writes what must happen to the outbox that it was given. It owns no socket, task
or clock.
"""

from collections.abc import Callable, Hashable, Iterable
from enum import Enum
from typing import Any
from typing import Protocol as Interface

from ..protocol.codec import check_type_name, pack_payload
from ..protocol.conflation import message_key
from ..protocol.errors import (
    BadPayload,
    Code,
    ConfigError,
    HandlerFailed,
    NoHandler,
    NotForSpectators,
    PayloadError,
    RequestError,
    RoomBusy,
    RoomClosed,
)
from ..protocol.ids import ROOM_TOPIC, Entropy, new_epoch, new_topic
from ..protocol.lifecycle import Table, step
from ..protocol.limits import Limits
from ..protocol.messages import HEAD_SIZE, Item, encode_item
from ..protocol.names import Protocol
from ..protocol.rates import TokenBucket
from ..protocol.rulesets import RuleSet
from ..protocol.streams import renumbered
from .attendance import Attendance
from .audience import Audience, DownlinkDesk
from .control import RoomEnded, RoomReport, RoomUpdated, Seeking
from .fanout import FramesOut, UnicastFanout
from .farewells import Farewells
from .lines import Line
from .mailbox import HookRunner, Mailbox
from .member import Member
from .patience import SHORTEST_PAUSE
from .privacy import Privacy
from .room import Room
from .seats import Seat, Seats, SeatState
from .seeking import Seeker
from .timers import AlarmClock, Timers
from .topic import TopicFanout, TopicsOut

__all__ = ["ROOM", "RoomEvent", "RoomOutbox", "RoomState", "Runner"]

_BROADCAST = int(Item.BROADCAST)
_DIRECT = int(Item.DIRECT)
_MOST_EVENTS = 1024
"""Messages that wait while an async hook runs; more are refused as ROOM_BUSY."""
_DISPOSE_TIME = 5.0
_MOST_METADATA = 4096
_PHASES = 16
"""Places in an interval at which rooms tick: few enough that those of one place share a turn."""
_MOST_DESCRIBED = 500
"""Members that an administrator is shown of one room."""
_RESET_HEAD = 64
"""Bytes of a RESET besides its snapshot, at most."""


class RoomState(Enum):
    """Where a room is in its life."""

    CREATING = "creating"
    OPEN = "open"
    CLOSING = "closing"
    DISPOSED = "disposed"


class RoomEvent(Enum):
    """What happens to a room."""

    OPEN = "open"
    FAIL = "fail"
    CLOSE = "close"
    DISPOSE = "dispose"


ROOM: Table[RoomState, RoomEvent] = {
    RoomState.CREATING: {RoomEvent.OPEN: RoomState.OPEN, RoomEvent.FAIL: RoomState.DISPOSED},
    RoomState.OPEN: {RoomEvent.CLOSE: RoomState.CLOSING},
    RoomState.CLOSING: {RoomEvent.DISPOSE: RoomState.DISPOSED},
    RoomState.DISPOSED: {},
}


class RoomOutbox(FramesOut, TopicsOut, DownlinkDesk, HookRunner, AlarmClock, Interface):
    """Where a room writes what must happen."""

    def flush_later(self, runner: "Runner") -> None:
        """Call ``runner.flush`` before this turn ends."""

    def stop_hook(self, mailbox: Mailbox) -> None:
        """Cancel the async hook that is running, if there is one; it counts as raised."""

    def report(self, runner: "Runner", report: RoomReport) -> None:
        """Tell the broker."""


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
        "metadata",
        "out",
        "privacy",
        "room",
        "ruleset",
        "seats",
        "seeker",
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
        self.seeker: Seeker | None = None
        """What it seeks of a queue."""
        self.metadata: dict[str, Any] = {}
        self.ruleset = ruleset.digest
        """What names its ruleset."""
        self.privacy = Privacy(entropy)
        self.privacy.adopt(access or {})
        self.members: dict[int, Member] = {}
        self.seats = Seats(room.max_clients or ruleset.clients, entropy, room.max_spectators)
        self.fanout: UnicastFanout | TopicFanout
        self.audience: Audience | None
        """The downlinks of the members, if the room is a topic."""
        self.fanout, self.audience = self._make_fanout(entropy, limits)
        self.farewells = Farewells(room_id, type_name, self.fanout)
        """What is kept for who is a member no more."""
        self.mailbox = Mailbox(room_id, out, room.on_error)
        self.timers = Timers(out, self.mailbox)
        self.attendance = Attendance(self)
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
                self.timers.tick(self.room.tick_rate, self.room.on_tick, self.fanout.epoch % _PHASES / _PHASES)
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
            self.out.report(self, RoomEnded(self.id))

    def let_go(self) -> None:
        """Nothing happens in the room any more, and no hook is at work: cut the circles of its parts.

        Without them they are gone at once, and not when the cyclic collector looks, which it rarely does (see
        ``tuned_collector``). What the owner's code still holds may be used as before; it comes to nothing.
        """
        self.mailbox.forget()
        del self.room, self.attendance, self.audience

    def _step(self, event: RoomEvent) -> None:
        self._state = step(ROOM, self._state, event)

    # What members send and are told.

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
        elif len(self.mailbox) < _MOST_EVENTS:
            self.mailbox.post(self._message, member, name, data, member.uplink)
        else:
            member.refuse(RoomBusy(), member.uplink)

    def request(self, member: Member, number: int, name: str, data: Any) -> None:
        """A member's request."""
        if len(self.mailbox) < _MOST_EVENTS:
            self.mailbox.post(self._request, member, number, name, data)
        else:
            member.refuse(RoomBusy(), number)

    def acknowledge(self, member: Member) -> None:
        """Tell a member how far its messages are applied, once those before are."""
        self.mailbox.post_last(member.say_acknowledged, member.uplink)

    def _message(self, member: Member, name: str, data: Any, number: int) -> None:
        room = self.room
        handler = room.handlers.messages.get(name)
        if member.seat.state is SeatState.LEFT:
            return
        if member.spectator and not (handler is not None and handler.spectators):
            member.refuse(NotForSpectators(), number)
            return
        if handler is None:
            args = (name, data, member, member.seat.client)
            self.mailbox.call("handle_response", room.handle_response, args, None, member, number)
            return
        if handler.convert is not None:
            try:
                data = handler.convert(data)
            except BadPayload as error:
                member.refuse(error, number)
                return
        self.mailbox.call(handler.name, handler.function, (room, member, data), None, member, number)

    def _request(self, member: Member, number: int, name: str, data: Any) -> None:
        if member.seat.state is SeatState.LEFT:
            return
        handler = self.room.handlers.requests.get(name)
        if member.spectator and not (handler is not None and handler.spectators):
            self._fail(member, number, NotForSpectators())
            return
        if handler is None:
            self._fail(member, number, NoHandler(f"the room answers no request {name!r}"))
            return
        if handler.convert is not None:
            try:
                data = handler.convert(data)
            except BadPayload as error:
                self._fail(member, number, error)
                return

        def replied(result: Any, error: BaseException | None) -> None:
            if error is not None:
                self._fail(member, number, error if isinstance(error, RequestError) else HandlerFailed())
                return
            try:
                self._send_direct(member, Item.REPLY, number, result)
            except PayloadError as problem:
                self._fail(member, number, HandlerFailed(f"the reply can't be sent: {problem}"))

        self.mailbox.call(handler.name, handler.function, (self.room, member, data), replied)

    def _fail(self, member: Member, number: int, error: RequestError) -> None:
        try:
            self._send_direct(member, Item.FAILURE, number, int(error.code), error.text[:512], error.data)
        except PayloadError as problem:  # what a handler puts into its error is a payload as well
            text = f"the error can't be sent: {problem}"
            self._send_direct(member, Item.FAILURE, number, int(Code.HANDLER_FAILED), text[:512], None)

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
        self._send_direct(member, Item.DIRECT, name, data, key=None if key is None else message_key(name, key))

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

    def _send_direct(self, member: Member, kind: Item, *fields: Any, key: Hashable | None = None) -> None:
        number = member.line.last_direct + 1
        item = pack_payload((int(kind), number, *fields), self._payload, self._nesting)
        if member.seat.state is SeatState.LEFT:
            return
        if kind is not Item.DIRECT:
            member.remember(fields[0], number, item)
        self._send_item(member, item, key)

    def _send_item(self, member: Member, item: bytes, key: Hashable | None) -> None:
        if not self.fanout.waiting:
            self._flush_later()
        if self.fanout.direct(member.line, item, self.out.now, key):
            self.flush()

    def reply_again(self, member: Member, seen: int) -> None:
        """A member is reset, and has seen its direct items up to ``seen``: what its requests were answered is no loss.

        Flush before.
        """
        for request, older in member.replies.after(seen) if member.replies is not None else ():
            number = member.line.last_direct + 1
            item = renumbered(older, number)
            if len(item) > self._payload:  # its number takes more bytes than the older one
                self._fail(member, request, HandlerFailed("the reply is lost"))
                continue
            member.remember(request, number, item)
            self._send_item(member, item, None)

    # What the directory knows.

    def set_locked(self, locked: bool) -> None:
        """Take new members, or none."""
        self.seats.locked = locked
        self.report()

    def invite(self, client: int, seconds: float | None) -> None:
        """Keep a seat for a client for so long; None: no more. A room that ends keeps none."""
        if self._state not in (RoomState.CREATING, RoomState.OPEN):
            return
        if seconds is None:
            self.attendance.uninvite(client)
        else:
            self.attendance.invite(client, seconds)

    def set_private(self, private: bool) -> None:
        """Let in only those who have its id, or whoever comes."""
        self.privacy.private = bool(private)
        self.report()

    def set_unlisted(self, unlisted: bool) -> None:
        """Be left out of lists, or not."""
        self.privacy.unlisted = bool(unlisted)
        self.report()

    def set_password(self, password: str | None) -> None:
        """See ``Privacy.set_password``."""
        self.privacy.set_password(password)
        self.report()

    def set_metadata(self, metadata: dict[str, Any]) -> None:
        """Replace what lists show. Raises PayloadError where it can't be sent."""
        pack_payload(metadata, _MOST_METADATA, self._limits.nesting)
        self.metadata = dict(metadata)
        self.report()

    def report(self) -> None:
        """Tell the broker what the room looks like now."""
        if self._state is RoomState.OPEN:
            self.out.report(self, self.summary())

    def seek(self, seeker: Seeker | None) -> None:
        """Seek members from a queue; None: no more."""
        if seeker is None and self.seeker is not None:
            self.out.report(self, Seeking(self.id, "", {}, {}))
        self.seeker = seeker
        self.report_seeking()

    def report_seeking(self) -> None:
        """Tell the broker what the room seeks now."""
        if self.seeker is not None and self._state is RoomState.OPEN:
            self.out.report(self, self.seeker.report(self.id))

    def not_taken(self, place: tuple[str, str] | None) -> None:
        """A seat that was held for somebody whom a queue sent is free again."""
        if self.seeker is not None and place is not None:
            self.seeker.give_back(place)
            self.report_seeking()

    def summary(self) -> RoomUpdated:
        """What the directory knows of the room."""
        seats = self.seats
        access, looking = self.privacy.describe(), 0
        if seats.gallery:
            looking = sum(member.spectator for member in self.members.values())
            access |= {"spectators": looking, "max_spectators": seats.gallery}
        clients, free, capacity = len(self.members) - looking, seats.free, seats.capacity
        return RoomUpdated(
            self.id, self.type, clients, free, capacity, seats.locked, self.metadata, self.ruleset, access
        )

    def describe(self) -> dict[str, Any]:
        """How the room is, for administrators."""
        seats = self.seats
        members = list(self.members.values())
        return {
            "room": self.id,
            "type": self.type,
            "state": self._state.value,
            "locked": seats.locked,
            "max_clients": seats.capacity,
            "reserved": seats.reserved,
            "max_spectators": seats.gallery,
            "metadata": self.metadata,
            "offset": self.fanout.offset,
            "history_bytes": self.fanout.history.size,
            "events_waiting": len(self.mailbox),
            "behind": len(self.fanout.behind),
            "slow_members": self.room.slow_members,
            "fanout": "unicast" if self.audience is None else "topic",
            "members": [
                {
                    "client": one.id,
                    "address": one.ADDRESS,
                    "state": one.seat.state.value,
                    "spectator": one.spectator,
                    "uplink": one.uplink,
                    "lagging": one.lagging,
                }
                for one in members[:_MOST_DESCRIBED]
            ],
            "more_members": max(0, len(members) - _MOST_DESCRIBED),
        }
