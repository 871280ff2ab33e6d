"""Memberships that the client has given up, and whose server has not said yet that it knows.

Until it does, what it said before may still come. That is nothing that was
misrouted, and nobody reads it.
"""

from .contact import Contact

__all__ = ["GivenUp"]

_MOST = 256
"""Memberships that are remembered; then the oldest are forgotten."""


class GivenUp:
    """The references and epochs under which something may still come."""

    def __init__(self) -> None:
        self._epochs: dict[tuple[Contact, int], int] = {}

    def __len__(self) -> int:
        return len(self._epochs)

    def add(self, contact: Contact, ref: int, epoch: int) -> None:
        """This one is not wanted any more; its server thinks that it is."""
        self._epochs[contact, ref] = epoch
        if len(self._epochs) > _MOST:
            del self._epochs[next(iter(self._epochs))]

    def settled(self, contact: Contact, ref: int) -> None:
        """The server has said that this is over: after that nothing of it comes."""
        self._epochs.pop((contact, ref), None)

    def lost(self, contact: Contact) -> None:
        """The connection is lost, with all that was under way on it."""
        for key in [key for key in self._epochs if key[0] is contact]:
            del self._epochs[key]

    def covers(self, contact: Contact, ref: int, epoch: int) -> bool:
        """Whether that may come: a bundle or a reset with this reference, or without one."""
        if ref:
            return self._epochs.get((contact, ref)) == epoch
        return any(one is contact and its == epoch for (one, _), its in self._epochs.items())
