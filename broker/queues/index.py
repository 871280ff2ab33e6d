"""Where tickets stand: in groups by what they accept, on shelves by what they take of a match.

A group holds the tickets that accept one value of each hard criterion. Who accepts
several values of a criterion, or any, stands once, in the group whose place for that
criterion is open, and is asked one by one: so the groups do not multiply with the
sets that tickets accept.
"""

from collections.abc import Iterator
from itertools import product
from math import inf

from .criteria import Accepted, Signature
from .shelf import Shelf
from .tickets import Kind, Ticket

__all__ = ["Group", "Index"]

_KEPT_EMPTY = 512
_MOST_REMEMBERED = 1024

_GroupKey = tuple[Accepted | None, ...]
"""For each hard criterion the one accepted value, or None: several or any."""


class Group:
    """Tickets that accept the same one value of each hard criterion, as far as they accept one."""

    __slots__ = ("exact", "key", "shelves")

    def __init__(self, key: _GroupKey) -> None:
        self.key = key
        self.exact = None not in key
        """Whether all in it accept the same."""
        self.shelves: dict[Kind, Shelf[Ticket]] = {}


class Index:
    """The tickets that can be matched."""

    def __init__(self) -> None:
        self._groups: dict[_GroupKey, Group] = {}
        self._near: dict[Signature, list[Group]] = {}
        self._shelves = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, ticket: Ticket) -> None:
        """A ticket can be matched from now on."""
        key = _key(ticket.signature)
        group = self._groups.get(key)
        shelf = None if group is None else group.shelves.get(ticket.kind)
        if shelf is None:
            self._tidy()
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = Group(key)
                self._near.clear()
            shelf = group.shelves[ticket.kind] = Shelf()
            self._shelves += 1
        shelf.add(ticket.key, ticket)
        self._length += 1

    def remove(self, ticket: Ticket) -> None:
        """A ticket can't be matched any more. Raises KeyError when it could not."""
        self._groups[_key(ticket.signature)].shelves[ticket.kind].remove(ticket.key)
        self._length -= 1

    def groups(self, accepted: Signature) -> list[Group]:
        """The groups in which somebody may accept what a ticket accepts."""
        found = self._near.get(accepted)
        if found is None:
            if len(self._near) >= _MOST_REMEMBERED:
                self._near.clear()
            found = self._near[accepted] = list(self._look_up(accepted))
        return found

    def all_groups(self) -> Iterator[Group]:
        """Every group."""
        return iter(self._groups.values())

    def _look_up(self, accepted: Signature) -> Iterator[Group]:
        ways = 1.0
        for values in accepted:
            ways *= inf if values is None else len(values) + 1
        if ways > len(self._groups):
            for group in self._groups.values():
                if all(
                    value is None or values is None or value <= values
                    for value, values in zip(group.key, accepted, strict=True)
                ):
                    yield group
            return
        options: list[list[Accepted | None]] = [
            [*(frozenset((value,)) for value in values or ()), None] for values in accepted
        ]
        for key in product(*options):
            if key in self._groups:
                yield self._groups[key]

    def _tidy(self) -> None:
        """Forget what stands empty, once that is much."""
        if self._shelves < _KEPT_EMPTY + 2 * self._length:
            return
        for key, group in list(self._groups.items()):
            group.shelves = {kind: shelf for kind, shelf in group.shelves.items() if len(shelf)}
            if not group.shelves:
                del self._groups[key]
        self._shelves = sum(len(group.shelves) for group in self._groups.values())
        self._near.clear()


def _key(accepted: Signature) -> _GroupKey:
    for values in accepted:
        if values is None or len(values) != 1:
            return tuple(None if each is None or len(each) != 1 else each for each in accepted)
    return accepted
