"""``srs chat``: a client to type in."""

import asyncio
import contextlib
import json
import sys
from typing import Any

import rich_click as click

from ..client import AsyncClient, ClientRoom, Received, connect
from ..protocol.errors import InRoom, Left, NotInRoomError, RateLimited, RoomBusy, ServerRoomError
from ..protocol.names import Protocol
from ..protocol.rulesets import RuleSet
from .access import access_options
from .address import address_argument, timeout_option
from .lines import Lines
from .screen import Palette, printable

__all__ = ["chat"]

_HELP = """\
/join [N] [TYPE]    wait for a room of N, of this type
/leave              leave the room; what you type goes to the server then
/send TYPE [JSON]   send a message of your own type
/quit               end; so does Ctrl-D
//text              text that begins with a /"""
_MATCH_TIME = 24 * 3600.0
_SILENCE = 0.5
_LONGEST_LISTENING = 5.0
_MOST_AGAIN = 200


@click.command()
@address_argument
@click.option(
    "--clients",
    "-n",
    metavar="N",
    type=click.IntRange(1, 100_000),
    default=2,
    show_default=True,
    help="How many the room is for, you included.",
)
@click.option("--room", metavar="TYPE", help="The room type; without it the server chooses.")
@access_options
@timeout_option
def chat(address: str, clients: int, room: str | None, access: dict[str, Any], timeout: float) -> None:
    """Join a room and type.

    You wait until N clients asked for the same. Then what you type goes to the
    room, and what the room says is shown. /help shows the commands.

    Piped lines are sent once you are in the room; at their end you listen until
    nobody has spoken for half a second, and leave.

    ADDRESS is host:port; without it, 127.0.0.1:1234.
    """
    asyncio.run(_talk(address, RuleSet(clients, room=room), timeout, access))


async def _talk(address: str, ruleset: RuleSet, timeout: float, access: dict[str, Any]) -> None:
    async with connect(address, connect_timeout=timeout, **access) as client:
        await _Chat(client, address).run(ruleset)


class _Chat:
    def __init__(self, client: AsyncClient, address: str) -> None:
        self._client = client
        self._address = address
        self._lines = Lines()
        self._paint = Palette(sys.stderr)
        self._room: ClientRoom | None = None
        self._entering: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._error: ServerRoomError | None = None
        self._heard = asyncio.Event()
        self._over = asyncio.Event()

    async def run(self, ruleset: RuleSet) -> None:
        """Talk until one side has had enough. Raises what ended it, if that was no one's wish."""
        self._note(f"you are {self._client.id} at {self._address}" + (": /help helps" if self._lines.typed else ""))
        self._enter(ruleset)
        tasks: list[asyncio.Task[Any]] = [
            asyncio.ensure_future(self._type()),
            asyncio.ensure_future(self._listen_to_the_server()),
            asyncio.ensure_future(self._over.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leftover = [*tasks, *([self._entering] if self._entering else [])]
            for task in leftover:
                task.cancel()
            await asyncio.gather(*leftover, return_exceptions=True)
        for task in done:
            task.result()
        if self._error is not None:
            raise self._error

    # Rooms.

    def _enter(self, ruleset: RuleSet) -> None:
        self._settled.clear()
        first = self._entering is None
        self._entering = asyncio.ensure_future(self._stay_in_room(ruleset, first))

    async def _stay_in_room(self, ruleset: RuleSet, first: bool) -> None:
        kind = f" of type {ruleset.room}" if ruleset.room else ""
        self._note(f"waiting for a room of {ruleset.clients}{kind}")
        try:
            room = self._room = await self._client.match(ruleset, timeout=_MATCH_TIME)
        except ServerRoomError as error:
            if first or not self._lines.typed:
                self._end(error)
            else:
                self._note(f"no room: {printable(str(error))}")
            self._settled.set()
            return
        self._note(f"in room {printable(room.id, 64)} ({printable(room.type, 64)})")
        self._settled.set()
        async for message in room:
            self._show(message)
        self._room = None
        if self._client.closed:
            return
        if isinstance(room.error, Left):
            self._note("you left the room")
        elif self._lines.typed:
            self._note(f"out of the room: {printable(str(room.error))}. /join takes you to another")
        else:
            self._end(room.error)

    def _end(self, error: ServerRoomError | None) -> None:
        self._error = error
        self._over.set()

    async def _listen_to_the_server(self) -> None:
        async for message in self._client:
            self._show(message)
        if self._client.error is not None:
            raise self._client.error

    # Typing.

    async def _type(self) -> None:
        while True:
            if not self._lines.typed:
                await self._settled.wait()
            line = await self._lines.next()
            if line is None:
                break
            try:
                if line.startswith("/") and not line.startswith("//"):
                    if await self._command(line):
                        return
                elif line.strip():
                    await self._send(Protocol.Request.MESSAGE, line.removeprefix("/"))
            except ServerRoomError as error:
                if self._client.closed or not self._lines.typed:
                    raise
                self._note(f"not sent: {printable(str(error))}")
        if not self._lines.typed:
            await self._hear_them_out()

    async def _command(self, line: str) -> bool:
        name, _, rest = line[1:].strip().partition(" ")
        if name in ("quit", "exit"):
            return True
        if name == "help":
            self._note(_HELP)
        elif name == "leave":
            await self._leave()
        elif name == "join":
            self._join(rest.split())
        elif name == "send" and rest:
            await self._send_own(rest)
        else:
            self._note(f"there is no command {printable(line, 60)}; the commands are:\n{_HELP}")
        return False

    async def _leave(self) -> None:
        room, self._room = self._room, None
        if room is None:
            self._note("you are in no room")
        else:
            await room.leave()

    def _join(self, words: list[str]) -> None:
        if self._entering is not None and not self._entering.done():
            self._note("you are in a room already: /leave it first" if self._room else "you wait for a room already")
            return
        try:
            clients = int(words.pop(0)) if words and words[0].isdecimal() else 2
            self._enter(RuleSet(clients, room=words[0] if words else None))
        except ServerRoomError as error:
            self._note(str(error))

    async def _send_own(self, rest: str) -> None:
        kind, _, text = rest.strip().partition(" ")
        try:
            data = json.loads(text) if text.strip() else None
        except json.JSONDecodeError as error:
            self._note(f'not sent: that is no JSON ({error.msg}). Like this: /send {kind} {{"x": 1}}')
            return
        await self._send(kind, data)

    async def _send(self, kind: str, data: Any) -> None:
        for _ in range(_MOST_AGAIN):
            try:
                if self._room is not None and self._room.joined:
                    await self._room.send(kind, data, ack=True)
                else:
                    await self._client.send(kind, data, ack=True)
                return
            except InRoom:
                await self._settled.wait()  # the match came in between: nothing was applied, so say it in the room
            except (RateLimited, RoomBusy):
                if self._lines.typed:
                    raise
                await asyncio.sleep(0.05)  # a pipe is faster than a room allows: nothing was applied, so say it again
        raise RoomBusy(f"the room took nothing for {_MOST_AGAIN * 0.05:.0f} s")

    async def _hear_them_out(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_LISTENING):
                while True:
                    self._heard.clear()
                    await asyncio.wait_for(self._heard.wait(), _SILENCE)
        if self._room is not None:
            with contextlib.suppress(NotInRoomError):
                await self._room.leave()

    # Showing.

    def _show(self, message: Received) -> None:
        self._heard.set()
        if message.kind == "presence":
            verbs = {"join": "joined", "drop": "lost the connection", "reconnect": "is back", "leave": "left"}
            self._note(f"{message.data} {verbs.get(message.type, printable(message.type, 20))}")
        elif message.kind == "reset":
            self._note("messages are missing here")
        elif message.type == Protocol.Response.MESSAGE:
            print(printable(message.data), flush=True)
        elif message.type != Protocol.Response.COMMAND:
            print(f"[{printable(message.type, 64)}] {printable(message.data)}", flush=True)
        elif message.data == "close":
            self._note("the server ends this client")
            self._end(None)
        else:
            self._note("everybody is here" if message.data == "room ready!" else printable(message.data))

    def _note(self, text: str) -> None:
        sys.stdout.flush()
        for line in text.splitlines():
            print(self._paint(f"* {line}", "dim"), file=sys.stderr, flush=True)
