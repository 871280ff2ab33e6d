"""The blocking client's ways into rooms, and the lists that it watches."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from server_room_system import (
    BadFilter,
    CapacityReached,
    ClientClosedError,
    Room,
    RoomNotFound,
    RoomsWatched,
    RuleSet,
    Server,
    ServerRoomError,
    ServerStopping,
    TimedOut,
    UsageError,
    WrongPassword,
    on_message,
)

from .system import LOCAL, PATIENCE, on_a_thread
from .test_blocking_client import Loop

FOUR = RuleSet(4, "table")


class Table(Room):
    max_clients = 4

    def on_create(self, options: dict[str, Any]) -> None:
        self.metadata = options

    @on_message("about")
    def about(self, client: Any, data: dict[str, Any]) -> None:
        self.metadata = data


@contextlib.contextmanager
def visitors(count: int) -> Iterator[list[Loop]]:
    with on_a_thread(Server(rooms={"table": Table})) as host, contextlib.ExitStack() as stack:
        several = [Loop() for _ in range(count)]
        for one in several:
            one.connect(LOCAL, int(host.address.rpartition(":")[2]))
            stack.callback(one.close)
        yield several


def out_of_it(client: Loop) -> None:
    client.leave()
    client.poll_until(lambda: client.ended)
    client.ended.clear()


def test_every_way_in_is_there_and_waits_until_it_is_in() -> None:
    with visitors(2) as (ann, bob):
        room = ann.join_or_create(FOUR, options={"level": 3})
        with pytest.raises(UsageError):
            ann.join("table")
        assert [one["room"] for one in bob.rooms("table", where={"level": {"max": 3}})] == [room]
        assert bob.join_or_create(FOUR, where={"level": 3}) == room
        bob.send("about", {"level": 5})
        out_of_it(bob)
        assert bob.join("table", where={"level": [5, 6]}) == room
        out_of_it(bob)
        with pytest.raises(RoomNotFound):
            bob.join("table", where={"level": 6})
        assert bob.ended == [], "what is raised is not told as well"
        assert bob.join_by_id(room) == room
        out_of_it(ann)
        out_of_it(bob)
        assert bob.join_or_create("table") != room
        with pytest.raises(BadFilter):
            ann.rooms(where={"level": {"over": 9}})


def test_rooms_are_made_with_a_password_private_or_unlisted() -> None:
    with visitors(2) as (ann, bob):
        room = ann.create(FOUR, password="swordfish", options={"title": "ours"})
        assert [(one["password"], one["metadata"]) for one in bob.rooms()] == [(True, {"title": "ours"})]
        with pytest.raises(WrongPassword):
            bob.join_by_id(room, password="carp")
        assert bob.join_by_id(room, password="swordfish") == room
        for one in (ann, bob):
            out_of_it(one)
        for closed in ({"private": True}, {"unlisted": True}):
            hidden = ann.create(FOUR, **closed)  # type: ignore[arg-type]  # flags alone
            assert bob.rooms() == []
            assert bob.join_by_id(hidden) == hidden
            for one in (ann, bob):
                out_of_it(one)


def test_a_list_is_iterated_and_waits_no_longer_than_one_likes() -> None:
    with visitors(2) as (ann, bob), bob.watch_rooms("table", where={"level": {"min": 3}}) as rooms:
        assert rooms.rooms == []
        assert rooms.next(PATIENCE).kind == "reset", "the list as it is to begin with"
        with pytest.raises(TimedOut):
            rooms.next(0.05)
        room = ann.create(FOUR, options={"level": 3})
        assert (rooms.next(PATIENCE).kind, rooms.rooms[0]["room"]) == ("added", room)
        ann.send("about", {"level": 4})
        seen = [rooms.next(PATIENCE)]
        while seen[-1].room["metadata"]["level"] != 4:
            seen.append(rooms.next(PATIENCE))
        assert {change.kind for change in seen} == {"changed"}
        ann.leave()
        for change in rooms:
            if change.kind == "removed":
                rooms.close()
        with pytest.raises(ClientClosedError):
            rooms.next()
        assert rooms.within(PATIENCE) == []


def test_what_changes_is_kept_for_whoever_comes_late() -> None:
    with visitors(2) as (ann, bob), bob.watch_rooms("table") as rooms:
        for level in range(5):
            ann.create(FOUR, options={"level": level})
            out_of_it(ann)
            with contextlib.suppress(TimedOut):
                rooms.next(0.0)  # gives up at once: what comes then is for the next call
        deadline = time.monotonic() + PATIENCE
        while rooms.rooms and time.monotonic() < deadline:
            time.sleep(0.01)
        known: dict[str, Any] = {}
        for change in rooms.within(0.3):
            if change.kind == "reset":
                known.clear()
            elif change.kind == "removed":
                known.pop(change.room["room"], None)
            else:
                known[change.room["room"]] = change.room
        assert known == {}


@pytest.mark.parametrize("how", ["the list is closed", "the client ends", "the server ends"])
def test_whoever_waits_for_a_change_hears_of_the_end(how: str) -> None:
    with on_a_thread(Server(rooms={"table": Table})) as host:
        client = Loop()
        client.connect(LOCAL, int(host.address.rpartition(":")[2]))
        rooms = client.watch_rooms()
        heard: list[Any] = []

        def read() -> None:
            try:
                for change in rooms:
                    heard.append(change.kind)
            except ServerRoomError as error:
                heard.append(type(error))

        reader = threading.Thread(target=read)
        reader.start()
        if how == "the list is closed":
            rooms.close()
            rooms.close()
        elif how == "the client ends":
            client.close()
        else:
            host._port._loop.call_soon_threadsafe(host.stop_soon)
        reader.join(PATIENCE)
        assert not reader.is_alive()
        client.close()
        with pytest.raises(ServerRoomError):
            assert rooms.rooms
        rooms.close()
    assert heard == (["reset", ServerStopping] if how == "the server ends" else ["reset"])


def test_lists_that_nobody_may_have_are_refused() -> None:
    with visitors(1) as (ann,):
        with pytest.raises(BadFilter):
            ann.watch_rooms(where={"map": []})
        watched = [ann.watch_rooms(where={"level": number}) for number in range(4)]
        with pytest.raises(CapacityReached):
            ann.watch_rooms()
        watched[0].close()
        assert isinstance(ann.watch_rooms(), RoomsWatched)


def test_from_handle_response_of_a_client_that_runs_ways_in_do_not_wait() -> None:
    class Eager(Loop):
        def __init__(self) -> None:
            super().__init__()
            self.done = threading.Event()
            self.refused: list[Exception] = []
            self.entered: list[str] = []
            self.rooms_then: list[int] = []

        def main(self) -> None:
            self.watched = self.watch_rooms("table")
            self.create(FOUR)
            self.send("about", {"level": 1})
            self.leave()
            assert self.done.wait(PATIENCE)

        def room_closed(self, reason: Any) -> None:
            if isinstance(reason, RoomNotFound):
                self.done.set()
                return
            for ask in (self.rooms, self.watch_rooms):
                try:
                    ask()
                except UsageError as error:
                    self.refused.append(error)
            self.rooms_then.append(len(self.watched.rooms))
            self.entered.append(self.join("table", where={"level": 7}))

    with on_a_thread(Server(rooms={"table": Table})) as host:
        client = Eager()
        client.run(LOCAL, int(host.address.rpartition(":")[2]))
    assert client.entered == [""]
    assert len(client.refused) == 2
    assert client.rooms_then[0] <= 1
