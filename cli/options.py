"""Options that several commands have."""

import logging
from pathlib import Path
from typing import get_args

import rich_click as click

from ..broker.logs import TEXT, JsonLines, LogFormat
from .access import public_key_option

__all__ = [
    "debugging",
    "json_option",
    "key_file_option",
    "label_option",
    "log_format_option",
    "log_level_option",
    "server_key_option",
    "set_log",
]

_LEVELS = ["debug", "info", "warning", "error"]

json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON, and nothing else.")
"""``--json`` of the commands that tell something."""

key_file_option = click.option(
    "--key-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Holds the cluster key. Without it: the variable SRS_KEY, or what the broker keeps on this machine.",
)
"""``--key-file`` of the commands that need the cluster key."""

server_key_option = public_key_option(
    "--server-key", "The public key of a broker that was started with --keys, if it is not one of this machine."
)
"""``--server-key`` of the commands that talk to a broker as its administrators."""

label_option = click.option(
    "--label",
    "labels",
    metavar="LABEL",
    multiple=True,
    help="Something that the workers have and room types may require, like gpu. May be given again.",
)
"""``--label`` of the commands that start workers."""

log_level_option = click.option(
    "--log-level",
    type=click.Choice(_LEVELS),
    default="warning",
    show_default=True,
    metavar="LEVEL",
    help=f"What to log: {', '.join(_LEVELS)}.",
)
"""``--log-level`` of the commands that serve."""


log_format_option = click.option(
    "--log-format",
    type=click.Choice(get_args(LogFormat)),
    default="text",
    show_default=True,
    metavar="FORMAT",
    help="What a line of the log is: text, or json with room, client and worker as fields.",
)
"""``--log-format`` of the same commands."""


def debugging() -> bool:
    """Whether ``srs --debug`` was asked for."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def set_log(level: str, form: LogFormat, worker: str | None = None) -> None:
    """Log from this level on, in this format; ``--debug`` goes further.

    Args:
        level: one of those of ``--log-level``.
        form: one of those of ``--log-format``.
        worker: the worker's name, if this process is one: it is in each line then.
    """
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if debugging() else level.upper())
    who = f"[{worker}] ".replace("%", "%%") if worker is not None else ""
    for handler in root.handlers:
        handler.setFormatter(JsonLines(worker) if form == "json" else logging.Formatter(f"%(asctime)s {who}{TEXT}"))
