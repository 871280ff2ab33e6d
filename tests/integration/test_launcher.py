"""Worker processes of this machine: started, watched, heard, ended. Small programs stand for workers."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from server_room_system.broker.launcher import LocalLauncher
from server_room_system.broker.supervision import SlotState, Supervisor
from server_room_system.protocol.errors import ConfigError

from .programs import Program
from .system import on_a_loop

START = """\
import os, signal, sys, time
from server_room_system.broker.output import print_without_waiting
print_without_waiting()
print("ready", os.getpid())
"""
IDLE = START + "time.sleep(60)\n"
SPIN = START + "while True: pass\n"
HOG = START + "kept = []\nwhile True:\n    kept.append(bytearray(b'x' * 4_000_000)); time.sleep(0.01)\n"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + IDLE
DRAINS = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + IDLE


class Ground:
    """A launcher of programs by name, what it showed, and which ended."""

    def __init__(self, programs: dict[str, str], **limits: object) -> None:
        self.programs = programs
        self.shown: list[str] = []
        self.ended: list[tuple[str, int]] = []
        self.on_ended: Callable[[str, int], None] = lambda name, code: None
        self._news = asyncio.Event()
        memory, stall = limits.get("memory"), limits.get("stall")
        assert memory is None or isinstance(memory, int)
        assert stall is None or isinstance(stall, float)
        self.launcher = LocalLauncher(self._argv, self._on_ended, memory=memory, stall=stall, show=self._show)

    def _argv(self, name: str, isolated: bool) -> list[str]:
        return [sys.executable, "-c", self.programs[name], name, str(isolated)]

    def _show(self, line: str) -> None:
        self.shown.append(line)
        self._news.set()

    def _on_ended(self, name: str, code: int) -> None:
        self.ended.append((name, code))
        self.on_ended(name, code)
        self._news.set()

    async def until(self, holds: Callable[[], bool], within: float = 20.0) -> None:
        """Wait until it holds; looked at whenever something is shown or has ended, and now and then."""
        async with asyncio.timeout(within):
            while not holds():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 0.05)
                self._news.clear()

    async def ready(self, name: str, times: int = 1) -> None:
        """Wait until the program of this name has begun."""
        await self.until(lambda: sum(line.startswith(f"[{name}] ready") for line in self.shown) == times)


@contextlib.asynccontextmanager
async def ground(programs: dict[str, str], **limits: object) -> AsyncIterator[Ground]:
    made = Ground(programs, **limits)
    try:
        yield made
    finally:
        await made.launcher.close(0.0 if sys.exception() else 5.0)


@on_a_loop
async def test_what_workers_print_is_handed_on_behind_their_names() -> None:
    talk = START + "print('x' * 20_000); print('to stderr', file=sys.stderr); os.write(1, b'raw'); print(sys.argv[2:])"
    async with ground({"w1": talk, "s1": talk + "; sys.exit(3)"}) as made:
        made.launcher.launch("w1", False)
        made.launcher.launch("s1", True)
        await made.until(lambda: len(made.ended) == 2)
        assert sorted(made.ended) == [("s1", 3), ("w1", 0)]
        assert [line for line in made.shown if line.startswith("[w1]")][1:] == [
            f"[w1] {'x' * 8192} [cut]",
            "[w1] to stderr",
            "[w1] raw['False']",
        ]
        assert made.shown.count("[s1] raw['True']") == 1


@on_a_loop
async def test_the_last_words_of_a_worker_are_heard() -> None:
    async with ground(
        {"w1": "import os; os.write(2, b'one\\n' * 2000 + b'cut short'); os.kill(os.getpid(), 9)"}
    ) as made:
        made.launcher.launch("w1", False)
        await made.until(lambda: bool(made.ended))
        assert made.ended == [("w1", -signal.SIGKILL)]
        assert made.shown == ["[w1] one"] * 2000 + ["[w1] cut short"]


@on_a_loop
async def test_a_worker_finds_the_modules_that_we_find_and_nothing_of_ours_to_read(tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text("")
    program = "import sys, only_here; print('ready', repr(sys.stdin.read()), __import__('os').getsid(0))"
    sys.path.append(str(tmp_path))
    try:
        async with ground({"w1": program}) as made:
            made.launcher.launch("w1", False)
            pid = made.launcher.pid("w1")
            await made.ready("w1")
            assert pid is None
            assert made.shown[0].split()[:3] == ["[w1]", "ready", "''"]
            assert made.shown[0].split()[3] != str(os.getsid(0))
    finally:
        sys.path.remove(str(tmp_path))


@on_a_loop
async def test_what_can_not_be_started_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[tuple[str, int]] = []
    launcher = LocalLauncher(lambda *_: ["/no/such/program"], lambda *end: ended.append(end))
    launcher.launch("w1", False)
    launcher.kill("w1")
    await launcher.close(5.0)
    assert ended == [("w1", 127)]
    assert "worker w1 can't be started: No such file" in caplog.text


@on_a_loop
async def test_a_signal_that_comes_before_the_process_is_not_lost() -> None:
    async with ground({"w1": IDLE}) as made:
        made.launcher.launch("w1", False)
        made.launcher.terminate("w1")
        await made.until(lambda: bool(made.ended))
        assert made.ended == [("w1", -signal.SIGTERM)]
        made.launcher.terminate("w1")
        made.launcher.kill("nobody")


@on_a_loop
async def test_closing_lets_them_drain_and_then_ends_them(caplog: pytest.LogCaptureFixture) -> None:
    async with ground({"w1": DRAINS, "w2": STUBBORN, "w3": DRAINS}) as made:
        for name in made.programs:
            made.launcher.launch(name, False)
        for name in made.programs:
            await made.ready(name)
        stopped = made.launcher.pid("w3")
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        await made.launcher.close(1.0)
        assert sorted(made.ended) == [("w1", 0), ("w2", -signal.SIGKILL), ("w3", -signal.SIGKILL)]
        assert made.launcher.pid("w1") is None
    assert caplog.text.count("did not end in time") == 2


# With a supervisor.


class Supervised:
    """A supervisor over a ground, fed as a host would: here, each worker that is ready has registered."""

    def __init__(self, made: Ground, count: int) -> None:
        self.made = made
        made.on_ended = lambda name, code: self.supervisor.ended(name, code, time.monotonic())
        self.supervisor = Supervisor(count, time.monotonic(), made.launcher, lambda: 0.0)

    async def until(self, holds: Callable[[], bool]) -> None:
        def look() -> bool:
            self.supervisor.tick(time.monotonic())
            return holds()

        await self.made.until(look)


@on_a_loop
async def test_a_worker_that_was_killed_is_started_again_and_the_other_goes_on() -> None:
    async with ground({"w1": IDLE, "w2": IDLE}) as made:
        supervised = Supervised(made, 2)
        supervised.supervisor.tick(time.monotonic())
        await made.ready("w1")
        await made.ready("w2")
        first, other = made.launcher.pid("w1"), made.launcher.pid("w2")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await supervised.until(lambda: made.ended == [("w1", -signal.SIGKILL)])
        await supervised.until(lambda: made.launcher.pid("w1") not in (None, first))
        await made.ready("w1", times=2)
        assert made.launcher.pid("w2") == other


@on_a_loop
async def test_a_crash_loop_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async with ground({"w1": "print('the reason'); raise SystemExit(2)"}) as made:
        supervised = Supervised(made, 1)
        await supervised.until(lambda: supervised.supervisor.gave_up)
        assert made.ended == [("w1", 2)] * 5
        assert made.shown == ["[w1] the reason"] * 5
        assert supervised.supervisor.states == {"w1": SlotState.GIVEN_UP}
    assert caplog.text.count("ended 5 times") == 1


# Runaways.


@on_a_loop
async def test_who_takes_too_much_memory_is_killed_and_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async with ground({"w1": HOG, "w2": IDLE}, memory=150 << 20) as made:
        made.launcher.launch("w1", False)
        made.launcher.launch("w2", False)
        await made.until(lambda: bool(made.ended))
        assert made.ended == [("w1", -signal.SIGKILL)]
        assert made.launcher.pid("w2") is not None
    assert "worker w1 is killed: it holds" in caplog.text
    assert "may hold 150.0" in caplog.text
    assert "w2 is killed" not in caplog.text


@on_a_loop
async def test_between_two_looks_the_system_sets_an_end_to_memory() -> None:
    program = START + "try:\n    x = bytearray(2_000_000_000)\nexcept MemoryError:\n    print('refused')\n"
    async with ground({"w1": program}, memory=150 << 20) as made:
        made.launcher.launch("w1", False)
        await made.until(lambda: bool(made.ended))
        assert made.shown[-1] == "[w1] refused"


@on_a_loop
async def test_a_loop_that_spins_is_killed_and_one_that_sleeps_is_not(caplog: pytest.LogCaptureFixture) -> None:
    async with ground({"w1": SPIN, "w2": IDLE}, stall=2.0) as made:
        for name in made.programs:
            made.launcher.launch(name, False)
        for name in made.programs:
            await made.ready(name)
            made.launcher.alive(name, time.monotonic())
        await made.until(lambda: bool(made.ended), within=30.0)
        assert made.ended == [("w1", -signal.SIGKILL)]
        assert made.launcher.pid("w2") is not None
    assert "worker w1 is killed: its loop has not turned for" in caplog.text


@pytest.mark.parametrize(("limits", "says"), [({"memory": 512}, "in bytes"), ({"stall": 0.5}, "at least 2 seconds")])
@on_a_loop
async def test_limits_that_make_no_sense_are_refused(limits: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Ground({}, **limits)


# When the broker dies.

PARENT = """\
import asyncio, sys
from server_room_system.broker.launcher import LocalLauncher

async def main():
    launcher = LocalLauncher(lambda *_: [sys.executable, "-c", sys.argv[1], sys.argv[2]], lambda *_: None)
    launcher.launch("w1", False)
    await asyncio.sleep(60)

asyncio.run(main())
"""
ORPHAN = (
    "import os; parent = os.getppid()\n"
    + START
    + """\
import logging
logging.basicConfig(level=logging.INFO)
while os.getppid() == parent:
    time.sleep(0.01)
for number in range(5000):
    print("nobody reads this")
    logging.info("or this")
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(60)
"""
)


def test_a_worker_outlives_the_death_of_its_broker_and_may_go_on_printing(tmp_path: Path) -> None:
    told = tmp_path / "orphan"
    with Program(PARENT, ORPHAN, told) as parent:
        assert parent.process.stderr is not None
        line = parent.process.stderr.readline().decode()
        assert line.startswith("[w1] ready ")
        pid = int(line.split()[2])
        try:
            parent.send(signal.SIGKILL)
            parent.process.wait(10)
            deadline = time.monotonic() + 20
            while not told.exists():
                os.kill(pid, 0)
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert told.read_text() == str(pid)
            os.kill(pid, 0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@on_a_loop
async def test_ctrl_c_at_the_terminal_is_for_the_broker_alone() -> None:
    async with ground({"w1": IDLE}) as made:
        made.launcher.launch("w1", False)
        await made.ready("w1")
        pid = made.launcher.pid("w1")
        assert pid is not None
        assert os.getpgid(pid) == os.getsid(pid) == pid


def test_a_reader_that_is_stopped_does_not_hold_the_worker_up(tmp_path: Path) -> None:
    told = tmp_path / "went-on"
    program = START + "for _ in range(20_000): print('x' * 100)\nopen(sys.argv[1], 'w').close()\ntime.sleep(60)\n"
    program = program.replace('print("ready", os.getpid())', 'print("ready", os.getpid()); time.sleep(1)')
    with Program(PARENT, program, told) as parent:
        assert parent.process.stderr is not None
        pid = int(parent.process.stderr.readline().decode().split()[2])
        try:
            parent.send(signal.SIGSTOP)
            deadline = time.monotonic() + 20
            while not told.exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            os.kill(pid, signal.SIGKILL)
