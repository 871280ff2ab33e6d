"""Processes that a command starts, with JSON lines on their pipes, and the certainty that they end."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from ..protocol.errors import ServerRoomError
from .lines import Lines

__all__ = ["Child", "ChildFailed", "be_child", "end_all", "tell"]

Commands = asyncio.Queue[str]

_PACKAGE = __name__.partition(".")[0]
_SOURCE = Path(__file__).absolute().parents[2]
_PATIENCE = 2.0
_AFTERMATH = 0.5
"""Seconds in which a child that failed looks whether its parent is gone: then that was the reason."""


class ChildFailed(Exception):
    """A child ended before it should have, or said something else than a JSON object."""


def tell(event: str, **fields: Any) -> None:
    """In a child: say something to the process that started it, if it is still there."""
    try:
        print(json.dumps({"event": event, **fields}), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end


def be_child(main: Callable[[Commands], Awaitable[None]]) -> None:
    """In a child: run ``main`` with the lines that the parent writes, and end when there is no parent any more."""
    try:
        asyncio.run(_obey(main))
    except ServerRoomError as error:
        sys.exit(f"error: process {os.getpid()}: {error}")


async def _obey(main: Callable[[Commands], Awaitable[None]]) -> None:
    commands: Commands = asyncio.Queue()
    lines = Lines()

    async def read() -> None:
        while (line := await lines.next()) is not None:
            commands.put_nowait(line)

    work, reading = asyncio.ensure_future(main(commands)), asyncio.ensure_future(read())
    await asyncio.wait((work, reading), return_when=asyncio.FIRST_COMPLETED)
    if work.done() and work.exception() is not None:
        await asyncio.wait((reading,), timeout=_AFTERMATH)
    orphaned = reading.done()
    for task in (work, reading):
        task.cancel()
    await asyncio.gather(work, reading, return_exceptions=True)
    if not orphaned:  # otherwise the others ended too, and what failed was no more than that
        work.result()


class Child:
    """A module of this package in a process of its own.

    It has a session of its own, so that Ctrl-C reaches only the parent; and it
    ends when its standard input does, so that it never outlives the parent.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process

    @classmethod
    async def start(cls, name: str, module: str, *arguments: str) -> "Child":
        """Start ``module`` (``cli.demo_client``, say) under a name for messages."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the working directory holds nothing of ours
            "-m",
            f"{_PACKAGE}.{module}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": _with_this_package(), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        return cls(name, process)

    def command(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        if not self.process.stdin.is_closing():
            self.process.stdin.write(f"{line}\n".encode())

    async def event(self) -> dict[str, Any] | None:
        """The next thing that it tells; None when it has nothing more to say.

        Raises:
            ChildFailed: it said something else.
        """
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            return None
        try:
            event: dict[str, Any] = json.loads(line)
            event["event"]
        except (ValueError, KeyError, TypeError) as error:
            raise ChildFailed(f"{self.name} said {line[:80]!r}") from error
        return event

    async def follow(self, on_event: Callable[["Child", dict[str, Any]], None]) -> None:
        """Hand over all that it tells until it ends.

        Raises:
            ChildFailed: it ended with an exit code other than 0.
        """
        while (event := await self.event()) is not None:
            on_event(self, event)
        code = await self.process.wait()
        if code:
            raise ChildFailed(f"{self.name} (process {self.process.pid}) ended with exit code {code}")


async def end_all(children: Iterable[Child]) -> None:
    """End what still runs, by process id: asked first, killed after 2 s."""
    running = [child.process for child in children if child.process.returncode is None]
    for process in running:
        process.terminate()
    waits = [asyncio.ensure_future(process.wait()) for process in running]
    if waits:
        await asyncio.wait(waits, timeout=_PATIENCE)
    for process in running:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _with_this_package() -> str:
    already = os.environ.get("PYTHONPATH")
    return f"{_SOURCE}{os.pathsep}{already}" if already else str(_SOURCE)
