"""Proposals: matches on their way to a room.

    accepting ──all have──▶ seating ──held──▶ seated
        │                      │
     one leaves            one leaves ──▶ unwanted
        ▼                      │              │ answered
      broken ◀─────refused─────┴──────────────┘

Those who are in a queue that wants to be asked are told of the match, and have to
accept it in time; then a worker is asked for their seats. Whoever leaves before that
has come to an end takes the match with it, and the others wait on.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from ..protocol.alarms import AlarmClock
from ..protocol.errors import MatchCancelled, RequestError
from ..protocol.lifecycle import Table, step
from ..protocol.queue_messages import Found
from ..protocol.rulesets import RuleSet
from ..rooms.standstill import respite
from .entries import Entry, Player, entries_of
from .queues import Match, MatchQueue, TicketEvent
from .searches import Claim, Searches
from .seating import HeldSeats
from .seekers import Seekers
from .sessions import Session

__all__ = ["PROPOSAL", "Proposal", "ProposalEvent", "ProposalState", "Proposals", "Waiting"]

_HEARING = 1.0
"""Seconds in which ACCEPTs that came while this process was late are read."""


class ProposalState(Enum):
    """Where a proposal is in its life."""

    ACCEPTING = "accepting"
    SEATING = "seating"
    UNWANTED = "unwanted"
    SEATED = "seated"
    BROKEN = "broken"


class ProposalEvent(Enum):
    """What happens to a proposal."""

    ACCEPT = "accept"
    LEAVE = "leave"
    SEAT = "seat"
    BREAK = "break"


PROPOSAL: Table[ProposalState, ProposalEvent] = {
    ProposalState.ACCEPTING: {
        ProposalEvent.ACCEPT: ProposalState.SEATING,
        ProposalEvent.BREAK: ProposalState.BROKEN,
    },
    ProposalState.SEATING: {
        ProposalEvent.SEAT: ProposalState.SEATED,
        ProposalEvent.LEAVE: ProposalState.UNWANTED,
        ProposalEvent.BREAK: ProposalState.BROKEN,
    },
    ProposalState.UNWANTED: {
        ProposalEvent.LEAVE: ProposalState.UNWANTED,
        ProposalEvent.BREAK: ProposalState.BROKEN,
    },
    ProposalState.SEATED: {},
    ProposalState.BROKEN: {},
}


class Proposal:
    """A match on its way to a room: first it may have to be accepted, then seats are held.

    Args:
        number: for FOUND and ACCEPT.
        match: what the matcher made.
        queue: whose match it is.
        deadline: until when all have to accept, monotonic seconds.
    """

    __slots__ = ("_state", "deadline", "heard_out", "match", "missing", "number", "queue")

    def __init__(self, number: int, match: Match, queue: MatchQueue, deadline: float) -> None:
        self.number = number
        self.match = match
        self.queue = queue
        self.deadline = deadline
        self.missing: set[Session] = set()
        """Who has not accepted."""
        self.heard_out = False
        """Whether its deadline was moved, because this process was late."""
        self._state = ProposalState.ACCEPTING

    def step(self, event: ProposalEvent) -> None:
        self._state = step(PROPOSAL, self._state, event)

    @property
    def seating(self) -> bool:
        """Whether a worker was asked for seats."""
        return self._state in (ProposalState.SEATING, ProposalState.UNWANTED)

    @property
    def unwanted(self) -> bool:
        """Whether somebody of it has left while the worker was asked."""
        return self._state is ProposalState.UNWANTED

    @property
    def entries(self) -> list[Entry]:
        """Who plays it: who has left is not among them."""
        return [entry for entry in entries_of(self.match) if entry.proposal is self]

    def found(self, player: Player, now: float) -> Found:
        """What a player is told who has to accept it."""
        players = sum(ticket.size for ticket in self.match.tickets)
        return Found(player.session.ref, player.ask, self.number, players, max(0.001, self.deadline - now))


class Waiting(Protocol):
    """Whoever keeps the entries: what becomes of those that are in a proposal."""

    def tell(self, entry: Entry, player: Player) -> None:
        """Say how it stands."""

    def wait_on(self, entries: list[Entry]) -> None:
        """Their match has come to nothing, and not by their doing."""

    def end(self, entry: Entry, how: TicketEvent, error: RequestError) -> None:
        """It ends without a room."""

    def forget(self, entry: Entry) -> None:
        """It is matched: nothing of it is left."""

    def matched_elsewhere(self, session: Session) -> None:
        """It has got a seat: whatever else it waits for ends."""


class Proposals:
    """All matches that are on their way to a room.

    Args:
        searches: where seats come from.
        seekers: the rooms that some are for.
        out: where to write.
        waiting: what becomes of those who are in them.
    """

    def __init__(self, searches: Searches, seekers: Seekers, out: AlarmClock, waiting: Waiting) -> None:
        self._searches = searches
        self._seekers = seekers
        self._out = out
        self._waiting = waiting
        self._proposals: dict[int, Proposal] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._proposals)

    def make(self, match: Match, queue: MatchQueue) -> None:
        """A match was found: have it accepted, if the queue wants that, and seats held."""
        self._last += 1
        proposal = Proposal(self._last, match, queue, self._out.now + (queue.accept or 0.0))
        self._proposals[proposal.number] = proposal
        entries = entries_of(match)
        for entry in entries:
            entry.proposal = proposal
        if queue.accept is None:
            self._seat(proposal)
            return
        proposal.missing.update(session for entry in entries for session in entry.players)
        self._out.alarm(proposal.deadline, self._not_accepted, proposal.number)
        for entry in entries:
            for player in entry.players.values():
                self._waiting.tell(entry, player)

    def accept(self, proposal: Proposal, session: Session) -> None:
        """Somebody accepts it."""
        proposal.missing.discard(session)
        if not proposal.missing:
            self._out.clear_alarm(self._not_accepted, proposal.number)
            self._seat(proposal)

    def leave(self, entry: Entry) -> None:
        """An entry is about to end: the match that it is in, if any, comes to nothing."""
        proposal = entry.proposal
        if proposal is None:
            return
        if not proposal.seating:
            self._break(proposal, [entry])
            return
        proposal.step(ProposalEvent.LEAVE)
        entry.proposal = None
        for player in entry.players.values():
            self._searches.unwanted(player.session, player.ask)

    # Inside.

    def _not_accepted(self, number: int) -> None:
        """Somebody has said nothing in time."""
        proposal = self._proposals[number]
        until = respite(proposal.deadline, self._out.now, proposal.heard_out, _HEARING, most=1)
        if until is not None:
            proposal.heard_out, proposal.deadline = True, until
            self._out.alarm(until, self._not_accepted, number)
            return
        late = [entry for entry in proposal.entries if not proposal.missing.isdisjoint(entry.players)]
        self._break(proposal, late)
        for entry in late:
            self._waiting.end(entry, TicketEvent.CANCEL, MatchCancelled("the match was not accepted in time"))

    def _seat(self, proposal: Proposal) -> None:
        proposal.step(ProposalEvent.ACCEPT)
        match = proposal.match
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
        ruleset = RuleSet(len(claims) + sum(match.bots.values()), proposal.queue.room, **dict(match.criteria))
        self._searches.hold_new(ruleset, claims, about, then)

    def _answered(self, proposal: Proposal, claims: list[Claim], answer: HeldSeats | RequestError) -> None:
        """A worker holds the seats, or does not."""
        entries = proposal.entries
        if isinstance(answer, RequestError):
            self._searches.not_held(claims)
            if proposal.match.room is not None:
                self._seekers.refused(proposal.match.room, proposal.match, answer)
                self._break(proposal, [])
                return
            self._break(proposal, entries)
            for entry in entries:
                self._waiting.end(entry, TicketEvent.REFUSE, answer)
            return
        if proposal.unwanted:
            self._searches.give_back(claims, answer)
            self._break(proposal, [])
            return
        proposal.step(ProposalEvent.SEAT)
        del self._proposals[proposal.number]
        for entry in entries:
            assert entry.ticket is not None
            entry.ticket.step(TicketEvent.MATCH)
            self._waiting.forget(entry)
        self._searches.assign(claims, answer)
        for session in [session for entry in entries for session in entry.players]:
            self._waiting.matched_elsewhere(session)

    def _break(self, proposal: Proposal, without: list[Entry]) -> None:
        """A match comes to nothing: all but some wait on."""
        proposal.step(ProposalEvent.BREAK)
        del self._proposals[proposal.number]
        self._out.clear_alarm(self._not_accepted, proposal.number)
        self._seekers.give_back(proposal.match)
        entries = proposal.entries
        for entry in entries:
            entry.proposal = None
        kept = [entry for entry in entries if entry not in without]
        if kept:
            self._waiting.wait_on(kept)
