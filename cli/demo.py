"""``srs demo``: the whole system at work, in real processes."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import rich_click as click

from .children import Child, ChildFailed, end_all
from .demo_record import Record
from .exits import CommandError
from .screen import Palette, table

__all__ = ["demo"]

_NAMES = ("ann", "ben", "cleo", "dora", "emil", "finn")
_SEATS = 3
_STEP = 8.0
_WHOLE = 14.0
_COLOURS = ("cyan", "magenta", "yellow", "green")
_FIRST_WORDS = ("Hello, who is here?", "Hi! Do you hear me?", "Good morning, all.")
_LAST_WORDS = ("One less, we go on.", "I'm still here.", "Goodbye, then!")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Only the summary, for programs.")
def demo(as_json: bool) -> None:
    """Watch a server, rooms and six clients talk.

    Each is a process of its own on this machine, on a free port. The clients are
    matched into two rooms of three and talk; one leaves, the others go on; all
    is shut down. Then it is checked that no message crossed rooms, none was lost
    and none came twice. It takes a few seconds and ends by itself.
    """
    stage = _Stage(quiet=as_json)
    try:
        asyncio.run(stage.perform())
    except ChildFailed as error:
        raise CommandError(f"the demo broke off: {error}") from error
    except TimeoutError as error:
        raise CommandError(f"the demo broke off: {error or f'it took more than {_WHOLE:.0f} s'}") from error
    problems = stage.problems()
    click.echo(json.dumps(stage.summary(problems), indent=2) if as_json else "\n".join(stage.report(problems)))
    if problems:
        raise CommandError(f"{len(problems)} of the promises were not kept: {problems[0]}")


class _Stage:
    """Starts everybody, tells them what to do, shows and records what they see."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._paint = Palette(sys.stdout)
        self._record = Record()
        self._children: list[Child] = []
        self._clients: dict[str, Child] = {}
        self._seen: set[tuple[str, str]] = set()
        self._letters: dict[str, str] = {}
        self._opened: set[str] = set()
        self._closed: set[str] = set()
        self._changed = asyncio.Event()
        self._marks = 0
        self._began = time.monotonic()
        self._took = 0.0

    async def perform(self) -> None:
        """The whole play.

        Raises:
            ChildFailed: a process ended too early, or badly.
            TimeoutError: something did not happen in time.
        """
        try:
            async with asyncio.timeout(_WHOLE), asyncio.TaskGroup() as following:
                await self._play(following)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            await end_all(self._children)
            self._took = time.monotonic() - self._began

    async def _play(self, following: asyncio.TaskGroup) -> None:
        server = await Child.start("server", "cli.demo_server")
        self._children.append(server)
        first = await asyncio.wait_for(server.event(), _STEP)
        if first is None or first["event"] != "listening":
            raise ChildFailed("the server did not start")
        address = first["address"]
        self._show("server", f"listens on {address}, process {server.process.pid}")
        following.create_task(server.follow(self._on_event))
        for name in _NAMES:
            child = self._clients[name] = await Child.start(name, "cli.demo_client", address, name, str(_SEATS))
            self._children.append(child)
            following.create_task(child.follow(self._on_event))
        await self._until(lambda: self._all_have("joined"), "everybody is in a room")
        for name in sorted(_NAMES, key=self._letter):
            self._show(name, f"is in a room with {self._others(name)}")
        self._heading("everybody says something")
        await self._talk(_FIRST_WORDS)
        self._heading("one leaves")
        await self._leave(self._record.members(self._record.rooms[0])[-1])
        self._heading("the others go on")
        await self._talk(_LAST_WORDS)
        self._heading("all is shut down")
        for child in self._clients.values():
            child.command("quit")
        await self._until(lambda: self._all_have("ended"), "all clients have ended")
        server.command("close")
        await self._until(lambda: ("server", "stopped") in self._seen, "the server has stopped")

    async def _leave(self, leaver: str) -> None:
        self._record.gone.add(leaver)
        self._clients[leaver].command("leave")
        those = [leaver, *self._record.present(self._record.room_of[leaver])]
        await self._until(
            lambda: all((name, "left" if name == leaver else "missed") in self._seen for name in those),
            f"{leaver} has left, and the others know",
        )

    async def _talk(self, words: tuple[str, ...]) -> None:
        """Everybody who is in a room says something; returns when all who should have heard it."""
        for room in self._record.rooms:
            for name, text in zip(self._record.present(room), words, strict=False):
                self._marks += 1
                mark = f"m{self._marks}"
                self._record.says(name, mark)
                self._show(name, f"says: {text}", "bold")
                self._clients[name].command(f"say {mark} {text}")
        await self._until(lambda: self._record.all_heard, "everybody has heard everything")

    def _on_event(self, child: Child, event: dict[str, Any]) -> None:
        name, kind = child.name, event["event"]
        self._seen.add((name, kind))
        if kind == "connected":
            self._show(name, f"is connected as {event['id']}, process {child.process.pid}; asks for a room of {_SEATS}")
        elif kind == "joined":
            self._record.joined(name, event["room"])
        elif kind == "heard":
            self._record.hears(name, event["mark"])
            if event["by"] != name:
                self._show(name, f"hears {event['by']}: {event['text']}")
        elif kind == "missed":
            self._show(name, f"sees that {event['who']} has left")
        elif kind == "left":
            self._show(name, "has left the room")
        elif kind == "opened":
            self._opened.add(event["room"])
            self._show("server", f"opens room {self._letter_of(event['room'])}, {event['room']}")
        elif kind == "closed":
            self._closed.add(event["room"])
            self._show("server", f"closes room {self._letter_of(event['room'])}")
        else:
            self._show(name, f"has {kind}" if kind in ("ended", "stopped") else f"tells: {kind}")
        self._changed.set()

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(_STEP):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"after {_STEP:.0f} s it is not so that {what}") from None

    def _all_have(self, event: str) -> bool:
        return all((name, event) in self._seen for name in _NAMES)

    # What is printed.

    def _heading(self, text: str) -> None:
        if not self._quiet:
            click.echo(self._paint(f"--- {text}", "dim"))

    def _show(self, name: str, text: str, *styles: str) -> None:
        if not self._quiet:
            letter = self._letter(name)
            colour = _COLOURS[(ord(letter) - ord("A")) % len(_COLOURS)] if letter.strip() else "dim"
            click.echo(f"{self._paint(f'{letter} {name:6}', 'bold', colour)}  {self._paint(text, *styles)}")

    def _letter(self, name: str) -> str:
        room = self._record.room_of.get(name)
        return self._letter_of(room) if room else " "

    def _letter_of(self, room: str) -> str:
        return self._letters.setdefault(room, chr(ord("A") + len(self._letters)))

    def _others(self, name: str) -> str:
        members = self._record.members(self._record.room_of[name])
        return " and ".join(other for other in members if other != name) or "nobody"

    def problems(self) -> list[str]:
        """What is not as promised."""
        found = self._record.problems(_SEATS)
        found += [f"room {self._letter_of(room)} never closed" for room in self._opened - self._closed]
        found += [f"{child.name} still runs" for child in self._children if child.process.returncode is None]
        return found

    def report(self, problems: list[str]) -> Iterator[str]:
        """The summary for people."""
        record = self._record
        rows = [["ROOM", "MEMBERS", "SAID", "HEARD BY EACH"]]
        for room in sorted(record.rooms, key=self._letter_of):
            heard = [
                f"{name} {len(record.heard[name])}" + (" (left early)" if name in record.gone else "")
                for name in record.members(room)
            ]
            said = sum(message.room == room for message in record.said.values())
            rows.append([self._letter_of(room), ", ".join(record.members(room)), str(said), ", ".join(heard)])
        yield ""
        yield from table(rows, right=frozenset({2}))
        yield ""
        for problem in problems:
            yield f"{self._paint('WRONG', 'bold', 'red')}  {problem}"
        if not problems:
            checked = f"no message crossed rooms, none lost, none doubled: {record.deliveries} deliveries checked"
            yield f"{self._paint('ok', 'bold', 'green')}  {checked}"
            yield f"{self._paint('ok', 'bold', 'green')}  {len(self._children)} processes started, and all ended"
        yield f"    in {self._took:.1f} s"

    def summary(self, problems: list[str]) -> dict[str, Any]:
        """The summary for programs."""
        record = self._record
        return {
            "ok": not problems,
            "problems": problems,
            "rooms": [
                {
                    "room": room,
                    "members": record.members(room),
                    "left": sorted(record.gone & set(record.members(room))),
                    "heard": {name: len(record.heard[name]) for name in record.members(room)},
                }
                for room in record.rooms
            ],
            "said": len(record.said),
            "deliveries": record.deliveries,
            "processes": len(self._children),
            "seconds": round(self._took, 2),
        }
