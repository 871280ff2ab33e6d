"""``examples/lobby``: a list of rooms that is always true, and what one does with it."""

import re
import runpy
from collections.abc import Iterator

import pytest

from server_room_system.protocol import Filter

from .programs import ROOT, Program
from .wire import Wire

pytestmark = pytest.mark.timeout(60)

# By path: for the tests, "examples" is the folder that they are in.
Board = runpy.run_path(str(ROOT / "examples/lobby/board.py"))["Board"]
WISHES = runpy.run_path(str(ROOT / "examples/lobby/wishes.py"))


@pytest.fixture
def server() -> Iterator[Program]:
    with Program(["-m", "examples.lobby.server", "--port", "0"]) as server:
        yield server
        server.write("close")
        assert server.wait() == 0
        assert "Traceback" not in server.output


def port_of(server: Program) -> str:
    return server.expect(r"listening on tcp://127\.0\.0\.1:(\d+)")[1]


def visitor(port: str, name: str) -> Program:
    return Program(["-m", "examples.lobby.client", name, "--port", port])


def test_somebody_watches_what_others_make_and_change(server: Program) -> None:
    port = port_of(server)
    with visitor(port, "ann") as ann, visitor(port, "ben") as ben:
        for one in (ann, ben):
            one.expect("^= 0 tables$")
        ann.write("/create Friday night game=go level=4")
        ben.expect("^[+] #1 Friday night: go at level 4, ann's, 1/4$")
        ann.write("/set level=7 Late")
        ann.expect("^[*] it is now: title Late, game go, level 7, owner ann$")
        ben.expect("^~ #1 Late: go at level 7, ann's, 1/4$")
        ben.write("/join 1")
        ann.expect("^[*] ben sits down$")
        ben.write("/set level=1")
        ben.expect("^[*] that did not work: ann owns this table$")
        ben.write("good evening")
        ann.expect("^ben: good evening$")
        ann.write("/lock")
        ben.expect("^~ #1 .*, 2/4 locked$")
        ann.write("/leave")
        ben.expect("^[*] ben owns the table$")
        ben.expect("^~ #1 .* ben's, 1/4 locked$")
        ben.write("/set level=1")
        ben.expect("it is now: .* level 1, owner ben$")
        ben.write("/leave")
        ben.expect("^[*] you sit at no table: ")
        ann.expect("^- #1 ")
        for one in (ann, ben):
            one.write("/quit")
            assert one.wait() == 0
            assert "Traceback" not in one.output


def test_filters_passwords_and_quick_play(server: Program) -> None:
    port = port_of(server)
    with visitor(port, "ann") as ann, visitor(port, "ben") as ben, visitor(port, "cyd") as cyd:
        for one in (ann, ben, cyd):
            one.expect("^= 0 tables$")
        cyd.write("/list game=go,chess level=3-5")
        cyd.expect("^= 0 tables$")
        ann.write("/create Secret game=go level=4 password=sword fish")
        cyd.expect("^[+] #1 Secret fish: go at level 4, ann's, 1/4 password$")
        cyd.write("/join 1 carp")
        cyd.expect("that did not work: .*password")
        ben.write("/quick game=go level=2-4")
        ben.expect("^[*] ben owns the table$")
        ann.write("/set game=poker")
        cyd.expect("^- #1 ")
        assert "ben's" not in cyd.output, "its level is none of those"
        cyd.write("/quick game=go level=2-4")
        ben.expect("^[*] cyd sits down$")
        cyd.write("/leave")
        cyd.write("/join 1 sword")
        ann.expect("^[*] cyd sits down$")
        ann.write("/password")
        ben.expect("^~ .*, ann's, 2/4$")
        for typed, answer in (
            ("/list level=" + ",".join(map(str, range(40))), "that did not work: .*a list of 1 to 32 such values"),
            ("/list level", "say it like level=3"),
            ("/join 99", "say the number of a table"),
            ("/dance", "there is no /dance"),
            ("/create again", "in a room, or wait for one, already"),
        ):
            cyd.write(typed)
            cyd.expect(answer)
        cyd.end_input()
        assert cyd.wait() == 0
        ann.expect("^[*] cyd has left$")
        assert "Traceback" not in ann.output + ben.output + cyd.output


def test_a_list_goes_on_when_its_connection_was_cut(server: Program) -> None:
    port = port_of(server)
    with Wire(int(port)) as wire, visitor(str(wire.port), "ann") as ann, visitor(port, "ben") as ben:
        for one in (ann, ben):
            one.expect("^= 0 tables$")
        ben.write("/create First game=go")
        ann.expect("^[+] #1 First: go")
        wire.cut()
        ben.write("/set Second")
        ann.expect("^~ #1 Second: go")
        ann.write("/join 1")
        ben.expect("^[*] ann sits down$")
        assert ann.output.count("tables") == 1, "it was told what it missed, and not everything anew"
        for one in (ann, ben):
            one.write("/quit")
            assert one.wait() == 0


def test_a_crowd_comes_and_goes_and_the_list_is_right(server: Program) -> None:
    port = port_of(server)
    with Program(["-m", "examples.lobby.visitors", "--visitors", "9", "--seconds", "3", "--port", port]) as crowd:
        assert crowd.wait(40) == 0, crowd.output
        assert crowd.output.endswith("the list is the server's\n")
        came, changes = map(int, re.findall(r": (\d+) tables came, (\d+) changes", crowd.output)[0])
        assert came >= 3
        assert changes >= 10
        assert "Traceback" not in crowd.output


def test_visitors_without_a_server_end_with_one_line(unused_tcp_port: int) -> None:
    with Program(["-m", "examples.lobby.visitors", "--port", str(unused_tcp_port)]) as crowd:
        assert crowd.wait(30) == 1
        assert crowd.output.splitlines()[-1].startswith("error: no broker answered")
        assert "Traceback" not in crowd.output


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("", {}),
        ("game=chess level=3", {"game": "chess", "level": 3}),
        ("game=chess,go level=3-5", {"game": ["chess", "go"], "level": {"min": 3, "max": 5}}),
        ("level=3- other=-5", {"level": {"min": 3}, "other": {"max": 5}}),
        ("title=Fri* owner=a-b", {"title": {"prefix": "Fri"}, "owner": "a-b"}),
    ],
)
def test_filters_are_typed_and_a_new_table_fits_its_filter(typed: str, wanted: dict[str, object]) -> None:
    assert WISHES["where"](typed.split()) == wanted
    assert Filter(wanted).fits(WISHES["fitting"](wanted))


def test_a_description_has_a_title_and_names() -> None:
    description = WISHES["description"]
    assert description(["Friday", "game=go", "night", "level=4"]) == {"title": "Friday night", "game": "go", "level": 4}
    assert description(["level=4"]) == {"level": 4}


def test_a_board_keeps_its_numbers_and_says_how_many_it_leaves_out() -> None:
    about = {"title": "t" * 40, "game": "go", "level": 4, "owner": "ann"}
    rooms = [
        {"room": f"r{n}", "clients": 1, "max_clients": 4, "locked": n == 2, "password": n == 3, "metadata": about}
        for n in range(1, 8)
    ]
    board = Board()
    assert board.table([], 5)[1:] == ["     no table fits: /create makes one"]
    shown = board.table(rooms, 6)
    assert len(shown) == 6
    assert [line.split()[0] for line in shown[1:-1]] == ["1", "2", "3", "4"]
    assert shown[2].endswith("1/4     locked")
    assert shown[3].endswith("1/4     password")
    assert shown[-1] == "     and 3 more"
    assert board.table(rooms[5:], 6)[1].split()[0] == "6"
    assert (board.find("6"), board.find("9")) == ("r6", None)
