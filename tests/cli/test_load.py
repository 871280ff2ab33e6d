"""``module:attr``: what is found, and what is said of what is not."""

import sys
from pathlib import Path

import pytest

from server_room_system import Server
from server_room_system.cli.exits import CommandError, Exit
from server_room_system.cli.load import load_server

HEAD = "from server_room_system import *\n"


def write(folder: Path, **files: str) -> None:
    """Files by name, with ``__`` for a slash."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("target", ["lone:server", "lone.py:server", "./lone.py:server", "lone", "lone.py", "lone:"])
def test_a_server_is_found_by_module_and_by_file(imports_as_before: Path, target: str) -> None:
    write(imports_as_before, lone=f"{HEAD}server = again = Server()")
    assert type(load_server(target)) is Server
    assert load_server(target) is sys.modules["lone"].server


def test_a_subclass_is_made_if_it_needs_nothing(imports_as_before: Path) -> None:
    write(imports_as_before, sub=f"{HEAD}class Mine(Server): pass")
    assert type(load_server("sub:Mine")).__name__ == "Mine"


def test_an_attribute_of_an_attribute_is_found(imports_as_before: Path) -> None:
    write(imports_as_before, deep=f"{HEAD}class settings:\n    server = Server()\n")
    assert isinstance(load_server("deep:settings.server"), Server)


def test_an_absolute_path_is_found_from_anywhere(
    imports_as_before: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere, afar=f"{HEAD}server = Server()")
    assert isinstance(load_server(f"{elsewhere}/afar.py:server"), Server)


def test_a_file_that_imports_relatively_is_part_of_its_package(imports_as_before: Path) -> None:
    write(
        imports_as_before,
        app__srv=f"{HEAD}from .kinds import R\nserver = Server(rooms={{'r': R}})",
        app__kinds=f"{HEAD}class R(Room): pass",
    )
    assert "r" in load_server("app/srv.py:server").rooms
    assert "r" in load_server("app.srv:server").rooms


def test_a_file_that_imports_its_neighbours_is_run_as_python_would(imports_as_before: Path) -> None:
    write(
        imports_as_before,
        flat__srv=f"{HEAD}from kinds import R\nserver = Server(rooms={{'r': R}})",
        flat__kinds=f"{HEAD}class R(Room): pass",
    )
    assert "r" in load_server("flat/srv.py:server").rooms


SOURCES = {
    "broken": "def f():\n    return 1/0\nf()\n",
    "syntax": "def (\n",
    "needs": "import no_such_dependency\n",
    "leaves": "import sys; sys.exit(3)\n",
    "two": f"{HEAD}a = Server()\nb = Server()\nnumber = 3\n",
    "only_class": f"{HEAD}class Mine(Server): pass\n",
    "nothing": "x = 1\n",
    "greedy": f"{HEAD}class Mine(Server):\n    def __init__(self, x): super().__init__()\n",
    "boom": f"{HEAD}class Mine(Server):\n    def __init__(self): raise RuntimeError('no\\nluck')\n",
    "signal": f"{HEAD}server = Server()\n",
    "dotted": f"{HEAD}from .x import y\nserver = Server()\n",
    "not-a-name": f"{HEAD}server = Server()\n",
}


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("broken", Exit.FAILED, "ZeroDivisionError: division by zero (.*broken.py, line 2)"),
        ("syntax:x", Exit.FAILED, "SyntaxError.*syntax.py, line 1"),
        ("needs:x", Exit.FAILED, "No module named 'no_such_dependency'"),
        ("leaves", Exit.FAILED, "ended the program.*__main__"),
        ("two", Exit.USAGE, "two:a or two:b"),
        ("two:number", Exit.USAGE, "of type int"),
        ("two:bb", Exit.USAGE, "Did you mean b"),
        ("two:zzz", Exit.USAGE, "It has a, b"),
        ("two:Room", Exit.USAGE, "the class Room, not a Server"),
        ("two:Server.run", Exit.USAGE, "of type function"),
        ("only_class", Exit.USAGE, "Say which to run: only_class:Mine"),
        ("nothing", Exit.USAGE, "has no Server"),
        ("nothing:x", Exit.USAGE, "of type int"),
        ("greedy:Mine", Exit.USAGE, "without arguments.*'x'"),
        ("boom:Mine", Exit.FAILED, "RuntimeError: no"),
        ("signal.py:server", Exit.USAGE, "rename the file"),
        ("dotted.py", Exit.USAGE, "folder above its package"),
        ("not-a-name.py", Exit.USAGE, "letters, digits and _"),
        ("not-a-name:x", Exit.USAGE, "no module's name"),
        ("brokn", Exit.USAGE, "there is no module 'brokn'.*Did you mean broken"),
        ("brokn.py", Exit.USAGE, "brokn.py does not exist"),
        ("two.x:y", Exit.USAGE, "'two.x'"),
        ("x/y", Exit.USAGE, "does not exist"),
        (".py", Exit.USAGE, "does not exist"),
        ("folder.py", Exit.USAGE, "is no file"),
        ("", Exit.USAGE, "names no server"),
        (":x", Exit.USAGE, "names no server"),
        ("two:1x", Exit.USAGE, "names no server"),
        ("two:a:b", Exit.USAGE, "names no server"),
        ("a b:c", Exit.USAGE, "no module's name"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(imports_as_before: Path, target: str, code: Exit, says: str) -> None:
    write(imports_as_before, **SOURCES)
    (imports_as_before / "folder.py").mkdir()
    with pytest.raises(CommandError, match=says) as error:
        load_server(target)
    assert error.value.code is code
    assert "\n" not in error.value.message
