"""Processes in memory: they stand still and go on, are killed, and start anew."""

import asyncio
from typing import Any

import pytest

from server_room_system import (
    BrokerUnreachable,
    ClientData,
    Code,
    ConfigError,
    Limits,
    Member,
    NotInRoomError,
    Room,
    RoomClosed,
    RoomNotFound,
    RuleSet,
    Server,
    WorkerLost,
)
from server_room_system.rooms.control import CloseRoom
from server_room_system.testing import InMemorySystem, Process, VirtualLoop, run, system

QUICK = Limits(ping_interval=1.0, ping_timeout=3.0)


class Echo(Room):
    """Says to all what it hears."""

    max_clients = 4
    min_clients = 0
    reconnect_grace = 20.0

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: ClientData) -> None:
        self.broadcast(protocol, data)


def echo(workers: int | None = None) -> InMemorySystem:
    return system(Server(rooms={"echo": Echo}, limits=QUICK), workers=workers)


def test_who_stands_still_finds_its_timers_late_and_in_their_order() -> None:
    async def play() -> list[tuple[float, str]]:
        loop = asyncio.get_running_loop()
        rang: list[tuple[float, str]] = []
        process = Process("slow")

        def ring(what: str) -> None:
            rang.append((loop.time(), what))

        async def begin() -> None:
            for delay in (3.0, 1.0, 2.0, 9.0):
                loop.call_later(delay, ring, f"timer of {delay}")

        await process.run(begin())
        loop.call_later(2.5, ring, "another's")
        await asyncio.sleep(1.5)
        process.stop()
        await asyncio.sleep(5.0)
        process.go_on()
        await asyncio.sleep(5.0)
        return rang

    assert run(play) == [
        (1.0, "timer of 1.0"),
        (2.5, "another's"),
        (6.5, "timer of 2.0"),
        (6.5, "timer of 3.0"),
        (9.0, "timer of 9.0"),
    ]


def test_what_follows_from_what_a_process_did_is_its_own() -> None:
    async def play() -> None:
        process = Process("one")

        async def begin() -> "asyncio.Task[Process | None]":
            return asyncio.get_running_loop().create_task(later())

        async def later() -> Process | None:
            await asyncio.sleep(1.0)
            return Process.current()

        assert await (await process.run(begin())) is process
        assert Process.current() is None

    run(play)


def test_every_callback_is_an_event_and_is_followed_by_a_look() -> None:
    async def play() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        looks: list[int] = []
        loop.on_event = lambda: looks.append(1)
        before = loop.events
        for _ in range(10):
            await asyncio.sleep(1.0)
        return loop.events - before, len(looks)

    events, looks = run(play)
    assert events == looks == 20  # a timer and a step of the task each


@pytest.mark.parametrize("seconds", [2.0, 12.0])
def test_a_client_that_was_stopped_comes_back_and_reads_what_it_missed(seconds: float) -> None:
    async def play() -> None:
        async with echo() as s:
            ann, bob = await s.client(), await s.client()
            at_ann, at_bob = await asyncio.gather(ann.match(RuleSet(2)), bob.match(RuleSet(2)))
            s.freeze(bob)
            for number in range(5):
                await at_ann.send("said", number, ack=True)
            await s.sleep(seconds)
            s.thaw(bob)
            heard = [await at_bob.receive() for _ in range(6)]
            assert [message.data for message in heard if message.type == "said"] == list(range(5))

    run(play)


def test_a_worker_that_was_stopped_for_longer_than_its_lease_serves_nobody_when_it_wakes() -> None:
    async def play() -> None:
        async with echo(workers=1) as s:
            room = await (await s.client()).create(RuleSet(1, room="echo"))
            s.freeze("w1")
            await s.sleep(10.0)
            assert type(room.error) is WorkerLost
            s.thaw("w1")
            await s.sleep(2.0)
            assert s.rooms == []
            assert s.workers["w1"].registered

    run(play)


def test_rooms_on_workers_live_on_while_their_broker_is_dead_and_its_successor_takes_the_sessions_back() -> None:
    async def play() -> None:
        async with echo(workers=1) as s:
            ann, bob = await s.client(), await s.client()
            room = await ann.create(RuleSet(3, room="echo"))
            await s.kill_broker()
            await s.sleep(5.0)
            await room.send("said", 1, ack=True)
            assert (await room.receive()).data == 1
            with pytest.raises(BrokerUnreachable):
                await s.client(connect_timeout=1.0)
            await s.restart_broker()
            await s.sleep(8.0)
            assert ann.connected
            assert bob.connected
            same = await bob.join_by_id(room.id)
            await same.send("said", 2, ack=True)
            assert (await room.receive()).data == 2
            assert (await s.client()).id not in (ann.id, bob.id)

    run(play)


def test_whoever_asks_for_a_room_before_its_worker_is_back_with_the_broker_waits_for_it() -> None:
    async def play() -> None:
        async with echo(workers=1) as s:
            ann = await s.client()
            room = await ann.create(RuleSet(3, room="echo"))
            await s.kill_broker()
            await s.restart_broker()
            newcomer = await s.client()
            assert not list(s.host.broker.workers), "its worker has come already: nobody would have to wait"
            same = await newcomer.join_by_id(room.id)
            await same.send("said", 2, ack=True)
            assert (await room.receive()).data == 2
            with pytest.raises(RoomNotFound):
                await newcomer.join_by_id("f" * 32)

    run(play)


def test_a_broker_that_is_started_again_within_the_second_takes_the_sessions_back() -> None:
    async def play() -> None:
        async with echo(workers=1) as s:
            ann, bob = await s.client(), await s.client()
            room = await ann.create(RuleSet(3, room="echo"))
            generations = []
            for _ in range(5):
                began = s.wall + s.now
                generations.append(s.workers["w1"].registration.generation)
                await s.kill_broker()
                await s.sleep(0.002)
                await s.restart_broker()
                assert s.wall + s.now - began < 0.1
                await s.sleep(0.1)
            await s.sleep(8.0)
            assert (ann.connected, bob.connected) == (True, True)
            await (await bob.join_by_id(room.id)).send("said", 2, ack=True)
            assert (await room.receive()).data == 2
            generations.append(s.workers["w1"].registration.generation)
            assert generations == sorted(generations)

    run(play)


def test_an_order_that_was_lost_with_the_connection_to_a_worker_is_given_again() -> None:
    async def play() -> None:
        async with echo(workers=1) as s:
            room, other = [await (await s.client()).create(RuleSet(1, room="echo")) for _ in range(2)]
            record = s.host.broker.workers.get("w1")
            assert record is not None
            record.to_go[room.id, ""] = CloseRoom(room.id, int(Code.ROOM_CLOSED), "tidied up")  # it never arrived
            for wire in s.network.standing:
                if wire._far is not None and wire._far.address == s.host.worker_address:
                    wire.cut()
            await s.sleep(2.0)
            assert s.workers["w1"].registered
            assert (type(room.error), str(room.error)) == (RoomClosed, "tidied up")
            assert other.error is None
            assert not record.to_go

    run(play)


def test_rooms_beside_the_broker_go_with_it() -> None:
    async def play() -> None:
        async with echo() as s:
            room = await (await s.client()).create(RuleSet(1))
            await s.kill_broker()
            with pytest.raises(ConfigError):
                await s.kill_broker()
            await s.sleep(2.0)
            await s.restart_broker()
            with pytest.raises(ConfigError):
                await s.restart_broker()
            with pytest.raises(NotInRoomError):
                await room.receive(timeout=60.0)

    run(play)


def test_a_system_whose_broker_is_dead_stops() -> None:
    async def play() -> None:
        async with echo(workers=1) as s:
            await (await s.client()).create(RuleSet(1, room="echo"))
            await s.kill_broker()

    run(play)


def test_a_client_that_was_killed_is_gone_after_the_grace_period() -> None:
    async def play() -> None:
        async with echo() as s:
            client = await s.client()
            room = await client.create(RuleSet(2))
            await s.kill_client(client)
            await s.sleep(10.0)
            assert len(s.room(room.id).clients) == 1
            await s.sleep(15.0)
            assert s.room(room.id).clients == []

    run(play)


def test_a_drained_worker_has_ended() -> None:
    async def play() -> None:
        async with echo(workers=2) as s:
            await s.add_worker("short", drain_seconds=1.0)
            await s.drain_worker("short")
            await s.drain_worker("w1")
            assert list(s.workers) == ["w2"]
            await (await s.client()).create(RuleSet(1, room="echo"))

    run(play)


@pytest.mark.parametrize("way", [{"up": False}, {"down": False}])
def test_half_a_connection_is_none(way: dict[str, bool]) -> None:
    async def play() -> None:
        async with echo() as s:
            client = await s.client()
            room = await client.create(RuleSet(2))
            (wire,) = s.network.standing
            wire.stall(**way)
            await room.send("said", 1, ack=True)  # it takes another connection
            assert (await room.receive()).data == 1
            assert s.network.standing != [wire]

    run(play)


def test_what_is_no_process_can_not_be_stopped() -> None:
    async def play() -> None:
        async with echo() as s:
            with pytest.raises(ConfigError):
                s.freeze("w1")

    run(play)
