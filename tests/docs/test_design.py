"""The diagrams of the design document are those of the tables."""

import importlib.util
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


def test_every_test_that_the_guarantees_name_exists() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    named = {word.strip("`") for word in text.replace("|", " ").replace(",", " ").split() if word.startswith("`tests/")}
    assert len(named) > 5
    missing = [name for name in sorted(named) if not (ROOT / name).exists()]
    assert not missing
