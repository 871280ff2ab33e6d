"""One target, fuzzed by atheris in a process of its own: ``python -m tests.fuzz.atheris_run TARGET OPTION...``.

The options are libFuzzer's.
"""

import importlib
import sys
from typing import Any

atheris: Any = importlib.import_module("atheris")  # an extra, for Linux alone: checks do without it

with atheris.instrument_imports(include=["server_room_system"]):
    from .targets import TARGETS

__all__ = ["main"]


def main(name: str, *options: str) -> None:
    """Fuzz until something is found, or the options say that it is over. Does not return."""
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], f"-max_len={target.largest}", *options], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
