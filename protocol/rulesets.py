"""What a client asks of a match."""

import hashlib

from .codec import pack
from .errors import RuleSetError

__all__ = ["RuleSet"]

_MOST_CLIENTS = 100_000
_MOST_CRITERIA = 32
_LONGEST_NAME = 64
_LONGEST_KEY = 4096

Scalar = str | int | float | bool | bytes | None


class RuleSet:
    """A wish: a room for ``clients`` members, of a room type, with criteria.

    Clients whose rulesets are equal are put together. Rulesets are immutable
    and compared by value; ``1``, ``1.0`` and ``True`` are different criteria.

    Args:
        clients: how many members make the room, 1 to 100,000.
        room: the name of a room type that the server registered, or None to
            leave the choice to its ``MatchMaker.create_room``.
        **criteria: at most 32 names (64 characters each) with a string,
            number, boolean, bytes or None each.

    Raises:
        RuleSetError: a value has the wrong type or size.
    """

    __slots__ = ("_criteria", "_key", "clients", "room")

    clients: int
    room: str | None
    _criteria: dict[str, Scalar]
    _key: bytes

    def __init__(self, clients: int, room: str | None = None, **criteria: Scalar) -> None:
        if type(clients) is not int or not 1 <= clients <= _MOST_CLIENTS:
            raise RuleSetError(f"a ruleset is for 1 to {_MOST_CLIENTS} clients, not {clients!r:.40}")
        if room is not None and (type(room) is not str or not 1 <= len(room) <= _LONGEST_NAME):
            raise RuleSetError(f"a room type's name has 1 to {_LONGEST_NAME} characters, not {room!r:.40}")
        if len(criteria) > _MOST_CRITERIA:
            raise RuleSetError(f"a ruleset has at most {_MOST_CRITERIA} criteria, not {len(criteria)}")
        for name, value in criteria.items():
            if len(name) > _LONGEST_NAME:
                raise RuleSetError(f"a criterion's name has at most {_LONGEST_NAME} characters: {name:.40}")
            if value is not None and type(value) not in (str, int, float, bool, bytes):
                raise RuleSetError(f"{name}: a criterion is a string, number, boolean, bytes or None")
        ordered = dict(sorted(criteria.items()))
        try:
            key = pack([clients, room, ordered])
        except (OverflowError, UnicodeEncodeError) as error:
            raise RuleSetError(f"a criterion can't be sent: {error}") from error
        if len(key) > _LONGEST_KEY:
            raise RuleSetError(f"a ruleset has at most {_LONGEST_KEY} bytes, not {len(key)}")
        set_once = object.__setattr__
        set_once(self, "clients", clients)
        set_once(self, "room", room)
        set_once(self, "_criteria", ordered)
        set_once(self, "_key", key)

    @property
    def criteria(self) -> dict[str, Scalar]:
        """The criteria by name: a copy."""
        return dict(self._criteria)

    @property
    def key(self) -> bytes:
        """What two rulesets that can be matched have in common, as bytes."""
        return self._key

    @property
    def digest(self) -> bytes:
        """The key, in 16 bytes: what a worker tells of a room's ruleset."""
        return hashlib.blake2b(self._key, digest_size=16).digest()

    def to_wire(self) -> list[object]:
        """``[clients, room, criteria]``, as MATCH and CREATE carry it."""
        return [self.clients, self.room, dict(self._criteria)]

    @classmethod
    def from_wire(cls, wire: list[object]) -> "RuleSet":
        """Read ``[clients, room, criteria]``. Raises RuleSetError for anything else."""
        if len(wire) != 3 or type(wire[2]) is not dict:
            raise RuleSetError("a ruleset is [clients, room, criteria]")
        clients, room, criteria = wire[0], wire[1], wire[2]
        for name in criteria:
            if type(name) is not str or name in ("self", "clients", "room"):
                raise RuleSetError("a criterion's name is a string other than clients and room")
        return cls(clients, room, **criteria)  # type: ignore[arg-type]  # __init__ checks them

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a RuleSet is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a RuleSet is immutable")

    def __copy__(self) -> "RuleSet":
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> "RuleSet":
        return self

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, RuleSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        parts = [str(self.clients), *([f"room={self.room!r}"] if self.room else [])]
        parts += [f"{name}={value!r}" for name, value in self._criteria.items()]
        return f"RuleSet({', '.join(parts)})"
