"""``srs serve``: run somebody's Server."""

import logging
import re
import sys
from pathlib import Path

import rich_click as click

from ..broker import MatchMaker, RunOptions, Server
from ..broker.load import load_server
from ..broker.logs import LogFormat
from ..protocol.errors import ServerRoomError
from .address import parse_address
from .options import debugging, key_file_option, label_option, log_format_option, log_level_option, set_log

__all__ = ["serve"]

logger = logging.getLogger(__name__)

_SIZE = re.compile(r"(\d+)\s*([KMG]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30}


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise click.UsageError(f"{value!r} is no size: write 512M or 2G.", ctx)
    return int(found[1]) << _UNITS[found[2].upper()]


def _where(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, int] | None:
    if value is None:
        return None
    host, _, port = parse_address(value, ctx, default_port="").removeprefix("tcp://").rpartition(":")
    return host, int(port)


@click.command()
@click.argument("target", metavar="MODULE:ATTR")
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on; 0.0.0.0 for all.",
)
@click.option(
    "--port", metavar="PORT", type=click.IntRange(0, 65535), default=1234, show_default=True, help="0 takes a free one."
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(0, 256),
    help="Host the rooms in N processes, started and supervised here. 0: only in those that join from elsewhere.",
)
@click.option(
    "--worker-address",
    metavar="HOST:PORT",
    callback=_where,
    help="Where to listen for workers. By default on this machine only, at the port after the clients'.",
)
@click.option(
    "--worker-memory", metavar="SIZE", callback=_size, help="Restart a worker that holds more, like 512M. Linux only."
)
@click.option(
    "--worker-stall",
    metavar="SECONDS",
    type=click.FloatRange(2.0, 3600.0),
    help="Restart a worker that computes for so long without a turn of its loop. Linux only.",
)
@label_option
@key_file_option
@click.option(
    "--keys",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The server's key, of srs keys make --server: encrypt everything.",
)
@click.option(
    "--authorised",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --keys: let in only clients whose keys are in this file, of srs keys authorise.",
)
@click.option(
    "--plain",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Ask for names and passwords, of srs password. They are sent as they are: for trusted networks.",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Listen on an address that others reach, also if nobody asks who they are.",
)
@click.option(
    "--metrics-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Serve Prometheus metrics there, on the address of --host; 0 takes a free one. Needs the extra [metrics].",
)
@log_level_option
@log_format_option
def serve(
    target: str,
    host: str,
    port: int,
    workers: int | None,
    worker_address: tuple[str, int] | None,
    worker_memory: int | None,
    worker_stall: float | None,
    labels: tuple[str, ...],
    key_file: Path | None,
    keys: Path | None,
    authorised: Path | None,
    plain: Path | None,
    insecure: bool,
    metrics_port: int | None,
    log_level: str,
    log_format: LogFormat,
) -> None:
    """Run a server.

    MODULE:ATTR names it: app:server, or path/to/app.py:server. It is a Server,
    or a subclass of it that needs no arguments. Without :ATTR it is the only
    Server of the module.

    Type close, or press Ctrl-C, to stop it.
    """
    set_log(log_level, log_format)
    server = load_server(target)
    if type(server.match_maker) is MatchMaker and not server.rooms:
        logger.warning("%s has no rooms and no MatchMaker of its own: nobody will get into a room", target)
    options = RunOptions(
        workers=workers,
        worker_address=worker_address,
        target=target,
        key_file=key_file,
        labels=labels,
        worker_memory=worker_memory,
        worker_stall=worker_stall,
        metrics_port=metrics_port,
        log_level="DEBUG" if debugging() else log_level.upper(),
        log_format=log_format,
        keys=keys,
        authorised=authorised,
        plain=plain,
        insecure=insecure,
    )
    _run(server, host, port, options)


def _run(server: Server, host: str, port: int, options: RunOptions) -> None:
    try:
        server.run(host, port, options=options)
    except SystemExit as end:
        if isinstance(end.__context__, ServerRoomError):
            raise end.__context__ from None  # for the exit code: run() has one for all
        raise
    finally:
        sys.stdout.flush()
