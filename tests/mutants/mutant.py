"""What a mutant is: a deliberate bug, with the tests that must find it.

A mutant says in which file which text is replaced. The text must be there
exactly once: where the code has changed, the mutant is stale and has to be
written anew. Its tests are few and fast; that the suite as a whole would find
the bug somewhere, some time, does not count.
"""

from typing import NamedTuple

__all__ = ["Mutant", "bug"]


class Mutant(NamedTuple):
    """One bug."""

    name: str
    """What goes wrong."""
    file: str
    edits: tuple[tuple[str, str], ...]
    """What is replaced by what."""
    tests: tuple[str, ...]
    """Those that must find it, as pytest names them."""


def bug(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    """A mutant that is one replacement."""
    return Mutant(name, file, ((old, new),), tests)
