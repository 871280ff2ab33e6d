"""``examples/ranked``: a queue with ratings, parties, an accept step, and a room that seeks who is missing."""

import re

import pytest

from .programs import Program

pytestmark = pytest.mark.timeout(90)


def test_all_games_are_played_and_skills_change() -> None:
    with Program(["-m", "examples.ranked.server", "--port", "0"]) as server:
        port = server.expect(r"listening on tcp://127\.0\.0\.1:(\d+)")[1]
        with Program(["-m", "examples.ranked.bots", "--bots", "9", "--games", "2", "--port", port]) as bots:
            assert bots.wait(60) == 0, bots.output
            assert bots.output.endswith("all games are played\n")
            ends = re.findall(r"^bot\d+: (won|lost), now at \d+$", bots.output, re.MULTILINE)
            assert ends.count("won") >= 4
            assert "bot9: quits" in bots.output
            assert "Traceback" not in bots.output
        server.write("close")
        assert server.wait() == 0
        skills = re.findall(r"^bot\d+ +(\d+) \+- \d+$", server.output, re.MULTILINE)
        assert len(skills) >= 4
        assert max(map(int, skills)) > 1500 > min(map(int, skills))
        assert "Traceback" not in server.output


def test_bots_without_a_server_end_with_one_line(unused_tcp_port: int) -> None:
    with Program(["-m", "examples.ranked.bots", "--bots", "2", "--port", str(unused_tcp_port)]) as bots:
        assert bots.wait(30) == 1
        assert bots.output.splitlines()[-1].startswith("error: no broker answered")
