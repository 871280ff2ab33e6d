"""The broker, decided: what each client's request means for tickets, rooms and seats."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..protocol.codec import pack_payload
from ..protocol.errors import (
    AlreadyWaiting,
    BadMessage,
    CapacityReached,
    Code,
    MatchCancelled,
    MatchExpired,
    NotAMember,
    RoomNotFound,
    RuleSetError,
)
from ..protocol.ids import Entropy, new_id
from ..protocol.messages import (
    Assigned,
    Cancel,
    Create,
    Error,
    Goodbye,
    Hello,
    JoinById,
    ListRooms,
    Match,
    Message,
    Resume,
    Rooms,
    Ticket,
)
from ..protocol.rulesets import RuleSet
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
from ..rooms.port import Connection, Port
from .directory import Directory
from .matchmaking import Queues
from .matchmaking import Ticket as StandingTicket
from .reception import Reception, ReceptionOutbox
from .sessions import Session, Sessions

__all__ = ["MOST_SESSIONS", "Broker", "BrokerLimits", "BrokerOutbox"]

MOST_SESSIONS = 50_000
_LONGEST_LIST = 12 * 1024


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """How much one broker takes on."""

    sessions: int | None = None
    """Clients. None: as many as the process may have descriptors for, 50,000 at most."""
    rooms: int = 20_000
    longest_wait: float = 3600.0
    """Seconds that a ticket may wait at most, whatever its client asks."""
    session_grace: float = 30.0
    """Seconds that a session outlives its connection."""


class BrokerOutbox(ReceptionOutbox, Protocol):
    """Where the broker writes what must happen, besides what it says to clients."""

    def control(self, message: OpenRoom | ReserveSeats | ReleaseSession) -> None:
        """Ask the worker."""


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
        self.reception = Reception(port, out, entropy, self, limits.sessions or MOST_SESSIONS, limits.session_grace)
        self.directory = Directory()
        self.queues = Queues()
        self._port = port
        self._out = out
        self._entropy = entropy
        self._limits = limits
        self._wishes: dict[int, _Wish] = {}
        self._next_ask = 1

    @property
    def sessions(self) -> Sessions:
        """Everybody who is here."""
        return self.reception.sessions

    # Requests of clients.

    def on_message(self, connection: Connection, message: Message) -> None:
        """Handle a request. Raises the RemoteError that the client is told."""
        if isinstance(message, Hello):
            self.reception.hello(connection, message)
        elif isinstance(message, Resume):
            self.reception.resume(connection, message)
        elif isinstance(message, Goodbye):
            self.reception.end(self._find(connection, message.ref))
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

    # Sessions that come and go.

    def away(self, session: Session) -> None:
        """Its connection is lost: it can't be matched."""
        if session.ticket is not None:
            self.queues.set_aside(session.ticket)

    def back(self, session: Session) -> None:
        """It is here again: it can be matched."""
        if session.ticket is not None:
            self._seat_together(self.queues.bring_back(session.ticket))

    def over(self, session: Session) -> None:
        """Its ticket and its memberships end as well."""
        self._drop_ticket(session)
        self._out.control(ReleaseSession(session.session))

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
        ticket, matched = self.queues.add(session, message.ask, ruleset, message.options, self._out.now + timeout)
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
        if ticket is not None and ticket.ask == ask:
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
            self._moved(report)

    def _moved(self, report: Seated | Unseated) -> None:
        session = self.sessions.get(report.session)
        if session is None:
            return
        if isinstance(report, Seated):
            session.rooms.add(report.room)
            session.assignment = None
        else:
            session.rooms.discard(report.room)

    def _reserved(self, report: Reserved) -> None:
        for (session, ask), reservation in zip(self._wishes.pop(report.ask).sessions, report.reservations, strict=True):
            session.pending = None
            if self.sessions.get(session.session) is not session:
                self._out.control(ReleaseSession(session.session))  # it ended meanwhile
                continue
            assigned = Assigned(session.ref, ask, report.room, None, reservation, report.timeout)
            session.assignment = (assigned, self._out.now + report.timeout)
            session.say(assigned)

    def _deadline_passed(self, session: Session) -> None:
        ticket = session.ticket
        if ticket is not None:
            self.queues.expire(ticket)
            session.ticket = None
            session.say(Error(session.ref, ticket.ask, int(Code.MATCH_EXPIRED), MatchExpired.meaning, None))


def _ruleset(wire: list[Any]) -> RuleSet:
    try:
        return RuleSet.from_wire(wire)
    except RuleSetError as error:
        raise BadMessage(str(error)) from error
