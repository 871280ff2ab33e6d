"""Whom a room lets in who does not know it, and with which password."""

import hashlib
import hmac
from typing import Any

from ..protocol.errors import ConfigError, RoomLocked, WrongPassword
from ..protocol.ids import Entropy

__all__ = ["Privacy"]

_LONGEST_PASSWORD = 128
_SALT = 16


class Privacy:
    """The flags and the password of one room. The only authority on them.

    Args:
        entropy: where salts come from.
    """

    __slots__ = ("_entropy", "_hash", "_salt", "private", "unlisted")

    def __init__(self, entropy: Entropy) -> None:
        self.private = False
        """Neither listed, nor chosen for anybody: only who has its id comes in."""
        self.unlisted = False
        """Not listed."""
        self._entropy = entropy
        self._salt = b""
        self._hash = b""

    def adopt(self, access: dict[str, Any]) -> None:
        """What its creator has asked for."""
        self.private, self.unlisted = access.get("private") is True, access.get("unlisted") is True
        password = access.get("password")
        if isinstance(password, str):
            self.set_password(password)

    def set_password(self, password: str | None) -> None:
        """Let in only who shows this; None, or an empty one: no password. Raises ConfigError."""
        if password is not None and not (isinstance(password, str) and len(password) <= _LONGEST_PASSWORD):
            raise ConfigError(f"a room's password is a text of at most {_LONGEST_PASSWORD} characters, or None")
        self._salt = self._entropy(_SALT)
        self._hash = self._hashed(password) if password else b""

    @property
    def has_password(self) -> bool:
        """Whether one has to be shown."""
        return bool(self._hash)

    def check(self, shown: object, *, picked: bool) -> None:
        """Somebody wants in who was not invited.

        Args:
            shown: the password that it shows, or None.
            picked: whether the broker has chosen the room for it.

        Raises:
            RoomLocked: only who has the room's id comes in.
            WrongPassword: it has a password, and this is not it.
        """
        if picked and (self.private or self._hash):
            raise RoomLocked
        if self._hash and not hmac.compare_digest(self._hash, self._hashed(shown if isinstance(shown, str) else "")):
            raise WrongPassword

    def describe(self) -> dict[str, object]:
        """What the directory knows of it."""
        flags = ("private", self.private), ("unlisted", self.unlisted), ("password", self.has_password)
        return {name: True for name, value in flags if value}

    def _hashed(self, password: str) -> bytes:
        # Of a length that does not depend on it, and of no use to whoever sees it. Who guesses has to ask us each time.
        return hmac.digest(self._salt, password.encode(errors="surrogatepass"), hashlib.sha256)
