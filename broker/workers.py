"""The broker's table of workers: who serves, with which lease and which load.

    serving ──lose──▶ missing ──return──▶ serving
       │                 │
     expire            expire
       ▼                 ▼
      gone              gone

A worker is missing when its connection is lost: it has a moment to come back
before its rooms count as lost. The worker in the broker's own process is one
of them, without a lease.
"""

import logging
from collections.abc import Iterator
from enum import Enum
from typing import Protocol

from ..protocol.errors import ConfigError
from ..protocol.lifecycle import Table, step
from ..rooms.control import CloseRoom, Kick, Order
from ..rooms.registration import WorkerDescription
from .placement import Load, Placement, RoomNeeds, WorkerView

__all__ = ["LOCAL", "WORKER", "Desk", "WorkerEvent", "WorkerRecord", "WorkerState", "Workers"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".workers")

LOCAL = "local"
"""The name of the worker in the broker's own process."""


class WorkerState(Enum):
    """Where a worker is in its life, as the broker sees it."""

    SERVING = "serving"
    MISSING = "missing"
    GONE = "gone"


class WorkerEvent(Enum):
    """What happens to a worker."""

    LOSE = "lose"
    RETURN = "return"
    EXPIRE = "expire"


WORKER: Table[WorkerState, WorkerEvent] = {
    WorkerState.SERVING: {
        WorkerEvent.LOSE: WorkerState.MISSING,
        WorkerEvent.RETURN: WorkerState.SERVING,
        WorkerEvent.EXPIRE: WorkerState.GONE,
    },
    WorkerState.MISSING: {WorkerEvent.RETURN: WorkerState.SERVING, WorkerEvent.EXPIRE: WorkerState.GONE},
    WorkerState.GONE: {},
}


class Desk(Protocol):
    """Where orders for one worker go, while it is registered there."""

    def order(self, order: Order) -> None:
        """Have it done."""


class WorkerRecord:
    """One registration of one worker."""

    __slots__ = (
        "adopted",
        "description",
        "desk",
        "drain_until",
        "draining",
        "endpoint",
        "generation",
        "lease_until",
        "load",
        "name",
        "promised",
        "rooms",
        "since",
        "state",
        "taken",
        "to_go",
    )

    def __init__(
        self, name: str, generation: int, endpoint: str | None, description: WorkerDescription, desk: Desk, now: float
    ) -> None:
        self.name = name
        self.generation = generation
        self.endpoint = endpoint
        self.description = description
        self.desk: Desk | None = desk
        self.state = WorkerState.SERVING
        self.draining = False
        self.drain_until: float | None = None
        """When the drain that an administrator ordered is over."""
        self.adopted = False
        """It brought rooms along of a time that this broker knows nothing of."""
        self.since = now
        self.lease_until = float("inf")
        self.load = Load()
        self.rooms: dict[str, int] = {}
        """Its rooms, and how many seats are taken or held in each. See ``has`` and ``has_no_more``."""
        self.taken = 0
        """Seats that are taken or held in all of them: each new room looks at that, and there may be thousands."""
        self.promised: dict[int, int] = {}
        """Seats that it was asked for and has not answered, by the number of the question."""
        self.to_go: dict[tuple[str, str], CloseRoom | Kick] = {}
        """What it was ordered to end and has not reported as ended, by room and session; of rooms, without session."""

    def step(self, event: WorkerEvent) -> None:
        self.state = step(WORKER, self.state, event)

    @property
    def busy(self) -> bool:
        """Whether it has rooms, or soon will."""
        return bool(self.rooms or self.promised)

    def has(self, room: str, taken: int) -> None:
        """It has a room, with so many seats taken or held."""
        self.taken += taken - self.rooms.get(room, 0)
        self.rooms[room] = taken

    def has_no_more(self, room: str) -> None:
        """A room of its has ended, if it had it."""
        self.taken -= self.rooms.pop(room, 0)

    def is_gone(self, room: str, session: str = "") -> None:
        """A room has ended, or a session is in it no more: whatever was ordered about it is done."""
        if session:
            self.to_go.pop((room, session), None)
        else:
            for key in [key for key in self.to_go if key[0] == room]:
                del self.to_go[key]

    def order_again(self) -> None:
        """It has lost its connection, and has told by now what it has: what is to go still is ordered once more."""
        if self.desk is not None:
            for order in dict.fromkeys(self.to_go.values()):
                self.desk.order(order)

    def hosts(self, needs: RoomNeeds) -> bool:
        """Whether it could ever take such a room."""
        described = self.description
        known = needs.type is None or self.endpoint is None or needs.type in described.types
        return known and needs.requires <= frozenset(described.labels)

    def view(self) -> WorkerView:
        """What a policy sees of it."""
        return WorkerView(
            self.name,
            frozenset(self.description.labels),
            len(self.rooms) + len(self.promised),
            self.taken + sum(self.promised.values()),
            self.description.max_rooms,
            self.load,
        )

    def __repr__(self) -> str:
        return f"<WorkerRecord {self.name} {self.state.value} generation {self.generation}>"


class Workers:
    """All workers, by name.

    Args:
        policy: chooses among those that can take a room.
    """

    def __init__(self, policy: Placement) -> None:
        self.spares = False
        """Whether workers are started for isolated rooms: then these take no others."""
        self._policy = policy
        self._by_name: dict[str, WorkerRecord] = {}
        self.last_generation = 0
        self._alone: set[str] = set()
        """Workers whose one room has them for itself."""

    def __iter__(self) -> Iterator[WorkerRecord]:
        return iter(list(self._by_name.values()))

    def get(self, name: str) -> WorkerRecord | None:
        """The worker of this name, unless it is gone."""
        return self._by_name.get(name)

    def next_generation(self, at_least: int) -> int:
        """A number that no registration had before."""
        self.last_generation = max(self.last_generation, at_least) + 1
        return self.last_generation

    def add(self, record: WorkerRecord) -> None:
        """A worker serves."""
        self._by_name[record.name] = record

    def remove(self, record: WorkerRecord) -> None:
        """A worker is gone."""
        record.step(WorkerEvent.EXPIRE)
        record.desk = None
        self._alone.discard(record.name)
        if self._by_name.get(record.name) is record:
            del self._by_name[record.name]

    def hosts(self, needs: RoomNeeds) -> list[WorkerRecord]:
        """Those that could ever take such a room."""
        return [record for record in self if record.hosts(needs)]

    def is_full(self, record: WorkerRecord) -> bool:
        """Whether it takes no more rooms now, and not only for a moment."""
        return record.draining or len(record.rooms) + len(record.promised) >= record.description.max_rooms

    def place(self, needs: RoomNeeds) -> WorkerRecord | None:
        """The worker for a new room, if there is one now."""
        free = {record.name: record for record in self.hosts(needs) if self._can_take(record, needs)}
        if not free:
            return None
        chosen = self._choose([record.view() for record in free.values()], needs)
        if chosen is None:
            return None
        if needs.isolated:
            self.keep_alone(free[chosen.name])
        return free[chosen.name]

    def keep_alone(self, record: WorkerRecord) -> None:
        """A worker has an isolated room: it gets no other as long as it has this one."""
        self._alone.add(record.name)

    def _choose(self, views: list[WorkerView], needs: RoomNeeds) -> WorkerView | None:
        try:
            chosen = self._policy.choose(views, needs)
            if chosen is not None and chosen not in views:
                raise ConfigError(
                    f"{type(self._policy).__name__}.choose returned {chosen!r:.80}, which was not offered"
                )
        except Exception:
            logger.exception("the placement policy failed; the least loaded worker is taken")
            return Placement().choose(views, needs)
        return chosen

    def _can_take(self, record: WorkerRecord, needs: RoomNeeds) -> bool:
        if record.state is not WorkerState.SERVING or self.is_full(record):
            return False
        if record.load.lag > self._policy.most_lag and record.name != LOCAL:  # there, nobody else could take it
            return False
        if not record.busy:
            self._alone.discard(record.name)
        if needs.isolated:
            return not record.busy and record.name != LOCAL and (record.description.isolated or not self.spares)
        return record.name not in self._alone and not record.description.isolated
