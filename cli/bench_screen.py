"""What ``srs bench`` shows in a terminal."""

import shutil
from typing import TextIO

from ..lab.budget import Verdict
from ..lab.figures import Figures, Latency, Moment
from ..lab.shown import shown_memory, shown_share, shown_time
from .screen import Palette, printable, table

__all__ = ["ProgressLine", "lines_of"]


class ProgressLine:
    """Says how far it is: in one line that is written over on a terminal, otherwise in one line after the other."""

    def __init__(self, stream: TextIO, *, quiet: bool) -> None:
        self._stream = stream
        self._quiet = quiet
        self._over = stream.isatty()

    def show(self, what: str, moment: Moment | None, busy: float | None) -> None:
        """Take the news."""
        if self._quiet:
            return
        text = what
        if moment is not None:
            cpu = "" if busy is None else f"   server {shown_share(busy)} CPU"
            latency = f"p50 {shown_time(moment.latency.p50)}   p99 {shown_time(moment.latency.p99)}"
            text = f"{moment.at:5.1f} s   {latency}   {moment.heard:,.0f} deliveries/s{cpu}"
        if self._over:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{text[:width]}")
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Leave an empty line to go on from."""
        if self._over and not self._quiet:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def lines_of(figures: Figures, verdicts: list[Verdict], problems: list[str], paint: Palette) -> list[str]:
    """The result for people."""
    workload = f"{figures.scenario}: {figures.bots} bots in {figures.processes} load processes"
    lines = [paint(workload, "bold"), f"{figures.server}, {figures.seconds:g} s after {figures.warm_up:g} s of warm-up"]
    rows = [["", "p50", "p90", "p99", "p99.9", "max"]]
    rows += [] if figures.visits else [_latency("delivery", figures.delivery)]
    rows += [_latency("join", figures.join), _latency("lag of the load", figures.lag)]
    lines += ["", *table(rows, right=frozenset(range(1, 6)))]
    if figures.visits:
        rates = [("joins", f"{figures.joins_per_second or 0:,.0f} a second")]
    else:
        rates = [
            ("messages", f"{figures.messages_per_second:,.0f} a second"),
            ("deliveries", f"{figures.deliveries_per_second:,.0f} a second"),
        ]
    processes = [
        (
            f"{use.name} ({use.pid})",
            f"{shown_share(use.busy)} of a core, {shown_memory(use.most_memory)}",
        )
        for use in (*figures.servers, *figures.loads)
    ]
    lines += ["", *table([*rates, *processes], right=frozenset({1}))]
    lines += ["", figures.limit()]
    lines += [f"the server said: {printable(line, 300)}" for line in figures.server_said]
    good, bad = paint("ok", "bold", "green"), paint("WRONG", "bold", "red")
    if not figures.faults.total and figures.checked:
        lines.append(f"{good}     {figures.checked:,} deliveries checked: none lost, none doubled, one order for all")
    lines += [f"{bad}  {printable(problem, 300)}" for problem in problems]
    lines += [f"{good if verdict.holds else bad}{'     ' if verdict.holds else '  '}{verdict}" for verdict in verdicts]
    return lines


def _latency(name: str, latency: Latency) -> list[str]:
    values = (latency.p50, latency.p90, latency.p99, latency.p999, latency.most)
    return [name, *map(shown_time, values)]
