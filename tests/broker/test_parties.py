"""Parties against a naive model of them: who is in which, who leads, and who is told what."""

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from server_room_system import ClientData, Code, RequestError, Session
from server_room_system.broker.parties import MOST_MEMBERS, Parties
from server_room_system.protocol import Message, Party, PartyState, TokenBucket

NAMES = st.integers(0, 3)


class Caller:
    """A connection that remembers what is said on it."""

    peer, address, clogged, refs = b"", "", False, dict[int, Any]()

    def __init__(self) -> None:
        self.said: list[Message] = []

    def add(self, uplink: object) -> int:
        return 7

    def say(self, message: Message) -> None:
        self.said.append(message)


class Ground:
    """Parties, and sessions that come to them."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 100.0
        self.changes: list[tuple[Session, ...]] = []
        self.queues: dict[Session, str] = {}
        self.parties = Parties(self, Random(seed).randbytes, self.changes.append, self.queues.get)
        self._count = 0
        self._asks = 100

    def come(self) -> Session:
        self._count += 1
        desk: Any = SimpleNamespace()
        session = Session(desk, f"{self._count:032}", ClientData(self._count, ""), TokenBucket(1.0, 1))
        self.connect(session)
        return session

    def connect(self, session: Session, known: list[Message] | None = None) -> None:
        """It has a connection, and remembers what it was told before."""
        caller: Any = Caller()
        caller.said += known or []
        session.attach(caller)

    def ask(self, session: Session, action: str, argument: object = None, *, ask: int | None = None) -> dict[str, Any]:
        """What is answered."""
        self._asks += 1
        ask = ask if ask is not None else self._asks
        caller: Any = session.connection
        before = len(caller.said)
        self.parties.on_message(session, Party(7, ask, action, argument))
        (answer,) = (one for one in caller.said[before:] if isinstance(one, PartyState) and one.ask == ask)
        return answer.party


def told(session: Session) -> dict[str, Any]:
    """How a client believes that its party is."""
    caller: Any = session.connection
    states = [one.party for one in caller.said if isinstance(one, PartyState)]
    return states[-1] if states else {}


class PartiesMachine(RuleBasedStateMachine):
    """Any order of what members do, and of what happens to them."""

    @initialize(seed=st.integers(0, 2**32))
    def open(self, seed: int) -> None:
        self.ground = Ground(seed)
        self.sessions = [self.ground.come() for _ in range(4)]
        self.away: dict[Session, list[Message]] = {}
        """What they were told before."""
        self.groups: list[list[Session]] = []
        """Each in the order of coming."""
        self.leaders: dict[int, Session] = {}
        """By the place of the group."""
        self.codes: dict[int, str] = {}
        self.every_code: set[str] = set()

    def of(self, session: Session) -> int | None:
        return next((index for index, group in enumerate(self.groups) if session in group), None)

    def refused(self, session: Session, action: str, argument: object, *reasons: Code) -> None:
        before = self.ground.parties.of(session)
        with pytest.raises(RequestError) as refusal:
            self.ground.ask(session, action, argument)
        assert refusal.value.code in reasons
        assert self.ground.parties.of(session) == before

    def is_out(self, session: Session, index: int) -> None:
        group = self.groups[index]
        group.remove(session)
        if group and self.leaders[index] is session:
            self.leaders[index] = group[0]
        assert self.ground.changes[-1][0] is session
        assert set(self.ground.changes[-1][1:]) == set(group)

    @rule(who=NAMES)
    def make(self, who: int) -> None:
        session = self.is_here(who)
        if self.of(session) is not None:
            self.refused(session, "make", None, Code.ALREADY_WAITING)
            return
        code = self.ground.ask(session, "make")["code"]
        assert code not in self.every_code
        assert len(code) == 12
        self.every_code.add(code)
        self.codes[len(self.groups)], self.leaders[len(self.groups)] = code, session
        self.groups.append([session])

    @rule(who=NAMES, which=st.integers(0, 4))
    def join(self, who: int, which: int) -> None:
        self.ground.now += 60.0
        session = self.is_here(who)
        code = self.codes.get(which, "abcdefghijkl")
        if not self.groups[which : which + 1] or not self.groups[which]:
            self.refused(session, "join", code, Code.PARTY_NOT_FOUND)
        elif self.of(session) is not None:
            self.refused(session, "join", code, Code.ALREADY_WAITING)
        else:
            self.ground.ask(session, "join", code)
            self.groups[which].append(session)
            assert set(self.ground.changes[-1]) == set(self.groups[which])

    @rule(who=NAMES)
    def leave(self, who: int) -> None:
        session = self.is_here(who)
        index = self.of(session)
        if index is None:
            self.refused(session, "leave", None, Code.PARTY_NOT_FOUND)
        else:
            assert self.ground.ask(session, "leave") == {}
            self.is_out(session, index)

    @rule(who=NAMES, whom=NAMES, action=st.sampled_from(("kick", "promote")))
    def lead(self, who: int, whom: int, action: str) -> None:
        session, other = self.is_here(who), self.sessions[whom]
        index = self.of(session)
        if index is None or self.leaders[index] is not session or other not in self.groups[index]:
            self.refused(session, action, other.id, Code.PARTY_NOT_FOUND, Code.NOT_LEADER)
        elif action == "promote":
            self.ground.ask(session, action, other.id)
            self.leaders[index] = other
        elif other is session:
            self.refused(session, action, other.id, Code.BAD_MESSAGE)
        else:
            self.ground.ask(session, action, other.id)
            self.is_out(other, index)

    @rule(who=NAMES)
    def goes_away(self, who: int) -> None:
        """It is in its party as long as its session is there."""
        session = self.sessions[who]
        if session in self.away:
            return
        caller: Any = session.connection
        self.away[session] = caller.said
        session.detach()
        self.ground.parties.tell_others(session)

    @rule(who=NAMES)
    def comes_back(self, who: int) -> None:
        self.is_here(who)

    def is_here(self, who: int) -> Session:
        session = self.sessions[who]
        if session in self.away:
            self.ground.connect(session, self.away.pop(session))
            self.ground.parties.back(session)
        return session

    @rule(who=NAMES)
    def ends(self, who: int) -> None:
        session = self.sessions[who]
        index = self.of(session)
        if session not in self.away:
            session.detach()
        self.away.pop(session, None)
        self.ground.parties.over(session)
        if index is not None:
            self.is_out(session, index)
        self.sessions[who] = self.ground.come()

    @invariant()
    def everybody_knows_how_it_is(self) -> None:
        if not hasattr(self, "ground"):
            return
        assert len(self.ground.parties) == sum(1 for group in self.groups if group)
        for session in self.sessions:
            index, state = self.of(session), {} if session in self.away else told(session)
            if index is None:
                assert self.ground.parties.of(session) == (session,)
                assert state == {}
                continue
            leader, group = self.leaders[index], self.groups[index]
            order = (leader, *(one for one in group if one is not leader))
            assert self.ground.parties.of(session) == order
            members = [{"client": one.id, "here": one.connected} for one in order]
            if session not in self.away:
                assert state == {"code": self.codes[index], "leader": leader.id, "members": members, "queue": None}


TestParties = PartiesMachine.TestCase
TestParties.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_whoever_sends_many_codes_is_slowed_down_also_when_one_is_right() -> None:
    ground = Ground()
    leader, guesser = ground.come(), ground.come()
    code = ground.ask(leader, "make")["code"]
    for _ in range(5):
        with pytest.raises(RequestError) as refusal:
            ground.ask(guesser, "join", "abcdefghijkl")
        assert refusal.value.code == Code.PARTY_NOT_FOUND
    with pytest.raises(RequestError) as refusal:
        ground.ask(guesser, "join", code)
    assert refusal.value.code == Code.RATE_LIMITED
    ground.now += 5.0
    assert len(ground.ask(guesser, "join", code)["members"]) == 2


@pytest.mark.parametrize("code", [None, 7, b"abcdefghijkl", "", "x" * 100_000, ["abcdefghijkl"], {"code": 1}])
def test_what_is_no_code_invites_nobody(code: object) -> None:
    ground = Ground()
    with pytest.raises(RequestError) as refusal:
        ground.ask(ground.come(), "join", code)
    assert refusal.value.code == Code.PARTY_NOT_FOUND


def test_what_is_said_again_after_a_reconnect_is_answered_again_and_done_once() -> None:
    ground = Ground()
    ann, bob = ground.come(), ground.come()
    made = ground.ask(ann, "make", ask=1)
    assert ground.ask(ann, "make", ask=1) == made
    ground.ask(bob, "join", made["code"], ask=4)
    assert len(ground.ask(bob, "join", made["code"], ask=4)["members"]) == 2
    ground.ask(ann, "kick", bob.id, ask=2)
    assert len(ground.ask(ann, "kick", bob.id, ask=2)["members"]) == 1
    assert ground.ask(ann, "leave", ask=3) == ground.ask(ann, "leave", ask=3) == {}
    assert len(ground.parties) == 0


def test_who_is_kicked_while_it_is_away_is_told_when_it_is_back() -> None:
    ground = Ground()
    ann, bob = ground.come(), ground.come()
    ground.ask(bob, "join", ground.ask(ann, "make")["code"])
    caller: Any = bob.connection
    bob.detach()
    ground.ask(ann, "kick", bob.id)
    ground.connect(bob, caller.said)
    assert told(bob)["leader"] == ann.id
    ground.parties.back(bob)
    assert told(bob) == {}


def test_a_party_has_a_bound() -> None:
    ground = Ground()
    code = ground.ask(ground.come(), "make")["code"]
    for _ in range(MOST_MEMBERS - 1):
        ground.ask(ground.come(), "join", code)
    with pytest.raises(RequestError) as refusal:
        ground.ask(ground.come(), "join", code)
    assert refusal.value.code == Code.PARTY_FULL


def test_members_see_the_queue_that_their_leader_has_entered() -> None:
    ground = Ground()
    ann, bob = ground.come(), ground.come()
    ground.ask(bob, "join", ground.ask(ann, "make")["code"])
    ground.queues[ann] = "ranked"
    ground.parties.tell_others(ann)
    assert told(bob)["queue"] == "ranked"


def test_there_is_no_other_action() -> None:
    ground = Ground()
    with pytest.raises(RequestError) as refusal:
        ground.ask(ground.come(), "disband")
    assert refusal.value.code == Code.BAD_MESSAGE
