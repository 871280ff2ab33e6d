"""The broker, decided: what each client's request means for tickets, rooms and seats."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..protocol.codec import pack_payload
from ..protocol.errors import (
    AlreadyWaiting,
    BadMessage,
    CapacityReached,
    Code,
    MatchCancelled,
    MatchExpired,
    NotAMember,
    RequestError,
    RoomNotFound,
    RuleSetError,
    UnknownRoomType,
    WorkerLost,
)
from ..protocol.ids import Entropy
from ..protocol.limits import Limits
from ..protocol.messages import (
    Assigned,
    Cancel,
    Create,
    Endpoints,
    Error,
    Goodbye,
    Hello,
    JoinById,
    ListEndpoints,
    ListRooms,
    Match,
    Message,
    Resume,
    RoomLost,
    Rooms,
    Ticket,
)
from ..protocol.rulesets import RuleSet
from ..rooms.control import (
    Failed,
    Inspected,
    Refused,
    ReleaseSeats,
    Reserved,
    RoomEnded,
    RoomReport,
    RoomUpdated,
    Seated,
    SeatWish,
    Unseated,
)
from ..rooms.uplink import Caller
from .directory import Directory
from .matchmaking import Queues
from .matchmaking import Ticket as StandingTicket
from .placement import Placement, RoomNeeds
from .reception import Reception, ReceptionOutbox
from .seating import HeldSeats, NewRoom, Seating, SeatingOutbox
from .sessions import Session, Sessions
from .tokens import TokenMint
from .workers import WorkerRecord, Workers

__all__ = ["MOST_SESSIONS", "Broker", "BrokerLimits", "BrokerOutbox"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".broker")

MOST_SESSIONS = 50_000
_AT_ONCE = 0.1
"""Seconds in which a match is at once: only who waits longer is told so with a TICKET."""
_LONGEST_LIST = 12 * 1024
_MOST_ENDPOINTS = 512


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """How much one broker takes on."""

    sessions: int | None = None
    """Clients. None: as many as the process may have descriptors for, 50,000 at most."""
    rooms: int = 20_000
    rooms_of_a_session: int = 16
    """Rooms that one client may be in at once."""
    longest_wait: float = 3600.0
    """Seconds that a ticket may wait at most, whatever its client asks."""
    session_grace: float = 30.0
    """Seconds that a session outlives its connection."""


class BrokerOutbox(ReceptionOutbox, SeatingOutbox, Protocol):
    """Where the broker writes what must happen, besides what it says to clients and workers."""

    def inspected(self, report: Inspected | Failed) -> None:
        """A worker has answered an administrator's question."""


@dataclass(slots=True)
class _Search:
    """What a session is looking for: at most one thing at a time."""

    ticket: StandingTicket | None = None
    """It waits in a queue."""
    pending: int | None = None
    """Its request that a worker is being asked for a seat for."""
    assigned: Assigned | None = None
    """The seat that was reserved for it, in case the answer was lost."""
    deadline: float = 0.0
    """Until when that seat is held."""


_Seat = tuple[Session, int, dict[str, Any]]
"""Who wants a seat, the number of its request, and its options."""


class Broker:
    """Knows every client; matches them; keeps the directory.

    Args:
        announced: what each client may do.
        out: where to write.
        entropy: where ids and secrets come from.
        limits: how much it takes on.
        mint: makes and reads resume tokens.
        room_types: what the rooms of each type need; rulesets may give these names. None takes any name.
        placement: chooses workers.
        first_client: the first client's number.
    """

    def __init__(
        self,
        announced: Limits,
        out: BrokerOutbox,
        entropy: Entropy,
        limits: BrokerLimits,
        mint: TokenMint,
        room_types: Mapping[str, RoomNeeds] | None = None,
        placement: Placement | None = None,
        first_client: int = 1,
    ) -> None:
        most = limits.sessions or MOST_SESSIONS
        sessions = Sessions(most, entropy, mint, first_client)
        self.reception = Reception(announced, out, entropy, self, sessions, limits.session_grace)
        self.directory = Directory()
        self.workers = Workers(placement or Placement())
        self.seating = Seating(self.workers, self.directory, out, entropy)
        self.queues = Queues()
        self._announced = announced
        self._out = out
        self._limits = limits
        self._room_types = room_types
        self._searches: dict[Session, _Search] = {}

    @property
    def sessions(self) -> Sessions:
        """Everybody who is here."""
        return self.reception.sessions

    # Requests of clients.

    def on_message(self, connection: Caller, message: Message) -> None:
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
        elif isinstance(message, ListEndpoints):
            self._list_endpoints(self._find(connection, message.ref), message.ask)

    def _find(self, connection: Caller, ref: int) -> Session:
        session = connection.refs.get(ref)
        if not isinstance(session, Session):
            raise NotAMember("no session has this reference here")
        return session

    # Sessions that come and go.

    def away(self, session: Session) -> None:
        """Its connection is lost: it can't be matched."""
        search = self._searches.get(session)
        if search is not None and search.ticket is not None:
            self.queues.set_aside(search.ticket)

    def back(self, session: Session) -> None:
        """It is here again: it can be matched."""
        search = self._searches.get(session)
        if search is not None and search.ticket is not None:
            self._seat_together(self.queues.bring_back(search.ticket))

    def over(self, session: Session) -> None:
        """Its ticket and its memberships end as well."""
        search = self._searches.pop(session, None)
        if search is not None and search.ticket is not None:
            self.queues.cancel(search.ticket)
            self._clear_deadline(session)
        rooms = session.rooms | (
            {search.assigned.room} if search is not None and search.assigned is not None else set()
        )
        self._release(session, rooms)

    # Ways into a room.

    def _match(self, session: Session, message: Match) -> None:
        search = self._begin(session, message.ask)
        if search is None:
            return
        ruleset = self._ruleset(message.ruleset)
        self._check_room_limit()
        timeout = min(float(message.timeout), self._limits.longest_wait)
        deadline = self._out.now + timeout
        search.ticket, matched = self.queues.add(session, message.ask, ruleset, message.options, deadline)
        if matched is None:
            self._out.alarm(min(deadline, self._out.now + _AT_ONCE), self._still_waiting, session)
        self._seat_together(matched)

    def _create(self, session: Session, message: Create) -> None:
        if self._begin(session, message.ask) is None:
            return
        ruleset = self._ruleset(message.ruleset)
        self._check_room_limit()
        seats = [(session, message.ask, message.options)]
        new = NewRoom(ruleset, self._needs(ruleset), message.options, False)
        self.seating.open(new, self._wish(seats), lambda answer: self._seats_answered(seats, answer))

    def _join_by_id(self, session: Session, message: JoinById) -> None:
        if self._begin(session, message.ask) is None:
            return
        if message.room in session.rooms:
            raise AlreadyWaiting("this client is in that room already")
        if message.room not in self.directory:
            raise RoomNotFound
        seats = [(session, message.ask, message.options)]
        self.seating.reserve(message.room, self._wish(seats), lambda answer: self._seats_answered(seats, answer))

    def _list(self, session: Session, message: ListRooms) -> None:
        found = self.directory.list(message.type)
        size = 0
        for count, room in enumerate(found):
            size += len(pack_payload(room, self._announced.download, self._announced.nesting + 1))
            if size > self._announced.download - _LONGEST_LIST:
                found = found[:count]
                break
        session.say(Rooms(session.ref, message.ask, found))

    def _list_endpoints(self, session: Session, ask: int) -> None:
        found = sorted({record.endpoint for record in self.workers if record.endpoint is not None})
        session.say(Endpoints(session.ref, ask, found[:_MOST_ENDPOINTS]))

    def _begin(self, session: Session, ask: int) -> _Search | None:
        """Whether a session may look for a room; None: it asks again what it asked before a reconnect.

        Raises:
            AlreadyWaiting: it looks for one already.
            CapacityReached: it is in as many as it may be.
        """
        search = self._searches.setdefault(session, _Search())
        if search.assigned is not None and search.deadline > self._out.now:
            if search.assigned.ask == ask:
                left = search.deadline - self._out.now
                session.say(search.assigned._replace(ref=session.ref, timeout=left))
                return None
            self._give_up_seat(session, search)  # it has changed its mind
        if search.pending == ask:
            return None
        if search.ticket is not None and search.ticket.ask == ask:
            session.say(Ticket(session.ref, ask, max(0.001, search.ticket.deadline - self._out.now)))
            return None
        if search.pending is not None or search.ticket is not None:
            raise AlreadyWaiting
        if len(session.rooms) >= self._limits.rooms_of_a_session:
            raise CapacityReached(f"a client is in at most {self._limits.rooms_of_a_session} rooms at once")
        return search

    def _check_room_limit(self) -> None:
        if len(self.directory) >= self._limits.rooms:
            raise CapacityReached(f"the server has its {self._limits.rooms} rooms")

    def _seat_together(self, matched: list[StandingTicket] | None) -> None:
        if matched is None:
            return
        for ticket in matched:
            self._clear_deadline(ticket.session)
            self._searches[ticket.session].ticket = None
        seats = [(ticket.session, ticket.ask, ticket.options) for ticket in matched]
        ruleset = matched[0].ruleset
        new = NewRoom(ruleset, self._needs(ruleset), {}, True)
        self.seating.open(new, self._wish(seats), lambda answer: self._seats_answered(seats, answer))

    def _cancel(self, session: Session, ask: int) -> None:
        search = self._searches.get(session)
        if search is None:
            return
        if search.ticket is not None and search.ticket.ask == ask:
            self.queues.cancel(search.ticket)
            search.ticket = None
            self._clear_deadline(session)
            session.say(Error(session.ref, ask, int(Code.MATCH_CANCELLED), MatchCancelled.meaning, None))
        elif search.assigned is not None and search.assigned.ask == ask:
            self._give_up_seat(session, search)  # matched before it could be cancelled: somebody else may have the seat

    def _give_up_seat(self, session: Session, search: _Search) -> None:
        assert search.assigned is not None
        self._release(session, {search.assigned.room})
        search.assigned = None

    def _release(self, session: Session, rooms: set[str]) -> None:
        for room in sorted(rooms):
            entry = self.directory.get(room)
            if entry is not None and entry.worker.desk is not None:
                entry.worker.desk.order(ReleaseSeats(session.session, [room]))

    def _still_waiting(self, session: Session) -> None:
        ticket = self._searches[session].ticket
        if ticket is None:
            return
        left = ticket.deadline - self._out.now
        if left > _AT_ONCE / 2:
            session.say(Ticket(session.ref, ticket.ask, left))
            self._out.alarm(ticket.deadline, self._deadline_passed, session)
        else:
            self._deadline_passed(session)

    def _deadline_passed(self, session: Session) -> None:
        search = self._searches.get(session)
        if search is not None and search.ticket is not None:
            ticket, search.ticket = search.ticket, None
            self.queues.expire(ticket)
            session.say(Error(session.ref, ticket.ask, int(Code.MATCH_EXPIRED), MatchExpired.meaning, None))

    def _clear_deadline(self, session: Session) -> None:
        self._out.clear_alarm(self._still_waiting, session)
        self._out.clear_alarm(self._deadline_passed, session)

    # The workers.

    def _wish(self, seats: list[_Seat]) -> list[SeatWish]:
        for session, ask, _ in seats:
            self._searches[session].pending = ask
        return [SeatWish(session.session, session.data, options) for session, _, options in seats]

    def _seats_answered(self, seats: list[_Seat], answer: HeldSeats | RequestError) -> None:
        if isinstance(answer, RequestError):
            for session, ask, _ in seats:
                search = self._searches.get(session)
                if search is not None:
                    search.pending = None
                    session.say(Error(session.ref, ask, int(answer.code), answer.text[:512], None))
            return
        room, worker, reservations, timeout = answer
        for (session, ask, _), reservation in zip(seats, reservations, strict=True):
            search = self._searches.get(session)
            if search is None:  # it ended meanwhile
                if worker.desk is not None:
                    worker.desk.order(ReleaseSeats(session.session, [room]))
                continue
            search.pending = None
            search.assigned = Assigned(session.ref, ask, room, worker.endpoint, reservation, timeout)
            search.deadline = self._out.now + timeout
            session.say(search.assigned)

    def on_report(self, record: WorkerRecord, report: RoomReport) -> None:
        """Take in what a worker reports."""
        if isinstance(report, RoomUpdated):
            self.directory.update(report, record)
        elif isinstance(report, RoomEnded):
            self._room_ended(record, report.room)
        elif isinstance(report, Reserved | Refused):
            self.seating.answered(record, report)
        elif isinstance(report, Seated):
            self._seated(record, report)
        elif isinstance(report, Unseated):
            self._unseated(record, report)
        elif isinstance(report, Inspected | Failed):
            self._out.inspected(report)

    def worker_gone(self, record: WorkerRecord) -> None:
        """A worker is lost: its rooms are gone, and everybody in them is told so."""
        lost = [entry for entry in self.directory if entry.worker is record]
        told = {entry.report.room: set(entry.sessions) for entry in lost}
        for session, search in self._searches.items():
            if search.assigned is not None and search.assigned.room in told:
                told[search.assigned.room].add(session.session)
                search.assigned = None
        for room, sessions in told.items():
            self._room_ended(record, room)
            for session_id in sorted(sessions):
                member = self.sessions.get(session_id)
                if member is not None:
                    member.say(RoomLost(member.ref, room, int(WorkerLost.code), WorkerLost.meaning))
        self.seating.unheard(record)

    def _room_ended(self, record: WorkerRecord, room: str) -> None:
        entry = self.directory.remove(room, record)
        if entry is None:
            return
        for session_id in entry.sessions:
            session = self.sessions.get(session_id)
            if session is not None:
                session.rooms.discard(room)
        self.seating.retry()

    def _seated(self, record: WorkerRecord, report: Seated) -> None:
        entry = self.directory.get(report.room)
        if entry is None or entry.worker is not record:
            return
        known = self.sessions.get(report.session)
        session = known if known is not None else self._member_without_session(record, report)
        if session is None:
            return
        entry.sessions.add(report.session)
        session.rooms.add(report.room)
        search = self._searches.get(session)
        if search is not None and search.assigned is not None and search.assigned.room == report.room:
            search.assigned = None

    def _member_without_session(self, record: WorkerRecord, report: Seated) -> Session | None:
        if record.adopted:
            try:
                return self.reception.adopt(report.session, report.client)
            except CapacityReached as error:
                logger.warning("session of client %d can't be taken over: %s", report.client.ID, error)
        if record.desk is not None:  # it ended while it was joining
            record.desk.order(ReleaseSeats(report.session, [report.room]))
        return None

    def _unseated(self, record: WorkerRecord, report: Unseated) -> None:
        entry = self.directory.get(report.room)
        if entry is None or entry.worker is not record:
            return
        entry.sessions.discard(report.session)
        session = self.sessions.get(report.session)
        if session is not None:
            session.rooms.discard(report.room)

    def _needs(self, ruleset: RuleSet) -> RoomNeeds:
        if ruleset.room is None or self._room_types is None:
            return RoomNeeds(ruleset.room)
        return self._room_types[ruleset.room]

    def _ruleset(self, wire: list[Any]) -> RuleSet:
        try:
            ruleset = RuleSet.from_wire(wire)
        except RuleSetError as error:
            raise BadMessage(str(error)) from error
        if ruleset.room is not None and self._room_types is not None and ruleset.room not in self._room_types:
            raise UnknownRoomType(f"no room type is named {ruleset.room!r}")
        return ruleset
