"""``python -m benchmarks``: our system beside a bare pyzmq loop, under the same load, in the same run."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import cores, describe, raise_file_limit
from benchmarks.report import json_line, markdown, put_between, table
from benchmarks.runs import Outcome, compare
from benchmarks.workloads import BARE, WORKLOADS, Workload


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME",
                        help=f"run this row; may be given again: {', '.join(names)}")  # fmt: skip
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="how often each row's runs are done (default: 3)"
    )
    parser.add_argument("--quick", action="store_true", help="short runs and fewer joins: a look in passing")
    parser.add_argument("--json", action="store_true",
                        help="only the JSON line for each row on stdout; the table goes to stderr")  # fmt: skip
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the table into this page as well, between its markers"
    )
    parser.add_argument("--lean", action="store_true",
                        help="compare with a bare loop that makes two recv calls, not recv_multipart")  # fmt: skip
    parser.add_argument("--noise", action="store_true",
                        help="run the other side as both: what differs then is the machine's noise")  # fmt: skip
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run the rows and print them. No figure fails a run; a server or load that breaks does."""
    options = _arguments()
    if sys.platform != "linux":
        _say("the benchmarks read /proc and use epoll: they need Linux")
        return 2
    chosen = _chosen(options)
    raise_file_limit(max(workload.files for workload in chosen))
    if cores().server is None:
        _say("there is one core for server and load together: read the ratios, not the figures")
    machine = describe()
    outcomes: list[Outcome] = []
    try:
        for workload in chosen:
            outcomes.append(compare(workload, options.rounds, _say))
    except KeyboardInterrupt:
        _say("stopped: here is what there is")
    print("\n" + table(outcomes, machine) + "\n", file=sys.stderr if options.json else sys.stdout, flush=True)
    for outcome in outcomes:
        print(json_line(outcome, machine), flush=True)
    if options.markdown:
        text = markdown(outcomes, machine, _how(options))
        put_between(options.markdown, "lean" if options.lean else "measured", lambda _: text)
    return 1 if any(outcome.failures for outcome in outcomes) else 0


def _chosen(options: argparse.Namespace) -> list[Workload]:
    chosen = [workload for workload in WORKLOADS if not options.only or workload.name in options.only]
    if options.quick:
        chosen = [workload.quick() for workload in chosen]
    if options.lean:
        lean = replace(BARE, options=("lean",))
        chosen = [replace(workload, beside=lean) for workload in chosen if workload.beside == BARE]
    if options.noise:
        chosen = [replace(workload, ours=workload.beside) for workload in chosen if workload.beside is not None]
    return chosen


def _how(options: argparse.Namespace) -> str:
    given = "".join(f" --{name}" for name in ("quick", "lean", "noise") if getattr(options, name))
    return (
        f"`python -m benchmarks{given}`: each server in one process, by turns; medians over {options.rounds} rounds, "
        "the ratio over pairs of neighbouring runs. "
        "Beside ours is a *bare* pyzmq loop that moves the same bytes with no system around it, "
        "or where the bound says so ourselves in another way. "
        "CPU is the server's: user and system, all threads, all of its processes."
    )


if __name__ == "__main__":
    raise SystemExit(main())
