"""A worker process: it loads a server, registers with the broker, and hosts rooms until it is drained.

``python -m server_room_system.broker.work`` is how brokers start their own;
``srs worker`` is the same for people.
"""

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from ..protocol.errors import ServerRoomError
from ..rooms.worker_host import WorkerHost, WorkerOptions
from ..transport.keys import find_key
from ..transport.locks import key_from_text
from .command import WorkerCommand
from .exposure import check_worker
from .load import load_server
from .logs import TEXT, JsonLines
from .output import print_without_waiting
from .process import stop_signals, tuned_collector
from .server import Server

__all__ = ["run_worker"]

_ORPHAN_SECONDS = 60.0


def run_worker(
    server: Server,
    options: WorkerOptions,
    key: bytes,
    registered: Callable[[], None] = lambda: None,
    *,
    insecure: bool = False,
) -> None:
    """Host this server's rooms until SIGTERM, SIGINT or SIGHUP, and then until they have ended; a second one hurries.

    Args:
        server: whose rooms.
        options: how.
        key: the cluster key.
        registered: called when the broker has this worker for the first time.
        insecure: listen where others can come from, also if nobody asks who they are.

    Raises:
        RemoteError: the broker will not have this worker.
        ConfigError, AddressInUse: it can't listen, or should not listen like this.
    """
    check_worker(options.host, asks=server.asks, keys=options.broker_key is not None, insecure=insecure)
    with tuned_collector():
        asyncio.run(_run(server, options, key, registered))


async def _run(server: Server, options: WorkerOptions, key: bytes, registered: Callable[[], None]) -> None:
    host = WorkerHost(server, options, key)

    def stop() -> None:
        if host.worker.draining:
            host.stop_soon()
        else:
            host.drain()

    async def tell() -> None:
        await host.has_registered()
        registered()

    async with host:
        with stop_signals(stop):
            gc.collect()
            gc.freeze()
            telling = asyncio.create_task(tell())
            try:
                await host.ended()
            finally:
                telling.cancel()


def main() -> int:
    """Run what a broker's command line says."""
    command = WorkerCommand.from_argv(sys.argv[1:])
    print_without_waiting()  # what we print goes through the broker, which may be gone, or stopped
    log = logging.StreamHandler()
    # As text, the broker puts our name before each line, and whoever keeps its log the time.
    log.setFormatter(JsonLines(command.name) if command.log_format == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=command.log_level, handlers=[log])
    try:
        server = load_server(command.target)
        key = find_key(None, Path(command.key_file) if command.key_file else None)
        options = WorkerOptions(
            command.broker,
            command.name,
            labels=command.labels,
            isolated=command.isolated,
            orphan_seconds=_ORPHAN_SECONDS,
            broker_key=key_from_text(command.broker_key) if command.broker_key is not None else None,
        )
        run_worker(server, options, key)
    except ServerRoomError as error:
        with contextlib.suppress(OSError):
            print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
