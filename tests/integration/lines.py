"""Connections of the protocol itself: what is said and heard, message by message."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from server_room_system.protocol import Limits, messages
from server_room_system.protocol.codec import download_decoder
from server_room_system.transport import Key, ZmqNetwork

from .system import PATIENCE


class Line:
    """One connection."""

    def __init__(self, network: ZmqNetwork, address: str, key: Key | None = None) -> None:
        self._decode = download_decoder(Limits())
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.ready = asyncio.Event()
        self.link = network.connect(address, self, Limits().download, key)

    def up(self) -> None:
        self.ready.set()

    def down(self, reason: str) -> None:
        self.heard.put_nowait(reason)

    def receive(self, frame: bytes) -> None:
        self.heard.put_nowait(messages.parse(self._decode(frame)))

    def say(self, message: messages.Message) -> None:
        """Say something."""
        self.link.send(messages.encode(message))

    async def hear(self, kind: type[Any]) -> Any:
        """The next message of one kind; others are passed over."""
        async with asyncio.timeout(PATIENCE):
            while not isinstance(message := await self.heard.get(), kind):
                pass
        return message

    def rest(self) -> list[Any]:
        """What was heard and not looked at."""
        return [self.heard.get_nowait() for _ in range(self.heard.qsize())]

    async def hello(self) -> Any:
        """Open a session; the WELCOME."""
        self.say(messages.Hello(1, [1], "test", {}))
        welcome = await self.hear(messages.Welcome)
        self.say(messages.Ack(welcome.ref, 0))
        return welcome

    async def join(self, seat: Any, ask: int) -> Any:
        """Take a seat that was assigned; the JOINED."""
        self.say(messages.Join(ask, seat.room, seat.reservation, {}))
        joined = await self.hear(messages.Joined)
        self.say(messages.Ack(joined.ref, 0))
        await self.hear(messages.Ack)
        return joined


@contextlib.asynccontextmanager
async def lines(*addresses: str) -> AsyncIterator[list[Line]]:
    """A connection to each of these."""
    network = ZmqNetwork()
    made = [Line(network, address) for address in addresses]
    try:
        for line in made:
            await line.ready.wait()
        yield made
    finally:
        for line in made:
            line.link.close()
        await network.end()
