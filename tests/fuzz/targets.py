"""Everything that is fuzzed: one function for each, which takes any bytes and raises only if it has found something."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .decoders import DECODERS
from .scenes import SCENES

__all__ = ["CORPUS", "FOUND", "TARGETS", "Target", "inputs"]

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
"""Inputs to begin with: a folder for each target."""
FOUND = HERE / "found"
"""Inputs that once found something: each is tried again by the tests."""


class Target(NamedTuple):
    """Something that is fuzzed."""

    name: str
    run: Callable[[bytes], None]
    largest: int
    """Bytes of an input."""
    examples: int
    """How many hypothesis tries in the tests: a few seconds' worth."""
    share: int
    """Of the time of ``make fuzz``: scenes are slow, and have more to find."""


TARGETS = {
    **{name: Target(name, run, 4096, 200, 1) for name, run in DECODERS.items()},
    **{name: Target(name, run, 2048, 40, 6) for name, run in SCENES.items()},
}
"""By name."""


def inputs(folder: Path, target: str) -> list[Path]:
    """The inputs of one target in CORPUS or FOUND."""
    return sorted(path for path in (folder / target).glob("*") if path.is_file())
