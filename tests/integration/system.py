"""Rooms, clients and waits that the tests beside it share."""

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, ParamSpec

from server_room_system import AsyncClient, ClientData, ClientRoom, Received, Room, RuleSet, Server
from server_room_system.broker.host import Host

P = ParamSpec("P")

LOCAL = "127.0.0.1"
PATIENCE = 10.0
"""Seconds that anything may take before a test gives up."""


def on_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on an event loop of its own, for 30 s at most."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30.0))

    return run


class Talk(Room):
    """Says to all what one says, and who said it."""

    max_clients = 4

    def handle_response(self, protocol: str, data: Any, sender: Any, client_data: ClientData) -> None:
        self.broadcast(protocol, [client_data.ID, data])


class TalkUnlocked(Talk):
    """Open to others when everybody is gone."""

    min_clients = 0


@contextlib.asynccontextmanager
async def clients(where: "Host | str", count: int, **options: Any) -> AsyncIterator[list[AsyncClient]]:
    """That many clients of one server, all connected."""
    address = where if isinstance(where, str) else where.address
    async with contextlib.AsyncExitStack() as stack:
        made = [AsyncClient(address, **options) for _ in range(count)]
        yield [await stack.enter_async_context(client) for client in made]


async def matched(*members: AsyncClient, **criteria: Any) -> list[ClientRoom]:
    """These clients, matched with each other."""
    ruleset = RuleSet(len(members), **criteria)
    return list(await asyncio.gather(*(member.match(ruleset, timeout=PATIENCE) for member in members)))


async def gathered(first: AsyncClient, *others: AsyncClient, **criteria: Any) -> list[ClientRoom]:
    """These clients in a room that the first one made."""
    room = await first.create(RuleSet(1 + len(others), **criteria))
    return [room, *[await other.join_by_id(room.id) for other in others]]


async def hear(source: "ClientRoom | AsyncClient", wanted: str = "message") -> Any:
    """The data of the next message of one type; what comes before it is passed over."""
    while (message := await source.receive(PATIENCE)).type != wanted:
        pass
    return message.data


async def hear_all(source: "ClientRoom | AsyncClient", last: object) -> list[Received]:
    """Everything up to the message whose data is ``last``."""
    heard = [await source.receive(PATIENCE)]
    while heard[-1].data != last:
        heard.append(await source.receive(PATIENCE))
    return heard


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def over(room: ClientRoom) -> None:
    """Wait until the room has ended for this client."""
    async with asyncio.timeout(PATIENCE):
        async for _ in room:
            pass


async def raises(awaitable: Awaitable[Any]) -> BaseException | None:
    """What awaiting this raises, if anything."""
    try:
        await awaitable
    except Exception as error:  # noqa: BLE001  # the test looks at it
        return error
    return None


@contextlib.contextmanager
def on_a_thread(server: Server, **options: Any) -> Iterator[Host]:
    """A server on a thread of its own, for clients that block."""
    hosts: list[Host] = []
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with server.listen(LOCAL, 0, **options) as host:
            hosts.append(host)
            started.set()
            await host.stopped()

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            stop.set()
            started.set()

    loop_thread = threading.Thread(target=run)
    loop_thread.start()
    try:
        assert started.wait(PATIENCE)
        yield hosts[0]
    finally:
        with contextlib.suppress(RuntimeError):  # it has stopped already
            hosts[0]._port._loop.call_soon_threadsafe(hosts[0].stop_soon)
        assert stop.wait(PATIENCE)
        loop_thread.join()
