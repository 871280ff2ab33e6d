"""The broker, decided: what each client's request means for tickets, rooms and seats."""

from collections.abc import Callable, Collection
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
    RoomNotFound,
    RuleSetError,
    UnknownRoomType,
)
from ..protocol.ids import Entropy, new_id
from ..protocol.limits import Limits
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
    ReleaseSeats,
    Reserved,
    ReserveSeats,
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
from .reception import Reception, ReceptionOutbox
from .sessions import Session, Sessions

__all__ = ["MOST_SESSIONS", "Broker", "BrokerLimits", "BrokerOutbox"]

MOST_SESSIONS = 50_000
_AT_ONCE = 0.1
"""Seconds in which a match is at once: only who waits longer is told so with a TICKET."""
_LONGEST_LIST = 12 * 1024


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


class BrokerOutbox(ReceptionOutbox, Protocol):
    """Where the broker writes what must happen, besides what it says to clients."""

    def control(self, message: OpenRoom | ReserveSeats | ReleaseSeats) -> None:
        """Ask the worker."""


@dataclass(slots=True)
class _Search:
    """What a session is looking for: at most one thing at a time."""

    ticket: StandingTicket | None = None
    """It waits in a queue."""
    pending: int | None = None
    """Its request that the worker is being asked for a seat for."""
    assigned: Assigned | None = None
    """The seat that was reserved for it, in case the answer was lost."""
    deadline: float = 0.0
    """Until when that seat is held."""


class Broker:
    """Knows every client; matches them; keeps the directory.

    Args:
        announced: what each client may do.
        out: where to write.
        entropy: where ids and secrets come from.
        limits: how much it takes on.
        room_types: the names that rulesets may give; None takes any.
    """

    def __init__(
        self,
        announced: Limits,
        out: BrokerOutbox,
        entropy: Entropy,
        limits: BrokerLimits,
        room_types: Collection[str] | None = None,
    ) -> None:
        self.reception = Reception(
            announced, out, entropy, self, limits.sessions or MOST_SESSIONS, limits.session_grace
        )
        self.directory = Directory()
        self.queues = Queues()
        self._announced = announced
        self._out = out
        self._entropy = entropy
        self._limits = limits
        self._room_types = room_types
        self._searches: dict[Session, _Search] = {}
        self._wishes: dict[int, list[tuple[Session, int]]] = {}
        """For whom the worker was asked for seats, and what to answer each."""
        self._next_ask = 1

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
        if rooms:
            self._out.control(ReleaseSeats(session.session, list(rooms)))

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
        self._wish(
            [(session, message.ask, message.options)],
            lambda ask, seats: OpenRoom(ask, new_id(self._entropy), ruleset, message.options, False, seats),
        )

    def _join_by_id(self, session: Session, message: JoinById) -> None:
        if self._begin(session, message.ask) is None:
            return
        if message.room in session.rooms:
            raise AlreadyWaiting("this client is in that room already")
        if message.room not in self.directory:
            raise RoomNotFound
        self._wish(
            [(session, message.ask, message.options)],
            lambda ask, seats: ReserveSeats(ask, message.room, seats),
        )

    def _list(self, session: Session, message: ListRooms) -> None:
        found = self.directory.list(message.type)
        size = 0
        for count, room in enumerate(found):
            size += len(pack_payload(room, self._announced.download, self._announced.nesting + 1))
            if size > self._announced.download - _LONGEST_LIST:
                found = found[:count]
                break
        session.say(Rooms(session.ref, message.ask, found))

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
            self._release(session, search)  # it has changed its mind
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
        self._wish(
            [(ticket.session, ticket.ask, ticket.options) for ticket in matched],
            lambda ask, seats: OpenRoom(ask, new_id(self._entropy), matched[0].ruleset, {}, True, seats),
        )

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
            self._release(session, search)  # matched before it could be cancelled: somebody else may have the seat

    def _release(self, session: Session, search: _Search) -> None:
        assert search.assigned is not None
        self._out.control(ReleaseSeats(session.session, [search.assigned.room]))
        search.assigned = None

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

    # The worker.

    def _wish(
        self,
        seats: list[tuple[Session, int, dict[str, Any]]],
        make: Callable[[int, list[SeatWish]], OpenRoom | ReserveSeats],
    ) -> None:
        ask, self._next_ask = self._next_ask, self._next_ask + 1
        self._wishes[ask] = [(session, number) for session, number, _ in seats]
        for session, number, _ in seats:
            self._searches[session].pending = number
        wishes = [SeatWish(session.session, session.data, options) for session, _, options in seats]
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
            self._refused(report)
        else:
            self._moved(report)

    def _reserved(self, report: Reserved) -> None:
        for (session, ask), reservation in zip(self._wishes.pop(report.ask), report.reservations, strict=True):
            search = self._searches.get(session)
            if search is None:
                self._out.control(ReleaseSeats(session.session, [report.room]))  # it ended meanwhile
                continue
            search.pending = None
            search.assigned = Assigned(session.ref, ask, report.room, None, reservation, report.timeout)
            search.deadline = self._out.now + report.timeout
            session.say(search.assigned)

    def _refused(self, report: Refused) -> None:
        for session, ask in self._wishes.pop(report.ask):
            search = self._searches.get(session)
            if search is not None:
                search.pending = None
                session.say(Error(session.ref, ask, int(report.code), report.text[:512], None))

    def _moved(self, report: Seated | Unseated) -> None:
        session = self.sessions.get(report.session)
        if session is None:
            return
        if isinstance(report, Unseated):
            session.rooms.discard(report.room)
            return
        session.rooms.add(report.room)
        search = self._searches.get(session)
        if search is not None and search.assigned is not None and search.assigned.room == report.room:
            search.assigned = None

    def _ruleset(self, wire: list[Any]) -> RuleSet:
        try:
            ruleset = RuleSet.from_wire(wire)
        except RuleSetError as error:
            raise BadMessage(str(error)) from error
        if ruleset.room is not None and self._room_types is not None and ruleset.room not in self._room_types:
            raise UnknownRoomType(f"no room type is named {ruleset.room!r}")
        return ruleset
