"""``srs demo``: the main job, in real processes, and nothing of it left."""

import asyncio
import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server_room_system.cli import children, demo
from server_room_system.cli.children import Child, ChildFailed
from server_room_system.cli.demo_record import Record
from server_room_system.cli.exits import Exit

from .conftest import Result
from .programs import SRS, Program, srs

NAMES = ("ann", "ben", "cleo", "dora", "emil", "finn")


@pytest.mark.timeout(40)
def test_six_clients_in_two_rooms_talk_and_one_leaves() -> None:
    began = time.monotonic()
    done = srs("demo")
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    assert time.monotonic() - began < 15
    assert "\x1b" not in done.stdout  # not a terminal
    lines = done.stdout.splitlines()
    for name in NAMES:
        assert any(re.match(rf"[AB] {name} +is in a room with \w+ and \w+$", line) for line in lines), name
        assert any(re.match(rf"[AB] {name} +hears \w+: ", line) for line in lines), name
    play = lines[: lines.index("--- all is shut down")]
    assert sum("has left the room" in line for line in play) == 1
    assert sum(bool(re.search("sees that .* has left", line)) for line in play) == 2
    assert any(line.startswith("ok  no message crossed rooms") and "31 deliveries" in line for line in lines)
    assert any(line.startswith("ok  7 processes started, and all ended") for line in lines)
    assert not any(_is_running(pid) for pid in re.findall(r"process (\d+)", done.stdout))


@pytest.mark.timeout(40)
def test_the_summary_as_json() -> None:
    done = srs("demo", "--json")
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    summary = json.loads(done.stdout)
    assert summary["ok"] is True
    assert [len(room["members"]) for room in summary["rooms"]] == [3, 3]
    assert sorted(name for room in summary["rooms"] for name in room["members"]) == sorted(NAMES)
    assert sum(len(room["left"]) for room in summary["rooms"]) == 1
    assert (summary["said"], summary["deliveries"], summary["processes"]) == (11, 31, 7)


@pytest.mark.timeout(40)
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_when_it_is_ended_early_nothing_of_it_runs_on(how: str) -> None:
    with Program([*SRS, "demo"]) as program:
        for _ in range(2):
            program.expect(r"is connected as \d")
        pids = re.findall(r"process (\d+)", program.output)
        assert len(pids) >= 3
        program.process.send_signal(getattr(signal, how))
        program.wait()
        deadline = time.monotonic() + 10
        while any(map(_is_running, pids)):
            assert time.monotonic() < deadline, [pid for pid in pids if _is_running(pid)]
            time.sleep(0.02)
        assert "Traceback" not in program.output


@pytest.mark.timeout(40)
def test_a_child_that_fails_ends_the_demo_with_one_line(
    command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Child.start

    async def start_another(name: str, module: str, *arguments: str) -> Child:
        return await start(name, module, *(("tcp://nonsense", *arguments[1:]) if name == "emil" else arguments))

    monkeypatch.setattr(Child, "start", start_another)
    code, _, err = command("demo")
    assert code == Exit.FAILED
    assert re.fullmatch(r"error: the demo broke off: emil \(process \d+\) ended with exit code 1\n", err)


@pytest.mark.timeout(40)
def test_a_broken_promise_is_a_failure(command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Record, "problems", lambda self, seats: ["A MESSAGE CROSSED ROOMS"])
    code, out, err = command("demo")
    assert code == Exit.FAILED
    assert "WRONG  A MESSAGE CROSSED ROOMS" in out
    assert "1 of the promises were not kept" in err


@pytest.mark.timeout(40)
def test_what_does_not_happen_in_time_is_named(command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_SEATS", 7)
    monkeypatch.setattr(demo, "_STEP", 3.0)
    code, _, err = command("demo", "--json")
    assert code == Exit.FAILED
    assert err == "error: the demo broke off: after 3 s it is not so that everybody is in a room\n"


def test_a_child_that_talks_nonsense_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hear() -> None:
        child = await Child.start("doctor", "cli", "--version")
        try:
            with pytest.raises(ChildFailed, match="doctor said b'server-room-system"):
                await child.event()
        finally:
            await children.end_all([child])

    asyncio.run(hear())


def _is_running(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0]
    except (OSError, IndexError):
        return False
    return state != "Z"
