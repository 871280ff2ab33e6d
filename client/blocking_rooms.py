"""What the blocking client does to come into rooms, and to see which there are.

Everything of it that is awaited runs on the thread of the asynchronous client.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from time import monotonic
from typing import Any, TypeVar

from ..protocol.errors import ClientClosedError, ServerRoomError, TimedOut, UsageError
from ..protocol.rulesets import RuleSet
from .async_client import AsyncClient
from .room import ClientRoom
from .room_list import RoomChange, RoomList

__all__ = ["RoomsFace", "RoomsWatched"]

T = TypeVar("T")

_SHORTLY = 5.0
"""Seconds for what waits for no server."""


class RoomsWatched:
    """Rooms that are watched; ``Client.watch_rooms`` makes it. Iterate over it for what changes.

    ::

        with client.watch_rooms("duel", where={"level": {"min": 3}}) as rooms:
            for change in rooms:  # the first is a reset: the list as it is to begin with
                show(rooms.rooms)

    Iterating ends when somebody closes the list or the client, and raises what else ended it: ServerStopping,
    CapacityReached, … One thread reads; others may ask for ``rooms``, and ``close`` it.
    """

    def __init__(
        self, client: AsyncClient, listed: RoomList, on_loop: Callable[[Coroutine[Any, Any, Any]], Any]
    ) -> None:
        self._client = client
        self._list = listed
        self._on_loop = on_loop
        self._loop = asyncio.get_running_loop()
        self._wanted = asyncio.Event()
        self._asked = False
        self._given: queue.SimpleQueue[RoomChange | None] = queue.SimpleQueue()
        """What next() has asked for, which is one; None: there is no more."""
        self._error: ServerRoomError | None = None

    @property
    def rooms(self) -> list[dict[str, Any]]:
        """The rooms as they are now, as ``Client.rooms`` tells them; at most 500. Raises what has ended the client."""

        async def look() -> list[dict[str, Any]]:
            return self._list.rooms

        found: list[dict[str, Any]] = self._on_loop(look())
        return found

    def next(self, timeout: float | None = None) -> RoomChange:
        """The next change.

        Args:
            timeout: seconds to wait at most; None: until there is one, or the list ends.

        Raises:
            TimedOut: nothing has changed in that time. The next call goes on waiting.
            ClientClosedError: the list or the client was closed.
            ServerRoomError: what else has ended the client, or the list.
        """
        change = self._next(timeout)
        if change is None:
            raise ClientClosedError("the list of rooms, or the client, was closed")
        return change

    def within(self, seconds: float) -> list[RoomChange]:
        """Everything that changes in so many seconds; less where the list ends before."""
        until, changes = monotonic() + seconds, []
        with contextlib.suppress(TimedOut, ServerRoomError):
            while True:
                changes.append(self.next(max(0.0, until - monotonic())))
        return changes

    def close(self) -> None:
        """Watch it no more: iterating ends. Of a client that has ended, nothing is left to close."""
        with contextlib.suppress(ServerRoomError):
            self._on_loop(self._list.close())

    def __iter__(self) -> "RoomsWatched":
        return self

    def __next__(self) -> RoomChange:
        change = self._next(None)
        if change is None:
            raise StopIteration
        return change

    def __enter__(self) -> "RoomsWatched":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _next(self, timeout: float | None) -> RoomChange | None:
        if not self._asked:
            self._asked = True
            with contextlib.suppress(RuntimeError):  # the loop has ended: then the end is given already
                self._loop.call_soon_threadsafe(self._wanted.set)
        try:
            change = self._given.get(timeout=timeout)
        except queue.Empty:
            raise TimedOut("change", timeout or 0.0) from None
        if change is None:
            self._given.put(None)  # for whoever asks again
            if self._error is not None:
                raise self._error
            return None
        self._asked = False
        return change

    async def pump(self) -> None:
        """Give changes to whoever asks, until there is no more: always with an end, whatever ends this."""
        try:
            await self._wanted.wait()
            async for change in self._list:
                self._wanted.clear()
                self._given.put(change)
                await self._wanted.wait()
        except ServerRoomError as error:
            if not self._client.closed:
                self._error = error
        finally:
            self._error = self._error or self._client.error  # we may be cancelled before we hear of it
            self._given.put(None)


class RoomsFace:
    """The part of ``Client`` that comes into rooms, and lists them.

    The ways in wait until we are in the room, and raise what the server answers.
    From ``handle_response`` of a client that ``run``s they can't wait: they
    return an empty text, and ``room_closed`` is told where it does not work out.
    """

    ready: bool
    running: bool

    _client: AsyncClient | None
    _room: ClientRoom | None
    _thread: threading.Thread | None
    _joining: asyncio.Lock
    _tasks: "set[asyncio.Task[Any]]"

    def join_or_create(
        self,
        ruleset: RuleSet | str,
        *,
        where: Mapping[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> str:
        """Take a seat in an open room of this ruleset, or in a new one; the room's id. See ``AsyncClient``.

        Raises:
            UsageError: we are in a room, or wait for one.
            UnknownRoomType, RoomFailed, JoinRefused, CapacityReached, BadFilter: the server's answer.
            TimedOut: none came.
        """
        return self._come_in(
            lambda client: client.join_or_create(ruleset, where=where, options=options, timeout=timeout), timeout
        )

    def join(
        self,
        type: str,  # noqa: A002  # the wire's word
        *,
        where: Mapping[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> str:
        """Take a seat in an open room of this type; its id. See ``AsyncClient``.

        Raises:
            UsageError: we are in a room, or wait for one.
            RoomNotFound, UnknownRoomType, JoinRefused, BadFilter: the server's answer.
            TimedOut: none came.
        """
        return self._come_in(lambda client: client.join(type, where=where, options=options, timeout=timeout), timeout)

    def create(
        self,
        ruleset: RuleSet,
        *,
        password: str | None = None,
        private: bool = False,
        unlisted: bool = False,
        options: dict[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> str:
        """Make a room and be its first member; its id. See ``AsyncClient``.

        Raises:
            UsageError: we are in a room, or wait for one.
            UnknownRoomType, RoomFailed, JoinRefused, CapacityReached: the server's answer.
            TimedOut: none came.
        """
        how: dict[str, Any] = {"password": password, "private": private, "unlisted": unlisted, "options": options}
        return self._come_in(lambda client: client.create(ruleset, timeout=timeout, **how), timeout)

    def join_by_id(
        self,
        room_id: str,
        *,
        password: str | None = None,
        spectate: bool = False,
        options: dict[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> str:
        """Take a seat in a room that is there; its id. See ``AsyncClient``.

        Raises:
            UsageError: we are in a room, or wait for one.
            RoomNotFound, RoomFull, RoomLocked, WrongPassword, JoinRefused, RateLimited: the server's answer.
            TimedOut: none came.
        """
        how: dict[str, Any] = {"password": password, "spectate": spectate, "options": options}
        return self._come_in(lambda client: client.join_by_id(room_id, timeout=timeout, **how), timeout)

    def rooms(
        self,
        type: str | None = None,  # noqa: A002  # the wire's word
        *,
        where: Mapping[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> list[dict[str, Any]]:
        """The rooms of one type, or of all, that fit. See ``AsyncClient.rooms`` for what is told and for ``where``.

        Raises:
            BadFilter: the server does not take ``where``.
            TimedOut: no answer.
            UsageError: called from ``handle_response`` of a client that runs, which can't wait.
        """

        async def ask() -> list[dict[str, Any]]:
            assert self._client is not None
            return await self._client.rooms(type, where=where, timeout=timeout)

        self._check_may_wait()
        return self._call(ask(), timeout + 1.0)

    def watch_rooms(
        self,
        type: str | None = None,  # noqa: A002  # the wire's word
        *,
        where: Mapping[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> RoomsWatched:
        """Watch the rooms of one type, or of all, as they come, change and go.

        Args: see ``AsyncClient.rooms``; ``timeout`` is for the whole list to come, not for what changes then.

        Raises:
            BadFilter, CapacityReached: the server's answer.
            TimedOut: no answer.
            UsageError: called from ``handle_response`` of a client that runs, which can't wait.
        """

        async def begin() -> RoomsWatched:
            assert self._client is not None
            listed = await self._client.watch_rooms(type, where=where, timeout=timeout)
            watched = RoomsWatched(self._client, listed, self._on_loop)
            self._keep(watched.pump())
            return watched

        self._check_may_wait()
        return self._call(begin(), timeout + 1.0)

    # What ``Client`` has.

    def room_closed(self, reason: ServerRoomError | None) -> None:
        raise NotImplementedError

    def _call(self, coroutine: Coroutine[Any, Any, T], timeout: float) -> T:
        raise NotImplementedError

    async def _hand_over(self, function: Any, *args: Any) -> None:
        raise NotImplementedError

    async def _listen(self, source: AsyncClient | ClientRoom) -> None:
        raise NotImplementedError

    # Between the threads.

    def _come_in(self, enter: Callable[[AsyncClient], Awaitable[ClientRoom]], timeout: float) -> str:
        if threading.current_thread() is self._thread:
            self._call(self._begin(enter), timeout)
            return ""
        return self._call(self._enter(enter), timeout + 1.0)

    def _on_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if threading.current_thread() is not self._thread:
            return self._call(coroutine, _SHORTLY)
        try:  # it waits for nothing, and we are where it has to run
            coroutine.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("this was to wait for nothing")

    def _check_may_wait(self) -> None:
        if threading.current_thread() is self._thread:
            raise UsageError("handle_response of a client that runs can't wait for the server: do this in main()")

    # On the thread of the asynchronous client.

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _check_in_no_room(self) -> None:
        if self._room is not None or self._joining.locked():
            raise UsageError("we are in a room, or wait for one, already: leave it first")

    async def _begin(self, enter: Callable[[AsyncClient], Awaitable[ClientRoom]]) -> None:
        """Set out for a room; where that fails, ``room_closed`` is told."""
        self._check_in_no_room()
        started = asyncio.Event()
        self._keep(self._play(enter, started))
        await started.wait()

    async def _enter(self, enter: Callable[[AsyncClient], Awaitable[ClientRoom]]) -> str:
        """Come into a room; its id. Raises why not."""
        self._check_in_no_room()
        assert self._client is not None
        async with self._joining:
            room = self._room = await enter(self._client)
        self._keep(self._stay(room))
        return room.id

    async def _play(self, enter: Callable[[AsyncClient], Awaitable[ClientRoom]], started: asyncio.Event) -> None:
        assert self._client is not None
        async with self._joining:
            started.set()
            try:
                room = self._room = await enter(self._client)
            except ServerRoomError as error:
                if not self._client.closed:
                    await self._hand_over(self.room_closed, error)
                return
        await self._stay(room)

    async def _stay(self, room: ClientRoom) -> None:
        assert self._client is not None
        await self._listen(room)
        self._room, self.ready = None, False
        if not self._client.closed:
            await self._hand_over(self.room_closed, room.error)
