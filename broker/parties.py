"""Parties: clients who stay together, whatever they wait for.

A party has a leader, a code that invites, and members in the order in which they
came. It is there while it has members; a session is in one at most. What they
wait for in queues ends whenever the party changes.
"""

import base64
from collections.abc import Callable
from typing import Any, Protocol

from ..protocol.errors import AlreadyWaiting, BadMessage, NotLeader, PartyFull, PartyNotFound, RateLimited
from ..protocol.ids import Entropy
from ..protocol.queue_messages import Party as PartyMessage
from ..protocol.queue_messages import PartyState
from ..protocol.rates import TokenBucket
from .sessions import Session

__all__ = ["MOST_MEMBERS", "Parties", "PartiesOutbox"]

MOST_MEMBERS = 64
_CODE_BYTES = 8
"""Of which 12 letters and digits, 60 bits, make a code: who guesses once a second for a year finds one of 50,000
with a probability of one in a million."""
_JOIN_RATE = 0.2
_JOIN_BURST = 5
"""Codes that one session may send at once, right or wrong; then one each five seconds. Were only wrong ones counted,
it would still find out which are right."""


class PartiesOutbox(Protocol):
    """What parties need of the broker's shell."""

    @property
    def now(self) -> float:
        """The time of this turn, monotonic seconds."""
        ...


class _Visitor:
    """A session that has asked something."""

    __slots__ = ("codes", "done")

    def __init__(self) -> None:
        self.codes = TokenBucket(_JOIN_RATE, _JOIN_BURST)
        self.done = 0
        """The number of the last request that was done: said again after a reconnect, it is not done again."""


class _Party:
    def __init__(self, code: str, leader: Session) -> None:
        self.code = code
        self.leader = leader
        self.members: dict[Session, None] = {leader: None}

    def in_order(self) -> tuple[Session, ...]:
        return (self.leader, *(one for one in self.members if one is not self.leader))


class Parties:
    """All parties of the broker.

    Args:
        out: tells the time.
        entropy: where codes come from.
        changed: called with all whom a change concerns, those included who are out now, before they are told.
        queue_of: in which queue a session waits, if in any.
    """

    def __init__(
        self,
        out: PartiesOutbox,
        entropy: Entropy,
        changed: Callable[[tuple[Session, ...]], None],
        queue_of: Callable[[Session], str | None],
    ) -> None:
        self._out = out
        self._entropy = entropy
        self._changed = changed
        self._queue_of = queue_of
        self._of: dict[Session, _Party] = {}
        self._by_code: dict[str, _Party] = {}
        self._visitors: dict[Session, _Visitor] = {}

    def __len__(self) -> int:
        return len(self._by_code)

    def of(self, session: Session) -> tuple[Session, ...]:
        """Its party, the leader first; itself alone if it is in none."""
        party = self._of.get(session)
        return party.in_order() if party is not None else (session,)

    def code_of(self, session: Session) -> str:
        """The code of its party; empty if it is in none."""
        party = self._of.get(session)
        return party.code if party is not None else ""

    def on_message(self, session: Session, message: PartyMessage) -> None:
        """Do what a client wants of its party. Raises the RequestError that it is told."""
        action, argument = message.action, message.argument
        visitor = self._visitor(session)
        if visitor.done == message.ask and message.ask:
            pass
        elif action == "make":
            self._make(session)
        elif action == "join":
            self._join(session, argument)
        elif action == "leave":
            self._find(session)
            self._remove(session)
        elif action in ("promote", "kick"):
            self._lead(session, action, argument)
        elif action != "look":
            raise BadMessage(f"no action {action!r:.80}; there are make, join, leave, promote, kick, look")
        visitor.done = message.ask
        session.say(PartyState(session.ref, message.ask, self._state(session)))

    def back(self, session: Session) -> None:
        """It is here again, and may have missed a change, or that it was removed."""
        if session in self._visitors:
            session.say(PartyState(session.ref, 0, self._state(session)))
            self.tell_others(session)

    def over(self, session: Session) -> None:
        """It has ended: the party goes on without it."""
        self._visitors.pop(session, None)
        if session in self._of:
            self._remove(session)

    def tell(self, session: Session) -> None:
        """Tell everybody of its party, if it is in one, how that is now."""
        party = self._of.get(session)
        if party is not None:
            self._tell(list(party.members))

    def tell_others(self, session: Session) -> None:
        """Tell the others of its party how that is now."""
        party = self._of.get(session)
        if party is not None:
            self._tell([one for one in party.members if one is not session])

    # Inside.

    def _visitor(self, session: Session) -> _Visitor:
        visitor = self._visitors.get(session)
        if visitor is None:
            visitor = self._visitors[session] = _Visitor()
        return visitor

    def _make(self, session: Session) -> None:
        if session in self._of:
            raise AlreadyWaiting("this client is in a party already")
        code = base64.b32encode(self._entropy(_CODE_BYTES)).decode().lower()[:12]
        self._of[session] = self._by_code[code] = _Party(code, session)
        self._changed((session,))

    def _join(self, session: Session, code: Any) -> None:
        if not self._visitor(session).codes.allow(self._out.now):
            raise RateLimited("too many codes: wait some seconds")
        party = self._by_code.get(code) if type(code) is str and len(code) <= 64 else None
        if party is None:
            raise PartyNotFound("nobody invites with this code")
        if session in self._of:
            raise AlreadyWaiting(
                "this client is in " + ("that" if self._of[session] is party else "another") + " party"
            )
        if len(party.members) >= MOST_MEMBERS:
            raise PartyFull(f"a party has at most {MOST_MEMBERS} members")
        party.members[session] = None
        self._of[session] = party
        self._changed(party.in_order())
        self.tell_others(session)

    def _lead(self, session: Session, action: str, number: Any) -> None:
        party = self._find(session)
        if party.leader is not session:
            raise NotLeader
        other = next((one for one in party.members if type(number) is int and number == one.data.ID), None)
        if other is None:
            raise PartyNotFound(f"client {number!r:.40} is not in this party")
        if action == "promote":
            party.leader = other
            self._changed(party.in_order())
            self.tell_others(session)
        elif other is session:
            raise BadMessage("leave the party instead of kicking yourself")
        else:
            self._remove(other)
            self._tell([other])

    def _find(self, session: Session) -> _Party:
        party = self._of.get(session)
        if party is None:
            raise PartyNotFound("this client is in no party")
        return party

    def _remove(self, session: Session) -> None:
        party = self._of.pop(session)
        del party.members[session]
        if not party.members:
            del self._by_code[party.code]
        elif party.leader is session:
            party.leader = next(iter(party.members))
        self._changed((session, *party.members))
        self._tell(list(party.members))

    def _tell(self, members: list[Session]) -> None:
        for member in members:
            if member.connected:
                member.say(PartyState(member.ref, 0, self._state(member)))

    def _state(self, session: Session) -> dict[str, Any]:
        party = self._of.get(session)
        if party is None:
            return {}
        return {
            "code": party.code,
            "leader": party.leader.data.ID,
            "members": [{"client": one.data.ID, "here": one.connected} for one in party.in_order()],
            "queue": self._queue_of(party.leader),
        }
