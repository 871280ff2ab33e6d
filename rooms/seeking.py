"""What a running room seeks of a queue: how many members are missing, where."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..protocol.errors import ConfigError, RoomFull
from .control import Seeking

__all__ = ["Seeker"]

Vacancies = int | Mapping[str, int | Mapping[str, int]]


class Seeker:
    """The vacancies of one room, as it has told its queue. They shrink as seats are held.

    Args:
        queue: its name.
        vacancies: how many members are missing; or of each team; or of each role of each team. The role ``""`` is
            any, and so is the team ``""`` where the queue has no teams.
        about: ``rating``, ``criteria`` and ``region``, as far as they matter.

    Raises:
        ConfigError: these are no vacancies.
    """

    __slots__ = ("_about", "_missing", "_queue")

    def __init__(self, queue: str, vacancies: Vacancies, about: dict[str, Any]) -> None:
        self._queue = queue
        self._about = about
        teams = {"": vacancies} if isinstance(vacancies, int) else vacancies
        self._missing = Counter(
            {
                (team, role): count
                for team, roles in teams.items()
                for role, count in ({"": roles} if isinstance(roles, int) else roles).items()
            }
        )
        if not isinstance(queue, str) or not queue or len(queue) > 64:
            raise ConfigError(f"a queue's name has 1 to 64 characters, not {queue!r:.80}")
        for (team, role), count in self._missing.items():
            if not isinstance(team, str) or not isinstance(role, str) or type(count) is not int or count < 0:
                raise ConfigError(f"vacancies are numbers by team and role, not {vacancies!r:.100}")

    def take(self, places: Sequence[tuple[str, str]]) -> None:
        """Seats are to be held for these places. Raises RoomFull if any is not vacant: then none is taken."""
        wanted = Counter(places)
        if any(self._missing[place] < count for place, count in wanted.items()):
            raise RoomFull("the room does not seek anybody for that place any more")
        self._missing -= wanted

    def give_back(self, place: tuple[str, str]) -> None:
        """A seat that was held was not taken."""
        self._missing[place] += 1

    def report(self, room: str) -> Seeking:
        """What the broker has to know."""
        vacancies: dict[str, dict[str, int]] = {}
        for (team, role), count in self._missing.items():
            if count:
                vacancies.setdefault(team, {})[role] = count
        return Seeking(room, self._queue, vacancies, self._about)
