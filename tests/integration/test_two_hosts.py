"""Broker, worker and clients on machines of their own, as far as network namespaces are machines."""

import asyncio
import json
import secrets
from typing import Any

from .cluster import PATIENCE, Processes, Running
from .hosts import network
from .system import on_a_loop

CLIENT = """
import asyncio, json, sys, time
from server_room_system import *

def say(**fields):
    print(json.dumps({**fields, "at": time.monotonic()}), flush=True)

async def main(address, kind, room_id):
    async with connect(address, connect_timeout=10.0) as me:
        room = await (me.join_by_id(room_id) if room_id else me.create(RuleSet(8, room=kind)))
        say(joined=room.id)
        for number in range(20):
            await room.send("say", number, ack=True)
        async for message in room:
            if message.type == "said" and message.data[1] == 19:
                say(heard=message.data[0])
        say(over=type(room.error).__name__)
        while True:
            try:
                room = await me.create(RuleSet(8, room=kind))
                break
            except (NoWorker, CapacityReached):
                await asyncio.sleep(0.1)
        say(again=await room.request("pid"))

asyncio.run(main(*sys.argv[1:]))
"""


async def told(client: Running, what: str, times: int = 1) -> dict[str, Any]:
    """What a client says, when it has said so that many times."""
    async with asyncio.timeout(PATIENCE):
        while len(lines := [line for line in client.log.splitlines() if f'"{what}"' in line]) < times:
            assert client.process.poll() is None, client.log
            await asyncio.sleep(0.02)
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


@on_a_loop
async def test_a_worker_whose_cable_is_pulled_stops_before_its_lease_ends_and_comes_back(processes: Processes) -> None:
    processes.environment["SRS_KEY"] = secrets.token_hex(32)
    with network(3) as (at_broker, at_worker, at_client), processes:
        address = f"tcp://{at_broker.address}:5000"
        workers = f"tcp://{at_broker.address}:5001"
        broker = processes.serve(
            *("--host", at_broker.address, "--workers", 0, "--worker-address", workers.removeprefix("tcp://")),
            "--insecure",
            port=5000,
            before=at_broker.inside,
        )
        await broker.listens()
        public = f"tcp://{at_worker.address}:6000"
        worker = processes.worker(workers, "--name", "far", "--public", public, "--insecure", before=at_worker.inside)
        await broker.says(f"worker far registered from {at_worker.address}, at {public}")

        away: list[Running] = []
        beside: list[Running] = []
        for kind in ("hall", "stage"):
            first = processes.run(CLIENT, address, kind, "", before=at_client.inside)
            room = (await told(first, "joined"))["joined"]
            away += [first, processes.run(CLIENT, address, kind, room, before=at_client.inside)]
            # This one sits beside the worker: it goes on hearing it when nobody else does.
            beside.append(processes.run(CLIENT, address, kind, room, before=at_worker.inside))
        for first in away[::2]:
            await told(first, "heard", times=3)

        at_worker.pull_the_cable()
        ends = {client: await told(client, "over") for client in (*away, *beside)}
        assert {end["over"] for end in ends.values()} == {"WorkerLost"}
        # It has stopped before anybody could be given its rooms.
        assert max(ends[client]["at"] for client in beside) < min(ends[client]["at"] for client in away)
        assert "the lease is over" in worker.log

        at_worker.plug_it_in()
        for client in away:
            assert (await told(client, "again"))["again"] == worker.pid
        assert broker.log.count("worker far registered") == 2
