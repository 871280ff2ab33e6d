"""Broker and workers wired mouth to ear: whatever is lost, stands still or dies, no room has two owners.

Both ends decide for themselves here: ``Registrar`` with its ``Broker``, and one ``Registration`` for each worker.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server_room_system import RuleSet
from server_room_system.protocol import (
    Create,
    JoinById,
)

from .cluster_world import NAMES, SEATS, Client, Process, World

pauses = st.sampled_from([0.0, 1.0, 4.0, 10.0])


class ClusterMachine(RuleBasedStateMachine):
    """Losses, silences, stops, deaths of broker and workers, in any order."""

    @initialize(seed=st.integers(0, 2**32))
    def open(self, seed: int) -> None:
        self.world = World(seed)
        self.world.advance(0.5)
        for _ in range(4):
            self.world.come()
        self.everybody_plays()

    @rule()
    def everybody_plays(self) -> None:
        """Two by two, in rooms of their own."""
        self.everybody_resumes()
        for client in self.world.clients:
            self.ask_for_room(client)
        for client in self.world.clients[::2]:
            rooms = sorted(room for process in self.world.processes.values() for room in process.rooms)
            self.ask_for_seat(client, rooms[0] if rooms else "")

    def ask_for_room(self, client: Client) -> None:
        client.asks += 1
        ruleset = RuleSet(SEATS, room="duel").to_wire()
        self.world.say(client, Create(client.welcome.ref, client.asks, ruleset, {}))
        self.take_seats(client)

    def ask_for_seat(self, client: Client, room: str) -> None:
        client.asks += 1
        self.world.say(client, JoinById(client.welcome.ref, client.asks, room, {}))
        self.take_seats(client)

    def take_seats(self, client: Client) -> None:
        self.world.step()
        for room in sorted(client.seats):
            self.world.join(client, room)
        self.world.step()

    def process(self, data: st.DataObject) -> Process:
        return self.world.processes[data.draw(st.sampled_from(NAMES))]

    # What clients do.

    @rule(data=st.data())
    def create(self, data: st.DataObject) -> None:
        self.ask_for_room(data.draw(st.sampled_from(self.world.clients)))

    @rule(data=st.data())
    def join_by_id(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.world.clients))
        rooms = sorted(room for process in self.world.processes.values() for room in process.rooms)
        if rooms:
            self.ask_for_seat(client, data.draw(st.sampled_from(rooms)))

    @precondition(lambda self: any(client.seats for client in self.world.clients))
    @rule(data=st.data())
    def join(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from([one for one in self.world.clients if one.seats]))
        self.world.join(client, data.draw(st.sampled_from(sorted(client.seats))))

    @rule(data=st.data())
    def room_ends(self, data: st.DataObject) -> None:
        process = self.process(data)
        if process.rooms and not process.stopped:
            process.close(data.draw(st.sampled_from(sorted(process.rooms))))

    @rule()
    def everybody_resumes(self) -> None:
        for client in self.world.clients:
            self.world.resume(client)

    # What goes wrong.

    @rule(seconds=st.sampled_from([0.05, 0.3, 0.5, 1.0, 3.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.3, 2.0, 8.0]))
    def connection_is_lost(self, data: st.DataObject, seconds: float) -> None:
        """For so long; meanwhile rooms end and members leave, and nobody hears of it."""
        process = self.process(data)
        wire = process.wire
        if wire is None or wire.held or process.stopped or self.world.side.stopped:
            return
        wire.closed_by_worker = True
        process.wire = None
        process.registration.down(self.world.now)
        process.dial_at = self.world.now + seconds
        for room in [room for room in sorted(process.rooms) if data.draw(st.booleans())]:
            process.close(room)
        for room, members in process.rooms.items():
            leaves = data.draw(st.booleans())
            if members and leaves:
                session, _ = members.popitem()
                self.world.told_left[session, room] += 1
        self.world.advance(seconds + 0.3)

    @rule(data=st.data(), seconds=pauses)
    def connection_falls_silent(self, data: st.DataObject, seconds: float) -> None:
        wire = self.process(data).wire
        if wire is not None:
            wire.held = True
            self.world.advance(seconds)

    @rule()
    def silence_ends(self) -> None:
        for wire in self.world.side.wires:
            wire.held = False

    @rule(data=st.data(), seconds=pauses, goes_on=st.booleans())
    def worker_stands_still(self, data: st.DataObject, seconds: float, goes_on: bool) -> None:
        process = self.process(data)
        process.stopped = True
        self.world.advance(seconds)
        process.stopped = not goes_on

    @rule()
    def workers_go_on(self) -> None:
        for process in self.world.processes.values():
            process.stopped = False

    @rule(data=st.data())
    def worker_is_killed(self, data: st.DataObject) -> None:
        self.world.restart(self.process(data))

    @rule(seconds=pauses, goes_on=st.booleans())
    def broker_stands_still(self, seconds: float, goes_on: bool) -> None:
        self.world.side.stopped = True
        self.world.advance(seconds)
        self.world.side.stopped = not goes_on

    @rule()
    def broker_goes_on(self) -> None:
        self.world.side.stopped = False

    @rule()
    def broker_is_killed(self) -> None:
        self.world.restart_broker()
        self.world.advance(0.05)

    # What is always true.

    @invariant()
    def no_room_has_two_owners(self) -> None:
        rooms = [room for process in self.world.processes.values() for room in process.rooms]
        assert len(rooms) == len(set(rooms))

    @invariant()
    def a_room_that_was_given_up_does_not_come_back(self) -> None:
        world = self.world
        assert not world.buried & {entry.report.room for entry in world.side.broker.directory}

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.side.stopped = False
        for process in world.processes.values():
            process.stopped = False
        for wire in world.side.wires:
            wire.held = False
        world.advance(1.0)
        self.everybody_resumes()
        world.advance(14.0)
        directory = {entry.report.room: entry for entry in world.side.broker.directory}
        hosted = {room: process for process in world.processes.values() for room in process.rooms}
        assert all(process.is_serving for process in world.processes.values())
        assert directory.keys() == hosted.keys()
        for room, entry in directory.items():
            assert entry.worker.name == hosted[room].name
            assert entry.worker.generation == hosted[room].registration.generation
            assert entry.sessions == set(hosted[room].rooms[room])
        for session in world.side.broker.sessions:
            assert session.rooms == {room for room, process in hosted.items() if session.session in process.rooms[room]}
        for client in world.clients:
            for room, life in client.rooms.items():
                if room in hosted or client.over or life != world.life or not client.caller.refs:
                    continue
                told = client.lost[room] + world.told_left[client.session, room]
                assert told >= 1, "nobody said that the room is over"


TestCluster = ClusterMachine.TestCase
TestCluster.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
