"""``srs serve``: run somebody's Server."""

import logging
import sys

import rich_click as click

from ..broker import MatchMaker, Server
from ..broker.load import load_server
from ..protocol.errors import ServerRoomError

__all__ = ["serve"]

logger = logging.getLogger(__name__)

_LEVELS = ["debug", "info", "warning", "error"]


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
    "--log-level",
    type=click.Choice(_LEVELS),
    default="warning",
    show_default=True,
    metavar="LEVEL",
    help=f"What to log: {', '.join(_LEVELS)}.",
)
def serve(target: str, host: str, port: int, log_level: str) -> None:
    """Run a server.

    MODULE:ATTR names it: app:server, or path/to/app.py:server. It is a Server,
    or a subclass of it that needs no arguments. Without :ATTR it is the only
    Server of the module.

    Type close, or press Ctrl-C, to stop it.
    """
    debug = logging.getLogger().isEnabledFor(logging.DEBUG)
    logging.getLogger().setLevel(logging.DEBUG if debug else log_level.upper())
    server = load_server(target)
    if type(server.match_maker) is MatchMaker and not server.rooms:
        logger.warning("%s has no rooms and no MatchMaker of its own: nobody will get into a room", target)
    _run(server, host, port)


def _run(server: Server, host: str, port: int) -> None:
    try:
        server.run(host, port)
    except SystemExit as end:
        if isinstance(end.__context__, ServerRoomError):
            raise end.__context__ from None  # for the exit code: run() has one for all
        raise
    finally:
        sys.stdout.flush()
