"""The client, decided: connecting, resuming, asking, joining, recovering.

The core takes events with the time and writes to an outbox. A connection that
is lost is replaced after a jittered delay; the session is resumed on the new
one, and every room recovered from where it was. Requests that were not answered
are asked again under the same number, which the server answers once.
"""

from collections.abc import Callable
from typing import Any

from ..protocol.codec import download_decoder
from ..protocol.errors import (
    AuthRefused,
    BadMessage,
    Code,
    CredentialsError,
    RemoteError,
    ServerRoomError,
    SessionUnknown,
    TemporaryClose,
    UnknownKind,
    WorkerLost,
    error_for,
)
from ..protocol.limits import Limits
from ..protocol.messages import (
    WAYS_IN,
    Ack,
    Assigned,
    Cancel,
    Deliver,
    Error,
    Goodbye,
    Kind,
    LeftRoom,
    Message,
    Reset,
    RoomLost,
    Welcome,
    parse,
)
from ..protocol.names import ClientData
from ..protocol.queue_messages import Enqueue, Rematch
from ..protocol.streams import Position
from ..transport.network import Failure
from .asks import FIRST_ASK, Asks
from .contact import Contact
from .life import ClientEvent, ClientState
from .membership import Membership, MembershipEvent, MembershipState
from .memberships import Memberships
from .opening import Opening
from .outbox import ClientOutbox
from .requests import Requests

__all__ = ["ClientCore"]

_RETRY_FULL = 0.02
_BEAT = 1.0


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
        credentials: what to show of who this is; None: nothing.
        fetches: ask for them instead, each time that they are needed.
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
        credentials: Any = None,
        *,
        fetches: bool = False,
    ) -> None:
        self.data = ClientData(0, "")
        self.limits = Limits()
        self.broker = Contact(address, out, random)
        self.workers: dict[str, Contact] = {}
        """Those whose rooms we are in, or about to be, by endpoint."""
        self._out = out
        self._random = random
        self._connect_timeout = connect_timeout
        self._reconnect_timeout = reconnect_timeout
        self._decode = download_decoder(self.limits)
        self._asks = Asks()
        self._memberships = Memberships(self.broker, self._asks, out, inbox, self._part_with)
        self.rooms = self._memberships.rooms
        """Those that we are in, by id."""
        self.requests = Requests(self.broker, self._asks, self._memberships, out)
        self._opening = Opening(self.broker, self._asks, self._memberships, out, software, credentials, fetches=fetches)

    @property
    def home(self) -> Membership:
        """The session's own conversation with the server."""
        return self._memberships.home

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
        self._memberships.leave_workers()
        self._end(None)

    def up(self, now: float, contact: Contact | None = None) -> None:
        """The connection stands."""
        contact = contact or self.broker
        contact.up(now, self._patience(contact), self.limits)
        if contact is not self.broker:
            contact.opened(self.limits, now)  # a worker is told nothing but what we want
            self._say_again(contact)
            return
        self._opening.begin()

    def introduce(self, ask: int, credentials: Any) -> None:
        """See ``Opening.introduce``."""
        self._opening.introduce(ask, credentials)

    def not_introduced(self, ask: int, error: CredentialsError, now: float) -> None:
        """The application could not say who it is. A session that we have is not given up for it."""
        if not self._opening.waits_for(ask):
            return
        if self._opening.has_session:
            self._lose_opening(error, now)
        else:
            self._end(error)

    def down(self, reason: str, now: float, contact: Contact | None = None, failure: Failure | None = None) -> None:
        """The connection failed, or is lost. ``failure``: what the port's lock has to do with it."""
        contact = contact or self.broker
        if contact is not self.broker:
            self._lost(contact, reason, now)
            if failure is Failure.REFUSED:
                self._part_from(contact, WorkerLost(f"the room's worker at {_shown(contact)}: {reason}"))
            return
        if failure is Failure.REFUSED:
            self._end(AuthRefused(reason))
            return
        if contact.state is not ClientState.OPENING:
            self._opening.unwelcome = None  # that nobody is there says more than what was said before
        if failure is not None:
            self._opening.locked_out = reason
        self._lost(contact, reason, now)

    def receive(self, frame: bytes, now: float, contact: Contact | None = None) -> None:
        """A frame came."""
        contact = contact or self.broker
        contact.heard(now)
        try:
            self._handle(contact, parse(self._decode(frame)), now, len(frame))
        except UnknownKind:
            return  # a newer server's; nothing that we asked for
        except BadMessage as error:
            contact.hang_up()
            self._lost(contact, f"the server sent nonsense: {error}", now)

    def downlink_received(self, membership: Membership, frame: bytes, now: float) -> None:
        """A frame came on the downlink of a membership. Only what is its own is heard."""
        try:
            message = parse(self._decode(frame))
            if not isinstance(message, Deliver | Reset | LeftRoom):
                raise BadMessage("a downlink carries bundles, resets, and the end")
            addressed = self._memberships.addressed_below(membership, message)
            if isinstance(message, Deliver):
                self._deliver(addressed, message, now, len(frame))
            elif isinstance(message, LeftRoom):
                self._memberships.left_below(addressed, message, now)
            elif addressed is not None:
                self._memberships.reset(addressed, message)
        except (BadMessage, UnknownKind):
            self._out.close_downlink(membership)
            self.downlink_lost(membership)

    def downlink_lost(self, membership: Membership) -> None:
        """The downlink failed, or is lost: what it carried is asked for again, on a new one."""
        self._memberships.downlink_lost(membership)

    def tick(self, now: float) -> float | None:
        """Do what is due.

        Returns:
            When to call again at the latest, or None.
        """
        self._memberships.recover_due()
        due = [self._memberships.end_due(now)]
        due += [self._tick(contact, now) for contact in (self.broker, *self.workers.values())]
        return min((when for when in due if when is not None), default=None)

    def _tick(self, contact: Contact, now: float) -> float | None:
        self._bear_with(contact, now)
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
        stuck |= not self._memberships.pump_all(contact)
        return min(now + (_RETRY_FULL if stuck else _BEAT), contact.ping_at)

    # What the application wants.

    def send(self, membership: Membership, kind: Kind, name: str, data: Any) -> int:
        """Send a message or a request; its number.

        Raises:
            PayloadError, Backpressure: see ``Membership.add``.
        """
        return self._memberships.send(membership, kind, name, data)

    def ask_ack(self, membership: Membership) -> None:
        """Have it said soon how far messages are applied."""
        self._memberships.ask_ack(membership)

    def leave(self, membership: Membership) -> None:
        """Leave a room: now, or as soon as it is reached again."""
        self._memberships.leave(membership)

    def read_on(self, membership: Membership, now: float) -> None:
        """The application takes messages again: fetch what was left out."""
        if not membership.contact.online or membership.state is not MembershipState.JOINED:
            return  # a reconnect fetches it anyhow
        if membership is self.home:
            self.broker.hang_up()  # what the server says outside of rooms comes again with the next resume
            self._lost(self.broker, "catching up with the server", now)
        else:
            self._memberships.recover(membership)

    # What servers say.

    def _handle(self, contact: Contact, message: Message, now: float, size: int) -> None:
        if isinstance(message, Deliver):
            self._deliver(self._memberships.addressed(contact, message), message, now, size)
        elif isinstance(message, Error):
            self._error(contact, message, now)
        elif isinstance(message, Goodbye):
            self._goodbye(contact, message, now)
        elif self._memberships.handle(contact, message, now):
            return
        elif contact is self.broker:
            self._handle_brokers(message, now)
        # PONG is a sign of life; there is nothing more to do.

    def _handle_brokers(self, message: Message, now: float) -> None:
        if isinstance(message, Welcome):
            self._welcome(message, now)
        elif isinstance(message, Assigned):
            self._assigned(message, now)
        elif isinstance(message, RoomLost):
            self._memberships.room_lost(message.room, error_for(message.code, message.text))
        else:
            self.requests.take(message)

    def _welcome(self, message: Welcome, now: float) -> None:
        if self.state is not ClientState.OPENING:
            return
        self._opening.done(message.session, message.token)
        if not message.resumed:
            self.limits = Limits.from_wire(message.limits)
            self._decode = download_decoder(self.limits)
            self._memberships.begin(self.limits)
        home = self.home
        self.broker.opened(self.limits, now)
        if home.reader.epoch != message.epoch:
            self.data = ClientData(message.client_id, message.address)
            unknown = SessionUnknown("the server was started anew: it is not known whether this was applied")
            for number in home.restart(Position(message.epoch, 0, message.direct)):
                self._out.refused(home, number, unknown)
            if message.resumed:
                self._out.party_changed({})  # this broker knows of none
        home.ref = message.ref
        home.step(MembershipEvent.JOINED)
        home.repeat_from(message.uplink + 1)
        self.broker.say(Ack(home.ref, home.acked))  # confirms that the token has arrived
        self.requests.say_cancelled()
        self._say_again(self.broker)
        self._memberships.pump(home)
        if home.unacked:
            self.ask_ack(home)
        self._out.opened(message.resumed)

    def _say_again(self, contact: Contact) -> None:
        """What is not answered, and where we are in its rooms."""
        unanswered = self._asks.of(contact)
        self._memberships.recover_all(contact)
        for ask, make in unanswered:
            contact.say(make(ask))
            if self._asks.is_cancelled(ask):
                contact.say(Cancel(self.home.ref, ask))

    def _assigned(self, message: Assigned, now: float) -> None:
        if self._memberships.is_entering(message.ask):
            return  # one answer is enough
        self._asks.check(message.ask, *WAYS_IN, Enqueue, Rematch)
        if self._asks.pop(message.ask) is None:
            self.broker.say(Cancel(self.home.ref, message.ask))  # not wanted any more: somebody else may have the seat
            return
        contact = self.broker if message.endpoint is None else self._worker(message.endpoint, now)
        self._memberships.enter(message, contact)

    def _deliver(self, membership: Membership | None, message: Deliver, now: float, size: int) -> None:
        if membership is not None and not self._memberships.deliver(membership, message, size):
            self.read_on(membership, now)

    def _error(self, contact: Contact, message: Error, now: float) -> None:
        error = error_for(message.code, message.text, message.data)
        if self._opening.is_about(message.ask) and contact is self.broker:
            self._opening_refused(error, now)
        elif message.ask < FIRST_ASK:
            self._memberships.refused(contact, message, error)
        elif self._asks.answered(contact, message.ask) is None:
            return
        elif not self._memberships.not_recovered(message.ask, error):
            self._memberships.stop_entering(message.ask, error)
            self._out.answered(message.ask, error)

    def _opening_refused(self, error: RemoteError, now: float) -> None:
        if self._opening.shows_more(error):
            return
        if isinstance(error, TemporaryClose):
            self._lose_opening(error, now)
        else:
            self._end(error)

    def _lose_opening(self, error: ServerRoomError, now: float) -> None:
        self._opening.unwelcome = error
        self.broker.hang_up()
        self._lost(self.broker, str(error), now)
        if self.state is not ClientState.CLOSED:
            self._out.interrupted(str(error))

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
        self._bear_with(contact, now)
        if was_online:
            self._memberships.lost(contact)
            self._out.interrupted(reason if contact is self.broker else f"worker at {_shown(contact)}: {reason}")
        if contact.try_again(now, self._patience(contact)):
            return
        waited = now - contact.gone_since
        if contact is not self.broker:
            self._give_up(contact, waited)
        else:
            self._end(self._opening.failure(waited))

    def _give_up(self, contact: Contact, waited: float) -> None:
        """A worker can't be reached: its rooms are over for us."""
        lost = WorkerLost(f"the room's worker at {_shown(contact)} could not be reached for {waited:.0f} s")
        self._part_from(contact, lost)

    def _part_from(self, contact: Contact, lost: WorkerLost) -> None:
        for room in [one.room for one in self._memberships if one.contact is contact]:
            self._memberships.room_lost(room, lost)

    def _patience(self, contact: Contact) -> float:
        if contact is self.broker and self.workers:
            return float("inf")  # our rooms may go on without it, and so do we; a worker has its own patience
        return self._reconnect_timeout if self._opening.has_session else self._connect_timeout

    def _bear_with(self, contact: Contact, now: float) -> None:
        """While we have rooms elsewhere, we wait for the broker; our patience begins when the last of them ends."""
        if contact is self.broker and self.workers and not contact.online:
            contact.gone_since = now

    def _end(self, error: ServerRoomError | None) -> None:
        if self.state is ClientState.CLOSED:
            return
        for contact in (self.broker, *self.workers.values()):
            contact.step(ClientEvent.CLOSE)
            contact.hang_up()
        self.workers.clear()
        self._memberships.end(error if isinstance(error, RemoteError) else None)
        self._out.ended(error)

    def _part_with(self, contact: Contact) -> None:
        """Hang up on a worker that has no room of ours any more."""
        used = any(one.contact is contact for one in self._memberships)
        if self.workers.get(contact.address) is contact and not used:
            del self.workers[contact.address]
            contact.step(ClientEvent.CLOSE)
            contact.hang_up()


def _shown(contact: Contact) -> str:
    """Its address, without the key that may stand behind it."""
    return contact.address.partition("#")[0]
