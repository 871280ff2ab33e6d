"""A live list of rooms: the same as the server's, change by change."""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ..protocol.errors import BadMessage, TimedOut
from ..protocol.room_messages import Listed, Watch
from .shell import Shell

__all__ = ["Replay", "RoomChange", "RoomList"]

_MOST_UNREAD = 1024
_RESET, _ADDED, _CHANGED, _REMOVED = range(4)


class RoomChange(NamedTuple):
    """What has happened to a list."""

    kind: str
    """``added``, ``changed``, ``removed``; or ``reset``: much has changed, look at ``RoomList.rooms``."""
    room: dict[str, Any]
    """As ``AsyncClient.rooms`` tells it; of one that is removed, as it was; of ``reset`` empty."""


class Replay:
    """A list as the changes that come make it. Whoever misses some says from where on: see ``position``.

    The end of a list needs nothing behind it to be missed. On one connection,
    LISTED come whole and in order: what the broker's socket does not take waits
    for it (``Connection.say_frame``), and where too much waits the connection is
    ended; a client's socket leaves with the broker what it can't hold; and none
    connects anew by itself. So a part is lost with its connection or not at all,
    and on the next one WATCH is repeated from ``position``, which is nothing
    until the list is whole. What comes there ahead of the answer may be changes
    of a list whose rest is lost: that is why each part says what it follows.
    """

    def __init__(self) -> None:
        self.rooms: dict[str, dict[str, Any]] = {}
        self.epoch = 0
        self.offset = 0
        self.complete = False
        """Whether all of it is here."""
        self._here = 0
        """Rooms of a whole list that have come, while more are to come."""
        self._missing = 0
        """And how many those are."""

    @property
    def position(self) -> tuple[int, int]:
        """Where to go on from; with epoch 0: from nothing."""
        return (self.epoch, self.offset) if self.complete else (0, 0)

    def take(self, message: Listed) -> list[RoomChange] | None:
        """Apply what has come; what has happened. None: something before it is missing, ask again from ``position``.

        Raises:
            BadMessage: these are no changes of a list; none of them is applied.
        """
        _check(message.changes)
        begins = bool(message.changes) and message.changes[0][0] == _RESET
        if not self._goes_on(message, message.changes[0][1].get("from", 0) if begins else None):
            self.complete = self.complete and message.epoch == self.epoch
            return None
        happened: list[RoomChange] = []
        for kind, entry in message.changes:
            if kind == _RESET:
                if not entry.get("from"):
                    self.rooms.clear()
                    self.epoch, self.offset = message.epoch, message.offset
                    self._here, self._missing = 0, entry["rooms"]
                happened = [RoomChange("reset", {})]
            elif self._missing:
                self.rooms[entry["room"]] = entry
                self._here += 1
                self._missing -= 1
            else:
                self.offset += 1
                happened.append(self._apply(kind, entry))
        self.complete = not self._missing
        return happened

    def _goes_on(self, message: Listed, part: int | None) -> bool:
        """Whether nothing is missing before this message.

        Args:
            message: what came.
            part: how many rooms of a whole list came before those in it; None: it has changes.
        """
        if part == 0:
            return True  # it begins anew
        if (message.epoch, message.offset) != (self.epoch, self.offset):
            return False
        return not self._missing if part is None else bool(self._missing) and part == self._here

    def _apply(self, kind: int, entry: dict[str, Any]) -> RoomChange:
        room = entry["room"]
        if kind == _REMOVED:
            return RoomChange("removed", self.rooms.pop(room, entry))
        self.rooms[room] = entry
        return RoomChange("added" if kind == _ADDED else "changed", entry)


class RoomList:
    """Rooms that are watched; ``AsyncClient.watch_rooms`` makes it. Iterate over it for what changes.

    It goes on after a lost connection from where it was, or with one ``reset``.
    Who reads slowly gets a ``reset`` too, and ``rooms`` is up to date all the time.
    """

    def __init__(self, shell: Shell, type_name: str | None, where: dict[str, Any]) -> None:
        self._shell = shell
        self._replay = Replay()
        self._changes: deque[RoomChange] = deque()
        self._begun = False
        make: Callable[[int], Watch] = lambda ask: Watch(  # noqa: E731  # a method would hide what it is for
            shell.core.home.ref, ask, type_name, where, *self._replay.position
        )
        self._ask, self._answer = shell.begin(make, self._told)

    @property
    def rooms(self) -> list[dict[str, Any]]:
        """The rooms as they are now, as ``AsyncClient.rooms`` tells them; at most 500."""
        return list(self._replay.rooms.values())

    async def ready(self, timeout: float = 10.0) -> "RoomList":
        """Wait until the whole list is here.

        Raises:
            BadFilter, CapacityReached: the server's answer.
            TimedOut: none came.
        """
        try:
            await self._shell.wait_until(lambda: self._begun or self._answer.done(), timeout, "list of rooms")
        except BaseException:
            await self.close()  # nobody will read it
            raise
        if self._answer.done():
            self._answer.result()
            raise TimedOut("list of rooms", timeout)
        return self

    async def close(self) -> None:
        """Watch it no more: iterating ends."""
        if not self._answer.done():
            self._shell.core.requests.forget(self._ask)
            self._answer.cancel()

    async def __aenter__(self) -> "RoomList":
        return await self.ready()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __aiter__(self) -> "RoomList":
        return self

    async def __anext__(self) -> RoomChange:
        await self._shell.wait_until(lambda: bool(self._changes) or self._answer.done(), None, "change")
        if self._changes:
            return self._changes.popleft()
        if not self._answer.cancelled():
            self._answer.result()  # raises why it is over
        raise StopAsyncIteration

    def _told(self, message: Any) -> None:
        happened = self._replay.take(message)
        if happened is None:
            self._shell.core.requests.repeat(self._ask)
            return
        self._begun = self._begun or self._replay.complete
        if happened and happened[0].kind == "reset":
            self._changes.clear()
        self._changes.extend(happened)
        if len(self._changes) > _MOST_UNREAD:
            self._changes.clear()
            self._changes.append(RoomChange("reset", {}))


def _check(changes: list[Any]) -> None:
    announced = 0
    """Rooms of the whole list that have to follow in this message."""
    for number, change in enumerate(changes):
        if not (type(change) is list and len(change) == 2 and type(change[0]) is int and type(change[1]) is dict):
            raise BadMessage("a list of rooms changes by [kind, map]")
        kind, entry = change
        if kind == _RESET:
            rooms, before = entry.get("rooms"), entry.get("from", 0)
            if number or type(rooms) is not int or type(before) is not int or not 0 <= before <= rooms:
                raise BadMessage("a list of rooms begins anew by its first change, which says how many there are")
            announced = rooms - before
        elif kind not in (_ADDED, _CHANGED, _REMOVED) or type(entry.get("room")) is not str:
            raise BadMessage("a list of rooms changes by rooms that are added, changed or removed")
        elif kind != _ADDED and 0 < number <= announced:
            raise BadMessage("the rooms of a whole list are told as added")
