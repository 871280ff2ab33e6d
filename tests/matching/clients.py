"""The queues of a whole broker in these runs, and what its clients know of themselves."""

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from server_room_system.broker.queues import MatchQueue, Ticket, Window
from server_room_system.protocol import Welcome
from server_room_system.protocol.queue_messages import Enqueue
from tests.broker.fakes import FakeCaller

__all__ = ["ACCEPT", "QUEUES", "Ask", "Client"]

ACCEPT = 8.0
"""Seconds in which a match has to be accepted, where anybody is asked."""


class _Rated(MatchQueue):
    def on_ticket(self, ticket: Ticket) -> None:
        for entrant in ticket.entrants:
            entrant.rating = 1000.0 + (entrant.client * 7919) % 1000


class Duel(_Rated):
    window = Window(start=100, per_second=20, most=1000)
    hard = ("mode",)


class Squads(_Rated):
    teams = MappingProxyType({"red": 2, "blue": 2})
    window = Window(start=300, per_second=30, most=1000)
    accept = ACCEPT


class Late(_Rated):
    most = 3
    max_wait = 20.0
    prefer_backfill = True


QUEUES: dict[str, type[MatchQueue]] = {"duel": Duel, "squads": Squads, "late": Late}


@dataclass(eq=False)
class Ask:
    """One ENQUEUE, as its client knows it."""

    number: int
    message: Enqueue
    deadline: float
    cancelled: bool = False
    """Whether CANCEL was sent; what comes before the answer still counts."""


@dataclass(eq=False)
class Client:
    """One client: a session over as many connections as it takes."""

    caller: FakeCaller
    welcome: Welcome
    ask: Ask | None = None
    ended: set[int] = field(default_factory=set[int])
    """Asks that an answer has ended."""
    room: str | None = None
    party: dict[str, Any] = field(default_factory=dict[str, Any])
    gone: bool = False
    here: bool = True
