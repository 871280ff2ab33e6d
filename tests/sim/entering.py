"""What one player does to come into rooms that it does not name, into closed ones, and to see which there are."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from server_room_system import (
    AsyncClient,
    ClientRoom,
    RemoteError,
    RoomList,
    RuleSet,
    ServerRoomError,
)

from .ledger import Ledger, Visit
from .ways import MAPS, Way, quick

__all__ = ["Entering"]

_LEVELS = ("low", "high")
_WHERE: tuple[dict[str, Any], ...] = ({}, {"map": "cave"}, {"warmth": {"min": 5}}, {"map": list(MAPS)})
"""What is watched."""


class Entering:
    """One player's ways in, and the list that it watches.

    Args:
        ledger: where it notes what it wants.
        random: its own.
    """

    def __init__(self, ledger: Ledger, random: Random) -> None:
        self._ledger = ledger
        self._random = random
        self._watched: tuple[AsyncClient, RoomList] | None = None
        self.where: dict[str, Any] = {}
        """What it watches."""
        self._replayed: dict[str, dict[str, Any]] = {}
        """The list as its changes make it."""

    def tries(self) -> bool:
        """Whether it comes this way now."""
        return self._random.random() < 0.5

    async def enter(self, client: AsyncClient) -> tuple[Visit, ClientRoom]:
        """Come into a lounge, in one way or another. Raises what the client raises."""
        random, doors = self._random, self._ledger.doors
        kind = random.choices(("quick", "type", "create", "id"), (6, 3, 3, 5 if doors else 0))[0]
        level, place, timeout = random.choice(_LEVELS), random.choice(MAPS), random.choice((0.5, 3.0, 8.0))
        visit = self._ledger.asks(client.id, None)
        options: dict[str, Any] = {"visit": visit.number}
        if kind == "quick":
            where = random.choice(({}, {"map": place}))
            visit.way = Way(kind, where, quick(level, place))
            options["quick"] = True
            wanted = quick(level, place)
            return visit, await client.join_or_create(wanted, where=where, options=options, timeout=timeout)
        if kind == "type":
            visit.way = Way(kind, random.choice(({}, {"map": place}, {"level": level, "map": place})))
            return visit, await client.join("lounge", where=visit.way.where, options=options, timeout=timeout)
        if kind == "id":
            room, password = random.choice(doors)
            shown = "wrong" if random.random() < 0.2 else password
            visit.way = Way(kind, password=shown)
            return visit, await client.join_by_id(room, password=shown, options=options, timeout=timeout)
        return visit, await self._create(client, visit, quick(level, place), timeout)

    async def _create(self, client: AsyncClient, visit: Visit, wanted: RuleSet, timeout: float) -> ClientRoom:
        closed = self._random.choice(("", "password", "private", "unlisted"))
        password = f"secret {visit.number}" if closed == "password" else None
        visit.way = Way("create", ruleset=wanted, password=password)
        options = {"visit": visit.number, "closed": closed, "secret": password}
        room = await client.create(
            wanted, password=password, private=closed == "private", unlisted=closed == "unlisted",
            options=options, timeout=timeout,
        )  # fmt: skip
        self._ledger.doors.append((room.id, password))
        return room

    # Which rooms there are.

    def watches(self, client: AsyncClient | None) -> RoomList | None:
        """The list that this client watches."""
        return self._watched[1] if self._watched is not None and self._watched[0] is client else None

    async def about_lists(self, client: AsyncClient, tasks: asyncio.TaskGroup) -> None:
        """Watch the rooms, or watch them no more. Raises what the client raises."""
        watched = self.watches(client)
        if watched is not None:
            if self._random.random() < 0.3:
                self._watched = None
                await watched.close()
            return
        where = self._random.choice(_WHERE)
        watched = await client.watch_rooms("lounge", where=where, timeout=3.0)
        self._watched, self.where = (client, watched), where
        self._replayed = {room["room"]: room for room in watched.rooms}
        self._ledger.counts["lists watched"] += 1
        tasks.create_task(self._follow(client, watched))

    async def _follow(self, client: AsyncClient, watched: RoomList) -> None:
        slow: Callable[[], bool] = lambda: self._random.random() < 0.05  # noqa: E731  # the word says more
        try:
            async for change in watched:
                if self.watches(client) is not watched:
                    return
                self._ledger.counts[f"list: {change.kind}"] += 1
                if change.kind == "reset":
                    self._replayed = {room["room"]: room for room in watched.rooms}
                elif change.kind == "removed":
                    self._replayed.pop(change.room["room"], None)
                else:
                    self._replayed[change.room["room"]] = change.room
                if slow():
                    await asyncio.sleep(self._random.choice((0.1, 2.0)))
        except (RemoteError, ServerRoomError):
            pass  # its session is over
        if self.watches(client) is watched:
            self._watched = None

    def check_list(self, client: AsyncClient, there: dict[str, dict[str, Any]]) -> None:
        """What it sees is what there is."""
        watched = self.watches(client)
        if watched is None:
            return
        self._ledger.counts["lists compared"] += 1
        seen = {room["room"]: room for room in watched.rooms}
        for name, rooms in (("sees", seen), ("was told of", self._replayed)):
            if rooms != there:
                apart = {room for room in (*rooms, *there) if rooms.get(room) != there.get(room)}
                told = [(rooms.get(room), there.get(room)) for room in sorted(apart)]
                self._ledger.mistake(f"client {client.id}, who watches {self.where}, {name} other rooms: {told}")
