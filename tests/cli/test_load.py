"""``module:attr``: what is found, what is said of what is not, and which name leads another process there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import server_room_system
from server_room_system import Server
from server_room_system.broker.load import load_server
from server_room_system.cli.exits import Exit, exit_for, sentence_for
from server_room_system.protocol.errors import ConfigError

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
    "policy": f"{HEAD}class Ranked(MatchQueue):\n    least, most = 3, 2\n",
    "listed": f"{HEAD}class Hall(Room): pass\nserver = Server(rooms=[Hall])\n",
    "seats": (
        f"{HEAD}class Hall(Room):\n    max_clients = 2\n"
        "class Ranked(MatchQueue):\n    room, most = 'hall', 4\n"
        "server = Server(rooms={'hall': Hall}, queues={'ranked': Ranked})\n"
    ),
    "greedy": f"{HEAD}class Mine(Server):\n    def __init__(self, x): super().__init__()\n",
    "boom": f"{HEAD}class Mine(Server):\n    def __init__(self): raise RuntimeError('no\\nluck')\n",
    "signal": f"{HEAD}server = Server()\n",
    "dotted": f"{HEAD}from .x import y\nserver = Server()\n",
    "not-a-name": f"{HEAD}server = Server()\n",
}


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("broken", "ZeroDivisionError: division by zero (.*broken.py, line 2)"),
        ("policy", r"ConfigError: Ranked: least \(3\) is above most \(2\).*policy.py, line 2\)"),
        ("listed", r"rooms is a mapping of names to classes, like .*listed.py, line 3\)"),
        ("seats", "queue 'ranked' makes matches of up to 4 players, and a hall has 2 seats"),
        ("syntax:x", "SyntaxError.*syntax.py, line 1"),
        ("needs:x", "No module named 'no_such_dependency'"),
        ("leaves", "ended the program.*__main__"),
        ("two", "two:a or two:b"),
        ("two:number", "of type int"),
        ("two:bb", "Did you mean b"),
        ("two:zzz", "It has a, b"),
        ("two:Room", "the class Room, not a Server"),
        ("two:Server.run", "of type function"),
        ("only_class", "Say which to run: only_class:Mine"),
        ("nothing", "has no Server"),
        ("nothing:x", "of type int"),
        ("greedy:Mine", "without arguments.*'x'"),
        ("boom:Mine", "RuntimeError: no"),
        ("signal.py:server", "rename the file"),
        ("dotted.py", "folder above its package"),
        ("not-a-name.py", "letters, digits and _"),
        ("not-a-name:x", "no module's name"),
        ("brokn", "there is no module 'brokn'.*Did you mean broken"),
        ("brokn.py", "brokn.py does not exist"),
        ("two.x:y", "'two.x'"),
        ("x/y", "does not exist"),
        (".py", "does not exist"),
        ("folder.py", "is no file"),
        ("", "names no server"),
        (":x", "names no server"),
        ("two:1x", "names no server"),
        ("two:a:b", "names no server"),
        ("a b:c", "no module's name"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(imports_as_before: Path, target: str, says: str) -> None:
    write(imports_as_before, **SOURCES)
    (imports_as_before / "folder.py").mkdir()
    with pytest.raises(ConfigError, match=says) as error:
        load_server(target)
    assert exit_for(error.value) == Exit.USAGE
    assert "\n" not in sentence_for(error.value)


@pytest.mark.parametrize("target", ["app.python_server:server", "folder:x.py/lone.py:server", "folder:x.py/lone.py"])
def test_names_that_look_like_the_other_kind_are_found(imports_as_before: Path, target: str) -> None:
    write(imports_as_before, app__python_server=f"{HEAD}server = Server()")
    (imports_as_before / "folder:x.py").mkdir()
    (imports_as_before / "folder:x.py" / "lone.py").write_text(f"{HEAD}server = Server()")
    assert isinstance(load_server(target), Server)


# The way back.

SOURCE_FOLDER = str(Path(server_room_system.__file__).parents[1])
TELL = "from server_room_system.broker.load import target_of\n"
KIND = """\
class Mine(Server):
    def __init__(self, size=1):
        super().__init__(size if isinstance(size, MatchMaker) else None)
        self.size = 1 if isinstance(size, MatchMaker) else size
"""
UNGUARDED = "if '__main__' != __name__:\n    pass\nelse:\n"
GUARD = "if __name__ == '__main__':\n"


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder."""
    return subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": SOURCE_FOLDER},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def load_elsewhere(folder: Path, target: str) -> str:
    """The type of what another process loads."""
    show = (
        "import sys; from server_room_system.broker.load import load_server;"
        "print(type(load_server(sys.argv[1])).__name__, end='')"
    )
    done = python(folder, "-c", show, target)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("source", "attribute"),
    [
        (f"{KIND}server = Mine(2)\n{GUARD}    print(target_of(server))", "server"),
        (f"{KIND}try:\n    a = b = Mine(2)\nfinally:\n    pass\n{GUARD}    print(target_of(b))", "a"),
        (f"{KIND}if 1 != __name__:\n    server = Mine(2)\n{UNGUARDED}    print(target_of(server))", "server"),
        (f"{KIND}{GUARD}    print(target_of(Mine()))", "Mine"),
        (f"{KIND}{GUARD}    server = Mine()\n    print(target_of(server))", "Mine"),
        (f"{KIND}{GUARD}    server = Mine(1)\n    print(target_of(server))", "Mine"),
        (
            f"class Outer:\n    {KIND.replace(chr(10), chr(10) + '    ')}\n{GUARD}    print(target_of(Outer.Mine()))",
            "Mine",
        ),
    ],
)
def test_a_script_is_loaded_elsewhere_by_its_path(tmp_path: Path, source: str, attribute: str) -> None:
    write(tmp_path, app__script=f"{HEAD}{TELL}{source}")
    done = python(tmp_path, "app/script.py")
    target = done.stdout.strip()
    path, _, named = target.partition(":")
    assert (Path(path), named.rpartition(".")[2]) == (tmp_path / "app" / "script.py", attribute), done.stderr
    assert load_elsewhere(tmp_path.parent, target).splitlines()[-1] == "Mine"


def test_a_module_that_was_started_goes_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, app__kinds=f"{HEAD}class R(Room): pass")
    (tmp_path / "app" / "__main__.py").write_text(
        f"{HEAD}{TELL}from .kinds import R\nserver = Server(rooms={{'r': R}})\n{GUARD}    print(target_of(server))"
    )
    assert python(tmp_path, "-m", "app").stdout.strip() == "app.__main__:server"
    assert load_elsewhere(tmp_path, "app.__main__:server") == "Server"


def test_a_server_of_another_module_goes_by_that_module(tmp_path: Path) -> None:
    late = "class Kind(Server): pass\ndef make():\n    global late\n    late = Kind()\n"
    show = "print(target_of(kinds.server))\nkinds.make()\nprint(target_of(kinds.late))"
    write(tmp_path, app__kinds=f"{HEAD}{late}server = Server()", start=f"{TELL}from app import kinds\n{show}")
    assert python(tmp_path, "start.py").stdout.split() == ["app.kinds:server", "app.kinds:Kind"]


ABOVE = "Write server = Server.* at the top level of the module, above"


@pytest.mark.parametrize(
    ("name", "source", "says"),
    [
        ("script", f"{GUARD}    server = Server()\n    print(target_of(server))", f"server is made under.*{ABOVE}"),
        ("script", f"{GUARD}    print(target_of(Server()))", f"no variable of a module.*{ABOVE}"),
        ("script", f"server = 1\n{GUARD}    server = Server()\n    print(target_of(server))", "is made under"),
        ("script", "if '__main__' != __name__:\n    x = 1\nelse:\n    x = Server()\nprint(target_of(x))", "x is made"),
        ("script", f"{KIND}{GUARD}    print(target_of(Mine(2)))", f"no variable of a module.*{ABOVE}"),
        ("script", f"{KIND}{GUARD}    print(target_of(Mine(match_maker())))", "no variable of a module"),
        (
            "script",
            f"def f():\n    {KIND.replace(chr(10), chr(10) + '    ')}\n    print(target_of(Mine()))\nf()",
            "no var",
        ),
        (
            "script",
            "def f():\n    global late\n    late = Server()\nf()\nprint(target_of(late))",
            "late is made after",
        ),
        ("my-script", "server = Server()\nprint(target_of(server))", "my-script.py: a Python file's name is"),
        ("os", "server = Server()\nprint(target_of(server))", "name of another module.*rename the file"),
        ("__main__", "server = Server()\nprint(target_of(server))", "python -m"),
    ],
)
def test_a_server_that_nobody_else_can_load_is_told_so_in_one_line(
    tmp_path: Path, name: str, source: str, says: str
) -> None:
    matches = "class Matches(MatchMaker): pass\ndef match_maker(): return Matches()\n"
    (tmp_path / f"{name}.py").write_text(f"{HEAD}{TELL}{matches}{source}", encoding="utf-8")
    done = python(tmp_path, f"{name}.py")
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert re.search(f"ConfigError: .*{says}", last), done.stderr


def test_a_server_that_was_typed_in_has_to_be_in_a_file(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", f"{HEAD}{TELL}server = Server()\ntarget_of(server)")
    assert "ConfigError: worker processes can't load a server that was typed in" in done.stderr.splitlines()[-1]
