"""Numbers and values that are drawn at random, as a command line describes them."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Generic, TypeVar

from ..protocol.errors import ConfigError

__all__ = ["Draw", "Shares", "parse_draw", "parse_shares", "read_number"]

T = TypeVar("T")

Draw = Callable[[Random], float]
"""Takes one number from a distribution."""

_MOST_NUMBERS = 1_000_000
"""Of a file."""


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to describe a distribution: the names of its numbers, and what makes it of them."""

    names: tuple[str, ...]
    make: Callable[..., Draw]


def _normal(mean: float, spread: float) -> Draw:
    return lambda random: random.gauss(mean, spread)


def _uniform(low: float, high: float) -> Draw:
    return lambda random: random.uniform(low, high)


def _exponential(mean: float) -> Draw:
    return lambda random: random.expovariate(1 / mean) if mean else 0.0


_FORMS: Mapping[str, _Form] = {
    "normal": _Form(("MEAN", "SPREAD"), _normal),
    "uniform": _Form(("LOW", "HIGH"), _uniform),
    "exp": _Form(("MEAN",), _exponential),
}
_HELP = ", ".join(f"{name}:{','.join(form.names)}" for name, form in _FORMS.items())


def parse_draw(text: str, what: str) -> Draw:
    """A distribution: ``1500``, ``normal:1500,300``, ``uniform:1000,2000``, ``exp:120``, or a file of numbers.

    Args:
        text: the description. A file has one number a line, and each is drawn as often as the others.
        what: is drawn, for errors: "a rating".

    Raises:
        ConfigError: it is none of these.
    """
    name, colon, numbers = text.partition(":")
    if colon and name in _FORMS:
        form = _FORMS[name]
        values = [read_number(number) for number in numbers.split(",")]
        known = [value for value in values if value is not None]
        if len(known) != len(form.names) or len(known) != len(values) or (name != "uniform" and known[-1] < 0):
            raise ConfigError(f"{text!r:.60} is not how {what} is drawn: write {name}:{','.join(form.names)}.")
        return form.make(*known)
    value = read_number(text)
    if value is not None:
        constant = value
        return lambda random: constant
    if Path(text).is_file():
        drawn = _numbers_of(Path(text))
        return lambda random: random.choice(drawn)
    raise ConfigError(f"{text!r:.60} is not how {what} is drawn: write a number, {_HELP}, or a file of numbers.")


def _numbers_of(path: Path) -> list[float]:
    numbers: list[float] = []
    try:
        with path.open(encoding="utf-8") as file:
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                value = read_number(text)
                if value is None or len(numbers) == _MOST_NUMBERS:
                    wrong = "one number too many" if value is not None else f"no number: {text.strip()!r:.40}"
                    raise ConfigError(f"{path}, line {line}: {wrong}. It may hold {_MOST_NUMBERS:,}, one a line.")
                numbers.append(value)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    if not numbers:
        raise ConfigError(f"{path} holds no numbers: write one a line.")
    return numbers


def read_number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class Shares(Generic[T]):
    """Values that come up as often as their weights say."""

    def __init__(self, weights: Mapping[T, float]) -> None:
        self.values = list(weights)
        self._reached = list(accumulate(weights.values()))

    def draw(self, random: Random) -> T:
        """One of them."""
        at = bisect_right(self._reached, random.random() * self._reached[-1])
        return self.values[min(at, len(self.values) - 1)]


def parse_shares(text: str, what: str) -> Shares[str]:
    """Values with weights: ``ctf:3,dm:1``; a weight that is left out is 1.

    Raises:
        ConfigError: it is not written so.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        value, colon, written = part.strip().partition(":")
        weight = read_number(written) if colon else 1.0
        if not value or value in weights or weight is None or weight <= 0:
            raise ConfigError(f"{text!r:.60} is not how {what} is drawn: write VALUE:WEIGHT,VALUE:WEIGHT.")
        weights[value] = weight
    return Shares(weights)
