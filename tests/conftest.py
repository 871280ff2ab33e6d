"""What holds for every test: it ends within a minute, and leaves nothing behind.

How asynchronous tests run: as plain functions. Those on real sockets call
``asyncio.run`` (``on_a_loop`` in ``integration/system.py``), those on a virtual
clock ``server_room_system.testing.run``. pytest-asyncio stays in its strict
mode and runs nothing that does not ask for it.
"""

import asyncio
import asyncio.runners
import gc
import logging
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TIME_LIMIT = 60
"""Seconds for a test that names no other limit with ``@pytest.mark.timeout``."""
WINDING_DOWN = 2.0
"""Seconds that threads, sockets and processes have to end by themselves: a system's own clocks are not exact."""

THREADS_OF_LIBRARIES = frozenset({"pytest_timeout"})
"""Daemon threads that belong to the test tools. Ours have no business here."""

Things = dict[Any, str]
"""What was found, by identity, each in words."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Processes for ``-n auto``: more than there are cores, as most tests wait for something."""
    return min(2 * (os.cpu_count() or 1), 8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test a limit of time, and put the files first that may last longest: none is left for the end."""
    longest: dict[Path, float] = {}
    for item in items:
        limit = item.get_closest_marker("timeout")
        if limit is None:
            item.add_marker(pytest.mark.timeout(TIME_LIMIT))
        else:
            longest[item.path] = max(longest.get(item.path, 0.0), limit.args[0])
    items.sort(key=lambda item: -longest.get(item.path, 0.0))


@pytest.fixture(scope="session")
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``tempfile`` puts what tests and their processes make: other programs write to /tmp as well."""
    return tmp_path_factory.mktemp("temporary-files")


@pytest.fixture
def watched_loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What event loops had to complain of: tasks left behind, errors that nobody took. A test must leave it empty."""
    complaints: list[str] = []
    cancel_all: Callable[[asyncio.AbstractEventLoop], None] = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]

    def note_and_cancel(loop: asyncio.AbstractEventLoop) -> None:
        # asyncio.run cancels, without a word, the tasks that are left when main is done.
        complaints.extend(f"task: {task!r}" for task in asyncio.all_tasks(loop))
        cancel_all(loop)

    monkeypatch.setattr(asyncio.runners, "_cancel_all_tasks", note_and_cancel)
    handler = _LoopErrors(complaints)
    logging.getLogger("asyncio").addHandler(handler)
    yield complaints
    logging.getLogger("asyncio").removeHandler(handler)


@pytest.fixture(autouse=True)
def leaks_nothing(monkeypatch: pytest.MonkeyPatch, temporary_folder: Path, watched_loops: list[str]) -> Iterator[None]:
    """A test that leaves a thread, task, process, descriptor or temporary file behind fails."""
    monkeypatch.setenv("TMPDIR", str(temporary_folder))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary_folder))
    looks: dict[str, Callable[[], Things]] = {
        "thread": _threads,
        "process": _processes,
        "descriptor": _descriptors,
        "temporary file": lambda: {path: str(path) for path in temporary_folder.iterdir()},
    }
    before = {kind: look() for kind, look in looks.items()}
    yield
    left = [f"{kind}: {what}" for kind, look in looks.items() for what in _left(look, before[kind])]
    left += watched_loops
    if left:
        pytest.fail("left behind\n" + "\n".join(f"  {what}" for what in left), pytrace=False)


def _left(look: Callable[[], Things], before: Things) -> list[str]:
    def now() -> list[str]:
        return sorted(what for key, what in look().items() if before.get(key) != what)

    left = now()
    if left:
        gc.collect()  # what only a cycle keeps open is reported as a ResourceWarning
    deadline = time.monotonic() + WINDING_DOWN
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = now()
    return left


def _threads() -> Things:
    return {thread: repr(thread) for thread in threading.enumerate() if thread.name not in THREADS_OF_LIBRARIES}


def _processes() -> Things:
    found: Things = {child.pid: f"process {child.pid} {child.name}" for child in multiprocessing.active_children()}
    for listing in Path("/proc/self/task").glob("*/children"):  # Linux
        try:
            pids = listing.read_text().split()
        except FileNotFoundError:
            continue  # the thread has just ended
        for pid in pids:
            found[int(pid)] = f"process {pid} {_command(pid)}"
    return found


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _descriptors() -> Things:
    found: Things = {}
    for name in os.listdir("/dev/fd"):  # on Linux, /proc/self/fd
        try:
            status = os.fstat(int(name))
        except OSError:
            continue  # the one that lists them
        try:
            what = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            what = f"mode {status.st_mode:o}, inode {status.st_ino}"
        found[int(name)] = f"{name} is {what}"
    return found


class _LoopErrors(logging.Handler):
    """Takes what asyncio logs because nobody else takes it: errors in callbacks, tasks that were dropped."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        error = f": {record.exc_info[1]!r}" if record.exc_info else ""
        self._complaints.append(f"error on an event loop: {record.getMessage()}{error}")
