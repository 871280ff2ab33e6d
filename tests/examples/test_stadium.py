"""``examples/stadium``: a large audience, on one process and on workers that die."""

import os
import re
import signal
import time

import pytest

from .programs import SRS, Program

pytestmark = pytest.mark.timeout(90)

RESULT = r"^(\d+) spectators saw (\d+) events of (\d+) that were reported; (\d+) out of order or missing; moved (\d+)"


def match(port: str, spectators: int, seconds: float) -> Program:
    arguments = ["--port", port, "--spectators", str(spectators), "--seconds", str(seconds)]
    return Program(["-m", "examples.stadium.match", *arguments])


def port_of(server: Program) -> str:
    return server.expect(r"listening on tcp://127\.0\.0\.1:(\d+)")[1]


def test_a_match_in_one_process() -> None:
    with Program(["-m", "examples.stadium.server", "--port", "0"]) as server:
        with match(port_of(server), 30, 3) as program:
            seen, reported, wrong, moves = map(int, program.expect(RESULT, 40).groups()[1:])
            assert program.wait() == 0
        assert seen > 20 * 30 * 0.5  # those who came late did not see the first ones
        assert (reported > 15, wrong, moves) == (True, 0, 0)
        server.write("close")
        assert server.wait() == 0
        assert "Traceback" not in server.output


def test_the_match_moves_when_its_worker_dies() -> None:
    command = [*SRS, "serve", "examples/stadium/server.py", "--port", "0", "--workers", "2", "--log-level", "info"]
    with Program(command) as server:
        port = port_of(server)
        for _ in ("w1", "w2"):
            server.expect("registered from", 20)
        with match(port, 12, 6) as program:
            program.expect("spectators are here")
            time.sleep(2)
            for pid in pids_of_workers(server.process.pid):  # whichever has the stadium
                os.kill(pid, signal.SIGKILL)
            program.expect(r"the stadium is gone \(the room is gone: its worker was lost\)", 20)
            wrong, moves = map(int, program.expect(RESULT, 40).groups()[3:])
            assert program.wait() == 0, program.output
        assert wrong == 0
        assert moves >= 1
        server.write("close")
        assert server.wait(20) == 0
        assert not pids_of_workers(server.process.pid)
        assert "Traceback" not in server.output


def pids_of_workers(parent: int) -> list[int]:
    """The children of a broker that are workers."""
    found: list[int] = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
            with open(f"/proc/{entry}/cmdline") as cmdline:
                command = cmdline.read()
        except (OSError, ValueError):
            continue
        if int(fields[1]) == parent and re.search(r"broker\.work\b", command):
            found.append(int(entry))
    return found
