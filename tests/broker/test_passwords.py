"""Files of names and passwords: who is known, how slow that is, and what the file may be."""

import asyncio
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from server_room_system import AuthRefused, ConfigError, PasswordFile
from server_room_system.broker import passwords as module
from server_room_system.broker.auth import Peer
from server_room_system.broker.passwords import set_password
from server_room_system.transport.locks import Caller


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """As cheap as scrypt can be, so that the tests are."""
    monkeypatch.setattr(module, "_COST", 10)
    monkeypatch.setattr(module, "_PARALLEL", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    assert not set_password(path, "ada", "correct horse")
    assert not set_password(path, "bob", "battery staple")
    return path


def knows(file: PasswordFile, user: str, password: str) -> bool:
    return asyncio.run(file.knows(user, password))


def test_who_knows_the_password_is_let_in(path: Path) -> None:
    file = PasswordFile(path)
    assert knows(file, "ada", "correct horse")
    assert knows(file, "bob", "battery staple")
    for user, password in (
        ("ada", "battery staple"),
        ("ada", ""),
        ("eve", "correct horse"),
        ("", ""),
        ("ada\0", "correct horse"),
        ("ada", "correct horse" + "x" * 300),
        ("ada", "\ud800"),
    ):
        assert not knows(file, user, password)


def test_the_file_holds_no_password_and_is_its_owners_alone(path: Path) -> None:
    text = path.read_text()
    assert "horse" not in text
    assert text.startswith("ada:$scrypt$ln=10,r=8,p=1$")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(list(path.parent.iterdir())) == 1
    one, other = (line.rpartition("$")[0] for line in text.splitlines())
    assert one.partition(":")[2] != other.partition(":")[2], "each has a salt of its own"


def test_the_hash_is_scrypt() -> None:
    """The second vector of RFC 7914, section 12, of which we take the first half."""
    like = module._Hash(10, 8, 16, b"NaCl", b"")
    expected = "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
    assert module._scrypt("password", like).hex() == expected


def test_a_password_is_changed_while_the_server_runs(path: Path) -> None:
    file = PasswordFile(path)
    assert knows(file, "ada", "correct horse")
    assert set_password(path, "ada", "another one"), "she was there already"
    assert not knows(file, "ada", "correct horse"), "also though it was remembered"
    assert knows(file, "ada", "another one")
    assert knows(file, "bob", "battery staple")
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("bob")))
    assert not knows(file, "ada", "another one")


def test_a_file_that_is_spoiled_while_the_server_runs_lets_in_who_was_there(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = PasswordFile(path)
    path.write_text("oops")
    assert knows(file, "ada", "correct horse")
    assert knows(file, "bob", "battery staple")
    assert caplog.text.count("stay as they were") == 1
    path.unlink()
    assert knows(file, "ada", "correct horse")
    assert caplog.text.count("stay as they were") == 2
    set_password(path, "ada", "new")
    assert knows(file, "ada", "new")


def test_who_was_let_in_is_remembered_and_nobody_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = PasswordFile(path)
    made: list[str] = []
    real = module._scrypt

    def counted(password: str, like: Any) -> bytes:
        made.append(password)
        return real(password, like)

    monkeypatch.setattr(module, "_scrypt", counted)
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 2)
    for _ in range(3):
        assert knows(file, "ada", "correct horse")
    assert made == ["correct horse"]
    for _ in range(3):
        assert not knows(file, "ada", "wrong")
        assert not knows(file, "eve", "wrong")
    assert made == ["correct horse"] + ["wrong"] * 6, "names that nobody has take as long"
    assert all(b"horse" not in mark for mark in file._remembered)


def test_not_more_than_two_are_checked_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work = most = 0
    real = module._scrypt

    def counted(password: str, like: Any) -> bytes:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        digest = real(password, like)
        at_work -= 1
        return digest

    async def many() -> None:
        file = PasswordFile(path)
        assert not any(await asyncio.gather(*(file.knows("ada", f"guess {number}") for number in range(20))))

    monkeypatch.setattr(module, "_scrypt", counted)
    asyncio.run(many())
    assert 1 <= most <= 2


class Slow:
    """In scrypt's place: checks that go on until they are let go on, and what was checked in which order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_work = self.most = 0
        self.passwords: list[str] = []
        self.go = threading.Semaphore(0)
        self._guard = threading.Lock()
        monkeypatch.setattr(module, "_scrypt", self._check)

    def _check(self, password: str, like: Any) -> bytes:
        with self._guard:
            self.passwords.append(password)
            self.at_work += 1
            self.most = max(self.most, self.at_work)
        assert self.go.acquire(timeout=10)
        with self._guard:
            self.at_work -= 1
        return b""

    async def until(self, at_work: int, begun: int) -> None:
        async with asyncio.timeout(10):
            while (self.at_work, len(self.passwords)) != (at_work, begun):
                await asyncio.sleep(0.001)


def test_those_who_hang_up_meanwhile_do_not_set_more_to_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)

    async def test() -> None:
        file = PasswordFile(path)
        for _ in range(4):
            guesses = [asyncio.ensure_future(file.knows("ada", f"guess {number}")) for number in range(8)]
            await slow.until(2, 2)
            for guess in guesses:
                guess.cancel()
            await asyncio.wait(guesses)
            assert all(guess.cancelled() for guess in guesses)
        last = asyncio.ensure_future(file.knows("ada", "the last"))
        slow.go.release(3)
        assert not await last
        assert slow.passwords[2:] == ["the last"], "nobody waits for the others any more"

    asyncio.run(test())
    assert slow.most == 2


def test_many_guesses_of_one_address_do_not_keep_others_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)

    async def test() -> None:
        file = PasswordFile(path)
        flood = [
            asyncio.ensure_future(file.check(Caller(f"2001:db8::{number:x}", user="ada", password=f"guess {number}")))
            for number in range(1, 101)
        ]
        await slow.until(2, 2)
        honest = {"user": "bob", "password": "honest"}
        late = asyncio.ensure_future(file(honest, Peer("192.0.2.1")))
        given_up = asyncio.ensure_future(file(honest, Peer("192.0.2.2")))
        await asyncio.sleep(0)
        given_up.cancel()
        slow.go.release(2)
        await slow.until(2, 4)
        assert sorted(slow.passwords[2:]) == ["guess 3", "honest"]
        slow.go.release(100)
        assert not any(await asyncio.gather(*flood))
        with pytest.raises(AuthRefused):
            await late
        assert slow.passwords.count("honest") == 1
        assert file._turns is not None
        assert (file._turns._free, file._turns._waiting) == (2, {})

    asyncio.run(test())


def test_a_name_that_nobody_has_takes_as_long_as_one_of_the_others_and_always_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COST", 11)
    set_password(path, "bob", "slower to guess")
    made: list[tuple[str, int]] = []

    def counted(password: str, like: Any) -> bytes:
        made.append((password, like.cost))
        return b""

    monkeypatch.setattr(module, "_scrypt", counted)
    file = PasswordFile(path)
    for _ in range(2):
        for number in range(64):
            assert not knows(file, f"nobody {number}", f"{number}")
    assert {cost for _, cost in made} == {10, 11}
    assert len(set(made)) == 64


def test_callers_of_a_port_are_checked(path: Path) -> None:
    file = PasswordFile(path)
    assert asyncio.run(file.check(Caller("192.0.2.1", user="ada", password="correct horse")))
    assert not asyncio.run(file.check(Caller("192.0.2.1", user="ada", password="wrong")))
    assert not asyncio.run(file.check(Caller("192.0.2.1")))


def test_it_can_be_an_on_auth(path: Path) -> None:
    file = PasswordFile(path)
    assert asyncio.run(file({"user": "ada", "password": "correct horse"})) == "ada"
    sentences = set[str]()
    for user in ("ada", "eve"):
        with pytest.raises(AuthRefused) as caught:
            asyncio.run(file({"user": user, "password": "wrong"}))
        sentences.add(str(caught.value))
    assert len(sentences) == 1, "nobody learns which names there are"
    for nothing in (None, "ada", {}, {"user": "ada"}, {"user": "ada", "password": None}, {"user": 1, "password": "x"}):
        with pytest.raises(AuthRefused, match="needed"):
            asyncio.run(file(nothing))


def test_it_shows_nothing_of_what_it_holds(path: Path) -> None:
    assert repr(PasswordFile(path)) == f"<PasswordFile {path}, 2 users>"


# The file.


def test_a_file_may_have_many_users_and_is_read_whole_or_not_at_all(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = path.read_text().splitlines()[0].partition(":")[2]
    path.write_text("".join(f"user {number}:{line}\n" for number in range(2000)))
    assert not set_password(path, "ada", "one more")
    assert repr(PasswordFile(path)).endswith("2001 users>")
    monkeypatch.setattr(module, "_LONGEST_FILE", path.stat().st_size - 1)
    with pytest.raises(ConfigError, match="has over"):
        PasswordFile(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="has over"):
        set_password(path, "bob", "x")
    assert path.read_bytes() == before


def test_what_people_write_into_it_stays(path: Path) -> None:
    comment = "# über die Größe"
    path.write_text(f"{comment}\n{path.read_text()}", encoding="utf-8")
    assert set_password(path, "ada", "new")
    assert path.read_text(encoding="utf-8").splitlines()[0] == comment
    assert knows(PasswordFile(path), "ada", "new")


@pytest.mark.parametrize(
    "line",
    [
        "ada",
        "ada:secret",
        "ada:$scrypt$ln=31,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
        "ada:$scrypt$ln=20,r=32,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
        "ada:$scrypt$ln=15,r=0,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
        "ada:$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
        ":$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
    ],
)
def test_a_file_that_holds_something_else_is_refused_without_repeating_it(tmp_path: Path, line: str) -> None:
    path = tmp_path / "users"
    path.touch(0o600)
    path.write_text(f"# ours\n\n{line}\n")
    with pytest.raises(ConfigError, match="line 3 of") as caught:
        PasswordFile(path)
    assert "secret" not in str(caught.value)
    assert "AAAA" not in str(caught.value)


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        PasswordFile(path)
    with pytest.raises(ConfigError, match="chmod 600"):
        set_password(path, "ada", "x")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="srs password"):
        PasswordFile(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="can't be written"):
        set_password(tmp_path / "no folder" / "users", "ada", "x")


@pytest.mark.parametrize("user", ["", "a:b", "a\nb", "x" * 65, "ä"])
def test_names_that_can_not_be_one(path: Path, user: str) -> None:
    with pytest.raises(ConfigError, match="is no name"):
        set_password(path, user, "x")


@pytest.mark.parametrize("password", ["", "x" * 256])
def test_passwords_that_can_not_be_one(path: Path, password: str) -> None:
    with pytest.raises(ConfigError, match="1 to 255"):
        set_password(path, "ada", password)


def test_a_password_that_can_not_be_written_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_text()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ConfigError, match="No space"):
        set_password(path, "ada", "x")
    assert path.read_text() == before
    assert len(list(path.parent.iterdir())) == 1
