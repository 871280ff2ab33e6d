"""A connection: one life of one peer's, with all that is checked before anybody handles what came on it.

It decodes, counts, limits and refuses; what a reference stands for (a session
or a membership) handles the rest. References are looked up on the connection
that a message came on, so that one from another connection, or from an earlier
join, names nothing.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..protocol.cluster import ClusterKind, parse_cluster
from ..protocol.errors import (
    AuthUnavailable,
    BadMessage,
    Code,
    NotAMember,
    ProtocolViolation,
    RateLimited,
    RemoteError,
    RoomBusy,
    TooLarge,
    UnknownKind,
)
from ..protocol.messages import (
    Ack,
    Cancel,
    Create,
    Error,
    Goodbye,
    Hello,
    Join,
    JoinById,
    Kind,
    Leave,
    ListEndpoints,
    ListRooms,
    Match,
    Message,
    Ping,
    Pong,
    Recover,
    Request,
    Resume,
    Send,
    encode,
    parse,
)
from ..protocol.queue_messages import Accept, Enqueue, Party, Rematch, Why
from ..protocol.rates import TokenBucket
from ..protocol.room_messages import JoinOrCreate, JoinWhere, Unwatch, Watch
from ..transport.locks import NOBODY, Vouched
from ..transport.network import Sent
from .uplink import Uplink

if TYPE_CHECKING:
    from .port import Port

__all__ = ["Connection", "Desk"]

_SEND = int(Kind.SEND)
_REQUEST = int(Kind.REQUEST)
_MOST_REFUSALS = 200
"""How often a connection may ask faster than its rate before it is cut."""

_MOST_UNSENT = 256
"""Messages (not bundles) that wait for a peer whose queue is full, before it is cut."""
_RETRY = 0.02
_ARRIVALS = frozenset({Hello, Resume})
_FOR_THE_BROKER = _ARRIVALS | {
    *(Match, Create, JoinById, Cancel, ListRooms, ListEndpoints, Goodbye),
    *(Enqueue, Accept, Why, Party, Rematch),
    *(JoinOrCreate, JoinWhere, Watch, Unwatch),
}
_FOR_ROOMS = frozenset({Join, Recover})
_FIRST_CLUSTER_KIND = int(min(ClusterKind))


class Desk(Protocol):
    """Who handles what a worker or an administrator says on one connection."""

    @property
    def trusted(self) -> bool:
        """Whether it has proved that it has the cluster key."""
        ...

    def lost(self) -> None:
        """The connection is gone."""


class Connection:
    """One life of one peer's connection."""

    __slots__ = (
        "_bucket",
        "_refusals",
        "_unsent",
        "address",
        "desk",
        "peer",
        "port",
        "refs",
        "seen",
        "sessions",
        "since",
        "useful",
        "vouched",
    )

    def __init__(self, port: "Port", peer: bytes, address: str, now: float, vouched: Vouched = NOBODY) -> None:
        self.port = port
        self.peer = peer
        self.address = address
        self.vouched = vouched
        """Who it is, as far as the handshake has proved it."""
        self.since = self.seen = self.useful = now
        self.refs: dict[int, Uplink] = {}
        self.sessions: frozenset[str] = frozenset()
        self.desk: Desk | None = None
        """Who handles what a worker or an administrator says on it."""
        self._bucket: TokenBucket | None = None
        self._refusals = 0
        self._unsent: deque[bytes] | None = None

    def receive(self, frame: bytes) -> None:
        """Handle one frame. Nothing that a peer sends makes this raise."""
        port = self.port
        port.received += 1
        self.seen = port.now
        try:
            message = port.decode(frame)
        except BadMessage as error:
            if self.desk is not None and self.desk.trusted:
                self.violated(error.text)  # what it told is lost: it begins anew, and tells everything
            else:
                self.refuse(error)
            return
        # What rooms live on is dispatched in place; all else is parsed and checked.
        if type(message) is list and len(message) >= 5 and type(message[0]) is int:
            kind, ref = message[0], message[1]
            if kind == _SEND and type(ref) is int:
                uplink = self.refs.get(ref)
                if uplink is not None:
                    uplink.on_send(message)
                    return
                if len(message) > 5:  # several in one: there is no shape to check it against
                    self.refuse(NotAMember(), ref if 0 <= ref < 1 << 32 else 0)
                    return
            elif kind == _REQUEST and type(ref) is int and len(message) == 5:
                uplink = self.refs.get(ref)
                if uplink is not None:
                    uplink.on_request(message)
                    return
        parsed: Message | None = None
        try:
            if type(message) is list and message and type(message[0]) is int and message[0] >= _FIRST_CLUSTER_KIND:
                self._receive_cluster(message, len(frame))
                return
            parsed = parse(message)
            if not isinstance(parsed, Ping | Ack) and not self._may_ask():
                raise RateLimited
            self._dispatch(parsed, len(frame))
        except RemoteError as error:
            self.refuse(error, getattr(parsed, "ref", 0), getattr(parsed, "ask", getattr(parsed, "number", 0)))

    @property
    def clogged(self) -> bool:
        """Whether messages wait because its queue is full: bundles must not overtake them."""
        return self._unsent is not None

    @property
    def now(self) -> float:
        """The time of this turn, monotonic seconds."""
        return self.port.now

    def violated(self, rule: str) -> None:
        """The peer did what no honest peer does: say so and hang up."""
        self.port.counts[ProtocolViolation.__name__] += 1
        self.say(Goodbye(0, int(Code.PROTOCOL_VIOLATION), rule))
        self.port.hang_up(self)

    def _receive_cluster(self, message: list[Any], size: int) -> None:
        port, desk = self.port, self.desk
        if port.on_cluster_message is None:
            raise UnknownKind("not a message for this port")
        if desk is None or not desk.trusted:  # who has not proved anything asks slowly, and briefly
            if size > port.limits.control:
                raise TooLarge(f"{size} bytes are over the limit of {port.limits.control} for requests")
            if not self._may_ask():
                raise RateLimited
        port.on_cluster_message(self, parse_cluster(message))

    def excuse(self, missed: float, now: float) -> None:
        """For so many seconds until now, nothing that it said could be heard."""
        self.seen = min(self.seen + missed, now)
        self.useful = min(self.useful + missed, now)

    def hang_up(self) -> None:
        """Close the connection, as soon as what was said has left."""
        self.port.hang_up(self)

    def gone(self) -> None:
        """The connection is lost: everybody who was on it hears so."""
        self.port.forget(self)
        desk, self.desk = self.desk, None
        if desk is not None:
            desk.lost()
        self.port.clear_alarm(self._say_unsent)
        self._unsent = None
        while self.refs:
            _, uplink = self.refs.popitem()
            uplink.lost()

    def say(self, message: Message) -> None:
        """Send one message to this peer, as soon as its queue takes it."""
        self.say_frame(encode(message))

    def say_frame(self, frame: bytes) -> None:
        """Send a frame that is encoded already."""
        if self._unsent is None and self.port.listener.send(self.peer, frame) is not Sent.FULL:
            return
        if self._unsent is None:
            self._unsent = deque()
            self.port.alarm(self.port.now + _RETRY, self._say_unsent)
        self._unsent.append(frame)
        self.port.backlog.put(self, len(frame))
        if len(self._unsent) > _MOST_UNSENT:
            self.port.give_up(self)
        for slowest in self.port.backlog.too_slow():
            self.port.give_up(slowest)

    def _say_unsent(self) -> None:
        while self._unsent:
            if self.port.listener.send(self.peer, self._unsent[0]) is Sent.FULL:
                self.port.alarm(self.port.now + _RETRY, self._say_unsent)
                return
            self.port.backlog.taken(self, len(self._unsent.popleft()))
        self._unsent = None
        self.port.backlog.forget(self)

    def refuse(self, error: RemoteError, ref: int = 0, ask: int = 0) -> None:
        """Answer with an error. A peer that makes us answer all the time is cut."""
        self.port.counts[type(error).__name__] += 1
        if not isinstance(error, RoomBusy) and not self._may_ask():  # a busy room is not its clients' fault
            self._refusals += 1
            if self._refusals > _MOST_REFUSALS:
                self.violated("too many messages that had to be refused")
                return
        # Always with its number: to a client that is not told, a message that was refused seems to be applied.
        self.say(Error(ref, ask, int(error.code), error.text[:512], error.data))

    def add(self, uplink: Uplink) -> int:
        """Give something a reference on this connection."""
        ref = self.port.new_ref()
        self.refs[ref] = uplink
        return ref

    def _dispatch(self, message: Message, size: int) -> None:
        port, kind = self.port, type(message)
        if kind in _FREE:
            _FREE[kind](self, message)
        elif size > port.limits.control:
            raise TooLarge(f"{size} bytes are over the limit of {port.limits.control} for requests")
        elif kind in _FOR_ROOMS:
            port.on_room_message(self, message)  # type: ignore[arg-type]  # its kind is one of these
        elif kind in _ARRIVALS and not port.book.may_enter(self.address, port.now):
            raise AuthUnavailable("too many come from this address, or too many failed to show who they are")
        elif port.on_broker_message is not None and kind in _FOR_THE_BROKER:
            port.on_broker_message(self, message)
        else:
            raise UnknownKind("not a message for a server")

    def _on_ping(self, message: Ping) -> None:
        self.say(Pong(message.number))

    def _on_ack(self, message: Ack) -> None:
        self._find(message.ref).on_ack(message.number)

    def _on_leave(self, message: Leave) -> None:
        self._find(message.ref).on_leave()

    def _on_no_reference(self, message: Send | Request) -> None:
        raise NotAMember

    def _find(self, ref: int) -> Uplink:
        uplink = self.refs.get(ref)
        if uplink is None:
            raise NotAMember
        return uplink

    def _may_ask(self) -> bool:
        if self._bucket is None:
            limits = self.port.limits
            self._bucket = TokenBucket(limits.control_rate, limits.control_burst)
        return self._bucket.allow(self.port.now)


# What costs no more than reading it, however large it is.
_FREE: dict[type[Message], Callable[[Connection, Any], None]] = {
    Ping: Connection._on_ping,  # noqa: SLF001  # its own
    Ack: Connection._on_ack,  # noqa: SLF001
    Leave: Connection._on_leave,  # noqa: SLF001
    Send: Connection._on_no_reference,  # noqa: SLF001
    Request: Connection._on_no_reference,  # noqa: SLF001
}
