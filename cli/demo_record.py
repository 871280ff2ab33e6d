"""What was said and heard in ``srs demo``, and whether it is what rooms promise. No processes here."""

from dataclasses import dataclass, field
from itertools import combinations

__all__ = ["Record", "Said"]


@dataclass(frozen=True, slots=True)
class Said:
    """One message, as the one who had it said knows it."""

    by: str
    room: str
    audience: frozenset[str]
    """Who was in the room at that time, the speaker included."""


@dataclass
class Record:
    """Clients by name, rooms by id, messages by the mark that each carries."""

    room_of: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    """Who has left its room."""
    said: dict[str, Said] = field(default_factory=dict)
    heard: dict[str, list[str]] = field(default_factory=dict)
    """The marks of what each client heard, in order."""

    def joined(self, name: str, room: str) -> None:
        """A client is in a room."""
        self.room_of[name] = room
        self.heard.setdefault(name, [])

    def says(self, name: str, mark: str) -> None:
        """A client is about to say something."""
        self.said[mark] = Said(name, self.room_of[name], frozenset(self.present(self.room_of[name])))

    def hears(self, name: str, mark: str) -> None:
        """A client got a message."""
        self.heard.setdefault(name, []).append(mark)

    @property
    def rooms(self) -> list[str]:
        """The rooms, in the order of appearance."""
        return list(dict.fromkeys(self.room_of.values()))

    def members(self, room: str) -> list[str]:
        """Everybody who ever was in a room."""
        return [name for name, where in self.room_of.items() if where == room]

    def present(self, room: str) -> list[str]:
        """Who is in a room and has not left."""
        return [name for name in self.members(room) if name not in self.gone]

    def expected(self, name: str) -> set[str]:
        """The marks that a client should hear: what was said in its room while it was there."""
        return {mark for mark, said in self.said.items() if name in said.audience}

    @property
    def all_heard(self) -> bool:
        """Whether nothing is outstanding."""
        return all(self.expected(name) <= set(self.heard[name]) for name in self.room_of)

    @property
    def deliveries(self) -> int:
        """Messages that were heard, counted once for each who heard them."""
        return sum(map(len, self.heard.values()))

    def problems(self, seats: int) -> list[str]:
        """What is not as promised; empty if all is well.

        Args:
            seats: how many each room should have had.
        """
        found = [
            f"a room has {len(self.members(room))} members, not {seats}: {', '.join(self.members(room))}"
            for room in self.rooms
            if len(self.members(room)) != seats
        ]
        if len(self.rooms) < 2:
            found.append(f"there should be two rooms at least, and there is {len(self.rooms)}")
        for name, marks in self.heard.items():
            found += self._problems_of(name, marks)
        for room in self.rooms:
            found += self._problems_of_order(room)
        return found

    def _problems_of(self, name: str, marks: list[str]) -> list[str]:
        found: list[str] = []
        expected = self.expected(name)
        for mark in sorted(set(marks) - expected):
            said = self.said.get(mark)
            if said is None:
                found.append(f"{name} heard {mark}, which nobody said")
            elif said.room != self.room_of.get(name):
                found.append(f"A MESSAGE CROSSED ROOMS: {name} heard {mark}, said by {said.by} in another room")
            else:
                found.append(f"{name} heard {mark}, said by {said.by} while {name} was not in the room")
        found += [f"{name} never heard {mark}, said by {self.said[mark].by}" for mark in sorted(expected - set(marks))]
        found += [
            f"{name} heard {mark} {marks.count(mark)} times" for mark in sorted(set(marks)) if marks.count(mark) > 1
        ]
        return found

    def _problems_of_order(self, room: str) -> list[str]:
        return [
            f"{one} and {other} heard what was said in different orders"
            for one, other in combinations(self.members(room), 2)
            if _only(self.heard[one], self.heard[other]) != _only(self.heard[other], self.heard[one])
        ]


def _only(marks: list[str], those_in: list[str]) -> list[str]:
    wanted = set(those_in)
    return [mark for mark in dict.fromkeys(marks) if mark in wanted]
