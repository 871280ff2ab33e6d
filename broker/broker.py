"""The broker, decided: what each client's request means for tickets, rooms and seats."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..protocol.codec import pack_payload
from ..protocol.errors import (
    AlreadyWaiting,
    CapacityReached,
    NotAMember,
    RequestError,
    TicketError,
    WorkerLost,
)
from ..protocol.filters import Filter
from ..protocol.ids import Entropy
from ..protocol.limits import AddressLimits, Limits
from ..protocol.messages import (
    WAYS_IN,
    Cancel,
    Create,
    Endpoints,
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
)
from ..protocol.queue_messages import Accept, Enqueue, Party, Reasons, Rematch, Why
from ..protocol.room_messages import JoinOrCreate, JoinWhere, Unwatch, Watch
from ..rooms.addresses import AddressBook
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
    Seeking,
    Unseated,
)
from ..rooms.uplink import Caller
from .access import Guesses
from .auth import Admission, AdmissionOutbox
from .directory import Directory
from .entrances import Entrances
from .listing import Listing
from .matchmaking import Queues
from .parties import Parties
from .placement import Placement, RoomNeeds
from .queues import MatchQueue
from .reception import Reception, ReceptionOutbox
from .rematches import Rematches
from .searches import Searches, SearchesOutbox
from .seating import Seating
from .sessions import Session, Sessions
from .tickets import Tickets, TicketsOutbox
from .tokens import TokenMint
from .workers import WorkerRecord, Workers

__all__ = ["MOST_SESSIONS", "Broker", "BrokerLimits", "BrokerOutbox"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".broker")

MOST_SESSIONS = 50_000
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
    session_grace: float = 60.0
    """Seconds that a session outlives its connection."""
    auth_timeout: float = 4.0
    """Seconds that ``Server.on_auth`` may take for one client: clients give an answer five."""
    auth_waiting: int = 1024
    """Clients that may wait for an async ``on_auth`` at once."""
    auth_waiting_of_an_address: int = 128
    """Of these, from one IP address."""


class BrokerOutbox(ReceptionOutbox, SearchesOutbox, AdmissionOutbox, TicketsOutbox, Protocol):
    """Where the broker writes what must happen, besides what it says to clients and workers."""

    def inspected(self, report: Inspected | Failed) -> None:
        """A worker has answered an administrator's question."""


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
        book: what each address may do.
        match_queues: the policies of the queues by their names.
        asks: whether newcomers are asked who they are.
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
        book: AddressBook | None = None,
        match_queues: Mapping[str, MatchQueue] | None = None,
        *,
        asks: bool = False,
    ) -> None:
        book = book or AddressBook(AddressLimits())
        most = limits.sessions or MOST_SESSIONS
        sessions = Sessions(most, entropy, mint, first_client, book)
        self.admission = Admission(out, limits.auth_timeout, limits.auth_waiting, limits.auth_waiting_of_an_address)
        admission = self.admission if asks else None
        self.reception = Reception(announced, out, entropy, self, sessions, limits.session_grace, admission)
        self.directory = Directory()
        self.workers = Workers(placement or Placement())
        self.seating = Seating(self.workers, self.directory, out, entropy)
        self.queues = Queues()
        self._announced = announced
        self._isolated = frozenset(name for name, needs in (room_types or {}).items() if needs.isolated)
        self._out = out
        self._searches = Searches(
            self.directory,
            self.seating,
            self.queues,
            out,
            limits.rooms,
            limits.rooms_of_a_session,
            limits.longest_wait,
            room_types,
            Guesses(book),
        )
        self._entrances = Entrances(self.directory, self._searches)
        self._listing = Listing(self.directory, out, entropy)
        self._parties = Parties(out, entropy, self._party_changes, self._queue_of)
        self.tickets = Tickets(match_queues or {}, self._searches, out, limits.longest_wait, self._parties)
        self._rematches = Rematches(
            self.directory, self._searches, out, limits.longest_wait, lambda session: sessions.get(session) is not None
        )

        self._arrivals: dict[type[Message], Callable[[Caller, Any], None]] = {
            Hello: self.reception.hello,
            Resume: self.reception.resume,
        }
        self._requests: dict[type[Message], Callable[[Session, Any], None]] = {
            Goodbye: self._goodbye,
            Match: self._searches.match,
            Create: self._searches.create,
            JoinById: self._searches.join_by_id,
            JoinOrCreate: self._entrances.join_or_create,
            JoinWhere: self._entrances.join,
            Cancel: self._cancel,
            Enqueue: self.tickets.enqueue,
            Accept: self.tickets.accept,
            Why: self._why,
            Party: self._parties.on_message,
            Rematch: self._rematches.ask,
            Watch: self._listing.watch,
            Unwatch: self._unwatch,
            ListRooms: self._list,
            ListEndpoints: self._list_endpoints,
        }
        self._one_at_a_time = frozenset({*WAYS_IN, Enqueue})
        """What a session may not ask while it waits for a rematch."""
        self._not_beside_a_ticket = frozenset({*WAYS_IN, Rematch})
        """What it may not ask while it waits in a queue."""
        self._reports: dict[type[RoomReport], Callable[[WorkerRecord, Any], None]] = {
            RoomUpdated: self._updated,
            RoomEnded: self._ended,
            Reserved: self.seating.answered,
            Refused: self.seating.answered,
            Seated: self._seated,
            Unseated: self._unseated,
            Seeking: self._seeks,
            Inspected: self._inspected,
            Failed: self._inspected,
        }

    @property
    def sessions(self) -> Sessions:
        """Everybody who is here."""
        return self.reception.sessions

    # Requests of clients.

    def on_message(self, connection: Caller, message: Message) -> None:
        """Handle a request. Raises the RemoteError that the client is told."""
        kind = type(message)
        arrival = self._arrivals.get(kind)
        if arrival is not None:
            arrival(connection, message)
            return
        session = connection.refs.get(message.ref)  # type: ignore[union-attr]  # all others name a session
        if not isinstance(session, Session):
            raise NotAMember("no session has this reference here")
        if kind in self._one_at_a_time and self._rematches.waits(session):
            raise AlreadyWaiting
        if kind in self._not_beside_a_ticket and self.tickets.waits(session):
            raise AlreadyWaiting("this client waits in a queue")
        self._requests[kind](session, message)

    def _goodbye(self, session: Session, message: Goodbye) -> None:
        self.reception.end(session)

    def _why(self, session: Session, message: Why) -> None:
        session.say(Reasons(session.ref, message.ask, self.tickets.why(session, message.of)))

    def _unwatch(self, session: Session, message: Unwatch) -> None:
        self._listing.unwatch(session, message.ask)

    def _cancel(self, session: Session, message: Cancel) -> None:
        ask = message.ask
        if not self.tickets.cancel(session, ask) and not self._rematches.cancel(session, ask):
            self._searches.cancel(session, ask)

    def _queue_of(self, session: Session) -> str | None:
        return self.tickets.queue_of(session)

    def _party_changes(self, members: tuple[Session, ...]) -> None:
        for session in members:
            self.tickets.disband(session)

    # Sessions that come and go.

    def away(self, session: Session) -> None:
        """Its connection is lost: it can't be matched."""
        self._listing.gone(session)
        self._searches.away(session)
        self.tickets.away(session)
        self._parties.tell_others(session)

    def back(self, session: Session) -> None:
        """It is here again: it can be matched, and hears what became of its rooms."""
        lost, session.lost_rooms = session.lost_rooms, []
        for room in lost:
            self._say_lost(session, room)
        self._searches.back(session)
        self.tickets.back(session)
        self._parties.back(session)

    def _say_lost(self, session: Session, room: str) -> None:
        session.say(RoomLost(session.ref, room, int(WorkerLost.code), WorkerLost.meaning))

    def over(self, session: Session) -> None:
        """Its ticket and its memberships end as well."""
        self._listing.gone(session)
        self.tickets.over(session)
        self._parties.over(session)
        self._rematches.over(session)
        self._searches.over(session)

    # What there is.

    def _list(self, session: Session, message: ListRooms) -> None:
        found = self.directory.list(message.type, Filter(message.filter))
        size = 0
        for count, room in enumerate(found):
            size += len(pack_payload(room, self._announced.download, self._announced.nesting + 1))
            if size > self._announced.download - _LONGEST_LIST:
                found = found[:count]
                break
        session.say(Rooms(session.ref, message.ask, found))

    def _list_endpoints(self, session: Session, message: ListEndpoints) -> None:
        found = sorted({record.endpoint for record in self.workers if record.endpoint is not None})
        session.say(Endpoints(session.ref, message.ask, found[:_MOST_ENDPOINTS]))

    # The workers.

    def on_report(self, record: WorkerRecord, report: RoomReport) -> None:
        """Take in what a worker reports."""
        taken_in = self._reports.get(type(report))
        if taken_in is not None:
            taken_in(record, report)

    def _updated(self, record: WorkerRecord, report: RoomUpdated) -> None:
        if self.directory.update(report, record):
            if report.type in self._isolated:
                self.workers.keep_alone(record)  # it may be a broker before us who placed it
            self.seating.came(report.room, record)

    def _ended(self, record: WorkerRecord, report: RoomEnded) -> None:
        self._room_ended(record, report.room)
        self.seating.retry()

    def _inspected(self, record: WorkerRecord, report: Inspected | Failed) -> None:
        self._out.inspected(report)

    def worker_gone(self, record: WorkerRecord) -> None:
        """A worker is lost: its rooms are gone, and everybody in them is told so."""
        lost = [entry for entry in self.directory if entry.worker is record]
        told = {entry.report.room: set(entry.sessions) for entry in lost}
        for room, session in self._searches.lost(set(told)):
            told[room].add(session.session)
        for room, sessions in told.items():
            self._room_ended(record, room)
            for session_id in sorted(sessions):
                member = self.sessions.get(session_id)
                if member is not None and member.connected:
                    self._say_lost(member, room)
                elif member is not None:
                    member.lost_rooms.append(room)
        self.seating.unheard(record)
        self.seating.retry()

    def _room_ended(self, record: WorkerRecord, room: str) -> None:
        record.is_gone(room)
        entry = self.directory.remove(room, record)
        if entry is None:
            return
        self.tickets.seekers.stop(room)
        for session_id in entry.sessions:
            session = self.sessions.get(session_id)
            if session is not None:
                session.rooms.discard(room)

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
        self._searches.joined(session, report.room)

    def _member_without_session(self, record: WorkerRecord, report: Seated) -> Session | None:
        if record.adopted and not self.sessions.has_ended(report.session):
            try:
                return self.reception.adopt(report.session, report.client)
            except CapacityReached as error:
                client = report.client.ID
                logger.warning("session of client %d can't be taken over: %s", client, error, extra={"client": client})
        if record.desk is not None:  # it ended while it was joining
            record.desk.order(ReleaseSeats(report.session, [report.room]))
        return None

    def _unseated(self, record: WorkerRecord, report: Unseated) -> None:
        entry = self.directory.get(report.room)
        if entry is None or entry.worker is not record:
            return
        entry.sessions.discard(report.session)
        record.is_gone(report.room, report.session)
        self._rematches.left(entry, report.session)
        session = self.sessions.get(report.session)
        if session is not None:
            session.rooms.discard(report.room)

    def _seeks(self, record: WorkerRecord, report: Seeking) -> None:
        """A room seeks members, or none any more."""
        entry = self.directory.get(report.room)
        if entry is None or entry.worker is not record:
            return
        try:
            self.tickets.seekers.seek(report)
        except (RequestError, TicketError) as error:
            logger.warning(
                "room %s: queue %r can't fill it: %s", report.room, report.queue, error, extra={"room": report.room}
            )
