"""``srs bench``: how fast this machine is, in a few seconds, through the public API."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

import rich_click as click

from ..client import AsyncClient, ClientRoom, connect
from ..protocol.rulesets import RuleSet
from .children import Child, ChildFailed, end_all
from .exits import CommandError
from .screen import table

__all__ = ["Figures", "bench"]

_SEATS = 4
_IN_FLIGHT = 16
_START = 10.0
_SETTLE = 10.0
_BUSY = 0.9
"""Share of a core from which a process counts as the limit."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured. Times are seconds; CPU is shares of one core."""

    rooms: int
    clients: int
    seconds: float
    joins_per_second: float
    echo_p50: float
    echo_p99: float
    messages_per_second: float
    deliveries_per_second: float
    server_cpu: float
    clients_cpu: float
    missing: int
    """Deliveries that should have come and did not, or came too often."""


@click.command()
@click.option(
    "--rooms", metavar="N", type=click.IntRange(1, 250), default=10, show_default=True, help="Rooms of 4 to fill."
)
@click.option(
    "--seconds",
    metavar="SECONDS",
    type=click.FloatRange(0.2, 60),
    default=2.0,
    show_default=True,
    help="How long to measure, twice.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one object.")
def bench(rooms: int, seconds: float, as_json: bool) -> None:
    """Measure this machine, for a few seconds.

    A server runs in one process, Python clients in another: what you see is what
    both together can do, and the clients are often the slower side. For the
    comparison with bare ZeroMQ run make bench in a checkout.
    """
    try:
        figures = asyncio.run(_measure(rooms, seconds))
    except ChildFailed as error:
        raise CommandError(f"the bench broke off: {error}") from error
    click.echo(json.dumps(asdict(figures), indent=2) if as_json else "\n".join(_report(figures)))
    if figures.missing:
        raise CommandError(f"{figures.missing} deliveries are missing, or came twice")


async def _measure(rooms: int, seconds: float) -> Figures:
    server = await Child.start("server", "cli.bench_server")
    try:
        event = await asyncio.wait_for(server.event(), _START)
        if event is None:
            raise ChildFailed("the server did not start")
        async with AsyncExitStack() as stack:
            return await _Crowd(event["address"], stack).measure(rooms, seconds)
    finally:
        await end_all([server])


class _Member:
    """One client who keeps some of its messages in flight, and counts."""

    def __init__(self, number: int, room: ClientRoom) -> None:
        self.number = number
        self.room = room
        self.sent = 0
        self.own = 0
        self.heard = 0

    async def send(self) -> None:
        self.sent += 1
        await self.room.send("say", {"by": self.number, "n": self.sent})

    async def flood(self, stop: asyncio.Event) -> None:
        """Send as soon as an own message is back; after ``stop``, hear what is still to come."""
        for _ in range(_IN_FLIGHT):
            await self.send()
        async for message in self.room:
            self.heard += 1
            if message.data["by"] == self.number:
                self.own += 1
                if not stop.is_set():
                    await self.send()


class _Crowd:
    def __init__(self, address: str, stack: AsyncExitStack) -> None:
        self._address = address
        self._stack = stack

    async def measure(self, rooms: int, seconds: float) -> Figures:
        """Everything, one after the other."""
        single = await self._enter(RuleSet(1, room="measured"))
        echo = await _echo(single, seconds)
        began = time.perf_counter()
        count = rooms * _SEATS
        seats = await asyncio.gather(*(self._enter(RuleSet(_SEATS, room="measured")) for _ in range(count)))
        joins = count / (time.perf_counter() - began)
        members = [_Member(number, room) for number, room in enumerate(seats)]
        stop = asyncio.Event()
        tasks = [asyncio.ensure_future(member.flood(stop)) for member in members]
        await asyncio.sleep(min(0.5, seconds / 4))
        before = await _reading(single, members)
        await asyncio.sleep(seconds)
        after = await _reading(single, members)
        stop.set()
        missing = await _missing(members)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        elapsed, own, heard, server, clients = (late - early for late, early in zip(after, before, strict=True))
        return Figures(
            rooms=rooms,
            clients=count,
            seconds=seconds,
            joins_per_second=joins,
            echo_p50=echo[len(echo) // 2],
            echo_p99=echo[min(len(echo) - 1, int(len(echo) * 0.99))],
            messages_per_second=own / elapsed,
            deliveries_per_second=heard / elapsed,
            server_cpu=server / elapsed,
            clients_cpu=clients / elapsed,
            missing=missing,
        )

    async def _enter(self, ruleset: RuleSet) -> ClientRoom:
        client: AsyncClient = await self._stack.enter_async_context(connect(self._address, connect_timeout=_START))
        return await client.match(ruleset, timeout=30)


async def _echo(room: ClientRoom, seconds: float) -> list[float]:
    """Round trips through a room, sorted."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        await room.send("say", len(took))
        await room.receive()
        took.append(time.perf_counter() - start)
    return sorted(took[len(took) // 10 :])


async def _reading(single: ClientRoom, members: list[_Member]) -> tuple[float, float, float, float, float]:
    server: float = await single.request("cpu", timeout=_SETTLE)
    own, heard = sum(member.own for member in members), sum(member.heard for member in members)
    return time.perf_counter(), own, heard, server, time.process_time()


async def _missing(members: list[_Member]) -> int:
    """Wait for what is in flight; by how much the count is wrong then."""
    deadline = time.monotonic() + _SETTLE
    while True:
        sent: dict[str, int] = {}
        for member in members:
            sent[member.room.id] = sent.get(member.room.id, 0) + member.sent
        wrong = sum(abs(sent[member.room.id] - member.heard) for member in members)
        if not wrong or time.monotonic() > deadline:
            return wrong
        await asyncio.sleep(0.05)


def _report(figures: Figures) -> list[str]:
    rows: list[tuple[str, str]] = [
        (f"connect, match and join, {figures.clients} at once", f"{figures.joins_per_second:,.0f} a second"),
        ("round trip through a room, one client, p50", f"{figures.echo_p50 * 1e6:,.0f} µs"),
        ("round trip through a room, one client, p99", f"{figures.echo_p99 * 1e6:,.0f} µs"),
        (
            f"{figures.rooms} rooms of {_SEATS}, everybody sending: messages",
            f"{figures.messages_per_second:,.0f} a second",
        ),
        ("    deliveries", f"{figures.deliveries_per_second:,.0f} a second"),
        ("    CPU of the server's process", f"{figures.server_cpu:.0%} of a core"),
        ("    CPU of the clients' process", f"{figures.clients_cpu:.0%} of a core"),
    ]
    return [*table(rows, right=frozenset({1})), "", _limit(figures)]


def _limit(figures: Figures) -> str:
    if figures.server_cpu >= _BUSY:
        return "The server was the limit: this is what one process of it can do here."
    if figures.clients_cpu >= _BUSY:
        return "The clients were the limit, not the server: it had time left."
    return "Neither side was busy all the time: fill more rooms, or free the machine."
