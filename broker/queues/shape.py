"""The sizes that a match may have: players, teams and roles, checked once for each policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ...protocol.errors import ConfigError

__all__ = ["ANY_ROLE", "NO_TEAM", "Shape", "packable"]

NO_TEAM = ""
"""The name of the one team in a queue without teams."""
ANY_ROLE = ""
"""The role of a place that anybody may take."""

_MOST_PLAYERS = 256
_MOST_TEAMS = 100
_MOST_ROLES = 32
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """What a policy's numbers come to.

    Args:
        sizes: players that a match may have, the largest first.
        teams: name and places of each team of a full match.
        roles: how many of each role a team needs; the other places are anybody's.
        party: the largest party.
        fewest: players of the smallest match; with bots, of a match that bots fill up.
        role_names: the names in ``roles``.
    """

    sizes: tuple[int, ...]
    teams: tuple[tuple[str, int], ...]
    roles: tuple[tuple[str, int], ...]
    party: int
    fewest: int
    role_names: frozenset[str]

    @property
    def full(self) -> int:
        """Players of a full match."""
        return self.sizes[0]

    def places(self, size: int) -> list[tuple[str, int]]:
        """Name and places of each team of a match with so many players."""
        return [(name, places * size // self.full) for name, places in self.teams]

    def slots(self, places: int) -> list[str]:
        """The role of each place of a team."""
        slots = [role for role, count in self.roles for _ in range(count)]
        return slots + [ANY_ROLE] * (places - len(slots))

    @classmethod
    def of(
        cls,
        least: int | None,
        most: int | None,
        multiple: int,
        teams: Mapping[str, int] | None,
        roles: Mapping[str, int] | None,
        most_party: int | None,
        then: str,
    ) -> "Shape":
        """Check a policy's numbers. Raises ConfigError, which says what makes no sense and what would."""
        named = _counts("teams", teams, _MOST_TEAMS)
        needed = _counts("roles", roles, _MOST_ROLES)
        together = sum(places for _, places in named)
        if named and most is not None and most != together:
            raise ConfigError(f"most is {most}, and the teams have {together} places together: leave most away")
        most = together if named else 2 if most is None else most
        if type(most) is not int or not 1 <= most <= _MOST_PLAYERS:
            raise ConfigError(f"most is a number of players from 1 to {_MOST_PLAYERS}, not {most!r:.40}")
        if least is None:
            least = most
        if type(least) is not int or least < 1:
            raise ConfigError(f"least is a number of players from 1 up, not {least!r:.40}")
        if least > most:
            raise ConfigError(f"least ({least}) is above most ({most}): no match could have both")
        if type(multiple) is not int or multiple < 1:
            raise ConfigError(f"multiple is a number from 1 up, not {multiple!r:.40}")
        if most % multiple:
            raise ConfigError(f"a full match of {most} is no multiple of {multiple}")
        if least < most and then not in ("smaller", "bots"):
            raise ConfigError(
                f"least ({least}) is below most ({most}): say when a smaller match will do by max_wait "
                "(0 is at once) and then='smaller' or 'bots'"
            )
        named = named or ((NO_TEAM, most),)
        each = min(places for _, places in named)
        if sum(count for _, count in needed) > each:
            raise ConfigError(f"the roles need {sum(count for _, count in needed)} places, and a team has {each}")
        sizes = [
            size
            for size in range(most, (least if then == "smaller" else most) - 1, -1)
            if size % multiple == 0 and all(places * size % most == 0 for _, places in named)
        ]
        largest = max(places for _, places in named)
        if most_party is None:
            most_party = largest
        if type(most_party) is not int or not 1 <= most_party <= largest:
            raise ConfigError(f"most_party is a size from 1 to the largest team's {largest}, not {most_party!r:.40}")
        fewest = least if then == "bots" else sizes[-1]
        return cls(tuple(sizes), named, needed, most_party, fewest, frozenset(role for role, _ in needed))


def _counts(what: str, given: Mapping[str, int] | None, most: int) -> tuple[tuple[str, int], ...]:
    if given is None:
        return ()
    if not isinstance(given, Mapping) or not 1 <= len(given) <= most:
        raise ConfigError(f"{what} is None, or a mapping of 1 to {most} names to numbers")
    for name, count in given.items():
        if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME:
            raise ConfigError(f"{what}: a name has 1 to {_LONGEST_NAME} characters, not {name!r:.80}")
        if type(count) is not int or not 1 <= count <= _MOST_PLAYERS:
            raise ConfigError(f"{what}: {name} is a number from 1 to {_MOST_PLAYERS}, not {count!r:.40}")
    return tuple(given.items())


@lru_cache(maxsize=65536)
def packable(parties: tuple[int, ...], places: tuple[int, ...]) -> bool:
    """Whether parties of these sizes, the largest first, go into teams of these places, the largest first."""
    if not parties:
        return True
    first, rest = parties[0], parties[1:]
    tried = 0
    for index, free in enumerate(places):
        if free < first:
            return False
        if free != tried:
            tried = free
            left = sorted((*places[:index], free - first, *places[index + 1 :]), reverse=True)
            if packable(rest, tuple(left)):
                return True
    return False
