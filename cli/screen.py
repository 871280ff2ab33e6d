"""What commands print: colour on terminals only, tables, and other people's text made harmless."""

import os
import shutil
from collections.abc import Sequence
from typing import Any, TextIO

__all__ = ["Palette", "RewrittenLine", "hex_of_bytes", "printable", "table"]

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


class RewrittenLine:
    """News in one line that is written over on a terminal; elsewhere a line for each change."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._over = stream.isatty()
        self._shown = ""

    def show(self, text: str) -> None:
        """Say it, unless it was said last."""
        if self._quiet or text == self._shown:
            return
        self._shown = text
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[K{text[:width]}" if self._over else f"{text}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Leave an empty line to go on from."""
        if self._over and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        self._shown = ""


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


def hex_of_bytes(value: object) -> str:
    """How JSON shows what it has no form for: bytes as hexadecimal digits. For ``json.dumps(default=...)``."""
    return value.hex() if isinstance(value, bytes) else repr(value)


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
