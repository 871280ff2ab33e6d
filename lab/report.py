"""The report as one HTML page: no script, nothing that is loaded from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape

from .budget import METRICS, Verdict, show
from .charts import Series, line_chart
from .figures import Figures, Latency, ProcessUse
from .report_style import STYLE
from .shown import shown_memory, shown_share, shown_time

__all__ = ["html_report"]

_HOLDS, _BROKEN = "holds", "broken"


def html_report(figures: Figures, verdicts: Sequence[Verdict], problems: Sequence[str]) -> str:
    """The page.

    Args:
        figures: of the run.
        verdicts: of its budget; none if it had none.
        problems: what was wrong besides.
    """
    what = "joins" if figures.visits else "deliveries"
    times = [moment.at for moment in figures.moments]
    body = [
        _head(figures),
        _verdict(figures, verdicts, problems),
        _tiles(figures),
        _section("Latency", _latencies(figures)),
        _section(
            f"Latency of {what} over time",
            line_chart(
                times,
                [
                    Series(name, [getattr(moment.latency, key) for moment in figures.moments])
                    for name, key in (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p99.9", "p999"))
                ],
                shown_time,
                label=f"Latency of {what} over time",
                log=True,
            ),
            "By the second in which they were due, not the one in which they came; the axis grows by factors.",
        ),
        _section(f"{what.capitalize()} a second", _throughput(figures, times)),
        _section("CPU, share of a core", _over_time(times, figures, "cpu")),
        _section("Memory", _over_time(times, figures, "rss")),
        _section("Checks", _checks(figures)),
        _section("Processes", _processes([*figures.servers, *figures.loads])),
        _section("What the server logged", _said(figures)) if figures.server_said else "",
        _section("Machine", _table([], figures.machine.items())),
    ]
    title = escape(f"Load test: {figures.scenario}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style>'
        f"<body>{''.join(body)}</body></html>\n"
    )


def _head(figures: Figures) -> str:
    told = (
        f"{figures.bots:,} bots in {figures.processes} load processes, {figures.seconds:g} s after "
        f"{figures.warm_up:g} s of warm-up, against {figures.server}"
    )
    return f'<h1>Load test: {escape(figures.scenario)}</h1><p class="faint">{escape(told)}</p>'


def _verdict(figures: Figures, verdicts: Sequence[Verdict], problems: Sequence[str]) -> str:
    wrong = [*(str(verdict) for verdict in verdicts if not verdict.holds), *problems]
    said = (
        "Not as it should be." if wrong else "All checks hold." if not verdicts else "All checks and the budget hold."
    )
    points = f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in wrong)}</ul>" if wrong else ""
    budget = ""
    if verdicts:
        rows = [
            (
                f"{each.metric}, {METRICS[each.metric].meaning}",
                "-" if each.measured is None else show(each.metric, each.measured),
                f"{'≥' if METRICS[each.metric].at_least else '≤'} {show(each.metric, each.limit)}",
                _HOLDS if each.holds else _BROKEN,
            )
            for each in verdicts
        ]
        budget = _section("Budget", _table(["", "measured", "budget", ""], rows))
    kind = "verdict bad" if wrong else "verdict"
    return f'<div class="{kind}"><strong>{said}</strong>{points}<p>{escape(figures.limit())}</p></div>{budget}'


def _tiles(figures: Figures) -> str:
    latency = figures.join if figures.visits else figures.delivery
    what = "join" if figures.visits else "delivery"
    tiles = [
        (shown_time(latency.p50), f"{what} p50"),
        (shown_time(latency.p99), f"{what} p99"),
        (shown_time(latency.p999), f"{what} p99.9"),
        (f"{figures.joins_per_second or figures.deliveries_per_second:,.0f}", f"{_plural(what)} a second"),
    ]
    if not figures.visits:
        tiles.append((f"{figures.faults.total:,}", "lost, doubled or out of order"))
    shown = "".join(f'<div class="tile"><b>{escape(value)}</b><span>{name}</span></div>' for value, name in tiles)
    return f'<div class="tiles">{shown}</div>'


def _plural(what: str) -> str:
    return "deliveries" if what == "delivery" else f"{what}s"


def _latencies(figures: Figures) -> str:
    rows: list[tuple[str, Latency]] = [
        ("delivery", figures.delivery),
        ("join", figures.join),
        ("lag: wake-ups of the load processes", figures.lag),
        ("busy: deliveries in the load processes, at most", figures.own),
    ]
    return _table(
        ["", "count", "p50", "p90", "p99", "p99.9", "max"],
        [
            (name, f"{each.count:,}", *map(shown_time, (each.p50, each.p90, each.p99, each.p999, each.most)))
            for name, each in rows
            if each.count
        ],
    )


def _throughput(figures: Figures, times: Sequence[float]) -> str:
    if figures.visits:
        width = times[0]
        lines = [Series("joins", [moment.latency.count / width for moment in figures.moments])]
    else:
        lines = [
            Series("deliveries", [moment.heard for moment in figures.moments]),
            Series("messages sent", [moment.sent for moment in figures.moments]),
        ]
    return line_chart(times, lines, lambda value: f"{value:,.0f}", label="Throughput over time", log=False)


def _over_time(times: Sequence[float], figures: Figures, key: str) -> str:
    lines = [Series(use.name, getattr(use, key)) for use in (*figures.servers, *figures.loads)]
    if key == "cpu":
        return line_chart(times, lines, shown_share, label="CPU over time", log=False)
    return line_chart(times, lines, shown_memory, label="Memory over time", log=False)


def _checks(figures: Figures) -> str:
    faults = figures.faults
    streams = [
        ("deliveries checked, warm-up included", f"{figures.checked:,}"),
        ("never came", f"{faults.lost:,}"),
        ("came twice", f"{faults.doubled:,}"),
        ("came out of order", f"{faults.disordered:,}"),
        ("offsets that a member never saw", f"{faults.skipped:,}"),
        ("senders whose messages members saw in different orders", f"{faults.disagreed:,}"),
        ("came from another room", f"{faults.crossed:,}"),
    ]
    load = [
        ("acts that were due and could not be done", f"{figures.unsent:,}"),
        ("acts that began late because the one before still waited", f"{figures.held:,}"),
        *((f"error: {what}", f"{count:,}") for what, count in figures.errors.items()),
        ("share of the time in which the busiest load process had something to do", shown_share(figures.busy)),
    ]
    return _table([], load if figures.visits else [*streams, *load])


def _processes(uses: Iterable[ProcessUse]) -> str:
    rows = [(f"{use.name}, process {use.pid}", shown_share(use.busy), shown_memory(use.most_memory)) for use in uses]
    return _table(["", "CPU, mean share of a core", "memory, most"], rows)


def _said(figures: Figures) -> str:
    return f"<pre>{escape(chr(10).join(figures.server_said))}</pre>"


def _section(title: str, content: str, note: str = "") -> str:
    told = f'<p class="faint">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{content}{told}</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>" if head else ""
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>{top}{lines}</table>"


def _cell(text: str) -> str:
    kind = f' class="{text}"' if text in (_HOLDS, _BROKEN) else ""
    return f"<td{kind}>{escape(text)}</td>"
