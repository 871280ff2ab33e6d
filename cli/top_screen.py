"""What ``srs top`` shows, made from what the broker tells: plain values in, a table out."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..lab.shown import shown_memory, shown_share
from .screen import printable

__all__ = ["screen_of", "shown_up", "summary_of", "worker_rows"]

_WITH_ENDPOINT = 106
"""Columns of a terminal that has room for where clients reach a worker."""
_WITH_HOST = 130
_AROUND_WORKERS = 6
"""Lines of the screen that are not workers."""
_SLOW = 0.1
"""Seconds of lag that people should look at; a worker that lags by 0.25 gets no new rooms."""
_BUSY = 0.9
_STATES = {"serving": "green", "draining": "yellow", "missing": "red"}

Row = dict[str, tuple[str, str]]
"""Cells by the name of their column, each a text and its style."""


def summary_of(told: dict[str, Any]) -> list[tuple[str, str]]:
    """The totals, each with its name. Messages are those that workers and broker get from clients."""
    workers, broker = told["workers"], told["broker"]
    elsewhere = 0.0 if any(worker["endpoint"] is None for worker in workers) else broker["messages"]
    return [
        ("clients", f"{told['sessions']:,}"),
        ("rooms", f"{told['rooms']:,}"),
        ("seats", f"{sum(worker['seats'] for worker in workers):,}"),
        ("tickets", f"{told['tickets']:,}"),
        ("messages/s", f"{sum(worker['messages'] for worker in workers) + elsewhere:,.0f}"),
    ]


def worker_rows(told: dict[str, Any]) -> list[Row]:
    """A row for each worker, in the order of their names, numbers in names as numbers."""
    return [_row(worker) for worker in sorted(told["workers"], key=lambda worker: _natural(worker["name"]))]


def _row(worker: dict[str, Any]) -> Row:
    lag, cpu, state = worker["lag"], worker["cpu"], worker["state"]
    full = worker["rooms"] >= worker["max_rooms"]
    return {
        "WORKER": (printable(worker["name"], 64), "bold"),
        "STATE": (state, _STATES.get(state, "")),
        "ROOMS": (f"{worker['rooms']:,}", "yellow" if full else ""),
        "SEATS": (f"{worker['seats']:,}", ""),
        "MSG/S": (f"{worker['messages']:,.0f}", ""),
        "LAG": (f"{lag * 1e3:,.0f} ms", "red" if lag >= _SLOW else ""),
        "CPU": (shown_share(cpu), "yellow" if cpu >= _BUSY else ""),
        "RSS": (shown_memory(worker["rss"]) if worker["rss"] else "-", ""),
        "UP": (shown_up(worker["up"]), ""),
        "CLIENTS REACH IT AT": (printable(worker["endpoint"] or "the broker's address", 64), "dim"),
        "HOST": (printable(f"{worker['host']} ({worker['pid']})" if worker["pid"] else "", 48), "dim"),
    }


def shown_up(seconds: float) -> str:
    """How long something has been there: ``42 s``, ``3 min``, ``5 h 07``, ``12 d``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02}" if hours < 48 else f"{hours // 24} d"


def screen_of(address: str, told: dict[str, Any], width: int, height: int | None, trouble: str = "") -> RenderableType:
    """The whole screen.

    Args:
        address: the broker's.
        told: its answer to the command ``workers``.
        width: columns that there are.
        height: lines that there are; None shows every worker.
        trouble: why this is not up to date, if it is not.
    """
    broker = told["broker"]
    head = Text.assemble(
        (printable(told["software"], 64), "bold"), f" at {address}, up {shown_up(told['up'])}", no_wrap=True
    )
    totals = Text(no_wrap=True, overflow="ellipsis")
    for name, value in summary_of(told):
        totals.append(f"{name} ", "dim").append(f"{value}   ", "bold")
    process = Text(no_wrap=True, overflow="ellipsis", style="dim")
    process.append(f"broker: lag {broker['lag'] * 1e3:,.0f} ms, CPU {shown_share(broker['cpu'])}")
    process.append(f", {shown_memory(broker['rss'])}" if broker["rss"] else "")
    parts: list[RenderableType] = [head, totals, process, Text(trouble, "bold red", no_wrap=True)]
    rows = worker_rows(told)
    room = len(rows) if height is None else max(1, height - _AROUND_WORKERS)
    parts.append(_table(rows[:room], width) if rows else Text("no workers: nobody hosts rooms", "yellow"))
    if len(rows) > room:
        parts.append(Text(f"and {len(rows) - room} more", "dim"))
    return Group(*parts)


def _table(rows: list[Row], width: int) -> Table:
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    names = [
        name
        for name in rows[0]
        if (name != "HOST" or width >= _WITH_HOST) and (name != "CLIENTS REACH IT AT" or width >= _WITH_ENDPOINT)
    ]
    for name in names:
        number = name in ("ROOMS", "SEATS", "MSG/S", "LAG", "CPU", "RSS", "UP")
        shown.add_column(
            name,
            justify="right" if number else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=len(name) if number else None,
        )
    for row in rows:
        shown.add_row(*(Text(*row[name]) for name in names))
    return shown


def _natural(name: str) -> tuple[str, int, str]:
    letters = name.rstrip("0123456789")
    digits = name[len(letters) :]
    return (letters, int(digits), name) if digits else (letters, -1, name)
