"""Identifiers and secrets, made from entropy that the caller passes in."""

import hashlib
import hmac
from collections.abc import Callable

__all__ = [
    "MEMBER_TOPIC",
    "ROOM_TOPIC",
    "TOKEN_SIZE",
    "TOPIC_SIZE",
    "Entropy",
    "mark_of",
    "new_epoch",
    "new_id",
    "new_token",
    "new_topic",
    "same_secret",
]

TOKEN_SIZE = 16
"""Bytes of a secret."""
ROOM_TOPIC = b"\x10"
"""What the topic begins with that all members of a room get."""
MEMBER_TOPIC = b"\x11"
"""What the topic begins with that one member gets."""
TOPIC_SIZE = 1 + TOKEN_SIZE
"""Bytes of a topic. ZeroMQ sends what *begins* with a topic: of one size, none is the beginning of another."""

Entropy = Callable[[int], bytes]
"""``entropy(n)`` gives n random bytes: ``secrets.token_bytes``, or a seeded source in tests."""


def new_id(entropy: Entropy) -> str:
    """A public 128-bit id as 32 hexadecimal digits: sessions."""
    return entropy(16).hex()


def new_token(entropy: Entropy) -> bytes:
    """A 128-bit secret: resume tokens, reservations, member tokens, what is shown for topics."""
    return entropy(TOKEN_SIZE)


def new_topic(kind: bytes, entropy: Entropy) -> bytes:
    """The name of a topic that nobody can guess; ``kind``: ``ROOM_TOPIC`` or ``MEMBER_TOPIC``."""
    return kind + entropy(TOKEN_SIZE)


def new_epoch(entropy: Entropy) -> int:
    """The random name of one life of a stream: 1 to 2^53 - 1, exact in JavaScript too."""
    return (int.from_bytes(entropy(7), "big") & ((1 << 53) - 1)) or 1


def mark_of(token: bytes) -> int:
    """The number by which marks name who has this token of a downlink: everybody may read it, and learns nothing."""
    return int.from_bytes(hashlib.sha256(token).digest()[:6], "big")


def same_secret(one: bytes, other: bytes) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)
