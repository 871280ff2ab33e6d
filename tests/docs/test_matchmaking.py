"""``docs/matchmaking.md``: its programs run, its tables are those of the code, its pictures show what it says."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from server_room_system import MatchQueue, Room
from server_room_system.broker import access, directory, listing
from server_room_system.cli.simulate import simulate
from server_room_system.cli.why import lines_of_ticket
from server_room_system.protocol import filters

ROOT = Path(__file__).absolute().parents[2]
DOCUMENT = (ROOT / "docs" / "matchmaking.md").read_text(encoding="utf-8")
SRS = (sys.executable, "-P", "-c", "from server_room_system.cli import main; main()")


def the_pictures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES = the_pictures()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    programs = PICTURES.programs(DOCUMENT)
    assert set(programs) == {
        "arena.py",
        "test_arena.py",
        "skills.py",
        "players.py",
        "lobby.py",
        "stage.py",
        "waiting.py",
    }
    for name, program in programs.items():
        (tmp_path / name).write_text(program, encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        arguments, cwd=folder, env={"PYTHONPATH": f"{ROOT / 'src'}:{folder}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_of_its_policy_pass(folder: Path) -> None:
    said = run(folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_arena.py")
    assert "2 passed" in said


def test_its_program_of_skills_runs(folder: Path) -> None:
    assert run(folder, sys.executable, "skills.py").startswith("chances now: [0.")


def test_its_players_get_their_room(folder: Path) -> None:
    waiting, playing = run(folder, sys.executable, "players.py").splitlines()
    assert waiting.startswith("2 of 6 players")
    assert playing == "6 players in 1 room"


def test_its_live_list_tells_what_it_says(folder: Path) -> None:
    assert run(folder, sys.executable, "lobby.py") == shown("it begins")


def test_what_it_shows_of_a_ticket_that_waits_is_what_is_said(folder: Path) -> None:
    told = json.loads(run(folder, sys.executable, "waiting.py"))
    assert [round(one["seconds"] or 0) for one in told["obstacles"]] == [6, 0]
    assert "\n".join(["$ srs why 1", *lines_of_ticket(told), ""]) == shown("$ srs why")


WATCHING = """
from server_room_system import NotForSpectators, RuleSet
from server_room_system.testing import run, system
from stage import server

async def main():
    async with system(server) as memory:
        ann, ben, eve = [await memory.client() for _ in range(3)]
        played = await ann.create(RuleSet(2, room="stage"))
        await ben.join_by_id(played.id)
        seen = await eve.join_by_id(played.id, spectate=True)
        await seen.send("cheer", ack=True)
        try:
            await seen.send("move", "e4", ack=True)
        except NotForSpectators:
            print("refused")
        (about,) = [one for one in await ben.rooms() if one["room"] == played.id]
        print(about["clients"], about["spectators"])

run(main)
"""


def test_the_program_of_seats_lets_spectators_cheer_and_no_more(folder: Path) -> None:
    assert run(folder, sys.executable, "-c", WATCHING) == "refused\n2 1\n"


def shown(beginning: str) -> str:
    """The output in the document that begins like this."""
    blocks: list[str] = re.findall(r"```console\n(.*?)```", DOCUMENT, re.DOTALL)
    (block,) = (one for one in blocks if one.startswith(beginning))
    return block


def test_the_bounds_of_lists_and_filters_are_those_of_the_code() -> None:
    for bound in (
        f"{listing._MOST_SHOWN} rooms at most",
        f"at most {listing._MOST_OF_A_SESSION} lists",
        f"{listing._MOST_VIEWS:,} different ones",
        f"up to {listing._KEPT} changes",
        f"{filters._MOST_CONDITIONS} names at most",
        f"{filters._MOST_CHOICES} values in a list",
        f"{filters._LONGEST_TEXT} characters in a text",
        f"the {directory._MOST_LOOKED_AT:,} rooms",
        f"at\nmost {access._LONGEST_PASSWORD} characters",
        f"held for {Room.reservation_time:.0f} s",
    ):
        assert bound in DOCUMENT, bound


def test_its_simulation_runs_and_its_table_has_the_rows_that_are_told(folder: Path) -> None:
    words = PICTURES.command(DOCUMENT)
    at = words.index("--picture")
    del words[at : at + 2]
    words[words.index("--hours") + 1] = "0.3"
    said = run(folder, *SRS, *words)
    (shown,) = re.findall(r"```text\n(.*?)```", DOCUMENT, re.DOTALL)

    def rows(text: str) -> list[str]:
        return [re.split(r"\s{3,}", line.strip())[0] for line in text.splitlines()[1:] if line]

    told = rows(said)[:-1]
    assert len(told) > 15
    assert set(told) <= set(rows(shown)), "the rest is of what is rare"
    assert said.splitlines()[2].split() == shown.splitlines()[2].split()


def test_every_declaration_is_explained() -> None:
    table = DOCUMENT.partition("| declared | means |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    declared = [name for name in MatchQueue.__annotations__ if name != "shape"]
    assert sorted(named) == sorted(declared)


def test_every_option_is_explained() -> None:
    table = DOCUMENT.partition("| option | says |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"--\w+", row.split("|")[1])]
    options: list[Any] = [param for param in simulate.params if param.param_type_name == "option"]
    assert sorted(named) == sorted(option.opts[0] for option in options)


def test_the_windows_meet_when_the_document_says_so() -> None:
    until, meetings = PICTURES.story()
    assert [(round(at, 3), *both) for at, *both in meetings] == [(17.0, "Ann", "Bob"), (30.0, "Cem", "Dora")]
    assert "Eve" not in until
    assert "meet 13 s after Bob came" in DOCUMENT


def test_what_it_links_to_is_there() -> None:
    for link in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", DOCUMENT):
        assert (ROOT / "docs" / link).exists(), link
    used = set(re.findall(r"\]\[([\w-]+)\]|\[((?:Colyseus|Nakama|Open Match|Photon Realtime))\]", DOCUMENT))
    named = {name for pair in used for name in pair if name}
    assert named == set(re.findall(r"^\[([^\]]+)\]: https://", DOCUMENT, re.MULTILINE))
