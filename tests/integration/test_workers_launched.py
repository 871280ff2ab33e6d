"""Worker processes that a server starts itself: their limits, their ends, and which room is put where."""

import asyncio
from pathlib import Path

import pytest

from server_room_system import (
    CapacityReached,
    NoWorker,
    RuleSet,
    UnknownRoomType,
    WorkerLost,
)

from .bots import talking
from .cluster import Processes, free_ports, kill, workers_address
from .system import clients, gathered, on_a_loop, over, raises, until

BROKEN = """\
import sys
from server_room_system import *
if sys.argv[0].endswith("work.py"):
    raise RuntimeError("only the broker can load this")
class Hall(Room):
    max_clients = 2
server = Server(rooms={"hall": Hall})
"""


@on_a_loop
async def test_a_server_that_no_worker_can_load_is_given_up_and_says_why(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(BROKEN)
    broker = processes.serve("--workers", 1, target="app.py:server", level="warning")
    async with clients(await broker.listens(), 1) as (a,):
        asking = asyncio.ensure_future(raises(a.create(RuleSet(2, room="hall"), timeout=20.0)))
        line = await broker.says("ended 5 times", within=20.0)
        assert "It is not started again" in line
        assert "only the broker can load this" in broker.log
        assert broker.log.count("[w1] error: ") == 5
        assert "all 1 workers are given up" in broker.log
        assert "Traceback" not in broker.log
        assert type(await asking) is NoWorker
        assert type(await raises(a.create(RuleSet(2, room="hall"), timeout=5.0))) is NoWorker
        assert processes.launched() == {}
        assert a.connected


@pytest.mark.parametrize(
    ("option", "value", "deed", "reason"),
    [
        ("--worker-memory", "200M", "hog", "it holds"),
        ("--worker-stall", "2", "spin", "its loop has not turned"),
    ],
)
@on_a_loop
async def test_a_runaway_room_ends_its_own_worker_and_no_other(
    processes: Processes, option: str, value: str, deed: str, reason: str
) -> None:
    broker = processes.serve("--workers", 2, option, value)
    async with clients(await broker.listens(), 4) as (a, b, c, d):
        wild = await gathered(a, b, room="hall")
        calm = await gathered(c, d, room="stage")
        pid, other = await wild[0].request("pid"), await calm[0].request("pid")
        assert pid != other
        async with talking([c, d], calm) as talk:
            await wild[0].send(deed)
            for room in wild:
                await over(room)
                assert type(room.error) is WorkerLost
            await talk.finish()
        line = await broker.says("is killed: " + reason)
        assert broker.log.count("is killed:") == 1
        await until(lambda: len(processes.launched()) == 2)
        assert pid not in processes.launched().values()
        assert await calm[0].request("pid") == other
        name = line.partition("worker ")[2].split()[0]
        await until(lambda: broker.log.count(f"worker {name} registered") == 2)


@on_a_loop
async def test_an_isolated_room_has_a_process_of_its_own_which_ends_with_it(processes: Processes) -> None:
    broker = processes.serve("--workers", 1)
    async with clients(await broker.listens(), 4) as (a, b, c, d):
        first = await gathered(a, b, room="alone")
        second = await gathered(c, room="alone")
        hall = await gathered(d, room="hall")
        pids = [await rooms[0].request("pid") for rooms in (first, second, hall)]
        assert len(set(pids)) == 3
        assert set(processes.launched()) == {"w1", "s1", "s2"}
        await first[0].send("close")
        for room in first:
            await over(room)
        await until(lambda: pids[0] not in processes.launched().values())
        assert {pids[1], pids[2]} == set(processes.launched().values())
        assert "WARNING" not in broker.log
        # One that is killed is not started again: its room is gone.
        kill(pids[1])
        await over(second[0])
        assert type(second[0].error) is WorkerLost
        await until(lambda: set(processes.launched().values()) == {pids[2]})
        again = await c.create(RuleSet(2, room="alone"))
        assert await again.request("pid") not in pids


@on_a_loop
async def test_a_room_goes_where_its_labels_are_and_nowhere_else(processes: Processes) -> None:
    port = free_ports()
    broker = processes.serve("--workers", 1, port=port)
    async with clients(await broker.listens(), 1) as (a,):
        await broker.says("worker w1 registered")
        await asyncio.sleep(0.1)
        error = await raises(a.create(RuleSet(2, room="lit"), timeout=5.0))
        assert type(error) is NoWorker
        assert "gpu" in str(error)
        assert type(await raises(a.create(RuleSet(2, room="no such type")))) is UnknownRoomType
        lit = processes.worker(workers_address(port), "--label", "gpu", "--name", "bright", "--max-rooms", 1)
        await broker.says("worker bright registered")
        room = await a.create(RuleSet(2, room="lit"))
        assert await room.request("pid") == lit.pid
        assert type(await raises(a.create(RuleSet(2, room="lit")))) is CapacityReached


@on_a_loop
async def test_a_room_type_that_no_worker_hosts_is_refused_at_once(processes: Processes, tmp_path: Path) -> None:
    port = free_ports()
    (tmp_path / "older.py").write_text(
        "from server_room_system import *\nclass Old(Room):\n    pass\nserver = Server(rooms={'old': Old})\n"
    )
    broker = processes.serve("--workers", 0, port=port)
    async with clients(await broker.listens(), 1) as (a,):
        assert type(await raises(a.create(RuleSet(2, room="hall")))) is NoWorker  # nobody is there at all
        processes.worker(workers_address(port), "--name", "older", target="older.py:server")
        await broker.says("worker older registered")
        error = await raises(a.create(RuleSet(2, room="hall")))
        assert type(error) is NoWorker
        assert "no worker hosts room type 'hall'" in str(error)


@on_a_loop
async def test_isolated_rooms_without_workers_are_refused_at_the_start(processes: Processes) -> None:
    server = processes.serve()
    assert await server.ends() == 2
    assert server.log.splitlines()[-1].startswith("error: rooms of type 'alone' are isolated")
    assert server.log.count("\n") == 1
    assert not processes.state.exists()
