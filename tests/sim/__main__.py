"""``python -m tests.sim``: as many runs as one likes, or one of them again."""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterable

from .farm import Harvest, farm
from .minimise import minimise
from .reconnects import report
from .runs import Outcome, simulate
from .script import Script, draw

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; the exit code: 0 if nothing failed."""
    wanted = _parse(argv)
    if os.environ.get("PYTHONHASHSEED") != "0":  # so that a seed is one course of events in every process
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.sim", *(argv or sys.argv[1:])])
    if wanted.reconnects is not None:
        return 0 if report(wanted.reconnects, wanted.jobs, _say, as_json=wanted.json) else 1
    if wanted.seed is not None:
        return _one(_script(wanted), shrink=wanted.minimise)
    seeds = _seeds(wanted.seeds) if wanted.seeds is not None else itertools.count(wanted.first)
    seconds = wanted.minutes * 60 if wanted.minutes is not None else None
    say = _quiet if wanted.json else _say
    harvest = farm(seeds, wanted.jobs, events=wanted.events, seconds=seconds, told=say)
    if wanted.json:
        _say(json.dumps(_as_json(harvest)))
    else:
        _summarise(harvest)
        _show_failures(harvest, shrink=not wanted.as_it_is)
    return 1 if harvest.failures else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    many = parser.add_argument_group("many runs")
    many.add_argument("--seeds", help="how many, or which: 1000, or 5000-6000")
    many.add_argument("--first", type=int, default=0, help="the first seed, where --seeds is not given")
    many.add_argument("--events", type=int, help="until so many events have happened")
    many.add_argument("--minutes", type=float, help="for so long")
    many.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    many.add_argument("--json", action="store_true", help="say nothing but the outcome, as JSON")
    many.add_argument("--as-it-is", action="store_true", help="do not look for the least that fails")
    many.add_argument("--reconnects", type=int, help="nothing but broken connections, until so many are replaced")
    one = parser.add_argument_group("one run again")
    one.add_argument("--seed", type=int)
    one.add_argument("--only", help="nothing but these faults: 3,9, or none")
    one.add_argument("--without", help="all faults but these: 3,9")
    one.add_argument("--players", help="these players alone: 0,2")
    one.add_argument("--until", type=float, help="seconds after which nothing more goes wrong")
    one.add_argument("--minimise", action="store_true", help="look for the least that fails")
    wanted = parser.parse_args(argv)
    if all(each is None for each in (wanted.seed, wanted.seeds, wanted.events, wanted.minutes, wanted.reconnects)):
        parser.error("say how much: --seeds, --events, --minutes or --reconnects; or --seed for one run again")
    return wanted


def _script(wanted: argparse.Namespace) -> Script:
    script = draw(wanted.seed)
    faults = script.faults
    if wanted.only is not None:
        kept = set(_numbers(wanted.only))
        faults = tuple(fault for fault in faults if fault.number in kept)
    if wanted.without is not None:
        gone = set(_numbers(wanted.without))
        faults = tuple(fault for fault in faults if fault.number not in gone)
    players = script.players if wanted.players is None else tuple(_numbers(wanted.players))
    return script.left(players, faults, script.until if wanted.until is None else wanted.until)


def _numbers(text: str) -> list[int]:
    return [] if text == "none" else [int(each) for each in text.split(",")]


def _seeds(text: str) -> Iterable[int]:
    first, dash, last = text.partition("-")
    return range(int(first), int(last)) if dash else range(int(first))


def _one(script: Script, *, shrink: bool) -> int:
    outcome = simulate(script)
    _describe(outcome)
    if outcome.mistakes and shrink:
        outcome = minimise(outcome, told=lambda smaller: _say(f"  fails too: {smaller.command()}"))
        _describe(outcome)
    return 1 if outcome.mistakes else 0


def _describe(outcome: Outcome) -> None:
    script = outcome.script
    where = "beside the broker" if script.workers is None else f"on {script.workers} workers"
    _say(
        f"seed {script.seed}: {script.fanout} rooms {where}, {len(script.players)} players, "
        f"{len(script.faults)} faults until {script.until:g} s, queues of {script.mark} frames"
    )
    for fault in script.faults if len(script.faults) <= 20 else ():
        _say(f"  {fault}")
    _say(", ".join(f"{count:,} {what}" for what, count in outcome.counts.items()))
    for mistake in outcome.mistakes[:20]:
        _say(f"  WRONG at {mistake}")
    _say(f"{'fails' if outcome.mistakes else 'holds'}: {script.command()}")


def _summarise(harvest: Harvest) -> None:
    _say(f"{harvest.line()}, in {harvest.seconds:.1f} s")
    _say("counts: " + ", ".join(f"{count:,} {what}" for what, count in harvest.counts.items()))
    _say("faults: " + ", ".join(f"{count:,} {kind}" for kind, count in harvest.faults.most_common()))


def _show_failures(harvest: Harvest, *, shrink: bool) -> None:
    if harvest.failures and shrink:
        least = minimise(harvest.failures[0])
        _say(f"the least that fails of the first, with {len(least.script.faults)} faults:")
        _describe(least)


def _as_json(harvest: Harvest) -> dict[str, object]:
    return {
        "seeds": harvest.seeds,
        "seconds": round(harvest.seconds, 1),
        "counts": dict(harvest.counts),
        "faults": dict(harvest.faults),
        "failures": [
            {"again": outcome.script.command(), "mistakes": outcome.mistakes[:5]} for outcome in harvest.failures
        ],
    }


def _say(line: str) -> None:
    print(line, flush=True)  # for who typed the command


def _quiet(line: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
