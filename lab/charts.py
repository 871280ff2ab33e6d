"""Line charts over time, as SVG to stand in an HTML page. Colours come from the page's style."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["COLOURS", "Series", "line_chart"]

COLOURS = 6
"""Kinds of line; the page's style has a colour for each, ``.l0`` to ``.l5``."""

_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 30


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a value for each point in time, None where there is none."""

    name: str
    values: Sequence[float | None]


def line_chart(
    times: Sequence[float], series: Sequence[Series], shown: Callable[[float], str], *, label: str, log: bool
) -> str:
    """A chart with its legend.

    Args:
        times: seconds, growing.
        series: lines, with as many values as there are times.
        shown: a value of the vertical axis, as text.
        label: what it shows, for those who can't see it.
        log: whether the vertical axis grows by factors. Otherwise it begins at 0.
    """
    known = [value for line in series for value in line.values if value is not None and (value > 0 or not log)]
    if not known:
        return '<p class="none">Nothing was measured.</p>'
    ticks = _factors(min(known), max(known)) if log else _steps(max(known))
    low, high = ticks[0], ticks[-1]
    end = max(times)

    def across(time: float) -> float:
        return _LEFT + time / end * (_WIDTH - _LEFT - _RIGHT)

    def up(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">']
    for tick in ticks:
        y = up(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 8}" y="{y + 4:.1f}">{escape(shown(tick))}</text>')
    for second in _steps(end):
        if second <= end:
            parts.append(f'<text class="x" x="{across(second):.1f}" y="{_HEIGHT - 8}">{second:g} s</text>')
    for index, line in enumerate(series):
        parts += _strokes(times, line, f"l{index % COLOURS}", across, up, log=log)
    parts.append("</svg>")
    legend = "".join(
        f'<li><span class="key l{index % COLOURS}"></span>{escape(line.name)}</li>' for index, line in enumerate(series)
    )
    return f'<ul class="legend">{legend}</ul>{"".join(parts)}'


def _strokes(
    times: Sequence[float],
    line: Series,
    style: str,
    across: Callable[[float], float],
    up: Callable[[float], float],
    *,
    log: bool,
) -> list[str]:
    strokes: list[list[str]] = [[]]
    for time, value in zip(times, line.values, strict=True):
        if value is None or (log and value <= 0):
            strokes.append([])
        else:
            strokes[-1].append(f"{across(time):.1f},{up(value):.1f}")
    parts = [f'<polyline class="{style}" points="{" ".join(points)}"/>' for points in strokes if len(points) > 1]
    for points in strokes:
        if len(points) == 1:  # no line can show it
            x, y = points[0].split(",")
            parts.append(f'<circle class="{style}" cx="{x}" cy="{y}" r="2.5"/>')
    return parts


def _steps(highest: float) -> list[float]:
    """From 0 to at least ``highest`` in four or so equal steps of 1, 2 or 5 times a power of ten."""
    if highest <= 0:
        return [0.0, 1.0]
    rough = highest / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [index * step for index in range(math.ceil(highest / step - 1e-9) + 1)]


def _factors(lowest: float, highest: float) -> list[float]:
    """From at most ``lowest`` to at least ``highest``: 1, 2, 5, 10 and so on; where that is far, powers of ten."""
    first, last = math.floor(math.log10(lowest)), math.ceil(math.log10(highest))
    factors = (1,) if last - first > 3 else (1, 2, 5)
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    below = max((tick for tick in ticks if tick <= lowest), default=ticks[0])
    above = min((tick for tick in ticks if tick >= highest), default=ticks[-1])
    chosen = [tick for tick in ticks if below <= tick <= above]
    return chosen if len(chosen) > 1 else [chosen[0], chosen[0] * 10]
