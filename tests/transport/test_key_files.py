"""Key files: made once, read by their owner, and authorised without a restart."""

import logging
import os
import stat
from pathlib import Path

import pytest
from zmq.utils import z85

from server_room_system.protocol.errors import ConfigError
from server_room_system.transport import KeyPair, key_files
from server_room_system.transport.curve import cluster_pair, pair_of
from server_room_system.transport.key_files import (
    AuthorisedKeys,
    add_authorised,
    make_key_files,
    read_key_pair,
    read_public_key,
)
from server_room_system.transport.locks import key_from_text, key_to_text

ANN, BOB = pair_of(b"\1" * 32), pair_of(b"\2" * 32)


def test_a_pair_is_read_as_it_was_made(tmp_path: Path) -> None:
    own, shared, public = make_key_files(tmp_path, "ann")
    keys = read_key_pair(own)
    assert key_to_text(keys.public) == public
    assert read_public_key(own) == read_public_key(shared) == keys.public
    assert pair_of(keys.secret) == keys


def test_a_secret_key_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        own, _, _ = make_key_files(tmp_path, "ann")
    finally:
        os.umask(before)
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    own.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key_pair(own)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_public_key(own)


def test_keys_are_not_overwritten(tmp_path: Path) -> None:
    own, shared, _ = make_key_files(tmp_path, "ann")
    before = own.read_text(), shared.read_text()
    with pytest.raises(ConfigError, match="there already"):
        make_key_files(tmp_path, "ann")
    own.unlink()
    with pytest.raises(ConfigError, match="there already"):
        make_key_files(tmp_path, "ann")
    assert not own.exists(), "half a pair is none"
    assert shared.read_text() == before[1]


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", ".hidden", "-x", "a\nb"])
def test_a_name_that_is_no_files_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no name for a key"):
        make_key_files(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_no_public_key_looks_like_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dashed = KeyPair(key_from_text("-" + key_to_text(ANN.public)[1:-1] + "0"), bytes(32))
    made = iter([dashed, dashed, ANN])
    monkeypatch.setattr(key_files, "make_pair", lambda: next(made))
    assert make_key_files(tmp_path, "ann")[2] == key_to_text(ANN.public)


@pytest.mark.parametrize("text", ["", "secret", "secret nonsense", f"public {key_to_text(ANN.public)}\n"])
def test_what_holds_no_secret_key_says_so_and_not_what_it_holds(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="holds no secret key") as raised:
        read_key_pair(path)
    assert "nonsense" not in str(raised.value)


def test_a_secret_is_in_no_repr() -> None:
    assert key_to_text(ANN.secret) not in repr(ANN)
    assert repr(ANN.secret) not in repr(ANN)


@pytest.mark.parametrize(
    "text", ["", "x" * 39, "x" * 41, " " * 40, "~" * 40, "\u00e9" * 40, "#" * 40, key_to_text(ANN.public)[:-1] + '"']
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="40 characters") as raised:
        key_from_text(text)
    assert not text.strip() or text not in str(raised.value)


def test_keys_are_written_as_zeromq_does() -> None:
    for key in (ANN.public, BOB.secret, bytes(32), b"\xff" * 32):
        assert key_to_text(key) == z85.encode(key).decode()
        assert key_from_text(f" {key_to_text(key)}\n") == key


def test_the_cluster_pair_follows_from_the_cluster_key() -> None:
    assert cluster_pair(bytes(32)) == cluster_pair(bytes(32))
    assert cluster_pair(bytes(32)).public != cluster_pair(b"\1" * 32).public
    assert cluster_pair(bytes(32)).secret != bytes(32)


def test_a_key_is_authorised_once(tmp_path: Path) -> None:
    path = tmp_path / "authorised"
    assert add_authorised(path, ANN.public, "ann of\nthe office")
    assert not add_authorised(path, ANN.public, "again")
    path.write_text(path.read_text().rstrip("\n"))  # an editor that leaves the last line open
    assert add_authorised(path, BOB.public, "")
    assert path.read_text() == f"{key_to_text(ANN.public)} ann of the office\n{key_to_text(BOB.public)}\n"
    keys = AuthorisedKeys(path)
    assert ANN.public in keys
    assert BOB.public in keys
    assert bytes(32) not in keys


def test_authorised_keys_are_read_again_when_they_change(tmp_path: Path) -> None:
    path = tmp_path / "authorised"
    path.write_text("# nobody yet\n\n")
    keys = AuthorisedKeys(path)
    assert ANN.public not in keys
    add_authorised(path, ANN.public, "ann")
    assert ANN.public in keys
    path.write_text("")
    assert ANN.public not in keys


def test_with_damaged_authorised_keys_it_stays_as_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "authorised"
    add_authorised(path, ANN.public, "ann")
    keys = AuthorisedKeys(path)
    path.write_text(f"{key_to_text(BOB.public)} bob\nnonsense\n")
    with caplog.at_level(logging.ERROR):
        assert ANN.public in keys
        assert BOB.public not in keys
    assert [record.getMessage().count("line 2") for record in caplog.records] == [1], "said once"
    path.write_text(f"{key_to_text(BOB.public)} bob\n")
    assert ANN.public not in keys
    assert BOB.public in keys


def test_without_authorised_keys_nobody_is_let_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "authorised"
    with pytest.raises(ConfigError, match="srs keys authorise"):
        AuthorisedKeys(path)
    add_authorised(path, ANN.public, "ann")
    keys = AuthorisedKeys(path)
    path.unlink()
    with caplog.at_level(logging.ERROR):
        assert ANN.public not in keys
        assert ANN.public not in keys
    assert len(caplog.records) == 1
    add_authorised(path, ANN.public, "ann")
    assert ANN.public in keys


@pytest.mark.parametrize("text", ["nonsense\n", f"#{key_to_text(ANN.public)}\n", "x" * (1 << 20) + "\n"])
def test_what_is_no_file_of_authorised_keys_is_neither_read_nor_added_to(tmp_path: Path, text: str) -> None:
    path = tmp_path / "authorised"
    path.write_text(text)
    with pytest.raises(ConfigError):
        AuthorisedKeys(path)
    with pytest.raises(ConfigError):
        add_authorised(path, ANN.public, "ann")
    assert path.read_text() == text
