"""Processes that answer in JSON: crowds of clients, and other commands of ours."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from benchmarks.runs import RunError

__all__ = ["Crowds", "answer_of", "soaked"]

_ROOT = Path(__file__).parents[2]


class Crowds:
    """Processes of clients. Use it with ``with``."""

    def __init__(self) -> None:
        self._running: list[tuple[subprocess.Popen[str], IO[str]]] = []

    def __enter__(self) -> "Crowds":
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process, log in self._running:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
            log.close()

    def start(self, work: str, **arguments: Any) -> "subprocess.Popen[str]":
        """One more."""
        log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the process
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.reliability.crowd", work, json.dumps(arguments)],
            cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        self._running.append((process, log))
        return process

    def answers(self, say: Callable[[str], None]) -> list[dict[str, Any]]:
        """What all of them found, in the order of their starts; the lines before are said on the way.

        Raises:
            RunError: one of them failed.
        """
        return [self._answer(process, log, say) for process, log in self._running]

    def _answer(self, process: "subprocess.Popen[str]", log: IO[str], say: Callable[[str], None]) -> dict[str, Any]:
        last = _last_line(process, say)
        if process.wait() != 0:
            log.seek(0)
            raise RunError(f"a crowd failed: {log.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(last)
        return answer


def answer_of(command: list[str], say: Callable[[str], None]) -> dict[str, Any]:
    """The JSON that another of our commands leaves in its last line; what it says on stderr is shown.

    Raises:
        RunError: it failed.
    """
    with subprocess.Popen([sys.executable, "-m", *command], cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        last = _last_line(process, say)
    if process.returncode not in (0, 1):
        raise RunError(f"{' '.join(command)} ended with {process.returncode}: {last[-500:]}")
    answer: dict[str, Any] = json.loads(last)
    return answer


def soaked(minutes: float, say: Callable[[str], None]) -> dict[str, Any]:
    """What ``make soak`` found, after so many minutes.

    Raises:
        RunError: it could not be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "soak.json")
        command = [sys.executable, "-m", "tests.chaos", "--minutes", f"{minutes:g}", "--json", str(file)]
        with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for number, line in enumerate(process.stdout):
                if number % 60 == 0:
                    say(line.rstrip())
        if process.returncode not in (0, 1):
            raise RunError(f"{' '.join(command[2:5])} ended with {process.returncode}")
        answer: dict[str, Any] = json.loads(file.read_text())
        return answer


def _last_line(process: "subprocess.Popen[str]", say: Callable[[str], None]) -> str:
    """The last line that a process prints; those before it are said as they come."""
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        if last:
            say(last)
        last = line.rstrip()
    return last
