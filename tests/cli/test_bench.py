"""``srs bench``: it measures something, and says what was the limit. No figure is asserted."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from server_room_system.cli import bench
from server_room_system.cli.bench import Figures
from server_room_system.cli.exits import Exit

from .conftest import Result
from .programs import srs

FIGURES = Figures(
    rooms=10, clients=40, seconds=2.0, joins_per_second=1234.5, echo_p50=0.000123, echo_p99=0.002,
    messages_per_second=10_000.0, deliveries_per_second=40_000.0, server_cpu=0.5, clients_cpu=0.95, missing=0,
)  # fmt: skip


@pytest.mark.timeout(60)
def test_it_measures_this_machine() -> None:
    done = srs("bench", "--seconds", "0.3", "--rooms", "3", "--json")
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    figures = Figures(**json.loads(done.stdout))
    assert (figures.rooms, figures.clients, figures.missing) == (3, 12, 0)
    assert 0 < figures.echo_p50 <= figures.echo_p99
    assert figures.deliveries_per_second > figures.messages_per_second > 0
    assert figures.joins_per_second > 0


def _measured(monkeypatch: pytest.MonkeyPatch, figures: Figures) -> None:
    async def measure(rooms: int, seconds: float) -> Figures:
        return figures

    monkeypatch.setattr(bench, "_measure", measure)


def test_the_report_says_which_side_was_the_limit(
    command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    for figures, says in (
        (FIGURES, "The clients were the limit"),
        (replace(FIGURES, server_cpu=0.97), "The server was the limit"),
        (replace(FIGURES, clients_cpu=0.2), "Neither side"),
    ):
        _measured(monkeypatch, figures)
        code, out, _ = command("bench")
        assert code == Exit.OK
        assert says in out
        assert "10,000 a second" in out
        assert "123 µs" in out


def test_deliveries_that_are_missing_are_a_failure(
    command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    _measured(monkeypatch, replace(FIGURES, missing=3))
    code, _, err = command("bench")
    assert (code, err) == (Exit.FAILED, "error: 3 deliveries are missing, or came twice\n")
