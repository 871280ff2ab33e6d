"""``srs doctor``: what it finds, and how it ends."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import zmq

from server_room_system.cli import checks
from server_room_system.cli.checks import Finding
from server_room_system.cli.exits import Exit

from .conftest import Result
from .programs import environment

Command = Callable[..., Result]


def test_a_machine_that_is_fit(command: Command, unused_tcp_port: int) -> None:
    code, out, err = command("doctor", "--port", str(unused_tcp_port))
    assert (code, err) == (Exit.OK, "")
    lines = out.splitlines()
    for name in ("python", "server-room-system", "pyzmq", "libzmq", "msgpack", "CURVE", "clock", "round trip"):
        assert any(line.startswith(f"ok    {name}") for line in lines), name
    assert f"ok    port {unused_tcp_port}" in out
    assert lines[-1] == "Fit to run a server."


def test_json_is_for_programs(command: Command, unused_tcp_port: int) -> None:
    code, out, _ = command("doctor", "--json", "--port", str(unused_tcp_port))
    report = json.loads(out)
    assert code == Exit.OK
    assert report["ok"] is True
    assert {check["status"] for check in report["checks"]} <= {"ok", "warn"}
    assert set(report["checks"][0]) == {"name", "status", "found", "advice"}


def test_a_port_of_another_program_is_a_failure(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, out, err = command("doctor", "--port", str(port))
    assert (code, err) == (Exit.FAILED, "")
    assert f"fail  port {port}" in out
    assert "stop that one, or choose another port" in out
    assert out.endswith(f"Not fit: port {port}.\n")


def test_a_port_of_our_own_server_is_told_apart(address: str) -> None:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    finding = checks.port_free(host, int(port))
    assert finding.status == "warn"
    assert "a Server Room System server answers" in finding.found


@pytest.mark.parametrize(("host", "says"), [("192.0.2.1", "no address of this machine"), ("no.invalid", "no address")])
def test_an_address_that_is_not_ours_is_a_failure(host: str, says: str) -> None:
    finding = checks.port_free(host, 1234)
    assert finding.status == "fail"
    assert says in finding.found


@pytest.mark.parametrize(("limit", "status", "code"), [(20, "fail", 1), (80, "warn", 0)])
def test_few_descriptors_are_told_and_end_nothing(unused_tcp_port: int, limit: int, status: str, code: int) -> None:
    program = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}));"
        "from server_room_system.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor", "--port", str(unused_tcp_port)],
        env=environment(), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert f"{status:4}  file descriptors" in done.stdout
    assert "ulimit" in done.stdout
    assert done.stderr == ""


def test_versions_that_are_missing_or_too_old_are_failures() -> None:
    assert checks.library("no-such-library", (1,)) == Finding(
        "no-such-library", "fail", "not installed", "pip install 'no-such-library>=1'"
    )
    assert checks.library("pyzmq", (9999,)).status == "fail"
    assert checks.library("pyzmq", (27,)).status == "ok"


def test_an_extra_that_is_missing_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checks._EXTRAS, "typed", ("no_such_module",))
    finding = checks.extra_installed("typed")
    assert finding.status == "warn"
    assert "server-room-system[typed]" in finding.advice


def test_a_libzmq_without_curve_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq, "has", lambda name: False)
    assert checks.curve().status == "warn"


def test_a_clock_that_runs_backwards_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_time(monkeypatch, iter([5.0, 6.0, 5.5]), resolution=1e-9)
    assert checks.clock().status == "fail"


def test_a_clock_that_runs_at_another_pace_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_time(monkeypatch, (n * 1e-9 if n < 20_002 else 9.0 for n in range(30_000)), resolution=1e-9)
    assert "differ" in checks.clock().found


def test_a_coarse_clock_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_time(monkeypatch, None, resolution=0.015)
    assert checks.clock().status == "warn"


def _pretend_time(monkeypatch: pytest.MonkeyPatch, times: Iterator[float] | None, resolution: float) -> None:
    pretended = SimpleNamespace(
        monotonic=(lambda: next(times)) if times else time.monotonic,
        perf_counter=time.perf_counter,
        sleep=time.sleep,
        get_clock_info=lambda name: SimpleNamespace(resolution=resolution),
    )
    monkeypatch.setattr(checks, "time", pretended)


def test_a_server_that_can_not_be_reached_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> float:
        raise OSError("no route")

    monkeypatch.setattr(checks, "_talk", talk)
    finding = checks.round_trip()
    assert (finding.status, finding.found) == ("fail", "no route")
    assert "firewall" in finding.advice
