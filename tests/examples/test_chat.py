"""``examples/chat``: rooms of people with names."""

from collections.abc import Iterator

import pytest

from .programs import Program
from .wire import Wire

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def server() -> Iterator[Program]:
    with Program(["-m", "examples.chat.server", "--port", "0"]) as server:
        yield server


def port_of(server: Program) -> str:
    return server.expect(r"listening on tcp://127\.0\.0\.1:(\d+)")[1]


def client(port: str | int, name: str, people: int = 2) -> Program:
    return Program(["-m", "examples.chat.client", name, "--people", str(people), "--port", str(port)])


def test_two_rooms_talk_each_for_itself(server: Program) -> None:
    port = port_of(server)
    with client(port, "ann") as ann, client(port, "ben") as ben, client(port, "cleo", 1) as cleo:
        for one in (ann, ben, cleo):
            one.expect("type away")
        ann.write("hello ben")
        for one in (ann, ben):
            one.expect("^ann: hello ben$")
        cleo.write("nobody here?")
        cleo.expect("^cleo: nobody here[?]$")
        ben.write("/who")
        assert set(ben.expect("^here are (.*)$")[1].split(", ")) == {"ann", "ben"}
        ben.write("/name ann")
        ben.expect("you keep your name: ann is taken")
        ben.write("/name " + "x" * 21)
        ben.expect("you keep your name: a name has 1 to 20 letters")
        ben.write("/name bob")
        ann.expect("^[*] ben is bob$")
        ben.write("/quit")
        assert ben.wait() == 0
        ann.expect("^[*] bob has left$")
        ann.end_input()
        assert ann.wait() == 0
        assert "nobody" not in ann.output
        assert "hello" not in cleo.output
        server.write("close")
        assert server.wait() == 0
        cleo.wait()
        assert "Traceback" not in ann.output + ben.output + cleo.output


def test_a_connection_that_is_cut_is_told_and_nothing_is_lost(server: Program) -> None:
    port = port_of(server)
    with Wire(int(port)) as wire, client(wire.port, "ann") as ann, client(port, "ben") as ben:
        for one in (ann, ben):
            one.expect("type away")
        wire.cut()
        ben.expect("^[*] ann lost the connection$")
        ben.write("said meanwhile")
        ben.expect("^[*] ann is back$")
        ann.expect("^ben: said meanwhile$")
        ann.write("here again")
        ben.expect("^ann: here again$")
        for one in (ann, ben):
            one.write("/quit")
            assert one.wait() == 0
