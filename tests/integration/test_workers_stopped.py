"""Processes that stand still, and cables that are pulled: short is nothing, long ends a lease."""

import asyncio
import signal
import time

import pytest

from server_room_system import AsyncClient, NotAMember, RuleSet, WorkerLost
from server_room_system.protocol import messages

from .bots import talking
from .cluster import PATIENCE, Processes, free_ports, kill, workers_address
from .lines import Line, lines
from .proxy import Proxy
from .system import clients, gathered, on_a_loop, over, until


def interruptions(everybody: list[AsyncClient]) -> list[str]:
    """Why connections of these clients were lost, from now on."""
    reasons: list[str] = []
    for client in everybody:
        client._shell.interrupted = reasons.append  # type: ignore[method-assign,assignment]  # the test listens instead
    return reasons


@pytest.mark.parametrize("who", ["worker", "broker"])
@on_a_loop
async def test_a_short_stop_is_nothing_but_late(processes: Processes, who: str) -> None:
    broker = processes.serve("--workers", 1)
    async with clients(await broker.listens(), 5) as (a, b, c, d, outside):
        everybody = [a, b, c, d, outside]
        halls, stages = await gathered(a, b, room="hall"), await gathered(c, d, room="stage")
        lost = interruptions(everybody)
        worker = await halls[0].request("pid")
        async with talking([a, b], halls) as in_hall, talking([c, d], stages) as on_stage:
            stopped = worker if who == "worker" else broker.pid
            kill(stopped, signal.SIGSTOP)
            await asyncio.sleep(1.0 if who == "worker" else 2.0)
            if who == "broker":
                await in_hall.flows()
            kill(stopped, signal.SIGCONT)
            await outside.rooms()
            await in_hall.flows()
            await asyncio.sleep(1.5)  # the broker looks at leases that ended meanwhile
            await on_stage.flows()
            assert {entry["room"]: entry["clients"] for entry in await outside.rooms()} == {
                halls[0].id: 2,
                stages[0].id: 2,
            }
            await in_hall.finish()
            await on_stage.finish()
        assert lost == []
        assert await halls[0].request("pid") == worker
        assert "lost" not in broker.log
        assert broker.log.count("registered from") == 1


async def seat_in(room: str, to_broker: Line) -> tuple[messages.Assigned, str]:
    """A session's seat in a room, and where to take it."""
    welcome = await to_broker.hello()
    to_broker.say(messages.JoinById(welcome.ref, 2, room, {}))
    seat = await to_broker.hear(messages.Assigned)
    return seat, seat.endpoint


@on_a_loop
async def test_a_worker_that_stood_still_for_longer_than_its_lease_serves_nobody_with_it(processes: Processes) -> None:
    broker = processes.serve("--workers", 1)
    address = await broker.listens()
    async with clients(address, 3) as (a, b, outside):
        halls = await gathered(a, b, room="hall")
        stages = await gathered(a, b, room="stage")
        worker = await halls[0].request("pid")
        async with lines(address) as (line,):
            seat, endpoint = await seat_in(halls[0].id, line)
            async with lines(endpoint) as (to_worker,):
                joined = await to_worker.join(seat, 3)
                kill(worker, signal.SIGSTOP)
                for room in [*halls, *stages]:
                    await over(room)  # the broker says so, because nobody else can
                    assert type(room.error) is WorkerLost
                assert await outside.rooms() == []
                # Who does not listen to the broker goes on talking to the old worker, which does not know it yet.
                for number in range(1, 20):
                    to_worker.say(messages.Send(joined.ref, number, "say", "ghost"))
                await asyncio.sleep(1.0)
                kill(worker, signal.SIGCONT)
                left = await to_worker.hear(messages.LeftRoom)
                assert (left.ref, left.code) == (joined.ref, WorkerLost.code)
                to_worker.say(messages.Send(joined.ref, 20, "say", "ghost"))
                to_worker.say(messages.Recover(9, seat.room, joined.token, joined.epoch, 0, 0))
                codes = [(await to_worker.hear(messages.Error)).code for _ in range(20)]
                assert codes == [NotAMember.code] * 20
                assert (await to_worker.hear(messages.Joined)).info == {"over": True}
                assert (await to_worker.hear(messages.LeftRoom)).code == WorkerLost.code
        room = await outside.create(RuleSet(2, room="hall"))
        assert await room.request("pid") == worker  # it has registered anew, with empty hands
        assert await room.request("applied") == []
        assert broker.log.count("registered from") == 2
        assert "a ghost was heard" not in broker.log


@on_a_loop
async def test_rooms_that_a_worker_was_asked_for_when_it_fell_silent_are_made_by_another(processes: Processes) -> None:
    broker = processes.serve("--workers", 2)
    async with clients(await broker.listens(), 6) as everybody:
        first = await everybody[0].create(RuleSet(2, room="hall"))
        other = await first.request("pid")
        (silent,) = set(processes.launched().values()) - {other}
        kill(silent, signal.SIGSTOP)
        rooms = await asyncio.gather(
            *(client.create(RuleSet(2, room="hall"), timeout=PATIENCE) for client in everybody[1:])
        )
        assert [await room.request("pid") for room in rooms] == [other] * 5
        kill(silent, signal.SIGCONT)
        await until(lambda: broker.log.count("registered from") == 3)
        wanted = {room.id: 1 for room in (first, *rooms)}  # what it made when it woke is not there
        assert {entry["room"]: entry["clients"] for entry in await everybody[0].rooms()} == wanted


@on_a_loop
async def test_a_worker_that_is_cut_off_stops_serving_before_its_lease_ends(processes: Processes) -> None:
    port = free_ports()
    broker = processes.serve("--worker-address", workers_address(port).removeprefix("tcp://"), port=port)
    address = await broker.listens()
    async with Proxy(workers_address(port)) as proxy, clients(address, 3) as (a, b, outside):
        worker = processes.worker(proxy.address, "--key-file", processes.state / f"{port}.json", "--name", "far")
        await broker.says("worker far registered")
        halls, stages = await gathered(a, b, room="hall"), await gathered(a, b, room="stage")
        async with lines(address) as (line,):
            seat, endpoint = await seat_in(halls[0].id, line)
            async with lines(endpoint) as (to_worker,):
                await to_worker.join(seat, 3)
                await halls[0].send("say", 1, ack=True)
                proxy.stall()
                heard: dict[str, float] = {}

                async def hear(name: str, whose: Line, kind: type[messages.Message]) -> None:
                    message = await whose.hear(kind)
                    heard[name] = time.monotonic()
                    assert message.code == WorkerLost.code

                await asyncio.gather(
                    hear("worker", to_worker, messages.LeftRoom), hear("broker", line, messages.RoomLost)
                )
                assert heard["worker"] < heard["broker"]
        for room in [*halls, *stages]:
            await over(room)
            assert type(room.error) is WorkerLost
        proxy.reset()
        proxy.flow()
        await until(lambda: broker.log.count("worker far registered") == 2)
        again = await outside.create(RuleSet(2, room="hall"))
        assert await again.request("pid") == worker.pid
