"""Queues of every kind: each thing that a policy can declare is in one of them at least."""

from dataclasses import dataclass, field
from types import MappingProxyType

from server_room_system.broker.queues import MatchQueue, Ticket, Window

__all__ = ["KINDS", "Kind"]


class Duel(MatchQueue):
    window = Window(start=50, per_second=10, most=400)


class Choosy(Duel):
    """Refuses who has waited too long, and lets nobody meet whose policy says no."""

    window = Window(start=30, per_second=5, most=200)
    hard = ("mode", "map")
    max_wait = 40.0

    def fits(self, one: Ticket, other: Ticket) -> bool:
        return (one.number + other.number) % 7 != 0


class Squads(MatchQueue):
    """Parties, in teams, who are asked."""

    teams = MappingProxyType({"red": 3, "blue": 3})
    window = Window(start=200, per_second=20, most=1000)
    hard = ("mode",)
    prefer = MappingProxyType({"map": 10.0})
    accept = 8.0


class Raid(MatchQueue):
    """Roles, and rooms that seek members."""

    teams = MappingProxyType({"red": 3, "blue": 3})
    roles = MappingProxyType({"tank": 1, "healer": 1})
    window = Window(start=300, per_second=30, most=1500)
    prefer_backfill = True


class Far(MatchQueue):
    """Regions; wider when it takes long."""

    most = 4
    window = Window(start=100, per_second=5, most=600)
    latency = Window(start=0.05, per_second=0.005, most=0.2)
    regions = ("eu", "us", "ap")
    max_wait, then = 20.0, "wider"
    accept = 5.0

    def score(self, one: Ticket, other: Ticket) -> float:
        return 5.0 if (one.number ^ other.number) & 1 else 0.0


class Shrinking(MatchQueue):
    """Smaller matches when it takes long, and rooms to come into."""

    least, most, multiple = 4, 8, 2
    teams = MappingProxyType({"red": 4, "blue": 4})
    window = Window(start=200, per_second=10, most=800)
    max_wait, then = 15.0, "smaller"


class Bots(MatchQueue):
    """Bots when it takes long, between teams of different sizes."""

    least = 2
    teams = MappingProxyType({"hunters": 4, "beast": 1})
    max_wait, then = 10.0, "bots"
    hard = ("mode",)
    accept = 6.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A policy, and who comes to it."""

    policy: type[MatchQueue]
    parties: tuple[int, ...] = (1,)
    """Sizes, each as likely as the others."""
    roles: tuple[tuple[str, ...], ...] = ((),)
    criteria: dict[str, tuple[object, ...]] = field(default_factory=dict[str, tuple[object, ...]])
    """What somebody may ask for of each; None: does not name it."""
    backfill: bool = False


_MODES = ("ctf", "dm", ["ctf", "dm"], None)
_MAPS = ("dust", "mill", ["dust", "mill"], ["mill", "pier", "dust"], None)

KINDS: dict[str, Kind] = {
    "duel": Kind(Duel),
    "choosy": Kind(Choosy, criteria={"mode": _MODES, "map": _MAPS}),
    "squads": Kind(Squads, parties=(1, 1, 2, 3), criteria={"mode": ("ctf", "dm"), "map": _MAPS}),
    "raid": Kind(Raid, parties=(1, 1, 2), roles=((), ("tank",), ("healer",), ("healer", "tank")), backfill=True),
    "far": Kind(Far, parties=(1, 1, 1, 2)),
    "shrinking": Kind(Shrinking, parties=(1, 1, 2), backfill=True),
    "bots": Kind(Bots, parties=(1, 1, 3), criteria={"mode": _MODES}, backfill=True),
}
