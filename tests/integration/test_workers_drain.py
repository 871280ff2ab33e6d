"""Workers that are taken out of service, one or all: everybody hears of it before it happens."""

import asyncio
import os
import signal
from collections import defaultdict
from typing import Any

import pytest

from server_room_system import (
    AsyncClient,
    CapacityReached,
    ClientRoom,
    NotInRoomError,
    Received,
    RemoteError,
    RoomClosed,
    RuleSet,
    ServerStopping,
    WorkerDrained,
)

from .cluster import Processes, free_ports, workers_address
from .system import PATIENCE, clients, gathered, hear, on_a_loop, over, raises, until


async def rest(room: ClientRoom) -> list[Received]:
    """Everything that a room still says, until it is over."""
    async with asyncio.timeout(PATIENCE):
        return [message async for message in room]


@on_a_loop
async def test_a_drained_worker_tells_its_members_lets_rooms_end_and_exits_well(processes: Processes) -> None:
    port = free_ports()
    broker = processes.serve("--workers", 0, port=port)
    async with clients(await broker.listens(), 4) as (a, b, c, outside):
        worker = processes.worker(workers_address(port), "--name", "old", "--drain-seconds", 1.5)
        await broker.says("worker old registered")
        halls, briefs = await gathered(a, b, room="hall"), await gathered(a, b, room="brief")
        (stage,) = await gathered(c, room="stage")
        worker.send(signal.SIGTERM)
        for room in [*halls, *briefs, stage]:
            assert await hear(room, "command") == "draining"
        for room in briefs:
            assert [(message.type, message.data) for message in await rest(room)] == [("drain", 1.5)]
            assert type(room.error) is RoomClosed
        # Those that take their time go on until then.
        await halls[0].send("say", "still here", ack=True)
        assert await hear(halls[1], "said") == [a.id, "still here"]
        assert all(room.joined for room in [*halls, stage])
        assert type(await raises(outside.create(RuleSet(2, room="hall")))) is CapacityReached
        successor = processes.worker(workers_address(port), "--name", "new")
        await broker.says("worker new registered")
        moved = await outside.create(RuleSet(2, room="hall"))
        assert await moved.request("pid") == successor.pid
        for room in [*halls, stage]:
            await over(room)
            assert type(room.error) is WorkerDrained
        assert await worker.ends() == 0
        assert "worker old has ended" in worker.log
        assert moved.joined
        assert [client.closed for client in (a, b, c, outside)] == [False] * 4


@on_a_loop
async def test_a_second_signal_hurries_and_a_worker_without_rooms_ends_at_once(processes: Processes) -> None:
    port = free_ports()
    broker = processes.serve("--workers", 0, port=port)
    async with clients(await broker.listens(), 1) as (a,):
        worker = processes.worker(workers_address(port), "--name", "one", "--drain-seconds", 600)
        await broker.says("worker one registered")
        (hall,) = await gathered(a, room="hall")
        worker.send(signal.SIGINT)
        assert await hear(hall, "command") == "draining"
        worker.send(signal.SIGINT)
        await over(hall)
        assert type(hall.error) is WorkerDrained
        assert await worker.ends() == 0
        idle = processes.worker(workers_address(port), "--name", "two", "--drain-seconds", 600)
        await broker.says("worker two registered")
        idle.send(signal.SIGTERM)
        assert await idle.ends() == 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@on_a_loop
async def test_a_server_that_stops_takes_its_workers_along_and_leaves_nothing(
    processes: Processes, sent: signal.Signals
) -> None:
    broker = processes.serve("--workers", 2)
    async with clients(await broker.listens(), 4) as (a, b, c, outside):
        halls, stages = await gathered(a, b, room="hall"), await gathered(a, b, room="stage")
        (alone,) = await gathered(c, room="alone")
        assert len(processes.pids()) == 4  # two workers, and one for the isolated room
        assert list(processes.state.iterdir())
        broker.send(sent)
        for room in [*halls, *stages, alone]:
            await over(room)
            assert type(room.error) is ServerStopping
        await until(lambda: all(client.closed for client in (a, b, c, outside)))
        assert {type(client.error) for client in (a, b, c, outside)} == {ServerStopping}
        assert await broker.ends() == 0
    assert processes.pids() == []
    assert not processes.state.exists()
    assert "killed" not in broker.log


class Bots:
    """Clients who play in pairs, again and again, and a ledger of all that was said and heard."""

    def __init__(self) -> None:
        self.owners: defaultdict[str, set[int]] = defaultdict(set)
        """Of each room, the processes that answered for it."""
        self.heard: defaultdict[str, list[list[Any]]] = defaultdict(list)
        """Of each room, what each of its members heard."""
        self.applied: defaultdict[str, list[Any]] = defaultdict(list)
        """Of each room, what was acknowledged."""
        self.ends: list[type[RemoteError | None]] = []
        self.refusals: list[BaseException] = []
        self.rounds = 0
        self.finished = False

    async def play(self, client: AsyncClient) -> None:
        number = 0
        while not self.finished:
            try:
                room = await client.match(RuleSet(2, room="brief"), timeout=PATIENCE)
            except RemoteError as refused:
                self.refusals.append(refused)
                continue
            heard: list[Any] = []
            self.heard[room.id].append(heard)
            listening = asyncio.ensure_future(self._listen(room, heard))
            try:
                self.owners[room.id].add(await room.request("pid"))
                while not self.finished and await room.request("count") < 2:
                    await asyncio.sleep(0.01)  # who comes later does not hear what was said before
                while not self.finished:
                    await room.send("say", number, ack=True)
                    self.applied[room.id].append([client.id, number])
                    number += 1
                    await asyncio.sleep(0.01)
                self.owners[room.id].add(await room.request("pid"))
                await room.send("close", ack=True)
            except NotInRoomError:
                number += 1  # it may have been applied, or not
            await listening
            self.ends.append(type(room.error))
            self.rounds += 1

    async def _listen(self, room: ClientRoom, heard: list[Any]) -> None:
        async for message in room:
            if message.type == "said":
                heard.append(message.data)

    def check(self) -> None:
        """One owner for each room; what was acknowledged was heard by both, once and in one order."""
        for room, applied in self.applied.items():
            assert len(self.owners[room]) == 1
            first, second = self.heard[room]
            assert first == second
            assert len({tuple(said) for said in first}) == len(first)
            assert {tuple(said) for said in applied} <= {tuple(said) for said in first}
            for number in {number for number, _ in first}:
                said = [data for who, data in first if who == number]
                assert said == list(range(said[0], said[-1] + 1))
        assert set(self.ends) == {RoomClosed}


@on_a_loop
async def test_four_workers_are_restarted_one_by_one_under_load_and_nothing_is_lost(processes: Processes) -> None:
    broker = processes.serve("--workers", 4)
    async with clients(await broker.listens(), 16) as everybody:
        ids = [client.id for client in everybody]
        lost: list[str] = []
        for client in everybody:
            client._shell.interrupted = lost.append  # type: ignore[method-assign,assignment]  # the test listens
        bots = Bots()
        playing = [asyncio.ensure_future(bots.play(client)) for client in everybody]
        await until(lambda: len(processes.launched()) == 4 and len(bots.applied) == 8)
        before = processes.launched()
        for name, pid in sorted(before.items()):
            rounds = bots.rounds
            os.kill(pid, signal.SIGTERM)
            await until(lambda pid=pid: processes.launched().get(name, pid) != pid)  # type: ignore[misc]  # noqa: B023
            await until(lambda name=name: broker.log.count(f"worker {name} registered") == 2)  # type: ignore[misc]
            await until(lambda rounds=rounds: bots.rounds > rounds)  # type: ignore[misc]
        bots.finished = True
        await asyncio.wait(playing, timeout=PATIENCE)
        for task in playing:
            task.result()
        bots.check()
        assert bots.refusals == []
        assert not set(before.values()) & set(processes.launched().values())
        assert len(set().union(*bots.owners.values())) > 4
        assert [client.id for client in everybody] == ids
        assert [reason for reason in lost if not reason.startswith("worker at")] == []
        assert all(client.connected for client in everybody)
