"""Backfill: the rooms that seek members, and where in one a ticket has its places."""

import math
from collections.abc import Iterator, Sequence

from .criteria import Signature, agree
from .shape import ANY_ROLE
from .shelf import Shelf, padded
from .teams import Place, assign_roles
from .tickets import Backfill, Ticket

__all__ = ["MOST_NEAR", "SeekingRooms", "fill", "places_for"]

MOST_NEAR = 512
"""Rooms that are looked at for one ticket; those that have sought longest, where there are more."""


class SeekingRooms:
    """The rooms of one queue that seek members."""

    def __init__(self) -> None:
        self._rooms: dict[str, Backfill] = {}
        self._rated: dict[Signature, Shelf[Backfill]] = {}
        self._others: dict[Signature, Shelf[Backfill]] = {}
        """Rooms that take any rating."""
        self._next_number = 1

    def __len__(self) -> int:
        return len(self._rooms)

    def __iter__(self) -> Iterator[Backfill]:
        return iter(self._rooms.values())

    def __contains__(self, backfill: object) -> bool:
        return isinstance(backfill, Backfill) and self._rooms.get(backfill.room) is backfill

    def add(self, backfill: Backfill) -> None:
        """A room seeks, in place of what it sought before."""
        self.remove(backfill.room)
        backfill.key = (backfill.rating or 0.0, self._next_number)
        backfill.place = (backfill.since, self._next_number)
        self._next_number += 1
        self._rooms[backfill.room] = backfill
        shelves = self._others if backfill.rating is None else self._rated
        shelves.setdefault(backfill.signature, Shelf()).add(backfill.key, backfill)

    def remove(self, room: str) -> None:
        """A room seeks no more, if it did."""
        backfill = self._rooms.pop(room, None)
        if backfill is not None:
            shelves = self._others if backfill.rating is None else self._rated
            shelf = shelves[backfill.signature]
            shelf.remove(backfill.key)
            if not shelf:
                del shelves[backfill.signature]

    def near(self, ticket: Ticket, limit: float) -> list[Backfill]:
        """The rooms that agree with a ticket and are at most so far from its rating."""
        found: list[Backfill] = []
        for shelves, reach in ((self._rated, limit), (self._others, math.inf)):
            for accepted, shelf in shelves.items():
                if agree(accepted, ticket.signature):
                    low, high = padded(ticket.rating, reach)
                    inside = shelf.between(low, high, MOST_NEAR)
                    if inside is None:
                        oldest = shelf.oldest(low, high)
                        inside = [next(oldest) for _ in range(MOST_NEAR)]
                    found += inside
        return found


def places_for(ticket: Ticket, backfill: Backfill) -> list[Place] | None:
    """The whole party's places on one team: the one that lacks most; None if none has room for it."""
    teams = sorted(backfill.vacancies.items(), key=lambda team: -sum(team[1].values()))
    for team, vacancies in teams:
        if sum(vacancies.values()) < ticket.size:
            continue
        slots = [role for role, count in vacancies.items() if role != ANY_ROLE for _ in range(count)]
        slots += [ANY_ROLE] * vacancies.get(ANY_ROLE, 0)
        roles = assign_roles(ticket.entrants, slots)
        if roles is not None:
            return [Place(ticket, who, team, role) for who, role in zip(ticket.entrants, roles, strict=True)]
    return None


def fill(backfill: Backfill, places: Sequence[Place]) -> None:
    """Those places are missing no more."""
    for place in places:
        backfill.vacancies[place.team][place.role] -= 1
