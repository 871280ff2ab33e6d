"""What became of those who waited: figures, and pictures of them."""

import sys
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest

from server_room_system import ConfigError
from server_room_system.lab.queue_pictures import draw_queues, new_figure, write_figure
from server_room_system.lab.shown import shown_wait
from server_room_system.lab.waiting import Counts, Longest, Spread, percentile, waits_by_rating


@pytest.fixture(scope="module", autouse=True)
def fonts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Matplotlib keeps the files of its fonts open: they are no leak of the first test that draws."""
    for name in ("fonts.png", "fonts.svg", "fonts.pdf"):
        write_figure(draw_queues([counted()], "fonts"), tmp_path_factory.mktemp("fonts") / name)


def counted() -> Counts:
    counts, random = Counts("ranked"), Random(1)
    for _ in range(500):
        rating = random.gauss(1500, 300)
        counts.end("matched", random.expovariate(0.1), rating, 1)
    counts.end("refused", 900.0, 2900.0, 2)
    counts.end("waiting", 30.0, 1500.0, 1)
    counts.match([[1500.0, 1600.0], [1400.0, 1420.0]], short=False, bots=0)
    counts.match([[1500.0], []], short=True, bots=1)
    for moment in range(600):
        counts.sample(float(moment), moment % 7)
    counts.now = 600.0
    return counts


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([7], 50, 7),
        ([1, 2, 3, 4], 50, 2),
        ([1, 2, 3, 4], 51, 3),
        ([1, 2, 3, 4], 100, 4),
        ([1, 2, 3, 4], 0, 1),
        (list(range(1, 101)), 99, 99),
    ],
    ids=range(7),
)
def test_a_percentile_is_a_value_that_was_there(values: list[float], percent: float, expected: float | None) -> None:
    assert percentile(values, percent) == expected


def test_figures_are_those_of_what_was_counted() -> None:
    figures = counted().figures()
    assert (figures.tickets, figures.players, figures.matches, figures.short, figures.bots) == (502, 503, 2, 1, 1)
    assert figures.ended == {"matched": 500, "refused": 1, "waiting": 1}
    assert (figures.matched, figures.unmatched) == (500 / 502, 1 / 502)
    assert figures.longest == Longest(900.0, 2900.0, "refused")
    assert figures.wait.most is not None
    assert figures.wait.most < 900.0, "who was not matched waited, but not for a match"
    assert figures.rating_spread == Spread(200.0, 200.0, 200.0, 200.0)
    assert figures.team_gap == Spread(140.0, 140.0, 140.0, 140.0)
    assert figures.waiting.most == 6


def test_nothing_has_figures_too() -> None:
    figures = Counts("ranked").figures()
    assert (figures.matched, figures.unmatched, figures.longest) == (0.0, 0.0, None)
    assert figures.wait == Spread(None, None, None, None)
    assert waits_by_rating(Counts("ranked"), 90) == ([], [])


def test_who_stands_apart_shows_in_the_waits_by_rating() -> None:
    counts = Counts("ranked")
    for rating in range(1000, 2000):
        counts.end("matched", 100.0 if rating >= 1900 else 1.0, float(rating), 1)
    middles, waits = waits_by_rating(counts, 90)
    assert len(middles) == 20
    assert waits == [1.0] * 18 + [100.0] * 2
    assert waits_by_rating(counts, 90, least=1000) == ([], [])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.04, "0.0 s"), (99.9, "99.9 s"), (99.96, "1 min 40 s"), (754, "12 min 34 s"), (9000, "2 h 30 min")],
    ids=str,
)
def test_waits_are_told_in_words(seconds: float | None, text: str) -> None:
    assert shown_wait(seconds) == text


@pytest.mark.parametrize(
    "runs", [[counted(), Counts("nobody came")], [Counts("nobody came")], [counted()] * 7], ids=len
)
def test_a_picture_is_the_same_bytes_each_time(tmp_path: Path, runs: list[Counts]) -> None:
    written: set[bytes] = set()
    for name in ("one.svg", "two.svg"):
        write_figure(draw_queues(runs, "an hour"), tmp_path / name)
        written.add((tmp_path / name).read_bytes())
    (svg,) = written
    assert ElementTree.fromstring(svg).tag.endswith("svg")  # our own


def test_pictures_have_three_formats_and_no_other(tmp_path: Path) -> None:
    figure = new_figure(2, 1)
    for name, begins in (("a.png", b"\x89PNG"), ("a.pdf", b"%PDF")):
        write_figure(figure, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)
    with pytest.raises(ConfigError, match=r"ends with \.png, \.svg, \.pdf, not 'a\.gif'"):
        write_figure(figure, tmp_path / "a.gif")
    with pytest.raises(ConfigError, match=r"can't be written to .*: No such file or directory"):
        write_figure(figure, tmp_path / "nowhere" / "a.png")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'server-room-system\[plot\]'"):
        new_figure(1, 1)
