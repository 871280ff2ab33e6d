"""``examples/swarm``: bots in a room that ticks."""

import re
from collections.abc import Iterator

import pytest

from .programs import SRS, Program

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=["module", "srs serve"])
def server(request: pytest.FixtureRequest) -> Iterator[Program]:
    how = ["-m", "examples.swarm.server"] if request.param == "module" else [*SRS, "serve", "examples/swarm/server.py"]
    with Program([*how, "--port", "0"]) as server:
        yield server


def bots(port: str, count: int, seconds: float) -> Program:
    return Program(["-m", "examples.swarm.bots", "--bots", str(count), "--seconds", str(seconds), "--port", port])


def test_bots_live_for_as_long_as_they_were_told(server: Program) -> None:
    port = server.expect(r"listening on tcp://127\.0\.0\.1:(\d+)")[1]
    with bots(port, 12, 3) as swarm:
        assert swarm.wait(30) == 0, swarm.output
        assert len(re.findall(r"^ +[\d.]+ s +[\d.]+ +[\d.]+$", swarm.output, re.MULTILINE)) >= 3
        seen, missing, idle = re.findall(
            r"^12 bots saw (\d+) ticks; (\d+) are missing, (\d+) bots saw none$", swarm.output, re.MULTILINE
        )[0]
        assert int(seen) >= 12
        assert (missing, idle) == ("0", "0")
    server.write("close")
    assert server.wait() == 0
    assert "Traceback" not in server.output


def test_bots_whose_room_ends_say_so(server: Program) -> None:
    port = server.expect(r"listening on tcp://127\.0\.0\.1:(\d+)")[1]
    with bots(port, 3, 50) as swarm:
        swarm.expect(r"^ +[\d.]+ s +[1-9]")
        server.write("close")
        assert server.wait() == 0
        swarm.expect("the room has ended")
        assert swarm.wait() == 0


def test_bots_without_a_server_end_with_one_line(unused_tcp_port: int) -> None:
    with bots(str(unused_tcp_port), 2, 30) as swarm:
        assert swarm.wait(30) == 1
        assert swarm.output.splitlines()[-1].startswith("error: no broker answered")
        assert "Traceback" not in swarm.output
