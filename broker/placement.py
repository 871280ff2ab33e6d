"""Placement: which worker a new room goes to. The policy that users may replace."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Load", "Placement", "RoomNeeds", "WorkerView"]


@dataclass(frozen=True, slots=True)
class RoomNeeds:
    """What a room asks of its worker."""

    type: str | None
    """The room type's name; None: whatever ``create_room`` makes of the ruleset."""
    requires: frozenset[str] = frozenset()
    """Labels that the worker must have."""
    isolated: bool = False
    """It gets a worker for itself."""
    seats: int | None = None
    """How many members it takes; None: as many as its ruleset asks for."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a worker said last of how much it has to do."""

    lag: float = 0.0
    """Seconds that its event loop is late."""
    cpu: float = 0.0
    """Share of one core, 0 to 1 for a worker that runs on one."""
    rss: int = 0
    """Bytes of memory."""
    messages: float = 0.0
    """Messages received from clients a second."""

    @classmethod
    def from_wire(cls, said: dict[str, Any]) -> "Load":
        """Read the map of a RENEW; what is missing or no number counts as 0."""

        def number(name: str) -> float:
            value = said.get(name)
            return float(value) if isinstance(value, (int, float)) and 0 <= value < 1e15 else 0.0

        return cls(number("lag"), number("cpu"), int(number("rss")), number("messages"))


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker, as a policy sees it."""

    name: str
    labels: frozenset[str]
    rooms: int
    """Rooms that it hosts, or was asked to make."""
    seats: int
    """Seats that are taken or held in them."""
    max_rooms: int
    load: Load = field(default_factory=Load)


class Placement:
    """Chooses the least loaded worker: fewest seats, then fewest rooms, then the least CPU.

    Subclass it, override ``choose``, and give it to ``Server(placement=...)``.
    It runs in the broker's process, on its loop.
    """

    most_lag: float = 0.25
    """Seconds that a worker's loop may be late and still get new rooms."""

    def choose(self, workers: Sequence[WorkerView], needs: RoomNeeds) -> WorkerView | None:
        """The worker for one more room.

        Args:
            workers: those that can take it: they host its type, have the labels
                that it requires, are not full, draining or lagging. At least one.
            needs: what the room asks for.

        Returns:
            One of ``workers``. None leaves the room waiting until something
            changes, eight seconds at most.
        """
        return min(workers, key=lambda worker: (worker.seats, worker.rooms, worker.load.cpu, worker.name))
