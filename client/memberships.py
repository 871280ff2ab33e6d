"""The conversations of one client, decided: entering rooms, recovering, reading, sending, leaving.

Each has its server: several rooms of one worker share its contact. What a
contact tells is about those of its own alone, whatever reference it names.
"""

from collections.abc import Callable, Iterator
from typing import Any

from ..protocol.errors import BadMessage, Code, ProtocolViolation, RemoteError, RequestError, error_for
from ..protocol.ids import mark_of
from ..protocol.limits import Limits
from ..protocol.messages import (
    WAYS_IN,
    Ack,
    Assigned,
    Deliver,
    Error,
    Join,
    Joined,
    Kind,
    Leave,
    LeftRoom,
    Message,
    Recover,
    Rekeyed,
    Reset,
)
from ..protocol.streams import Gap, Position, StreamReader
from .asks import Asks
from .contact import Contact
from .given_up import GivenUp
from .membership import Membership, MembershipEvent, MembershipState
from .outbox import ClientOutbox

__all__ = ["Memberships"]

_FAREWELL_TIME = 1.0
"""Seconds that the downlink of a room that is over may take to bring what was said last: then the server closes it."""
_REST_TIME = 5.0
"""Seconds that a server may take to answer who asks for the rest of a room that is over."""


class Memberships:
    """The rooms that a client is in, or about to be, and what it says to the server itself.

    Args:
        broker: the contact that has the session.
        asks: the client's requests.
        out: where to write.
        inbox: messages of each that may wait to be read.
        part_with: called with the server of a room that is over.
    """

    def __init__(
        self, broker: Contact, asks: Asks, out: ClientOutbox, inbox: int, part_with: Callable[[Contact], None]
    ) -> None:
        self.rooms: dict[str, Membership] = {}
        self._broker = broker
        self._asks = asks
        self._out = out
        self._inbox = inbox
        self._part_with = part_with
        self._joining: dict[int, Membership] = {}
        """By the number of the request that leads there."""
        self._to_recover: list[Membership] = []
        self._ending: dict[Membership, tuple[float, bool]] = {}
        """Those whose end we know, until when we wait for what was said before it, and whether we ask nobody then."""
        self._given_up = GivenUp()
        self.begin(Limits())

    def begin(self, limits: Limits) -> None:
        """A session begins, with these limits."""
        self._limits = limits
        self.home = Membership("", self._broker, limits, self._inbox)
        """The session's own conversation with the server."""

    def __iter__(self) -> Iterator[Membership]:
        """All rooms: those that we are in, and those that we are about to enter."""
        return iter([*self.rooms.values(), *self._joining.values()])

    def of(self, contact: Contact) -> list[Membership]:
        """The conversations with this server."""
        rooms = [one for one in self.rooms.values() if one.contact is contact]
        return [self.home, *rooms] if contact is self._broker else rooms

    def _by_ref(self, contact: Contact, ref: int) -> Membership | None:
        return next((one for one in self.of(contact) if one.ref == ref and ref), None)

    def _is_connected(self, membership: Membership) -> bool:
        joined = membership.state is MembershipState.JOINED and membership.ending is None
        return joined and membership.contact.online

    # Entering.

    def enter(self, assigned: Assigned, contact: Contact) -> None:
        """Take a seat that is reserved."""
        room, reservation = assigned.room, assigned.reservation
        self._joining[assigned.ask] = Membership(room, contact, self._limits, self._inbox)
        self._asks.put(contact, assigned.ask, lambda ask: Join(ask, room, reservation, {}))

    def is_entering(self, ask: int) -> bool:
        """Whether a seat is being taken that was asked for under this number."""
        return ask in self._joining

    def stop_entering(self, ask: int, error: RemoteError | None = None) -> bool:
        """The seat is not wanted any more, or was refused. False: none was to be taken."""
        membership = self._joining.pop(ask, None)
        if membership is None:
            return False
        self._finish(membership, error)
        return True

    def _joined(self, contact: Contact, message: Joined) -> None:
        asked = self._asks.answered(contact, message.ask)
        membership = self._joining.pop(message.ask, None) if asked is not None else None
        if asked is not None and isinstance(asked(message.ask), WAYS_IN):
            membership = Membership(message.room, contact, self._limits, self._inbox)  # its seat was taken at once
        first = membership is not None
        if membership is None:
            membership = self.rooms.get(message.room)
            if membership is None or membership.contact is not contact:
                contact.say(Leave(message.ref))  # nobody waits for it any more
                self._given_up.add(contact, message.ref, message.epoch)
                return
        membership.recovering = False
        membership.ref, membership.token = message.ref, message.token
        if message.info.get("over") is True:
            self._over(membership)
            return
        membership.type, membership.info = message.type, message.info
        if first:
            membership.reader = StreamReader(Position(message.epoch, message.offset, message.direct))
            members = message.info.get("members")
            membership.members = {one for one in members if type(one) is int} if type(members) is list else set()
            self.rooms[message.room] = membership
        membership.step(MembershipEvent.JOINED)
        membership.repeat_from(message.uplink + 1)  # what was taken before may still wait: an ACK says what is applied
        contact.say(Ack(membership.ref, membership.acked))  # confirms that the token has arrived
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

    def _over(self, membership: Membership) -> None:
        """The room is over for us, but what we missed of it comes now, all of it on this connection."""
        membership.over = True
        membership.inbox.lift()
        self._out.close_downlink(membership)
        membership.downlink = None

    # Recovering.

    def recover(self, membership: Membership) -> None:
        """Ask for what is missing, and for a new reference."""
        if membership.recovering:
            return
        membership.recovering = True
        ask = membership.recover_ask = self._asks.number()

        def recover(number: int) -> Message:
            return Recover(number, membership.room, membership.token, *membership.reader.position)

        self._asks.put(membership.contact, ask, recover)

    def recover_all(self, contact: Contact) -> None:
        """The connection is a new one: take back all that is at this server."""
        for membership in self.of(contact):
            if membership is not self.home and not (membership.ending and membership.downlink):
                self.recover(membership)

    def recover_due(self) -> None:
        """Try again what the server refused for the moment."""
        again, self._to_recover = self._to_recover, []
        for membership in again:
            if membership.contact.online and membership.state in (MembershipState.JOINED, MembershipState.AWAY):
                self.recover(membership)

    def _recover_soon(self, membership: Membership) -> None:
        if membership not in self._to_recover:
            self._to_recover.append(membership)

    def downlink_lost(self, membership: Membership) -> None:
        """The downlink failed, or is lost: what it carried is asked for again, on a new one."""
        membership.downlink = None
        if membership.state is not MembershipState.ENDED:
            self._recover_soon(membership)

    # What servers say.

    def handle(self, contact: Contact, message: Message, now: float) -> bool:
        """Handle what a server says of a conversation with it. False: that is not what the message is about."""
        if isinstance(message, Joined):
            self._joined(contact, message)
            return True
        if not isinstance(message, Ack | LeftRoom | Reset | Rekeyed):
            return False
        membership = self._by_ref(contact, message.ref)
        if membership is None:
            if isinstance(message, LeftRoom):
                self._given_up.settled(contact, message.ref)
            elif isinstance(message, Reset):
                self._stray(contact, message)
            return True
        if membership is self.home and isinstance(message, LeftRoom | Rekeyed):
            raise BadMessage("only rooms are left, and only rooms have downlinks")
        if isinstance(message, Ack):
            membership.acknowledged(message.number)
            self._out.progressed(membership)
        elif isinstance(message, LeftRoom):
            self._left(membership, message, now)
        elif isinstance(message, Reset):
            self.reset(membership, message)
        else:
            self._out.close_downlink(membership)
            membership.downlink = None
            self.recover(membership)
        return True

    def addressed(self, contact: Contact, message: Deliver) -> Membership | None:
        """Whom a bundle on this connection is for."""
        if message.ref:
            addressed = self._by_ref(contact, message.ref)
        else:
            addressed = next((one for one in self.of(contact) if one.room and one.reader.epoch == message.epoch), None)
        if addressed is None or addressed.reader.epoch != message.epoch:
            self._stray(contact, message)
            return None
        return addressed

    def addressed_below(self, membership: Membership, message: Deliver | Reset | LeftRoom) -> Membership | None:
        """Whom a frame on a downlink is for: its member, or nobody that we know.

        A topic that was granted to the wrong connection ends here: of another room, or another member's own.
        """
        downlink = membership.downlink
        own = downlink is not None and message.ref in (0, mark_of(downlink[1]) & 0xFFFFFFFF)
        if isinstance(message, LeftRoom):
            return membership if own else None
        if own and (isinstance(message, Reset) or message.epoch == membership.reader.epoch):
            return membership
        self._out.misrouted(message.epoch)
        return None

    def _stray(self, contact: Contact, message: Deliver | Reset) -> None:
        """Nothing that we are in has this reference, or this epoch."""
        if not self._given_up.covers(contact, message.ref, message.epoch):
            self._out.misrouted(message.epoch)

    def reset(self, membership: Membership, message: Reset) -> None:
        """Go on from elsewhere: what was missed is gone."""
        place, here = Position(message.epoch, message.offset, message.direct), membership.reader.position
        # The answer to an older question than the one that brought us here: nothing is missing up to there.
        if place.epoch != here.epoch or place.offset > here.offset or place.direct > here.direct:
            membership.reset(place, message.snapshot)
            self._out.progressed(membership)

    def deliver(self, membership: Membership, message: Deliver, size: int) -> bool:
        """Read a bundle that is addressed to it, and came in so many bytes. False: something is missing before it."""
        # A downlink overtakes the answer to RECOVER, which comes on the other connection: there, all is read.
        if (membership.recovering and membership.downlink is None) or not membership.inbox.has_room():
            return True
        if not membership.inbox.bears(size):
            self._finish(membership, ProtocolViolation("the server says more behind the end than it can have kept"))
            return True
        try:
            for number, reply, error in membership.read(message.offset, message.items):
                membership.answered(number)
                self._out.replied(membership, number, reply, error)
        except Gap:
            return False
        finally:
            self._out.progressed(membership)
        if membership.ending is not None and membership.complete:
            self._finish(membership, membership.ending)
        return True

    def refused(self, contact: Contact, message: Error, error: RemoteError) -> None:
        """A message that we sent was refused."""
        at_home = not message.ref and contact is self._broker
        membership = self.home if at_home else self._by_ref(contact, message.ref)
        if message.code == Code.NOT_A_MEMBER and message.ref:
            self._given_up.settled(contact, message.ref)
        if membership is None:
            return  # of a room that is over
        if message.code == Code.UPLINK_GAP and type(message.data) is int:
            membership.repeat_from(message.data)
            self.pump(membership)
            return
        if message.code == Code.NOT_A_MEMBER and membership is not self.home:
            membership.ref = 0
            self._finish(membership, error)
            return
        if not message.ask or membership.answered(message.ask):  # it may be said again, after a reconnect
            self._out.refused(membership, message.ask, error)

    def not_recovered(self, ask: int, error: RemoteError) -> bool:
        """A request was refused. False: it was none to recover a room."""
        membership = next((room for room in self.rooms.values() if room.recover_ask == ask), None)
        if membership is None:
            return False
        # What is no error of one request is the end of the membership.
        if error.code in (Code.ROOM_NOT_FOUND, Code.RESERVATION_REFUSED) or not isinstance(error, RequestError):
            self._finish(membership, membership.ending or error)
        else:
            membership.recovering = False
            self._recover_soon(membership)  # not now, the server says: at the next beat
        return True

    # Sending.

    def send(self, membership: Membership, kind: Kind, name: str, data: Any) -> int:
        """See ``ClientCore.send``."""
        number = membership.add(kind, name, data)
        self.pump(membership)
        return number

    def ask_ack(self, membership: Membership) -> None:
        """Have it said soon how far messages are applied."""
        if self._is_connected(membership) and not membership.recovering:
            membership.contact.say(Ack(membership.ref, membership.acked))

    def pump(self, membership: Membership) -> bool:
        """Hand over what waits to be sent. Returns False where the connection takes no more now."""
        if not self._is_connected(membership) or membership.recovering:
            return True
        for number, frame in membership.untransmitted():
            if not membership.contact.transmit(frame):
                return False
            membership.transmitted(number)
        return True

    def pump_all(self, contact: Contact) -> bool:
        """The same for all conversations with a server, and ask it how far messages are applied."""
        stuck = False
        for membership in self.of(contact):
            stuck |= not self.pump(membership)
            if membership.unacked:
                self.ask_ack(membership)
        return not stuck

    # Ending.

    def leave(self, membership: Membership) -> None:
        """Leave a room: now, or as soon as it is reached again."""
        membership.leaving = True
        if membership.ending is not None:
            self._finish(membership, membership.ending)  # nobody waits for the rest any more
        elif self._is_connected(membership) and not membership.recovering:
            membership.contact.say(Leave(membership.ref))

    def leave_workers(self) -> None:
        """Leave all that does not end with the session by itself."""
        for membership in self.rooms.values():
            if membership.contact is not self._broker and self._is_connected(membership):
                membership.contact.say(Leave(membership.ref))

    def lost(self, contact: Contact) -> None:
        """The connection to a server is lost."""
        self._given_up.lost(contact)
        for membership in self.of(contact):
            if membership.ending is not None and membership.downlink is not None:
                continue  # its server may be gone, but not what it said last
            self._out.close_downlink(membership)
            membership.downlink = None
            membership.ref = 0  # it may name another one on the next connection
            membership.recovering = False
            self._asks.pop(membership.recover_ask)
            membership.step(MembershipEvent.LOST)
            self._out.progressed(membership)

    def room_lost(self, room: str, error: RemoteError) -> None:
        """A room is over, whether we are in it or about to be."""
        membership = self.rooms.get(room)
        if membership is not None:
            self._finish(membership, membership.ending or error)
        for ask in [ask for ask, joining in self._joining.items() if joining.room == room]:
            self._asks.pop(ask)
            self._finish(self._joining.pop(ask), error)
            self._out.answered(ask, error)

    def _left(self, membership: Membership, message: LeftRoom, now: float) -> None:
        error = membership.ending or error_for(message.code, message.text)
        membership.end, membership.ref = (message.offset, message.direct), 0
        if membership.over or membership.leaving or membership.complete:
            self._finish(membership, error)
        elif membership.ending is None:
            membership.ending = error
            self._ending[membership] = now + _FAREWELL_TIME, False
            if membership.inbox.lift() or membership.downlink is None:
                self._fetch_rest(membership, now)

    def left_below(self, membership: Membership | None, message: LeftRoom, now: float) -> None:
        """The room's end has come down: what has not come before does not come any more."""
        if membership is not None:
            self._left(membership, message, now)
            if membership.state is not MembershipState.ENDED:
                self._fetch_rest(membership, now)

    def _fetch_rest(self, membership: Membership, now: float) -> None:
        self._ending[membership] = now + _REST_TIME, True
        self.recover(membership)

    def end_due(self, now: float) -> float | None:
        """Ask for what was said before an end, or give that up; when to call again at the latest, or None."""
        due = [(membership, asked) for membership, (until, asked) in self._ending.items() if until <= now]
        for membership, asked in due:
            if asked and membership.contact.online:
                self._finish(membership, membership.ending)
            else:
                self._fetch_rest(membership, now)
        return min((until for until, _ in self._ending.values()), default=None)

    def end(self, error: RemoteError | None) -> None:
        """The session is over, and every room with it."""
        for membership in list(self.rooms.values()):
            self._finish(membership, error)

    def _finish(self, membership: Membership, error: RemoteError | None) -> None:
        if membership.state is MembershipState.ENDED:
            return
        membership.step(MembershipEvent.ENDED)
        membership.error = error
        if membership.ref and membership is not self.home:
            self._given_up.add(membership.contact, membership.ref, membership.reader.epoch)
        self._ending.pop(membership, None)
        self._out.close_downlink(membership)
        if self.rooms.get(membership.room) is membership:
            del self.rooms[membership.room]
        self._asks.pop(membership.recover_ask)
        self._part_with(membership.contact)
        self._out.progressed(membership)
