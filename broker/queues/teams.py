"""Who plays in which team, in which role: parties stay together, roles are there, and teams are even."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .shape import ANY_ROLE
from .tickets import Entrant, Ticket

__all__ = ["Place", "assign_roles", "covers_roles", "seat"]

_MOST_TRIES = 2000
"""Placings of a ticket that are tried until all have a team."""
_MOST_SWAPS = 400
"""Swaps between teams that are looked at to make them more even."""


class Place(NamedTuple):
    """One player of a match."""

    ticket: Ticket
    entrant: Entrant
    team: str
    role: str
    """The role that it plays; ``""``: any."""


def assign_roles(entrants: Sequence[Entrant], slots: Sequence[str]) -> list[str] | None:
    """A role for each player, so that no slot is taken twice; None when there is no such way.

    Kuhn's augmenting paths: players times slots times slots at most.
    """
    if len(entrants) > len(slots):
        return None
    taken: list[int | None] = [None] * len(slots)
    for index in range(len(entrants)):
        if not _augment(index, entrants, slots, taken, set()):
            return None
    roles = [ANY_ROLE] * len(entrants)
    for slot, player in enumerate(taken):
        if player is not None:
            roles[player] = slots[slot]
    return roles


def covers_roles(entrants: Sequence[Entrant], slots: Sequence[str]) -> bool:
    """Whether there is somebody for each slot, all different."""
    if len(entrants) < len(slots):
        return False
    taken: list[int | None] = [None] * len(slots)
    filled = 0
    for index in range(len(entrants)):
        if _augment(index, entrants, slots, taken, set()):
            filled += 1
            if filled == len(slots):
                return True
    return not slots


def _augment(
    index: int, entrants: Sequence[Entrant], slots: Sequence[str], taken: list[int | None], seen: set[int]
) -> bool:
    roles = entrants[index].roles
    for slot, role in enumerate(slots):
        if slot in seen or (roles and role != ANY_ROLE and role not in roles):
            continue
        seen.add(slot)
        other = taken[slot]
        if other is None or _augment(other, entrants, slots, taken, seen):
            taken[slot] = index
            return True
    return False


def seat(
    tickets: Sequence[Ticket], places: Sequence[tuple[str, int]], slots: Mapping[str, Sequence[str]]
) -> dict[str, list[Place]] | None:
    """Put parties into teams: whole, with a role for each, the ratings as even as some swaps make them.

    Args:
        tickets: who plays; no more players than places.
        places: name and places of each team.
        slots: the role of each place of each team; empty when nobody asks for roles.

    Returns:
        The players of each team; None when no way was found to place them all.
    """
    if len(places) == 1:
        teams = [list(tickets)]
        if sum(ticket.size for ticket in tickets) > places[0][1]:
            return None
    else:
        order = sorted(tickets, key=lambda ticket: (-ticket.size, -ticket.rating * ticket.size, ticket.place))
        teams = [[] for _ in places]
        sums = [0.0] * len(places)
        free = [count for _, count in places]
        if not _place(order, 0, teams, sums, free, places, slots, [_MOST_TRIES]):
            return None
        _even_out(teams, sums, places, slots)
    seated: dict[str, list[Place]] = {}
    for (name, _), team in zip(places, teams, strict=True):
        entrants = [entrant for ticket in team for entrant in ticket.entrants]
        roles = assign_roles(entrants, slots[name]) if slots else [ANY_ROLE] * len(entrants)
        if roles is None:
            return None
        owners = [ticket for ticket in team for _ in ticket.entrants]
        seated[name] = [
            Place(ticket, entrant, name, role) for ticket, entrant, role in zip(owners, entrants, roles, strict=True)
        ]
    return seated


def _place(
    order: list[Ticket],
    index: int,
    teams: list[list[Ticket]],
    sums: list[float],
    free: list[int],
    places: Sequence[tuple[str, int]],
    slots: Mapping[str, Sequence[str]],
    tries: list[int],
) -> bool:
    """Each party in turn into the team that is weakest so far; back where that leads nowhere."""
    if index == len(order):
        return True
    ticket = order[index]
    # By what each team lacks: an even share of the strength for each place that is taken.
    for team in sorted(range(len(teams)), key=lambda team: (sums[team], -free[team], team)):
        if free[team] < ticket.size:
            continue
        tries[0] -= 1
        if tries[0] < 0:
            return False
        teams[team].append(ticket)
        if not slots or _roles_fit(teams[team], slots[places[team][0]]):
            free[team] -= ticket.size
            sums[team] += ticket.rating * ticket.size
            if _place(order, index + 1, teams, sums, free, places, slots, tries):
                return True
            sums[team] -= ticket.rating * ticket.size
            free[team] += ticket.size
        teams[team].pop()
    return False


def _roles_fit(team: list[Ticket], slots: Sequence[str]) -> bool:
    return assign_roles([entrant for ticket in team for entrant in ticket.entrants], slots) is not None


def _even_out(
    teams: list[list[Ticket]],
    sums: list[float],
    places: Sequence[tuple[str, int]],
    slots: Mapping[str, Sequence[str]],
) -> None:
    """Swap parties of one size between the strongest and the weakest team while that brings them closer."""
    looked = 0
    counts = [max(1, sum(ticket.size for ticket in team)) for team in teams]
    while looked < _MOST_SWAPS:
        means = [total / count for total, count in zip(sums, counts, strict=True)]
        high = max(range(len(teams)), key=means.__getitem__)
        low = min(range(len(teams)), key=means.__getitem__)
        gap = means[high] - means[low]
        best: tuple[float, int, int] | None = None
        for i, strong in enumerate(teams[high]):
            for j, weak in enumerate(teams[low]):
                looked += 1
                if strong.size != weak.size or looked > _MOST_SWAPS:
                    continue
                moved = (strong.rating - weak.rating) * strong.size
                after = abs(gap - moved / counts[high] - moved / counts[low])
                if (
                    after < gap - 1e-9
                    and (best is None or after < best[0])
                    and _swappable(teams, high, low, i, j, places, slots)
                ):
                    best = (after, i, j)
        if best is None:
            return
        _, i, j = best
        strong, weak = teams[high][i], teams[low][j]
        teams[high][i], teams[low][j] = weak, strong
        moved = (strong.rating - weak.rating) * strong.size
        sums[high] -= moved
        sums[low] += moved


def _swappable(
    teams: list[list[Ticket]],
    high: int,
    low: int,
    i: int,
    j: int,
    places: Sequence[tuple[str, int]],
    slots: Mapping[str, Sequence[str]],
) -> bool:
    if not slots:
        return True
    strong, weak = teams[high][i], teams[low][j]
    return _roles_fit([*teams[high][:i], weak, *teams[high][i + 1 :]], slots[places[high][0]]) and _roles_fit(
        [*teams[low][:j], strong, *teams[low][j + 1 :]], slots[places[low][0]]
    )
