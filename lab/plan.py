"""What one load process is told to do."""

from dataclasses import asdict, dataclass
from typing import Any

from .schedule import SECOND

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The same for all load processes, but for ``index``. Times are seconds."""

    scenario: str
    """As on the command line: a built-in one's name, or ``file.py[:Class]``."""
    address: str
    index: int
    """Which of the load processes this one is."""
    processes: int
    bots: int
    rate: float | None
    """Acts a second of each bot that acts, in the place of the scenario's own."""
    warm_up: float
    seconds: float
    slot: float
    """Width of the intervals that figures over time are given for."""
    join_rate: float
    """Bots that join in a second, all processes together."""

    @property
    def numbers(self) -> range:
        """The bots of this process."""
        return range(self.index, self.bots, self.processes)

    @property
    def slots(self) -> int:
        """How many intervals the measurement has."""
        return max(1, round(self.seconds / self.slot))

    def window(self, start: int) -> tuple[int, int]:
        """When measuring begins and ends if warming up begins at ``start``; nanoseconds, as all clocks here."""
        begin = start + int(self.warm_up * SECOND)
        return begin, begin + int(self.seconds * SECOND)

    def to_json(self) -> dict[str, Any]:
        """For the command line of the process."""
        return asdict(self)
