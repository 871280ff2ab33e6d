"""Ways into rooms that clients do not name: into one that is open and fits, or into a new one that others share.

Whoever wants a seat is sent to the room that has been open for longest. Where
that is refused, because somebody was faster, the next one is tried, a few times;
then a room is made. While it is being made, those who want the same wait for it
instead of making another, as many as it has seats, so that two who come at once
meet.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..protocol.errors import RequestError, RoomNotFound
from ..protocol.filters import EVERYTHING, Filter
from ..protocol.room_messages import JoinOrCreate, JoinWhere
from ..protocol.rulesets import RuleSet
from .directory import Directory
from .searches import Claim, Searches
from .seating import HeldSeats
from .sessions import Session

__all__ = ["Entrances"]

_MOST_TRIES = 4
"""Rooms that one request is sent to before one is made for it."""


@dataclass(slots=True, eq=False)
class _Guest:
    """One who wants in."""

    claim: Claim
    where: Filter
    ruleset: RuleSet | None
    """What to make where no room is open; None: nothing."""
    find: Callable[[set[str]], str | None]
    """The open room to try, if there is one besides these."""
    besides: set[str]
    """Rooms that it is in, or was refused by."""
    tries: int = 0


@dataclass(slots=True, eq=False)
class _Making:
    """A room that is being made."""

    left: int
    """How many more it will have seats for."""
    waiting: list[_Guest] = field(default_factory=list)


class Entrances:
    """Finds, shares and makes rooms.

    Args:
        directory: which rooms are open.
        searches: what sessions look for.
    """

    def __init__(self, directory: Directory, searches: Searches) -> None:
        self._directory = directory
        self._searches = searches
        self._making: dict[tuple[bytes, bytes], _Making] = {}
        """The newest room of each ruleset and filter that is being made, and has seats left."""
        self._queue: deque[_Guest] = deque()
        self._at_work = False

    def join_or_create(self, session: Session, message: JoinOrCreate) -> None:
        """A seat in an open room of this ruleset, or in a new one. Raises the RequestError that the client is told."""
        where = _filter(message.filter)
        ruleset = self._searches.ruleset(message.ruleset)
        if self._searches.may_begin(session, message.ask):
            claim, digest = Claim(session, message.ask, message.options, to_stay=True), ruleset.digest

            def find(besides: set[str]) -> str | None:
                return self._directory.pick_by_ruleset(digest, where, besides)

            self._searches.expect([claim])
            self._seek(_Guest(claim, where, ruleset, find, set(session.rooms)))

    def join(self, session: Session, message: JoinWhere) -> None:
        """A seat in an open room of this type. Raises the RequestError that the client is told."""
        where, type_name = _filter(message.filter), message.type
        self._searches.check_type(type_name)
        if self._searches.may_begin(session, message.ask):
            claim = Claim(session, message.ask, message.options, to_stay=True)

            def find(besides: set[str]) -> str | None:
                return self._directory.pick_by_type(type_name, where, besides)

            self._searches.expect([claim])
            self._seek(_Guest(claim, where, None, find, set(session.rooms)))

    def _seek(self, guest: _Guest) -> None:
        # What is asked of a worker in this process is answered at once. Were that dealt with at once as well, each
        # who waits for a room that can't be made would be one call deeper.
        self._queue.append(guest)
        if self._at_work:
            return
        self._at_work = True
        try:
            while self._queue:
                self._place(self._queue.popleft())
        finally:
            self._at_work = False

    def _place(self, guest: _Guest) -> None:
        if not self._searches.expects(guest.claim):
            return  # it ended meanwhile
        room = guest.find(guest.besides) if guest.tries < _MOST_TRIES else None
        if room is not None:
            self._send_to(guest, room)
        elif guest.ruleset is None:
            self._refuse(guest, RoomNotFound("no open room fits"))
        else:
            self._share(guest, guest.ruleset)

    def _send_to(self, guest: _Guest, room: str) -> None:
        guest.tries += 1
        guest.besides.add(room)
        self._directory.ask_seat(room)

        def answered(answer: HeldSeats | RequestError) -> None:
            self._directory.answered(room)
            if isinstance(answer, HeldSeats):
                self._searches.assign([guest.claim], answer)
            else:
                self._seek(guest)

        self._searches.hold_in(room, [guest.claim], answered, picked=True)

    def _share(self, guest: _Guest, ruleset: RuleSet) -> None:
        key = ruleset.key, guest.where.key
        making = self._making.get(key)
        if making is not None:
            making.left -= 1
            making.waiting.append(guest)
            if not making.left:
                del self._making[key]
            return
        try:
            self._searches.check_room_limit()
        except RequestError as error:
            self._refuse(guest, error)
            return
        making = _Making(self._searches.seats_of(ruleset) - 1)
        if making.left:
            self._making[key] = making

        def answered(answer: HeldSeats | RequestError) -> None:
            if self._making.get(key) is making:
                del self._making[key]
            if isinstance(answer, HeldSeats):
                self._searches.assign([guest.claim], answer)
            else:
                self._refuse(guest, answer)
            for other in making.waiting:
                if not self._searches.expects(other.claim):
                    continue  # it ended meanwhile
                made = self._directory.get(answer.room) if isinstance(answer, HeldSeats) else None
                if made is not None and other.where.fits(made.report.metadata):
                    self._send_to(other, made.report.room)
                else:
                    self._seek(other)  # the first of them makes another

        self._searches.hold_open(ruleset, [guest.claim], answered)

    def _refuse(self, guest: _Guest, error: RequestError) -> None:
        self._searches.seats_answered([guest.claim], error)


def _filter(where: dict[str, Any]) -> Filter:
    return Filter(where) if where else EVERYTHING
