"""``srs worker``: host the rooms of a server whose broker runs elsewhere."""

import os
import socket
from pathlib import Path

import rich_click as click

from ..broker.load import load_server
from ..broker.logs import LogFormat
from ..broker.work import run_worker
from ..rooms.worker_host import WorkerOptions
from ..transport.keys import find_key, find_server_key
from .access import public_key_option
from .address import parse_address
from .options import key_file_option, label_option, log_format_option, log_level_option, set_log

__all__ = ["worker"]


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else parse_address(value, ctx, default_port="")


@click.command()
@click.argument("target", metavar="MODULE:ATTR")
@click.option(
    "--broker",
    metavar="ADDRESS",
    required=True,
    callback=_address,
    help="The broker's address for workers, which 'srs serve --worker-address' chose.",
)
@click.option(
    "--public",
    metavar="ADDRESS",
    callback=_address,
    help="Where clients reach this worker: tcp://IP:PORT, with numbers. Without it, only clients on this machine do.",
)
@click.option(
    "--listen",
    metavar="ADDRESS",
    callback=_address,
    help="Where to listen, if that is not the public address: behind a NAT, or as 0.0.0.0:PORT.",
)
@click.option("--name", metavar="NAME", help="Unique among the broker's workers. By default machine and process.")
@label_option
@click.option(
    "--max-rooms", metavar="N", type=click.IntRange(1), default=10_000, show_default=True, help="Rooms at once."
)
@click.option(
    "--drain-seconds",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 86_400.0),
    default=30.0,
    show_default=True,
    help="How long rooms have to end after SIGTERM or Ctrl-C.",
)
@key_file_option
@public_key_option("--broker-key", "The public key of a broker that was started with --keys: our ports encrypt then.")
@click.option(
    "--insecure", is_flag=True, help="Listen on an address that others reach, also if nobody asks who they are."
)
@log_level_option
@log_format_option
def worker(
    target: str,
    broker: str,
    public: str | None,
    listen: str | None,
    name: str | None,
    labels: tuple[str, ...],
    max_rooms: int,
    drain_seconds: float,
    key_file: Path | None,
    broker_key: bytes | None,
    insecure: bool,
    log_level: str,
    log_format: LogFormat,
) -> None:
    """Host rooms of a server, in a process of its own, here or on another machine.

    MODULE:ATTR names the same server that the broker runs: workers make its
    rooms, the broker does its matchmaking. The cluster key is the broker's.

    SIGTERM or Ctrl-C lets the rooms end; a second one ends them.
    """
    name = name or f"{socket.gethostname()}-{os.getpid()}"[:64]
    set_log(log_level, log_format, name)
    server = load_server(target)
    local = _client_port(broker)
    if broker_key is None and local is not None:
        broker_key = find_server_key(local)
    where = listen or public
    host, _, port = where.removeprefix("tcp://").rpartition(":") if where is not None else ("127.0.0.1", "", "0")
    options = WorkerOptions(
        broker,
        name,
        host=host,
        port=int(port),
        public=public,
        labels=labels,
        max_rooms=max_rooms,
        drain_seconds=drain_seconds,
        broker_key=broker_key,
    )
    key = find_key(local, key_file)
    click.echo(f"worker {name} asks the broker at {broker}; SIGTERM or Ctrl-C lets its rooms end, and then it ends")
    run_worker(server, options, key, lambda: click.echo(f"worker {name} serves"), insecure=insecure)
    click.echo(f"worker {name} has ended")


def _client_port(broker: str) -> int | None:
    """Of a broker on this machine: it keeps its key under the port for clients, which is the one before."""
    host, _, port = broker.removeprefix("tcp://").rpartition(":")
    return int(port) - 1 if host in ("127.0.0.1", "localhost", "[::1]") else None
