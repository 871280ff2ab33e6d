"""From runs to a table: medians, ratios, and marks on figures that say less than they seem to."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

from benchmarks.job import Result
from benchmarks.runs import Outcome
from benchmarks.workloads import Figure

__all__ = ["json_line", "markdown", "put_between", "table"]

_SATURATED = 0.90
_DISTURBED = 0.05
_HEADINGS = ("workload", "figure", "ours", "beside", "ratio", "bound", "holds")
_LEFT = 2
"""So many columns are text; the others are aligned to the right."""

_NOTES = {
    "*": "* the load generator used over 90 % of its core: the server may be faster than that",
    "~": "~ other programs took over 5 % of the cores meanwhile: run it again when the machine is quiet",
}


class _Line:
    """A figure over all runs.

    ``ours`` and ``beside`` are medians; None where no run came to its end. The
    ratio is the median over the pairs of runs that stood next to each other:
    the machine was as fast for one as for the other.
    """

    def __init__(self, outcome: Outcome, figure: Figure) -> None:
        self.figure = figure
        self.ours_runs = [result.figures[figure.key] for result in outcome.ours]
        self.beside_runs = [result.figures[figure.key] for result in outcome.beside]
        self.ours = median(self.ours_runs) if self.ours_runs else None
        self.beside = median(self.beside_runs) if self.beside_runs else None

    @property
    def ratio(self) -> float | None:
        """How many times the other side's figure ours is."""
        if self.ours is None or not self.beside:
            return None
        if len(self.ours_runs) != len(self.beside_runs):
            return self.ours / self.beside
        return median(ours / beside for ours, beside in zip(self.ours_runs, self.beside_runs, strict=True))

    @property
    def holds(self) -> bool | None:
        """Whether the bound is kept; None if there is none, or a side is missing."""
        if self.figure.bound is None or self.ours is None:
            return None
        return self.figure.bound.holds(self.ours, self.ratio)


def _lines(outcome: Outcome) -> list[_Line]:
    return [_Line(outcome, figure) for figure in outcome.workload.figures]


def _marks(results: list[Result]) -> str:
    if not results:
        return ""
    saturated = median(result.usage.load_share for result in results) > _SATURATED
    disturbed = median(result.usage.foreign_share for result in results) > _DISTURBED
    return ("*" if saturated else "") + ("~" if disturbed else "")


def _number(value: float | None, digits: int) -> str:
    return "failed" if value is None else f"{value:,.{digits}f}"


def _bound(outcome: Outcome, figure: Figure) -> str:
    other = outcome.workload.beside
    return figure.bound.text(other.name if other is not None else "") if figure.bound is not None else ""


def _rows(outcomes: Iterable[Outcome]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for outcome in outcomes:
        title = outcome.workload.title
        for line in _lines(outcome):
            digits = line.figure.digits
            rows.append((
                title,
                line.figure.label,
                _number(line.ours, digits) + _marks(outcome.ours),
                _number(line.beside, digits) + _marks(outcome.beside) if outcome.workload.beside is not None else "",
                "" if line.ratio is None else f"{line.ratio:.2f}",
                _bound(outcome, line.figure),
                {True: "yes", False: "NO", None: ""}[line.holds],
            ))  # fmt: skip
            title = ""
    return rows


def _remarks(outcomes: list[Outcome], rows: list[tuple[str, ...]]) -> list[str]:
    shown = "".join(row[2] + row[3] for row in rows)
    remarks = [note for mark, note in _NOTES.items() if mark in shown]
    for outcome in outcomes:
        remarks += [f"! {outcome.workload.name}: {failure}" for failure in outcome.failures]
    return remarks


def _facts(machine: dict[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in machine.items())


def table(outcomes: list[Outcome], machine: dict[str, str]) -> str:
    """For reading in a terminal."""
    rows = _rows(outcomes)
    widths = [max(len(row[at]) for row in [_HEADINGS, *rows]) for at in range(len(_HEADINGS))]

    def line(row: tuple[str, ...]) -> str:
        cells = (
            text.ljust(width) if at < _LEFT else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    ruler = "  ".join("-" * width for width in widths)
    return "\n".join([line(_HEADINGS), ruler, *map(line, rows), "", *_remarks(outcomes, rows), _facts(machine)])


def markdown(outcomes: list[Outcome], machine: dict[str, str], how: str) -> str:
    """For the documentation.

    Args:
        outcomes: the rows.
        machine: what the figures belong to.
        how: a sentence on how they were made.
    """
    rows = _rows(outcomes)
    ruler = ["---" if at < _LEFT else "---:" for at in range(len(_HEADINGS))]
    lines = [how, ""]
    lines += ["| " + " | ".join(row) + " |" for row in [_HEADINGS, ruler, *rows]]
    lines += ["", *(f"{remark}  " for remark in _remarks(outcomes, rows)), "", "| machine | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in machine.items()]
    return "\n".join(lines) + "\n"


def json_line(outcome: Outcome, machine: dict[str, str]) -> str:
    """One row for a program, with the figures of every run."""
    figures = [
        {
            "figure": line.figure.key,
            "label": line.figure.label,
            "ours": line.ours,
            "beside": line.beside,
            "ratio": line.ratio,
            "bound": _bound(outcome, line.figure) or None,
            "holds": line.holds,
            "ours_runs": line.ours_runs,
            "beside_runs": line.beside_runs,
        }
        for line in _lines(outcome)
    ]
    usage = {
        side: [
            {
                "server": result.usage.server_share,
                "load": result.usage.load_share,
                "foreign": result.usage.foreign_share,
            }
            for result in results
        ]
        for side, results in (("ours", outcome.ours), ("beside", outcome.beside))
    }
    row = {
        "workload": outcome.workload.name,
        "title": outcome.workload.title,
        "figures": figures,
        "cores_used": usage,
        "load_bound": "*" in _marks(outcome.ours) + _marks(outcome.beside),
        "disturbed": "~" in _marks(outcome.ours) + _marks(outcome.beside),
        "failures": outcome.failures,
        "machine": machine,
    }
    return json.dumps(row, ensure_ascii=False)


def put_between(page: Path, name: str, new: Callable[[str], str]) -> None:
    """Make text anew that stands between ``<!-- name -->`` and ``<!-- /name -->``.

    Args:
        page: the file.
        name: of the place.
        new: the text for what stands there now.

    Raises:
        SystemExit: there is no such place.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    old, end, after = rest.partition(f"<!-- /{name} -->")
    if not (begin and end):
        raise SystemExit(f"{page} has no place between <!-- {name} --> and <!-- /{name} -->")
    page.write_text(before + begin + new(old) + end + after, encoding="utf-8")
