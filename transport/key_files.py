"""Key files: a pair of keys, a public key to hand out, and the keys that a server lets in.

A secret key stands in a file that only its owner may read. Public keys stand in
files of one line each, ``KEY COMMENT``, and a file of authorised keys is many
such lines: to authorise somebody is to append the line that they sent. Lines
that are empty, or whose first word is ``#``, are comments.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from ..protocol.errors import ConfigError
from .curve import make_pair, pair_of
from .keys import read_private
from .locks import KeyPair, key_from_text, key_to_text

__all__ = ["AuthorisedKeys", "add_authorised", "make_key_files", "read_key_pair", "read_public_key"]

logger = logging.getLogger(__name__.partition(".transport")[0] + ".transport")

_LONGEST = 1 << 20
"""Bytes of a file of authorised keys: some 20,000 of them."""
_LONGEST_COMMENT = 200
_SECRET = "secret"


def make_key_files(folder: Path, name: str) -> tuple[Path, Path, str]:
    """Make a pair of keys, as ``NAME.key`` for its owner alone and ``NAME.pub`` to hand out.

    Returns:
        Both files, and the public key as text.

    Raises:
        ConfigError: the name can't be that of a file, one of the files is there already, or can't be written.
    """
    if not name.isprintable() or not name.strip() or Path(name).name != name or name.startswith((".", "-")):
        raise ConfigError(f"{name!r:.60} is no name for a key: take one like alice, without folders.")
    keys = make_pair()
    while key_to_text(keys.public).startswith("-"):  # on a command line it would look like an option
        keys = make_pair()
    public = key_to_text(keys.public)
    own, shared = folder / f"{name}.key", folder / f"{name}.pub"
    try:
        _write_new(own, f"# The key of {name}. Keep it to yourself: who has it is {name}.\n"
                        f"public {public}\n{_SECRET} {key_to_text(keys.secret)}\n", 0o600)  # fmt: skip
    except OSError as error:
        raise _not_written(own, error) from error
    try:
        _write_new(shared, f"{public} {name}\n", 0o644)
    except OSError as error:
        own.unlink()
        raise _not_written(shared, error) from error
    return own, shared, public


def read_key_pair(path: Path) -> KeyPair:
    """The pair of keys in a file that ``make_key_files`` wrote.

    Raises:
        ConfigError: it can't be read, others than its owner may read it, or it holds something else. Never says what
            it holds.
    """
    try:
        text = read_private(path)
    except OSError as error:
        raise ConfigError(f"the key file {path} can't be read: {error.strerror}.") from None
    for _, words in _lines(text):
        if words[0] == _SECRET and len(words) == 2:
            with contextlib.suppress(ConfigError):
                return pair_of(key_from_text(words[1]))
    raise ConfigError(f"{path} holds no secret key: 'srs keys make' makes such files, with names that end with .key.")


def read_public_key(path: Path) -> bytes:
    """The public key in either of the files that ``make_key_files`` wrote.

    Raises:
        ConfigError: it can't be read, or holds no key.
    """
    try:
        text = path.read_bytes()[:_LONGEST].decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError(f"the key file {path} can't be read: {error.strerror}.") from None
    if any(words[0] == _SECRET for _, words in _lines(text)):
        return read_key_pair(path).public
    for _, words in _lines(text):
        with contextlib.suppress(ConfigError):
            return key_from_text(words[0])
    raise ConfigError(f"{path} holds no key: 'srs keys make' makes such files.")


def add_authorised(path: Path, key: bytes, comment: str) -> bool:
    """Append a key to a file of authorised keys, which is made if it is not there.

    Returns:
        False if the key was in it already.

    Raises:
        ConfigError: the file can't be read or written, or holds something else.
    """
    comment = " ".join(comment.split())[:_LONGEST_COMMENT]
    line = f"{key_to_text(key)} {comment}".rstrip() + "\n"
    try:
        with open(path, "a+b") as file:
            file.seek(0)
            before = file.read(_LONGEST + 1)
            if key in _parse(before, path):
                return False
            file.write((b"" if not before or before.endswith(b"\n") else b"\n") + line.encode())
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}.") from None
    return True


class AuthorisedKeys:
    """The keys that are let in. The file is read again when it has changed: nothing needs to be started anew.

    Where it is gone, nobody is let in. Where it is damaged, those are let in who were before: a slip of
    the pen should neither open the door nor shut everybody out.

    Raises:
        ConfigError: at the start, there is no such file, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._seen: tuple[int, int, int] | None = self._look()
            self._keys = _parse(self._bytes(), path)
        except OSError as error:
            raise ConfigError(
                f"the authorised keys in {path} can't be read: {error.strerror}. 'srs keys authorise' makes the file."
            ) from None

    def __contains__(self, key: object) -> bool:
        try:
            seen = self._look()
        except OSError:
            seen = None
        if seen != self._seen:
            self._seen = seen
            self._read_again()
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def _read_again(self) -> None:
        try:
            self._keys = _parse(self._bytes(), self._path)
        except OSError as error:
            self._keys = frozenset()
            logger.error("nobody is let in: the authorised keys in %s can't be read: %s", self._path, error.strerror)
        except ConfigError as error:
            logger.error("the authorised keys stay as they were: %s", error)
        else:
            logger.info("%d authorised keys, read again from %s", len(self._keys), self._path)

    def _look(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _bytes(self) -> bytes:
        with open(self._path, "rb") as file:
            return file.read(_LONGEST + 1)


def _parse(content: bytes, path: Path) -> frozenset[bytes]:
    if len(content) > _LONGEST:
        raise ConfigError(f"{path} has over {_LONGEST} bytes: that is no file of authorised keys.")
    keys = set[bytes]()
    for number, words in _lines(content.decode("utf-8", "replace")):
        try:
            keys.add(key_from_text(words[0]))
        except ConfigError:
            raise ConfigError(
                f"line {number} of {path} begins with no key: it is to be KEY COMMENT, as in the .pub files, "
                "or a comment behind '# '."
            ) from None
    return frozenset(keys)


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and words[0] != "#":
            yield number, words


def _write_new(path: Path, text: str, mode: int) -> None:
    with open(path, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(text)


def _not_written(path: Path, error: OSError) -> ConfigError:
    if isinstance(error, FileExistsError):
        return ConfigError(f"{path} is there already: keys are not overwritten. Move it away, or take another name.")
    return ConfigError(f"{path} can't be written: {error.strerror}.")
