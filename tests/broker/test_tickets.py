"""Tickets of queues in the broker: each way that one can end, and that whoever is not to blame waits on."""

from typing import Any

import pytest

from server_room_system import BrokerLimits, Code, RuleSet
from server_room_system.protocol import (
    Assigned,
    Cancel,
    Enqueue,
    Error,
    Match,
    Party,
    PartyState,
    Progress,
    Reasons,
    TicketError,
    Why,
)
from server_room_system.rooms.control import OpenRoom, ReserveSeats, RoomUpdated, Seeking

from .fakes import Bench, Guest
from .test_broker import come, come_back
from .waiters import Duel, code_of, enqueue, is_assigned, only, policies, waits


@pytest.fixture
def bench() -> Bench:
    return Bench(queues=policies())


# The way into a room.


def test_two_are_matched_into_a_room_that_knows_of_it(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    enqueue(ann, "modes", mode="ctf")
    enqueue(bob, "modes", mode=["ctf", "koth"])
    wanted = bench.wanted
    assert isinstance(wanted, OpenRoom)
    assert wanted.ruleset == RuleSet(2, mode="ctf")
    assert wanted.match["teams"] == {"": [ann.session.id, bob.session.id]}
    assert [seat.place for seat in wanted.seats] == [("", ""), ("", "")]
    bench.grant(wanted)
    assert only(ann.heard(), Assigned).room == only(bob.heard(), Assigned).room == wanted.room
    assert not waits(ann)
    assert len(bench.broker.tickets) == 0


def test_a_request_that_is_asked_again_is_answered_again_and_done_once(bench: Bench) -> None:
    ann = come(bench)
    enqueue(ann)
    (again,) = enqueue(ann)
    assert isinstance(again, Progress)
    assert len(bench.broker.tickets) == 1
    enqueue(come(bench))
    bench.grant(bench.wanted)
    first = only(ann.heard(), Assigned)
    (again,) = enqueue(ann)
    assert isinstance(again, Assigned)
    assert again.reservation == first.reservation


def test_a_session_waits_for_one_thing_at_a_time(bench: Bench) -> None:
    ann = come(bench)
    enqueue(ann)
    assert code_of(enqueue(ann, ask=10)) == Code.ALREADY_WAITING
    assert code_of(enqueue(ann, "rated", ask=11)) == Code.ALREADY_WAITING
    assert code_of(ann.ask(Match(ann.ref, 12, RuleSet(2).to_wire(), {}, 5.0))) == Code.ALREADY_WAITING
    bob = come(bench)
    bob.ask(Match(bob.ref, 12, RuleSet(2).to_wire(), {}, 5.0))
    assert code_of(enqueue(bob)) == Code.ALREADY_WAITING


@pytest.mark.parametrize(
    ("queue", "criteria", "code"),
    [
        ("nonsense", {}, Code.UNKNOWN_QUEUE),
        ("modes", {"colour": "red"}, Code.TICKET_REFUSED),
        ("modes", {"mode": []}, Code.TICKET_REFUSED),
        ("modes", {"mode": float("nan")}, Code.TICKET_REFUSED),
        ("modes", {"mode": {"deep": {}}}, Code.TICKET_REFUSED),
    ],
)
def test_what_a_queue_does_not_allow_is_refused(bench: Bench, queue: str, criteria: Any, code: Code) -> None:
    ann = come(bench)
    assert code_of(enqueue(ann, queue, **criteria)) == code
    assert not waits(ann)


# What on_ticket says.


def test_a_ticket_enters_when_the_hook_has_answered(bench: Bench) -> None:
    bench.out.rated = None
    ann, bob = come(bench), come(bench)
    enqueue(ann)
    enqueue(bob)
    assert not bench.out.asked
    for _, ticket in bench.out.to_rate:
        bench.broker.tickets.rated(ticket, None)
    bench.out.advance(0.0)
    assert is_assigned(ann, bench)


@pytest.mark.parametrize("error", [TicketError("you are banned"), KeyError("a secret")])
def test_what_the_hook_raises_refuses_the_ticket(bench: Bench, error: Exception) -> None:
    bench.out.rated = None
    ann = come(bench)
    enqueue(ann)
    ((_, ticket),) = bench.out.to_rate
    bench.broker.tickets.rated(ticket, error)
    refusal = only(ann.heard(), Error)
    assert refusal.code == Code.TICKET_REFUSED
    assert ("banned" in refusal.text) == isinstance(error, TicketError)
    assert "secret" not in refusal.text
    assert not waits(ann)


def test_the_answer_for_a_ticket_that_was_cancelled_is_not_heard(bench: Bench) -> None:
    bench.out.rated = None
    ann, bob = come(bench), come(bench)
    enqueue(ann)
    ((_, ticket),) = bench.out.to_rate
    ann.ask(Cancel(ann.ref, 9))
    assert not bench.out.to_rate
    bench.broker.tickets.rated(ticket, None)
    bench.out.rated = bench.broker.tickets.rated
    enqueue(bob)
    assert not bench.out.asked


# Ends.


def test_a_cancel_that_is_acknowledged_is_final(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    enqueue(ann)
    assert code_of(ann.ask(Cancel(ann.ref, 9))) == Code.MATCH_CANCELLED
    enqueue(bob)
    assert not bench.out.asked
    assert waits(bob)


def test_a_ticket_expires_at_its_deadline(bench: Bench) -> None:
    ann = come(bench)
    enqueue(ann, timeout=5.0)
    bench.out.advance(4.9)
    assert waits(ann)
    bench.out.advance(0.2)
    assert code_of(ann.heard()) == Code.MATCH_EXPIRED
    assert not waits(ann)


def test_the_server_shortens_a_wait_that_is_too_long() -> None:
    bench = Bench(BrokerLimits(longest_wait=10.0), queues={"duel": Duel()})
    ann = come(bench)
    enqueue(ann, timeout=1e6)
    bench.out.advance(10.1)
    assert code_of(ann.heard()) == Code.MATCH_EXPIRED


def test_who_is_away_is_not_matched_and_keeps_its_place(bench: Bench) -> None:
    ann, bob, cid = come(bench), come(bench), come(bench)
    enqueue(ann)
    ann.lose()
    enqueue(bob)
    assert not bench.out.asked
    come_back(ann)
    bench.out.advance(0.0)
    assert {seat.session for seat in bench.wanted.seats} == {ann.session.session, bob.session.session}
    enqueue(cid)
    assert waits(cid)


def test_who_never_comes_back_leaves_no_ticket(bench: Bench) -> None:
    ann = come(bench)
    enqueue(ann, timeout=600.0)
    ann.lose()
    bench.out.advance(61.0)
    assert len(bench.broker.tickets) == 0


# Several tickets of one session.


def test_a_session_with_two_tickets_is_never_matched_with_itself_nor_twice(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    enqueue(ann, "several", ask=9)
    enqueue(ann, "several", ask=10)
    assert not bench.out.asked
    enqueue(bob, "several")
    bench.out.advance(1.0)
    assert len({seat.session for seat in bench.wanted.seats}) == 2
    bench.grant(bench.wanted)
    heard = ann.heard()
    assert only(heard, Assigned)
    assert code_of(heard) == Code.MATCH_CANCELLED
    assert not waits(ann)


# Why, and how long yet.


def test_why_names_the_rule_that_keeps_the_other_away(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    enqueue(ann, "rated")
    enqueue(bob, "rated")
    report = only(ann.ask(Why(ann.ref, 20, 9)), Reasons).report
    (obstacle,) = report["obstacles"]
    assert obstacle["rule"] == "rating"
    assert report == bench.broker.tickets.why_number(report["ticket"])
    assert code_of(ann.ask(Why(ann.ref, 21, 77))) == Code.NOT_A_MEMBER


def test_progress_is_told_less_and_less_often(bench: Bench) -> None:
    ann = come(bench)
    enqueue(ann)
    told = []
    for _ in range(60):
        bench.out.advance(1.0)
        told.append(sum(isinstance(message, Progress) for message in ann.heard()))
    assert [second for second, times in enumerate(told, 1) if times][:5] == [1, 3, 7, 15, 31]


# Parties.


def party_of(bench: Bench, members: int) -> list[Guest]:
    guests = [come(bench) for _ in range(members)]
    code = only(guests[0].ask(Party(guests[0].ref, 3, "make", None)), PartyState).party["code"]
    for guest in guests[1:]:
        assert len(only(guest.ask(Party(guest.ref, 3, "join", code)), PartyState).party["members"]) >= 2
    return guests


def test_a_party_enters_when_all_of_it_have_asked_and_is_seated_in_one_team(bench: Bench) -> None:
    ann, bob = party_of(bench, 2)
    assert code_of(enqueue(bob, "teams")) == Code.TICKET_REFUSED
    assert only(enqueue(ann, "teams"), Progress).info["state"] == "gathering"
    assert [one.party["queue"] for one in bob.heard() if isinstance(one, PartyState)][-1] == "teams"
    for guest in (come(bench), come(bench)):
        enqueue(guest, "teams")
    assert not bench.out.asked
    enqueue(bob, "teams")
    team = {seat.session: seat.place for seat in bench.wanted.seats}
    assert len(team) == 4
    assert team[ann.session.session] == team[bob.session.session]


def test_a_party_waits_for_no_longer_than_the_least_patient_of_it(bench: Bench) -> None:
    ann, bob = party_of(bench, 2)
    enqueue(ann, "teams", timeout=60.0)
    enqueue(bob, "teams", timeout=5.0)
    ann.heard()
    bench.out.advance(4.9)
    assert {type(message) for one in (ann, bob) for message in one.heard()} == {Progress}
    bench.out.advance(0.1)
    assert [code_of(one.heard()) for one in (ann, bob)] == [Code.MATCH_EXPIRED] * 2


@pytest.mark.parametrize("believed", ["", "abcdefghijkl"])
def test_who_believes_to_be_in_another_party_is_not_matched_without_it(bench: Bench, believed: str) -> None:
    ann, bob = party_of(bench, 2)
    others = [come(bench)] if believed else [ann, bob]
    for guest in others:
        bench.say(guest.caller, Enqueue(guest.ref, 9, "teams", {}, [], {}, {}, 60.0, believed))
        assert code_of(guest.heard()) == Code.MATCH_CANCELLED
    assert len(bench.broker.tickets) == 0


@pytest.mark.parametrize("how", ["cancel", "leave", "end", "kick"])
@pytest.mark.parametrize("phase", ["gathering", "waiting"])
def test_whatever_takes_one_out_takes_the_party_out(bench: Bench, how: str, phase: str) -> None:
    ann, bob, cid = party_of(bench, 3)
    enqueue(ann, "trios")
    enqueue(bob, "trios")
    if phase == "waiting":
        enqueue(cid, "trios")
    ann.heard()
    if how == "cancel" and phase == "waiting":
        bob.ask(Cancel(bob.ref, 9))
    elif how == "cancel":
        ann.ask(Cancel(ann.ref, 9))
    elif how == "leave":
        cid.ask(Party(cid.ref, 5, "leave", None))
    elif how == "kick":
        ann.ask(Party(ann.ref, 5, "kick", cid.session.id))
    else:
        cid.session.end()
        bench.out.advance(0.0)
    assert not waits(ann)
    assert not waits(bob)
    assert len(bench.broker.tickets) == 0


# Rooms that seek members.


def test_a_room_that_seeks_is_filled_and_seeks_again_what_did_not_come(bench: Bench) -> None:
    ann, bob, cid = come(bench), come(bench), come(bench)
    room = "c2a94e07d15b4f3896d0a7e1b3f5c842"
    bench.report(RoomUpdated(room, "duel", 1, 1, 2, True, {}))
    bench.report(Seeking(room, "modes", {"": {"": 1}}, {"rating": None, "criteria": {"mode": "ctf"}, "region": None}))
    bench.out.advance(0.0)
    enqueue(ann, "modes", mode="koth")
    assert not bench.out.asked
    enqueue(bob, "modes", mode="ctf")
    wanted = bench.wanted
    assert isinstance(wanted, ReserveSeats)
    assert wanted.room == room
    bob.ask(Cancel(bob.ref, 9))
    bench.grant(wanted)
    enqueue(cid, "modes", mode="ctf")
    assert [seat.session for seat in bench.wanted.seats] == [cid.session.session]
    assert is_assigned(cid, bench)


def test_a_room_that_is_full_after_all_costs_nobody_the_place(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    room = "c2a94e07d15b4f3896d0a7e1b3f5c842"
    bench.report(RoomUpdated(room, "duel", 1, 1, 2, True, {}))
    bench.report(Seeking(room, "duel", {"": {"": 1}}, {}))
    enqueue(ann)
    bench.refuse(bench.wanted, Code.ROOM_FULL)
    bench.out.advance(0.0)
    assert waits(ann)
    enqueue(bob)
    assert isinstance(bench.wanted, OpenRoom)
    assert is_assigned(ann, bench)


def test_what_a_room_seeks_where_no_such_queue_is_is_only_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    room = "c2a94e07d15b4f3896d0a7e1b3f5c842"
    bench.report(RoomUpdated(room, "duel", 1, 1, 2, True, {}))
    bench.report(Seeking(room, "nonsense", {"": {"": 1}}, {}))
    bench.report(Seeking(room, "modes", {"": {"": 1}}, {"criteria": {"colour": "red"}}))
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_a_room_that_refuses_is_asked_again_after_a_while_and_whoever_is_in_it_is_never_sent(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    room = "c2a94e07d15b4f3896d0a7e1b3f5c842"
    bench.report(RoomUpdated(room, "duel", 1, 1, 2, True, {}))

    def seek() -> int:
        """The room says what it lacks; how often it is asked for that."""
        before = len(bench.out.asked_for(ReserveSeats))
        bench.report(Seeking(room, "duel", {"": {"": 2}}, {}))
        bench.out.advance(0.0)
        return len(bench.out.asked_for(ReserveSeats)) - before

    enqueue(ann)
    assert seek() == 1
    bench.refuse(bench.wanted, Code.ROOM_FULL)
    assert [seek(), seek()] == [0, 0]
    bench.out.advance(1.0)
    assert len(bench.out.asked_for(ReserveSeats)) == 2
    bench.refuse(bench.wanted, Code.ALREADY_WAITING)
    assert seek() == 0
    reasons = only(ann.ask(Why(ann.ref, 10, 9)), Reasons).report
    assert [(one["candidate"], one["rule"]) for one in reasons["obstacles"]] == [(room, "member")]
    bench.out.advance(2.0)
    enqueue(bob)
    assert isinstance(bench.wanted, OpenRoom)
    assert [seat.session for seat in bench.wanted.seats] == [ann.session.session, bob.session.session]


def test_a_room_that_has_refused_and_is_gone_gets_nobody(bench: Bench) -> None:
    ann = come(bench)
    room = "c2a94e07d15b4f3896d0a7e1b3f5c842"
    bench.report(RoomUpdated(room, "duel", 1, 1, 2, True, {}))
    bench.report(Seeking(room, "duel", {"": {"": 1}}, {}))
    enqueue(ann)
    bench.refuse(bench.wanted, Code.ROOM_FULL)
    bench.report(Seeking(room, "duel", {"": {"": 1}}, {}))
    bench.report(Seeking(room, "duel", {}, {}))
    bench.out.advance(5.0)
    assert len(bench.out.asked_for(ReserveSeats)) == 1
    assert len(bench.broker.tickets.seekers) == 0
