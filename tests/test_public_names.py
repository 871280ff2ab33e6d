"""What the package gives by name, and what its modules may not touch."""

import ast
import builtins
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import server_room_system
from server_room_system import broker, client, protocol, rooms
from server_room_system.protocol import errors

ROOT = Path(server_room_system.__file__).parent
PARTS = sorted(path.name for path in ROOT.iterdir() if path.is_symlink())
MODULES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    for part in PARTS
    for path in (ROOT / part).rglob("*.py")
    if path.stem != "__main__"
)
"""Every module of every part, without the package's own name."""

SHELLS = {
    "broker.auth_hook",
    "broker.cluster",
    "broker.console",
    "broker.host",
    "broker.jwt",
    "broker.launcher",
    "broker.options",
    "broker.passwords",
    "broker.probe",
    "broker.process",
    "broker.scrape",
    "broker.server",
    "broker.ticket_hook",
    "broker.turns",
    "broker.work",
    "client.blocking",
    "client.blocking_rooms",
    "client.links",
    "client.shared_network",
    "client.shell",
    "client.ticket",
    "rooms.hook_tasks",
    "rooms.load",
    "rooms.port",
    "rooms.watchdog",
    "rooms.worker",
    "rooms.worker_host",
}
"""Own sockets, tasks, clocks and entropy, or stand around what does. All other modules decide, and are pure."""
SHELL_PARTS = {"cli", "testing", "transport"}
SEEDED = {"lab.arrivals", "lab.crowd", "lab.draws", "lab.queue_run"}
"""Draw at random, from a source with a seed that they are given or make: what they do is the same each time."""
PURE = [name for name in MODULES if name not in SHELLS and name.partition(".")[0] not in SHELL_PARTS]
IMPURE = {"zmq", "asyncio", "selectors", "socket", "threading", "subprocess", "time", "random", "secrets"}
DANGEROUS = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "code", "codeop"}


def source(name: str) -> ast.Module:
    path = ROOT.joinpath(*name.split("."))
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())


def imported(name: str) -> set[str]:
    """The top-level packages that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(source(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


def star(statement: str) -> dict[str, Any]:
    """What ``from ... import *`` gives a program."""
    names: dict[str, Any] = {}
    exec(statement, names)
    del names["__builtins__"]
    return names


def load(name: str) -> ModuleType:
    return importlib.import_module(f"server_room_system.{name}")


# What users get.


def test_the_packages_list_is_the_union_of_its_parts_lists() -> None:
    own = {"AddressLimits", "ClientData", "HistoryLimits", "Limits", "Position", "Protocol", "RuleSet"}
    parts = [set(part.__all__) for part in (broker, client, rooms, errors)]
    assert own <= set(protocol.__all__)
    assert set(server_room_system.__all__) == own.union(*parts)
    assert len(server_room_system.__all__) == sum(map(len, parts)) + len(own), "a name is listed twice"


def test_a_part_that_gathers_others_lists_them_all() -> None:
    gathered = [load(f"protocol.{path.stem}") for path in (ROOT / "protocol").glob("*.py") if path.stem != "__init__"]
    assert sorted(protocol.__all__) == sorted(name for module in gathered for name in module.__all__)


def test_no_public_name_hides_a_builtin() -> None:
    assert not set(server_room_system.__all__) & set(dir(builtins))


@pytest.mark.parametrize("statement", ["from server_room_system import *", "from server_room_system.src import *"])
def test_both_ways_to_import_everything_give_the_same(statement: str) -> None:
    expected = {name: getattr(server_room_system, name) for name in server_room_system.__all__}
    assert star(statement) == expected


def test_the_names_that_the_first_programs_use_are_there() -> None:
    names = star("from server_room_system.src import *")
    assert {"Server", "Client", "Room", "MatchMaker", "RuleSet", "Protocol", "ClientData"} <= names.keys()


def test_the_version_is_told() -> None:
    assert server_room_system.__version__.startswith("2.")


# What every module says of itself.


def test_there_are_modules() -> None:
    assert {"protocol", "protocol.codec", "rooms.runner", "broker.broker", "client.core"} <= set(MODULES)
    assert set(MODULES) >= SHELLS


@pytest.mark.parametrize("name", MODULES)
def test_every_module_lists_its_names(name: str) -> None:
    module = load(name)
    assert isinstance(module.__all__, list)
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, public) for public in module.__all__)
    assert not any(public.startswith("_") for public in module.__all__)
    assert module.__doc__


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_its_own_package_by_relative_names(name: str) -> None:
    """Otherwise one file is two modules to a type checker."""
    assert "server_room_system" not in imported(name)


# What no module may touch.


@pytest.mark.parametrize("name", PURE)
def test_what_decides_imports_no_sockets_loops_clocks_or_entropy(name: str) -> None:
    assert not imported(name) & (IMPURE - {"random"} if name in SEEDED else IMPURE)


@pytest.mark.parametrize("name", sorted(SEEDED))
def test_what_draws_at_random_takes_nothing_but_the_source_with_a_seed(name: str) -> None:
    taken = [
        alias.name
        for node in ast.walk(source(name))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
        if "random" in (alias.name, getattr(node, "module", None))
    ]
    assert taken == ["Random"]


@pytest.mark.parametrize("name", sorted(SHELLS))
def test_what_is_called_a_shell_is_one(name: str) -> None:
    assert imported(name) & IMPURE


@pytest.mark.parametrize("name", [name for name in MODULES if name.partition(".")[0] != "transport"])
def test_only_the_transport_imports_zmq(name: str) -> None:
    assert "zmq" not in imported(name) or name == "cli.checks"  # the doctor looks at what is installed


@pytest.mark.parametrize("name", MODULES)
def test_nothing_that_runs_what_it_reads(name: str) -> None:
    assert not imported(name) & DANGEROUS
    called = {
        node.func.id
        for node in ast.walk(source(name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"eval", "exec", "compile", "__import__"}
