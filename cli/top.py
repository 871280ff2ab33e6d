"""``srs top``: what the broker and its workers are doing, live."""

import asyncio
import contextlib
import json
import os
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rich_click as click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from ..protocol.errors import BrokerUnreachable, TimedOut
from ..transport.zeromq import ZmqNetwork
from .address import address_argument, timeout_option
from .admin import AdminClient, BrokerPass, ask_broker, broker_pass
from .options import json_option, key_file_option, server_key_option
from .top_screen import screen_of

__all__ = ["top"]

_EVERY = 1.0
"""Seconds from one look to the next: workers tell their load as often."""
_ATTEMPT = 2.0
"""Seconds for one attempt to reach a broker, or to hear it: then the screen says that it is away."""


@click.command()
@address_argument
@click.option("--once", is_flag=True, help="Show it once and end; so it is where there is no terminal.")
@json_option
@key_file_option
@server_key_option
@timeout_option
def top(
    address: str, once: bool, as_json: bool, key_file: Path | None, server_key: bytes | None, timeout: float
) -> None:
    """Watch a broker and its workers.

    ADDRESS is host:port; without it, 127.0.0.1:1234. Once a second: clients,
    rooms, tickets, and for each worker its rooms, the seats in them that are
    taken, the messages that it gets from clients, how late its loop is (LAG),
    its share of a core (CPU) and its memory (RSS).

    A broker that is away is tried again for --timeout seconds. Press q to end.
    """
    key = broker_pass(address, key_file, server_key)
    if as_json or once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        told = ask_broker(address, key, timeout, lambda client: client.command("workers"))
        if as_json:
            click.echo(json.dumps({"address": address, **told}, indent=2))
        else:
            console = Console(highlight=False)
            console.print(screen_of(address, told, console.width, None))
        return
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(address, key, timeout))


async def _watch(address: str, key: BrokerPass, timeout: float) -> None:
    network = ZmqNetwork()
    try:
        with _keys() as quit_asked:
            watching = asyncio.ensure_future(_Watch(address, key, timeout, network).run())
            asked = asyncio.ensure_future(quit_asked.wait())
            try:
                await asyncio.wait((watching, asked), return_when=asyncio.FIRST_COMPLETED)
            finally:
                asked.cancel()
                watching.cancel()
                await asyncio.wait((watching, asked))
            if not watching.cancelled():
                watching.result()
    finally:
        await network.end()


class _Watch:
    """Looks once a second, and shows what it found last."""

    def __init__(self, address: str, key: BrokerPass, timeout: float, network: ZmqNetwork) -> None:
        self._address = address
        self._key = key
        self._timeout = timeout
        self._network = network
        self._console = Console(highlight=False)
        self._told: dict[str, Any] | None = None
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()

    async def run(self) -> None:
        """Until cancelled. Raises BrokerUnreachable when nobody has answered for too long, or what the broker says."""
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            self._show(live, "connecting")
            while True:
                try:
                    await self._follow(live)
                except (BrokerUnreachable, TimedOut) as error:
                    silent = self._loop.time() - self._heard_at
                    if silent >= self._timeout:
                        raise BrokerUnreachable(self._address, silent, max(1, int(silent / _ATTEMPT))) from error
                    self._show(live, f"no answer for {silent:.0f} s: trying again")
                    await asyncio.sleep(0.1)

    async def _follow(self, live: Live) -> None:
        async with AdminClient(self._address, self._key, min(_ATTEMPT, self._timeout), self._network) as client:
            while True:
                self._told = await client.command("workers")
                self._heard_at = self._loop.time()
                self._show(live)
                await asyncio.sleep(_EVERY)

    def _show(self, live: Live, trouble: str = "") -> None:
        size = self._console.size
        if self._told is None:
            shown: RenderableType = Text(f"{self._address}: {trouble}")
        else:
            shown = screen_of(self._address, self._told, size.width, size.height, trouble)
        live.update(shown, refresh=True)


@contextlib.contextmanager
def _keys() -> Iterator[asyncio.Event]:
    """While inside, single keys are read from the terminal; the event is set when q is pressed."""
    quit_asked = asyncio.Event()
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def read() -> None:
        pressed = os.read(descriptor, 64)
        if not pressed or b"q" in pressed.lower():
            loop.remove_reader(descriptor)
            quit_asked.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield quit_asked
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
