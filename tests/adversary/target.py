"""The server under attack, in a process of its own, and the honest clients in another."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import server_room_system

SOURCES = str(Path(server_room_system.__file__).parents[1])
PATIENCE = 15.0

_MEDIAN, _LONGEST = 0.15, 3.0
"""Seconds of a processor that the server may work during one round trip of an honest client."""

SECRET = b"SECRET-OF-THE-VAULT"
"""What honest members say to each other. No stranger may ever see it."""

SERVER = """
import asyncio, json, logging, sys, time
import msgspec
from server_room_system import *
from server_room_system.protocol import Limits
from server_room_system.rooms import attendance, ended

attendance.KEPT = ended.KEPT = 0.3  # seconds that what was said is kept for who is gone: tests can't wait a minute

class Move(msgspec.Struct):
    x: int
    y: float = 0.0

class Vault(Room):
    "Where the honest ones are."
    max_clients = 4
    message_rate = None
    def handle_response(self, protocol, data, sender, client_data):
        self.broadcast(protocol, data)
    @on_request("echo")
    def echo(self, client, data):
        return data

class Yard(Room):
    "Where the others may play."
    max_clients = 8
    message_rate = 100.0
    message_burst = 50
    reservation_time = 0.5
    reconnect_grace = 0.2
    def handle_response(self, protocol, data, sender, client_data):
        self.broadcast(protocol, data)
    @on_message("move")
    def move(self, client, data: Move):
        self.broadcast("moved", data.x)
    @on_message("blob")
    def blob(self, client, data):
        for _ in range(data["count"]):
            self.broadcast("blob", b"x" * data["size"])
    @on_message("block")
    def block(self, client, data):
        time.sleep(min(data, 1.0))
    @on_request("echo")
    def echo(self, client, data):
        return data
    @on_request("wait")
    async def wait(self, client, data):
        await asyncio.sleep(min(data, 2.0))
        return data

class Lobby(Server):
    def handle_response(self, protocol, data, sender, client_data):
        sender.send(protocol, data)

async def main():
    loop = asyncio.get_running_loop()
    escaped = []
    loop.set_exception_handler(lambda _, context: escaped.append(repr(context.get("exception") or context["message"])))
    server = Lobby(
        rooms={"vault": Vault, "yard": Yard},
        limits=Limits(ping_interval=1.0, ping_timeout=3.0),
        broker_limits=BrokerLimits(session_grace=0.2, sessions=8000),
    )
    async with server.listen("127.0.0.1", 0) as host:
        print(json.dumps({"address": host.address}), flush=True)
        lines = asyncio.Queue()
        loop.add_reader(0, lambda: lines.put_nowait(sys.stdin.readline()))
        while (line := await lines.get()).strip():
            print(json.dumps({
                "sessions": len(host.broker.sessions),
                "rooms": len(host.worker.rooms),
                "connections": len(host._port),
                "tickets": len(host.broker.queues),
                "events": max([len(runner.mailbox) for runner in host.worker.rooms.values()], default=0),
                "counts": host._port.counts + host._port.book.counts,
                "escaped": escaped,
            }), flush=True)
        loop.remove_reader(0)

logging.basicConfig(level=logging.CRITICAL)
asyncio.run(main())
"""

HONEST = """
import asyncio, json, sys, time
from pathlib import Path
from server_room_system import *

def family(pid):
    children = " ".join(one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return [pid, *(one for child in children for one in family(int(child)))]

async def main(address, secret, server):
    async with connect(address) as first, connect(address) as second, connect(address) as third:
        everybody = [first, second, third]
        rooms = await asyncio.gather(*(one.match(RuleSet(3, room="vault"), timeout=20) for one in everybody))
        trips, heard, wrong = [], [[], [], []], []
        # Not by the clock on the wall: what else the machine has to do is no fault of the server's.
        clocks = [~pid << 3 | 2 for pid in family(server)]  # as clock_getcpuclockid(3) has it

        def worked():
            return sum(map(time.clock_gettime, clocks))

        async def listen(index):
            async for message in rooms[index]:
                if message.type == "count":
                    if index == 0:
                        trips.append(worked() - message.data[1])
                    heard[index].append(message.data[0])
                elif message.type != "command":
                    wrong.append(repr(message))

        async def talk():
            number = 0
            while True:
                await rooms[0].send("count", [number, worked(), secret])
                number += 1
                await asyncio.sleep(0.005)

        tasks = [asyncio.ensure_future(listen(index)) for index in range(3)] + [asyncio.ensure_future(talk())]
        reconnects = []
        for one in everybody:
            one._shell.interrupted = reconnects.append
        loop = asyncio.get_running_loop()
        lines = asyncio.Queue()
        loop.add_reader(0, lambda: lines.put_nowait(sys.stdin.readline()))
        print(json.dumps({"ready": rooms[0].id}), flush=True)
        while (line := await lines.get()).strip():
            echo = await rooms[1].request("echo", line, timeout=10)
            report = {
                "echo": echo == line,
                "trips": sorted(trips),
                "in order": all(numbers == list(range(len(numbers))) for numbers in heard),
                "heard": [len(numbers) for numbers in heard],
                "wrong": wrong,
                "misrouted": sum(one.misrouted_bundles for one in everybody),
                "reconnects": reconnects,
                "room ended": [repr(room.error) for room in rooms if not room.joined],
            }
            trips.clear()
            print(json.dumps(report), flush=True)
        loop.remove_reader(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


class Process:
    """A process that answers a line with a line of JSON."""

    def __init__(self, source: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", source, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": SOURCES},
        )
        self._data = b""

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                self._write("")
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.communicate()

    def ask(self, line: str) -> Any:
        """Send a line, and take the answer."""
        self._write(line)
        return self.answer()

    def answer(self) -> Any:
        """The next line that it prints."""
        deadline = time.monotonic() + PATIENCE
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._data:
                assert selector.select(max(0.0, deadline - time.monotonic())), "it does not answer"
                data = os.read(self.process.stdout.fileno(), 1 << 20)
                assert data, f"it has died: {self.process.wait()}"
                self._data += data
        line, _, self._data = self._data.partition(b"\n")
        return json.loads(line)

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()


class Target:
    """The server, with the honest clients who must not notice anything."""

    def __init__(self, server: Process, honest: Process) -> None:
        self._server = server
        self._honest = honest
        self.address: str = server.answer()["address"]
        self.pid = server.process.pid
        self.vault = ""
        """The room that the honest ones are in."""

    def begin(self, vault: str) -> None:
        self.vault = vault
        time.sleep(0.3)  # a first sample of how much is done when nobody disturbs
        self._honest.ask("x")
        time.sleep(0.5)
        self.quiet = median(self._honest.ask("x")["trips"])

    def stats(self) -> dict[str, Any]:
        """What the server says of itself. Nothing that it did not handle may have escaped."""
        stats: dict[str, Any] = self._server.ask("stats")
        assert stats["escaped"] == []
        return stats

    def counted(self, name: str) -> int:
        """How often something was refused, by the name of its error."""
        count: int = self.stats()["counts"].get(name, 0)
        return count

    def counts_more(self, name: str, before: int) -> None:
        """Wait until something was refused once more."""
        deadline = time.monotonic() + PATIENCE
        while self.counted(name) <= before:
            assert time.monotonic() < deadline, f"{name}: no more than {before}"
            time.sleep(0.02)

    def settles(self) -> None:
        """Wait until nobody but the honest ones is left."""
        deadline = time.monotonic() + PATIENCE
        wanted = {"sessions": 3, "connections": 3, "rooms": 1, "tickets": 0, "events": 0}
        while any((stats := self.stats())[name] != count for name, count in wanted.items()):
            assert time.monotonic() < deadline, (wanted, stats)
            time.sleep(0.02)

    def has_at_most(self, connections: int) -> None:
        """Wait until there are not more: who is turned away is there until it is cut."""
        deadline = time.monotonic() + PATIENCE
        while (standing := self.stats()["connections"]) > connections:
            assert time.monotonic() < deadline, f"{standing} connections stand, {connections} may"
            time.sleep(0.02)

    def descriptors(self) -> int:
        """How many the server holds."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """Bytes that the server has in memory now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def is_alive(self) -> bool:
        """Whether the server lives."""
        return self._server.process.poll() is None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """While something hostile happens: the honest clients lose nothing, and go on at their pace.

        That is how long the server's processes have worked, on whatever it is, between what an honest client said and
        what it heard of it, in seconds of a processor.
        """
        self._honest.ask("begin")
        yield
        assert self.is_alive(), "the server has died"
        time.sleep(0.05)
        report = self._honest.ask("end")
        assert report["echo"]
        assert report["in order"]
        assert report["wrong"] == []
        assert report["misrouted"] == 0
        assert report["reconnects"] == []
        assert report["room ended"] == []
        assert report["trips"], "nothing came through"
        assert median(report["trips"]) < max(_MEDIAN, 10 * self.quiet)
        assert report["trips"][-1] < _LONGEST


def median(values: list[float]) -> float:
    """The middle of a sorted list."""
    return values[len(values) // 2]


@contextlib.contextmanager
def under_attack(source: str = SERVER) -> Iterator[Target]:
    """A server and its honest clients."""
    with Process(source) as server:
        target_address = server.answer()
        server._data = json.dumps(target_address).encode() + b"\n" + server._data
        with Process(HONEST, target_address["address"], SECRET.decode(), str(server.process.pid)) as honest:
            target = Target(server, honest)
            target.begin(honest.answer()["ready"])
            descriptors = target.descriptors()
            yield target
            if target.is_alive():
                target.settles()
                assert target.descriptors() <= descriptors + 2
