"""The folders at the root and the package in src/ are one tree."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "server_room_system"
NO_PARTS = {"tests", "examples", "benchmarks"}
PARTS = {init.parent.name for init in ROOT.glob("*/__init__.py") if init.parent.name not in NO_PARTS}
FILES = {path.name for path in PACKAGE.iterdir() if path.is_file()}
TOOLS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
TARGETS: dict[str, Any] = TOOLS["hatch"]["build"]["targets"]


def test_there_are_parts() -> None:
    assert {"protocol", "transport", "broker", "rooms", "client", "cli", "testing"} <= PARTS


def test_every_part_is_linked_and_nothing_else_is() -> None:
    links = {path.name: path for path in PACKAGE.iterdir() if path.is_symlink()}
    assert links.keys() == PARTS
    for name, link in links.items():
        assert link.resolve() == ROOT / name
        assert not link.readlink().is_absolute(), "a link must work in every checkout"


def test_the_import_package_holds_names_and_no_logic() -> None:
    assert sorted(FILES) == ["__init__.py", "py.typed", "src.py"]


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_every_part_and_file_is_built(target: str) -> None:
    built = set(TARGETS[target]["only-include"])
    assert built >= PARTS
    assert built >= {f"src/server_room_system/{name}" for name in FILES}
    assert built - PARTS <= {f"src/server_room_system/{name}" for name in FILES} | {"examples", "tests"}


def test_the_wheel_puts_every_part_into_the_package() -> None:
    sources = TARGETS["wheel"]["sources"]
    assert sources == {
        **{part: f"server_room_system/{part}" for part in PARTS},
        "src/server_room_system": "server_room_system",
    }


def test_every_part_is_checked_and_measured() -> None:
    assert set(TOOLS["pyright"]["include"]) >= PARTS
    assert set(TOOLS["coverage"]["run"]["source"]) >= PARTS
    assert "src/server_room_system" in TOOLS["mypy"]["files"]


def test_every_part_has_its_layer() -> None:
    (layers,) = (contract["layers"] for contract in TOOLS["importlinter"]["contracts"] if contract["type"] == "layers")
    names = [name.strip() for layer in layers for name in layer.split("|")]
    assert sorted(names) == sorted(f"server_room_system.{part}" for part in PARTS)


def test_what_the_contracts_name_is_there() -> None:
    for contract in TOOLS["importlinter"]["contracts"]:
        for name in contract.get("source_modules", []):
            path = PACKAGE.joinpath(*name.split(".")[1:])
            assert path.is_dir() or path.with_suffix(".py").is_file(), name
