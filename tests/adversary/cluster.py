"""A cluster under attack: a broker and a worker in processes of their own, and honest clients in a topic room."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from .target import HONEST, PATIENCE, SECRET, Process, Target
from .wire import Zmtp, greeting, ready

__all__ = ["Subscriber", "cluster_under_attack", "generation", "undisturbed", "worker_address"]

APP = """
import time
from server_room_system import *
from server_room_system.protocol import Limits

class Vault(Room):
    "Where the honest ones are."
    max_clients = 4
    message_rate = None
    fanout = "topic"
    def handle_response(self, protocol, data, sender, client_data):
        self.broadcast(protocol, data)
    @on_request("echo")
    def echo(self, client, data):
        return data

class Yard(Vault):
    reservation_time = 0.5
    reconnect_grace = 0.2
    @on_message("block")
    def block(self, client, data):
        time.sleep(min(data, 1.0))

limits = Limits(ping_interval=1.0, ping_timeout=3.0)
server = Server(rooms={"vault": Vault, "yard": Yard}, workers=1, limits=limits,
                broker_limits=BrokerLimits(session_grace=0.2))
"""

SERVER = """
import asyncio, json, logging, os, sys
os.environ["XDG_RUNTIME_DIR"] = sys.argv[1]
sys.path.insert(0, sys.argv[1])
import cluster_under_attack

async def main():
    loop = asyncio.get_running_loop()
    escaped = []
    loop.set_exception_handler(lambda _, context: escaped.append(repr(context.get("exception") or context["message"])))
    async with cluster_under_attack.server.listen("127.0.0.1", 0) as host:
        print(json.dumps({"address": host.address}), flush=True)
        lines = asyncio.Queue()
        loop.add_reader(0, lambda: lines.put_nowait(sys.stdin.readline()))
        while (line := await lines.get()).strip():
            workers = list(host.broker.workers)
            print(json.dumps({
                "sessions": len(host.broker.sessions),
                "rooms": len(host.broker.directory),
                "connections": len(host._port),
                "tickets": len(host.broker.queues),
                "events": 0,
                "counts": {},
                "escaped": escaped,
                "workers": [[one.name, one.generation, one.state.value] for one in workers],
                "at": host.worker_address,
                "strangers": len(host._cluster._port) - len(workers),
            }), flush=True)
        loop.remove_reader(0)

logging.basicConfig(level=logging.CRITICAL)
asyncio.run(main())
"""


@contextlib.contextmanager
def cluster_under_attack(folder: Path) -> Iterator[Target]:
    """A broker with a worker, and honest clients in a topic room there. ``folder`` gets the program."""
    (folder / "cluster_under_attack.py").write_text(APP)
    with Process(SERVER, str(folder)) as server:
        address = server.answer()
        server._data = json.dumps(address).encode() + b"\n" + server._data
        with Process(HONEST, address["address"], SECRET.decode(), str(server.process.pid)) as honest:
            target = Target(server, honest)
            target.begin(honest.answer()["ready"])
            yield target
            assert target.is_alive()
            target.settles()


@contextlib.contextmanager
def undisturbed(cluster: Target) -> Iterator[Target]:
    """At the end it has the same worker, and nobody else is there."""
    before = cluster.stats()
    yield cluster
    deadline = time.monotonic() + PATIENCE
    while (after := cluster.stats())["strangers"]:
        assert time.monotonic() < deadline, after
        time.sleep(0.05)
    assert after["workers"] == before["workers"]
    assert [state for _, _, state in after["workers"]] == ["serving"]


def worker_address(target: Target) -> str:
    address: str = target.stats()["at"]
    return address


def generation(target: Target) -> int:
    ((_, number, _),) = target.stats()["workers"]
    assert isinstance(number, int)
    return number


class Subscriber(Zmtp):
    """A SUB on a plain socket."""

    def __init__(self, address: str) -> None:
        super().__init__(address, shake=False)
        self.raw(greeting() + ready(b"SUB"))
        self._take(64, PATIENCE)
        self.frame(PATIENCE)
