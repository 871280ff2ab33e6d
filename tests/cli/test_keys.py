"""``srs keys``: from no key to an authorised one, and what goes wrong on the way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from server_room_system.cli.exits import Exit
from server_room_system.transport.key_files import AuthorisedKeys, read_key_pair
from server_room_system.transport.locks import key_to_text

from .conftest import Result

Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_client_is_authorised_in_three_commands(command: Command) -> None:
    assert command("keys", "make", "ann").code == Exit.OK
    ann = read_key_pair(Path("ann.key"))
    assert command("keys", "show", "ann.pub").out == command("keys", "show", "ann.key").out
    assert command("keys", "show", "ann.pub").out == key_to_text(ann.public) + "\n"
    code, out, err = command("keys", "authorise", "ann.pub", "--file", "authorised")
    assert (code, err) == (Exit.OK, "")
    assert "already" not in out
    assert "already" in command("keys", "authorise", key_to_text(ann.public)).out
    assert Path("authorised").read_text() == f"{key_to_text(ann.public)} ann\n"
    assert ann.public in AuthorisedKeys(Path("authorised"))


def test_no_secret_key_is_shown(command: Command) -> None:
    said = [command("keys", "make", "--server"), command("keys", "show", "server.key")]
    said += [command("keys", "authorise", "server.key"), command("--debug", "keys", "make", "--server")]
    secret = key_to_text(read_key_pair(Path("server.key")).secret)
    assert [result.code for result in said] == [Exit.OK, Exit.OK, Exit.OK, Exit.USAGE]
    assert not any(secret in result.out + result.err for result in said)
    assert secret not in Path("authorised").read_text()


def test_a_key_that_begins_like_an_option_can_be_authorised(command: Command) -> None:
    key = "-" + "0" * 39
    assert command("keys", "authorise", key).code == Exit.OK
    assert Path("authorised").read_text() == key + "\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["make"], "--server"),
        (["make", "a/b"], "no name"),
        (["show", "nobody.key"], "can't be read"),
        (["authorise", "nonsense"], "neither"),
        (["authorise", "nobody.pub"], "neither"),
    ],
)
def test_mistakes_say_what_to_do(command: Command, args: list[str], says: str) -> None:
    code, out, err = command("keys", *args)
    assert (code, out) == (Exit.USAGE, "")
    assert says in err
