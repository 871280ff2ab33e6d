"""The diagrams of the design document are those of the tables."""

import ast
import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_life_cycles_in_the_design_are_drawn_from_their_tables() -> None:
    script = ROOT / "docs" / "lifecycles.py"
    spec = importlib.util.spec_from_file_location("lifecycles", script)
    assert spec is not None
    assert spec.loader is not None
    lifecycles = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lifecycles)
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    assert lifecycles.drawn(text) == text, "run: python docs/lifecycles.py"
    assert text.count("stateDiagram-v2") == len(lifecycles.TABLES)


def test_every_guarantee_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    section = text.partition("## What is guaranteed")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 10
    for guarantee, *_, shown_by in rows:
        named = re.findall(r"`(tests/[^`]+)`", shown_by)
        assert named, f"no test is named for: {guarantee}"
        for name in named:
            path, _, function = name.partition("::")
            assert (ROOT / path).exists(), name
            if function:
                assert function in _names((ROOT / path).read_text(encoding="utf-8")), name


def _names(code: str) -> set[str]:
    """What a module of tests defines, and the state machines whose ``TestCase`` it names."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found: set[str] = set()
    for node in ast.parse(code).body:
        if isinstance(node, functions):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return found
