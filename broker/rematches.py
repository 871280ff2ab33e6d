"""Rematches: those who were in a room together play again, in a new one.

The first who asks opens it, for all who are in that room, or have left it within
the last minute. The new room has the type and the criteria of the old one, as far
as this broker had that one made; otherwise its type. When all of them have asked,
they get a room; at the deadline those who have, if they are at least two.
"""

from collections.abc import Callable

from ..protocol.alarms import AlarmClock
from ..protocol.errors import AlreadyWaiting, Code, MatchCancelled, MatchExpired, RequestError, RoomNotFound
from ..protocol.messages import Error, Ticket
from ..protocol.queue_messages import Rematch
from ..protocol.rulesets import RuleSet
from .directory import Directory, RoomEntry
from .searches import Claim, Searches
from .seating import HeldSeats
from .sessions import Session

__all__ = ["Rematches"]

_REMEMBERED = 60.0
"""Seconds that it is remembered who has left a room."""


class _Round:
    def __init__(self, group: set[str], ruleset: RuleSet, deadline: float) -> None:
        self.group = group
        """Ids of the sessions that may play."""
        self.ruleset = ruleset
        """What the room was made of; those who want it may be fewer."""
        self.deadline = deadline
        self.claims: dict[Session, Claim] = {}


class _Past:
    def __init__(self, ruleset: RuleSet) -> None:
        self.ruleset = ruleset
        """What the room was made of."""
        self.left: dict[str, float] = {}
        """Ids of sessions that have left it, and when, the latest last."""


class Rematches:
    """Who wants to play again.

    Args:
        directory: who is in which room.
        searches: where seats come from.
        out: where to write.
        longest_wait: seconds that somebody may wait at most.
        is_live: whether a session with this id is here.
    """

    def __init__(
        self,
        directory: Directory,
        searches: Searches,
        out: AlarmClock,
        longest_wait: float,
        is_live: Callable[[str], bool],
    ) -> None:
        self._directory = directory
        self._searches = searches
        self._out = out
        self._longest_wait = longest_wait
        self._is_live = is_live
        self._rounds: dict[str, _Round] = {}
        self._round_of: dict[Session, str] = {}
        self._past: dict[str, _Past] = {}
        """Rooms that somebody has left lately."""

    def waits(self, session: Session) -> bool:
        """Whether a session waits for a rematch."""
        return session in self._round_of

    def left(self, entry: RoomEntry, session: str) -> None:
        """A session is no member of a room any more."""
        room, now = entry.report.room, self._out.now
        past = self._past.get(room)
        if past is None:
            past = self._past[room] = _Past(self._made_of(entry))
            self._out.alarm(now + _REMEMBERED, self._forget, room)
        past.left.pop(session, None)
        past.left[session] = now

    def ask(self, session: Session, message: Rematch) -> None:
        """Somebody wants to play again. Raises the RequestError that the client is told."""
        waits_for = self._round_of.get(session)
        if waits_for is not None:
            there = self._rounds[waits_for]
            if there.claims[session].ask != message.ask:
                raise AlreadyWaiting
            session.say(Ticket(session.ref, message.ask, max(0.001, there.deadline - self._out.now)))
            return
        if not self._searches.may_begin(session, message.ask):
            return
        there = self._rounds.get(message.room) or self._open(session, message)
        if session.session not in there.group:
            raise RoomNotFound("this client was not in that room lately")
        there.claims[session] = Claim(session, message.ask, message.options)
        self._round_of[session] = message.room
        self._look(message.room)

    def cancel(self, session: Session, ask: int) -> bool:
        """Give it up. False: this session does not wait for one by that number."""
        room = self._round_of.get(session)
        if room is None or self._rounds[room].claims[session].ask != ask:
            return False
        self._out_of(session, room)
        session.say(Error(session.ref, ask, int(Code.MATCH_CANCELLED), MatchCancelled.meaning, None))
        return True

    def over(self, session: Session) -> None:
        """It has ended: the others do not wait for it."""
        room = self._round_of.get(session)
        if room is not None:
            self._out_of(session, room)
        for other, there in list(self._rounds.items()):
            if session.session in there.group:
                there.group.discard(session.session)
                self._look(other)

    # Inside.

    def _open(self, session: Session, message: Rematch) -> _Round:
        entry, past = self._directory.get(message.room), self._past.get(message.room)
        group = {*(past.left if past is not None else ()), *(entry.sessions if entry is not None else ())}
        ruleset = self._made_of(entry) if entry is not None else past.ruleset if past is not None else None
        if ruleset is None or session.session not in group:
            raise RoomNotFound("this client was not in that room lately")
        live = {one for one in group if self._is_live(one)}
        deadline = self._out.now + min(float(message.timeout), self._longest_wait)
        there = self._rounds[message.room] = _Round(live, ruleset, deadline)
        self._out.alarm(deadline, self._time_is_up, message.room)
        return there

    def _made_of(self, entry: RoomEntry) -> RuleSet:
        return entry.ruleset if entry.ruleset is not None else RuleSet(1, self._searches.known_type(entry.report.type))

    def _out_of(self, session: Session, room: str) -> None:
        there = self._rounds[room]
        del there.claims[session]
        del self._round_of[session]
        if not there.claims:
            self._close(room)

    def _look(self, room: str) -> None:
        there = self._rounds.get(room)
        if there is None:
            return
        if len(there.claims) < len(there.group) or len(there.group) < 2:
            return
        self._play(room)

    def _time_is_up(self, room: str) -> None:
        there = self._rounds[room]
        if len(there.claims) >= 2:
            self._play(room)
            return
        claims = list(there.claims.values())
        self._close(room)
        for session, ask, *_ in claims:
            session.say(Error(session.ref, ask, int(Code.MATCH_EXPIRED), MatchExpired.meaning, None))

    def _play(self, room: str) -> None:
        there = self._rounds[room]
        claims = list(there.claims.values())
        self._close(room)
        ruleset = RuleSet(len(claims), there.ruleset.room, **there.ruleset.criteria)

        def answered(answer: HeldSeats | RequestError) -> None:
            self._searches.seats_answered(claims, answer)

        self._searches.hold_new(ruleset, claims, {"queue": "", "rematch": room}, answered)

    def _close(self, room: str) -> None:
        there = self._rounds.pop(room)
        for session in there.claims:
            del self._round_of[session]
        self._out.clear_alarm(self._time_is_up, room)

    def _forget(self, room: str) -> None:
        left = self._past[room].left
        for session, when in list(left.items()):
            if when + _REMEMBERED > self._out.now:
                self._out.alarm(when + _REMEMBERED, self._forget, room)
                return
            del left[session]
        del self._past[room]
