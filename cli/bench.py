"""``srs bench``: load a server with bots, and say what it did to those who were in its rooms."""

import asyncio
import json
import os
import sys
from pathlib import Path

import rich_click as click

from ..lab.budget import METRICS, Bound, Verdict, judge, parse_budget
from ..lab.catalog import find_scenario, server_beside
from ..lab.figures import Figures
from ..lab.report import html_report
from .address import parse_address
from .bench_run import Settings, measure
from .bench_screen import ProgressLine, lines_of
from .children import ChildFailed
from .exits import CommandError
from .screen import Palette

__all__ = ["bench"]


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else parse_address(value, ctx)


def _budget(ctx: click.Context, param: click.Parameter, value: str | None) -> list[Bound]:
    return [] if value is None else parse_budget(value)


@click.command()
@click.argument("scenario", default="rooms")
@click.option("--app", metavar="MODULE:ATTR", help="The server to start, as srs serve takes it.")
@click.option("--connect", metavar="ADDRESS", callback=_address, help="A server that runs already.")
@click.option("--workers", metavar="N", type=click.IntRange(1, 256), help="Worker processes of the server to start.")
@click.option(
    "--server-pid", "server_pids", metavar="PID", type=int, multiple=True,
    help="With --connect: a process whose CPU and memory to read. May be given several times.",
)  # fmt: skip
@click.option(
    "--processes", metavar="N", type=click.IntRange(1, 64), default=2, show_default=True, help="Load processes."
)
@click.option("--bots", metavar="N", type=click.IntRange(1, 100_000), help="How many; the scenario says otherwise.")
@click.option("--rate", metavar="R", type=click.FloatRange(0.001, 100_000), help="Acts a second of each bot that acts.")
@click.option(
    "--seconds", metavar="SECONDS", type=click.FloatRange(0.5, 86_400), default=6.0, show_default=True,
    help="How long to measure.",
)  # fmt: skip
@click.option(
    "--warm-up", metavar="SECONDS", type=click.FloatRange(0, 3600), default=1.0, show_default=True,
    help="How long to run before.",
)  # fmt: skip
@click.option(
    "--budget",
    metavar="LIMITS",
    callback=_budget,
    help=f"p99=20ms,loss=0: exit with 1 if it is not kept. Of: {', '.join(METRICS)}.",
)
@click.option("--report", metavar="FILE", type=click.Path(path_type=Path), help="Write an HTML page with plots.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one object, and no progress.")
def bench(
    scenario: str,
    app: str | None,
    connect: str | None,
    workers: int | None,
    server_pids: tuple[int, ...],
    processes: int,
    bots: int | None,
    rate: float | None,
    seconds: float,
    warm_up: float,
    budget: list[Bound],
    report: Path | None,
    as_json: bool,
) -> None:
    """Load a server with bots and measure it.

    SCENARIO is rooms (the default), echo, audience or joins, or a file.py of your
    own with a Bot in it. The server is started for the run: the one that belongs
    to the scenario, or --app.

    Messages leave when they are due, whatever the server does, and are measured
    from that time; loss and order are checked on every stream.

    For the comparison with bare ZeroMQ run make bench in a checkout.
    """
    if report is not None and not report.absolute().parent.is_dir():
        raise click.UsageError(f"the report can't be written to {report}: there is no folder {report.parent}.")
    settings = _settings(scenario, app, connect, workers, server_pids, processes, bots, rate, seconds, warm_up)
    line = ProgressLine(sys.stderr, quiet=as_json)
    try:
        figures = asyncio.run(measure(settings, line.show))
    except ChildFailed as error:
        raise CommandError(f"the bench broke off: {error}") from error
    finally:
        line.clear()
    verdicts = judge(budget, figures.metrics())
    problems = figures.problems(frozenset(bound.metric for bound in budget))
    if as_json:
        click.echo(json.dumps(_for_programs(figures, verdicts, problems), indent=2))
    else:
        click.echo("\n".join(lines_of(figures, verdicts, problems, Palette(sys.stdout))))
    if report is not None:
        _write(report, html_report(figures, verdicts, problems))
        if not as_json:
            click.echo(f"\nThe report is in {report}.")
    broken = [str(verdict) for verdict in verdicts if not verdict.holds]
    if broken or problems:
        raise CommandError("; ".join([*(f"over budget: {text}" for text in broken), *problems][:4]))


def _settings(
    scenario: str,
    app: str | None,
    connect: str | None,
    workers: int | None,
    server_pids: tuple[int, ...],
    processes: int,
    bots: int | None,
    rate: float | None,
    seconds: float,
    warm_up: float,
) -> Settings:
    kind = find_scenario(scenario)
    if app and connect:
        raise click.UsageError("--app starts a server and --connect takes one that runs: give one of them.")
    if connect and workers:
        raise click.UsageError("--workers is for a server that is started here, not for --connect.")
    if server_pids and not connect:
        raise click.UsageError("--server-pid is for --connect: a server that is started here is measured anyway.")
    target = None if connect else app or server_beside(scenario)
    if target is None and connect is None:
        raise click.UsageError(f"{scenario} has no Server beside its bots: give --app or --connect.")
    count = kind.bots if bots is None else bots
    if count % kind.group:
        lower = count - count % kind.group
        near = " or ".join(str(fits) for fits in (lower, lower + kind.group) if fits)
        raise click.UsageError(f"the bots of {scenario} come in groups of {kind.group}: --bots {near}, not {count}.")
    return Settings(
        scenario=scenario,
        kind=kind,
        target=target,
        address=connect,
        bots=count,
        rate=rate,
        seconds=seconds,
        warm_up=warm_up,
        processes=min(processes, count),
        workers=workers,
        server_pids=server_pids,
    )


def _for_programs(figures: Figures, verdicts: list[Verdict], problems: list[str]) -> dict[str, object]:
    return {
        **figures.to_json(),
        "budget": [
            {"metric": each.metric, "limit": each.limit, "measured": each.measured, "holds": each.holds}
            for each in verdicts
        ],
        "problems": problems,
        "limit": figures.limit(),
    }


def _write(path: Path, text: str) -> None:
    """Whole or not at all: what was there before stays when the disk is full."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"the report can't be written to {path}: {error.strerror or error}.") from error
