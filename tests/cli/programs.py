"""Programs that a test starts, talks to, and ends."""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["ROOT", "SRS", "Program", "environment", "srs"]

ROOT = Path(__file__).absolute().parents[2]
SRS = ("-P", "-c", "from server_room_system.cli import main; main()")
"""Arguments of Python that are the ``srs`` command, as its script is."""


def environment(**more: str) -> dict[str, str]:
    """The environment of a program that finds the package in this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", **more}


def srs(
    *arguments: str, cwd: Path = ROOT, stdin: str = "", timeout: float = 30.0, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run ``srs`` to its end."""
    return subprocess.run(
        [sys.executable, *SRS, *arguments],
        cwd=cwd, input=stdin, timeout=timeout, env=env or environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip


class Program:
    """A Python program that runs; all that it prints can be waited for.

    Use it with ``with``: whatever happens, it is ended by its process id.

    Args:
        arguments: what follows ``python``.
        cwd: where it runs.
        stdin: a descriptor to read from, instead of a pipe.
    """

    def __init__(self, arguments: Sequence[str], cwd: Path = ROOT, stdin: int = subprocess.PIPE) -> None:
        self._state = tempfile.TemporaryDirectory()  # a server that is killed leaves its file
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd, env=environment(XDG_RUNTIME_DIR=self._state.name), stdin=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._next = 0
        self._ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, name=f"reader of {self.process.pid}")
        self._reader.start()

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self._state.cleanup()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def expect(self, pattern: str, timeout: float = 15.0) -> "re.Match[str]":
        """Wait for a line in which the pattern is found, after the one that was expected before."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                while self._next < len(self.lines):
                    self._next += 1
                    found = re.search(pattern, self.lines[self._next - 1])
                    if found:
                        return found
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    raise AssertionError(f"no {pattern!r} came, but:\n{self.output}")
                self._news.wait(left)

    def write(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end_input(self) -> None:
        """Close its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self, timeout: float = 15.0) -> int:
        """Wait until it ends; its exit code."""
        code = self.process.wait(timeout)
        self._reader.join()
        return code

    @property
    def output(self) -> str:
        """All that it printed."""
        return "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()
