"""The client, decided: connecting, resuming, asking, joining, recovering.

The core takes events with the time and writes to an outbox. A connection that
is lost is replaced after a jittered delay; the session is resumed on the new
one, and every room recovered from where it was. Requests that were not answered
are asked again under the same number, which the server answers once.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..protocol.codec import download_decoder
from ..protocol.errors import (
    BadMessage,
    BrokerUnreachable,
    Code,
    RemoteError,
    ServerRoomError,
    SessionUnknown,
    TemporaryClose,
    UnknownKind,
    WorkerLost,
    error_for,
)
from ..protocol.ids import mark_of
from ..protocol.limits import Limits
from ..protocol.messages import (
    VERSION,
    Ack,
    Assigned,
    Cancel,
    Deliver,
    Endpoints,
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
    Recover,
    Rekeyed,
    Reset,
    Resume,
    RoomLost,
    Rooms,
    Welcome,
    parse,
)
from ..protocol.names import ClientData
from ..protocol.streams import Gap, Position, StreamReader
from .contact import Contact
from .life import ClientEvent, ClientState
from .membership import Membership, MembershipEvent, MembershipState
from .outbox import ClientOutbox

__all__ = ["ClientCore"]

_FIRST_ASK = 1 << 31
"""Requests are numbered from here, so that an ERROR's number is never a message's as well."""
_RETRY_FULL = 0.02
_BEAT = 1.0


class _Ask(NamedTuple):
    """A request without an answer: whom it is for, and how it is said again after a reconnect."""

    contact: Contact
    make: Callable[[int], Message]


class ClientCore:
    """One client's session, its requests and its rooms.

    Args:
        address: the broker's.
        out: where to write.
        random: a float in [0, 1), for jitter.
        connect_timeout: seconds to reach the broker the first time.
        reconnect_timeout: seconds to reach it, or a worker, again after the connection is lost.
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
        self.data = ClientData(0, "")
        self.limits = Limits()
        self.broker = Contact(address, out, random)
        self.workers: dict[str, Contact] = {}
        """Those whose rooms we are in, or about to be, by endpoint."""
        self.home = Membership("", self.broker, self.limits, inbox)
        """The session's own conversation with the server."""
        self.rooms: dict[str, Membership] = {}
        self._out = out
        self._random = random
        self._connect_timeout = connect_timeout
        self._reconnect_timeout = reconnect_timeout
        self._software = software[:64]
        self._inbox = inbox
        self._decode = download_decoder(self.limits)
        self._session = ""
        self._token = b""
        self._asks: dict[int, _Ask] = {}
        self._joining: dict[int, Membership] = {}
        self._next_ask = _FIRST_ASK
        self._opening_ask = 0
        self._to_cancel: list[int] = []
        self._to_recover: list[Membership] = []

    @property
    def state(self) -> ClientState:
        """Where the session is in its life: that of the contact with the broker."""
        return self.broker.state

    # What the shell tells. Of which contact: the broker, unless it says otherwise.

    def open(self, now: float) -> None:
        """Begin to connect."""
        self.broker.gone_since = now
        self._open(self.broker, now)

    def close(self, code: Code = Code.SESSION_ENDED) -> None:
        """End the session by our own wish: it leaves its rooms."""
        if self.broker.online:
            self.broker.say(Goodbye(self.home.ref, int(code), ""))
        for membership in self.rooms.values():
            if membership.contact is not self.broker and self._is_connected(membership):
                membership.contact.say(Leave(membership.ref))
        self._end(None)

    def up(self, now: float, contact: Contact | None = None) -> None:
        """The connection stands."""
        contact = contact or self.broker
        contact.up(now, self._patience(contact), self.limits)
        if contact is not self.broker:
            contact.opened(self.limits, now)  # a worker is told nothing but what we want
            self._say_again(contact)
            return
        ask = self._opening_ask = self._number()
        if self._session:
            contact.say(Resume(ask, [VERSION], self._session, self._token, self.home.reader.direct))
        else:
            contact.say(Hello(ask, [VERSION], self._software, {}))

    def down(self, reason: str, now: float, contact: Contact | None = None) -> None:
        """The connection failed, or is lost."""
        self._lost(contact or self.broker, reason, now)

    def receive(self, frame: bytes, now: float, contact: Contact | None = None) -> None:
        """A frame came."""
        contact = contact or self.broker
        contact.heard(now)
        try:
            self._handle(contact, parse(self._decode(frame)), now)
        except UnknownKind:
            return  # a newer server's; nothing that we asked for
        except BadMessage as error:
            contact.hang_up()
            self._lost(contact, f"the server sent nonsense: {error}", now)

    def downlink_received(self, membership: Membership, frame: bytes, now: float) -> None:
        """A frame came on the downlink of a membership. Only bundles of its own stream are heard."""
        try:
            message = parse(self._decode(frame))
            if not isinstance(message, Deliver):
                raise BadMessage("a downlink carries bundles")
            # A topic that was granted to the wrong connection ends here: of another room, or another member's own.
            own = membership.downlink is not None and message.ref in (0, mark_of(membership.downlink[1]) & 0xFFFFFFFF)
            self._deliver(membership if own else None, message, now)
        except (BadMessage, UnknownKind):
            self._out.close_downlink(membership)
            self.downlink_lost(membership)

    def downlink_lost(self, membership: Membership) -> None:
        """The downlink failed, or is lost: what it carried is asked for again, on a new one."""
        if membership.state is not MembershipState.ENDED:
            membership.downlink = None
            self._recover_soon(membership)

    def tick(self, now: float) -> float | None:
        """Do what is due.

        Returns:
            When to call again at the latest, or None.
        """
        again, self._to_recover = self._to_recover, []
        for membership in again:
            if membership.contact.online and membership.state in (MembershipState.JOINED, MembershipState.AWAY):
                self._recover(membership)
        due = [self._tick(contact, now) for contact in (self.broker, *self.workers.values())]
        return min((when for when in due if when is not None), default=None)

    def _tick(self, contact: Contact, now: float) -> float | None:
        if contact.state is ClientState.WAITING:
            if now >= contact.deadline:
                contact.step(ClientEvent.RETRY)
                contact.dial(now, self._patience(contact))
            return contact.deadline
        if contact.state in (ClientState.DIALING, ClientState.OPENING):
            if now >= contact.deadline:
                contact.hang_up()
                self._lost(contact, "no answer", now)
            return contact.deadline
        if not contact.online:
            return None
        wrong = contact.wrong(now)
        if wrong is not None:
            contact.hang_up()
            self._lost(contact, wrong, now)
            return contact.deadline
        stuck = not contact.say_unsaid()
        for membership in self._conversations(contact):
            stuck |= not self.pump(membership)
            if membership.unacked:
                self.ask_ack(membership)
        return min(now + (_RETRY_FULL if stuck else _BEAT), contact.ping_at)

    # What the application wants.

    def ask(self, make: Callable[[int], Message]) -> int:
        """Ask the broker something; ``answered`` tells the outcome under this number.

        Args:
            make: makes the message; called again after a reconnect, with the
                same number and the session's new reference (``home.ref``).
        """
        ask = self._number()
        self._ask(self.broker, ask, make)
        return ask

    def forget(self, ask: int) -> None:
        """The answer is not wanted any more. A match is cancelled."""
        asked = self._asks.pop(ask, None)
        membership = self._joining.pop(ask, None)
        if membership is not None:
            self._finish(membership, None)
        elif asked is not None and isinstance(asked.make(ask), Match):
            if self.broker.online:
                self.broker.say(Cancel(self.home.ref, ask))
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
            membership.contact.say(Ack(membership.ref, membership.last))

    def leave(self, membership: Membership) -> None:
        """Leave a room: now, or as soon as it is reached again."""
        membership.leaving = True
        if self._is_connected(membership) and not membership.recovering:
            membership.contact.say(Leave(membership.ref))

    def read_on(self, membership: Membership, now: float) -> None:
        """The application takes messages again: fetch what was left out."""
        if not self._is_connected(membership):
            return  # a reconnect fetches it anyhow
        if membership is self.home:
            self.broker.hang_up()  # what the server says outside of rooms comes again with the next resume
            self._lost(self.broker, "catching up with the server", now)
        else:
            self._recover(membership)

    def pump(self, membership: Membership) -> bool:
        """Hand over what waits to be sent. Returns False where the connection takes no more now."""
        if not self._is_connected(membership) or membership.recovering:
            return True
        for number, frame in membership.untransmitted():
            if not membership.contact.transmit(frame):
                return False
            membership.transmitted(number)
        return True

    # What servers say.

    def _handle(self, contact: Contact, message: Message, now: float) -> None:
        if isinstance(message, Deliver):
            membership = self._by_ref(contact, message.ref) if message.ref else self._by_epoch(contact, message.epoch)
            self._deliver(membership, message, now)
        elif isinstance(message, Ack):
            membership = self._by_ref(contact, message.ref)
            if membership is not None:
                membership.acknowledged(message.number)
                self._out.progressed(membership)
        elif isinstance(message, Joined):
            self._joined(contact, message)
        elif isinstance(message, Error):
            self._error(contact, message)
        elif isinstance(message, Goodbye):
            self._goodbye(contact, message, now)
        elif isinstance(message, LeftRoom):
            membership = self._by_ref(contact, message.ref)
            if membership is not None:
                self._finish(membership, error_for(message.code, message.text))
        elif isinstance(message, Reset):
            self._reset(contact, message)
        elif isinstance(message, Rekeyed):
            membership = self._by_ref(contact, message.ref)
            if membership is not None:
                self._out.close_downlink(membership)
                membership.downlink = None
                self._recover(membership)
        elif contact is self.broker:
            self._handle_brokers(message, now)
        # PONG is a sign of life; there is nothing more to do.

    def _handle_brokers(self, message: Message, now: float) -> None:
        if isinstance(message, Welcome):
            self._welcome(message, now)
        elif isinstance(message, Assigned):
            self._assigned(message, now)
        elif isinstance(message, RoomLost):
            self._room_lost(message.room, error_for(message.code, message.text))
        elif isinstance(message, Rooms | Endpoints) and self._asks.pop(message.ask, None) is not None:
            self._out.answered(message.ask, message)
        # TICKET is a sign of life.

    def _welcome(self, message: Welcome, now: float) -> None:
        if self.state is not ClientState.OPENING:
            return
        self._session, self._token = message.session, message.token
        if not message.resumed:
            self.limits = Limits.from_wire(message.limits)
            self._decode = download_decoder(self.limits)
            self.home = Membership("", self.broker, self.limits, self._inbox)
        home = self.home
        self.broker.opened(self.limits, now)
        if home.reader.epoch != message.epoch:
            self.data = ClientData(message.client_id, message.address)
            unknown = SessionUnknown("the server was started anew: it is not known whether this was applied")
            for number in home.restart(Position(message.epoch, 0, message.direct)):
                self._out.refused(home, number, unknown)
        home.ref = message.ref
        home.step(MembershipEvent.JOINED)
        home.acknowledged(message.uplink)
        home.repeat_from(message.uplink + 1)
        self.broker.say(Ack(home.ref, 0))  # confirms that the token has arrived
        for ask in self._to_cancel:
            self.broker.say(Cancel(home.ref, ask))
        self._to_cancel.clear()
        self._say_again(self.broker)
        self.pump(home)
        if home.unacked:
            self.ask_ack(home)
        self._out.opened(message.resumed)

    def _say_again(self, contact: Contact) -> None:
        """What is not answered, and where we are in its rooms."""
        unanswered = [(ask, asked) for ask, asked in self._asks.items() if asked.contact is contact]
        for membership in self.rooms.values():
            if membership.contact is contact:
                self._recover(membership)
        for ask, asked in unanswered:
            contact.say(asked.make(ask))

    def _assigned(self, message: Assigned, now: float) -> None:
        if self._asks.pop(message.ask, None) is None:
            self.broker.say(Cancel(self.home.ref, message.ask))  # not wanted any more: somebody else may have the seat
            return
        contact = self.broker if message.endpoint is None else self._worker(message.endpoint, now)
        membership = Membership(message.room, contact, self.limits, self._inbox)
        self._joining[message.ask] = membership
        room, reservation = message.room, message.reservation
        self._ask(contact, message.ask, lambda ask: Join(ask, room, reservation, {}))

    def _joined(self, contact: Contact, message: Joined) -> None:
        self._asks.pop(message.ask, None)
        membership = self._joining.pop(message.ask, None)
        first = membership is not None
        if membership is None:
            membership = self.rooms.get(message.room)
            if membership is None or membership.contact is not contact:
                contact.say(Leave(message.ref))  # nobody waits for it any more
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
        contact.say(Ack(membership.ref, 0))  # confirms that the token has arrived
        if membership.downlink != message.downlink:
            self._out.close_downlink(membership)
            membership.downlink = message.downlink
            if message.downlink is not None:
                self._out.open_downlink(membership, *message.downlink)
        self.pump(membership)
        if membership.unacked:
            self.ask_ack(membership)  # somebody may wait for it, who asked before the reconnect
        if membership.leaving:
            contact.say(Leave(membership.ref))
        if first:
            self._out.answered(message.ask, membership)
        self._out.progressed(membership)

    def _deliver(self, membership: Membership | None, message: Deliver, now: float) -> None:
        if membership is None or membership.reader.epoch != message.epoch:
            self._out.misrouted(message.epoch)
            return
        # A downlink overtakes the answer to RECOVER, which comes on the other connection: there, all is read.
        if (membership.recovering and membership.downlink is None) or not membership.inbox.has_room():
            return
        try:
            for number, reply, error in membership.read(message.offset, message.items):
                membership.acknowledged(number)
                self._out.replied(membership, number, reply, error)
        except Gap:
            self.read_on(membership, now)
        self._out.progressed(membership)

    def _room_lost(self, room: str, error: RemoteError) -> None:
        membership = self.rooms.get(room)
        if membership is not None:
            self._finish(membership, error)
        for ask in [ask for ask, joining in self._joining.items() if joining.room == room]:
            self._asks.pop(ask, None)
            self._finish(self._joining.pop(ask), error)
            self._out.answered(ask, error)

    def _reset(self, contact: Contact, message: Reset) -> None:
        membership = self._by_ref(contact, message.ref)
        if membership is not None:
            membership.reset(Position(message.epoch, message.offset, message.direct), message.snapshot)
            self._out.progressed(membership)

    def _error(self, contact: Contact, message: Error) -> None:
        error = error_for(message.code, message.text, message.data)
        if message.ask == self._opening_ask and contact is self.broker:
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
                self._recover_soon(recovered)  # not now, the server says: at the next beat
            else:
                if membership is not None:
                    self._finish(membership, error)
                self._out.answered(message.ask, error)
            return
        membership = self._by_ref(contact, message.ref) if message.ref or contact is not self.broker else self.home
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

    def _goodbye(self, contact: Contact, message: Goodbye, now: float) -> None:
        error = error_for(message.code, message.text)
        if contact is not self.broker:
            contact.hang_up()
            self._lost(contact, error.text, now)
        elif message.ref not in (0, self.home.ref):
            return
        elif isinstance(error, TemporaryClose) and message.code != Code.SERVER_STOPPING:
            contact.hang_up()
            self._lost(contact, error.text, now)
        else:
            self._end(error)

    # Connections.

    def _worker(self, endpoint: str, now: float) -> Contact:
        contact = self.workers.get(endpoint)
        if contact is None:
            contact = self.workers[endpoint] = Contact(endpoint, self._out, self._random, now)
            self._open(contact, now)
        return contact

    def _open(self, contact: Contact, now: float) -> None:
        contact.step(ClientEvent.OPEN)
        contact.dial(now, self._patience(contact))

    def _lost(self, contact: Contact, reason: str, now: float) -> None:
        if contact.state in (ClientState.CLOSED, ClientState.WAITING, ClientState.IDLE):
            return
        was_online = contact.online
        contact.lost(now)
        if was_online:
            for membership in self._conversations(contact):
                self._out.close_downlink(membership)
                membership.downlink = None
                membership.ref = 0  # it may name another one on the next connection
                membership.recovering = False
                self._asks.pop(membership.recover_ask, None)
                membership.step(MembershipEvent.LOST)
                self._out.progressed(membership)
            self._out.interrupted(reason if contact is self.broker else f"worker at {contact.address}: {reason}")
        if contact.deadline < contact.gone_since + self._patience(contact):
            return
        waited = now - contact.gone_since
        if contact is not self.broker:
            self._give_up(contact, waited)
        else:
            attempts = max(1, contact.backoff.attempts - bool(self._session))
            self._end(BrokerUnreachable(contact.address, waited, attempts))

    def _give_up(self, contact: Contact, waited: float) -> None:
        """A worker can't be reached: its rooms are over for us."""
        lost = WorkerLost(f"the room's worker at {contact.address} could not be reached for {waited:.0f} s")
        rooms = [one.room for one in (*self.rooms.values(), *self._joining.values()) if one.contact is contact]
        for room in rooms:
            self._room_lost(room, lost)

    def _patience(self, contact: Contact) -> float:
        if contact is self.broker and any(worker.online for worker in self.workers.values()):
            return float("inf")  # our rooms go on without it, and so do we
        return self._reconnect_timeout if self._session else self._connect_timeout

    def _end(self, error: ServerRoomError | None) -> None:
        if self.state is ClientState.CLOSED:
            return
        for contact in (self.broker, *self.workers.values()):
            contact.step(ClientEvent.CLOSE)
            contact.hang_up()
        self.workers.clear()
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

        self._ask(membership.contact, ask, recover)

    def _recover_soon(self, membership: Membership) -> None:
        if membership not in self._to_recover:
            self._to_recover.append(membership)

    def _ask(self, contact: Contact, ask: int, make: Callable[[int], Message]) -> None:
        self._asks[ask] = _Ask(contact, make)
        if contact.online:
            contact.say(make(ask))

    def _finish(self, membership: Membership, error: RemoteError | None) -> None:
        if membership.state is MembershipState.ENDED:
            return
        membership.step(MembershipEvent.ENDED)
        membership.error = error
        self._out.close_downlink(membership)
        if self.rooms.get(membership.room) is membership:
            del self.rooms[membership.room]
        self._asks.pop(membership.recover_ask, None)
        self._part_with(membership.contact)
        self._out.progressed(membership)

    def _part_with(self, contact: Contact) -> None:
        """Hang up on a worker that has no room of ours any more."""
        used = any(one.contact is contact for one in (*self.rooms.values(), *self._joining.values()))
        if self.workers.get(contact.address) is contact and not used:
            del self.workers[contact.address]
            contact.step(ClientEvent.CLOSE)
            contact.hang_up()

    def _conversations(self, contact: Contact) -> Iterator[Membership]:
        if contact is self.broker:
            yield self.home
        yield from [one for one in self.rooms.values() if one.contact is contact]

    def _is_connected(self, membership: Membership) -> bool:
        return membership.contact.online and membership.state is MembershipState.JOINED

    def _by_ref(self, contact: Contact, ref: int) -> Membership | None:
        return next((one for one in self._conversations(contact) if one.ref == ref and ref), None)

    def _by_epoch(self, contact: Contact, epoch: int) -> Membership | None:
        return next((one for one in self._conversations(contact) if one.room and one.reader.epoch == epoch), None)

    def _number(self) -> int:
        self._next_ask = self._next_ask + 1 if self._next_ask < 0xFFFFFFFF else _FIRST_ASK
        return self._next_ask
