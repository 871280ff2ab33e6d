"""Who comes to a queue in a simulation, when, and with what: drawn up from a seed, or recorded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ..protocol.errors import ConfigError
from .arrivals import Rate, parse_rate
from .draws import Draw, Shares, parse_draw, parse_shares, read_number
from .recording import Recorded, read_recording

__all__ = ["Crowd", "Newcomer", "parse_crowd"]

_NEAR, _FAR = (0.01, 0.06), (0.08, 0.25)
"""Seconds of a round trip to the region in which one lives, and to the others."""
_LARGEST_PARTY = 64
_APART = 0.3
"""How far a player is from the leader of its party, as a share of how far two strangers are: friends play alike."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """One ticket that comes: a player, or a party with several."""

    at: float
    """Seconds since the beginning."""
    ratings: tuple[float, ...]
    """One for each player."""
    roles: tuple[tuple[str, ...], ...]
    """What each of them would play; empty for anything."""
    criteria: dict[str, Any]
    """As a client would ask for them: a value for each name, or a list of those that will do."""
    regions: dict[str, float]
    """Round trips in seconds."""
    patience: float | None
    """Seconds after which it gives up; None if it never does."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who comes. Asked again, it tells the very same: so policies are compared with the same people."""

    arrivals: Rate | Path
    ratings: Draw
    seed: int = 0
    patience: Draw | None = None
    parties: Shares[int] | None = None
    roles: Shares[str] | None = None
    regions: Shares[str] | None = None
    criteria: Mapping[str, Shares[str]] = field(default_factory=dict[str, Shares[str]])

    def newcomers(self, seconds: float) -> Iterator[Newcomer]:
        """All who come within so many seconds, in the order of their coming.

        Raises:
            ConfigError: the recording can't be read; says which line.
        """
        # Each kind of draw has its own source: whoever adds parties gets the same arrivals as before.
        sources = {name: Random(f"{self.seed} {name}") for name in ("times", "sizes", "ratings", "patience", "rest")}
        for recorded in self._recorded(sources["times"], seconds):
            yield self._complete(recorded, sources)

    def _recorded(self, random: Random, seconds: float) -> Iterator[Recorded]:
        if not isinstance(self.arrivals, Path):
            yield from (Recorded(at) for at in self.arrivals.times(random, seconds))
            return
        for recorded in read_recording(self.arrivals):
            if recorded.at >= seconds:
                return
            yield recorded

    def _complete(self, recorded: Recorded, sources: dict[str, Random]) -> Newcomer:
        """With what the recording leaves open drawn."""
        rest = sources["rest"]
        size = max(len(recorded.ratings), len(recorded.roles))
        if not size:
            size = 1 if self.parties is None else self.parties.draw(sources["sizes"])
        patience = recorded.patience
        if patience is None and self.patience is not None:
            patience = max(0.0, self.patience(sources["patience"]))
        return Newcomer(
            recorded.at,
            recorded.ratings or self._ratings(size, sources["ratings"]),
            recorded.roles or tuple(() if self.roles is None else (self.roles.draw(rest),) for _ in range(size)),
            {**{name: values.draw(rest) for name, values in self.criteria.items()}, **recorded.criteria},
            recorded.regions or self._round_trips(rest),
            patience,
        )

    def _ratings(self, size: int, random: Random) -> tuple[float, ...]:
        leader = self.ratings(random)
        return (leader, *(leader + _APART * (self.ratings(random) - leader) for _ in range(size - 1)))

    def _round_trips(self, random: Random) -> dict[str, float]:
        if self.regions is None:
            return {}
        home = self.regions.draw(random)
        return {name: random.uniform(*(_NEAR if name == home else _FAR)) for name in self.regions.values}


def parse_crowd(
    arrivals: str,
    ratings: str,
    *,
    seed: int,
    patience: str | None,
    parties: str | None,
    roles: str | None,
    regions: str | None,
    criteria: tuple[str, ...],
) -> Crowd:
    """What the command line says of those who come.

    Raises:
        ConfigError: one of the descriptions makes no sense; says how to write it.
    """
    rate = parse_rate(arrivals)
    if rate is None and not Path(arrivals).is_file():
        raise ConfigError(
            f"{arrivals!r:.60} says no arrivals: write 600/h, poisson:10/s, daily:100-2000/h, or a file that exists."
        )
    wanted: dict[str, Shares[str]] = {}
    for text in criteria:
        name, equals, values = text.partition("=")
        if not name or not equals or name in wanted:
            raise ConfigError(f"{text!r:.60} is no criterion: write NAME=VALUE:WEIGHT,VALUE:WEIGHT, each name once.")
        wanted[name] = parse_shares(values, f"the criterion {name}")
    return Crowd(
        arrivals=Path(arrivals) if rate is None else rate,
        ratings=parse_draw(ratings, "a rating"),
        seed=seed,
        patience=None if patience is None else parse_draw(patience, "patience"),
        parties=None if parties is None else _sizes(parties),
        roles=None if roles is None else parse_shares(roles, "a role"),
        regions=None if regions is None else parse_shares(regions, "a region"),
        criteria=wanted,
    )


def _sizes(text: str) -> Shares[int]:
    weights: dict[int, float] = {}
    for part in text.split(","):
        written, colon, share = part.strip().partition(":")
        weight = read_number(share) if colon else 1.0
        size = int(written) if written.isdecimal() else 0
        if not 1 <= size <= _LARGEST_PARTY or size in weights or weight is None or weight <= 0:
            raise ConfigError(
                f"{text!r:.60} says no sizes of parties: write SIZE:WEIGHT, like 1:70,2:20,5:10; 1 to {_LARGEST_PARTY}."
            )
        weights[size] = weight
    return Shares(weights)
