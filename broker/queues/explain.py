"""Why a ticket still waits: the rules that keep others away, with their numbers."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from .criteria import agree
from .rules import Rules
from .tickets import Backfill, Ticket

__all__ = ["Obstacle", "Why", "obstacle", "room_obstacle"]


class Obstacle(NamedTuple):
    """What keeps one candidate away."""

    candidate: int | str
    """The number of a ticket, or the id of a room."""
    rule: str
    """``hard``, ``rating``, ``latency``, ``fits``, ``places``, or ``together`` when these two alone would fit."""
    text: str
    """In words, with the numbers."""
    seconds: float | None
    """Until the rule gives way by itself; None: it does not, or something else has to happen as well."""


class Why(NamedTuple):
    """The answer to "why am I still waiting?"."""

    ticket: int
    state: str
    summary: str
    """What the ticket waits for."""
    considered: int
    """Tickets and rooms that there are."""
    obstacles: Sequence[Obstacle]
    """Those nearest by rating, the nearest first; bounded."""


def obstacle(rules: Rules, mine: Ticket, other: Ticket, now: float) -> Obstacle:
    """What keeps two tickets apart: the first rule that does, asked as the matcher asks."""
    if not agree(mine.signature, other.signature):
        return Obstacle(other.number, "hard", _disagreement(rules, mine, other), None)
    distance = abs(mine.rating - other.rating)
    if distance > rules.limit(mine, other, now):
        younger = mine if mine.since >= other.since else other
        return _too_far(rules, other.number, distance, mine, other, younger is mine, max(mine.since, other.since), now)
    if not rules.near(mine, other, now):
        return Obstacle(other.number, "latency", _nowhere_near(rules, mine, other, now), None)
    if not rules.wanted(mine, other):
        return Obstacle(other.number, "fits", "the queue's own rule (fits) keeps the two apart", None)
    return Obstacle(other.number, "together", "the two would fit; too few others fit with both", None)


def room_obstacle(rules: Rules, mine: Ticket, backfill: Backfill, has_places: bool, now: float) -> Obstacle:
    """What keeps a ticket out of a room that seeks members."""
    if not agree(mine.signature, backfill.signature):
        return Obstacle(backfill.room, "hard", _disagreement(rules, mine, backfill), None)
    if backfill.rating is not None:
        distance = abs(mine.rating - backfill.rating)
        if distance > rules.room_limit(mine, backfill, now):
            younger = mine.since >= backfill.since
            since = max(mine.since, backfill.since)
            return _too_far(rules, backfill.room, distance, mine, backfill, younger, since, now)
    if not rules.room_near(mine, backfill, now):
        return Obstacle(backfill.room, "latency", f"it is in {backfill.region}, too far away by now", None)
    if not has_places:
        return Obstacle(backfill.room, "places", f"it lacks {backfill.missing}, none of them for this ticket", None)
    return Obstacle(backfill.room, "together", "it will be considered next", None)


def _too_far(
    rules: Rules,
    candidate: int | str,
    distance: float,
    mine: Ticket,
    other: Ticket | Backfill,
    mine_decides: bool,
    since: float,
    now: float,
) -> Obstacle:
    assert rules.window is not None
    assert other.rating is not None
    limit = rules.window.after(now - since)
    left = since + rules.window.reached(distance) - now
    whose = "your window" if mine_decides else "its window"
    text = f"rating {other.rating:.0f} is {distance:.0f} from yours ({mine.rating:.0f}); {whose} is {limit:.0f} now, "
    if math.isinf(left):
        return Obstacle(candidate, "rating", text + f"and never above {rules.window.most:.0f}", None)
    return Obstacle(candidate, "rating", text + f"{distance:.0f} in {left:.0f} s", left)


def _disagreement(rules: Rules, mine: Ticket, other: Ticket | Backfill) -> str:
    for name, ours, theirs in zip(rules.queue.hard, mine.signature, other.signature, strict=True):
        if ours is not None and theirs is not None and ours.isdisjoint(theirs):
            return f"{name}: it accepts {_values(other.criteria[name])}, you {_values(mine.criteria[name])}"
    return "the hard criteria disagree"


def _values(values: Sequence[object]) -> str:
    shown = ", ".join(map(str, values[:4]))
    return f"{shown}, …" if len(values) > 4 else shown


def _nowhere_near(rules: Rules, mine: Ticket, other: Ticket, now: float) -> str:
    assert rules.latency is not None
    ours, theirs = rules.regions(mine, now), rules.regions(other, now)
    return (
        f"no region is near both: you reach {', '.join(sorted(ours or ())) or 'none'} within "
        f"{rules.latency.after(now - mine.since) * 1000:.0f} ms, it {', '.join(sorted(theirs or ())) or 'none'} within "
        f"{rules.latency.after(now - other.since) * 1000:.0f} ms"
    )
