"""Finding scenarios, and saying what is wrong with those that are none."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server_room_system.lab.catalog import find_scenario, server_beside
from server_room_system.lab.scenarios import SCENARIOS
from server_room_system.protocol.errors import ConfigError

ONE = """\
from server_room_system import Room, Server
from server_room_system.lab import Bot

class Chatter(Bot):
    pass

server = Server(rooms={"room": Room})
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder for scenarios, which is the working directory; afterwards nothing of it is left imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_built_in_one_has_a_server(name: str) -> None:
    assert find_scenario(name) is SCENARIOS[name]
    assert server_beside(name) == "server_room_system.lab.server:server"
    assert SCENARIOS[name].bots % SCENARIOS[name].group == 0
    assert SCENARIOS[name].__doc__


def test_the_only_bot_of_a_file_and_the_server_beside_it(folder: Path) -> None:
    (folder / "one_bot.py").write_text(ONE)
    assert find_scenario("one_bot.py").__name__ == "Chatter"
    assert server_beside("one_bot.py") == "one_bot.py:server"


def test_a_file_without_a_server(folder: Path) -> None:
    (folder / "no_server.py").write_text(ONE.partition("server = ")[0])
    assert server_beside("no_server.py") is None


def test_one_of_several_by_name(folder: Path) -> None:
    (folder / "two_bots.py").write_text(f"{ONE}\nclass Other(Chatter):\n    pass\n")
    assert find_scenario("two_bots.py:Other").__name__ == "Other"
    with pytest.raises(ConfigError, match=r"Say which: two_bots\.py:Chatter or two_bots\.py:Other"):
        find_scenario("two_bots.py")


@pytest.mark.parametrize(
    ("text", "content", "says"),
    [
        ("romms", None, "there is no scenario 'romms'. Take rooms, echo, audience, joins, or write"),
        ("missing.py", None, "missing.py is no file"),
        ("my-bots.py", "", "letters, digits and _"),
        ("json.py", "", "has the name of another module"),
        ("empty_file.py", "", "has no Bot. Write"),
        ("wrong_name.py:Nobody", ONE, "no Bot named 'Nobody'. It has Chatter."),
        ("syntax.py", "class", "can't be imported: SyntaxError"),
        ("fails.py", "1/0", "can't be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_scenario(folder: Path, text: str, content: str | None, says: str) -> None:
    if content is not None:
        (folder / text.partition(":")[0]).write_text(content)
    with pytest.raises(ConfigError) as caught:
        find_scenario(text)
    assert says in str(caught.value)
