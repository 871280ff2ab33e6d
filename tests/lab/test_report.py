"""The page: it is whole, it loads nothing, and what others wrote can't break it."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from server_room_system.lab.budget import judge, parse_budget
from server_room_system.lab.charts import Series, line_chart
from server_room_system.lab.figures import Figures
from server_room_system.lab.report import html_report

from .made import figures

VOID = {"meta", "line", "polyline", "circle"}


class Page(HTMLParser):
    """Reads a page, and fails where an element is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.opened == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.opened.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.opened and self.opened[-1] != "style":
            self.text += f" {data}"


def page(made: Figures, budget: str | None = None) -> Page:
    verdicts = judge(parse_budget(budget), made.metrics()) if budget else []
    return Page(html_report(made, verdicts, made.problems()))


def test_it_says_what_was_found() -> None:
    told = page(figures()).text
    for words in ("All checks hold", "1.00 ms", "4.00 ms", "333", "1,300", "of cardboard", "server, child 1", "p99.9"):
        assert words in told


def test_it_loads_nothing_and_runs_nothing() -> None:
    text = html_report(figures(), [], [])
    assert not {tag for tag, _ in Page(text).tags} & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?:|url\(|@import|javascript:|\son\w+=", text)


def test_what_others_wrote_is_text() -> None:
    evil = "<script>alert(1)</script>"
    made = figures(
        scenario=evil, server=evil, errors={evil: 1}, machine={evil: evil}, server_said=[evil],
        servers=[replace(figures().servers[0], name=evil)],
    )  # fmt: skip
    read = page(made)
    assert read.text.count(evil) >= 6
    assert "script" not in {tag for tag, _ in read.tags}


def test_a_broken_budget_stands_on_top_and_in_its_row() -> None:
    read = page(figures(), "p99=1ms,loss=0")
    assert "Not as it should be" in read.text
    assert "p99 is 4.00 ms (≤ 1.00 ms)" in read.text
    assert [attrs["class"] for tag, attrs in read.tags if tag == "td" and attrs] == ["broken", "holds"]


def test_a_run_of_joins_shows_joins() -> None:
    read = page(figures(visits=True, joins_per_second=99.0))
    assert "Latency of joins over time" in read.text
    assert "joins a second" in read.text
    assert "deliveries" not in read.text.replace("busy: deliveries", "")


def test_a_line_breaks_where_nothing_was_measured() -> None:
    chart = line_chart([1, 2, 3, 4, 5], [Series("a", [1, 2, None, 4, 5])], str, label="", log=False)
    assert chart.count("<polyline") == 2
    chart = line_chart([1, 2, 3, 4], [Series("a", [1, None, 3, 4])], str, label="", log=False)
    assert (chart.count("<polyline"), chart.count("<circle")) == (1, 1)


def test_a_chart_of_nothing_says_so() -> None:
    assert "Nothing was measured" in line_chart([1, 2], [Series("a", [None, None])], str, label="", log=True)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[0.0013, 0.0027], [1.0, 1.0], [0.00001, 40.0], [3e6, 9e9], [5.0, 0.0]])
def test_all_points_are_within_the_chart(values: list[float], log: bool) -> None:
    chart = line_chart([1.0, 2.0], [Series("a", values)], str, label="", log=log)
    points = [point.split(",") for line in re.findall(r'points="([^"]+)"', chart) for point in line.split()]
    assert all(60 <= float(x) <= 720 and 10 <= float(y) <= 212 for x, y in points)
    assert 2 <= chart.count('class="grid"') <= 12


def test_values_that_are_all_zero_have_a_chart() -> None:
    assert "<polyline" in line_chart([1.0, 2.0], [Series("a", [0.0, 0.0])], str, label="", log=False)
