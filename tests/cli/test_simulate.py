"""``srs simulate``: policies side by side, and what is said of a command line that makes no sense."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from server_room_system.cli.exits import Exit
from server_room_system.lab.queue_pictures import new_figure, write_figure

from .conftest import Result

Command = Callable[..., Result]
APP = """\
from server_room_system import MatchQueue, Room, Server, Window


class Duel(Room):
    max_clients = 2


class Ranked(MatchQueue):
    window = Window(start=100, per_second=10, most=500)


class Strict(Ranked):
    window = Window(start=20)
    max_wait = 60.0


server = Server(rooms={"duel": Duel}, queues={"ranked": Ranked, "strict": Strict})
other = Server(rooms={"duel": Duel}, queues={"ranked": Strict})
bare = Server(rooms={"duel": Duel})
"""
SHORT = ("--hours", "0.2", "--arrivals", "poisson:600/h")


@pytest.fixture(autouse=True)
def app(imports_as_before: Path) -> None:
    (imports_as_before / "app.py").write_text(APP, encoding="utf-8")


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Matplotlib keeps the files of its fonts open."""
    figure = new_figure(1, 1)
    figure.subplots().set_title("fonts")
    write_figure(figure, tmp_path_factory.mktemp("fonts") / "fonts.png")


def test_queues_of_a_server_stand_side_by_side(command: Command) -> None:
    result = command("simulate", "app:server", *SHORT)
    assert result.code == Exit.OK
    assert result.out.startswith("12 min 00 s of poisson:600/h, ratings normal:1500,300\n")
    rows = {name: values for name, *values in (re.split(r"\s{3,}", line) for line in result.out.splitlines())}
    assert result.out.splitlines()[2].split() == ["ranked", "strict"]
    one, two = rows["tickets"]
    assert one == two, "both have the same crowd"
    for row in ("matched", "unmatched", "wait of the matched, p50", "rating spread in a match, p50"):
        assert row in rows, result.out


def test_one_queue_of_several_servers(command: Command) -> None:
    result = command("simulate", "app:server", "app:other", "--queue", "ranked", "--json", *SHORT)
    assert (result.code, result.err) == (Exit.OK, "")
    one, two = json.loads(result.out)
    assert (one["policy"], two["policy"]) == ("app:server ranked", "app:other ranked")
    assert one["tickets"] == two["tickets"]
    assert one["rating_spread"]["p90"] > two["rating_spread"]["p90"]
    assert two["ended"]["refused"] > 0


def test_a_seed_is_one_crowd(command: Command) -> None:
    said = [command("simulate", "app:server", "--json", *SHORT, "--seed", seed).out for seed in ("1", "1", "2")]
    assert said[0] == said[1] != said[2]


@pytest.mark.usefixtures("fonts")
def test_it_draws(command: Command, tmp_path: Path) -> None:
    result = command("simulate", "app:server", *SHORT, "--picture", "queues.png")
    assert result.code == Exit.OK, result.err
    assert "The picture is in queues.png." in result.out
    assert (tmp_path / "queues.png").read_bytes().startswith(b"\x89PNG")


def test_a_recording_is_played(command: Command, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("time,rating\n0,1500\n1,1520\n2,2900\n", encoding="utf-8")
    result = command("simulate", "app:server", "--queue", "ranked", "--arrivals", "people.csv", "--json")
    (figures,) = json.loads(result.out)
    assert figures["ended"] == {"matched": 2, "waiting": 1}
    assert figures["wait"]["most"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], Exit.USAGE, "Missing argument"),
        (["app:bare"], Exit.USAGE, "app:bare has no queues"),
        (["app:nothing"], Exit.USAGE, "app has no 'nothing'"),
        (["app:server", "--queue", "rankt"], Exit.USAGE, "there is no queue 'rankt'. Did you mean ranked?"),
        (["app:server", "--arrivals", "often"], Exit.USAGE, "write 600/h, poisson:10/s"),
        (["app:server", "--ratings", "high"], Exit.USAGE, "is not how a rating is drawn"),
        (["app:server", "--parties", "9000"], Exit.USAGE, "write SIZE:WEIGHT"),
        (["app:server", "--hours", "0"], Exit.USAGE, "0.0 is not in the range"),
        (["app:server", "--picture", "a.gif"], Exit.USAGE, "ends with .png, .svg, .pdf"),
        (["app:server", "--picture", "nowhere/a.png"], Exit.USAGE, "there is no folder nowhere"),
        (["app:server", "--parties", "3"], Exit.USAGE, "ranked refuses the ticket that comes at"),
        (["app:server", "--criteria", "colour=red"], Exit.USAGE, "--criteria: no queue here knows 'colour'. They know"),
        (["app:server", "--roles", "poet"], Exit.USAGE, "--roles: no queue here knows 'poet'. They know"),
        (["app:server"] * 4, Exit.USAGE, "8 queues are too many"),
    ],
    ids=range(14),
)
def test_what_makes_no_sense_is_told_in_two_lines(
    command: Command, arguments: list[str], code: Exit, said: str
) -> None:
    result = command("simulate", *arguments)
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert result.err.count("\n") <= 2
