"""Requests that are not answered: numbered, and said again on the next connection."""

from collections.abc import Callable
from typing import NamedTuple

from ..protocol.errors import BadMessage
from ..protocol.messages import Message
from .contact import Contact

__all__ = ["FIRST_ASK", "Asks", "MakeMessage"]

FIRST_ASK = 1 << 31
"""Requests are numbered from here, so that an ERROR's number is never a message's as well."""

MakeMessage = Callable[[int], Message]
"""Makes a request from its number. Called again after a reconnect, when references have changed."""


class _Ask(NamedTuple):
    contact: Contact
    """Whom it is for."""
    make: MakeMessage
    cancelled: bool = False
    """Whether it was given up, and has not been answered since."""


class Asks:
    """What one client has asked, of any server, and has no answer to."""

    def __init__(self) -> None:
        self._asks: dict[int, _Ask] = {}
        self._last = FIRST_ASK

    def number(self) -> int:
        """A number for the next request."""
        self._last = self._last + 1 if self._last < 0xFFFFFFFF else FIRST_ASK
        return self._last

    def put(self, contact: Contact, ask: int, make: MakeMessage) -> None:
        """Ask: now, if the server hears us, and on each connection to come until it is answered."""
        self._asks[ask] = _Ask(contact, make)
        if contact.online:
            contact.say(make(ask))

    def check(self, ask: int, *kinds: type[Message]) -> None:
        """Raise BadMessage if something else than one of these was asked under this number."""
        asked = self._asks.get(ask)
        if asked is not None and not isinstance(asked.make(ask), kinds):
            raise BadMessage("the answer does not fit the question")

    def get(self, ask: int) -> MakeMessage | None:
        """What was asked under this number, if it is not answered."""
        asked = self._asks.get(ask)
        return asked.make if asked is not None else None

    def cancel(self, ask: int) -> None:
        """It is given up: on each connection to come, that is said behind it."""
        asked = self._asks.get(ask)
        if asked is not None:
            self._asks[ask] = asked._replace(cancelled=True)

    def is_cancelled(self, ask: int) -> bool:
        """Whether it was given up."""
        asked = self._asks.get(ask)
        return asked is not None and asked.cancelled

    def pop(self, ask: int) -> MakeMessage | None:
        """It is answered, or not wanted any more; what it was, if it was asked."""
        asked = self._asks.pop(ask, None)
        return asked.make if asked is not None else None

    def answered(self, contact: Contact, ask: int) -> MakeMessage | None:
        """The same where this server was asked: none answers for another."""
        asked = self._asks.get(ask)
        return self.pop(ask) if asked is not None and asked.contact is contact else None

    def of(self, contact: Contact) -> list[tuple[int, MakeMessage]]:
        """What this server has not answered, in the order of asking."""
        return [(ask, asked.make) for ask, asked in self._asks.items() if asked.contact is contact]
