"""The oracle's process: reads every party's pipe, and writes down each second what it has found.

``python -m tests.chaos.watch FOLDER``: pipes appear in the folder; the findings
are in ``report.json`` there. SIGTERM ends it.

No record may be judged before its cause. What clients *see* follows from what
rooms did; what rooms do follows from what clients *are about to* do. Each party
writes before it acts, so reading the clients' pipes, then the workers', then the
clients' again has with each record what it follows from, if it is taken in this
order: all intents, all that rooms did, what clients saw by the first reading. What
they saw by the second waits for the next time.
"""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack

from .accounts import Party
from .events import INTENTS, Event
from .oracle import Oracle

__all__ = ["REPORT", "Watch"]

REPORT = "report.json"
_EVERY = 0.02
_READ = 256 * 1024
_LARGEST = 64 * 1024 * 1024

Told = tuple[Party, list[Any] | None]
"""A record; None: the party's process has ended."""


class _Pipe:
    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._unpacker = msgpack.Unpacker(max_buffer_size=_LARGEST)  # a trusted writer of our own
        self.party = Party("", path.name)
        self.ended = False
        self._first: list[list[Any]] = []

    def greet(self) -> None:
        """Read who it is: it has said so before its pipe could be found."""
        self._first = list(self.read())

    def read(self) -> Iterator[list[Any]]:
        """What has been written since the last time."""
        first, self._first = self._first, []
        yield from first
        while not self.ended:
            try:
                data = os.read(self.descriptor, _READ)
            except BlockingIOError:
                break
            if data:
                self._unpacker.feed(data)
            else:
                self.ended = True  # what is left unfinished was being written when it was killed
        for record in self._unpacker:
            if record[0] == Event.HELLO:
                self.party.role, self.party.name = record[2:]
            else:
                yield record


class Watch:
    """Follows the parties whose pipes are in a folder."""

    def __init__(self, folder: Path) -> None:
        self.oracle = Oracle()
        self._folder = folder
        self._pipes: dict[str, _Pipe] = {}
        self._seen_later: list[Told] = []
        self._rest: dict[str, Any] = {"number": 0, "unrest": []}
        self._reported = 0.0

    def look(self) -> None:
        """Read what is there, and judge it."""
        intents: list[Told] = []
        done: list[Told] = []
        seen, self._seen_later = self._seen_later, []
        self._read(workers=False, intents=intents, rest=seen)
        self._read(workers=True, intents=done, rest=done)
        self._read(workers=False, intents=intents, rest=self._seen_later)
        for party, record in (*intents, *done, *seen):
            if record is None:
                self.oracle.gone(party, time.monotonic())
            elif record[0] == Event.REST:
                self._rests(*record[1:])
            else:
                self.oracle.take(party, record)
        now = time.monotonic()
        if now > self._reported + 1.0:
            self.oracle.check(now)
            self.report()
            self._reported = now

    def report(self) -> None:
        """Write down what is known."""
        oracle = self.oracle
        report = {
            "counts": oracle.counts, "violations": oracle.violations, "told": oracle.told, "rest": self._rest,
            "open": {"rooms": len(oracle.rooms), "visits": len(oracle.visits), "parties": len(self._pipes)},
        }  # fmt: skip
        path = self._folder / REPORT
        new = path.with_suffix(".new")
        new.write_text(json.dumps(report))
        new.rename(path)

    def close(self) -> None:
        """Read no more."""
        for pipe in self._pipes.values():
            os.close(pipe.descriptor)

    def _find(self) -> None:
        for entry in os.scandir(self._folder):
            if entry.name not in self._pipes and not entry.name.endswith((".new", ".json")):
                pipe = self._pipes[entry.name] = _Pipe(Path(entry.path))
                pipe.greet()
                os.unlink(entry.path)

    def _read(self, *, workers: bool, intents: list[Told], rest: list[Told]) -> None:
        self._find()
        for name, pipe in list(self._pipes.items()):
            if (pipe.party.role == "worker") != workers:
                continue
            for record in pipe.read():
                (intents if record[0] in INTENTS else rest).append((pipe.party, record))
            if pipe.ended:
                rest.append((pipe.party, None))
                os.close(pipe.descriptor)
                del self._pipes[name]

    def _rests(self, now: float, number: int, last: bool) -> None:
        unrest = self.oracle.unrest()
        self._rest = {"number": number, "unrest": [words for _, words in unrest[:20]]}
        if last:
            self.oracle.rest(now)
        self.report()


def main() -> None:
    """Watch until SIGTERM."""
    watch = Watch(Path(sys.argv[1]))
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        ending = True

    signal.signal(signal.SIGTERM, end)
    with contextlib.closing(watch):
        while not ending:
            watch.look()
            time.sleep(_EVERY)
        watch.look()
        watch.look()  # what was seen later
        watch.report()


if __name__ == "__main__":
    main()
