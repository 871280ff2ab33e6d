"""Why a ticket still waits: the rules that keep others away, with their numbers."""

import heapq
import math
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from .criteria import agree
from .index import Index
from .rooms import SeekingRooms, places_for
from .rules import Rules
from .search import Search
from .tickets import Backfill, Ticket, TicketState

__all__ = ["Obstacle", "Why", "explain", "obstacle", "room_obstacle"]

_MOST_REASONS = 20
_MOST_GROUPS = 256


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


def explain(rules: Rules, index: Index, rooms: SeekingRooms, search: Search, ticket: Ticket, now: float) -> Why:
    """Why a ticket still waits."""
    near = heapq.nsmallest(_MOST_REASONS, rooms, key=lambda room: (room.missing, room.place))
    obstacles = [room_obstacle(rules, ticket, room, places_for(ticket, room) is not None, now) for room in near]
    obstacles += [obstacle(rules, ticket, other, now) for other in _nearest(index, ticket)]
    return Why(
        ticket.number,
        ticket.state.value,
        _summary(rules, search, ticket, now),
        len(index) - (ticket.state is TicketState.WAITING) + len(rooms),
        obstacles,
    )


def _summary(rules: Rules, search: Search, ticket: Ticket, now: float) -> str:
    if ticket.state is TicketState.ASIDE:
        return "its owner is away: it keeps its place, and can't be matched until it is back"
    if ticket.state is not TicketState.WAITING:
        return f"it is {ticket.state.value}"
    full = rules.shape.full
    limit = rules.reach(ticket, now)
    players = ticket.size + sum(
        other.size for other in search.around(ticket, limit, now) if rules.meet(ticket, other, now)
    )
    parts = [f"{min(players, full)} of {full} players"]
    role = search.lacks(ticket, limit)
    if role is not None:
        parts.append(f"too few who play {role}")
    if players >= full and role is None:
        parts.append("they fit with this ticket, but not all with each other")
    if rules.overdue(ticket, now):
        parts.append(f"max_wait is over: {rules.queue.then}")
    elif rules.max_wait < math.inf:
        parts.append(f"{rules.queue.then} in {ticket.since + rules.max_wait - now:.0f} s")
    return "; ".join(parts)


def _nearest(index: Index, ticket: Ticket) -> list[Ticket]:
    """Those nearest by rating: first those that may accept the same, then the others."""
    fitting = index.groups(ticket.signature)[:_MOST_GROUPS]
    others = [group for group in islice(index.all_groups(), _MOST_GROUPS) if group not in fitting]
    found: list[Ticket] = []
    for groups in (fitting, others):
        around = (
            other
            for group in groups
            for shelf in group.shelves.values()
            for other in (
                *shelf.before(ticket.rating, _MOST_REASONS),
                *shelf.after((ticket.rating, -math.inf), _MOST_REASONS + 1),
            )
            if other is not ticket
        )
        found += heapq.nsmallest(
            _MOST_REASONS - len(found), around, key=lambda other: (abs(other.rating - ticket.rating), other.place)
        )
    return found


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
    if backfill.room in mine.shunned:
        return Obstacle(backfill.room, "member", "somebody of this ticket is in it already, or was", None)
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
