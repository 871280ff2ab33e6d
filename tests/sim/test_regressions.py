"""What the simulation has found, each as small as it can be."""

import asyncio
from typing import Any

import pytest

from server_room_system import (
    AlreadyWaiting,
    ClientData,
    Code,
    ConfigError,
    Limits,
    Member,
    NotInRoomError,
    RateLimited,
    Room,
    RuleSet,
    Server,
    ServerRoomError,
    WorkerLost,
    on_message,
)
from server_room_system.broker import cluster
from server_room_system.broker.supervision import Supervisor
from server_room_system.testing import run, system
from server_room_system.transport import Link, LinkSink

QUICK = Limits(ping_interval=1.0, ping_timeout=3.0)


class Parrot(Room):
    """Says numbers, one each turn, as it is told."""

    max_clients = 4
    min_clients = 0
    message_rate: float | None = None

    @on_message("broadcast")
    def to_all(self, client: Member, data: int) -> None:
        self.broadcast("number", data)

    @on_message("direct")
    def to_one(self, client: Member, data: int) -> None:
        client.send("number", data)


def test_broadcasts_do_not_overtake_direct_messages_that_a_full_inbox_left_out() -> None:
    async def play() -> None:
        async with system(Server(rooms={"parrot": Parrot})) as s:
            client = await s.client(inbox=4)
            room = await client.create(RuleSet(1))
            for number in range(4):
                await room.send("broadcast", number, ack=True)
            await room.send("direct", 4, ack=True)  # left out
            assert (await room.receive()).data == 0
            await room.send("broadcast", 5, ack=True)  # there would be space for this one
            assert [(await room.receive()).data for _ in range(5)] == [1, 2, 3, 4, 5]

    run(play)


def test_a_room_is_disposed_after_everybody_has_left_however_long_on_leave_takes() -> None:
    events: list[str] = []

    class Slow(Room):
        max_clients = 3

        def handle_response(self, protocol: str, data: Any, sender: Member, client_data: ClientData) -> None:
            self.close()

        async def on_leave(self, client: Member, reason: Code) -> None:
            await asyncio.sleep(0.1)
            events.append("leave")

        def on_dispose(self) -> None:
            events.append("dispose")

    async def play() -> None:
        async with system(Server(rooms={"slow": Slow})) as s:
            clients = [await s.client() for _ in range(3)]
            rooms = await asyncio.gather(*(client.match(RuleSet(3)) for client in clients))
            await rooms[0].send("close")
            await s.sleep(2)

    run(play)
    assert events == ["leave", "leave", "leave", "dispose"]


def test_a_member_who_only_listens_stays_connected() -> None:
    drops: list[int] = []

    class Ticking(Room):
        tick_rate = 2.0

        def on_tick(self, dt: float) -> None:
            self.broadcast("tick")

        def on_drop(self, client: Member) -> None:
            drops.append(client.id)

    async def play() -> None:
        async with system(Server(rooms={"ticking": Ticking})) as s:
            room = await (await s.client()).create(RuleSet(1))
            await s.sleep(60)
            assert room.connected

    run(play)
    assert drops == []


def test_requests_that_meet_a_full_queue_are_made_when_it_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        async with system(Server(rooms={"parrot": Parrot})) as s:
            client = await s.client()
            rooms = [await client.create(RuleSet(1)) for _ in range(8)]
            s.network.mark = 4
            s.drop(client)  # afterwards it recovers eight rooms at once
            await s.sleep(5)
            for room in rooms:
                await room.send("broadcast", 1, ack=True)
                assert (await room.receive()).data == 1
            for room in rooms:
                for _ in range(10):
                    await room.send("direct", 2)
            await asyncio.gather(*(room.leave() for room in rooms))

    run(play)


def test_a_refusal_is_not_lost_with_the_connection_that_it_was_said_on() -> None:
    class Strict(Parrot):
        message_rate = 0.01
        message_burst = 1

    async def play() -> None:
        async with system(Server(rooms={"strict": Strict}, limits=QUICK), latency=(0.1, 0.1)) as s:
            client = await s.client()
            room = await client.create(RuleSet(1))
            await room.send("broadcast", 1, ack=True)
            too_fast = asyncio.ensure_future(room.send("broadcast", 2, ack=True))
            await s.sleep(0.15)
            s.stall(client)  # the refusal is on its way
            with pytest.raises(RateLimited):
                await too_fast

    run(play)


def test_what_waits_behind_a_hook_is_not_taken_for_applied_when_the_client_comes_back() -> None:
    applied: list[int] = []

    class Slow(Room):
        async def handle_response(self, protocol: str, data: Any, sender: Member, client_data: ClientData) -> None:
            sender.kick()
            await asyncio.sleep(5)
            applied.append(data)

    async def play() -> None:
        async with system(Server(rooms={"slow": Slow})) as s:
            client = await s.client()
            room = await client.create(RuleSet(1))
            await room.send("message", 1)
            await s.sleep(0.1)
            second = asyncio.ensure_future(room.send("message", 2, ack=True))
            await s.sleep(0.1)
            s.drop(client)
            with pytest.raises(NotInRoomError):  # it was kicked before its second message had its turn
                await second

    run(play)
    assert applied == [1]


def test_nobody_has_two_seats_in_a_room() -> None:
    async def play() -> None:
        async with system(Server(rooms={"parrot": Parrot})) as s:
            client = await s.client()
            room = await client.create(RuleSet(1))
            with pytest.raises(ServerRoomError):
                await client.join_by_id(room.id)
            await room.send("broadcast", 1, ack=True)
            assert (await room.receive()).data == 1
            await room.leave()
            with pytest.raises(NotInRoomError):
                await room.receive()

    run(play)


def test_what_a_full_inbox_left_out_is_read_before_the_end_of_the_room() -> None:
    async def play() -> None:
        async with system(Server(rooms={"parrot": Parrot})) as s:
            client = await s.client(inbox=2)
            room = await client.create(RuleSet(1))
            for number in range(6):
                await room.send("broadcast", number, ack=True)
            s.room(room.id).close()
            await s.sleep(1)
            heard = [message.data async for message in room]
            assert heard == list(range(6))

    run(play)


@pytest.mark.parametrize("seed", range(20))
def test_entering_a_second_room_at_once_does_not_cost_the_first(seed: int) -> None:
    # The broker may hear of the second wish before the first room's worker has told it that the seat was taken.
    async def play() -> None:
        async with system(Server(rooms={"parrot": Parrot}), workers=2) as s:
            client = await s.client()
            rooms = [await client.create(RuleSet(1, room="parrot")) for _ in range(4)]
            await s.sleep(1.0)
            assert [room.error for room in rooms if not room.joined] == []

    run(play, seed=seed)


class Labelled(Room):
    """Shows more in lists than a client may send."""

    max_clients = 4

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        self.metadata = {f"label {number}": number for number in range(300)}


def test_what_a_worker_reports_is_not_lost_for_metadata_of_many_keys() -> None:
    """Its broker dropped it, and what other rooms had reported in the same turn: seats and ends."""

    async def play() -> None:
        async with system(Server(rooms={"labelled": Labelled}), workers=1) as s:
            one, two = await s.client(), await s.client()
            room = await one.create(RuleSet(2, room="labelled"))
            await two.join_by_id(room.id, timeout=2)
            await s.sleep(0.1)
            (listed,) = await one.rooms()
            assert (listed["clients"], len(listed["metadata"])) == (2, 300)

    run(play)


def test_workers_that_all_come_at_once_are_all_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that was started anew refused all but the first 64 of them for good."""
    monkeypatch.setattr(cluster, "_MOST_PROBES", 2)

    async def play() -> None:
        async with system(Server(rooms={"labelled": Labelled}), workers=0) as s:
            await asyncio.gather(*(s.add_worker(f"w{number}") for number in range(7)))
            assert len(s.workers) == 7

    run(play)


def test_a_worker_that_could_not_dial_its_broker_tries_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Out of descriptors for a moment, it never dialed again, and its rooms were lost."""

    async def play() -> None:
        async with system(Server(rooms={"parrot": Parrot}), workers=1) as s:
            worker, connect, failures = s.workers["w1"], s.network.connect, iter(range(3))

            def refuse(address: str, sink: LinkSink, *rest: Any) -> Link:
                if address == s.host.worker_address and next(failures, None) is not None:
                    raise ConfigError("no more sockets can be made")
                return connect(address, sink, *rest)

            monkeypatch.setattr(s.network, "connect", refuse)
            worker.hang_up()
            worker.down("the test wants it so")
            worker.receive(bytes(5000))
            assert not worker.registered
            await s.sleep(5.0)
            assert worker.registered

    run(play)
    assert caplog.text.count("can't dial the broker") == 3
    assert "5000 bytes from who has not proved that it is the broker" in caplog.text


class Stranger:
    """Somebody who found the workers' address."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def up(self) -> None: ...

    def receive(self, frame: bytes) -> None:
        self.frames.append(frame)

    def down(self, reason: str) -> None: ...


def test_what_a_stranger_says_at_length_at_the_workers_address_is_not_even_decoded() -> None:
    """4 MiB of empty lists held the broker up for more than 3 s."""

    async def play() -> None:
        async with system(Server(rooms={"parrot": Parrot}), workers=1) as s:
            stranger = Stranger()
            link = s.network.connect(s.host.worker_address or "", stranger, 1 << 20)
            await s.sleep(0.1)
            link.send(bytes([0xDD, 0, 1, 0, 0]) + bytes([0x90]) * (1 << 16))
            await s.sleep(0.1)
            (answer,) = stranger.frames
            assert b"65541 bytes are over the limit of 16384 for requests" in answer
            link.close()

    run(play)


class Nowhere:
    """A launcher that starts nothing."""

    def launch(self, name: str, isolated: bool) -> None: ...

    def terminate(self, name: str) -> None: ...

    def kill(self, name: str) -> None: ...

    def alive(self, name: str, now: float) -> None: ...

    async def close(self, within: float) -> None: ...


def test_a_launched_process_that_was_refused_takes_no_rooms_with_it() -> None:
    """A worker of the broker before had its name, and came a little late: when the other ended, its rooms were lost."""

    async def play() -> None:
        async with system(Server(rooms={"parrot": Parrot}), workers=0) as s:
            kept = s.host._cluster
            assert kept is not None
            kept._launcher = Nowhere()
            kept._supervisor = Supervisor(1, kept.now, kept._launcher, lambda: 0.5)
            kept._supervise()
            await s.add_worker("w1")
            client = await s.client()
            room = await client.create(RuleSet(1, room="parrot"))
            kept._process_ended("w1", 2)
            await s.sleep(1.0)
            assert room.joined
            kept._launcher = kept._supervisor = None

    run(play)


def test_who_joins_while_the_worker_drains_is_told_as_well() -> None:
    async def play() -> None:
        async with system(Server(rooms={"parrot": Parrot}), workers=1) as s:
            early, late = await s.client(), await s.client()
            room = await early.create(RuleSet(1, room="parrot"))
            s.workers["w1"].drain()
            await s.sleep(0.5)
            same = await late.join_by_id(room.id)
            told = [await each.receive(timeout=1.0) for each in (room, same)]
            assert [(message.type, message.data) for message in told] == [("command", "draining")] * 2

    run(play, seed=1)


@pytest.mark.parametrize("seed", range(10))
def test_a_session_has_one_seat_in_a_room_however_fast_it_asks_again(seed: int) -> None:
    async def play() -> None:
        async with system(Server(rooms={"parrot": Parrot}), workers=1) as s:
            client = await s.client()
            room = await client.create(RuleSet(1, room="parrot"))
            with pytest.raises(AlreadyWaiting):
                await client.join_by_id(room.id)
            assert len(s.room(room.id).clients) == 1

    run(play, seed=seed)


def test_who_is_away_when_a_worker_dies_hears_of_it_as_soon_as_it_is_back() -> None:
    async def play() -> None:
        async with system(Server(rooms={"parrot": Parrot}), workers=1) as s:
            client = await s.client()
            room = await client.create(RuleSet(1, room="parrot"))
            s.unplug(client)
            await s.sleep(0.5)
            await s.kill_worker("w1")
            await s.sleep(2.0)
            s.plug(client)
            began = s.now
            with pytest.raises(NotInRoomError):
                await room.receive(timeout=20.0)
            assert type(room.error) is WorkerLost
            assert s.now - began < 6.0  # one pause between attempts to connect, and not the client's whole patience

    run(play, seed=1)
