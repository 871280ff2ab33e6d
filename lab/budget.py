"""Budgets: what the figures of a run may be at most, or at least, as CI states it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..protocol.errors import ConfigError
from .shown import shown_memory, shown_share, shown_time

__all__ = ["METRICS", "Bound", "Metric", "Verdict", "judge", "parse_budget", "show"]

_UNITS: dict[str, dict[str, float]] = {
    "time": {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0},
    "count": {"": 1.0, "k": 1e3},
    "share": {"%": 0.01, "": 1.0},
    "memory": {"KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
}
_EXAMPLES = {"time": "20ms", "count": "0", "share": "80%", "memory": "200MB"}
_BOUND = re.compile(r"(\w+)=(\d+(?:\.\d+)?)(\D*)")


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure that a budget can name."""

    dimension: str
    meaning: str
    at_least: bool = False


METRICS: dict[str, Metric] = {
    "p50": Metric("time", "delivery latency, median"),
    "p90": Metric("time", "delivery latency, 90 %"),
    "p99": Metric("time", "delivery latency, 99 %"),
    "p999": Metric("time", "delivery latency, 99.9 %"),
    "join_p99": Metric("time", "join latency, 99 %"),
    "loss": Metric("count", "deliveries that never came"),
    "order": Metric("count", "deliveries out of order or doubled"),
    "deliveries": Metric("count", "deliveries a second", at_least=True),
    "cpu": Metric("share", "CPU of the busiest server process"),
    "rss": Metric("memory", "memory of all server processes"),
}


@dataclass(frozen=True, slots=True)
class Bound:
    """What one figure may be. Seconds, counts, shares of a core, bytes."""

    metric: str
    limit: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bound, and what was measured; None where nothing was."""

    metric: str
    limit: float
    measured: float | None
    holds: bool

    def __str__(self) -> str:
        wanted = f"{'≥' if METRICS[self.metric].at_least else '≤'} {show(self.metric, self.limit)}"
        got = "was not measured" if self.measured is None else f"is {show(self.metric, self.measured)}"
        return f"{self.metric} {got} ({wanted})"


def parse_budget(text: str) -> list[Bound]:
    """Read ``p99=20ms,loss=0``.

    Raises:
        ConfigError: a name is unknown, a number or unit is missing, or a name comes twice.
    """
    bounds: list[Bound] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in METRICS:
            raise ConfigError(f"a budget knows no {name!r:.40}. It knows {', '.join(METRICS)}.")
        if name in {bound.metric for bound in bounds}:
            raise ConfigError(f"the budget names {name} twice.")
        dimension = METRICS[name].dimension
        found = _BOUND.fullmatch(f"{name}={value}")
        factor = _UNITS[dimension].get(found[3].strip()) if found else None
        if found is None or factor is None:
            units = ", ".join(filter(None, _UNITS[dimension]))
            raise ConfigError(f"{part!r:.60}: write it like {name}={_EXAMPLES[dimension]} (units: {units}).")
        bounds.append(Bound(name, float(found[2]) * factor))
    if not bounds:
        raise ConfigError("the budget is empty: write it like p99=20ms,loss=0.")
    return bounds


def judge(bounds: Iterable[Bound], measured: Mapping[str, float | None]) -> list[Verdict]:
    """Compare. What was not measured does not hold."""
    verdicts: list[Verdict] = []
    for bound in bounds:
        value = measured[bound.metric]
        if value is None:
            holds = False
        else:
            holds = value >= bound.limit if METRICS[bound.metric].at_least else value <= bound.limit
        verdicts.append(Verdict(bound.metric, bound.limit, value, holds))
    return verdicts


def show(metric: str, value: float) -> str:
    """A figure with its unit, for reading."""
    match METRICS[metric].dimension:
        case "time":
            return shown_time(value)
        case "share":
            return f"{shown_share(value)} of a core"
        case "memory":
            return shown_memory(value)
        case _:
            return f"{value:,.0f}"
