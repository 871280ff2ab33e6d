"""What the matcher hands out: tickets that play together."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .criteria import Scalar
from .shape import NO_TEAM
from .teams import Place
from .tickets import Ticket

__all__ = ["Match", "Progress", "Quality", "quality_of"]


class Quality(NamedTuple):
    """How good a match is."""

    spread: float
    """Between its highest and its lowest rating of a ticket."""
    gap: float
    """Between the mean ratings of its strongest and its weakest team."""
    waited: float
    """Seconds that its longest waiting ticket has waited."""
    round_trip: float | None
    """The worst round trip to its region, in seconds; None where regions don't matter."""


class Match(NamedTuple):
    """Tickets that were put together."""

    tickets: Sequence[Ticket]
    """Who has waited longest comes first."""
    teams: Mapping[str, Sequence[Place]]
    """The players of each team; ``""`` is the one team of a queue without teams."""
    region: str | None
    bots: Mapping[str, int]
    """How many places of each team bots are to take; empty when none."""
    room: str | None
    """The running room that they come into; None: they get a new one."""
    quality: Quality
    criteria: Mapping[str, Scalar]
    """The value of each hard criterion that all accept; none where nobody cares."""


class Progress(NamedTuple):
    """Where a ticket stands."""

    position: int
    """1 is who has waited longest."""
    waiting: int
    """Tickets that wait in its queue."""
    estimate: float | None
    """Seconds that are left, going by those who were matched lately; None: nobody was who waited that long."""
    window: float | None
    """How far from its rating others may be by now; None: ratings don't matter."""


def quality_of(
    tickets: Sequence[Ticket], teams: Mapping[str, Sequence[Place]], region: str | None, now: float
) -> Quality:
    """Measure a match."""
    ratings = [ticket.rating for ticket in tickets]
    gap = 0.0
    if NO_TEAM not in teams:
        means = [sum(place.ticket.rating for place in team) / len(team) for team in teams.values() if team]
        gap = max(means) - min(means)
    trip = None
    if region is not None:
        trip = max((one.round_trips[region] for one in tickets if region in one.round_trips), default=None)
    return Quality(max(ratings) - min(ratings), gap, now - tickets[0].since, trip)
