"""Tickets of queues, decided: from ENQUEUE to a seat, or to one of the ends that a ticket can have.

    gathering ──all have asked──▶ rated by on_ticket ──▶ waiting ◀──┐ put back
                                                        │           │
                                                     a match ──▶ accepted by all ──▶ seats held ──▶ ASSIGNED

A queue's matcher works in bounded steps, so that the broker's other clients never
wait for it long. Whoever takes part in a match that comes to nothing, and not by
its own doing, waits on at its place.
"""

import logging
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from ..protocol.errors import (
    AlreadyWaiting,
    BadMessage,
    MatchCancelled,
    MatchExpired,
    NotAMember,
    RequestError,
    TicketError,
    TicketRefused,
    UnknownQueue,
)
from ..protocol.messages import Error
from ..protocol.queue_messages import Accept, Enqueue, Found, Progress
from ..protocol.rulesets import RuleSet
from .entries import Entry, Player, Proposal
from .parties import Parties
from .queues import Match, Matcher, MatchQueue, Ticket, TicketEvent, TicketState
from .searches import Claim, Searches
from .seating import HeldSeats
from .seekers import Seekers
from .sessions import Session

__all__ = ["Tickets", "TicketsOutbox"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".broker")

_STEPS = 100
"""Of a matcher in one go: some 2 to 10 ms."""
_MOST_PROGRESS = 16.0
"""Seconds between two PROGRESS in the end; the first comes after one, and each pause is twice as long."""
_PARTY_CHANGED = "the party has changed"
_MOST_ROLES = 32
_MOST_REGIONS = 32


class TicketsOutbox(Protocol):
    """Where it writes what must happen."""

    @property
    def now(self) -> float:
        """The time of this turn, monotonic seconds."""
        ...

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        """Call back at that time."""

    def clear_alarm(self, callback: Callable[..., None], *args: Hashable) -> None:
        """Do not call back."""

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
        self._of: dict[Session, list[Entry]] = {}
        self._proposals: dict[int, Proposal] = {}
        self._by_number: dict[int, Entry] = {}
        self.seekers = Seekers(self._matchers, out, self._soon)
        """The rooms that seek members."""
        self._last_ticket = 0
        self._last_match = 0

    def __len__(self) -> int:
        """Tickets that are in a queue or in a match that is being made."""
        return len(self._by_number)

    @property
    def proposals(self) -> int:
        """Matches that are being accepted or given seats."""
        return len(self._proposals)

    def waits(self, session: Session) -> bool:
        """Whether a session waits in a queue."""
        return session in self._of

    def queue_of(self, session: Session) -> str | None:
        """In which queue a session waits, or gathers to."""
        entries = self._of.get(session)
        return entries[0].queue if entries else None

    # What clients ask for.

    def enqueue(self, session: Session, message: Enqueue) -> None:
        """Wait in a queue. Raises the RequestError that the client is told."""
        known = self._find(session, message.ask)
        if known is not None:
            self._tell(known, known.players[session])
            return
        matcher = self._matchers.get(message.queue)
        if matcher is None:
            names = ", ".join(sorted(self._matchers)[:20]) or "none"
            raise UnknownQueue(f"no queue is named {message.queue!r:.80}; there are: {names}")
        if message.party != self._parties.code_of(session):
            raise MatchCancelled(_PARTY_CHANGED)
        if not self._searches.may_begin(session, message.ask):
            return
        player = _player(session, message)
        expected = self._party_of(session)
        entry = self._joins(session, message.queue) if expected[0] is not session else None
        if entry is None:
            if expected[0] is not session:
                raise TicketRefused("the leader of the party has to enter this queue first")
            entry = self._open(matcher, expected, message)
        entry.players[session] = player
        self._wait_until(entry, self._out.now + min(float(message.timeout), self._longest_wait))
        self._of.setdefault(session, []).append(entry)
        if session is entry.expected[0]:
            self._parties.tell(session)
        if entry.gathering:
            for one in entry.players.values():
                self._tell(entry, one)
        else:
            self._complete(entry, matcher)

    def cancel(self, session: Session, ask: int) -> bool:
        """Give up a ticket. False: this session has none by that number."""
        entry = self._find(session, ask)
        if entry is None:
            return False
        self._withdraw(entry, MatchCancelled(), "a member of the party has cancelled", session)
        return True

    def accept(self, session: Session, message: Accept) -> None:
        """Say whether to play a match that was found. What comes too late is not heard."""
        entry = self._find(session, message.ask)
        proposal = entry.proposal if entry is not None else None
        if entry is None or proposal is None or proposal.number != message.match or proposal.seating:
            return
        if not message.yes:
            self._withdraw(entry, MatchCancelled("the match was declined"), "a member of the party declined", session)
            return
        proposal.missing.discard(session)
        if not proposal.missing:
            self._out.clear_alarm(self._not_accepted, proposal.number)
            self._seat(proposal)

    def why(self, session: Session, ask: int) -> dict[str, Any]:
        """Why a ticket still waits, as REASONS carries it. Raises NotAMember where there is none."""
        entry = self._find(session, ask)
        if entry is None:
            raise NotAMember("this session has no such ticket")
        return self._explain(entry)

    def why_number(self, number: int) -> dict[str, Any] | None:
        """The same, for an administrator who has the ticket's number. None: there is none."""
        entry = self._by_number.get(number)
        return self._explain(entry) if entry is not None else None

    # What becomes of sessions.

    def away(self, session: Session) -> None:
        """Its connection is lost: it can't be matched."""
        for entry in self._of.get(session, ()):
            if entry.ticket is not None and entry.ticket.state is TicketState.WAITING and entry.rated:
                self._matchers[entry.queue].set_aside(entry.ticket)

    def back(self, session: Session) -> None:
        """It is here again."""
        for entry in self._of.get(session, ()):
            self._return(entry)

    def over(self, session: Session) -> None:
        """It has ended: nothing of its tickets is left, nor of its party's."""
        for entry in list(self._of.get(session, ())):
            self._withdraw(entry, MatchCancelled(), "a member of the party is gone", session)

    def disband(self, session: Session) -> None:
        """Its party has changed: what they wait for together ends."""
        for entry in list(self._of.get(session, ())):
            if len(entry.expected) > 1 or self._party_of(session) != entry.expected:
                self._withdraw(entry, MatchCancelled(_PARTY_CHANGED), _PARTY_CHANGED, None)

    # What the policy's hook says.

    def rated(self, ticket: Ticket, error: BaseException | None) -> None:
        """``on_ticket`` has returned, or raised."""
        entry = self._by_number.get(ticket.number)
        if entry is None or entry.ticket is not ticket:
            return
        if error is None:
            try:
                self._matchers[entry.queue].add(ticket, self._out.now)
            except TicketError as refusal:
                error = refusal
        if error is not None:
            text = str(error) if isinstance(error, TicketError) else "the server could not rate this ticket"
            self._end_all(entry, TicketEvent.REFUSE, TicketRefused(text[:512]))
            return
        entry.rated = True
        self._out.alarm(self._out.now + entry.next_progress, self._progress, ticket.number)
        if not entry.here:
            self._matchers[entry.queue].set_aside(ticket)
        self._soon(entry.queue)

    # Inside: entering.

    def _find(self, session: Session, ask: int) -> Entry | None:
        return next((entry for entry in self._of.get(session, ()) if entry.players[session].ask == ask), None)

    def _joins(self, session: Session, queue: str) -> Entry | None:
        """The entry of its party that waits for this member."""
        leader = self._party_of(session)[0]
        for entry in self._of.get(leader, ()):
            if entry.queue == queue and entry.gathering and session in entry.expected and session not in entry.players:
                return entry
        return None

    def _open(self, matcher: Matcher, expected: tuple[Session, ...], message: Enqueue) -> Entry:
        policy = matcher.queue
        if len(self._of.get(expected[0], ())) >= policy.tickets_of_a_session:
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
        ticket = entry.ticket = Ticket(self._last_ticket, entrants, self._out.now, entry.criteria, entry)
        ticket.shunned = frozenset().union(*(session.rooms for session in entry.expected))
        self._by_number[ticket.number] = entry
        try:
            matcher.queue.check(ticket)
        except TicketError as error:
            self._end_all(entry, TicketEvent.REFUSE, TicketRefused(str(error)[:512]))
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
                self._end_all(ticket.owner, None, TicketRefused("nobody suitable came for as long as this queue waits"))
        failure = matcher.take_failure()
        if failure is not None:
            out.policy_failed(queue, failure)
        due = out.now if more else matcher.due()
        if due is not None:
            out.alarm(max(due, out.now), self._work, queue)

    def _return(self, entry: Entry) -> None:
        if entry.ticket is not None and entry.ticket.state is TicketState.ASIDE and entry.here:
            if any(other.proposal is not None for one in entry.players for other in self._of[one]):
                return  # a match of another ticket of theirs is being made
            self._matchers[entry.queue].bring_back(entry.ticket)
            self._soon(entry.queue)

    def _progress(self, number: int) -> None:
        entry = self._by_number.get(number)
        if entry is None:
            return
        if entry.proposal is None:
            for player in entry.players.values():
                self._tell(entry, player)
        entry.next_progress = min(2 * entry.next_progress, _MOST_PROGRESS)
        self._out.alarm(self._out.now + entry.next_progress, self._progress, number)

    def _tell(self, entry: Entry, player: Player) -> None:
        """Say how it stands."""
        session, now, ticket, proposal = player.session, self._out.now, entry.ticket, entry.proposal
        if proposal is not None and session in proposal.missing:
            left = max(0.001, proposal.deadline - now)
            players = sum(one.size for one in proposal.match.tickets)
            session.say(Found(session.ref, player.ask, proposal.number, players, left))
            return
        info: dict[str, Any] = {"left": max(0.0, entry.deadline - now)}
        if ticket is None:
            info |= {"state": "gathering", "missing": len(entry.expected) - len(entry.players)}
        elif proposal is not None:
            info["state"] = "found"
        else:
            info["state"] = "away" if ticket.state is TicketState.ASIDE else "waiting"
            if entry.rated:
                progress = self._matchers[entry.queue].progress(ticket, now)
                known = {name: value for name, value in progress._asdict().items() if value is not None}
                info |= known
        session.say(Progress(session.ref, player.ask, ticket.number if ticket is not None else 0, info))

    def _explain(self, entry: Entry) -> dict[str, Any]:
        if entry.ticket is None:
            missing = len(entry.expected) - len(entry.players)
            return {
                "ticket": 0, "queue": entry.queue, "state": "gathering", "considered": 0, "obstacles": [],
                "summary": f"{missing} of the party have not entered the queue",
            }  # fmt: skip
        why = self._matchers[entry.queue].why(entry.ticket, self._out.now)
        return {**why._asdict(), "queue": entry.queue, "obstacles": [one._asdict() for one in why.obstacles]}

    # Inside: matches.

    def _found(self, matcher: Matcher, match: Match) -> None:
        entries = [ticket.owner for ticket in match.tickets if isinstance(ticket.owner, Entry)]
        sessions = [session for entry in entries for session in entry.players]
        busy = {session for session in sessions for other in self._of[session] if other.proposal is not None}
        if busy or len(set(sessions)) < len(sessions):  # several tickets of one session, matched in one go
            self._put_back(matcher, match, lambda entry: not busy.isdisjoint(entry.players) or entry is not entries[0])
            return
        self._last_match += 1
        seconds = matcher.queue.accept
        proposal = Proposal(self._last_match, match, self._out.now + (seconds or 0.0))
        self._proposals[proposal.number] = proposal
        for entry in entries:
            entry.proposal = proposal
        for session in sessions:
            for other in self._of[session]:
                if other.proposal is None and other.ticket is not None and other.ticket.state is TicketState.WAITING:
                    self._matchers[other.queue].set_aside(other.ticket)
        if seconds is None:
            self._seat(proposal)
            return
        proposal.missing.update(sessions)
        self._out.alarm(proposal.deadline, self._not_accepted, proposal.number)
        for entry in entries:
            for player in entry.players.values():
                self._tell(entry, player)

    def _not_accepted(self, number: int) -> None:
        """Somebody has said nothing in time."""
        proposal = self._proposals[number]
        late = [entry for entry in proposal.entries if not proposal.missing.isdisjoint(entry.players)]
        self._break(proposal, late)
        for entry in late:
            self._end_all(entry, TicketEvent.CANCEL, MatchCancelled("the match was not accepted in time"))

    def _seat(self, proposal: Proposal) -> None:
        proposal.seating = True
        match, policy = proposal.match, self._matchers[proposal.entries[0].queue].queue
        places = {place.entrant.session: (place.team, place.role) for team in match.teams.values() for place in team}
        claims = [
            Claim(player.session, player.ask, player.options, places.get(player.session))
            for entry in proposal.entries
            for player in entry.players.values()
        ]
        then: Callable[[HeldSeats | RequestError], None] = lambda answer: self._answered(proposal, claims, answer)  # noqa: E731
        if match.room is not None:
            self._searches.hold_in(match.room, claims, then)
            return
        about: dict[str, object] = {
            "queue": proposal.entries[0].queue,
            "region": match.region,
            "bots": dict(match.bots),
            "teams": {name: [place.entrant.client for place in team] for name, team in match.teams.items()},
        }
        ruleset = RuleSet(len(claims) + sum(match.bots.values()), policy.room, **dict(match.criteria))
        self._searches.hold_new(ruleset, claims, about, then)

    def _answered(self, proposal: Proposal, claims: list[Claim], answer: HeldSeats | RequestError) -> None:
        """A worker holds the seats, or does not."""
        entries = [entry for entry in proposal.entries if entry.proposal is proposal]
        if isinstance(answer, RequestError):
            self._searches.not_held(claims)
            if proposal.match.room is not None:
                self.seekers.refused(proposal.match.room, proposal.match, answer)
                self._break(proposal, [])
                return
            self._break(proposal, entries)
            for entry in entries:
                self._end_all(entry, TicketEvent.REFUSE, answer)
            return
        if proposal.broken:
            self._searches.give_back(claims, answer)
            self._break(proposal, [])
            return
        del self._proposals[proposal.number]
        for entry in entries:
            assert entry.ticket is not None
            entry.ticket.step(TicketEvent.MATCH)
            self._forget(entry)
        self._searches.assign(claims, answer)
        for session in [session for entry in entries for session in entry.players]:
            for other in list(self._of.get(session, ())):
                self._withdraw(
                    other, MatchCancelled("matched in another queue"), "a member was matched elsewhere", None
                )

    def _break(self, proposal: Proposal, without: list[Entry]) -> None:
        """A match comes to nothing: all but some wait on."""
        self._proposals.pop(proposal.number, None)
        self._out.clear_alarm(self._not_accepted, proposal.number)
        self.seekers.give_back(proposal.match)
        kept = [entry for entry in proposal.entries if entry.proposal is proposal and entry not in without]
        for entry in proposal.entries:
            if entry.proposal is proposal:
                entry.proposal = None
        if not kept:
            return
        matcher = self._matchers[kept[0].queue]
        matcher.put_back([entry.ticket for entry in kept if entry.ticket is not None])
        for entry in kept:
            if entry.deadline <= self._out.now:
                self._too_late(entry)
                continue
            if not entry.here and entry.ticket is not None:
                matcher.set_aside(entry.ticket)
            for player in entry.players.values():
                self._tell(entry, player)
                for other in self._of[player.session]:
                    self._return(other)
        self._soon(matcher.name)

    def _put_back(self, matcher: Matcher, match: Match, aside: Callable[[Entry], bool]) -> None:
        matcher.put_back(match.tickets)
        for ticket in match.tickets:
            if isinstance(ticket.owner, Entry) and aside(ticket.owner):
                matcher.set_aside(ticket)

    # Inside: ends.

    def _too_late(self, entry: Entry) -> None:
        """Its deadline has passed."""
        if entry.proposal is not None and entry.proposal.seating:
            return  # the seats come, or they do not, within the worker's own time
        if entry.proposal is not None:
            self._break(entry.proposal, [entry])
        self._end_all(entry, TicketEvent.EXPIRE, MatchExpired())

    def _withdraw(self, entry: Entry, error: RequestError, others: str, by: Session | None) -> None:
        """End an entry before it is matched. ``others`` is what the rest of the party is told, if ``by`` one of it."""
        proposal = entry.proposal
        if proposal is not None and proposal.seating:
            proposal.broken = True
            entry.proposal = None
            for player in entry.players.values():
                self._searches.unwanted(player.session, player.ask)
        elif proposal is not None:
            self._break(proposal, [entry])
        self._end_all(entry, TicketEvent.CANCEL, error, None if by is None else (by, MatchCancelled(others)))

    def _end_all(
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
        self._forget(entry)
        for player in entry.players.values():
            told = error if others is None or player.session is others[0] else others[1]
            session = player.session
            session.say(Error(session.ref, player.ask, int(told.code), told.text[:512], None))

    def _forget(self, entry: Entry) -> None:
        self._out.clear_alarm(self._too_late, entry)
        entry.proposal = None
        if entry.ticket is not None:
            self._out.clear_alarm(self._progress, entry.ticket.number)
            self._by_number.pop(entry.ticket.number, None)
        for session in entry.players:
            left = [other for other in self._of[session] if other is not entry]
            if left:
                self._of[session] = left
            else:
                del self._of[session]
        self._parties.tell(entry.expected[0])


def _player(session: Session, message: Enqueue) -> Player:
    roles, regions = message.roles, message.regions
    if len(roles) > _MOST_ROLES or not all(type(role) is str and len(role) <= 64 for role in roles):
        raise BadMessage(f"roles are at most {_MOST_ROLES} names")
    if len(regions) > _MOST_REGIONS or not all(type(value) in (int, float) for value in regions.values()):
        raise BadMessage(f"regions are at most {_MOST_REGIONS} names, with seconds for each")
    return Player(session, message.ask, frozenset(roles), dict(regions), message.options)
