"""What must hold after every event of a run, looked at as often as it costs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from server_room_system import AsyncClient
from server_room_system.broker.workers import WorkerRecord
from server_room_system.rooms.registration import RegistrationState
from server_room_system.rooms.runner import Runner
from server_room_system.rooms.seats import SeatState
from server_room_system.rooms.worker import Worker
from server_room_system.testing import InMemorySystem, Process, VirtualLoop

from .ledger import Ledger

__all__ = ["Broken", "Watch"]

_EVERY = 50
"""Events from one look at everything to the next. What is read and applied is checked as it happens."""
_MOST_FRAMES = 256 + 8
_MOST_UNSAID = 256 + 1
_MOST_IN_INBOX = 4096 + 2048
"""One bundle may go over the inbox."""
_MOST_EVENTS = 8192
"""Events that wait in a mailbox."""
_MOST_EVENTS_OF_A_RUN = 300_000
"""Ten times what is usual."""
_LATE = 1.0
"""Seconds by which what has a deadline may be late: timers of one turn, and who has just been woken."""
_TAKING_LEAVE = 3.0
"""Seconds that a room's hooks take at most until ``on_leave`` has its turn."""
_GRACE = {"Pair": 3.0}
_LONGEST_GRACE = 6.0
_LONGEST_SEATING = 8.0 + 30.0
"""Seconds that workers may have to hold seats."""
_TAKEN = (SeatState.RESERVED, SeatState.JOINED, SeatState.DROPPED)


class Broken(AssertionError):
    """Something is as it must not be: the run ends with this event."""


class Someone(Protocol):
    """A player, as far as it is watched."""

    client: AsyncClient | None


class Watch:
    """Looks after every event.

    Args:
        loop: whose events.
        system: what is looked at.
        ledger: where mistakes go; the first one ends the run.
        players: whose clients are looked at.
        awake: since when each process runs that was frozen; inf: it still is.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        system: InMemorySystem,
        ledger: Ledger,
        players: Sequence[Someone],
        awake: Mapping[Process, float],
    ) -> None:
        self._loop = loop
        self._system = system
        self._ledger = ledger
        self._players = players
        self._next = 0
        self._awake = awake
        self._followed: object = None

    def look(self) -> None:
        """After an event. Raises Broken."""
        if self._ledger.mistakes:
            self._loop.on_event = None
            self._ledger.closed = True
            raise Broken(self._ledger.mistakes[0])
        if self._loop.events >= self._next:
            self._next = self._loop.events + _EVERY
            self._check_everything()

    def _check_everything(self) -> None:
        if self._loop.events > _MOST_EVENTS_OF_A_RUN:
            self._wrong(f"there is no end: {self._loop.events} events")
        if self._system.broker_runs:
            self._follow_the_broker()
        self._check_rooms()
        self._check_queues()
        self._check_tickets()
        self._check_ghosts()

    def _wrong(self, what: str) -> None:
        self._ledger.mistake(what)

    def _is_awake(self, process: Process | None) -> bool:
        """Whether it has run for a while, so that nothing of it is late."""
        return process is None or self._loop.time() - self._awake.get(process, -_LATE) >= _LATE

    # Who owns a room.

    def _workers(self) -> Iterator[tuple[str, Worker]]:
        if self._system.broker_runs:
            yield "broker", self._system.host.worker
        for name, host in self._system.workers.items():
            yield name, host.worker

    def _check_rooms(self) -> None:
        owners: dict[str, str] = {}
        for name, worker in self._workers():
            for room, runner in worker.rooms.items():
                other = owners.setdefault(room, name)
                if other != name and self._has_lease(name) and self._has_lease(other):
                    self._wrong(f"room {room} is on {other} and on {name}")
                self._check_seats(runner)

    def _has_lease(self, name: str) -> bool:
        host = self._system.workers.get(name)
        if host is None:
            return True
        registration = host.registration
        return registration.state is RegistrationState.SERVING and self._loop.time() < registration._lease_until

    def _check_seats(self, runner: Runner) -> None:
        seats = runner.seats
        taken = sum(seat.state in _TAKEN for seat in seats)
        if taken > seats.capacity:
            self._wrong(f"{taken} seats of {seats.capacity} are taken in {runner.id}")
        for member in runner.members.values():
            connection: Any = member.connection
            if connection is not None and connection.refs.get(member.ref) is not member:
                self._wrong(f"client {member.id} is shown as connected in {runner.id}, and is not")

    def _follow_the_broker(self) -> None:
        broker = self._system.host.broker
        if self._followed is broker:
            return
        self._followed = broker
        gone = broker.worker_gone

        def worker_gone(record: WorkerRecord) -> None:
            self._check_lease(record)
            gone(record)

        broker.worker_gone = worker_gone  # type: ignore[method-assign]  # to hear of it

    def _check_lease(self, record: WorkerRecord) -> None:
        host = self._system.workers.get(record.name)
        if host is None or host.registration.generation != record.generation or record.desk is None:
            return  # dead, or with a new registration; or its connection was lost, which is no silence
        if host.registration.state is RegistrationState.SERVING and self._has_lease(record.name):
            self._wrong(f"the broker gives the rooms of {record.name} up, and its lease is not over")

    # What waits.

    def _check_queues(self) -> None:
        network = self._system.network
        for wire in network.standing:
            if wire.queued > _MOST_FRAMES:
                self._wrong(f"{wire.queued} frames are on a connection")
        for name, worker in self._workers():
            for connection in worker._port:
                unsent = len(connection._unsent or ())
                if unsent > _MOST_UNSAID:
                    self._wrong(f"{unsent} messages wait for a client of {name}")
            for runner in worker.rooms.values():
                size, most = runner.fanout.history.size, runner.room.history.size
                if len(runner.mailbox) > _MOST_EVENTS or size > most:
                    self._wrong(f"{len(runner.mailbox)} events wait in {runner.id}, {size} bytes are in its history")
        for player in self._players:
            if player.client is not None and not player.client.closed:
                self._check_client(player.client)

    def _check_client(self, client: AsyncClient) -> None:
        core = client._shell.core
        for contact in (core.broker, *core.workers.values()):
            if len(contact._unsaid) > _MOST_UNSAID:
                self._wrong(f"client {client.id} has {len(contact._unsaid)} messages to say")
        for membership in core._memberships:
            if membership.unacked > core.limits.unacked or len(membership.inbox) > _MOST_IN_INBOX:
                self._wrong(f"client {client.id}: {membership.unacked} unacknowledged, {len(membership.inbox)} unread")

    # What has a deadline.

    def _check_tickets(self) -> None:
        if not self._system.broker_runs or not self._is_awake(self._system.process("broker")):
            return
        now, queues = self._loop.time(), self._system.host.broker.queues
        for queue in (*queues._queues.values(), queues._aside):
            for ticket in queue.values():
                if ticket.deadline < now - _LATE:
                    self._wrong(f"ticket {ticket.number} waits {now - ticket.deadline:.1f} s after its deadline")
        for entries in self._system.host.broker.tickets._entries._of.values():
            for entry in entries:
                seating = entry.proposal is not None and entry.proposal.seating
                if entry.deadline < now - _LATE - (_LONGEST_SEATING if seating else 0.0):
                    self._wrong(f"an entry to {entry.queue} is {now - entry.deadline:.1f} s past its deadline")

    def _check_ghosts(self) -> None:
        now = self._loop.time()
        for stream in self._ledger.streams.values():
            if not stream.present:
                continue
            awake = self._is_awake(stream.process)
            for visit in stream.present.values():
                if visit.dropped is None:
                    continue
                if not awake:
                    visit.dropped = now  # it may have come back meanwhile, unheard: it is waited for as long again
                elif now - visit.dropped > _LONGEST_GRACE + _TAKING_LEAVE + _LATE:
                    self._wrong(f"visit {visit.number} is a ghost in {stream.room} since {visit.dropped:.1f} s")
