"""What one member hears, checked as it comes."""

from dataclasses import asdict, dataclass

from server_room_system import ClientRoom, Received

__all__ = ["Follower", "Tally"]


@dataclass
class Tally:
    """What clients of this process heard, in messages."""

    deliveries: int = 0
    foreign: int = 0
    """Said in another room, or to somebody else."""
    lost: int = 0
    doubled: int = 0
    """Came again, or after a later one."""
    resets: int = 0
    """How often a room said that what was missed is gone from its history: allowed, and counted."""

    @property
    def violations(self) -> int:
        """Everything that must not be."""
        return self.foreign + self.lost + self.doubled

    def as_dict(self) -> dict[str, int]:
        """Its figures by name."""
        return asdict(self)


class Follower:
    """Checks the messages of one room at one client: whose they are, and that none is missing or comes again."""

    def __init__(self, room: ClientRoom, client: int, tally: Tally) -> None:
        self._room = room.id
        self._client = client
        self._tally = tally
        self._last: dict[str, int] = {}

    def hear(self, message: Received) -> None:
        """One message of the room."""
        if message.kind == "reset":
            self._tally.resets += 1
            self._last.clear()
            return
        if message.type not in ("word", "aside"):
            return
        self._tally.deliveries += 1
        room, second, third = message.data
        number = second if message.type == "word" else third
        if room != self._room or (message.type == "aside" and second != self._client):
            self._tally.foreign += 1
            return
        last = self._last.get(message.type)
        if last is not None:
            self._tally.lost += max(0, number - last - 1)
            self._tally.doubled += number <= last
        self._last[message.type] = max(number, last or 0)
