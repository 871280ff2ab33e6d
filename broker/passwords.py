"""Names and passwords: a file of them, and the check that is slow on purpose.

A line is ``NAME:HASH``, as ``srs password`` writes it; the hash is scrypt (RFC
7914) in the PHC string format, with a salt of its own. Checking one takes some
tenths of a second of a core and 32 MiB, off the loop: whoever stole the file has
to spend that on each guess. Who was let in once is remembered for as long as
the process and the line live, so that a thousand clients can come back at once.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from ..protocol.errors import AuthRefused, ConfigError
from ..transport.keys import read_private
from ..transport.locks import Caller, is_user_name
from .auth import Peer
from .turns import Turns

__all__ = ["PasswordFile", "set_password"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".server")

_COST = 15
"""Log2 of scrypt's N; with r = 8 and p = 3 this is one of the settings that OWASP's password storage cheat sheet
recommends (2023)."""
_BLOCK, _PARALLEL = 8, 3
_SALT_SIZE, _HASH_SIZE = 16, 32
_MOST_MEMORY = 256 << 20
_AT_ONCE = 2
"""Checks that run at once: each holds a core and memory."""
_MOST_REMEMBERED = 10_000
_LONGEST_FILE = 16 << 20
"""Bytes: some 150,000 users."""
_LONGEST_PASSWORD = 255
_HASH = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{43})")


class _Hash(NamedTuple):
    cost: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    def matches(self, password: str) -> bool:
        return hmac.compare_digest(_scrypt(password, self), self.digest)


class PasswordFile:
    """Lets in who knows the password of a name. The file is read again when it has changed.

    As ``plain=`` of ``Server.run``, names and passwords are asked for at the
    handshake; as an ``on_auth``, they are the credentials
    ``{"user": "ada", "password": "..."}``, and ``client.auth`` is the name. The
    second goes together with keys, which keep the password from being read on its
    way.

    Args:
        path: the file; nobody but its owner may be able to read it.

    Raises:
        ConfigError: it can't be read, is open to others, or holds something else.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._hashes: dict[str, tuple[str, _Hash]] = {}
        self._likes: list[_Hash] = []
        """The same hashes, one of them for each name that nobody has."""
        self._pepper = secrets.token_bytes(32)
        self._remembered: dict[bytes, None] = {}
        self._turns: Turns | None = None
        self._read()

    def __repr__(self) -> str:
        return f"<PasswordFile {self._path}, {len(self._hashes)} users>"

    async def __call__(self, credentials: Any, peer: Peer | None = None) -> str:
        """The name, if the password is its own. Made to be an ``on_auth``.

        Raises:
            AuthRefused: it is not, or these are no name and password.
        """
        held = credentials if isinstance(credentials, dict) else {}
        user, password = held.get("user"), held.get("password")
        if not isinstance(user, str) or not isinstance(password, str):
            raise AuthRefused("a user and a password are needed: give them as credentials")
        if not await self.knows(user, password, peer.address if peer is not None else ""):
            raise AuthRefused("this is not the password of that user")  # which of the two is wrong, nobody is told
        return user

    async def check(self, caller: Caller) -> bool:
        """Whether a caller of a port with PLAIN has shown the password of its name."""
        user, password = caller.user, caller.password
        return user is not None and password is not None and await self.knows(user, password, caller.address)

    async def knows(self, user: str, password: str, address: str = "") -> bool:
        """Whether this is the user's password. Takes as long for names that nobody has.

        ``address``: who asks. Many of one address do not keep those of others waiting.
        """
        if len(password) > _LONGEST_PASSWORD:
            return False
        self._read_again()
        line, wanted = self._hashes.get(user) or ("", self._nobodys(user))
        told = "\0".join((line, user, password)).encode("utf-8", "surrogatepass")
        mark = hmac.digest(self._pepper, told, "sha256")
        if line and mark in self._remembered:
            return True
        good = await self._check(wanted, password, address)
        if not good or not line:
            return False
        self._remembered[mark] = None
        if len(self._remembered) > _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        return True

    async def _check(self, wanted: _Hash, password: str, address: str) -> bool:
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns.loop is not loop:
            self._turns = Turns(_AT_ONCE)
        turns = self._turns
        await turns.enter(address)
        # Who hangs up does not wait any more, but its thread works on: the turn is over when that is done.
        work = loop.run_in_executor(None, wanted.matches, password)
        work.add_done_callback(lambda _: turns.leave())
        return await asyncio.shield(work)

    def _nobodys(self, user: str) -> _Hash:
        """What a name that nobody has is checked against: as slow as one of the others is, always the same."""
        salt, digest = secrets.token_bytes(_SALT_SIZE), bytes(_HASH_SIZE)
        if not self._likes:
            return _Hash(_COST, _BLOCK, _PARALLEL, salt, digest)
        mark = hmac.digest(self._pepper, user.encode("utf-8", "surrogatepass"), "sha256")
        return self._likes[int.from_bytes(mark, "big") % len(self._likes)]._replace(salt=salt, digest=digest)

    def _read(self) -> None:
        self._seen = _look(self._path)
        try:
            self._hashes = _parse(read_private(self._path, most=_LONGEST_FILE), self._path)
            self._likes = [like for _, like in self._hashes.values()]
        except OSError as error:
            raise ConfigError(
                f"the passwords in {self._path} can't be read: {error.strerror}. 'srs password' makes the file."
            ) from None

    def _read_again(self) -> None:
        seen = _look(self._path)
        if seen == self._seen:
            return
        self._seen = seen  # what is wrong with it is said once
        try:
            self._read()
        except ConfigError as error:
            logger.error("the passwords stay as they were: %s", error)


def set_password(path: Path, user: str, password: str) -> bool:
    """Write a user's password into a file of them; it is made if it is not there.

    Returns:
        Whether the user was in it already.

    Raises:
        ConfigError: the name or the password can't be one, or the file can't be read or written.
    """
    if not is_user_name(user) or ":" in user or not user.isascii():
        raise ConfigError(f"{user!r:.70} is no name: it has 1 to 64 printable ASCII characters, and no colon")
    if not password or len(password.encode("utf-8", "surrogatepass")) > _LONGEST_PASSWORD:
        raise ConfigError(f"a password has 1 to {_LONGEST_PASSWORD} bytes")
    made = _Hash(_COST, _BLOCK, _PARALLEL, secrets.token_bytes(_SALT_SIZE), b"")
    line = f"{user}:{_written(made._replace(digest=_scrypt(password, made)))}"
    try:
        lines = read_private(path, most=_LONGEST_FILE).splitlines() if path.exists() else []
        known = user in _parse("\n".join(lines), path)
        kept = [one for one in lines if one.partition(":")[0] != user]
        _replace(path, "\n".join([*kept, line]) + "\n")
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}.") from None
    return known


def _replace(path: Path, text: str) -> None:
    # Whoever reads meanwhile gets the old or the new. mkstemp's files are their owner's alone.
    descriptor, new = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise


def _look(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _parse(text: str, path: Path) -> dict[str, tuple[str, _Hash]]:
    hashes: dict[str, tuple[str, _Hash]] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        user, _, written = line.partition(":")
        found = _HASH.fullmatch(written)
        parsed = _parsed(*found.groups()) if found is not None else None
        if parsed is None or not is_user_name(user):
            raise ConfigError(f"line {number} of {path} is not NAME:HASH, as 'srs password' writes it.")
        hashes[user] = line, parsed
    return hashes


def _parsed(cost: str, block: str, parallel: str, salt: str, digest: str) -> _Hash | None:
    n, r, p = int(cost), int(block), int(parallel)
    if not (10 <= n <= 20 and 1 <= r <= 32 and 1 <= p <= 16 and (128 * r << n) <= _MOST_MEMORY):
        return None
    try:
        return _Hash(n, r, p, _unpadded(salt), _unpadded(digest))
    except binascii.Error:
        return None


def _written(made: _Hash) -> str:
    salt, digest = (base64.b64encode(part).rstrip(b"=").decode() for part in (made.salt, made.digest))
    return f"$scrypt$ln={made.cost},r={made.block},p={made.parallel}${salt}${digest}"


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _scrypt(password: str, like: _Hash) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=like.salt,
        n=1 << like.cost,
        r=like.block,
        p=like.parallel,
        maxmem=2 * _MOST_MEMORY,
        dklen=_HASH_SIZE,
    )
