"""The broker, decided: what each client's request means for sessions, tickets, rooms and seats."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..protocol.codec import pack_payload
from ..protocol.errors import (
    AlreadyWaiting,
    BadMessage,
    CapacityReached,
    Code,
    Displaced,
    InRoom,
    MatchCancelled,
    MatchExpired,
    NoHandler,
    NotAMember,
    RemoteError,
    RequestError,
    RoomBusy,
    RoomNotFound,
    RuleSetError,
    ServerStopping,
    SessionUnknown,
    VersionMismatch,
)
from ..protocol.ids import Entropy, new_epoch, new_id
from ..protocol.messages import (
    HEAD_SIZE,
    VERSION,
    Assigned,
    Cancel,
    Create,
    Error,
    Goodbye,
    Hello,
    Item,
    JoinById,
    ListRooms,
    Match,
    Message,
    Reset,
    Resume,
    Rooms,
    Ticket,
    Welcome,
    encode,
)
from ..protocol.names import ClientData
from ..protocol.rates import TokenBucket
from ..protocol.rulesets import RuleSet
from ..protocol.streams import HistoryLimits, Position
from ..rooms.control import (
    OpenRoom,
    Refused,
    ReleaseSession,
    Reserved,
    ReserveSeats,
    RoomEnded,
    RoomReport,
    RoomUpdated,
    Seated,
    SeatWish,
    Unseated,
)
from ..rooms.fanout import FramesOut, UnicastFanout
from ..rooms.port import Connection, Port
from .directory import Directory
from .matchmaking import Queues, TicketState
from .matchmaking import Ticket as StandingTicket
from .sessions import Session, Sessions, SessionState

__all__ = ["Broker", "BrokerLimits", "BrokerOutbox"]

_RETRY = 0.02
_LONGEST_LIST = 12 * 1024
_MOST_SESSIONS_OF_A_CONNECTION = 256


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """How much one broker takes on."""

    sessions: int = 50_000
    rooms: int = 20_000
    longest_wait: float = 3600.0
    """Seconds that a ticket may wait at most, whatever its client asks."""
    session_grace: float = 30.0
    """Seconds that a session outlives its connection."""


class BrokerOutbox(FramesOut, Protocol):
    """Where the broker writes what must happen, besides what it says to clients."""

    now: float

    def control(self, message: OpenRoom | ReserveSeats | ReleaseSession) -> None:
        """Ask the worker."""

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        """Call back at that time."""

    def clear_alarm(self, callback: Callable[..., None], *args: Hashable) -> None:
        """Do not call back."""

    def flush_later(self) -> None:
        """Call ``flush`` before this turn ends."""

    def application_message(self, session: Session, name: str, data: Any) -> bool:
        """Let the server's owner handle it. False: too many wait."""
        ...

    def after_application(self, then: Callable[[], None]) -> None:
        """Do something when the messages given before are handled."""


class _Wish(NamedTuple):
    """Seats that were asked of the worker: for whom, and what to answer."""

    sessions: list[tuple[Session, int]]


class Broker:
    """Knows every client; matches them; keeps the directory.

    Args:
        port: announces its limits, gives references.
        out: where to write.
        entropy: where ids and secrets come from.
        limits: how much it takes on.
    """

    def __init__(self, port: Port, out: BrokerOutbox, entropy: Entropy, limits: BrokerLimits) -> None:
        self.sessions = Sessions(limits.sessions, entropy)
        self.directory = Directory()
        self.queues = Queues()
        self.stopping = False
        self._port = port
        self._out = out
        self._entropy = entropy
        self._limits = limits
        self._wishes: dict[int, _Wish] = {}
        self._next_ask = 1
        # What the server says to clients is direct messages alone: no broadcasts, no history of them.
        self._fanout = UnicastFanout(new_epoch(entropy), HistoryLimits(count=1), port.limits.download)

    # Requests of clients.

    def on_message(self, connection: Connection, message: Message) -> None:
        """Handle a request. Raises the RemoteError that the client is told."""
        if isinstance(message, Hello):
            self._hello(connection, message)
        elif isinstance(message, Resume):
            self._resume(connection, message)
        elif isinstance(message, Goodbye):
            self.end(self._find(connection, message.ref))
        elif isinstance(message, Match):
            self._match(self._find(connection, message.ref), message)
        elif isinstance(message, Cancel):
            self._cancel(self._find(connection, message.ref), message.ask)
        elif isinstance(message, Create):
            self._create(self._find(connection, message.ref), message)
        elif isinstance(message, JoinById):
            self._join_by_id(self._find(connection, message.ref), message)
        elif isinstance(message, ListRooms):
            self._list(self._find(connection, message.ref), message)

    def _find(self, connection: Connection, ref: int) -> Session:
        session = connection.refs.get(ref)
        if not isinstance(session, Session):
            raise NotAMember("no session has this reference here")
        return session

    # Sessions.

    def _hello(self, connection: Connection, message: Hello) -> None:
        if not self._may_enter(connection, message.versions):
            return
        if len(connection.sessions) >= _MOST_SESSIONS_OF_A_CONNECTION:
            raise CapacityReached(f"a connection carries at most {_MOST_SESSIONS_OF_A_CONNECTION} sessions")
        limits = self._port.limits

        def make(session_id: str, client: ClientData) -> Session:
            return Session(self, session_id, client, TokenBucket(limits.message_rate, limits.message_burst))

        session = self.sessions.open(make, connection.address)
        self._welcome(connection, session, message.ask, Position(self._fanout.epoch, 0, 0), resumed=False)

    def _resume(self, connection: Connection, message: Resume) -> None:
        if not self._may_enter(connection, message.versions):
            return
        try:
            session = self.sessions.resume(message.session, message.token)
        except SessionUnknown as error:
            connection.say(Goodbye(0, int(error.code), error.text))
            return
        self._displace(session, connection)
        self._out.clear_alarm(self._grace_is_over, session)
        self._welcome(
            connection, session, message.ask, Position(self._fanout.epoch, 0, message.direct), resumed=True
        )
        if session.ticket is not None and session.ticket.state is TicketState.WAITING:
            self._seat_together(self.queues.bring_back(session.ticket))

    def _may_enter(self, connection: Connection, versions: list[int]) -> bool:
        if self.stopping:
            connection.say(Goodbye(0, int(Code.SERVER_STOPPING), ServerStopping.meaning))
            return False
        if VERSION not in versions:
            connection.say(Goodbye(0, int(Code.VERSION_MISMATCH), f"this server speaks version {VERSION}"))
            return False
        return True

    def _displace(self, session: Session, newcomer: Connection) -> None:
        older = session.connection
        if older is None:
            return
        if session.ticket is not None and session.ticket.state is TicketState.WAITING:
            self.queues.set_aside(session.ticket)
        self._fanout.disconnect(session.line)
        if older is not newcomer:
            older.say(Goodbye(session.ref, int(Code.DISPLACED), Displaced.meaning))
            self._take_off(session, older)
        session.detach()

    def _take_off(self, session: Session, connection: Connection) -> None:
        """The session is not on this connection any more, and neither are its memberships."""
        connection.sessions -= {session.session}
        for ref, uplink in list(connection.refs.items()):
            if uplink.session == session.session and uplink is not session:
                del connection.refs[ref]
                uplink.lost()

    def _welcome(
        self, connection: Connection, session: Session, ask: int, position: Position, *, resumed: bool
    ) -> None:
        self.flush()
        session.attach(connection)
        connection.sessions |= {session.session}
        self._fanout.connect(session.line, connection.peer, session.ref, position)
        connection.say(
            Welcome(
                ask,
                VERSION,
                session.ref,
                session.session,
                session.token,
                session.id,
                session.client.ADDRESS,
                position.epoch,
                position.direct,
                session.uplink,
                resumed,
                self._port.limits.to_wire(),
            )
        )
        self._bring_up(session)

    def lost(self, session: Session) -> None:
        """A session's connection is gone: it has the grace period to come back."""
        self.sessions.drop(session)
        self._fanout.disconnect(session.line)
        if session.ticket is not None and session.ticket.state is TicketState.WAITING:
            self.queues.set_aside(session.ticket)
        self._out.alarm(self._out.now + self._limits.session_grace, self._grace_is_over, session)

    def end(self, session: Session) -> None:
        """A session is over: its ticket and its memberships as well."""
        connection = session.connection
        if connection is not None:
            for uplink in list(connection.refs.values()):
                if uplink.session == session.session and uplink is not session:
                    uplink.on_leave()
            connection.sessions -= {session.session}
        self._drop_ticket(session)
        self._fanout.disconnect(session.line)
        session.detach()
        self.sessions.end(session)
        self._out.clear_alarm(self._grace_is_over, session)
        self._out.control(ReleaseSession(session.session))

    def say_goodbye(self, code: Code, text: str) -> None:
        """Tell every client that the server stops. Sessions can't be resumed after."""
        self.stopping = True
        self.flush()
        for session in self.sessions:
            session.say(Goodbye(session.ref, int(code), text))

    # Matches.

    def _match(self, session: Session, message: Match) -> None:
        if self._answered_before(session, message.ask):
            return
        if session.ticket is not None:
            if session.ticket.ask == message.ask:
                session.say(Ticket(session.ref, message.ask, max(0.001, session.ticket.deadline - self._out.now)))
                return
            raise AlreadyWaiting
        if session.pending is not None:
            raise AlreadyWaiting
        ruleset = _ruleset(message.ruleset)
        self._check_room_limit()
        timeout = min(float(message.timeout), self._limits.longest_wait)
        ticket, matched = self.queues.add(
            session, message.ask, ruleset, message.options, self._out.now + timeout
        )
        session.ticket = ticket
        if matched is None:
            self._out.alarm(ticket.deadline, self._deadline_passed, session)
            session.say(Ticket(session.ref, message.ask, timeout))
        self._seat_together(matched)

    def _seat_together(self, matched: list[StandingTicket] | None) -> None:
        if matched is None:
            return
        for ticket in matched:
            self._out.clear_alarm(self._deadline_passed, ticket.session)
            ticket.session.ticket = None
            ticket.session.pending = ticket.ask
        self._wish(
            [(ticket.session, ticket.ask, ticket.options) for ticket in matched],
            lambda ask, seats: OpenRoom(ask, self._new_room_id(), matched[0].ruleset, {}, True, seats),
        )

    def _cancel(self, session: Session, ask: int) -> None:
        # A ticket that was matched already ends as ASSIGNED: there is nothing to cancel.
        ticket = session.ticket
        if ticket is not None and ticket.ask == ask and ticket.state is TicketState.WAITING:
            self._drop_ticket(session)
            session.say(Error(session.ref, ask, int(Code.MATCH_CANCELLED), MatchCancelled.meaning, None))

    def _drop_ticket(self, session: Session) -> None:
        if session.ticket is not None:
            self.queues.cancel(session.ticket)
            session.ticket = None
            self._out.clear_alarm(self._deadline_passed, session)

    # Other ways into a room.

    def _create(self, session: Session, message: Create) -> None:
        if self._answered_before(session, message.ask):
            return
        self._check_idle(session)
        ruleset = _ruleset(message.ruleset)
        self._check_room_limit()
        session.pending = message.ask
        self._wish(
            [(session, message.ask, message.options)],
            lambda ask, seats: OpenRoom(ask, self._new_room_id(), ruleset, message.options, False, seats),
        )

    def _join_by_id(self, session: Session, message: JoinById) -> None:
        if self._answered_before(session, message.ask):
            return
        self._check_idle(session)
        if message.room not in self.directory:
            raise RoomNotFound
        session.pending = message.ask
        self._wish(
            [(session, message.ask, message.options)],
            lambda ask, seats: ReserveSeats(ask, message.room, seats),
        )

    def _list(self, session: Session, message: ListRooms) -> None:
        found = self.directory.list(message.type)
        size = 0
        for count, room in enumerate(found):
            size += len(pack_payload(room, self._port.limits.download, self._port.limits.nesting + 1))
            if size > self._port.limits.download - _LONGEST_LIST:
                found = found[:count]
                break
        session.say(Rooms(session.ref, message.ask, found))

    def _check_idle(self, session: Session) -> None:
        if session.pending is not None or session.ticket is not None:
            raise AlreadyWaiting

    def _check_room_limit(self) -> None:
        if len(self.directory) >= self._limits.rooms:
            raise CapacityReached(f"the server has its {self._limits.rooms} rooms")

    def _answered_before(self, session: Session, ask: int) -> bool:
        """A request that is asked again after a reconnect has the answer that was lost."""
        if session.assignment is not None:
            assigned, deadline = session.assignment
            if assigned.ask == ask:
                left = deadline - self._out.now
                if left > 0:
                    session.say(assigned._replace(ref=session.ref, timeout=left))
                    return True
        return session.pending == ask

    # The worker.

    def _new_room_id(self) -> str:
        return new_id(self._entropy)

    def _wish(
        self,
        seats: list[tuple[Session, int, dict[str, Any]]],
        make: Callable[[int, list[SeatWish]], OpenRoom | ReserveSeats],
    ) -> None:
        ask, self._next_ask = self._next_ask, self._next_ask + 1
        self._wishes[ask] = _Wish([(session, number) for session, number, _ in seats])
        wishes = [SeatWish(session.session, session.client, options) for session, _, options in seats]
        self._out.control(make(ask, wishes))

    def on_report(self, report: RoomReport) -> None:
        """Take in what a worker reports."""
        if isinstance(report, RoomUpdated):
            self.directory.update(report)
        elif isinstance(report, RoomEnded):
            self.directory.remove(report.room)
        elif isinstance(report, Reserved):
            self._reserved(report)
        elif isinstance(report, Refused):
            for session, ask in self._wishes.pop(report.ask).sessions:
                session.pending = None
                session.say(Error(session.ref, ask, int(report.code), report.text[:512], None))
        else:
            session = self.sessions.get(report.session)
            if session is not None and isinstance(report, Seated):
                session.rooms.add(report.room)
                session.assignment = None
            elif session is not None and isinstance(report, Unseated):
                session.rooms.discard(report.room)

    def _reserved(self, report: Reserved) -> None:
        for (session, ask), reservation in zip(
            self._wishes.pop(report.ask).sessions, report.reservations, strict=True
        ):
            session.pending = None
            if self.sessions.get(session.session) is not session:
                self._out.control(ReleaseSession(session.session))  # it ended meanwhile
                continue
            assigned = Assigned(session.ref, ask, report.room, None, reservation, report.timeout)
            session.assignment = (assigned, self._out.now + report.timeout)
            session.say(assigned)

    # Deadlines.

    def _grace_is_over(self, session: Session) -> None:
        if session.state is SessionState.OFFLINE:
            self.end(session)

    def _deadline_passed(self, session: Session) -> None:
        ticket = session.ticket
        if ticket is not None:
            self.queues.expire(ticket)
            session.ticket = None
            session.say(Error(session.ref, ticket.ask, int(Code.MATCH_EXPIRED), MatchExpired.meaning, None))

    # What clients say to the server, and the server to clients.

    def message(self, session: Session, name: str, data: Any) -> None:
        """A message for the server's owner, from a client who is in no room."""
        if session.rooms:
            session.refuse(InRoom(), session.uplink)
        elif not self._out.application_message(session, name, data):
            session.refuse(RoomBusy(), session.uplink)

    def request(self, session: Session) -> None:
        """Nobody answers requests outside of rooms."""
        session.refuse(NoHandler("the server answers no requests; rooms do"), session.uplink)

    def acknowledge(self, session: Session) -> None:
        """Tell a client how far its messages are applied, once those before are."""
        number = session.uplink
        self._out.after_application(lambda: session.say_acknowledged(number))

    def direct(self, session: Session, name: str, data: Any) -> None:
        """Say something to one client."""
        line, limits = session.line, self._port.limits
        item = pack_payload(
            (int(Item.DIRECT), line.last_direct + 1, name, data), limits.download - HEAD_SIZE, limits.nesting + 1
        )
        self._out.flush_later()
        if self._fanout.direct(line, item, self._out.now):
            self.flush()

    def flush(self) -> None:
        """Send what was said in this turn."""
        if self._fanout.waiting:
            self._fanout.flush(self._out, self._out.now)
        if self._fanout.behind:
            self._out.alarm(self._out.now + _RETRY, self._catch_up)

    def _catch_up(self) -> None:
        behind = set(self._fanout.behind)
        for session in self.sessions:
            if session.line in behind:
                self._bring_up(session)
        self.flush()

    def _bring_up(self, session: Session) -> None:
        line, fanout = session.line, self._fanout
        if not fanout.can_catch_up(line) and session.connection is not None:
            position = fanout.jump(line)
            self._out.send(session.connection.peer, encode(Reset(session.ref, *position, None)))
        fanout.catch_up(line, self._out)


def _ruleset(wire: list[Any]) -> RuleSet:
    try:
        return RuleSet.from_wire(wire)
    except RuleSetError as error:
        raise BadMessage(str(error)) from error
