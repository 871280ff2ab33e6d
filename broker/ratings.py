"""Skill from results: the mathematics of openskill, as plain numbers that you store.

A skill is a bell curve: where somebody probably stands, and how sure that is. It
is yours to keep, beside the account. A queue's ``on_ticket`` reads it; when a
game is over, its room says who came before whom, and stores what ``after``
gives back.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..protocol.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from openskill.models import PlackettLuceRating

__all__ = ["Skill", "Skills"]

# What openskill and TrueSkill take by default (25, 25/3, 25/6, 25/300), as shares of the spread.
_BETA = 1 / 2
_TAU = 1 / 100


class Skill(NamedTuple):
    """How well somebody plays. Two numbers, for any database."""

    mean: float
    """The best guess: what a queue compares."""
    spread: float
    """The standard deviation of the guess: wide for beginners, and narrower with each game."""


class Skills:
    """Rates teams by their results with the Plackett-Luce model of openskill; needs the extra ``[ratings]``.

    ::

        skills = Skills()

        class Ranked(MatchQueue):
            def on_ticket(self, ticket):
                for entrant in ticket.entrants:
                    entrant.rating = stored_skill_of(entrant).mean

    and when the room of two teams knows who won::

        (red, blue) = skills.after([red, blue], places=[1, 2])

    Args:
        mean: of beginners.
        spread: of beginners.

    Raises:
        ConfigError: openskill is not installed, or the numbers make no scale.
    """

    def __init__(self, *, mean: float = 1500.0, spread: float = 500.0) -> None:
        try:
            from openskill.models import PlackettLuce  # noqa: PLC0415  # an extra: only who needs it loads it
        except ModuleNotFoundError as error:
            raise ConfigError("Skills needs openskill: pip install 'server-room-system[ratings]'") from error
        if not (math.isfinite(mean) and math.isfinite(spread) and spread > 0):
            raise ConfigError(f"Skills: beginners need finite numbers and a spread above 0, not {mean} and {spread}")
        self.beginner = Skill(float(mean), float(spread))
        """What somebody has who never played."""
        self._model = PlackettLuce(mu=mean, sigma=spread, beta=spread * _BETA, tau=spread * _TAU)

    def after(self, teams: Sequence[Sequence[Skill]], places: Sequence[float]) -> list[list[Skill]]:
        """The skills after a game.

        Args:
            teams: who played together; a player alone is a team of one.
            places: of each team; the lowest is the best, and equal ones are a draw.

        Returns:
            New skills, in the order of ``teams``.

        Raises:
            UsageError: fewer than two teams, one without players, not a place for each, or numbers that are none.
        """
        rated = self._rated(teams)
        if len(places) != len(teams) or not all(map(math.isfinite, places)):
            raise UsageError(f"{len(teams)} teams need as many finite places, not {list(places)!r:.80}")
        after = self._model.rate(rated, ranks=[float(place) for place in places])
        return [[Skill(player.mu, player.sigma) for player in team] for team in after]

    def chances(self, teams: Sequence[Sequence[Skill]]) -> list[float]:
        """How likely each team is to win, from 0 to 1. Raises UsageError as ``after`` does."""
        return self._model.predict_win(self._rated(teams))

    def shown(self, skill: Skill) -> float:
        """One number for a list of the best: the player is almost certainly (99.7 %) better than that."""
        return self._model.rating(*skill).ordinal()

    def _rated(self, teams: Sequence[Sequence[Skill]]) -> "list[list[PlackettLuceRating]]":
        if len(teams) < 2 or not all(teams):
            raise UsageError("a result is one of two teams or more, with at least one player each")
        for skill in (skill for team in teams for skill in team):
            if not (all(map(math.isfinite, skill)) and skill.spread > 0):
                raise UsageError(f"a skill is two finite numbers with a spread above 0, not {tuple(skill)!r:.80}")
        return [[self._model.rating(*skill) for skill in team] for team in teams]
