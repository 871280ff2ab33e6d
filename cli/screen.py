"""What commands print: colour on terminals only, tables, and other people's text made harmless."""

import os
from collections.abc import Sequence
from typing import Any, TextIO

__all__ = ["Palette", "printable", "table"]

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}


class Palette:
    """Colours text for a stream; leaves it alone if that is no terminal, or NO_COLOR is set."""

    def __init__(self, stream: TextIO) -> None:
        self.on = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def __call__(self, text: str, *styles: str) -> str:
        """The text in these styles: bold, dim, or a colour."""
        if not (self.on and styles and text):
            return text
        return f"\x1b[{';'.join(str(_CODES[style]) for style in styles)}m{text}\x1b[0m"


def printable(value: Any, longest: int = 2000) -> str:
    """What others sent, fit for a terminal: control characters are shown as escapes, never obeyed.

    Args:
        value: a text, or anything else, which is shown as Python writes it.
        longest: characters to show at most.
    """
    text = value if isinstance(value, str) else repr(value)
    if len(text) > longest:
        text = f"{text[:longest]}… ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def table(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset(), gap: int = 3) -> list[str]:
    """Lines of a table with aligned columns.

    Args:
        rows: of equal length; a headline is a row like the others.
        right: the columns to align to the right.
        gap: spaces between columns.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        (" " * gap)
        .join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        .rstrip()
        for row in rows
    ]
