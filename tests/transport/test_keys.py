"""The cluster key: where it is found, who may read it, and that nothing tells it."""

import json
import os
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server_room_system.protocol.errors import ConfigError
from server_room_system.transport.keys import LocalState, find_key, given_key, read_key

KEY = bytes(range(32))
OTHER = bytes(32)
PORT = 1234


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the state is kept."""
    monkeypatch.delenv("SRS_KEY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "server-room-system"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY.hex()}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def state() -> Iterator[LocalState]:
    opened = LocalState.open(PORT)
    yield opened
    opened.remove()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# The state of a running broker.


def test_a_new_state_has_a_key_of_its_own_and_only_its_user_can_read_it(folder: Path, state: LocalState) -> None:
    other = LocalState.open(PORT + 1)
    assert not state.left_over
    assert (len(state.key), state.next_client, state.generation) == (32, 1, 0)
    assert other.key != state.key
    assert find_key(PORT) == state.key == read_key(state.path)
    assert (mode(folder), mode(state.path), state.path.parent) == (0o700, 0o600, folder)
    assert json.loads(state.path.read_text()) == {"key": state.key.hex(), "next_client": 1, "generation": 0}
    other.remove()
    assert [path.name for path in folder.iterdir()] == ["1234.json"]


def test_a_clean_end_leaves_nothing(folder: Path) -> None:
    first = LocalState.open(PORT)
    first.save(5, 6)
    first.remove()
    first.remove()
    assert not folder.exists()
    second = LocalState.open(PORT)
    assert not second.left_over
    assert second.key != first.key
    second.remove()


def test_what_an_unclean_end_left_is_taken_over(state: LocalState) -> None:
    state.save(70, 8)
    assert (state.next_client, state.generation) == (70, 8)
    successor = LocalState.open(PORT)
    assert successor.left_over
    assert (successor.key, successor.next_client, successor.generation) == (state.key, 70, 8)


def test_a_write_that_was_cut_short_is_not_read(state: LocalState) -> None:
    state.path.with_suffix(".new").write_text('{"key": "00')
    assert LocalState.open(PORT).key == state.key
    state.save(2, 2)
    assert find_key(PORT) == state.key


def test_a_disk_that_is_full_leaves_the_file_as_it_was(state: LocalState) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            state.save(9, 9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert json.loads(state.path.read_text())["next_client"] == state.next_client == 1
    state.save(9, 9)
    assert json.loads(state.path.read_text())["next_client"] == state.next_client == 9


def test_a_given_key_is_kept_in_place_of_a_made_one(folder: Path) -> None:
    state = LocalState.open(PORT, KEY)
    assert state.key == find_key(PORT) == KEY
    state.save(3, 4)
    successor = LocalState.open(PORT, OTHER)
    assert (successor.key, successor.next_client, successor.generation) == (OTHER, 3, 4)
    assert find_key(PORT) == OTHER
    successor.remove()


def test_without_a_runtime_folder_the_temporary_one_is_used(
    monkeypatch: pytest.MonkeyPatch, temporary_folder: Path
) -> None:
    for runtime in ("", "relative", str(temporary_folder / "missing")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        state = LocalState.open(PORT)
        assert state.path == temporary_folder / f"server-room-system-{os.geteuid()}" / "1234.json"
        assert find_key(PORT) == state.key
        state.remove()


# What is not trusted.


def linked(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to("elsewhere")


def opened_up(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o750)


def a_file(folder: Path) -> None:
    folder.write_text("")


def of_another_user(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (linked, "is a link"),
        (a_file, "is a link or a file"),
        (opened_up, "chmod 700"),
        pytest.param(of_another_user, "another user", marks=AS_ROOT),
    ],
)
def test_a_folder_that_somebody_else_prepared_is_refused(folder: Path, made: Callable[[Path], None], says: str) -> None:
    made(folder)
    with pytest.raises(ConfigError, match=says):
        LocalState.open(PORT)
    with pytest.raises(ConfigError, match=says):
        find_key(PORT)


def test_a_state_file_that_is_a_link_is_refused(state: LocalState) -> None:
    moved = state.path.rename(state.path.with_name("moved"))
    state.path.symlink_to(moved)
    with pytest.raises(ConfigError, match=r"can't keep its state in .*1234\.json"):
        LocalState.open(PORT)
    with pytest.raises(ConfigError, match=r"1234\.json can't be read"):
        find_key(PORT)
    moved.unlink()


@AS_ROOT
def test_a_state_file_of_another_user_is_refused(state: LocalState) -> None:
    os.chown(state.path, 12345, -1)
    with pytest.raises(ConfigError, match=r"1234\.json belongs to another user"):
        find_key(PORT)


def test_a_state_file_that_others_may_read_is_refused(state: LocalState) -> None:
    state.path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        find_key(PORT)
    with pytest.raises(ConfigError, match="chmod 600"):
        LocalState.open(PORT)


def held(key: object = KEY.hex(), next_client: object = 1, generation: object = 0) -> str:
    return json.dumps({"key": key, "next_client": next_client, "generation": generation})


DAMAGED = [
    *["", "{", "[]", "3", json.dumps({"key": KEY.hex()}), "[" * 4096],
    *[held(next_client=-1), held(generation="0"), held(next_client=True)],
    *[held(KEY.hex()[2:]), held("xx"), held(7), held(None)],
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_state_is_said_without_what_it_holds(state: LocalState, text: str) -> None:
    state.path.write_text(text)
    for look in (find_key, LocalState.open):
        with pytest.raises(ConfigError, match=r"1234\.json is damaged: remove it") as error:
            look(PORT)
        assert KEY.hex()[:8] not in str(error.value)
        assert error.value.__cause__ is None


# Keys that are given.


def test_the_file_comes_before_the_environment_and_that_before_the_broker(
    state: LocalState, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert given_key() is None
    assert find_key(PORT) == state.key
    monkeypatch.setenv("SRS_KEY", OTHER.hex())
    assert find_key(PORT) == find_key(None) == given_key() == OTHER
    assert find_key(PORT, key_file) == find_key(None, key_file) == given_key(key_file) == KEY


def test_where_no_key_is_it_says_where_it_looked(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"no --key-file, no SRS_KEY, .*port 1234 .*1234\.json does not exist"):
        find_key(PORT)
    with pytest.raises(ConfigError, match="--key-file PATH, or set SRS_KEY"):
        find_key(None)
    assert not folder.exists()


@pytest.mark.parametrize(
    "text", ["", "00", KEY.hex()[:-1], KEY.hex() + "00", "g" * 64, "0 " * 32, "ö" * 64, "0" * 5000]
)
def test_what_is_no_key_is_refused_and_not_repeated(key_file: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    key_file.write_text(text)
    monkeypatch.setenv("SRS_KEY", text)
    for path in (None, key_file):
        with pytest.raises(
            ConfigError, match=r"holds no key: that is 64 hexadecimal digits|has over 4096 bytes"
        ) as error:
            find_key(PORT, path)
        assert KEY.hex()[:8] not in str(error.value)
        assert error.value.__cause__ is None


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o644])
def test_a_key_file_that_others_may_touch_is_refused(key_file: Path, bits: int) -> None:
    key_file.chmod(bits)
    with pytest.raises(ConfigError, match="chmod 600"):
        find_key(None, key_file)


def test_a_key_file_that_can_t_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing can't be read: No such file"):
        find_key(None, tmp_path / "missing")
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigError, match="Is a directory"):
        find_key(None, tmp_path)
