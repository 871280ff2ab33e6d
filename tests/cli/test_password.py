"""``srs password``: a user more, and a password that nobody sees."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from server_room_system import PasswordFile
from server_room_system.broker import passwords
from server_room_system.cli.exits import Exit

from .conftest import Result

Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(passwords, "_COST", 10)  # as cheap as scrypt can be
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_password_is_read_written_as_a_hash_and_never_shown(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Result] = []
    for given in ("hunter2", "correct horse"):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{given}\n"))
        said.append(command("--debug", "password", "ada"))
    assert [result.code for result in said] == [Exit.OK, Exit.OK]
    assert "is in users now" in said[0].out
    assert "has a new password" in said[1].out
    everything = "".join(result.out + result.err for result in said) + Path("users").read_text()
    assert "hunter2" not in everything
    assert "horse" not in everything
    assert asyncio.run(PasswordFile("users").knows("ada", "correct horse"))


@pytest.mark.parametrize(("user", "given", "says"), [("a:b", "x\n", "is no name"), ("ada", "", "1 to 255")])
def test_what_can_not_be_a_user_or_a_password(
    command: Command, monkeypatch: pytest.MonkeyPatch, user: str, given: str, says: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    code, out, err = command("password", user)
    assert (code, out) == (Exit.USAGE, "")
    assert says in err
    assert not Path("users").exists()
