"""Options that several commands have."""

import logging
from pathlib import Path

import rich_click as click

__all__ = ["debugging", "json_option", "key_file_option", "label_option", "log_level_option", "set_log_level"]

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


def debugging() -> bool:
    """Whether ``srs --debug`` was asked for."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def set_log_level(level: str) -> None:
    """Log from this level on; ``--debug`` goes further."""
    logging.getLogger().setLevel(logging.DEBUG if debugging() else level.upper())
