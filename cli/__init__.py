"""The ``srs`` command. Needs the extra ``[cli]``; without it, ``main`` says so in one line."""

import io
import sys

__all__ = ["main"]

_EXTRA = ("click", "rich_click", "rich")


def main() -> None:
    """Run ``srs`` with the arguments of this process, and exit with its code (``exits.Exit``)."""
    try:
        from .app import run  # noqa: PLC0415  # what it imports may be missing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.exit(_without_the_extra())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what an old terminal can't show must not end the command
    sys.exit(run())


def _without_the_extra() -> int:
    print("error: srs needs click and rich-click: pip install 'server-room-system[cli]'", file=sys.stderr)
    return 2
