"""Policies as users write them: what they declare, what is refused, and what comes of it."""

from typing import Any

import pytest

from server_room_system.broker.queues import Backfill, Entrant, Match, Matcher, MatchQueue, Ticket, TicketState, Window
from server_room_system.protocol.errors import ConfigError, TicketError


class Desk:
    """A queue, and tickets that come to it."""

    def __init__(self, queue: MatchQueue) -> None:
        self.queue = queue
        self.matcher = Matcher(queue, "ranked")
        self.number = 0

    def ticket(
        self, now: float, *ratings: float, roles: str = "", trips: dict[str, float] | None = None, **criteria: object
    ) -> Ticket:
        self.number += 1
        entrants = tuple(
            Entrant(f"{self.number}.{n}", n, rating, frozenset(roles.split()), trips or {})
            for n, rating in enumerate(ratings)
        )
        return Ticket(self.number, entrants, now, self.queue.read(criteria))

    def enter(self, now: float, *ratings: float, **more: Any) -> Ticket:
        ticket = self.ticket(now, *ratings, **more)
        self.matcher.add(ticket, now)
        return ticket

    def work(self, now: float) -> list[Match]:
        made, more = self.matcher.work(now)
        while more:
            others, more = self.matcher.work(now)
            made += others
        return made


class Duel(MatchQueue):
    window = Window(100, 10, 500)


# Windows.


def test_a_window_widens_until_it_reaches_the_other_and_the_time_is_known() -> None:
    desk = Desk(Duel())
    desk.enter(0.0, 1500)
    desk.enter(7.0, 1800)
    assert desk.work(7.0) == []
    assert desk.matcher.due() == pytest.approx(7.0 + (300 - 100) / 10)
    assert desk.work(26.9) == []
    (match,) = desk.work(27.0)
    assert [ticket.number for ticket in match.tickets] == [1, 2]
    assert match.quality.spread == 300
    assert match.quality.waited == 27
    assert desk.matcher.due() is None


def test_beyond_the_widest_window_nothing_has_to_be_looked_at() -> None:
    desk = Desk(Duel())
    desk.enter(0.0, 1000)
    desk.enter(0.0, 1501)
    assert desk.work(0.0) == []
    assert desk.matcher.due() is None
    assert desk.work(1000.0) == []


def test_who_has_waited_longest_gets_who_comes_though_another_is_nearer() -> None:
    desk = Desk(Duel())
    first = desk.enter(0.0, 1580)
    desk.enter(1.0, 1410)
    new = desk.enter(2.0, 1490)
    (match,) = desk.work(2.0)
    assert match.tickets == [first, new]


def test_preferences_make_up_for_as_much_waiting_as_they_are_worth() -> None:
    class Language(MatchQueue):
        prefer = {"language": 5.0}  # noqa: RUF012

        def fits(self, one: Ticket, other: Ticket) -> bool:
            return "new" in (one.owner, other.owner)  # so that the first three wait

    for lead, expected in ((4.0, 2), (6.0, 1)):
        desk = Desk(Language())
        desk.enter(0.0, 1500, language="de")
        desk.enter(lead, 1500, language=["fr", "en"])
        assert desk.work(lead) == []
        new = desk.ticket(10.0, 1500, language="en")
        new.owner = "new"
        desk.matcher.add(new, 10.0)
        (match,) = desk.work(10.0)
        assert match.tickets[0].number == expected


# Hard criteria.


def test_the_match_takes_a_value_that_all_accept() -> None:
    class Flags(MatchQueue):
        most = 3
        hard = ("mode", "map")

    desk = Desk(Flags())
    desk.enter(0.0, 1, mode="ctf", map=["dust", "mill", "lake"])
    desk.enter(0.0, 1, mode="ctf", map=["mill", "lake"])
    desk.enter(0.0, 1, mode="ctf", map=["dust", "port"])
    desk.enter(0.0, 1, mode="duel", map="lake")
    assert desk.work(0.0) == []
    desk.enter(0.0, 1, map="lake")
    (match,) = desk.work(0.0)
    assert [ticket.number for ticket in match.tickets] == [1, 2, 5]
    assert match.criteria == {"mode": "ctf", "map": "lake"}


def test_one_and_true_are_different() -> None:
    class Kind(MatchQueue):
        hard = ("kind",)

    desk = Desk(Kind())
    for kind in (1, True, 1.0):
        desk.enter(0.0, 1, kind=kind)
    assert desk.work(0.0) == []
    desk.enter(0.0, 1, kind=True)
    (match,) = desk.work(0.0)
    assert match.criteria == {"kind": True}


# Teams, roles, regions.


def test_teams_are_even_and_parties_stay_together() -> None:
    class Teams(MatchQueue):
        teams = {"red": 3, "blue": 3}  # noqa: RUF012

    desk = Desk(Teams())
    party = desk.enter(0.0, 1900, 1700)
    for rating in (1000, 1200, 1400, 2000):
        desk.enter(0.0, rating)
    (match,) = desk.work(0.0)
    (team,) = {place.team for team in match.teams.values() for place in team if place.ticket is party}
    assert sorted(place.entrant.rating or 0 for place in match.teams[team]) == [1000, 1700, 1900]
    assert match.quality.gap == pytest.approx(0.0)


def test_everybody_has_a_role_that_they_play() -> None:
    class Raid(MatchQueue):
        teams = {"red": 2, "blue": 2}  # noqa: RUF012
        roles = {"tank": 1, "healer": 1}  # noqa: RUF012

    desk = Desk(Raid())
    for roles in ("tank", "tank healer", "tank", "tank"):
        desk.enter(0.0, 1500, roles=roles)
    assert desk.work(0.0) == []
    assert "too few who play healer" in desk.matcher.why(desk.enter(0.0, 1, roles="tank"), 0.0).summary
    desk.enter(0.0, 1500, roles="healer")
    (match,) = desk.work(0.0)
    assert [ticket.number for ticket in match.tickets] == [1, 2, 3, 6]
    for team in match.teams.values():
        assert sorted(place.role for place in team) == ["healer", "tank"]


def test_the_region_is_the_one_with_the_least_worst_round_trip() -> None:
    class Near(MatchQueue):
        latency = Window(0.05, 0.01, 0.2)

    desk = Desk(Near())
    desk.enter(0.0, 1, trips={"eu": 0.02, "us": 0.09, "asia": 0.3})
    desk.enter(0.0, 1, trips={"eu": 0.11, "us": 0.08})
    assert desk.work(0.0) == []
    assert desk.matcher.due() == pytest.approx(3.0)
    assert desk.work(3.0) == []
    (match,) = desk.work(4.0)
    assert match.region == "us"
    assert match.quality.round_trip == 0.09


# After max_wait.


def test_a_smaller_match_comes_when_the_wait_is_over() -> None:
    class Smaller(MatchQueue):
        least, most, multiple = 2, 6, 2
        max_wait, then = 30.0, "smaller"

    desk = Desk(Smaller())
    for second in range(5):
        desk.enter(float(second), 1500)
    assert desk.work(29.9) == []
    (match,) = desk.work(30.0)
    assert [ticket.number for ticket in match.tickets] == [1, 2, 3, 4]


def test_bots_take_the_places_that_are_left() -> None:
    class Bots(MatchQueue):
        teams = {"red": 2, "blue": 2}  # noqa: RUF012
        max_wait, then = 30.0, "bots"

    desk = Desk(Bots())
    desk.enter(0.0, 1500, 1600)
    desk.enter(1.0, 1500)
    assert desk.work(29.0) == []
    (match,) = desk.work(30.0)
    assert sum(map(len, match.teams.values())) == 3
    assert match.bots in ({"red": 1}, {"blue": 1})


def test_while_somebody_is_overdue_a_full_match_comes_when_the_window_reaches_all_of_it() -> None:
    class Smaller(MatchQueue):
        least, most, multiple = 2, 4, 2
        max_wait, then = 20.0, "smaller"
        window = Window(100, 10, 200)

    desk = Desk(Smaller())
    alone = desk.enter(0.0, 9000)
    assert desk.work(20.0) == []
    for ratings in ((1525, 1525), (1400,), (1500,)):
        desk.enter(30.0, *ratings)
    assert desk.work(30.0) == []
    assert desk.matcher.due() == pytest.approx(30.0 + (125 - 100) / 10)
    # None beyond the last one's window is 125 from it: there are 25 on one side of it, and 100 on the other.
    (match,) = desk.work(32.5)
    assert [ticket.number for ticket in match.tickets] == [2, 3, 4]
    assert alone.state is TicketState.WAITING


def test_with_somebody_overdue_who_comes_back_is_met_at_once_within_the_widest_window() -> None:
    class Wider(MatchQueue):
        most = 3
        max_wait, then = 20.0, "wider"
        window = Window(100, 10, 500)

    desk = Desk(Wider())
    old = desk.enter(0.0, 1500)
    back = desk.enter(15.0, 1700)
    desk.work(15.0)
    desk.matcher.set_aside(back)
    new = desk.enter(20.0, 1500)
    assert desk.work(20.0) == []
    desk.matcher.bring_back(back)
    assert [match.tickets for match in desk.work(20.0)] == [[old, back, new]]


def test_who_has_waited_too_long_may_meet_anybody_within_the_widest_window() -> None:
    class Wider(MatchQueue):
        window = Window(100, 10, 500)
        max_wait, then = 10.0, "wider"

    desk = Desk(Wider())
    desk.enter(0.0, 1500)
    desk.enter(9.0, 1950)
    assert desk.work(9.9) == []
    (match,) = desk.work(10.0)
    assert match.quality.spread == 450


def test_a_refusal_is_honest() -> None:
    class Honest(MatchQueue):
        max_wait = 10.0

    desk = Desk(Honest())
    ticket = desk.enter(0.0, 1500)
    assert desk.work(9.9) == []
    assert desk.matcher.take_refused() == []
    assert desk.work(10.0) == []
    assert desk.matcher.take_refused() == [ticket]
    assert ticket.state is TicketState.REFUSED
    assert len(desk.matcher) == 0


# Backfill.


@pytest.mark.parametrize("rooms_first", [True, False])
def test_a_room_gets_who_has_waited_longest_and_then_whom_the_policy_gives_it(rooms_first: bool) -> None:
    class Rooms(MatchQueue):
        teams = {"red": 2, "blue": 2}  # noqa: RUF012
        window = Window(100, 10, 500)
        prefer_backfill = rooms_first

    desk = Desk(Rooms())
    desk.enter(0.0, 1700)
    second = desk.enter(1.0, 1550)
    third = desk.enter(2.0, 1500)
    desk.matcher.seek(Backfill("hall", {"red": {"": 1}, "blue": {"": 1}}, 3.0, rating=1500))
    made = desk.work(3.0)
    assert [(match.room, match.tickets) for match in made] == [("hall", [second]), ("hall", [third])]
    assert desk.matcher.rooms == 0
    desk.matcher.seek(Backfill("barn", {"red": {"": 1}}, 3.0, rating=1830))
    assert desk.work(3.0) == []
    for rating in (1710, 1720, 1735):
        new = desk.enter(4.0, rating)
    (match,) = desk.work(4.0)
    assert (match.room == "barn") is rooms_first
    assert new in match.tickets


def test_a_room_waits_for_the_window_of_who_came_last() -> None:
    desk = Desk(Duel())
    desk.enter(0.0, 1500)
    desk.matcher.seek(Backfill("hall", {"": {"": 1}}, 20.0, rating=1700))
    assert desk.work(20.0) == []
    assert desk.matcher.due() == pytest.approx(30.0)
    (match,) = desk.work(30.0)
    assert match.room == "hall"


# Going, coming back, and hooks that fail.


def test_put_back_they_have_their_places_again() -> None:
    desk = Desk(Duel())
    first = desk.enter(0.0, 1500)
    desk.enter(5.0, 1500)
    (match,) = desk.work(5.0)
    desk.matcher.put_back([first])
    late = desk.enter(6.0, 2000)
    assert desk.work(6.0) == []
    assert desk.matcher.progress(first, 6.0).position == 1
    assert desk.matcher.progress(late, 6.0).position == 2
    assert desk.matcher.progress(first, 6.0).window == pytest.approx(160.0, abs=1e-3)
    assert match.tickets[0] is first


class Pairs(MatchQueue):
    teams = {"red": 2, "blue": 2}  # noqa: RUF012
    window = Window(100, 10, 500)


def test_all_who_are_put_back_are_there_before_anybody_gets_one_of_them() -> None:
    desk = Desk(Pairs())
    first, party, friend = desk.enter(0.0, 1650), desk.enter(0.0, 1500, 1600), desk.enter(0.0, 1500)
    assert desk.work(0.0) == []
    late, decliner = desk.enter(1.0, 2000, 1700), desk.enter(1.0, 1500)
    (match,) = desk.work(1.0)
    assert match.tickets == [party, friend, decliner]
    assert desk.work(21.0) == []
    desk.matcher.put_back([party, friend])
    # By now the party and `late` are a match as well; all in that have waited less than `first`.
    assert [match.tickets for match in desk.work(21.0)] == [[first, party, friend]]
    assert late.state is TicketState.WAITING


def test_those_who_get_somebody_by_a_return_are_looked_at_by_age() -> None:
    desk = Desk(Pairs())
    first, party = desk.enter(0.0, 1500), desk.enter(0.0, 1550, 1550)
    desk.work(0.0)
    desk.matcher.set_aside(party)
    older, younger = desk.enter(0.0, 1520), desk.enter(0.0, 1640, 1640)
    assert desk.work(0.0) == []
    desk.matcher.bring_back(party)
    # The two parties are a match as well; all in that have waited less than `first`.
    assert [match.tickets for match in desk.work(0.0)] == [[first, party, older]]
    assert younger.state is TicketState.WAITING


def test_a_server_that_wakes_late_looks_at_who_has_waited_longest_first() -> None:
    desk = Desk(Duel())
    first, second = desk.enter(0.0, 1500), desk.enter(0.0, 1705)
    desk.work(0.0)
    third = desk.enter(5.0, 1855)
    assert desk.work(5.0) == []
    assert desk.matcher.due() == pytest.approx(10.0)  # for the second and the third; for the first two, 10.5
    assert [match.tickets for match in desk.work(10.6)] == [[first, second]]
    assert third.state is TicketState.WAITING


@pytest.mark.parametrize("others", [0, 1])
def test_put_back_after_their_waits_they_make_do_with_as_few_as_they_must_and_no_fewer(others: int) -> None:
    class Smaller(MatchQueue):
        least, most = 2, 4
        max_wait, then = 10.0, "smaller"

    desk = Desk(Smaller())
    *left, _ = [desk.enter(0.0, 1500) for _ in range(4)]
    assert len(desk.work(0.0)) == 1
    left += [desk.enter(14.0, 1500) for _ in range(others)]
    assert desk.work(14.0) == []
    desk.matcher.put_back(left[:3])
    assert [match.tickets for match in desk.work(15.0)] == [left]


def test_nobody_enters_a_room_before_those_who_have_waited_longer() -> None:
    class Apart(MatchQueue):
        window = Window(100, 10, 500)

        def fits(self, one: Ticket, other: Ticket) -> bool:
            return False

    desk = Desk(Apart())
    first = desk.enter(0.0, 1500)
    desk.enter(1.0, 1690)
    assert desk.work(1.0) == []
    assert desk.matcher.due() == pytest.approx(10.0)  # the second is looked at again
    desk.matcher.seek(Backfill("hall", {"": {"": 1}}, 0.0, rating=1600))
    assert desk.matcher.rooms == 1
    assert [(match.room, match.tickets) for match in desk.work(10.0)] == [("hall", [first])]


def test_who_is_away_or_out_is_not_matched() -> None:
    desk = Desk(Duel())
    away = desk.enter(0.0, 1500)
    out = desk.enter(0.0, 1620)
    desk.work(0.0)
    desk.matcher.set_aside(away)
    desk.matcher.remove(out)
    assert len(desk.matcher) == 0
    new = desk.enter(1.0, 1550)
    assert desk.work(1.0) == []
    desk.matcher.bring_back(away)
    (match,) = desk.work(1.0)
    assert match.tickets == [away, new]


def test_an_estimate_goes_by_those_who_were_matched_lately() -> None:
    desk = Desk(Duel())
    ticket = desk.enter(0.0, 3000)
    assert desk.matcher.progress(ticket, 0.0).estimate is None
    for number in range(10):
        desk.enter(10.0 * number, 1500)
        desk.enter(10.0 * number + 8.0, 1500)
        assert len(desk.work(10.0 * number + 8.0)) == 1
    assert desk.matcher.progress(ticket, 3.0).estimate == pytest.approx(5.0)
    assert desk.matcher.progress(ticket, 100.0).estimate is None


def test_a_hook_that_raises_costs_the_pair_and_is_told() -> None:
    class Broken(MatchQueue):
        def fits(self, one: Ticket, other: Ticket) -> bool:
            raise ZeroDivisionError

    desk = Desk(Broken())
    desk.enter(0.0, 1)
    desk.enter(0.0, 1)
    assert desk.work(0.0) == []
    assert isinstance(desk.matcher.take_failure(), ZeroDivisionError)
    assert desk.matcher.take_failure() is None


# Why.


def test_each_rule_is_told_with_its_numbers() -> None:
    class Strict(MatchQueue):
        most = 4
        hard = ("map",)
        window = Window(100, 10, 500)
        latency = Window(0.05, 0.01, 0.2)

        def fits(self, one: Ticket, other: Ticket) -> bool:
            return {one.number, other.number} != {1, 5}

    desk = Desk(Strict())
    mine = desk.enter(0.0, 1500, map="dust", trips={"eu": 0.02})
    desk.enter(1.0, 1500, map=["mill", "lake"], trips={"eu": 0.02})
    desk.enter(2.0, 1800, trips={"eu": 0.02})
    desk.enter(2.0, 2300, trips={"eu": 0.02})
    desk.enter(2.0, 1501, trips={"eu": 0.02})
    desk.enter(2.0, 1502, trips={"us": 0.02})
    desk.enter(2.0, 1503, trips={"eu": 0.02})
    assert desk.work(4.0) == []
    why = desk.matcher.why(mine, 4.0)
    assert why.summary == "2 of 4 players"
    assert why.considered == 6
    told = {obstacle.candidate: (obstacle.rule, obstacle.text) for obstacle in why.obstacles}
    assert told == {
        2: ("hard", "map: it accepts mill, lake, you dust"),
        3: ("rating", "rating 1800 is 300 from yours (1500); its window is 120 now, 300 in 18 s"),
        4: ("rating", "rating 2300 is 800 from yours (1500); its window is 120 now, and never above 500"),
        5: ("fits", "the queue's own rule (fits) keeps the two apart"),
        6: ("latency", "no region is near both: you reach eu within 90 ms, it us within 70 ms"),
        7: ("together", "the two would fit; too few others fit with both"),
    }


# Declarations that make no sense.


@pytest.mark.parametrize(
    ("declared", "meaning"),
    [
        ({"least": 5, "most": 4}, "above most"),
        ({"most": 0}, "1 to 256"),
        ({"most": 100_000}, "1 to 256"),
        ({"least": 2, "most": 4}, "then='smaller'"),
        ({"most": 5, "multiple": 2}, "no multiple"),
        ({"most": 4, "teams": {"red": 3, "blue": 3}}, "6 places together"),
        ({"teams": {}}, "teams is None, or"),
        ({"teams": {"red": 0, "blue": 1}}, "1 to 256"),
        ({"teams": {"red": 2, "blue": 2}, "roles": {"tank": 3}}, "roles need 3 places"),
        ({"teams": {"red": 2, "blue": 2}, "most_party": 3}, "1 to the largest team's 2"),
        ({"least": 3, "most": 4, "multiple": 4, "max_wait": 1.0, "then": "smaller"}, "a least below most"),
        ({"max_wait": 1.0, "then": "smaller", "roles": {"tank": 1}}, "does not go with roles"),
        ({"then": "wait"}, "one of refuse"),
        ({"then": "bots"}, "needs max_wait"),
        ({"then": "wider", "max_wait": 1.0}, "needs a window"),
        ({"max_wait": float("nan")}, "max_wait"),
        ({"accept": 0}, "accept"),
        ({"hard": "map"}, "different names"),
        ({"hard": ("map", "map")}, "different names"),
        ({"hard": ("map",), "prefer": {"map": 1.0}}, "decide on one"),
        ({"prefer": {"map": float("inf")}}, "seconds from 0"),
        ({"regions": ("eu",)}, "need latency"),
        ({"window": 100}, "a Window or None"),
        ({"tickets_of_a_session": 0}, "^Policy: .*from 1 up"),
        ({"prefer": ("map",)}, "prefer is a mapping of names to seconds"),
        ({"max_wiat": 3.0}, "^Policy: it declares max_wiat, .* Did you mean max_wait?"),
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused_when_it_is_declared(declared: dict[str, Any], meaning: str) -> None:
    with pytest.raises(ConfigError, match=meaning):
        type("Policy", (MatchQueue,), declared)


def test_a_policy_may_have_values_of_its_own() -> None:
    type("Policy", (MatchQueue,), {"rooms": 3, "_max_wiat": 3.0, "bonus": 1.0})


@pytest.mark.parametrize(
    "numbers",
    [(-1.0,), (float("nan"),), (1.0, -1.0), (5.0, 1.0, 4.0), (5.0, 0.0, 6.0), (float("inf"),), (True,)],
    ids=str,
)
def test_a_window_that_makes_no_sense_is_refused(numbers: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError):
        Window(*numbers)


class Checked(MatchQueue):
    teams = {"red": 2, "blue": 2}  # noqa: RUF012
    roles = {"tank": 1}  # noqa: RUF012
    hard = ("map",)
    prefer = {"language": 1.0}  # noqa: RUF012
    latency = Window(0.1, 0.0)
    regions = ("eu", "us")


NEAR = {"eu": 0.05}


@pytest.mark.parametrize(
    ("criteria", "meaning"),
    [
        ({"mode": "ctf"}, "'mode': this queue knows map, language"),
        ({f"name{n}": 1 for n in range(10_000)}, "10000 criteria"),
        ({"map": []}, "1 to 32"),
        ({"map": list(range(10_000))}, "1 to 32"),
        ({"map": "x" * 65}, "64 characters"),
        ({"map": 10**80}, "64 characters"),
        ({"map": float("nan")}, "finite"),
        ({"map": {"a": 1}}, "a criterion is"),
        ({"map": [["a"]]}, "a criterion is"),
        ({"map": None}, "a criterion is"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_criteria_that_the_queue_does_not_know_are_refused(criteria: dict[str, object], meaning: str) -> None:
    with pytest.raises(TicketError, match=meaning):
        Checked().read(criteria)


@pytest.mark.parametrize(
    ("entrants", "meaning"),
    [
        ([], "a party of 0: this queue takes 1 to 2"),
        ([Entrant("a", 0, 1.0, round_trips=NEAR)] * 3, "a party of 3"),
        ([Entrant("a", 0, 1.0, frozenset({"mage"}), NEAR)], "this queue has tank"),
        ([Entrant("a", 0, float("nan"), round_trips=NEAR)], "a finite number"),
        ([Entrant("a", 0, float("-inf"), round_trips=NEAR)], "a finite number"),
        ([Entrant("a", 0, 10**400, round_trips=NEAR)], "a rating is a number"),
        ([Entrant("a", 0, True, round_trips=NEAR)], "a rating is a number"),
        ([Entrant("a", 0, 1.0)], "needs the round trip"),
        ([Entrant("a", 0, 1.0, round_trips={"eu": 0.2})], "within 0.1 s"),
        ([Entrant("a", 0, 1.0, round_trips={"mars": 0.05})], "this queue has eu, us"),
        ([Entrant("a", 0, 1.0, round_trips={"eu": -0.1})], "0 to 60"),
        ([Entrant("a", 0, 1.0, round_trips={"eu": float("nan")})], "0 to 60"),
        ([Entrant("a", 0, 1.0, round_trips={f"r{n}": 0.1 for n in range(1000)})], "at most 32"),
        ([Entrant("a", 0, 1.0, round_trips=NEAR), Entrant("b", 1, 1.0, round_trips={"us": 0.05})], "every player"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_ticket_that_the_queue_does_not_allow_is_refused(entrants: list[Entrant], meaning: str) -> None:
    matcher = Matcher(Checked(), "checked")
    with pytest.raises(TicketError, match=meaning):
        matcher.add(Ticket(1, tuple(entrants), 0.0), 0.0)
    assert len(matcher) == 0


def test_without_a_window_nobody_needs_a_rating() -> None:
    matcher = Matcher(MatchQueue(), "open")
    for number in (1, 2):
        matcher.add(Ticket(number, (Entrant("a", 0),), 0.0), 0.0)
    assert len(matcher.work(0.0)[0]) == 1
    with pytest.raises(TicketError, match="a rating is a number"):
        Matcher(Duel(), "duel").add(Ticket(3, (Entrant("a", 0),), 0.0), 0.0)


@pytest.mark.parametrize(
    ("backfill", "meaning"),
    [
        (Backfill("r", {"green": {"": 1}}, 0.0, region="eu"), "this queue has red, blue"),
        (Backfill("r", {"red": {"": 3}}, 0.0, region="eu"), "2 places"),
        (Backfill("r", {"red": {"mage": 1}}, 0.0, region="eu"), "roles"),
        (Backfill("r", {"red": {"": 1}}, 0.0), "in which it is"),
        (Backfill("r", {"red": {"": 1}}, 0.0, region="eu", criteria={"mode": ("ctf",)}), "criteria are map"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_room_that_seeks_what_cannot_be_is_refused(backfill: Backfill, meaning: str) -> None:
    with pytest.raises(TicketError, match=meaning):
        Matcher(Checked(), "checked").seek(backfill)
