"""Backfill: where in a room that seeks members a ticket has its places."""

from collections.abc import Sequence

from .shape import ANY_ROLE
from .teams import Place, assign_roles
from .tickets import Backfill, Ticket

__all__ = ["fill", "places_for"]


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
