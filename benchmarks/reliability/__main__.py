"""``python -m benchmarks.reliability``: each promise beside what was measured, as a table."""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import describe, raise_file_limit
from benchmarks.reliability.rows import ROWS, Found, Scale
from benchmarks.report import put_between
from benchmarks.runs import RunError

_FILES = 8192


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(ROWS), metavar="ROW",
                        help=f"measure this row; may be given again: {', '.join(ROWS)}")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=Scale().minutes, help="of the soak (default: 60)")
    parser.add_argument("--quick", action="store_true", help="little of each: a look in passing")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table into this page as well")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print. Ends with 1 if a bound is not kept."""
    options = _arguments()
    raise_file_limit(_FILES)
    scale = Scale.quick() if options.quick else replace(Scale(), minutes=options.minutes)
    found: dict[str, Found] = {}
    for name, (what, _, measure) in ROWS.items():
        if options.only and name not in options.only:
            continue
        _say(f"{name}: {what} ...")
        began = time.monotonic()
        try:
            found[name] = measure(scale, _say)
        except RunError as error:
            found[name] = Found("could not be measured", False, [str(error)], {})
        _say(f"{name}: {found[name].text} ({time.monotonic() - began:.0f} s)")
        for trouble in found[name].troubles[:5]:
            _say(f"  {trouble}")
    print(_table(found))
    for name, each in found.items():
        print(json.dumps({"row": name, "holds": each.holds, **each.figures}))
    if options.markdown:
        put_between(options.markdown, "measured", lambda old: _merged(old, found))
    return 0 if all(each.holds for each in found.values()) else 1


def _table(found: dict[str, Found]) -> str:
    lines = ["| what | has to be | was | holds |", "| --- | --- | --- | --- |"]
    for name, each in found.items():
        what, bound, _ = ROWS[name]
        lines.append(f"| {what} | {bound} | {each.text} | {'yes' if each.holds else 'no'} |")
    return "\n".join(lines)


def _merged(old: str, found: dict[str, Found]) -> str:
    """The table with what was found now; rows that were not measured stay as they were."""
    new = {line.split("|")[1].strip(): line for line in _table(found).splitlines()[2:]}
    kept = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("| ")}
    titles = [what for what, _, _ in ROWS.values()]
    rows = [line for what in titles if (line := new.get(what, kept.get(what)))]
    machine = ", ".join(f"{key} {value}" for key, value in describe().items() if key != "pinned")
    return "\n".join([*_table({}).splitlines(), *rows]) + f"\n\nOn: {machine}.\n"


if __name__ == "__main__":
    raise SystemExit(main())
