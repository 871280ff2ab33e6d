"""``srs simulate``: hours of a queue in seconds, one policy beside the other."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import rich_click as click

from ..broker.load import load_server
from ..broker.queues import MatchQueue
from ..lab.crowd import Crowd, parse_crowd
from ..lab.queue_pictures import FORMATS, draw_queues, new_figure, write_figure
from ..lab.queue_run import QueueRun
from ..lab.shown import shown_wait
from ..lab.waiting import Counts
from .exits import CommandError, Exit
from .screen import Palette, RewrittenLine
from .simulate_screen import lines_of

__all__ = ["simulate"]

_MOST_POLICIES = 6
"""As many as a picture has colours for."""
_NEWS = 0.5
"""Seconds between two lines of progress."""


@dataclass(frozen=True, slots=True)
class _Policy:
    name: str
    queue: MatchQueue


@click.command()
@click.argument("targets", metavar="MODULE:ATTR...", nargs=-1, required=True)
@click.option("--queue", "names", metavar="NAME", multiple=True, help="Which; all without it. May be given again.")
@click.option(
    "--arrivals", metavar="RATE|FILE", default="poisson:600/h", show_default=True,
    help="Tickets: 600/h, poisson:10/s, daily:100-2000/h, or a recording as .csv or JSON lines.",
)  # fmt: skip
@click.option(
    "--ratings", metavar="DRAW|FILE", default="normal:1500,300", show_default=True,
    help="Of players: normal:MEAN,SPREAD, uniform:LOW,HIGH, a number, or a file with one a line.",
)  # fmt: skip
@click.option(
    "--hours", metavar="HOURS", type=click.FloatRange(0.001, 8784), default=2.0, show_default=True, help="How long."
)
@click.option("--patience", metavar="DRAW", help="Seconds after which a ticket is cancelled, like exp:300. None does.")
@click.option("--parties", metavar="SIZES", help="How many come together, like 1:70,2:20,5:10. All are alone.")
@click.option(
    "--criteria", metavar="NAME=VALUES", multiple=True, help="Like mode=ctf:3,dm:1. May be given for several names."
)
@click.option("--roles", metavar="ROLES", help="What players play, one each, like healer:1,tank:1,hunter:3.")
@click.option("--regions", metavar="REGIONS", help="Where players live, like eu:2,us:1; round trips follow from it.")
@click.option(
    "--decline", metavar="SHARE", type=click.FloatRange(0, 1), default=0.0,
    help="The share of players who do not accept a match, where they are asked.",
)  # fmt: skip
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Another crowd of the same kind.")
@click.option("--picture", metavar="FILE", type=click.Path(path_type=Path), help=f"Draw it, as {', '.join(FORMATS)}.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one array, and no progress.")
def simulate(
    targets: tuple[str, ...],
    names: tuple[str, ...],
    arrivals: str,
    ratings: str,
    hours: float,
    patience: str | None,
    parties: str | None,
    criteria: tuple[str, ...],
    roles: str | None,
    regions: str | None,
    decline: float,
    seed: int,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Try out the policy of a queue with a crowd, on a clock that jumps.

    MODULE:ATTR is a server, as srs serve takes it. Its queues, or those of several
    servers, get the very same crowd, and are shown side by side: how long players
    wait, how far their ratings are apart, how even teams are, who waits longest,
    and who is never matched.

    The matcher is that of the server. What fits and score of a policy say counts;
    on_ticket is not asked, as the crowd has its ratings.
    """
    if picture is not None:
        _check_picture(picture)
    crowd = parse_crowd(
        arrivals, ratings, seed=seed, patience=patience, parties=parties, roles=roles, regions=regions,
        criteria=criteria,
    )  # fmt: skip
    policies = _policies(targets, names)
    _check_names("--criteria", crowd.criteria, [{*policy.queue.hard, *policy.queue.prefer} for policy in policies])
    _check_names(
        "--roles",
        crowd.roles.values if crowd.roles is not None else (),
        [policy.queue.shape.role_names for policy in policies],
    )
    line = RewrittenLine(sys.stderr, quiet=as_json)
    began = time.monotonic()
    try:
        runs = [_run(policy, crowd, hours * 3600, decline, line) for policy in policies]
    finally:
        line.clear()
    figures = [run.figures() for run in runs]
    title = f"{shown_wait(hours * 3600)} of {arrivals}, ratings {ratings}"
    if as_json:
        click.echo(json.dumps([each.to_json() for each in figures], indent=2))
    else:
        click.echo("\n".join(lines_of(figures, title, Palette(sys.stdout))))
        click.echo(f"\n{sum(each.tickets for each in figures):,} tickets in {time.monotonic() - began:.1f} s.")
    if picture is not None:
        write_figure(draw_queues(runs, title), picture)
        if not as_json:
            click.echo(f"The picture is in {picture}.")


def _check_names(option: str, given: Iterable[str], known: Sequence[AbstractSet[str]]) -> None:
    """What no queue asks for would be left out of each ticket without a word."""
    names = set[str]().union(*known)
    for name in given:
        if name not in names:
            raise click.UsageError(
                f"{option}: no queue here knows {name!r:.60}. They know {', '.join(sorted(names)) or 'none'}."
            )


def _check_picture(path: Path) -> None:
    """Before anything is run: it would be lost."""
    if path.suffix not in FORMATS:
        raise click.UsageError(f"a picture's name ends with {', '.join(FORMATS)}, not {path.name!r:.60}.")
    if not path.absolute().parent.is_dir():
        raise click.UsageError(f"the picture can't be written to {path}: there is no folder {path.parent}.")
    new_figure(1, 1)


def _policies(targets: tuple[str, ...], names: tuple[str, ...]) -> list[_Policy]:
    found: list[_Policy] = []
    known: set[str] = set()
    for target in targets:
        queues = load_server(target).queues
        if not queues:
            raise CommandError(f"{target} has no queues. Give it some: Server(queues={{'ranked': Ranked}})", Exit.USAGE)
        known |= queues.keys()
        prefix = f"{target} " if len(targets) > 1 else ""
        found += [_Policy(f"{prefix}{name}", queues[name]()) for name in names or queues if name in queues]
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"Did you mean {close[0]}?" if close else f"There are {', '.join(sorted(known))}."
            raise click.UsageError(f"there is no queue {name!r:.60}. {hint}")
    if len(found) > _MOST_POLICIES:
        raise click.UsageError(f"{len(found)} queues are too many side by side: choose {_MOST_POLICIES} by --queue.")
    return found


def _run(policy: _Policy, crowd: Crowd, seconds: float, declines: float, line: RewrittenLine) -> Counts:
    run = QueueRun(policy.queue, policy.name, crowd, seconds, declines)
    said = time.monotonic()
    for now in run.run():
        if time.monotonic() - said >= _NEWS:
            said = time.monotonic()
            line.show(f"{policy.name}: {shown_wait(now)} of {shown_wait(seconds)}, {len(run):,} waiting")
    return run.counts
