"""``python -m tests.chaos --minutes 30``: the soak. ``make soak MINUTES=30`` runs it.

Ends with 0 if nothing was wrong, with 1 if something was, with 3 where there can be no ``--machines``.
"""

import argparse
import asyncio
import json
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from .cluster import ChaosCluster
from .run import Outcome, Plan, play

_TOLD_EVERY = 30.0
IMPOSSIBLE = 3
"""Exit code where the system does not allow what was asked for."""


def main() -> int:
    """Run a soak; 0 if nothing was wrong."""
    options = _options()
    seed = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    seconds = options.minutes * 60.0
    plan = Plan(
        seed,
        seconds,
        options.fault_every,
        options.round,
        options.longest_fault,
        options.bot_processes,
        options.bots,
        options.rate,
        options.machines,
        options.blip_every,
        seconds * 0.25,
    )
    print(f"seed {seed}: {options.minutes:g} minutes, a fault each {options.fault_every:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="srs-soak-") as folder:
        try:
            outcome = asyncio.run(_play(plan, Path(folder)))
        except pytest.skip.Exception as reason:  # no machines here
            print(reason)
            return IMPOSSIBLE
        if options.keep:
            Path(folder).rename(options.keep)
            Path(folder).mkdir()
    summary = _summary(plan, outcome)
    if options.json:
        options.json.write_text(json.dumps(summary, indent=2) + "\n")
    _show(summary)
    return 1 if summary["violations"] or summary["complaints"] else 0


async def _play(plan: Plan, folder: Path) -> Outcome:
    playing = asyncio.ensure_future(play(plan, folder, _Teller()))
    # Whoever ends this ends all processes with it. SIGINT as well: a shell has those in the background ignore it.
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, playing.cancel)
    return await playing


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="of faults; calm in between comes on top")
    parser.add_argument("--fault-every", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--round", type=float, default=240.0, metavar="SECONDS", help="of faults between two calms")
    parser.add_argument("--machines", action="store_true", help="network namespaces instead of proxies, as root")
    parser.add_argument("--blip-every", type=float, metavar="SECONDS", help="reset some connections as well, so often")
    parser.add_argument("--longest-fault", type=float, default=6.0, metavar="SECONDS")
    parser.add_argument("--bot-processes", type=int, default=3)
    parser.add_argument("--bots", type=int, default=16, help="in each process")
    parser.add_argument("--rate", type=float, default=8.0, help="messages a second of each bot")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what came of it there")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs there")
    return parser.parse_args()


class _Teller:
    """Says how it goes: on a terminal each second in one line, otherwise now and then."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._told = 0.0
        self._live = sys.stdout.isatty()

    def __call__(self, cluster: ChaosCluster, elapsed: float, what: str) -> None:
        now = time.monotonic()
        if not self._live and now < self._told + _TOLD_EVERY:
            return
        self._told = now
        report = cluster.report()
        counts = report.get("counts", {})
        violations = sum(report.get("violations", {}).values()) + len(cluster.complaints)
        sizes = [
            f"{name} {cluster.samples[name, running.pid][-1].rss:.0f}/{cluster.samples[name, running.pid][-1].fds:.0f}"
            for name, running in cluster.running.items()
            if (name, running.pid) in cluster.samples
        ]
        line = (
            f"{(now - self._began) / 60:5.1f} min  {counts.get('faults', 0):3} faults  "
            f"{counts.get('deliveries', 0):9,} deliveries  {counts.get('reconnects', 0):6,} reconnects  "
            f"{violations} violations  MiB/fds: {' '.join(sizes)}  {what}"
        )
        print(f"\r\x1b[K{line[:200]}" if self._live else line, end="" if self._live else "\n", flush=True)


def _summary(plan: Plan, outcome: Outcome) -> dict[str, object]:
    counts = outcome.report.get("counts", {})
    return {
        "seed": plan.seed,
        "minutes": plan.seconds / 60.0,
        "fault every, s": plan.fault_every,
        "counts": dict(sorted(counts.items())),
        "violations": outcome.report.get("violations", {}),
        "told": outcome.report.get("told", []),
        "complaints": outcome.complaints,
        "processes": [
            {
                "name": name,
                "minutes": round(slope.seconds / 60.0, 1),
                "MiB": [round(slope.first.rss, 2), round(slope.last.rss, 2)],
                "MiB an hour": slope.rss and [round(value, 3) for value in slope.rss],
                "fds": [slope.first.fds, slope.last.fds],
                "fds an hour": slope.fds and [round(value, 3) for value in slope.fds],
            }
            for (name, _), slope in outcome.slopes.items()
        ],
    }


def _show(summary: dict[str, object]) -> None:
    print()
    for what in ("counts", "violations"):
        print(f"{what}:")
        for name, count in summary[what].items():  # type: ignore[attr-defined]  # a dict
            print(f"  {count:12,}  {name}")
    print("processes that lived long enough for a slope:")
    for each in summary["processes"]:  # type: ignore[attr-defined]  # a list
        if each["MiB an hour"] is not None:
            first, last = each["MiB"]
            slope, low, high = each["MiB an hour"]
            print(
                f"  {each['name']:8} {each['minutes']:6.1f} min  {first:7.2f} to {last:7.2f} MiB, "
                f"{slope:+7.3f} MiB an hour ({low:+.2f} to {high:+.2f}); "
                f"{each['fds'][0]:.0f} to {each['fds'][1]:.0f} fds, {each['fds an hour'][0]:+.2f} an hour"
            )
    for line in (*summary["told"], *summary["complaints"]):  # type: ignore[misc]  # lists
        print(line)


if __name__ == "__main__":
    sys.exit(main())
