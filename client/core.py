"""The client, decided: connecting, resuming, asking, joining, recovering.

The core takes events with the time and writes to an outbox. A connection that
is lost is replaced after a jittered delay; the session is resumed on the new
one, and every room recovered from where it was. Requests that were not answered
are asked again under the same number, which the server answers once.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from ..protocol.codec import download_decoder
from ..protocol.errors import (
    BadMessage,
    BrokerUnreachable,
    Code,
    RemoteError,
    ServerRoomError,
    TemporaryClose,
    UnknownKind,
    error_for,
)
from ..protocol.lifecycle import step
from ..protocol.limits import Limits
from ..protocol.liveness import Liveness
from ..protocol.messages import (
    VERSION,
    Ack,
    Assigned,
    Cancel,
    Deliver,
    Error,
    Goodbye,
    Hello,
    Join,
    Joined,
    Kind,
    Leave,
    LeftRoom,
    Match,
    Message,
    Ping,
    Recover,
    Reset,
    Resume,
    Rooms,
    Welcome,
    encode,
    parse,
)
from ..protocol.names import ClientData
from ..protocol.streams import Gap, Position, StreamReader
from ..transport.network import Sent
from .backoff import Backoff
from .life import CLIENT, ClientEvent, ClientState
from .membership import Membership, MembershipEvent, MembershipState
from .outbox import ClientOutbox

__all__ = ["ClientCore"]

_FIRST_ASK = 1 << 31
"""Requests are numbered from here, so that an ERROR's number is never a message's as well."""
_OPENING_TIME = 5.0
_RETRY_FULL = 0.02
_MOST_UNSAID = 256
_BEAT = 1.0


class ClientCore:
    """One client's session, its requests and its rooms.

    Args:
        address: for error messages.
        out: where to write.
        random: a float in [0, 1), for jitter.
        connect_timeout: seconds to reach the broker the first time.
        reconnect_timeout: seconds to reach it again after the connection is lost.
        software: what to call ourselves in HELLO.
        inbox: messages of each room that may wait to be read.
    """

    def __init__(
        self,
        address: str,
        out: ClientOutbox,
        random: Callable[[], float],
        connect_timeout: float,
        reconnect_timeout: float,
        software: str,
        inbox: int,
    ) -> None:
        self.state = ClientState.IDLE
        self.data = ClientData(0, "")
        self.limits = Limits()
        self.home = Membership("", self.limits, inbox)
        """The session's own conversation with the server."""
        self.rooms: dict[str, Membership] = {}
        self._address = address
        self._out = out
        self._backoff = Backoff(random)
        self._connect_timeout = connect_timeout
        self._reconnect_timeout = reconnect_timeout
        self._software = software[:64]
        self._inbox = inbox
        self._decode = download_decoder(self.limits)
        self._session = ""
        self._token = b""
        self._asks: dict[int, Callable[[int], Message]] = {}
        self._joining: dict[int, Membership] = {}
        self._next_ask = _FIRST_ASK
        self._opening_ask = 0
        self._unsaid: deque[bytes] = deque()
        """Frames that wait for room in the connection's queue."""
        self._to_cancel: list[int] = []
        self._to_recover: list[Membership] = []
        self._gone_since = 0.0
        self._deadline = 0.0
        self._liveness = Liveness(self.limits.ping_timeout, 0.0)
        self._pings = 0
        self._ping_at = 0.0

    # What the shell tells.

    def open(self, now: float) -> None:
        """Begin to connect."""
        self._step(ClientEvent.OPEN)
        self._gone_since = now
        self._dial(now)

    def close(self, code: Code = Code.SESSION_ENDED) -> None:
        """End the session by our own wish: it leaves its rooms."""
        if self.state is ClientState.ONLINE:
            self._say(Goodbye(self.home.ref, int(code), ""))
        self._end(None)

    def up(self, now: float) -> None:
        """The connection stands."""
        self._step(ClientEvent.UP)
        self._deadline = now + _OPENING_TIME
        self._give_up_at_the_latest()
        self._liveness.heard(now)
        ask = self._opening_ask = self._number()
        if self._session:
            self._say(Resume(ask, [VERSION], self._session, self._token, self.home.reader.direct))
        else:
            self._say(Hello(ask, [VERSION], self._software, {}))

    def down(self, reason: str, now: float) -> None:
        """The connection failed, or is lost."""
        self._lost(reason, now)

    def receive(self, frame: bytes, now: float) -> None:
        """A frame came."""
        self._liveness.heard(now)
        try:
            message = parse(self._decode(frame))
        except UnknownKind:
            return  # a newer server's; nothing that we asked for
        except BadMessage as error:
            self._nonsense(error, now)
            return
        try:
            self._handle(message, now)
        except BadMessage as error:
            self._nonsense(error, now)

    def _nonsense(self, error: BadMessage, now: float) -> None:
        self._out.hang_up()
        self._lost(f"the server sent nonsense: {error}", now)

    def tick(self, now: float) -> float | None:
        """Do what is due.

        Returns:
            When to call again at the latest, or None.
        """
        if self.state is ClientState.WAITING:
            if now >= self._deadline:
                self._step(ClientEvent.RETRY)
                self._dial(now)
            return self._deadline
        if self.state in (ClientState.DIALING, ClientState.OPENING):
            if now >= self._deadline:
                self._out.hang_up()
                self._lost("no answer", now)
            return self._deadline
        if self.state is not ClientState.ONLINE:
            return None
        if self._liveness.is_dead(now):
            self._out.hang_up()
            self._lost("nothing was heard for too long", now)
            return self._deadline
        # That we hear the server does not mean that it hears us: it would give up a client that only listens.
        if now >= self._ping_at:
            self._pings += 1
            self._ping_at = now + self.limits.ping_interval
            self._say(Ping(self._pings))
        stuck = not self._say_unsaid()
        if len(self._unsaid) > _MOST_UNSAID:
            self._out.hang_up()
            self._lost("the server takes nothing", now)
            return self._deadline
        again, self._to_recover = self._to_recover, []
        for membership in again:
            if self._is_connected(membership) or membership.state is MembershipState.AWAY:
                self._recover(membership)
        for membership in self._conversations():
            stuck |= not self.pump(membership)
            if membership.unacked:
                self.ask_ack(membership)
        return min(now + (_RETRY_FULL if stuck else _BEAT), self._ping_at)

    # What the application wants.

    def ask(self, make: Callable[[int], Message]) -> int:
        """Ask the broker something; ``answered`` tells the outcome under this number.

        Args:
            make: makes the message; called again after a reconnect, with the
                same number and the session's new reference (``home.ref``).
        """
        ask = self._number()
        self._asks[ask] = make
        if self.state is ClientState.ONLINE:
            self._say(make(ask))
        return ask

    def forget(self, ask: int) -> None:
        """The answer is not wanted any more. A match is cancelled."""
        make = self._asks.pop(ask, None)
        membership = self._joining.pop(ask, None)
        if membership is not None:
            self._finish(membership, None)
        elif make is not None and isinstance(make(ask), Match):
            if self.state is ClientState.ONLINE:
                self._say(Cancel(self.home.ref, ask))
            else:
                self._to_cancel.append(ask)

    def send(self, membership: Membership, kind: Kind, name: str, data: Any) -> int:
        """Send a message or a request; its number.

        Raises:
            PayloadError, Backpressure: see ``Membership.add``.
        """
        number = membership.add(kind, name, data)
        self.pump(membership)
        return number

    def ask_ack(self, membership: Membership) -> None:
        """Have it said soon how far messages are applied."""
        if self._is_connected(membership) and not membership.recovering:
            self._say(Ack(membership.ref, membership.last))

    def leave(self, membership: Membership) -> None:
        """Leave a room: now, or as soon as it is reached again."""
        membership.leaving = True
        if self._is_connected(membership) and not membership.recovering:
            self._say(Leave(membership.ref))

    def read_on(self, membership: Membership, now: float) -> None:
        """The application takes messages again: fetch what was left out."""
        if not self._is_connected(membership):
            return  # a reconnect fetches it anyhow
        if membership is self.home:
            self._out.hang_up()  # what the server says outside of rooms comes again with the next resume
            self._lost("catching up with the server", now)
        else:
            self._recover(membership)

    def pump(self, membership: Membership) -> bool:
        """Hand over what waits to be sent. Returns False where the connection takes no more now."""
        if not self._is_connected(membership) or membership.recovering:
            return True
        for number, frame in membership.untransmitted():
            if self._out.transmit(frame) is not Sent.TAKEN:
                return False
            membership.transmitted(number)
        return True

    # What the server says.

    def _handle(self, message: Message, now: float) -> None:
        if isinstance(message, Deliver):
            self._deliver(message, now)
        elif isinstance(message, Ack):
            membership = self._by_ref(message.ref)
            if membership is not None:
                membership.acknowledged(message.number)
                self._out.progressed(membership)
        elif isinstance(message, Welcome):
            self._welcome(message, now)
        elif isinstance(message, Assigned):
            self._assigned(message)
        elif isinstance(message, Joined):
            self._joined(message)
        elif isinstance(message, Error):
            self._error(message)
        elif isinstance(message, Goodbye):
            self._goodbye(message, now)
        elif isinstance(message, LeftRoom):
            membership = self._by_ref(message.ref)
            if membership is not None:
                self._finish(membership, error_for(message.code, message.text))
        elif isinstance(message, Reset):
            self._reset(message)
        elif isinstance(message, Rooms) and self._asks.pop(message.ask, None) is not None:
            self._out.answered(message.ask, message)
        # TICKET and PONG are signs of life; there is nothing more to do.

    def _welcome(self, message: Welcome, now: float) -> None:
        if self.state is not ClientState.OPENING:
            return
        self._step(ClientEvent.WELCOME)
        self._backoff.reset()
        self._session, self._token = message.session, message.token
        home = self.home
        if not message.resumed:
            self.limits = Limits.from_wire(message.limits)
            self._decode = download_decoder(self.limits)
            self._liveness = Liveness(self.limits.ping_timeout, now)
            self.data = ClientData(message.client_id, message.address)
            home = self.home = Membership("", self.limits, self._inbox)
            home.reader = StreamReader(Position(message.epoch, 0, message.direct))
        self._ping_at = now + self.limits.ping_interval
        home.ref = message.ref
        home.step(MembershipEvent.JOINED)
        home.acknowledged(message.uplink)
        home.repeat_from(message.uplink + 1)
        self._say(Ack(home.ref, 0))  # confirms that the token has arrived
        for ask in self._to_cancel:
            self._say(Cancel(home.ref, ask))
        self._to_cancel.clear()
        unanswered = list(self._asks.items())
        for membership in self.rooms.values():
            self._recover(membership)
        for ask, make in unanswered:
            self._say(make(ask))
        self.pump(home)
        if home.unacked:
            self.ask_ack(home)
        self._out.opened(message.resumed)

    def _assigned(self, message: Assigned) -> None:
        if self._asks.pop(message.ask, None) is None:
            self._say(Cancel(self.home.ref, message.ask))  # not wanted any more: somebody else may have the seat
            return
        membership = Membership(message.room, self.limits, self._inbox)
        self._joining[message.ask] = membership
        reservation = message.reservation

        def join(ask: int) -> Message:
            return Join(ask, message.room, reservation, {})

        self._asks[message.ask] = join
        self._say(join(message.ask))

    def _joined(self, message: Joined) -> None:
        self._asks.pop(message.ask, None)
        membership = self._joining.pop(message.ask, None)
        first = membership is not None
        if membership is None:
            membership = self.rooms.get(message.room)
            if membership is None:
                self._say(Leave(message.ref))  # nobody waits for it any more
                return
        membership.recovering = False
        membership.ref, membership.token = message.ref, message.token
        membership.type, membership.info = message.type, message.info
        if first:
            membership.reader = StreamReader(Position(message.epoch, message.offset, message.direct))
            members = message.info.get("members")
            membership.members = {one for one in members if type(one) is int} if type(members) is list else set()
            self.rooms[message.room] = membership
        membership.step(MembershipEvent.JOINED)
        membership.acknowledged(message.uplink)
        membership.repeat_from(message.uplink + 1)
        self._say(Ack(membership.ref, 0))  # confirms that the token has arrived
        self.pump(membership)
        if membership.unacked:
            self.ask_ack(membership)  # somebody may wait for it, who asked before the reconnect
        if membership.leaving:
            self._say(Leave(membership.ref))
        if first:
            self._out.answered(message.ask, membership)
        self._out.progressed(membership)

    def _deliver(self, message: Deliver, now: float) -> None:
        membership = self._by_ref(message.ref) if message.ref else self._by_epoch(message.epoch)
        if membership is None or membership.reader.epoch != message.epoch:
            self._out.misrouted(message.epoch)
            return
        if membership.recovering or not membership.inbox.has_room():
            return
        try:
            for number, reply, error in membership.read(message.offset, message.items):
                membership.acknowledged(number)
                self._out.replied(membership, number, reply, error)
        except Gap:
            self.read_on(membership, now)
        self._out.progressed(membership)

    def _reset(self, message: Reset) -> None:
        membership = self._by_ref(message.ref)
        if membership is not None:
            membership.reset(Position(message.epoch, message.offset, message.direct), message.snapshot)
            self._out.progressed(membership)

    def _error(self, message: Error) -> None:
        error = error_for(message.code, message.text, message.data)
        if message.ask == self._opening_ask:
            self._end(error)
            return
        if message.ask >= _FIRST_ASK:
            if self._asks.pop(message.ask, None) is None:
                return
            membership = self._joining.pop(message.ask, None)
            recovered = next((room for room in self.rooms.values() if room.recover_ask == message.ask), None)
            if recovered is not None and message.code in (Code.ROOM_NOT_FOUND, Code.RESERVATION_REFUSED):
                self._finish(recovered, error)
            elif recovered is not None:
                recovered.recovering = False
                self._to_recover.append(recovered)  # not now, the server says: at the next beat
            else:
                if membership is not None:
                    membership.step(MembershipEvent.ENDED)
                self._out.answered(message.ask, error)
            return
        membership = self._by_ref(message.ref) if message.ref else self.home
        if membership is None:
            return  # of a room that is over
        if message.code == Code.UPLINK_GAP and type(message.data) is int:
            membership.repeat_from(message.data)
            self.pump(membership)
            return
        if message.code == Code.NOT_A_MEMBER and membership is not self.home:
            self._finish(membership, error)
            return
        if message.ask:
            membership.refused(message.ask)
        self._out.refused(membership, message.ask, error)

    def _goodbye(self, message: Goodbye, now: float) -> None:
        if message.ref not in (0, self.home.ref):
            return
        error = error_for(message.code, message.text)
        if isinstance(error, TemporaryClose) and message.code != Code.SERVER_STOPPING:
            self._out.hang_up()
            self._lost(error.text, now)
        else:
            self._end(error)

    # Connections.

    def _dial(self, now: float) -> None:
        self._deadline = now + _OPENING_TIME
        self._give_up_at_the_latest()
        self._out.dial()

    def _lost(self, reason: str, now: float) -> None:
        if self.state in (ClientState.CLOSED, ClientState.WAITING, ClientState.IDLE):
            return
        was_online = self.state is ClientState.ONLINE
        self._step(ClientEvent.LOST)
        self._unsaid.clear()
        self._to_recover.clear()
        if was_online:
            self._gone_since = now
            for membership in self._conversations():
                membership.ref = 0  # it may name another one on the next connection
                membership.recovering = False
                self._asks.pop(membership.recover_ask, None)
                membership.step(MembershipEvent.LOST)
                self._out.progressed(membership)
            self._out.interrupted(reason)
        self._deadline = now + self._backoff.next()
        if self._deadline >= self._gone_since + self._patience:
            self._end(
                BrokerUnreachable(
                    self._address, now - self._gone_since, max(1, self._backoff.attempts - bool(self._session))
                )
            )

    @property
    def _patience(self) -> float:
        return self._reconnect_timeout if self._session else self._connect_timeout

    def _give_up_at_the_latest(self) -> None:
        self._deadline = min(self._deadline, self._gone_since + self._patience)

    def _end(self, error: ServerRoomError | None) -> None:
        if self.state is ClientState.CLOSED:
            return
        self._step(ClientEvent.CLOSE)
        self._out.hang_up()
        for membership in list(self.rooms.values()):
            self._finish(membership, error if isinstance(error, RemoteError) else None)
        self._out.ended(error)

    def _recover(self, membership: Membership) -> None:
        if membership.recovering:
            return
        membership.recovering = True
        ask = self._number()
        membership.recover_ask = ask

        def recover(number: int) -> Message:
            return Recover(number, membership.room, membership.token, *membership.reader.position)

        self._asks[ask] = recover
        self._say(recover(ask))

    def _finish(self, membership: Membership, error: RemoteError | None) -> None:
        if membership.state is MembershipState.ENDED:
            return
        membership.step(MembershipEvent.ENDED)
        membership.error = error
        if self.rooms.get(membership.room) is membership:
            del self.rooms[membership.room]
        self._asks.pop(membership.recover_ask, None)
        self._out.progressed(membership)

    def _conversations(self) -> list[Membership]:
        return [self.home, *self.rooms.values()]

    def _is_connected(self, membership: Membership) -> bool:
        return self.state is ClientState.ONLINE and membership.state is MembershipState.JOINED

    def _by_ref(self, ref: int) -> Membership | None:
        return next((one for one in self._conversations() if one.ref == ref and ref), None)

    def _by_epoch(self, epoch: int) -> Membership | None:
        return next((one for one in self.rooms.values() if one.reader.epoch == epoch), None)

    def _number(self) -> int:
        self._next_ask = self._next_ask + 1 if self._next_ask < 0xFFFFFFFF else _FIRST_ASK
        return self._next_ask

    def _say(self, message: Message) -> None:
        self._unsaid.append(encode(message))
        self._say_unsaid()

    def _say_unsaid(self) -> bool:
        """Say what waits; False if the connection takes no more now."""
        while self._unsaid:
            if self._out.transmit(self._unsaid[0]) is Sent.FULL:
                return False
            self._unsaid.popleft()
        return True

    def _step(self, event: ClientEvent) -> None:
        self.state = step(CLIENT, self.state, event)
