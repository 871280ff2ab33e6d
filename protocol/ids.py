"""Identifiers and secrets, made from entropy that the caller passes in."""

import hmac
from collections.abc import Callable

__all__ = ["Entropy", "new_epoch", "new_id", "new_token", "same_secret"]

Entropy = Callable[[int], bytes]
"""``entropy(n)`` gives n random bytes: ``secrets.token_bytes``, or a seeded source in tests."""


def new_id(entropy: Entropy) -> str:
    """A public 128-bit id as 32 hexadecimal digits: sessions."""
    return entropy(16).hex()


def new_token(entropy: Entropy) -> bytes:
    """A 128-bit secret: resume tokens, reservations, member tokens."""
    return entropy(16)


def new_epoch(entropy: Entropy) -> int:
    """The random name of one life of a stream: 1 to 2^53 - 1, exact in JavaScript too."""
    return (int.from_bytes(entropy(7), "big") & ((1 << 53) - 1)) or 1


def same_secret(one: bytes, other: bytes) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)
