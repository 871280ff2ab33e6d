"""Who comes to a queue in a simulation: drawn up from a seed, or recorded."""

from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from server_room_system import ConfigError
from server_room_system.lab.arrivals import Daily, Even, Poisson, parse_rate
from server_room_system.lab.crowd import Crowd, Newcomer, parse_crowd
from server_room_system.lab.draws import parse_draw, parse_shares

CSV = """\
time,rating,mode,map,patience
10,1510,ctf,dust|mill,120
13.5,1480|1533,ctf,dust,
"""
LINES = """\
{"time": "2026-01-01T10:00:00", "rating": 1510, "criteria": {"mode": "ctf"}, "patience": 120}

{"time": "2026-01-01T10:00:03", "rating": [1480, 1533], "roles": ["tank", ["tank", "healer"]], "regions": {"eu": 0.02}}
"""


def crowd(arrivals: str = "poisson:10/min", ratings: str = "normal:1500,300", **more: Any) -> Crowd:
    options: dict[str, Any] = {"patience": None, "parties": None, "roles": None, "regions": None, "criteria": ()}
    options |= {"seed": 1, **more}
    return parse_crowd(arrivals, ratings, **options)


def come(crowd: Crowd, seconds: float = 3600.0) -> list[Newcomer]:
    return list(crowd.newcomers(seconds))


def test_even_arrivals_are_evenly_apart() -> None:
    assert list(Even(0.5).times(Random(0), 6.0)) == [0.0, 2.0, 4.0]


def test_poisson_arrivals_come_at_their_rate_and_unevenly() -> None:
    times = list(Poisson(10.0).times(Random(0), 1000.0))
    assert len(times) == pytest.approx(10_000, rel=0.05)
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) < 0.01
    assert max(gaps) > 0.5


def test_a_day_begins_and_ends_quietly_and_is_busiest_in_its_middle() -> None:
    times = list(Daily(100 / 3600, 1000 / 3600).times(Random(0), 86400.0))
    by_hour = [sum(hour * 3600 <= at < (hour + 1) * 3600 for at in times) for hour in range(24)]
    assert by_hour[0] == pytest.approx(100, rel=0.3)
    assert by_hour[12] == pytest.approx(1000, rel=0.15)
    assert by_hour[23] < by_hour[18] < by_hour[12]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("600/h", Even(1 / 6)),
        ("poisson:10/s", Poisson(10.0)),
        ("daily:60-120/min", Daily(1.0, 2.0)),
        ("some.csv", None),
        ("10", None),
    ],
    ids=str,
)
def test_rates(text: str, rate: object) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0/h", "poisson:1-2/s", "daily:5/h", "daily:9-2/h", "1000000/s"])
def test_rates_that_make_no_sense(text: str) -> None:
    with pytest.raises(ConfigError, match="rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("1500", 1500, 1500), ("uniform:1000,2000", 1000, 2000), ("exp:100", 0, 5000), ("normal:1500,10", 1400, 1600)],
)
def test_draws_are_where_they_say(text: str, low: float, high: float) -> None:
    draw, random = parse_draw(text, "a rating"), Random(2)
    assert all(low <= draw(random) <= high for _ in range(1000))


def test_a_file_of_numbers_is_drawn_from(tmp_path: Path) -> None:
    file = tmp_path / "ratings"
    file.write_text("1200\n\n1300.5\n", encoding="utf-8")
    draw, random = parse_draw(str(file), "a rating"), Random(2)
    assert {draw(random) for _ in range(100)} == {1200.0, 1300.5}
    file.write_text("1200\nhigh\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2: no number: 'high'"):
        parse_draw(str(file), "a rating")


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "normal:1500", "normal:a,b", "normal:1,-2", "gamma:1", "nowhere.txt"]
)
def test_draws_that_make_no_sense(text: str) -> None:
    with pytest.raises(ConfigError, match="a rating is drawn: write"):
        parse_draw(text, "a rating")


def test_shares_come_as_often_as_they_weigh() -> None:
    shares, random = parse_shares("a:3,b", "a letter"), Random(3)
    drawn = [shares.draw(random) for _ in range(4000)]
    assert drawn.count("a") == pytest.approx(3000, rel=0.05)


@pytest.mark.parametrize("text", ["", "a:0", "a:-1", "a,a", "a:x", ":1", "a:nan"])
def test_shares_that_make_no_sense(text: str) -> None:
    with pytest.raises(ConfigError, match="VALUE:WEIGHT"):
        parse_shares(text, "a letter")


def test_a_seed_is_one_crowd() -> None:
    options: dict[str, Any] = {
        "patience": "exp:60", "parties": "1:3,2", "roles": "tank,healer", "regions": "eu,us",
        "criteria": ("mode=ctf:3,dm",),
    }  # fmt: skip
    assert come(crowd(**options)) == come(crowd(**options))
    assert come(crowd(**options)) != come(crowd(**options, seed=2))


def test_parties_change_nobody_s_time() -> None:
    alone, together = come(crowd()), come(crowd(parties="1,3"))
    assert [each.at for each in alone] == [each.at for each in together]
    assert {len(each.ratings) for each in together} == {1, 3}


def test_everybody_is_nearest_to_home() -> None:
    for each in come(crowd(regions="eu,us,ap")):
        near, *far = sorted(each.regions.values())
        assert near <= 0.06
        assert min(far) >= 0.08


def test_a_csv_file_says_who_comes(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(CSV, encoding="utf-8")
    one, two = come(crowd(str(file), patience="60"))
    assert (one.at, one.ratings, one.patience) == (0.0, (1510.0,), 120.0)
    assert one.criteria == {"mode": "ctf", "map": ["dust", "mill"]}
    assert (two.at, two.ratings, two.patience) == (3.5, (1480.0, 1533.0), 60.0)
    assert len(come(crowd(str(file)), 3.5)) == 1


def test_json_lines_say_who_comes(tmp_path: Path) -> None:
    file = tmp_path / "people.jsonl"
    file.write_text(LINES, encoding="utf-8")
    one, two = come(crowd(str(file), criteria=("mode=dm",)))
    assert (one.at, one.criteria) == (0.0, {"mode": "ctf"})
    assert (two.at, two.criteria, two.regions) == (3.0, {"mode": "dm"}, {"eu": 0.02})
    assert two.roles == (("tank",), ("tank", "healer"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "line 1: the names of the columns"),
        ("a.csv", "when,rating\n1,2\n", "line 1: the names of the columns"),
        ("a.csv", "time,rating\n1,2,3\n", "line 2: 3 cells, where there are 2 columns"),
        ("a.csv", "time,rating\n1,high\n", "line 2: no rating: 'high'"),
        ("a.csv", "time,rating\n1,nan\n", "line 2: no rating: 'nan'"),
        ("a.csv", "time,rating\n5,1\n4,1\n", "line 3: its time is before"),
        ("a.csv", "time,rating\n", "holds no arrivals"),
        ("a.jsonl", "{", "line 1: no JSON"),
        ("a.jsonl", "[1]", "line 1: no JSON object"),
        ("a.jsonl", '{"time": 1, "raiting": 2}', "line 1: it has 'raiting', which is none of"),
        ("a.jsonl", '{"time": true}', "line 1: no time: True"),
        ("a.jsonl", '{"time": "soon"}', "line 1: no time: 'soon'"),
        ("a.jsonl", '{"rating": 1}', "line 1: no time: None"),
        ("a.jsonl", '{"time": 1, "rating": [1, 2], "roles": ["tank"]}', "2 ratings and 1 roles"),
        ("a.jsonl", '{"time": 1, "criteria": 3}', "criteria is to be an object"),
        ("a.jsonl", "[" * 60_000, "line 1: no JSON"),
    ],
    ids=range(16),
)
def test_a_recording_that_makes_no_sense(tmp_path: Path, name: str, text: str, said: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        come(crowd(str(file)))
    assert said in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"arrivals": "often"}, {"arrivals": "nowhere.csv"}, {"parties": "0:1"}, {"parties": "1:1,1:2"},
        {"parties": "x"}, {"criteria": ("mode",)}, {"criteria": ("mode=a", "mode=b")}, {"patience": "never"},
    ],
    ids=range(8),
)  # fmt: skip
def test_descriptions_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="write"):
        crowd(**wrong)
