"""``srs top``: its screen, made of plain values."""

import io
from typing import Any

import pytest
from rich.console import Console

from server_room_system.cli.top_screen import screen_of, shown_up, summary_of, worker_rows

LOAD = {"lag": 0.0021, "cpu": 0.25, "rss": 42_000_000, "messages": 10.0}


def a_worker(name: str, **changed: Any) -> dict[str, Any]:
    return {
        "name": name, "state": "serving", "endpoint": "tcp://127.0.0.1:40001", "generation": 1, "pid": 12,
        "host": "box", "labels": [], "types": ["duel"], "isolated": False, "rooms": 3, "max_rooms": 100, "seats": 12,
        **LOAD, "up": 75.0, **changed,
    }  # fmt: skip


def told(*workers: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        "software": "server-room-system", "up": 3700.0, "broker": LOAD, "sessions": 1234, "rooms": 6, "tickets": 2,
        "workers": list(workers), **changed,
    }  # fmt: skip


def shown(what: dict[str, Any], width: int = 80, height: int | None = 24, trouble: str = "") -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(screen_of("tcp://a:1", what, width, height, trouble))
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 00"), (18420, "5 h 07"), (1e6, "11 d")],
)
def test_how_long_it_is_up(seconds: float, text: str) -> None:
    assert shown_up(seconds) == text


def test_the_totals_are_sums_over_workers_and_broker() -> None:
    two = told(a_worker("w1", messages=1000.0), a_worker("w2", messages=500.0, seats=1))
    assert dict(summary_of(two)) == {
        "clients": "1,234", "rooms": "6", "seats": "13", "tickets": "2", "messages/s": "1,510",
    }  # fmt: skip


def test_the_messages_of_a_server_of_one_process_count_once() -> None:
    alone = told(a_worker("local", endpoint=None, messages=10.0))
    assert dict(summary_of(alone))["messages/s"] == "10"


def test_workers_are_in_the_order_of_their_names_with_numbers_as_numbers() -> None:
    names = ["w10", "w2", "w1", "gpu", "w"]
    rows = worker_rows(told(*map(a_worker, names)))
    assert [row["WORKER"][0] for row in rows] == ["gpu", "w", "w1", "w2", "w10"]


def test_what_people_should_look_at_has_a_colour() -> None:
    fine, busy = worker_rows(told(a_worker("w1"), a_worker("w2", lag=0.3, cpu=0.97, rooms=100, state="draining")))
    assert [fine[name][1] for name in ("STATE", "LAG", "CPU", "ROOMS")] == ["green", "", "", ""]
    assert [busy[name][1] for name in ("STATE", "LAG", "CPU", "ROOMS")] == ["yellow", "red", "yellow", "yellow"]


@pytest.mark.parametrize("width", [80, 110, 160])
def test_it_fits_into_the_terminal_and_wider_ones_show_more(width: int) -> None:
    many = told(*(a_worker(f"a-machine-with-a-long-name-{number}") for number in range(3)))
    lines = shown(many, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "25 %" in text
    assert "42 MB" in text
    assert ("tcp://127.0.0.1:40001" in text) == (width >= 110)
    assert ("box (12)" in text) == (width >= 160)


def test_more_workers_than_lines_are_counted() -> None:
    lines = shown(told(*(a_worker(f"w{number}") for number in range(30))), height=12)
    assert len(lines) <= 12
    assert lines[-1] == "and 24 more"
    assert len(shown(told(*(a_worker(f"w{number}") for number in range(30))), height=None)) == 35


def test_trouble_is_said_and_what_was_known_stays() -> None:
    text = "\n".join(shown(told(a_worker("w1")), trouble="no answer for 3 s: trying again"))
    assert "no answer for 3 s: trying again" in text
    assert "w1" in text


def test_a_broker_without_workers() -> None:
    assert shown(told())[-1] == "no workers: nobody hosts rooms"


def test_names_of_others_are_made_harmless() -> None:
    text = "\n".join(shown(told(a_worker("w\x1b[31m1[bold]", host="\x07")), 160))
    assert "\x1b" not in text
    assert "w\\x1b[31m1[bold]" in text
