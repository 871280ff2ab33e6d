"""The rules of a queue once more, as plainly as they can be said: every set of tickets is tried."""

import math
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import combinations, permutations, product

from server_room_system.broker.queues import Backfill, MatchQueue, Ticket


def window(queue: MatchQueue, since: float, now: float) -> float:
    """How far the rating window of somebody who came then reaches now."""
    if queue.window is None:
        return math.inf
    return min(queue.window.most, queue.window.start + queue.window.per_second * max(0.0, now - since))


def overdue(queue: MatchQueue, ticket: Ticket, now: float) -> bool:
    return queue.max_wait is not None and now >= ticket.since + queue.max_wait


def regions(queue: MatchQueue, ticket: Ticket, now: float) -> set[str]:
    """Those that are near enough to each player of a ticket."""
    if queue.latency is None:
        return {"anywhere"}
    limit = queue.latency.start + queue.latency.per_second * max(0.0, now - ticket.since)
    limit = min(limit, queue.latency.most)
    near = [
        {region for region, trip in player.round_trips.items() if trip <= limit + 1e-9} for player in ticket.entrants
    ]
    return set.intersection(*near)


def agree(queue: MatchQueue, criteria: Iterable[dict[str, tuple[object, ...]]]) -> bool:
    """Whether all accept one value of each hard criterion."""
    for name in queue.hard:
        named = [set(each[name]) for each in criteria if name in each]
        if named and not set.intersection(*named):
            return False
    return True


def seatable(queue: MatchQueue, tickets: Sequence[Ticket], size: int) -> bool:
    """Whether parties can be spread over teams, and players over roles, in any way at all."""
    shape = queue.shape
    full = size if queue.then != "bots" else shape.full
    teams = [places * full // shape.full for _, places in shape.teams]
    for spread in product(range(len(teams)), repeat=len(tickets)):
        players = [[who for t, team in zip(tickets, spread, strict=True) if team == n for who in t.entrants]
                   for n in range(len(teams))]  # fmt: skip
        if all(len(team) <= places for team, places in zip(players, teams, strict=True)) and all(
            playable(queue, team, places) for team, places in zip(players, teams, strict=True)
        ):
            return True
    return False


def playable(queue: MatchQueue, players: Sequence[object], places: int) -> bool:
    slots = queue.shape.slots(places)
    if not queue.roles:
        return True
    return any(
        all(not role or not who.roles or role in who.roles for who, role in zip(players, chosen, strict=True))  # type: ignore[attr-defined]
        for chosen in set(permutations(slots, len(players)))
    )


def holds(
    queue: MatchQueue,
    tickets: Sequence[Ticket],
    now: float,
    slack: float = 1e-3,
    among: Container[int] | None = None,
) -> bool:
    """Whether tickets may make a match now.

    Args:
        queue: the policy.
        tickets: those.
        now: monotonic seconds.
        slack: how much farther ratings may be apart.
        among: the numbers of those that count as overdue when they are; None: all do.
    """
    shape = queue.shape
    size = sum(ticket.size for ticket in tickets)
    late = any(overdue(queue, ticket, now) for ticket in tickets if among is None or ticket.number in among)
    if size != shape.full:
        if not late or queue.then not in ("smaller", "bots"):
            return False
        if queue.then == "smaller" and size not in shape.sizes:
            return False
        if queue.then == "bots" and not shape.fewest <= size <= shape.full:
            return False
    ratings = [ticket.rating for ticket in tickets]
    limit = min(window(queue, ticket.since, now) for ticket in tickets)
    if late and queue.then == "wider":
        assert queue.window is not None
        limit = queue.window.most
    return (
        max(ratings) - min(ratings) <= limit + slack
        and agree(queue, [dict(ticket.criteria) for ticket in tickets])
        and bool(set.intersection(*(regions(queue, ticket, now) for ticket in tickets)))
        and all(queue.fits(one, other) for one, other in combinations(tickets, 2))
        and seatable(queue, tickets, size)
    )


def matches(
    queue: MatchQueue,
    waiting: Iterable[Ticket],
    now: float,
    slack: float = 0.0,
    among: Container[int] | None = None,
) -> Iterator[list[Ticket]]:
    """Every set of tickets that may make a match now; those with who has waited longest first."""
    line = sorted(waiting, key=lambda ticket: ticket.place)
    found = [
        list(tickets)
        for count in range(1, queue.shape.full + 1)
        for tickets in combinations(line, count)
        if holds(queue, tickets, now, slack, among)
    ]
    yield from sorted(found, key=lambda tickets: [ticket.place for ticket in tickets])


def enters(queue: MatchQueue, ticket: Ticket, room: Backfill, now: float, slack: float = 0.0) -> bool:
    """Whether a ticket may come into a room now."""
    if not agree(queue, [dict(ticket.criteria), dict(room.criteria)]):
        return False
    limit = min(window(queue, ticket.since, now), window(queue, room.since, now))
    if room.rating is not None and abs(ticket.rating - room.rating) > limit + slack:
        return False
    if queue.latency is not None and room.region not in regions(queue, ticket, now):
        return False
    for vacancies in room.vacancies.values():
        slots = [role for role, count in vacancies.items() for _ in range(count)]
        if len(slots) >= ticket.size and any(
            all(not role or not who.roles or role in who.roles for who, role in zip(ticket.entrants, way, strict=True))
            for way in permutations(slots, ticket.size)
        ):
            return True
    return False
