"""Ways into a room: what each session looks for, and the seat that it gets.

A session looks for one room at a time: it waits in a queue with a ticket, or a
worker is being asked for a seat for it, or it has one assigned and has not
joined yet. Requests that are asked again after a reconnect are answered again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..protocol.errors import (
    AlreadyWaiting,
    BadMessage,
    CapacityReached,
    Code,
    MatchCancelled,
    MatchExpired,
    RequestError,
    ReservationRefused,
    RoomFull,
    RoomNotFound,
    RuleSetError,
    UnknownRoomType,
)
from ..protocol.messages import Assigned, Create, Error, Join, JoinById, Match, Ticket
from ..protocol.rulesets import RuleSet
from ..rooms.control import ReleaseSeats, SeatWish
from ..rooms.seats import SeatState
from .access import Guesses, creators_access, visitors_access
from .directory import Directory
from .matchmaking import Queues
from .matchmaking import Ticket as StandingTicket
from .placement import RoomNeeds
from .seating import HeldSeats, NewRoom, Seating, SeatingOutbox, Then
from .sessions import Session

__all__ = ["Claim", "Searches", "SearchesOutbox"]

_AT_ONCE = 0.1
"""Seconds in which a match is at once: only who waits longer is told so with a TICKET."""
_UNDER_WAY = 15.0
"""Seconds after which a worker has told of a seat that was taken, or is known to be lost."""
_MOST_GIVEN_UP = 16
"""Rooms of one session that are remembered for that."""


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
    given_up: tuple[tuple[str, float], ...] = ()
    """Rooms whose seat it did not want any more, and until when it may have taken it all the same: what their worker
    tells of that is under way, or lost with the worker."""
    seated: int = 0
    """The session's reference where it was taken at once: JOINED is said on that connection. 0: it was not."""


class Claim(NamedTuple):
    """Who wants a seat."""

    session: Session
    ask: int
    """The number of its request."""
    options: dict[str, Any]
    place: tuple[str, str] | None = None
    """The team and role that its queue gave it."""
    access: dict[str, Any] = {}  # noqa: RUF012  # nobody writes to it
    """``password``, if it shows one; ``spectate``, if it wants to look on."""
    to_stay: bool = False
    """Whether who asks for the seat will surely take it: then that may be done for it."""


class SearchesOutbox(SeatingOutbox, Protocol):
    """Where searches write what must happen, besides what they say to clients."""

    def enter(self, session: Session, join: Join) -> bool:
        """Have a session take its seat in a room of this process, as if it had said JOIN. False: it is refused."""
        ...

    def seat_in(self, session: Session, room: str) -> SeatState | None:
        """How the seat stands that a session has in an open room of this process; None: it has none."""
        ...


class Searches:
    """What sessions look for.

    Args:
        directory: which rooms there are.
        seating: where seats come from.
        queues: where tickets wait.
        out: where to write.
        most_rooms: rooms that there may be.
        most_of_a_session: rooms that one session may be in at once.
        longest_wait: seconds that a ticket may wait at most.
        room_types: what the rooms of each type need; rulesets may give these names. None takes any name.
        guesses: how often sessions may show passwords.
    """

    def __init__(
        self,
        directory: Directory,
        seating: Seating,
        queues: Queues,
        out: SearchesOutbox,
        most_rooms: int,
        most_of_a_session: int,
        longest_wait: float,
        room_types: Mapping[str, RoomNeeds] | None,
        guesses: Guesses,
    ) -> None:
        self._directory = directory
        self._seating = seating
        self._queues = queues
        self._out = out
        self._most_rooms = most_rooms
        self._most_of_a_session = most_of_a_session
        self._longest_wait = longest_wait
        self._room_types = room_types
        self._guesses = guesses
        self._searches: dict[Session, _Search] = {}

    def __len__(self) -> int:
        """Sessions that look for a room, or once did."""
        return len(self._searches)

    # What clients ask for.

    def match(self, session: Session, message: Match) -> None:
        """Put a ticket into a queue. Raises the RequestError that the client is told."""
        search = self._begin(session, message.ask)
        if search is None:
            return
        ruleset = self.ruleset(message.ruleset)
        seats = self._needs(ruleset).seats
        if seats is not None and ruleset.clients > seats:
            raise RoomFull(f"a room of type {ruleset.room!r} has {seats} seats: no match of {ruleset.clients} fits in")
        self.check_room_limit()
        timeout = min(float(message.timeout), self._longest_wait)
        deadline = self._out.now + timeout
        search.ticket, matched = self._queues.add(session, message.ask, ruleset, message.options, deadline)
        if matched is None:
            self._out.alarm(min(deadline, self._out.now + _AT_ONCE), self._still_waiting, session)
        self._seat_together(matched)

    def create(self, session: Session, message: Create) -> None:
        """Have a room made. Raises the RequestError that the client is told."""
        access = creators_access(message.access)
        if self._begin(session, message.ask) is None:
            return
        ruleset = self.ruleset(message.ruleset)
        self.check_room_limit()
        seats = [Claim(session, message.ask, message.options, to_stay=True)]
        new = NewRoom(ruleset, self._needs(ruleset), message.options, False, access=access)
        self._seating.open(new, self._wish(seats), lambda answer: self.seats_answered(seats, answer))

    def join_by_id(self, session: Session, message: JoinById) -> None:
        """Have a seat held in a room that is there. Raises the RequestError that the client is told."""
        access = visitors_access(message.access)
        if self._begin(session, message.ask) is None:
            return
        if message.room in session.rooms:
            raise AlreadyWaiting("this client is in that room already")
        if message.room not in self._directory and not self._seating.rooms_may_come:
            raise RoomNotFound
        if "password" in access:
            self._guesses.check(session, self._out.now)
        seats = [Claim(session, message.ask, message.options, None, access, to_stay=True)]
        self._seating.reserve(message.room, self._wish(seats), lambda answer: self.seats_answered(seats, answer))

    def cancel(self, session: Session, ask: int) -> None:
        """Give up a ticket, or the seat that it has led to."""
        search = self._searches.get(session)
        if search is None:
            return
        if search.ticket is not None and search.ticket.ask == ask:
            self._queues.cancel(search.ticket)
            search.ticket = None
            self._clear_deadline(session)
            session.say(Error(session.ref, ask, int(Code.MATCH_CANCELLED), MatchCancelled.meaning, None))
        elif search.assigned is not None and search.assigned.ask == ask:
            # Matched before it could be cancelled: somebody else may have the seat. Where it was taken at once, JOINED
            # is on its way, and answered with LEAVE; or it is lost, and nobody would ever come back for the seat.
            self._give_up_seat(session, search)

    # What becomes of sessions and rooms.

    def away(self, session: Session) -> None:
        """Its connection is lost: it can't be matched."""
        search = self._searches.get(session)
        if search is not None and search.ticket is not None:
            self._queues.set_aside(search.ticket)

    def back(self, session: Session) -> None:
        """It is here again: it can be matched."""
        search = self._searches.get(session)
        if search is not None and search.ticket is not None:
            self._seat_together(self._queues.bring_back(search.ticket))

    def over(self, session: Session) -> None:
        """It has ended: so do its ticket, and its seats in rooms."""
        self._guesses.forget(session)
        search = self._searches.pop(session, None)
        if search is not None and search.ticket is not None:
            self._queues.cancel(search.ticket)
            self._clear_deadline(session)
        assigned = {search.assigned.room} if search is not None and search.assigned is not None else set[str]()
        self._release(session, session.rooms | assigned, joined=True)

    def joined(self, session: Session, room: str) -> None:
        """It has taken its seat."""
        search = self._searches.get(session)
        if search is not None and search.assigned is not None and search.assigned.room == room and not search.seated:
            search.assigned = None

    def lost(self, rooms: set[str]) -> list[tuple[str, Session]]:
        """Rooms are gone; who had a seat assigned there and has not taken it, as far as was told."""
        found: list[tuple[str, Session]] = []
        for session, search in self._searches.items():
            found += [(room, session) for room, until in search.given_up if room in rooms and until > self._out.now]
            if search.assigned is not None and search.assigned.room in rooms:
                found.append((search.assigned.room, session))
                search.assigned, search.seated = None, 0
        return found

    # Inside.

    def _begin(self, session: Session, ask: int) -> _Search | None:
        """Whether a session may look for a room; None: it asks again what it asked before a reconnect.

        Raises:
            AlreadyWaiting: it looks for one already.
            CapacityReached: it is in as many as it may be.
            ReservationRefused: its seat was taken at once, JOINED was lost, and the seat is gone.
        """
        search = self._searches.setdefault(session, _Search())
        assigned = search.assigned
        if assigned is not None and search.seated:
            if assigned.ask == ask:
                seat = self._out.seat_in(session, assigned.room)
                if search.seated == session.ref or seat is SeatState.JOINED:
                    return None  # it is answered on this connection
                if seat is None:  # nobody comes into two rooms by one request
                    raise ReservationRefused("the seat was taken, and is gone: it was refused, or not kept for so long")
                session.say(assigned._replace(ref=session.ref))
                return None
            search.assigned, search.seated = None, 0  # it has got JOINED, or wants no answer any more
        elif assigned is not None and search.deadline > self._out.now:
            if assigned.ask == ask:
                session.say(assigned._replace(ref=session.ref, timeout=search.deadline - self._out.now))
                return None
            self._give_up_seat(session, search)  # it has changed its mind
        if search.pending == ask:
            return None
        if search.ticket is not None and search.ticket.ask == ask:
            session.say(Ticket(session.ref, ask, max(0.001, search.ticket.deadline - self._out.now)))
            return None
        if search.pending is not None or search.ticket is not None:
            raise AlreadyWaiting
        if len(session.rooms) >= self._most_of_a_session:
            raise CapacityReached(f"a client is in at most {self._most_of_a_session} rooms at once")
        return search

    def _seat_together(self, matched: list[StandingTicket] | None) -> None:
        if matched is None:
            return
        for ticket in matched:
            self._clear_deadline(ticket.session)
            self._searches[ticket.session].ticket = None
        seats = [Claim(ticket.session, ticket.ask, ticket.options, to_stay=True) for ticket in matched]
        ruleset = matched[0].ruleset
        new = NewRoom(ruleset, self._needs(ruleset), {}, True)
        self._seating.open(new, self._wish(seats), lambda answer: self.seats_answered(seats, answer))

    def _give_up_seat(self, session: Session, search: _Search) -> None:
        assert search.assigned is not None
        room, now = search.assigned.room, self._out.now
        self._release(session, {room}, joined=False)
        still = [given_up for given_up in search.given_up if given_up[1] > now]
        search.given_up = (*still[1 - _MOST_GIVEN_UP :], (room, search.deadline + _UNDER_WAY))
        search.assigned, search.seated = None, 0

    def _release(self, session: Session, rooms: set[str], *, joined: bool) -> None:
        for room in sorted(rooms):
            entry = self._directory.get(room)
            if entry is not None and entry.worker.desk is not None:
                entry.worker.desk.order(ReleaseSeats(session.session, [room], joined))

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
            self._queues.expire(ticket)
            session.say(Error(session.ref, ticket.ask, int(Code.MATCH_EXPIRED), MatchExpired.meaning, None))

    def _clear_deadline(self, session: Session) -> None:
        self._out.clear_alarm(self._still_waiting, session)
        self._out.clear_alarm(self._deadline_passed, session)

    def _wish(self, claims: list[Claim]) -> list[SeatWish]:
        self.expect(claims)
        return [
            SeatWish(session.session, session.data, options, session.vouched.key, place, access)
            for session, _, options, place, access, _ in claims
        ]

    def seats_answered(self, claims: list[Claim], answer: HeldSeats | RequestError) -> None:
        """Tell everybody of the seat that is held for them, or why there is none."""
        if isinstance(answer, RequestError):
            for session, ask, *_ in self.not_held(claims):
                session.say(Error(session.ref, ask, int(answer.code), answer.text[:512], None))
        else:
            self.assign(claims, answer)

    # For those who do not name a room, and those whom queues send.

    def may_begin(self, session: Session, ask: int) -> bool:
        """Whether a session may look for a room by this request; False: it was answered again.

        Raises:
            AlreadyWaiting, CapacityReached, ReservationRefused: it may not.
        """
        return self._begin(session, ask) is not None

    def known_type(self, name: str) -> str | None:
        """The room type of this name, as rulesets have it; None leaves it to ``create_room``."""
        return name if self._room_types is not None and name in self._room_types else None

    def hold_new(self, ruleset: RuleSet, claims: list[Claim], match: dict[str, object], then: Then) -> None:
        """Have a room made for a match, with these seats held; the answer is for ``then`` to deal with."""
        self._seating.open(NewRoom(ruleset, self._needs(ruleset), {}, True, match), self._wish(claims), then)

    def hold_open(self, ruleset: RuleSet, claims: list[Claim], then: Then) -> None:
        """Have a room made that others may come into, with these seats held; the answer is for ``then``."""
        self._seating.open(NewRoom(ruleset, self._needs(ruleset), claims[0].options, False), self._wish(claims), then)

    def hold_in(self, room: str, claims: list[Claim], then: Then, *, picked: bool = False) -> None:
        """Have these seats held in a room that is there; ``picked``: which the broker has chosen."""
        self._seating.reserve(room, self._wish(claims), then, picked=picked)

    def check_room_limit(self) -> None:
        """Raise CapacityReached where there are as many rooms as there may be."""
        if len(self._directory) >= self._most_rooms:
            raise CapacityReached(f"the server has its {self._most_rooms} rooms")

    def check_type(self, name: str) -> None:
        """Raise UnknownRoomType where no room can have this type."""
        if self._room_types is not None and name not in self._room_types:
            names = ", ".join(sorted(self._room_types)) or "none"
            raise UnknownRoomType(f"no room type is named {name!r}; there are: {names}")

    def seats_of(self, ruleset: RuleSet) -> int:
        """How many seats a room of this ruleset has, as far as that can be told before it is made."""
        return self._needs(ruleset).seats or ruleset.clients

    def expect(self, claims: list[Claim]) -> None:
        """Seats for these are being looked for."""
        for claim in claims:
            self._searches[claim.session].pending = claim.ask

    def expects(self, claim: Claim) -> bool:
        """Whether it still wants that seat."""
        search = self._searches.get(claim.session)
        return search is not None and search.pending == claim.ask

    def not_held(self, claims: list[Claim]) -> list[Claim]:
        """No seats were held. Whom it concerns: who has ended, or wants it no more, is not among them."""
        left = [claim for claim in claims if self.expects(claim)]
        for claim in left:
            self._searches[claim.session].pending = None
        return left

    def unwanted(self, session: Session, ask: int) -> None:
        """The seat that a worker is being asked for is not wanted any more: its session may look for another."""
        search = self._searches.get(session)
        if search is not None and search.pending == ask:
            search.pending = None

    def give_back(self, claims: list[Claim], held: HeldSeats) -> None:
        """The seats are held, and not wanted any more."""
        self.not_held(claims)
        if held.worker.desk is not None:
            for claim in claims:
                held.worker.desk.order(ReleaseSeats(claim.session.session, [held.room], joined=False))

    def assign(self, claims: list[Claim], held: HeldSeats) -> None:
        """Tell everybody of the seat that is held for them."""
        room, worker, reservations, timeout = held
        for claim, reservation in zip(claims, reservations, strict=True):
            session, ask = claim.session, claim.ask
            if not self.expects(claim):  # it ended meanwhile
                if worker.desk is not None:
                    worker.desk.order(ReleaseSeats(session.session, [room], joined=False))
                continue
            search = self._searches[session]
            search.pending = None
            search.assigned = Assigned(session.ref, ask, room, worker.endpoint, reservation, timeout)
            search.deadline = self._out.now + timeout
            at_once = claim.to_stay and session.enters and session.connected and worker.endpoint is None
            search.seated = session.ref if at_once else 0
            if at_once and not self._out.enter(session, Join(ask, room, reservation, {})):
                search.seated = 0
            if not search.seated:
                session.say(search.assigned)

    def _needs(self, ruleset: RuleSet) -> RoomNeeds:
        if ruleset.room is None or self._room_types is None:
            return RoomNeeds(ruleset.room)
        return self._room_types[ruleset.room]

    def ruleset(self, wire: list[Any]) -> RuleSet:
        """Read a ruleset. Raises BadMessage, UnknownRoomType."""
        try:
            ruleset = RuleSet.from_wire(wire)
        except RuleSetError as error:
            raise BadMessage(str(error)) from error
        if ruleset.room is not None:
            self.check_type(ruleset.room)
        return ruleset
