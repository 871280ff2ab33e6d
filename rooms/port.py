"""A port: the connections of one listener, and who gets what they say.

The port decodes, counts, limits and refuses; what a reference stands for (a
session or a membership) handles the rest. References are looked up on the
connection that a message came on, so that one from another connection, or from
an earlier join, names nothing.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from ..protocol.alarms import Alarms
from ..protocol.cluster import ClusterKind, ClusterMessage, parse_cluster
from ..protocol.codec import upload_decoder
from ..protocol.errors import (
    AuthUnavailable,
    BadMessage,
    Code,
    ConnectionTimedOut,
    NotAMember,
    ProtocolViolation,
    RateLimited,
    RemoteError,
    RoomBusy,
    TooLarge,
    UnknownKind,
)
from ..protocol.ids import Entropy
from ..protocol.limits import AddressLimits, Limits
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
from ..transport.locks import NOBODY, Lock, Vouched
from ..transport.network import Listener, Network, PeerSink, Sent
from .addresses import AddressBook
from .backlog import Backlog
from .standstill import Standstill
from .uplink import Uplink

__all__ = ["Connection", "Desk", "Port"]

logger = logging.getLogger(__name__.partition(".rooms")[0] + ".port")

_SEND = int(Kind.SEND)
_REQUEST = int(Kind.REQUEST)
_MOST_REFUSALS = 200
"""How often a connection may ask faster than its rate before it is cut."""

_UNHEARD = 5.0
"""Seconds in which a connection has to say its first word. It is short because of who claims a routing id of its own
and says nothing: libzmq ends the process if it gives the same one to somebody else meanwhile."""
_MOST_UNSENT = 256
"""Messages (not bundles) that wait for a peer whose queue is full, before it is cut."""
_RETRY = 0.02
_SLACK = 0.001
"""Deadlines this close to each other, in seconds, are met in one turn."""
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


class Port:
    """Owns a listener and its connections; hands messages to the broker and the worker.

    It makes the turns: one when something arrives, one when a deadline comes.
    In each, ``now`` stands still, and what is to be sent leaves at the end.

    Args:
        limits: what peers may do; announced by the broker.
        entropy: where the first reference comes from.
        make: what its connections are.
        book: what each address may do, over all ports of this process that clients reach.
    """

    def __init__(
        self,
        limits: Limits,
        entropy: Entropy,
        make: type[Connection] = Connection,
        book: AddressBook | None = None,
    ) -> None:
        self.limits = limits
        self.book = book or AddressBook(AddressLimits())
        self._make = make
        self.decode = upload_decoder(limits)
        self.now = 0.0
        self.in_turn = False
        self.received = 0
        """Frames that came, since the start."""
        self.counts: Counter[str] = Counter()
        """Refusals by the name of their error, since the start."""
        self.listener: Listener
        self.lock: Lock
        """Of this port, and of the publishers beside it."""
        self.on_room_message: Callable[[Connection, Join | Recover], None]
        self.on_broker_message: Callable[[Connection, Message], None] | None = None
        self.on_cluster_message: Callable[[Connection, ClusterMessage], None] | None = None
        self.on_begin: Callable[[float], None] = _nothing
        """Called as each turn begins, before anything is heard."""
        self.on_flush: Callable[[], None]
        self.backlog = Backlog[Connection]()
        """What waits for those who do not read."""
        self._connections: dict[bytes, Connection] = {}
        self._alarms: Alarms[tuple[Callable[..., None], tuple[Any, ...]]] = Alarms()
        self._armed: asyncio.TimerHandle | None = None
        self._standstill = Standstill()
        self._unheard_from = float("-inf")
        """When connections may again be cut because nothing was heard of them."""
        self._emptied = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._next_ref = int.from_bytes(entropy(4), "big") >> 2 or 1

    def open(self, network: Network, host: str, port: int, lock: Lock | None = None) -> None:
        """Bind. Raises what ``Network.listen`` raises."""
        self.lock = replace(lock or Lock(), porter=self.book)
        self.listener = network.listen(host, port, self, self.limits.upload, self.lock)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def __len__(self) -> int:
        return len(self._connections)

    def begin(self, now: float) -> None:
        """See ``ListenerSink.begin``."""
        self.now = now
        self.in_turn = True
        self.on_begin(now)

    def accept(self, peer: bytes, address: str, vouched: Vouched = NOBODY) -> PeerSink:
        """See ``ListenerSink.accept``."""
        connection = self._connections[peer] = self._make(self, peer, address, self.now, vouched)
        return connection

    def flush(self) -> None:
        """See ``ListenerSink.flush``."""
        try:
            self.on_flush()
        finally:
            self.in_turn = False

    def wake(self) -> None:
        """Have a turn soon, unless this is one."""
        if not self.in_turn:
            self.listener.wake()

    def failed(self, address: str) -> None:
        """Somebody from there showed a key, a password or credentials that were refused."""
        self.book.failed(address, self._loop.time())

    def touch(self) -> None:
        """Something happens outside of a turn: look at the clock."""
        if not self.in_turn:
            self.now = self._loop.time()

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        """Call back in a turn at ``when``, and not at any time set before for the same callback and arguments."""
        self._alarms.set((callback, args), when)
        if self._armed is None or when < self._armed.when():
            self._arm(when)

    def clear_alarm(self, callback: Callable[..., None], *args: Hashable) -> None:
        """Do not call back."""
        self._alarms.clear((callback, args))

    def close(self) -> None:
        """Close the listener and stop the clock."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        self.listener.close()

    def _arm(self, when: float) -> None:
        if self._armed is not None:
            self._armed.cancel()
        self._armed = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._armed = None
        self.listener.together(self._meet_deadlines)

    def _meet_deadlines(self) -> None:
        self.begin(self._loop.time())
        try:
            for callback, args in self._alarms.due(self.now + _SLACK):
                callback(*args)
        finally:
            self.flush()
            when = self._alarms.next()
            if when is not None and (self._armed is None or when < self._armed.when()):
                self._arm(when)

    def new_ref(self) -> int:
        """A reference that was never given before (in 2^31 of them)."""
        self._next_ref = (self._next_ref + 1) & 0x7FFFFFFF or 1
        return self._next_ref

    def hang_up(self, connection: Connection) -> None:
        """Close a connection; everybody on it hears so at once."""
        if self._connections.get(connection.peer) is connection:
            self.listener.cut(connection.peer)
            connection.gone()

    def give_up(self, connection: Connection) -> None:
        """Too much waits for it. It comes back, and gets what it missed."""
        self.counts["too slow"] += 1
        self.backlog.forget(connection)
        self.hang_up(connection)

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self.backlog.forget(connection)
        if self._connections.get(connection.peer) is connection:
            del self._connections[connection.peer]
            if not self._connections:
                self._emptied.set()

    async def emptied(self, within: float) -> None:
        """Wait until everybody has hung up, at most ``within`` seconds: who is hung up on may miss the last words."""
        if self._connections:
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._emptied.wait()

    def sweep(self, now: float) -> None:
        """Give up the connections that were silent for too long. To be called once a second.

        Where this process was held up, what was said meanwhile may still be unread: that time is no silence.
        """
        missed = self._standstill.missed(now)
        if missed:
            self._unheard_from = now + _UNHEARD
            for connection in self:
                connection.excuse(missed, now)
        oldest = now - self.limits.ping_timeout
        if now >= self._unheard_from:
            self.listener.cut_silent(max(oldest, now - _UNHEARD))
        strangest = now - self.book.limits.stranger_time
        for connection in self:
            if connection.refs or (connection.desk is not None and connection.desk.trusted):
                connection.useful = now
            if connection.seen <= oldest:
                connection.say(Goodbye(0, int(Code.CONNECTION_TIMED_OUT), ConnectionTimedOut.meaning))
                self.hang_up(connection)
            elif connection.useful <= strangest:
                self.counts["stranger"] += 1
                connection.say(Goodbye(0, int(Code.CONNECTION_TIMED_OUT), "nobody became a client here in time"))
                self.hang_up(connection)


def _nothing(now: float) -> None:
    pass
