"""Rooms that are not open to all: what creators and visitors say of passwords, and how often one may guess."""

from typing import Any

from ..protocol.errors import BadMessage, RateLimited
from ..protocol.rates import TokenBucket
from ..rooms.addresses import AddressBook
from .sessions import Session

__all__ = ["Guesses", "creators_access", "visitors_access"]

_LONGEST_PASSWORD = 128
_GUESSES = 8
"""Passwords that a session may show at once, and then one each ten seconds."""
_GUESS_RATE = 0.1


def creators_access(said: dict[str, Any]) -> dict[str, object]:
    """How a room is to be closed to strangers, as CREATE says it. Raises BadMessage."""
    return _checked(said, password=str, private=bool, unlisted=bool)


def visitors_access(said: dict[str, Any]) -> dict[str, Any]:
    """What JOIN_BY_ID shows and wants. Raises BadMessage."""
    return _checked(said, password=str, spectate=bool)


def _checked(said: dict[str, Any], **allowed: type) -> dict[str, Any]:
    for name, value in said.items():
        if name not in allowed or type(value) is not allowed[name]:
            kinds = ", ".join(f"{one} ({kind.__name__})" for one, kind in allowed.items())
            raise BadMessage(f"the access to a room has {kinds}, and nothing else")
    if len(said.get("password", "")) > _LONGEST_PASSWORD:
        raise BadMessage(f"a password has at most {_LONGEST_PASSWORD} characters")
    return {name: value for name, value in said.items() if value}


class Guesses:
    """How often each session, and each address, may show a password.

    Args:
        book: what each address may do.
    """

    def __init__(self, book: AddressBook) -> None:
        self._book = book
        self._buckets: dict[Session, TokenBucket] = {}

    def check(self, session: Session, now: float) -> None:
        """A session shows a password. Raises RateLimited where it, or its address, does so too often."""
        bucket = self._buckets.get(session)
        if bucket is None:
            bucket = self._buckets[session] = TokenBucket(_GUESS_RATE, _GUESSES)
        if not bucket.allow(now) or not self._book.may_guess(session.ADDRESS, now):
            raise RateLimited("too many passwords were tried: wait some seconds")

    def forget(self, session: Session) -> None:
        """It has ended."""
        self._buckets.pop(session, None)
