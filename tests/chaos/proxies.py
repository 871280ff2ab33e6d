"""A process of proxies, one or more for each link of a run, that are told by a control socket what to break.

``python -m tests.chaos.proxies CONTROL LINKS``: the path of a unix socket, and the
links as JSON: ``{name: [[listen host, listen port, target host, target port], …]}``.
The socket takes lines of JSON, ``{"link": name, "do": what}`` with ``what`` one of
``STATES`` or ``STROKES`` below, and answers each with an empty line.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from ..integration.proxy import Proxy

__all__ = ["STATES", "STROKES"]


def _flow(proxy: Proxy) -> None:
    proxy.flow()
    proxy.reset_robbed()
    proxy.delay = proxy.jitter = 0.0
    proxy.rate = proxy.allowance = None
    proxy.blackhole = False
    proxy.accepting = True


def _delay(proxy: Proxy) -> None:
    proxy.delay, proxy.jitter = 0.03, 0.12


def _throttle(proxy: Proxy) -> None:
    proxy.rate = 20_000.0


def _blackhole(proxy: Proxy) -> None:
    proxy.blackhole = True


def _refuse(proxy: Proxy) -> None:
    proxy.accepting = False
    proxy.reset()


STATES: dict[str, Callable[[Proxy], None]] = {
    "flow": _flow,
    "delay": _delay,
    "throttle": _throttle,
    "stall": lambda proxy: proxy.stall(),
    "stall up": lambda proxy: proxy.stall(down=False),
    "stall down": lambda proxy: proxy.stall(up=False),
    "blackhole": _blackhole,
    "refuse": _refuse,
}
"""What lasts until ``flow``."""

STROKES: dict[str, Callable[[Proxy], None]] = {
    "reset": lambda proxy: proxy.reset(),
    "reset some": lambda proxy: proxy.reset(0.3),
    "half close": lambda proxy: proxy.half_close(),
    "cut": lambda proxy: proxy.cut_after(700),
    "corrupt": lambda proxy: proxy.corrupt(max(1, proxy.connections // 3)),
}
"""What happens once."""


async def _main() -> None:
    control, links = sys.argv[1], json.loads(sys.argv[2])
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        proxies: dict[str, list[Proxy]] = {}
        for name, ways in links.items():
            for host, port, target_host, target_port in ways:
                proxy = Proxy(f"tcp://{target_host}:{target_port}", host=host, port=port, knows_frames=True)
                proxies.setdefault(name, []).append(await stack.enter_async_context(proxy))

        async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                order = json.loads(line)
                for proxy in proxies[order["link"]]:
                    (STATES | STROKES)[order["do"]](proxy)
                writer.write(b"\n")
                await writer.drain()
            writer.close()

        server = await asyncio.start_unix_server(obey, control + ".new")
        Path(control + ".new").rename(control)  # noqa: ASYNC240  # at once; now that it listens
        await ended.wait()
        server.close()


def main() -> None:
    """Relay until SIGTERM."""
    asyncio.run(_main())


if __name__ == "__main__":
    main()
