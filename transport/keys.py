"""The cluster key: where it comes from, and the file in which a running broker keeps it.

The file also says which public key the broker's ports have, if they encrypt.

Who holds the key may register workers and give a broker orders. It comes from a
file that is named, or from ``SRS_KEY``, or else from a file that the broker
makes for its own user on its own machine, so that one machine needs no
arrangement. It never appears in logs, errors or command lines.
"""

import contextlib
import json
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Any

from ..protocol.errors import ConfigError

__all__ = ["KEY_VARIABLE", "LocalState", "find_key", "find_server_key", "given_key", "read_key", "read_private"]

KEY_VARIABLE = "SRS_KEY"
"""The environment variable that may hold the key, as 64 hexadecimal digits."""

_KEY_SIZE = 32
_LONGEST = 4096
"""Bytes; a key file has 65, a state file hardly more than 100."""
_State = tuple[bytes, int, int, bytes | None]
"""Key, next client, generation, and the public key of the ports."""
_OTHERS = 0o077
"""The permissions of everybody but the owner."""


def find_key(port: int | None, key_file: Path | None = None) -> bytes:
    """The key of the cluster, 32 bytes, for who talks to a broker.

    Args:
        port: the client port of a broker that runs on this machine as this user; None if there is none.
        key_file: looked at first, then the environment.

    Raises:
        ConfigError: there is none, or it can't be used; says where it looked, never what it found.
    """
    key = given_key(key_file)
    if key is not None:
        return key
    if port is None:
        raise ConfigError(f"there is no cluster key: give --key-file PATH, or set {KEY_VARIABLE} to the broker's.")
    path = _file(port)
    try:
        return _read_state(path)[0]
    except FileNotFoundError:
        raise ConfigError(
            f"there is no cluster key: no --key-file, no {KEY_VARIABLE}, and no broker of this user runs on port "
            f"{port} of this machine ({path} does not exist). 'srs serve' starts one; for one elsewhere, "
            "give its address and its key."
        ) from None
    except OSError as error:
        raise ConfigError(f"the broker's state in {path} can't be read: {error.strerror}.") from None


def find_server_key(port: int) -> bytes | None:
    """The public key, 32 bytes, of a broker that runs on this machine as this user; None: it has none, or is not here.

    Args:
        port: its port for clients.

    Raises:
        ConfigError: its state is damaged, or can't be read.
    """
    path = _file(port)
    try:
        return _read_state(path)[3]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"the broker's state in {path} can't be read: {error.strerror}.") from None


def given_key(key_file: Path | None = None) -> bytes | None:
    """The key that the file holds, or else the environment; None where neither is there.

    Raises:
        ConfigError: what is there is no key.
    """
    if key_file is not None:
        return read_key(key_file)
    text = os.environ.get(KEY_VARIABLE)
    return None if text is None else _key_of(text, KEY_VARIABLE)


def read_key(path: Path) -> bytes:
    """The key in a file: 64 hexadecimal digits and a newline, or the state file of a broker.

    Raises:
        ConfigError: it can't be read, others than its owner may read it, or it holds something else.
    """
    try:
        text = read_private(path)
    except OSError as error:
        raise ConfigError(f"the key file {path} can't be read: {error.strerror}.") from None
    return _state_of(text, path)[0] if text.startswith("{") else _key_of(text, str(path))


class LocalState:
    """What a running broker keeps on its machine, so that who works for it finds the key, and its successor the rest.

    Open it after the port is bound: only one process can have the port, and so
    the file. Brokers of one user that share a machine have ports of their own,
    even if their addresses differ.
    """

    key: bytes
    """The cluster key, 32 bytes."""
    next_client: int
    """The least ``ClientData.ID`` that no client has had, as last saved."""
    generation: int
    """The last generation that a worker was given, as last saved."""
    left_over: bool
    """Whether a broker on this port ended without ``remove``: its workers may be looking for it."""
    server_key: bytes | None
    """The public key of the broker's ports, 32 bytes; None where they don't encrypt."""
    path: Path
    """The file: readable by its owner only."""

    def __init__(
        self, path: Path, key: bytes, next_client: int, generation: int, left_over: bool, server_key: bytes | None
    ) -> None:
        self.path = path
        self.key = key
        self.server_key = server_key
        self.next_client = next_client
        self.generation = generation
        self.left_over = left_over

    @classmethod
    def open(cls, port: int, key: bytes | None = None, server_key: bytes | None = None) -> "LocalState":
        """Make the file, or take over what an unclean end left.

        Args:
            port: the port for clients, which this process has bound.
            key: what ``given_key`` gave; None keeps the file's own, or makes a new one.
            server_key: the public key of our ports, if they encrypt.

        Raises:
            ConfigError: the folder or file can't be had, is not this user's own, or is open to others.
        """
        path = _file(port)
        try:
            _make_folder(path.parent)
            try:
                old_key, next_client, generation, _ = _read_state(path)
            except FileNotFoundError:
                state = cls(path, key or secrets.token_bytes(_KEY_SIZE), 1, 0, False, server_key)
            else:
                state = cls(path, key or old_key, next_client, generation, True, server_key)
            state.save(state.next_client, state.generation)
        except OSError as error:
            raise ConfigError(f"the broker can't keep its state in {path}: {error.strerror}.") from error
        return state

    def save(self, next_client: int, generation: int) -> None:
        """Keep these two for a successor. Who reads meanwhile gets the old or the new, never a part.

        Raises:
            OSError: the disk is full, perhaps; the file is as it was.
        """
        held = {"key": self.key.hex(), "next_client": next_client, "generation": generation}
        if self.server_key is not None:
            held["server_key"] = self.server_key.hex()
        new = self.path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with open(new, "x", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(json.dumps(held) + "\n")
        new.replace(self.path)
        self.next_client, self.generation = next_client, generation

    def remove(self) -> None:
        """At a clean end: nothing is left, and a next broker makes a new key."""
        self.path.with_suffix(".new").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another broker's file is in it
            self.path.parent.rmdir()


def _file(port: int) -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and Path(runtime).is_dir():
        return Path(runtime, "server-room-system", f"{port}.json")
    return Path(tempfile.gettempdir(), f"server-room-system-{os.geteuid()}", f"{port}.json")


def _make_folder(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(0o700)
    _check_folder(folder)


def _check_folder(folder: Path) -> None:
    # In a folder for everybody, somebody else may have made it first.
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{folder} is a link or a file, not a folder: remove it.")
    if found.st_uid != os.geteuid():
        raise ConfigError(f"{folder} belongs to another user, so it is not used for secrets: remove it.")
    if found.st_mode & _OTHERS:
        raise ConfigError(f"{folder} is open to other users: chmod 700 {folder}")


def _read_state(path: Path) -> _State:
    _check_folder(path.parent)
    return _state_of(read_private(path, own=True), path)


def read_private(path: Path, *, own: bool = False, most: int = _LONGEST) -> str:
    """The text of a file that holds a secret; what is not UTF-8 comes as question marks.

    Args:
        path: the file.
        own: whether it must be this user's own, and no link.
        most: bytes that such a file may have.

    Raises:
        ConfigError: others than its owner may read it, it is not this user's, or it is too long.
        OSError: it can't be read.
    """
    no_links = os.O_NOFOLLOW if own else 0
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | no_links)) as file:
        found = os.fstat(file.fileno())
        if own and found.st_uid != os.geteuid():
            raise ConfigError(f"{path} belongs to another user: remove it.")
        if found.st_mode & _OTHERS:
            raise ConfigError(f"{path} holds a secret and is open to other users: chmod 600 {path}")
        content = file.read(most + 1)
    if len(content) > most:  # half of it is not what it says
        raise ConfigError(f"{path} has over {most} bytes: that is no such file.")
    return content.decode("utf-8", errors="replace")


def _key_of(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_SIZE or len(text.strip()) != 2 * _KEY_SIZE:
        raise ConfigError(
            f"{where} holds no key: that is {2 * _KEY_SIZE} hexadecimal digits, as of 'openssl rand -hex 32'."
        )
    return key


def _state_of(text: str, path: Path) -> _State:
    try:
        held: Any = json.loads(text)
        key, numbers = bytes.fromhex(held["key"]), (held["next_client"], held["generation"])
        server_key = bytes.fromhex(held["server_key"]) if "server_key" in held else None
        if (
            len(key) == _KEY_SIZE
            and all(type(number) is int and number >= 0 for number in numbers)
            and (server_key is None or len(server_key) == _KEY_SIZE)
        ):
            return key, *numbers, server_key
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # said below, without what was found: it may be half a key
    raise ConfigError(f"{path} is damaged: remove it. Workers that run have to be started again then.")
