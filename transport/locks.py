"""Locks and keys: what a port asks of those who connect, and what a connection opens it with.

CURVE is ZeroMQ's encryption, on Curve25519: both ends have a pair of keys, the
one who connects knows the other's public key beforehand, and the port learns
the public key of who connected, with proof. PLAIN is a name and a password,
sent as they are. Without either, anybody may connect; a judge still hears the
address of each before the handshake ends.
"""

import contextlib
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from ..protocol.errors import ConfigError

__all__ = [
    "KEY_SIZE",
    "NOBODY",
    "SEALED",
    "Caller",
    "CurveKey",
    "Judge",
    "Key",
    "KeyPair",
    "Lock",
    "PlainKey",
    "Porter",
    "Verdict",
    "Vouched",
    "checked",
    "endpoint_of",
    "is_user_name",
    "key_from_text",
    "key_to_text",
    "split_endpoint",
    "why_broken",
    "why_mismatched",
    "why_refused",
]

KEY_SIZE = 32
SEALED = 33
"""Bytes that CURVE puts around a message: a name of 8, a nonce of 8, 16 that authenticate, and its flags."""
_TEXT_SIZE = 40
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
"""Z85 (ZeroMQ RFC 32): five of them stand for four bytes."""
_LONGEST_NAME = 64
_LONGEST_PASSWORD = 255
"""Bytes: ZeroMQ takes no more."""


def key_to_text(key: bytes) -> str:
    """A key of 32 bytes as people see it: 40 characters of Z85."""
    words = struct.unpack(">8I", key)
    return "".join(_DIGITS[word // 85**place % 85] for word in words for place in (4, 3, 2, 1, 0))


def key_from_text(text: str) -> bytes:
    """The 32 bytes of a key that is written in 40 characters.

    Raises:
        ConfigError: it is no key. What was given is not repeated: it may be a secret, badly copied.
    """
    text = text.strip()
    if len(text) == _TEXT_SIZE:
        words = [0] * (KEY_SIZE // 4)
        with contextlib.suppress(ValueError, struct.error):  # no digit; or five that stand for more than four bytes
            for place, digit in enumerate(text):
                words[place // 5] = words[place // 5] * 85 + _DIGITS.index(digit)
            return struct.pack(">8I", *words)
    raise ConfigError(f"this is no key: keys have {_TEXT_SIZE} characters, as 'srs keys show FILE' prints them.")


def endpoint_of(address: str, key: bytes | None) -> str:
    """What names a port and its key in one: ``tcp://ip:port#KEY``; without a key the address alone."""
    return address if key is None else f"{address}#{key_to_text(key)}"


def split_endpoint(endpoint: str) -> tuple[str, bytes | None]:
    """Address and public key of what ``endpoint_of`` made.

    Raises:
        ConfigError: what stands behind ``#`` is no key.
    """
    address, found, key = endpoint.partition("#")
    return address, key_from_text(key) if found else None


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key, for everybody who is to recognise us, and the secret one that goes with it."""

    public: bytes
    """32 bytes."""
    secret: bytes = field(repr=False)
    """32 bytes."""


class Vouched(NamedTuple):
    """Who is at the other end of a connection, as far as the handshake has proved it."""

    key: bytes | None = None
    """The public key, 32 bytes; None without CURVE."""
    user: str | None = None
    """The name that went with the right password; None without PLAIN."""


NOBODY = Vouched()
"""Nothing was asked, and nothing is proved."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who wants to connect to a port. The handshake has not ended yet."""

    address: str
    """The IP address."""
    key: bytes | None = None
    """With CURVE: the public key, 32 bytes. It has been proved that the secret one is there."""
    user: str | None = None
    """With PLAIN: the name, 1 to 64 printable characters."""
    password: str | None = field(default=None, repr=False)
    """With PLAIN: what was given as the password, up to 255 bytes in UTF-8."""


class Verdict(Enum):
    """What is said to a caller. The values are ZAP's (ZeroMQ RFC 27)."""

    WELCOME = b"200"
    LATER = b"300"
    """Nothing is said; after 3 s the connection ends. A client takes it for a lost one, and comes again."""
    NEVER = b"400"
    """The client is told, and does not come again."""


Judge = Callable[[Caller], Verdict | Awaitable[Verdict]]
"""Decides about a caller, on the loop's thread. What takes long is awaited. If it raises, takes over 3 s or returns
something else: LATER."""


def checked(verdict: object) -> Verdict:
    """What a judge has returned, if it is a verdict.

    Raises:
        ConfigError: it is none. What it is instead is not repeated: it may be what the caller has shown.
    """
    if not isinstance(verdict, Verdict):
        raise ConfigError(f"a port's judge returned {type(verdict).__name__}, which is no Verdict: nobody gets in.")
    return verdict


class Porter(Protocol):
    """Counts the connections of each IP address, from before they have said a word. Times are monotonic seconds."""

    def connected(self, address: str, now: float) -> bool:
        """A connection was made. False: it is cut. Either way ``disconnected`` is called for it."""
        ...

    def disconnected(self, address: str) -> None:
        """A connection is over."""

    def flooded(self, address: str, now: float) -> None:
        """A connection was cut, because it sent bytes that are no messages."""


def _everybody(caller: Caller) -> Verdict:
    return Verdict.WELCOME


@dataclass(frozen=True, slots=True)
class Lock:
    """What a port asks of those who connect.

    Raises:
        ConfigError: CURVE and PLAIN at once, which ZeroMQ does not have.
    """

    keys: KeyPair | None = None
    """With them: CURVE, and those who connect have to know the public one."""
    plain: bool = False
    """PLAIN: a name and a password, which anybody on the way can read."""
    judge: Judge = _everybody
    porter: Porter | None = None
    """Looks at where they come from."""

    @property
    def is_open(self) -> bool:
        """Whether it asks nothing of anybody, so that nobody needs to be judged."""
        return self.keys is None and not self.plain and self.judge is _everybody

    def __post_init__(self) -> None:
        if self.plain and self.keys is not None:
            raise ConfigError("a port has either keys or passwords: with keys, let on_auth check a password.")


@dataclass(frozen=True, slots=True)
class CurveKey:
    """Opens a port with CURVE."""

    server: bytes
    """The port's public key, 32 bytes: another server can't take its place."""
    keys: KeyPair
    """Our own."""


@dataclass(frozen=True, slots=True)
class PlainKey:
    """Opens a port with PLAIN.

    Raises:
        ConfigError: the name is empty, too long or not printable, or the password too long.
    """

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not is_user_name(self.user):
            raise ConfigError(f"a user's name has 1 to {_LONGEST_NAME} printable characters")
        if len(self.password.encode("utf-8", "surrogateescape")) > _LONGEST_PASSWORD:
            raise ConfigError(f"a password has at most {_LONGEST_PASSWORD} bytes")


Key = CurveKey | PlainKey
"""What a connection opens a port with."""


def is_user_name(name: str) -> bool:
    """Whether PLAIN takes this for a name."""
    return 0 < len(name) <= _LONGEST_NAME and name.isprintable()


# Why a connection failed, in the words of who tried it. Both networks say the same.


def why_refused(key: Key | None) -> str:
    """The port said NEVER."""
    if isinstance(key, CurveKey):
        return "the server refused this client's key: its owner can let it in, with 'srs keys authorise'"
    if isinstance(key, PlainKey):
        return "the server refused this user name or password"
    return "the server refused this client"


def why_mismatched(key: Key | None) -> str:
    """The port wants something else than we have."""
    if isinstance(key, CurveKey):
        return "the server does not encrypt, though its key was given: is it the right server?"
    if isinstance(key, PlainKey):
        return "the server asks for no user name and password"
    return "the server asks for a key, or a user name and password: give its server_key"


def why_broken(key: Key | None) -> str:
    """The handshake ended without a word."""
    if isinstance(key, CurveKey):
        return "the server ended the handshake: is the server_key its own, and does it encrypt? Or it is too busy now"
    if isinstance(key, PlainKey):
        return "the server ended the handshake: it may ask for no user name and password, or for a key"
    return "what answers there ended the handshake: if it is a server that asks for a key, give its server_key"
