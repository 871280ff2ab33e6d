"""The system in memory, as users test their rooms with it."""

import asyncio
import doctest
import textwrap
from typing import Any

import pytest

from server_room_system import (
    AsyncClient,
    BrokerUnreachable,
    Code,
    ConfigError,
    GraceExpired,
    Limits,
    Member,
    NotInRoomError,
    Room,
    RuleSet,
    Server,
    ServerStopping,
    SessionUnknown,
    testing,
)
from server_room_system.testing import run, system


class Diary(Room):
    """Writes down what happens to its members, and when."""

    max_clients = 2
    min_clients = 0
    reconnect_grace = 10.0

    def __init__(self, ruleset: RuleSet | None = None) -> None:
        super().__init__(ruleset)
        self.events: list[tuple[str, float]] = []

    def note(self, what: str) -> None:
        self.events.append((what, round(asyncio.get_running_loop().time(), 1)))

    def on_drop(self, client: Member) -> None:
        self.note("drop")

    def on_reconnect(self, client: Member) -> None:
        self.note("reconnect")

    def on_leave(self, client: Member, reason: Code) -> None:
        self.note(reason.name)

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> None:
        self.broadcast(protocol, data)


QUICK = Limits(ping_interval=1.0, ping_timeout=3.0)


def diary_of(s: testing.InMemorySystem) -> Diary:
    (room,) = s.rooms
    assert isinstance(room, Diary)
    return room


def test_the_example_in_the_documentation_runs() -> None:
    example = textwrap.dedent((testing.__doc__ or "").partition("::\n")[2])
    names: dict[str, Any] = {}
    exec(compile(example, "the example of server_room_system.testing", "exec"), names)
    tests = [name for name in names if name.startswith("test_")]
    assert len(tests) == 1
    names[tests[0]]()


def test_clients_meet_in_a_room_and_the_room_is_at_hand() -> None:
    async def play() -> None:
        async with system(Server(rooms={"diary": Diary})) as s:
            ann, bob = await s.client(), await s.client()
            at_ann, at_bob = await asyncio.gather(ann.match(RuleSet(2)), bob.match(RuleSet(2)))
            assert s.room(at_ann.id) is diary_of(s)
            await at_ann.send("said", "hello")
            messages = [await at_bob.receive(), await at_bob.receive()]
            assert [message.data for message in messages] == ["room ready!", "hello"]
            with pytest.raises(ConfigError, match="no room has the id"):
                s.room("another")
            before = s.now
            await s.sleep(100)
            assert s.now == before + 100

    run(play)


def test_a_dropped_client_comes_back_by_itself() -> None:
    async def play() -> None:
        async with system(Server(rooms={"diary": Diary})) as s:
            client = await s.client()
            room = await client.create(RuleSet(1))
            s.drop(client)
            await s.sleep(2)
            assert room.connected
            assert [event for event, _ in diary_of(s).events] == ["drop", "reconnect"]

    run(play)


def test_an_unplugged_client_stays_away_until_it_is_plugged_in_again() -> None:
    async def play() -> None:
        async with system(Server(rooms={"diary": Diary})) as s:
            client = await s.client()
            room = await client.create(RuleSet(1))
            s.unplug(client)
            await s.sleep(5)
            assert not client.connected
            assert room.joined
            s.plug(client)
            await s.sleep(5)
            assert client.connected
            s.unplug(client)
            await s.sleep(20)
            s.plug(client)
            with pytest.raises(NotInRoomError):
                await room.receive(timeout=20)
            assert not room.joined
            assert client.connected  # the session outlives the seat
            assert [event for event, _ in diary_of(s).events] == ["drop", "reconnect", "drop", "GRACE_EXPIRED"]

    async def play_for_longer() -> None:
        async with system(Server(rooms={"diary": Diary})) as s:
            client = await s.client(reconnect_timeout=100)
            s.unplug(client)
            await s.sleep(60)
            s.plug(client)
            await s.sleep(10)
            assert isinstance(client.error, SessionUnknown)
            other = await s.client(reconnect_timeout=20)
            s.unplug(other)
            await s.sleep(60)
            assert isinstance(other.error, BrokerUnreachable)

    run(play)
    run(play_for_longer)
    assert GraceExpired.code == Code.GRACE_EXPIRED


def test_unplugging_while_connecting_is_in_time() -> None:
    async def play() -> None:
        async with system(Server(rooms={"diary": Diary}), latency=(0.1, 0.1)) as s:
            client = await s.client()
            s.drop(client)
            while client.connected:
                await s.sleep(0.01)
            await s.sleep(0.3)  # it is dialing, or about to
            s.unplug(client)
            await s.sleep(5)
            assert not client.connected
            s.plug(client)
            await s.sleep(10)
            assert client.connected

    for seed in range(10):
        run(play, seed=seed)


def test_a_stalled_connection_is_found_out_by_both_sides() -> None:
    async def play() -> None:
        async with system(Server(rooms={"diary": Diary}, limits=QUICK)) as s:
            client = await s.client()
            room = await client.create(RuleSet(1))
            began = s.now
            s.stall(client)
            await s.sleep(1)
            assert room.connected  # nobody can know
            await s.sleep(9)
            assert room.connected
            (drop, dropped), (back, _) = diary_of(s).events
            assert (drop, back) == ("drop", "reconnect")
            assert 2.0 < dropped - began < 6.0

    run(play)


def test_a_server_can_be_stopped_while_clients_are_there() -> None:
    async def play() -> None:
        async with system(Server(rooms={"diary": Diary})) as s:
            client = await s.client()
            await client.create(RuleSet(1))
            diary = diary_of(s)
            await s.stop()
            await s.sleep(1)
            assert isinstance(client.error, ServerStopping)
            assert [event for event, _ in diary.events] == ["SERVER_STOPPING"]

    run(play)


def test_nothing_is_left_of_a_system() -> None:
    async def play() -> None:
        async with system(Server(rooms={"diary": Diary})) as s:
            clients = [await s.client() for _ in range(3)]
            await asyncio.gather(*(client.create(RuleSet(1)) for client in clients))
            assert s.network.connections == 3
        assert s.network.connections == 0
        assert s.rooms == []
        assert all(client.closed for client in clients)
        assert len(asyncio.all_tasks()) == 1

    run(play)


def test_a_client_of_somebody_else_is_refused() -> None:
    async def play() -> None:
        async with system(Server(rooms={"diary": Diary})) as s, AsyncClient(s.host.address, network=s.network) as alien:
            for fault in (s.drop, s.stall, s.unplug, s.plug):
                with pytest.raises(ConfigError, match=r"make it with client\(\)"):
                    fault(alien)

    run(play)


def test_one_seed_is_one_course_of_events() -> None:
    async def play() -> list[Any]:
        async with system(Server(rooms={"diary": Diary})) as s:
            clients = [await s.client() for _ in range(2)]
            rooms = await asyncio.gather(*(client.match(RuleSet(2)) for client in clients))
            for number in range(20):
                await rooms[number % 2].send("said", number)
                if number == 10:
                    s.drop(clients[0])
            await s.sleep(5)
            return [rooms[0].id, s.now, [await rooms[0].receive() for _ in range(20)], diary_of(s).events]

    assert run(play, seed=1) == run(play, seed=1)
    assert run(play, seed=1)[0] != run(play, seed=2)[0]


def test_the_system_runs_on_a_real_clock_as_well() -> None:
    async def play() -> None:
        async with system(Server(rooms={"diary": Diary}), seed=3) as s:
            room = await (await s.client()).create(RuleSet(1))
            await room.send("said", 1, ack=True)

    asyncio.run(play())


def test_docstrings_have_no_other_examples_that_nobody_runs() -> None:
    for name in testing.__all__:
        assert not doctest.DocTestParser().get_examples(getattr(testing, name).__doc__ or "")
