"""``srs bench``, the command: what it prints, how it exits, what it refuses. No figure is asserted."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server_room_system.cli import bench
from server_room_system.cli.bench_meter import Meter, tree
from server_room_system.cli.bench_run import Progress, Settings
from server_room_system.cli.exits import Exit
from server_room_system.lab.figures import Figures, Latency, Moment, ProcessUse
from server_room_system.lab.ledger import Faults

from .conftest import Result
from .programs import SRS, Program, srs

FAST = Latency(1000, 0.001, 0.002, 0.004, 0.008, 0.02)
MOMENTS = [Moment(1.0, FAST, 100, 400), Moment(2.0, FAST, 100, 400)]
SERVER = ProcessUse("server", 100, [0.5, 0.5], [30e6, 40e6])


def made(settings: Settings, **changes: Any) -> Figures:
    """Figures of a run that never was."""
    fields: dict[str, Any] = {
        "scenario": settings.scenario, "server": settings.target or "tcp://there:1", "bots": settings.bots,
        "processes": settings.processes, "seconds": settings.seconds, "warm_up": settings.warm_up, "visits": False,
        "delivery": FAST, "join": FAST, "lag": FAST, "own": FAST, "sent": 250, "messages_per_second": 125.0,
        "deliveries_per_second": 500.0, "joins_per_second": None, "checked": 1300, "faults": Faults(),
        "unsent": 0, "busy": 0.1, "foreign": None,
        "held": 0, "errors": {},
        "moments": MOMENTS, "servers": [SERVER], "loads": [], "machine": {}, "server_said": [],
    }  # fmt: skip
    return Figures(**{**fields, **changes})


Run = Callable[..., list[Settings]]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Let the command measure nothing, and see what it was asked to."""

    def set_up(**changes: Any) -> list[Settings]:
        asked: list[Settings] = []

        async def measure(settings: Settings, progress: Progress) -> Figures:
            asked.append(settings)
            progress("warming up", None, None)
            return made(settings, **changes)

        monkeypatch.setattr(bench, "measure", measure)
        return asked

    return set_up


# Real runs.


def test_it_measures_this_machine() -> None:
    done = srs("bench", "--seconds", "0.8", "--warm-up", "0.2", "--bots", "8", "--json", timeout=50)
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    told = json.loads(done.stdout)
    assert (told["scenario"], told["bots"], told["processes"], told["problems"]) == ("rooms", 8, 2, [])
    assert told["checked"] == 8 * 20 * 4, "of 20 a second from each bot in one second, to four members"
    assert 0 < told["delivery"]["p50"] <= told["delivery"]["p999"]
    assert len(told["moments"]) == 4
    assert len(told["servers"]) == 1
    assert len(told["loads"]) == 2


@pytest.mark.parametrize(("scenario", "bots"), [("echo", "2"), ("audience", "6"), ("joins", "2")])
def test_the_other_scenarios_run(scenario: str, bots: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = srs(
        "bench", scenario, "--bots", bots, "--processes", "1", "--seconds", "0.8", "--warm-up", "0.2",
        "--budget", "loss=0", "--report", str(page), timeout=50,
    )  # fmt: skip
    assert done.returncode == Exit.OK, done.stderr
    assert f"{scenario}: {bots} bots in 1 load processes" in done.stdout
    assert "loss is 0" in done.stdout
    assert "warming up\n" in done.stderr
    assert page.read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_worker_processes_are_measured_by_name() -> None:
    done = srs(
        "bench", "--workers", "2", "--bots", "8", "--seconds", "0.8", "--warm-up", "0.2", "--json", timeout=50
    )  # fmt: skip
    assert done.returncode == Exit.OK, done.stderr
    assert [use["name"] for use in json.loads(done.stdout)["servers"]] == ["server", "worker 1", "worker 2"]


def test_a_load_process_whose_bots_only_listen_is_not_taken_for_busy() -> None:
    done = srs("bench", "audience", "--bots", "4", "--seconds", "0.8", "--warm-up", "0.2", "--json", timeout=50)
    assert done.returncode == Exit.OK, done.stderr
    assert json.loads(done.stdout)["busy"] < 0.99


def test_a_server_that_runs_already_is_measured_and_left_running() -> None:
    with Program([*SRS, "serve", "server_room_system.lab.server:server", "--port", "0"]) as server:
        address = server.expect(r"listening on (tcp://[^\s;]+)")[1]
        done = srs(
            "bench", "--connect", address, "--server-pid", str(server.process.pid), "--bots", "4",
            "--seconds", "0.8", "--warm-up", "0.2", "--json", timeout=50,
        )  # fmt: skip
        assert done.returncode == Exit.OK, done.stderr
        (measured,) = json.loads(done.stdout)["servers"]
        assert measured["pid"] == server.process.pid
        assert measured["rss"][0] > 1e6
        server.write("close")
        assert server.wait() == 0


def test_bots_who_cannot_join_break_it_off() -> None:
    done = srs("bench", "rooms", "--app", "examples/chat/server.py", "--bots", "4", timeout=50)
    assert done.returncode == Exit.FAILED
    assert "UnknownRoomType" in done.stderr


def test_a_server_that_does_not_start_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise OSError('no such luck')")
    done = srs("bench", "--app", "broken.py", cwd=tmp_path, timeout=50)
    assert done.returncode == Exit.FAILED
    assert "the server broken.py ended" in done.stderr
    assert "no such luck" in done.stderr


def test_a_server_that_is_killed_breaks_it_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a server that is killed can't remove the files that it keeps
    with Program([*SRS, "bench", "--seconds", "30", "--bots", "4"]) as program:
        program.expect("warming up")
        (server,) = [pid for pid in tree(program.process.pid) if _is_serve(pid)]
        os.kill(server, signal.SIGKILL)
        program.expect("the bench broke off: the server server_room_system.lab.server:server ended")
        assert program.wait() == Exit.FAILED


def test_ctrl_c_ends_all_processes() -> None:
    with Program([*SRS, "bench", "--seconds", "30", "--bots", "4"]) as program:
        program.expect("warming up")
        started = tree(program.process.pid)
        assert len(started) == 4
        program.process.send_signal(signal.SIGINT)
        assert program.wait() == Exit.INTERRUPTED
        assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


def test_a_bench_that_is_killed_leaves_nothing_running() -> None:
    with Program([*SRS, "bench", "--seconds", "30", "--bots", "4"]) as program:
        program.expect("warming up")
        started = tree(program.process.pid)
        assert len(started) == 4
        program.process.kill()
        program.wait()
        deadline = time.monotonic() + 15
        while left := [pid for pid in started if Path(f"/proc/{pid}").exists()]:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


def _is_serve(pid: int) -> bool:
    return b"\0serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes()


# What is told of figures.


def test_the_result_for_people(command: Callable[..., Result], measured: Run) -> None:
    measured()
    code, out, err = command("bench", "--budget", "p99=5ms")
    assert (code, err) == (Exit.OK, "warming up\n")
    for words in ("rooms: 40 bots in 2 load processes", "1.00 ms", "125 a second", "50 % of a core, 40 MB",
                  "1,300 deliveries checked", "ok     p99 is 4.00 ms (≤ 5.00 ms)"):  # fmt: skip
        assert words in out


def test_a_broken_budget_is_exit_code_1(command: Callable[..., Result], measured: Run) -> None:
    measured()
    code, out, err = command("bench", "--budget", "p99=3ms,cpu=90%")
    assert code == Exit.FAILED
    assert "WRONG  p99 is 4.00 ms (≤ 3.00 ms)" in out
    assert "ok     cpu is 50 % of a core (≤ 90 % of a core)" in out
    assert err.endswith("error: over budget: p99 is 4.00 ms (≤ 3.00 ms)\n")


def test_a_loss_is_exit_code_1_unless_the_budget_allows_it(command: Callable[..., Result], measured: Run) -> None:
    measured(faults=Faults(lost=3))
    code, out, _ = command("bench")
    assert code == Exit.FAILED
    assert "WRONG  3 deliveries never came" in out
    assert command("bench", "--budget", "loss=3").code == Exit.OK
    assert command("bench", "--budget", "loss=2").code == Exit.FAILED


def test_a_report_in_no_folder_is_refused_before_the_run(command: Callable[..., Result], tmp_path: Path) -> None:
    page = tmp_path / "missing" / "report.html"
    code, out, err = command("bench", "--report", str(page))
    assert (code, out) == (Exit.USAGE, "")
    assert err.startswith(f"error: the report can't be written to {page}: there is no folder {page.parent}.")


def test_the_figures_are_shown_even_if_the_report_cannot_be_written(
    command: Callable[..., Result], measured: Run, tmp_path: Path
) -> None:
    measured()
    code, out, err = command("bench", "--report", str(tmp_path))
    assert code == Exit.FAILED
    assert "1,300 deliveries checked" in out
    assert err.splitlines()[-1].startswith("error: the report can't be written to ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_leaves_the_report_of_before(command: Callable[..., Result], measured: Run, tmp_path: Path) -> None:
    measured()
    page = tmp_path / "report.html"
    page.write_text("of yesterday")
    (tmp_path / f".report.html.{os.getpid()}").symlink_to("/dev/full")
    code, out, err = command("bench", "--report", str(page))
    assert code == Exit.FAILED
    assert "1,300 deliveries checked" in out
    assert err.endswith(f"error: the report can't be written to {page}: No space left on device.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert page.read_text() == "of yesterday"


def test_what_is_asked_for_arrives(command: Callable[..., Result], measured: Run) -> None:
    asked = measured()
    assert command(
        "bench", "echo", "--app", "app:server", "--workers", "3", "--processes", "8", "--bots", "5", "--rate", "7",
    ).code == Exit.OK  # fmt: skip
    (settings,) = asked
    assert (settings.target, settings.workers, settings.rate) == ("app:server", 3, 7.0)
    assert (settings.bots, settings.processes) == (5, 5), "no process without a bot"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["romms"], "there is no scenario 'romms'"),
        (["--budget", "p98=3ms"], "It knows p50, p90, p99, p999, join_p99, loss, order, deliveries, cpu, rss."),
        (["--bots", "10"], "--bots 8 or 12, not 10"),
        (["--app", "a:b", "--connect", "localhost:1"], "give one of them"),
        (["--connect", "localhost:1", "--workers", "2"], "--workers is for a server that is started here"),
        (["--server-pid", "1"], "--server-pid is for --connect"),
        (["examples/load/chatter.py"], "has no Server beside its bots: give --app or --connect"),
        (["--connect", "udp://here:1"], "only tcp:// is spoken here"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], says: str, command: Callable[..., Result], measured: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = measured()
    monkeypatch.chdir(Path(__file__).absolute().parents[2])
    monkeypatch.setattr(sys, "path", [*sys.path])
    code, _, err = command("bench", *arguments)
    assert code == Exit.USAGE
    assert says in err
    assert not asked


# The meter.


def test_the_meter_reads_a_process_and_what_it_started() -> None:
    busy = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); sum(range(10**12))'])"
    with Program(["-c", busy]) as program:
        program.expect("1")
        parent, child = tree(program.process.pid)
        meter = Meter({program.process.pid: "server"})
        while not sum(use.cpu[-1] or 0.0 for use in meter.uses if use.cpu):
            meter.sample()
        names = {use.pid: use.name for use in meter.uses}
        assert names == {parent: "server", child: "server, child 1"}
        os.kill(child, signal.SIGKILL)
        program.wait()
        meter.sample()
        assert [use.cpu[-1] for use in meter.uses] == [None, None]
        assert [use.rss[-1] for use in meter.uses] == [None, None]
        assert len({len(use.cpu) for use in meter.uses}) == 1
