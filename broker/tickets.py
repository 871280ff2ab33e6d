"""Tickets of queues, decided: from ENQUEUE to a seat, or to one of the ends that a ticket can have.

    gathering ──all have asked──▶ rated by on_ticket ──▶ waiting ◀──┐ put back
                                                        │           │
                                                     a match ──▶ accepted by all ──▶ seats held ──▶ ASSIGNED

A queue's matcher works in bounded steps, so that the broker's other clients never
wait for it long. Whoever takes part in a match that comes to nothing, and not by
its own doing, waits on at its place.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from ..protocol.alarms import AlarmClock
from ..protocol.errors import (
    AlreadyWaiting,
    MatchCancelled,
    MatchExpired,
    NotAMember,
    RequestError,
    TicketError,
    TicketRefused,
    UnknownQueue,
)
from ..protocol.messages import Error
from ..protocol.queue_messages import Accept, Enqueue, Progress
from .entries import Entries, Entry, Player, entries_of
from .parties import Parties
from .proposals import Proposals
from .queues import Match, Matcher, MatchQueue, Ticket, TicketEvent, TicketState
from .searches import Searches
from .seekers import Seekers
from .sessions import Session

__all__ = ["Tickets", "TicketsOutbox"]

_STEPS = 100
"""Of a matcher in one go: some 2 to 10 ms."""
_MOST_PROGRESS = 16.0
"""Seconds between two PROGRESS in the end; the first comes after one, and each pause is twice as long."""
_PARTY_CHANGED = "the party has changed"


class TicketsOutbox(AlarmClock, Protocol):
    """Where it writes what must happen."""

    def rate(self, queue: MatchQueue, ticket: Ticket) -> None:
        """Call the queue's ``on_ticket``; the answer goes to ``rated``, at once or later."""

    def stop_rating(self, ticket: Ticket) -> None:
        """The answer is not wanted any more."""

    def policy_failed(self, queue: str, error: BaseException) -> None:
        """A hook of this queue's policy raised."""


class Tickets:
    """Everybody who waits in queues.

    Args:
        queues: the policies by their names.
        searches: what sessions look for otherwise, and where seats come from.
        out: where to write.
        longest_wait: seconds that a ticket may wait at most.
        parties: who stays together.
    """

    def __init__(
        self,
        queues: Mapping[str, MatchQueue],
        searches: Searches,
        out: TicketsOutbox,
        longest_wait: float,
        parties: Parties,
    ) -> None:
        self._matchers = {name: Matcher(queue, name) for name, queue in queues.items()}
        self._searches = searches
        self._out = out
        self._longest_wait = longest_wait
        self._parties = parties
        self._party_of = parties.of
        self._entries = Entries()
        self.seekers = Seekers(self._matchers, out, self._soon)
        """The rooms that seek members."""
        self._proposals = Proposals(searches, self.seekers, out, self)
        self._last_ticket = 0

    def __len__(self) -> int:
        """Tickets that are in a queue or in a match that is being made."""
        return len(self._entries)

    @property
    def proposals(self) -> int:
        """Matches that are being accepted or given seats."""
        return len(self._proposals)

    def waits(self, session: Session) -> bool:
        """Whether a session waits in a queue."""
        return bool(self._entries.of(session))

    def queue_of(self, session: Session) -> str | None:
        """In which queue a session waits, or gathers to."""
        entries = self._entries.of(session)
        return entries[0].queue if entries else None

    # What clients ask for.

    def enqueue(self, session: Session, message: Enqueue) -> None:
        """Wait in a queue. Raises the RequestError that the client is told."""
        known = self._entries.find(session, message.ask)
        if known is not None:
            self.tell(known, known.players[session])
            return
        matcher = self._matchers.get(message.queue)
        if matcher is None:
            names = ", ".join(sorted(self._matchers)[:20]) or "none"
            raise UnknownQueue(f"no queue is named {message.queue!r:.80}; there are: {names}")
        if message.party != self._parties.code_of(session):
            raise MatchCancelled(_PARTY_CHANGED)
        if not self._searches.may_begin(session, message.ask):
            return
        player = Player.read(session, message)
        expected = self._party_of(session)
        leader = expected[0]
        entry = self._entries.that_expects(session, leader, message.queue) if leader is not session else None
        if entry is None:
            if leader is not session:
                raise TicketRefused("the leader of the party has to enter this queue first")
            entry = self._open(matcher, expected, message)
        self._entries.add(entry, player)
        self._wait_until(entry, self._out.now + min(float(message.timeout), self._longest_wait))
        if session is leader:
            self._parties.tell(session)
        if entry.gathering:
            for one in entry.players.values():
                self.tell(entry, one)
        else:
            self._complete(entry, matcher)

    def cancel(self, session: Session, ask: int) -> bool:
        """Give up a ticket. False: this session has none by that number."""
        entry = self._entries.find(session, ask)
        if entry is None:
            return False
        self._withdraw(entry, MatchCancelled(), "a member of the party has cancelled", session)
        return True

    def accept(self, session: Session, message: Accept) -> None:
        """Say whether to play a match that was found. What comes too late is not heard."""
        entry = self._entries.find(session, message.ask)
        proposal = entry.proposal if entry is not None else None
        if entry is None or proposal is None or proposal.number != message.match or proposal.seating:
            return
        if message.yes:
            self._proposals.accept(proposal, session)
        else:
            self._withdraw(entry, MatchCancelled("the match was declined"), "a member of the party declined", session)

    def why(self, session: Session, ask: int) -> dict[str, Any]:
        """Why a ticket still waits, as REASONS carries it. Raises NotAMember where there is none."""
        entry = self._entries.find(session, ask)
        if entry is None:
            raise NotAMember("this session has no such ticket")
        return entry.why(self._matchers[entry.queue], self._out.now)

    def why_number(self, number: int) -> dict[str, Any] | None:
        """The same, for an administrator who has the ticket's number. None: there is none."""
        entry = self._entries.get(number)
        return entry.why(self._matchers[entry.queue], self._out.now) if entry is not None else None

    # What becomes of sessions.

    def away(self, session: Session) -> None:
        """Its connection is lost: it can't be matched."""
        for entry in self._entries.of(session):
            if entry.ticket is not None and entry.ticket.state is TicketState.WAITING and entry.rated:
                self._matchers[entry.queue].set_aside(entry.ticket)

    def back(self, session: Session) -> None:
        """It is here again."""
        for entry in self._entries.of(session):
            self._return(entry)

    def over(self, session: Session) -> None:
        """It has ended: nothing of its tickets is left, nor of its party's."""
        for entry in self._entries.of(session):
            self._withdraw(entry, MatchCancelled(), "a member of the party is gone", session)

    def disband(self, session: Session) -> None:
        """Its party has changed: what they wait for together ends."""
        for entry in self._entries.of(session):
            if len(entry.expected) > 1 or self._party_of(session) != entry.expected:
                self._withdraw(entry, MatchCancelled(_PARTY_CHANGED), _PARTY_CHANGED, None)

    # What the policy's hook says.

    def rated(self, ticket: Ticket, error: BaseException | None) -> None:
        """``on_ticket`` has returned, or raised."""
        entry = self._entries.get(ticket.number)
        if entry is None or entry.ticket is not ticket:
            return
        if error is None:
            try:
                self._matchers[entry.queue].add(ticket, self._out.now)
            except TicketError as refusal:
                error = refusal
        if error is not None:
            text = str(error) if isinstance(error, TicketError) else "the server could not rate this ticket"
            self.end(entry, TicketEvent.REFUSE, TicketRefused(text[:512]))
            return
        entry.rated = True
        self._out.alarm(self._out.now + entry.next_progress, self._progress, ticket.number)
        if not entry.here:
            self._matchers[entry.queue].set_aside(ticket)
        self._soon(entry.queue)

    # What becomes of those in a match: see ``proposals.Waiting``.

    def tell(self, entry: Entry, player: Player) -> None:
        """Say how it stands."""
        session, now, ticket, proposal = player.session, self._out.now, entry.ticket, entry.proposal
        if proposal is not None and session in proposal.missing:
            session.say(proposal.found(player, now))
            return
        progress = entry.progress(self._matchers[entry.queue], now)
        session.say(Progress(session.ref, player.ask, ticket.number if ticket is not None else 0, progress))

    def wait_on(self, entries: list[Entry]) -> None:
        """Their match has come to nothing, and not by their doing."""
        matcher = self._matchers[entries[0].queue]
        matcher.put_back([entry.ticket for entry in entries if entry.ticket is not None])
        for entry in entries:
            if entry.deadline <= self._out.now:
                self._too_late(entry)
                continue
            if not entry.here and entry.ticket is not None:
                matcher.set_aside(entry.ticket)
            for player in entry.players.values():
                self.tell(entry, player)
                for other in self._entries.of(player.session):
                    self._return(other)
        self._soon(matcher.name)

    def matched_elsewhere(self, session: Session) -> None:
        """It has got a seat: whatever else it waits for ends."""
        for other in self._entries.of(session):
            self._withdraw(other, MatchCancelled("matched in another queue"), "a member was matched elsewhere", None)

    def end(
        self,
        entry: Entry,
        how: TicketEvent | None,
        error: RequestError,
        others: tuple[Session, RequestError] | None = None,
    ) -> None:
        """End an entry; ``how``: its ticket's event, None if the matcher has seen to that."""
        ticket = entry.ticket
        if ticket is not None and how is not None:
            self._out.stop_rating(ticket)
            self._matchers[entry.queue].remove(ticket)
            ticket.step(how)
        self.forget(entry)
        for player in entry.players.values():
            told = error if others is None or player.session is others[0] else others[1]
            session = player.session
            session.say(Error(session.ref, player.ask, int(told.code), told.text[:512], None))

    def forget(self, entry: Entry) -> None:
        """Nothing of it is left."""
        self._out.clear_alarm(self._too_late, entry)
        entry.proposal = None
        if entry.ticket is not None:
            self._out.clear_alarm(self._progress, entry.ticket.number)
        self._entries.remove(entry)
        self._parties.tell(entry.expected[0])

    # Inside: entering.

    def _open(self, matcher: Matcher, expected: tuple[Session, ...], message: Enqueue) -> Entry:
        policy = matcher.queue
        if len(self._entries.of(expected[0])) >= policy.tickets_of_a_session:
            raise AlreadyWaiting
        if len(expected) > policy.shape.party:
            raise TicketRefused(f"a party of {len(expected)}: this queue takes 1 to {policy.shape.party}")
        try:
            criteria = policy.read(message.criteria)
        except TicketError as error:
            raise TicketRefused(str(error)[:512]) from error
        return Entry(matcher.name, criteria, expected)

    def _wait_until(self, entry: Entry, deadline: float) -> None:
        """It waits for no longer than each of its players does."""
        if deadline < entry.deadline:
            self._out.clear_alarm(self._too_late, entry)
            entry.deadline = deadline
            self._out.alarm(deadline, self._too_late, entry)

    def _complete(self, entry: Entry, matcher: Matcher) -> None:
        """Everybody has asked: the ticket is made, and rated."""
        self._last_ticket += 1
        players = [entry.players[session] for session in entry.expected]
        entrants = tuple(player.entrant() for player in players)
        ticket = Ticket(self._last_ticket, entrants, self._out.now, entry.criteria, entry)
        ticket.shunned = frozenset().union(*(session.rooms for session in entry.expected))
        self._entries.number(entry, ticket)
        try:
            matcher.queue.check(ticket)
        except TicketError as error:
            self.end(entry, TicketEvent.REFUSE, TicketRefused(str(error)[:512]))
            return
        self._out.rate(matcher.queue, ticket)

    # Inside: waiting.

    def _soon(self, queue: str) -> None:
        self._out.alarm(self._out.now, self._work, queue)

    def _work(self, queue: str) -> None:
        matcher, out = self._matchers[queue], self._out
        matches, more = matcher.work(out.now, _STEPS)
        for match in matches:
            self._found(matcher, match)
        for ticket in matcher.take_refused():
            if isinstance(ticket.owner, Entry):
                self.end(ticket.owner, None, TicketRefused("nobody suitable came for as long as this queue waits"))
        failure = matcher.take_failure()
        if failure is not None:
            out.policy_failed(queue, failure)
        due = out.now if more else matcher.due()
        if due is not None:
            out.alarm(max(due, out.now), self._work, queue)

    def _return(self, entry: Entry) -> None:
        if entry.ticket is not None and entry.ticket.state is TicketState.ASIDE and entry.here:
            if any(other.proposal is not None for one in entry.players for other in self._entries.of(one)):
                return  # a match of another ticket of theirs is being made
            self._matchers[entry.queue].bring_back(entry.ticket)
            self._soon(entry.queue)

    def _progress(self, number: int) -> None:
        entry = self._entries.get(number)
        if entry is None:
            return
        if entry.proposal is None:
            for player in entry.players.values():
                self.tell(entry, player)
        entry.next_progress = min(2 * entry.next_progress, _MOST_PROGRESS)
        self._out.alarm(self._out.now + entry.next_progress, self._progress, number)

    # Inside: matches.

    def _found(self, matcher: Matcher, match: Match) -> None:
        entries = entries_of(match)
        sessions = [session for entry in entries for session in entry.players]
        others = {session: [one for one in self._entries.of(session) if one not in entries] for session in sessions}
        busy = {session for session in sessions if any(one.proposal is not None for one in others[session])}
        if busy or len(others) < len(sessions):  # several tickets of one session, matched in one go
            matcher.put_back(match.tickets)
            for entry in entries:
                if entry.ticket is not None and (not busy.isdisjoint(entry.players) or entry is not entries[0]):
                    matcher.set_aside(entry.ticket)
            return
        for entry in [entry for session in sessions for entry in others[session]]:
            if entry.ticket is not None and entry.ticket.state is TicketState.WAITING:
                self._matchers[entry.queue].set_aside(entry.ticket)
        self._proposals.make(match, matcher.queue)

    # Inside: ends.

    def _too_late(self, entry: Entry) -> None:
        """Its deadline has passed."""
        if entry.proposal is not None and entry.proposal.seating:
            return  # the seats come, or they do not, within the worker's own time
        self._proposals.leave(entry)
        self.end(entry, TicketEvent.EXPIRE, MatchExpired())

    def _withdraw(self, entry: Entry, error: RequestError, others: str, by: Session | None) -> None:
        """End an entry before it is matched. ``others`` is what the rest of the party is told, if ``by`` one of it."""
        self._proposals.leave(entry)
        self.end(entry, TicketEvent.CANCEL, error, None if by is None else (by, MatchCancelled(others)))
