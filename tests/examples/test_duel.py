"""``examples/duel``: a game for two, with players who vanish and come back."""

import re
import signal
from collections.abc import Iterator

import pytest

from .programs import Program
from .wire import Wire

pytestmark = pytest.mark.timeout(60)


def serving(*arguments: str) -> Program:
    return Program(["-m", "examples.duel.server", "--port", "0", *arguments])


@pytest.fixture
def server() -> Iterator[Program]:
    with serving() as server:
        yield server


def port_of(server: Program) -> str:
    return server.expect(r"listening on tcp://127\.0\.0\.1:(\d+)")[1]


def player(port: str | int, *arguments: str) -> Program:
    return Program(["-m", "examples.duel.client", "--port", str(port), *arguments])


def test_two_bots_play_to_the_end(server: Program) -> None:
    port = port_of(server)
    with player(port, "--bot") as one, player(port, "--bot") as other:
        for bot in (one, other):
            assert bot.wait(30) == 0, bot.output
        ends = re.findall(r"^you (win|lose): 3 to [012]$", one.output + other.output, re.MULTILINE)
        assert sorted(ends) == ["lose", "win"]
        for ours, theirs in (("won", "lost"), ("lost", "won"), ("draw", "draw")):
            assert one.output.count(f": {ours}\n") == other.output.count(f": {theirs}\n")
    server.write("close")
    assert server.wait() == 0
    assert "Traceback" not in server.output


def test_somebody_at_the_keyboard(server: Program) -> None:
    port = port_of(server)
    with player(port) as ann, player(port) as ben:
        for number, hands, results in (
            (1, ("rock", "scissors"), ("won", "lost")),
            (2, ("p", "paper"), ("draw", "draw")),
            (3, ("nonsense\nPaper", "r"), ("won", "lost")),
            (4, ("s", "p"), ("won", "lost")),
        ):
            for one, hand in zip((ann, ben), hands, strict=True):
                one.write(hand)
            for one, result in zip((ann, ben), results, strict=True):
                one.expect(rf"you \w+, they \w+: {result}$")
            assert f"round {number}: " in ann.output
        ann.expect("you win: 3 to 0$")
        ben.expect("you lose: 3 to 0$")
        assert (ann.wait(), ben.wait()) == (0, 0)
        assert "Traceback" not in ann.output + ben.output


def test_a_player_who_is_cut_off_returns_and_the_duel_goes_on(server: Program) -> None:
    port = port_of(server)
    with Wire(int(port)) as wire, player(wire.port) as ann, player(port) as ben:
        ann.write("r")
        ben.write("s")
        ann.expect("they scissors: won$")
        ben.expect("they rock: lost$")
        wire.cut()
        ben.expect("your opponent lost the connection and has 20 seconds")
        ben.expect("your opponent is back$")
        for _ in range(2):
            ann.write("r")
            ben.write("s")
            ben.expect("they rock: lost$")
        ann.expect("you win: 3 to 0$")
        assert (ann.wait(), ben.wait()) == (0, 0)


def test_a_player_who_is_killed_loses_when_the_grace_is_over() -> None:
    with serving("--grace", "0.5") as server:
        port = port_of(server)
        with player(port) as ann, player(port) as ben:
            for one in (ann, ben):
                one.write("rock")
            for one in (ann, ben):
                one.expect(": draw$")
            ann.process.send_signal(signal.SIGKILL)
            ben.expect("your opponent lost the connection and has 0.5 seconds")
            ben.expect("you win: your opponent is gone$")
            assert ben.wait() == 0
        server.write("close")
        assert server.wait() == 0
