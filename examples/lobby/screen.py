"""A terminal in two parts: a table above that is written over in place, and below it what is said and typed."""

import shutil
import threading
from typing import TextIO

__all__ = ["Screen"]

_ROWS = 12
"""Lines of the part above, with the rule under it."""


class Screen:
    """Writes to a terminal from several threads; on anything else there is only what is said.

    Args:
        stream: what it writes to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.in_place = stream.isatty()
        """Whether there is a part above."""
        self.rows = _ROWS - 1
        """Lines that it has."""

    def open(self) -> None:
        """Begin with an empty screen; the cursor waits at its bottom."""
        if self.in_place:
            self._write(f"\x1b[2J\x1b[{shutil.get_terminal_size().lines};1H")
            self.show([])

    def show(self, lines: list[str]) -> None:
        """Put these into the part above. Where the cursor is, and what is half typed there, stays."""
        if self.in_place:
            width = shutil.get_terminal_size().columns - 1
            above = [*lines, *[""] * self.rows][: self.rows]
            drawn = "".join(f"\x1b[{row};1H\x1b[2K{line[:width]}" for row, line in enumerate([*above, "─" * width], 1))
            # What scrolls is what is below: said again each time, since a terminal forgets it when its size changes.
            self._write(f"\x1b7\x1b[{_ROWS + 1};r{drawn}\x1b8")

    def say(self, line: str) -> None:
        """Write a line below."""
        self._write(f"{line}\n")

    def close(self) -> None:
        """Let all of the screen scroll again."""
        if self.in_place:
            self._write(f"\x1b[r\x1b[{shutil.get_terminal_size().lines};1H")

    def _write(self, text: str) -> None:
        with self._lock:
            self._stream.write(text)
            self._stream.flush()
