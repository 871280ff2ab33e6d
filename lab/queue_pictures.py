"""Pictures of what policies do to those who wait, side by side. Needs the extra ``[plot]``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..protocol.errors import ConfigError
from .shown import shown_wait
from .waiting import Counts, waits_by_rating

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "draw_queues", "new_figure", "write_figure"]

FORMATS = (".png", ".svg", ".pdf")
"""What a picture's name may end with."""

# Those of the lab's reports: they can be told apart by those who see few colours, and by the kind of line.
_COLOURS = ("#0072b2", "#c75a00", "#008a63", "#a8438a", "#7a6a00", "#4d5665")
_LINES = ("-", "--", "-.", ":")
_INK, _FAINT, _RULE = "#1c2330", "#5d6778", "#dde1e8"
_MOST_POINTS = 1000
"""Of a line: an eye sees no more, and a million make a picture of megabytes."""
_MOST_MOMENTS = 150
_WAITS = (1, 3, 10, 30, 60, 120, 300, 900, 3600, 10800, 43200, 172800)
_SHORTEST = 0.5
"""Seconds at which the axis of waits begins: who waited less is drawn there."""
_OUTCOMES = {"matched": "#008a63", "cancelled": "#e0a800", "refused": "#b3261e", "waiting": "#8c96a8"}


def new_figure(width: float, height: float) -> "Figure":
    """An empty picture in our style. Inches, of which one has 100 dots.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context  # noqa: PLC0415  # an extra: only who needs it loads it
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError("pictures need matplotlib: pip install 'server-room-system[plot]'") from error
    with rc_context({"font.family": "sans-serif", "font.size": 10}):
        # Without pyplot: it would look for a screen, and keep every figure that was ever made.
        return Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")


def write_figure(figure: "Figure", path: Path) -> None:
    """Write it in the format that its name ends with, the same bytes each time.

    Raises:
        ConfigError: the name ends with something else, or it can't be written.
    """
    from matplotlib import rc_context  # noqa: PLC0415  # whoever has a figure has it

    if path.suffix not in FORMATS:
        raise ConfigError(f"a picture's name ends with {', '.join(FORMATS)}, not {path.name!r:.60}.")
    metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[path.suffix]
    with rc_context({"svg.hashsalt": "server-room-system"}):
        try:
            figure.savefig(path, metadata=metadata)
        except OSError as error:
            raise ConfigError(f"the picture can't be written to {path}: {error.strerror or error}.") from error


def draw_queues(runs: Sequence[Counts], title: str) -> "Figure":
    """Six views of the same crowd under each policy.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    figure = new_figure(13.5, 7.6)
    figure.suptitle(title, color=_INK, fontsize=12, x=0.01, ha="left")
    rows = figure.subplots(2, 3)
    (waits, spreads, gaps), (by_rating, over_time, outcomes) = rows
    _shares(
        waits, runs, "wait of those who were matched", lambda run: [
            max(wait, _SHORTEST) for wait, matched in zip(run.waits, run.matched, strict=True) if matched
        ],
    )  # fmt: skip
    _wait_axis(
        waits, "x", [wait for run in runs for wait, matched in zip(run.waits, run.matched, strict=True) if matched]
    )
    _shares(spreads, runs, "rating spread within a match", lambda run: run.spreads)
    _shares(gaps, runs, "team balance: gap of the teams' mean ratings", lambda run: run.gaps)
    _style(by_rating, "90 % of those with this rating waited at most", "rating", "")
    longest: list[float] = []
    for index, run in enumerate(runs):
        middles, told = waits_by_rating(run, 90)
        longest += told
        by_rating.plot(middles, [max(wait, _SHORTEST) for wait in told], label=run.policy, marker=".", **_line(index))
    _wait_axis(by_rating, "y", longest)
    _style(over_time, "tickets waiting", "hours", "")
    for index, run in enumerate(runs):
        hours, waiting = _smoothed(run)
        over_time.plot(hours, waiting, label=run.policy, **_line(index))
    over_time.set_ylim(bottom=0)
    _outcomes(outcomes, runs)
    if waits.lines:
        waits.legend(loc="lower right", frameon=False, labelcolor=_INK)
    return figure


def _line(index: int) -> dict[str, Any]:
    return {"color": _COLOURS[index % len(_COLOURS)], "linestyle": _LINES[index % len(_LINES)], "linewidth": 1.8}


def _style(axes: "Axes", title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10, loc="left", color=_INK)
    axes.set_xlabel(x, color=_FAINT)
    axes.set_ylabel(y, color=_FAINT)
    axes.grid(visible=True, color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_FAINT, length=0)
    for spine in axes.spines.values():
        spine.set_color(_RULE)


def _shares(axes: "Axes", runs: Sequence[Counts], title: str, values_of: Callable[[Counts], Sequence[float]]) -> None:
    """The share of all that is at most so large."""
    _style(axes, title, "", "share of all")
    some = False
    for index, run in enumerate(runs):
        values = sorted(values_of(run))
        if values:
            some = True
            shown = _thinned(values)
            axes.plot([value for value, _ in shown], [share for _, share in shown], label=run.policy, **_line(index))
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    if not some:
        axes.text(0.5, 0.5, "there is none", transform=axes.transAxes, ha="center", color=_FAINT)


def _thinned(ordered: Sequence[float]) -> list[tuple[float, float]]:
    step = max(1, len(ordered) // _MOST_POINTS)
    chosen = sorted({*range(0, len(ordered), step), len(ordered) - 1})
    return [(ordered[index], (index + 1) / len(ordered)) for index in chosen]


def _smoothed(run: Counts) -> tuple[list[float], list[float]]:
    """Hours, and how many waited in the mean since the point before."""
    step = max(1, len(run.moments) // _MOST_MOMENTS)
    pieces = range(0, len(run.moments), step)
    return (
        [run.moments[min(at + step, len(run.moments)) - 1] / 3600 for at in pieces],
        [fmean(run.waiting[at : at + step]) for at in pieces],
    )


def _wait_axis(axes: "Axes", which: str, waits: Sequence[float]) -> None:
    """Grows by factors, with seconds, minutes and hours at its ticks."""
    low = max(_SHORTEST, min(waits, default=1.0)) / 1.25
    high = max(*waits, 2.0, 2 * low) * 1.25 if waits else 2.0
    ticks: list[float] = []
    for tick in _WAITS:
        if low <= tick <= high and (not ticks or tick >= ticks[-1] * (4 if which == "x" else 1.9)):
            ticks.append(tick)
    ticks = ticks or [low, high]
    labels = [_short(tick) for tick in ticks]
    if which == "x":
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_xticks(ticks, labels, minor=False)
        axes.set_xticks([], minor=True)
    else:
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.set_yticks(ticks, labels, minor=False)
        axes.set_yticks([], minor=True)


def _short(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _outcomes(axes: "Axes", runs: Sequence[Counts]) -> None:
    """A bar for each policy: how its tickets ended, and the longest wait."""
    _style(axes, "how tickets ended, and the longest wait", "", "")
    names = [run.policy for run in runs]
    left = [0.0] * len(runs)
    for how, colour in _OUTCOMES.items():
        shares = [run.ended[how] / max(1, len(run.waits)) for run in runs]
        if any(shares):
            axes.barh(range(len(runs)), shares, left=left, color=colour, label=how, height=0.5)
            left = [reached + share for reached, share in zip(left, shares, strict=True)]
    for index, run in enumerate(runs):
        if run.longest is not None:
            longest = f"{shown_wait(run.longest.wait)}, rating {run.longest.rating:,.0f}, {run.longest.ended}"
            axes.text(0.0, index - 0.36, longest, color=_INK, fontsize=9, va="center")
    axes.set_yticks(range(len(runs)), names)
    axes.set_ylim(len(runs) - 0.4, -0.8)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    if axes.patches:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4, frameon=False, labelcolor=_INK)
