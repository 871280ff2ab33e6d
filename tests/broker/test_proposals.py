"""Matches on their way to a room: who is asked, what a worker answers, and that whoever is not to blame waits on."""

import pytest

from server_room_system import Code
from server_room_system.protocol import Accept, Assigned, Cancel, Found
from server_room_system.rooms.control import ReleaseSeats

from .fakes import Bench, Guest
from .test_broker import come, come_back
from .waiters import code_of, enqueue, is_assigned, only, policies, waits


@pytest.fixture
def bench() -> Bench:
    return Bench(queues=policies())


# While a worker is asked.


def test_a_room_that_cannot_be_made_ends_the_tickets(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    enqueue(ann)
    enqueue(bob)
    ann.heard()
    bench.refuse(bench.wanted, Code.ROOM_FAILED)
    assert code_of(ann.heard()) == code_of(bob.heard()) == Code.ROOM_FAILED
    assert len(bench.broker.tickets) == 0


@pytest.mark.parametrize("how", ["cancel", "end"])
def test_when_one_goes_while_seats_are_held_the_other_waits_on(bench: Bench, how: str) -> None:
    ann, bob, cid = come(bench), come(bench), come(bench)
    enqueue(ann)
    enqueue(bob)
    asked = bench.wanted
    if how == "cancel":
        assert code_of(bob.ask(Cancel(bob.ref, 9))) == Code.MATCH_CANCELLED
    else:
        bob.session.end()
        bench.out.advance(0.0)
    ann.heard()
    bench.grant(asked)
    bench.out.advance(0.0)
    released = [one for one in bench.out.asked if isinstance(one, ReleaseSeats) and one.rooms == [asked.room]]
    assert len(released) >= 2
    assert not any(isinstance(message, Assigned) for message in ann.heard())
    assert waits(ann)
    enqueue(cid)
    assert {seat.session for seat in bench.wanted.seats} == {ann.session.session, cid.session.session}
    assert is_assigned(ann, bench)


def test_who_cancels_while_seats_are_asked_for_may_look_for_something_else_at_once(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    enqueue(ann)
    enqueue(bob)
    wanted = bench.wanted
    assert code_of(bob.ask(Cancel(bob.ref, 9))) == Code.MATCH_CANCELLED
    assert enqueue(bob, "modes", ask=20) == []
    assert waits(bob)
    enqueue(come(bench), "modes")
    other = bench.wanted
    assert other is not wanted
    bench.refuse(wanted, Code.NO_WORKER)
    assert bob.heard() == [], "what it does not want any more is not its business"
    bench.grant(other)
    assert only(bob.heard(), Assigned).ask == 20


def test_when_one_after_the_other_goes_while_seats_are_asked_for_nobody_is_seated(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    enqueue(ann)
    enqueue(bob)
    wanted = bench.wanted
    for one in (ann, bob):
        assert code_of(one.ask(Cancel(one.ref, 9))) == Code.MATCH_CANCELLED
    bench.grant(wanted)
    assert ann.heard() == bob.heard() == []
    assert len(bench.out.asked_for(ReleaseSeats)) == 2
    assert bench.broker.tickets.proposals == 0


# The accept step.


def found(guest: Guest) -> Found:
    told: Found = only(guest.heard(), Found)
    return told


def both_found(bench: Bench) -> tuple[Guest, Guest, int]:
    ann, bob = come(bench), come(bench)
    enqueue(ann, "careful")
    match = only(enqueue(bob, "careful"), Found)
    assert found(ann).match == match.match
    assert match.players == 2
    return ann, bob, match.match


def test_a_match_that_all_accept_gets_a_room(bench: Bench) -> None:
    ann, bob, match = both_found(bench)
    ann.ask(Accept(ann.ref, 9, match, True))
    assert not bench.out.asked
    bob.ask(Accept(bob.ref, 9, match, True))
    assert is_assigned(ann, bench)


def test_who_declines_ends_its_ticket_alone(bench: Bench) -> None:
    ann, bob, match = both_found(bench)
    ann.ask(Accept(ann.ref, 9, match, True))
    assert code_of(bob.ask(Accept(bob.ref, 9, match, False))) == Code.MATCH_CANCELLED
    assert waits(ann)
    enqueue(come(bench), "careful")
    assert found(ann).match != match


def test_who_says_nothing_in_time_ends_its_ticket(bench: Bench) -> None:
    ann, bob, match = both_found(bench)
    ann.ask(Accept(ann.ref, 9, match, True))
    bench.out.advance(10.1)
    assert code_of(bob.heard()) == Code.MATCH_CANCELLED
    assert waits(ann)
    assert not bench.out.asked


@pytest.mark.parametrize("says", [True, False])
def test_who_could_not_be_heard_because_the_broker_stood_still_has_a_second_more(bench: Bench, says: bool) -> None:
    ann, bob, match = both_found(bench)
    bench.out.now += 15.0
    bench.out.advance(0.5)
    assert ann.heard() == bob.heard() == []
    ann.ask(Accept(ann.ref, 9, match, True))
    if says:
        bob.ask(Accept(bob.ref, 9, match, True))
        assert is_assigned(ann, bench)
        return
    bench.out.now += 15.0  # one second, and not one after the other
    bench.out.advance(0.0)
    assert code_of(bob.heard()) == Code.MATCH_CANCELLED
    assert waits(ann)


def test_an_answer_to_another_match_is_not_heard(bench: Bench) -> None:
    ann, bob, match = both_found(bench)
    ann.ask(Accept(ann.ref, 9, match + 1, True))
    bob.ask(Accept(bob.ref, 9, match, True))
    assert not bench.out.asked


def test_who_comes_back_is_asked_again(bench: Bench) -> None:
    ann, bob, match = both_found(bench)
    ann.lose()
    come_back(ann)
    again = enqueue(ann, "careful")
    assert only(again, Found).match == match
    ann.ask(Accept(ann.ref, 9, match, True))
    bob.ask(Accept(bob.ref, 9, match, True))
    assert is_assigned(ann, bench)


def test_the_deadline_of_a_ticket_counts_while_it_is_found(bench: Bench) -> None:
    ann, bob = come(bench), come(bench)
    enqueue(ann, "careful", timeout=3.0)
    enqueue(bob, "careful")
    bench.out.advance(3.1)
    assert code_of(ann.heard()) == Code.MATCH_EXPIRED
    assert waits(bob)
