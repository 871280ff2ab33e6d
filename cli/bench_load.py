"""One load process of ``srs bench``: ``python -m server_room_system.cli.bench_load PLAN``.

It does what its standard input says and tells what it counted on its standard
output, one JSON object a line. What a bot prints goes to the standard error.
"""

import asyncio
import gc
import json
import logging
import os
import select
import selectors
import sys
import time
from typing import Any, TextIO

from ..lab.catalog import find_scenario
from ..lab.plan import Plan
from ..protocol.errors import ServerRoomError
from .bench_crowd import Crowd
from .lines import Lines

__all__ = ["main"]


class _Channel:
    """To the process that started this one. Bots may print; it must not reach the channel."""

    def __init__(self) -> None:
        self._stream: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def tell(self, event: dict[str, Any]) -> None:
        """Say something, if anybody is there. Whoever is gone has closed our input as well: that ends us."""
        try:
            self._stream.write(f"{json.dumps(event)}\n")
            self._stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


async def _obey(plan: Plan, channel: _Channel, selector: "_Selector") -> None:
    crowd = Crowd(plan, find_scenario(plan.scenario), channel.tell, lambda: (selector.woke, selector.idle))
    gc.freeze()
    commands: asyncio.Queue[str] = asyncio.Queue()
    lines = Lines()

    async def read() -> None:
        while (line := await lines.next()) is not None:
            commands.put_nowait(line)

    work, reading = asyncio.ensure_future(crowd.run(commands)), asyncio.ensure_future(read())
    await asyncio.wait((work, reading), return_when=asyncio.FIRST_COMPLETED)
    orphaned = reading.done()
    for task in (work, reading):
        task.cancel()
    await asyncio.gather(work, reading, return_exceptions=True)
    if not orphaned:
        work.result()


class _Selector(selectors.DefaultSelector):
    """Wakes up at the microsecond, where epoll rounds up to a millisecond; and knows since when it is busy."""

    woke = 0
    """When the loop had last nothing to do, in monotonic nanoseconds."""
    idle = 0
    """Nanoseconds in which it had nothing to do, in all."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as the loop wants it."""
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0):
            began = time.monotonic_ns()
            select.select((self.fileno(),), (), (), timeout)
            self.woke = time.monotonic_ns()
            self.idle += self.woke - began
            ready = super().select(0)
        return ready


def main() -> None:
    """Run the plan on the command line. Exits with a line on the standard error when it can't go on."""
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    plan = Plan(**json.loads(sys.argv[1]))
    channel = _Channel()
    try:
        selector = _Selector()
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
            runner.run(_obey(plan, channel, selector))
    except* ServerRoomError as group:
        first = _first(group)
        channel.tell({"event": "broken", "why": f"{type(first).__name__}: {first}"})
        sys.exit(1)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    main()
