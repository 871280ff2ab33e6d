"""Workers and brokers that are killed: who is told what, who goes on, and who is back."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server_room_system import AsyncClient, ClientRoom, RuleSet, WorkerLost
from server_room_system.protocol import messages

from .bots import talking
from .cluster import Broker, Processes, free_ports, kill
from .lines import lines
from .system import PATIENCE, clients, gathered, matched, on_a_loop, over, until


@contextlib.asynccontextmanager
async def cluster(
    processes: Processes, count: int, workers: int = 2, port: int = 0, **options: Any
) -> AsyncIterator[tuple[Broker, list[AsyncClient]]]:
    """A broker with workers, and clients of it."""
    broker = processes.serve("--workers", workers, port=port)
    async with clients(await broker.listens(), count, **options) as members:
        yield broker, members


async def pids(rooms: list[ClientRoom]) -> list[int]:
    """Which processes host these rooms."""
    return [await room.request("pid") for room in rooms]


@pytest.mark.parametrize("kind", ["hall", "stage"])
@on_a_loop
async def test_a_killed_workers_members_are_told_once_and_are_matched_again(processes: Processes, kind: str) -> None:
    async with cluster(processes, 4) as (broker, (a, b, c, d)):
        lost = await gathered(a, b, room=kind)
        others = await gathered(c, d, room=kind)
        (pid, other) = await pids([lost[0], others[0]])
        assert pid != other
        ids = [client.id for client in (a, b)]
        async with talking([c, d], others) as talk:
            await talk.flows()
            kill(pid)
            for room in lost:
                await over(room)
                assert type(room.error) is WorkerLost
            # They are the broker's clients as before: connected, with their numbers, free to be matched.
            assert [client.id for client in (a, b)] == ids
            assert a.connected
            again = await matched(a, b, room=kind)
            assert await again[0].request("pid") != pid
            await until(lambda: len(processes.launched()) == 2)
            assert pid not in processes.launched().values()
            await talk.finish()
        assert (await pids([others[0]])) == [other]
        await broker.says("killed by SIGKILL")


@on_a_loop
async def test_the_broker_says_a_lost_room_once(processes: Processes) -> None:
    async with cluster(processes, 1, workers=1) as (broker, (mate,)):
        (at_mate,) = await gathered(mate, room="hall")
        pid = await at_mate.request("pid")
        address = mate.address
        async with lines(address) as (to_broker,):
            welcome = await to_broker.hello()
            to_broker.say(messages.JoinById(welcome.ref, 2, at_mate.id, {}))
            seat = await to_broker.hear(messages.Assigned)
            async with lines(seat.endpoint) as (to_worker,):
                await to_worker.join(seat, 3)
                await at_mate.send("say", 1, ack=True)  # so that the worker's report of the join is on its way
                await mate.rooms()
                kill(pid)
                told = await to_broker.hear(messages.RoomLost)
                assert (told.ref, told.room, told.code) == (welcome.ref, at_mate.id, WorkerLost.code)
                await until(lambda: pid not in processes.launched().values())
                await broker.says("it starts again")
                # Its successor has registered: whatever else the old one's end has to say is said.
                await mate.create(RuleSet(1, room="hall"))
                assert [message for message in to_broker.rest() if not isinstance(message, messages.Ack)] == []


@on_a_loop
async def test_a_session_that_was_just_assigned_a_seat_of_a_killed_worker_is_told_too(processes: Processes) -> None:
    async with cluster(processes, 1, workers=1) as (_, (mate,)):
        (at_mate,) = await gathered(mate, room="hall")
        pid = await at_mate.request("pid")
        async with lines(mate.address) as (line,):
            welcome = await line.hello()
            line.say(messages.JoinById(welcome.ref, 2, at_mate.id, {}))
            await line.hear(messages.Assigned)
            kill(pid)
            told = await line.hear(messages.RoomLost)
            assert told.room == at_mate.id


async def relearned(client: AsyncClient, wanted: dict[str, int]) -> float:
    """Wait until the broker knows these rooms with so many members; seconds that it took."""
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        while {entry["room"]: entry["clients"] for entry in await client.rooms()} != wanted:
            await asyncio.sleep(0.01)
    return time.monotonic() - began


@on_a_loop
async def test_rooms_go_on_without_their_broker_and_the_next_one_knows_them(processes: Processes) -> None:
    port = free_ports()
    async with cluster(processes, 5, port=port) as (broker, (a, b, c, d, outside)):
        halls, stages = await gathered(a, b, room="hall"), await gathered(c, d, room="stage")
        everybody = [a, b, c, d, outside]
        ids, hosts = [client.id for client in everybody], await pids([halls[0], stages[0]])
        async with talking([a, b], halls) as hall_talk, talking([c, d], stages) as stage_talk:
            broker.kill()
            await until(lambda: not any(client.connected for client in everybody))
            for _ in range(4):  # seconds without any broker, and nobody in a room notices
                await asyncio.sleep(0.5)
                await hall_talk.flows()
                await stage_talk.flows()
            assert await pids([halls[0], stages[0]]) == hosts
            await processes.serve("--workers", 2, port=port).listens()
            await until(lambda: all(client.connected for client in everybody))
            assert [client.id for client in everybody] == ids
            await relearned(outside, {halls[0].id: 2, stages[0].id: 2})
            assert sorted(processes.launched().values()) == sorted(hosts)  # they were taken over, none was started
            # The broker knows the free seats, and who is in: members come and go by id.
            for room, kind in ((halls[0], "hall"), (stages[0], "stage")):
                entry = next(entry for entry in await outside.rooms(kind) if entry["room"] == room.id)
                assert (entry["clients"], entry["max_clients"], entry["locked"]) == (2, 8, False)
                visitor = await outside.join_by_id(room.id)
                assert await visitor.request("pid") == await room.request("pid")
                await visitor.leave()
            async with clients(a.address, 1) as (newcomer,):
                assert newcomer.id not in ids
            await hall_talk.finish()
            await stage_talk.finish()
        assert [client.id for client in everybody] == ids
        assert {client.misrouted_bundles for client in everybody} == {0}


@on_a_loop
async def test_a_member_who_leaves_while_there_is_no_broker_is_gone_for_the_next_one(processes: Processes) -> None:
    port = free_ports()
    async with cluster(processes, 3, workers=1, port=port) as (broker, (a, b, outside)):
        at_a, at_b = await gathered(a, b, room="hall")
        broker.kill()
        await until(lambda: not outside.connected)
        await at_b.leave()
        await processes.serve("--workers", 1, port=port).listens()
        await until(lambda: all(client.connected for client in (a, b, outside)))
        at_once = await outside.join_by_id(at_a.id)  # its worker may have yet to come back to the broker
        await at_once.leave()
        await relearned(outside, {at_a.id: 1})
        back = await b.join_by_id(at_a.id)  # it is in no room, so it may be
        assert await back.request("pid") == await at_a.request("pid")


@on_a_loop
async def test_seats_are_not_oversold_by_the_next_broker(processes: Processes) -> None:
    port = free_ports()
    async with cluster(processes, 9, workers=1, port=port) as (broker, everybody):
        rooms = await gathered(*everybody[:7], room="hall")
        broker.kill()
        await processes.serve("--workers", 1, port=port).listens()
        await until(lambda: all(client.connected for client in everybody))
        await relearned(everybody[8], {rooms[0].id: 7})
        outcomes = await asyncio.gather(
            *(client.join_by_id(rooms[0].id) for client in everybody[7:]), return_exceptions=True
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ClientRoom", "RoomFull"]


@on_a_loop
async def test_when_both_die_everybody_is_told_and_plays_again(processes: Processes) -> None:
    port = free_ports()
    async with cluster(processes, 3, port=port, reconnect_timeout=8.0) as (broker, (a, b, outside)):
        at_a, at_b = await gathered(a, b, room="hall")
        pid = await at_a.request("pid")
        ids = [a.id, b.id, outside.id]
        broker.kill()
        for each in processes.launched().values():
            kill(each)
        await processes.serve("--workers", 2, port=port).listens()
        await until(lambda: all(client.connected for client in (a, b, outside)))
        assert [a.id, b.id, outside.id] == ids
        for room in (at_a, at_b):
            await over(room)
            assert type(room.error) is WorkerLost
        again = await matched(a, b, room="hall")
        assert await again[0].request("pid") != pid
