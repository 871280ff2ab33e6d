"""Targets that are whole programs: servers, workers and clients in memory, whose other side is hostile.

The oracle is the same for all: nothing that a peer says raises an error on the
event loop, or is logged as one; honest clients go on; and everything can be
closed. They run on a virtual clock, so that a run takes milliseconds.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from random import Random
from typing import Any

from server_room_system import AuthRefused, Member, Peer, Room, Server, ServerRoomError, Session, on_message, on_request
from server_room_system.client import AsyncClient, ClientRoom
from server_room_system.protocol import BadMessage, UnknownKind, decoder, parse, parse_cluster
from server_room_system.protocol.cluster import CLUSTER_SHAPES, ClusterKind, cluster_fields_of
from server_room_system.protocol.messages import SHAPES, fields_of
from server_room_system.testing import run
from server_room_system.transport import Link, Network

from .script import Memory, Script, make_message, packed

__all__ = ["MOST_STEPS", "Stranger", "a_server", "expect", "in_memory", "invent", "is_well", "understood", "watched"]

MOST_STEPS = 60
"""Of one run: more do not find more, and take longer."""
LARGEST = 64 * 1024

_decode = decoder(1 << 20, 1 << 20, 64, 1 << 20)


class Plain(Room):
    """Passes on what it is told, and answers what it is asked."""

    max_clients = 3
    min_clients = 0
    reconnect_grace = 3.0
    presence = True
    message_rate = None

    @on_message("say")
    def say(self, client: Member, data: Any) -> None:
        self.broadcast("said", data)

    @on_message("tell")
    def tell(self, client: Member, data: Any) -> None:
        client.send("told", data)

    @on_request("ask")
    async def ask(self, client: Member, data: Any) -> Any:
        await asyncio.sleep(0.01)
        return data

    def snapshot(self) -> Any:
        return {"members": len(self.clients)}


class Topic(Plain):
    """The same as a topic."""

    fanout = "topic"


class _Server(Server):
    def on_auth(self, credentials: Any, peer: Peer) -> Any:
        if credentials == "no":
            raise AuthRefused("no")
        return credentials

    def handle_response(self, protocol: str, data: Any, sender: Session, client_data: Any) -> None:
        sender.send("heard", data)


def a_server() -> Server:
    """With a plain and a topic room type."""
    return _Server(rooms={"plain": Plain, "topic": Topic})


def understood(frame: bytes, memory: Memory) -> Any:
    """The message that a frame holds, noted; None for what is none."""
    try:
        value = _decode(frame)
        cluster = type(value) is list and value and type(value[0]) is int and value[0] >= min(ClusterKind)
        message: Any = parse_cluster(value) if cluster else parse(value)
    except (BadMessage, UnknownKind):
        return None
    memory.note(message, cluster_fields_of(type(message)) if cluster else fields_of(type(message)))
    return message


def invent(script: Script, memory: Memory, *, cluster: bool = False) -> bytes:
    """A frame that a peer might send: a message, or bytes."""
    if script.byte() >= 230:
        return script.chunk()
    shapes, fields = (CLUSTER_SHAPES, cluster_fields_of) if cluster else (SHAPES, fields_of)
    try:
        return packed(make_message(script, shapes, fields, memory))[:LARGEST]
    except (ValueError, TypeError, OverflowError):
        return b"\xc1"


class Stranger:
    """A raw connection: says what the script says, and remembers what it hears."""

    def __init__(self, network: Network, address: str, memory: Memory) -> None:
        self._network = network
        self._address = address
        self._memory = memory
        self._link: Link | None = None
        self.on_heard: Callable[[Any], None] = lambda message: None

    def up(self) -> None:
        pass

    def receive(self, frame: bytes) -> None:
        message = understood(frame, self._memory)
        if message is not None:
            self.on_heard(message)

    def down(self, reason: str) -> None:
        self._link = None

    def say(self, frame: bytes) -> None:
        """Send a frame; on a new connection, if there is none."""
        if self._link is None:
            self._link = self._network.connect(self._address, self, 1 << 20)
        self._link.send(frame)

    def hang_up(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class _Notes(logging.Handler):
    def __init__(self, expected: tuple[str, ...]) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []
        self._expected = expected
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        if not any(words in record.getMessage() for words in self._expected):
            self.found.append(self._formatter.format(record))


@contextlib.asynccontextmanager
async def watched(*expected: str) -> AsyncIterator[None]:
    """Fails if the event loop or a log has errors to complain of, other than the expected."""
    notes, loop = _Notes(expected), asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _, context: notes.found.append(
            logging.Formatter().formatException((type(error), error, error.__traceback__))
            if (error := context.get("exception")) is not None
            else str(context.get("message"))
        )
    )
    logger = logging.getLogger("server_room_system")
    logger.addHandler(notes)
    passed_on, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(notes)
        logger.propagate = passed_on
    assert not notes.found, "\n".join(notes.found)


async def is_well(client: AsyncClient, *rooms: ClientRoom) -> None:
    """An honest client's rooms answer it, and say to it what it says."""
    for number, room in enumerate(rooms):
        words = f"still here {number}"
        await room.send("say", words, ack=True)
        while (await room.receive()).data != words:
            pass
        assert await room.request("ask", number) == number
    await client.rooms()


def in_memory(play: Callable[[Script, Random], Coroutine[Any, Any, None]]) -> Callable[[bytes], None]:
    """A target out of a scene: runs it on a virtual clock."""

    def target(data: bytes) -> None:
        script = Script(data)
        run(play(script, Random(0)), limit=36_000.0)

    target.__doc__ = play.__doc__
    return target


def expect() -> contextlib.suppress:
    """What the user of a client may be told by a hostile server."""
    return contextlib.suppress(ServerRoomError)
