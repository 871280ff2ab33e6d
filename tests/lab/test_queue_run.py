"""Hours of a queue in seconds: what a run counts is what the matcher did."""

from types import MappingProxyType
from typing import Any

import pytest

from server_room_system import ConfigError
from server_room_system.broker.queues import MatchQueue, Ticket, Window
from server_room_system.lab.crowd import Crowd, parse_crowd
from server_room_system.lab.queue_run import QueueRun
from server_room_system.lab.waiting import Counts


class Duel(MatchQueue):
    window = Window(start=100, per_second=10, most=500)


class Strict(Duel):
    window = Window(start=10)
    max_wait = 60.0


class Squads(MatchQueue):
    teams = MappingProxyType({"red": 2, "blue": 2})
    window = Window(start=300, per_second=10, most=600)
    hard = ("mode",)


class Asking(Duel):
    accept = 10.0


class Small(MatchQueue):
    least, most = 2, 4
    max_wait, then = 20.0, "smaller"


class Bots(MatchQueue):
    most = 4
    max_wait, then = 20.0, "bots"


def crowd(arrivals: str = "poisson:600/h", **more: Any) -> Crowd:
    options: dict[str, Any] = {"patience": None, "parties": None, "roles": None, "regions": None, "criteria": ()}
    options |= {"seed": 1, **more}
    return parse_crowd(arrivals, "normal:1500,300", **options)


def played(policy: MatchQueue, people: Crowd, hours: float = 0.25, declines: float = 0.0) -> Counts:
    run = QueueRun(policy, "it", people, hours * 3600, declines)
    moments = list(run.run())
    assert moments == sorted(moments)
    assert moments[-1] == hours * 3600
    return run.counts


def test_everybody_who_came_is_counted_once() -> None:
    people = crowd()
    counts = played(Duel(), people)
    assert len(counts.waits) == len(list(people.newcomers(900.0)))
    assert counts.ended["matched"] == 2 * counts.matches
    assert counts.ended["matched"] + counts.ended["waiting"] == len(counts.waits)
    assert max(counts.spreads) <= 500
    assert min(counts.waits) == 0.0


def test_a_run_is_the_same_each_time() -> None:
    one = played(Asking(), crowd(patience="exp:60"), declines=0.1)
    two = played(Asking(), crowd(patience="exp:60"), declines=0.1)
    assert one == two


def test_a_stricter_policy_brings_ratings_together_and_lets_people_wait() -> None:
    loose, strict = played(Duel(), crowd()).figures(), played(Strict(), crowd()).figures()
    assert (strict.rating_spread.p90 or 0) < (loose.rating_spread.p90 or 0)
    assert (strict.wait.p90 or 0) > (loose.wait.p90 or 0)
    assert strict.ended["refused"] > loose.ended.get("refused", 0)
    assert strict.longest is not None
    assert strict.longest.wait == pytest.approx(60.0, abs=1e-3), "its max_wait ends every wait"


def test_who_is_impatient_gives_up() -> None:
    counts = played(Strict(), crowd(patience="5"))
    assert counts.ended["cancelled"] > 0
    assert max(counts.waits) == pytest.approx(5.0, abs=1e-3)


def test_teams_are_told_apart_and_criteria_hold_people_apart() -> None:
    one_mode = played(Squads(), crowd(criteria=("mode=ctf",))).figures()
    two_modes = played(Squads(), crowd(criteria=("mode=ctf,dm",))).figures()
    assert one_mode.team_gap.p50 is not None
    assert (two_modes.wait.p50 or 0) > (one_mode.wait.p50 or 0)


def test_parties_come_whole() -> None:
    counts = played(Squads(), crowd(criteria=("mode=ctf",), parties="1,2"))
    assert counts.players > len(counts.waits)
    assert 2 * counts.matches < counts.ended["matched"] < 4 * counts.matches


def test_who_declines_ends_and_the_others_go_on_waiting() -> None:
    counts = played(Asking(), crowd(), declines=0.2)
    assert 0.1 < counts.ended["cancelled"] / len(counts.waits) < 0.4
    assert counts.ended["matched"] == 2 * counts.matches
    assert (counts.figures().wait.p50 or 0) > 5.0, "answering takes time"


@pytest.mark.parametrize(
    ("policy", "short", "bots"), [(Small(), True, False), (Bots(), True, True)], ids=["small", "bots"]
)
def test_after_the_longest_wait_a_smaller_match_or_bots_come(policy: MatchQueue, short: bool, bots: bool) -> None:
    counts = played(policy, crowd("poisson:200/h"))
    assert (counts.short > 0) == short
    assert (counts.bots > 0) == bots


def test_a_ticket_that_the_queue_refuses_ends_the_run_with_the_queue_s_own_words() -> None:
    with pytest.raises(ConfigError, match=r"it refuses the ticket that comes at .* s: a party of 3"):
        played(Duel(), crowd(parties="3"))


def test_a_hook_that_raises_ends_the_run() -> None:
    class Broken(Duel):
        def fits(self, one: Ticket, other: Ticket) -> bool:
            raise ValueError("no")

    with pytest.raises(ConfigError, match="a hook of it raised ValueError: no"):
        played(Broken(), crowd())


def test_what_a_policy_does_not_ask_for_is_left_out() -> None:
    people = crowd(criteria=("mode=ctf,dm",), roles="tank,healer", regions="eu,us")
    assert played(Duel(), people) == played(Duel(), crowd())
