"""What clients and the broker say about queues and parties: the fields of each message in order.

``messages.py`` gives them their kinds, and reads and writes them with all others.
"""

from typing import NamedTuple

from .fields import Ask, Data, Flag, Items, Map, Number, Ref, RoomId, Seconds, TypeName

__all__ = ["Accept", "Enqueue", "Found", "Party", "PartyState", "Progress", "Reasons", "Rematch", "Why"]


class Enqueue(NamedTuple):
    """client → broker: wait in a queue. Answer: PROGRESS, FOUND if all must accept; then ASSIGNED or ERROR."""

    ref: Ref
    ask: Ask
    queue: TypeName
    criteria: Map
    roles: Items
    regions: Map
    options: Map
    timeout: Seconds
    party: TypeName


class Progress(NamedTuple):
    """broker → client: how the ticket of ENQUEUE ``ask`` stands."""

    ref: Ref
    ask: Ask
    ticket: Number
    info: Map


class Found(NamedTuple):
    """broker → client: a match was found; everybody has to ACCEPT within ``timeout``."""

    ref: Ref
    ask: Ask
    match: Number
    players: Number
    timeout: Seconds


class Accept(NamedTuple):
    """client → broker: whether we play the match that was found. Answer: none, but what becomes of the ENQUEUE."""

    ref: Ref
    ask: Ask
    match: Number
    yes: Flag


class Why(NamedTuple):
    """client → broker: why does the ticket of ENQUEUE ``of`` still wait. Answer: REASONS or ERROR."""

    ref: Ref
    ask: Ask
    of: Ask


class Reasons(NamedTuple):
    """broker → client: what keeps others away from a ticket."""

    ref: Ref
    ask: Ask
    report: Map


class Party(NamedTuple):
    """client → broker: make, join, leave or change a party. Answer: PARTY_STATE or ERROR."""

    ref: Ref
    ask: Ask
    action: TypeName
    argument: Data


class PartyState(NamedTuple):
    """broker → client: our party as it is now; with ``ask`` 0 because it has changed."""

    ref: Ref
    ask: Number
    party: Map


class Rematch(NamedTuple):
    """client → broker: play again with those of this room. Answer: ASSIGNED when all of them want it, or ERROR."""

    ref: Ref
    ask: Ask
    room: RoomId
    options: Map
    timeout: Seconds
