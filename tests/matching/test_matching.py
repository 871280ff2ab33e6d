"""A share of the million with each run of the tests; and bugs that are planted are found."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count, islice
from random import Random
from typing import Any

import pytest

from server_room_system.broker import queues
from server_room_system.broker.proposals import Proposal, ProposalEvent
from server_room_system.broker.queues import Match, Matcher, MatchQueue, Place, Ticket, TicketEvent, Window
from server_room_system.broker.queues.rules import Rules
from server_room_system.broker.queues.teams import seat
from server_room_system.broker.tickets import Tickets

from .outcome import Outcome
from .policies import KINDS
from .world import play

Patch = pytest.MonkeyPatch
_SHORT = 200
"""Tickets of a run here."""
_MOST_RUNS = 40
_KINDS = (*sorted(KINDS), "broker")


def seeds_of(kind: str) -> Iterable[int]:
    """Those that draw up such a queue."""
    if kind == "broker":
        return count(0, 4)
    return (seed for seed in count() if seed % 4 and Random(seed).choice(sorted(KINDS)) == kind)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """Some of each kind of queue."""
    return [play(seed, _SHORT) for kind in _KINDS for seed in islice(seeds_of(kind), 3)]


def test_what_has_to_hold_holds(outcomes: list[Outcome]) -> None:
    assert [(outcome.command(), outcome.mistake) for outcome in outcomes if outcome.mistake is not None] == []
    assert {outcome.kind for outcome in outcomes} == set(_KINDS)
    assert all(outcome.counts["tickets"] >= _SHORT for outcome in outcomes)


def test_everything_that_is_to_go_wrong_goes_wrong(outcomes: list[Outcome]) -> None:
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts += outcome.counts
    wanted = {
        "asked why", "came into a running room", "cancelled while aside", "cancelled while proposed",
        "cancelled while waiting", "declined", "expired while proposed", "expired while waiting", "matched", "put back",
        "refused", "rooms sought members", "set aside", "workers refused",
        "assigned", "cancels", "connections lost", "ended: MATCH_CANCELLED", "ended: MATCH_EXPIRED", "found",
        "party: join", "party: kick", "party: leave", "party: promote", "sessions ended", "workers said nothing",
    }  # fmt: skip
    assert wanted <= {what for what, often in counts.items() if often}


def test_a_seed_is_one_course_of_events() -> None:
    assert play(5, _SHORT) == play(5, _SHORT)


# Bugs.


def who_has_left_stays_in_the_queue(patch: Patch) -> None:
    patch.setattr(Matcher, "remove", lambda self, ticket: None)


def who_is_away_stays_in_the_queue(patch: Patch) -> None:
    patch.setattr(Matcher, "set_aside", lambda self, ticket: None)


def who_is_put_back_is_forgotten(patch: Patch) -> None:
    def forget(self: Matcher, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            ticket.step(TicketEvent.PUT_BACK)

    patch.setattr(Matcher, "put_back", forget)


def a_room_that_closed_still_seeks(patch: Patch) -> None:
    patch.setattr(Matcher, "stop_seeking", lambda self, room: None)


def windows_do_not_wake_anybody(patch: Patch) -> None:
    due = Matcher.due

    def hours_late(self: Matcher) -> float | None:
        at = due(self)
        return at if at is None or at < 0 else at + 3600.0

    patch.setattr(Matcher, "due", hours_late)


def a_match_is_told_twice(patch: Patch) -> None:
    work = Matcher.work

    def twice(self: Matcher, now: float, *steps: Any) -> tuple[list[Match], bool]:
        matches, more = work(self, now, *steps)
        return [*matches, *matches], more

    patch.setattr(Matcher, "work", twice)


def _everywhere(patch: Patch, name: str, instead: Callable[..., Any]) -> None:
    """Put a function in the place of another in each module of the queues."""
    modules = [module for path, module in sys.modules.items() if path.startswith(queues.__name__)]
    (function,) = {getattr(module, name) for module in modules if hasattr(module, name)}
    for module in modules:
        if getattr(module, name, None) is function:
            patch.setattr(module, name, instead)


def criteria_need_not_agree(patch: Patch) -> None:
    _everywhere(patch, "agree", lambda one, other: True)
    _everywhere(patch, "common", lambda one, other: one)


def anybody_plays_any_role(patch: Patch) -> None:
    _everywhere(patch, "assign_roles", lambda entrants, slots: list(slots)[: len(entrants)])


def places_in_rooms_stay_free(patch: Patch) -> None:
    _everywhere(patch, "fill", lambda backfill, places: None)


def parties_are_split(patch: Patch) -> None:
    def split(*given: Any) -> dict[str, list[Place]] | None:
        teams = seat(*given)
        if teams is not None and len(teams) > 1:
            places = [place for team in teams.values() for place in team]
            places = [*places[1:], *places[:1]]
            for name, team in teams.items():
                teams[name] = [place._replace(team=name) for place in places[: len(team)]]
                places = places[len(team) :]
        return teams

    _everywhere(patch, "seat", split)


def windows_are_too_wide(patch: Patch) -> None:
    after = Window.after
    patch.setattr(Window, "after", lambda self, waited: 1.2 * after(self, waited))


def patience_is_short(patch: Patch) -> None:
    make = Rules.__init__

    def impatient(self: Rules, queue: MatchQueue) -> None:
        make(self, queue)
        self.max_wait /= 2

    patch.setattr(Rules, "__init__", impatient)


def who_has_ended_stays_in_the_queue(patch: Patch) -> None:
    patch.setattr(Tickets, "over", lambda self, session: None)


def what_breaks_while_seats_are_asked_for_is_not_noticed(patch: Patch) -> None:
    step = Proposal.step
    patch.setattr(Proposal, "step", lambda self, event: event is ProposalEvent.LEAVE or step(self, event))


def deadlines_are_not_met(patch: Patch) -> None:
    patch.setattr(Tickets, "_too_late", lambda self, entry: None)


BUGS_OF_BROKERS = (
    who_has_ended_stays_in_the_queue, what_breaks_while_seats_are_asked_for_is_not_noticed, deadlines_are_not_met,
)  # fmt: skip
BUGS = (
    who_has_left_stays_in_the_queue, who_is_away_stays_in_the_queue, who_is_put_back_is_forgotten,
    a_room_that_closed_still_seeks, windows_do_not_wake_anybody, a_match_is_told_twice, criteria_need_not_agree,
    anybody_plays_any_role, places_in_rooms_stay_free, parties_are_split, windows_are_too_wide, patience_is_short,
)  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Callable[[Patch], None], monkeypatch: Patch) -> None:
    bug(monkeypatch)
    assert any(play(seed, _SHORT).mistake is not None for seed in range(_MOST_RUNS) if seed % 4)


@pytest.mark.parametrize("bug", BUGS_OF_BROKERS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_of_the_broker_is_found(bug: Callable[[Patch], None], monkeypatch: Patch) -> None:
    bug(monkeypatch)
    assert any(play(seed, _SHORT).mistake is not None for seed in islice(seeds_of("broker"), _MOST_RUNS))
