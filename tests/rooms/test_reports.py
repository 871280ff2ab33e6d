"""What the broker is told of a room."""

from typing import Any

import pytest

from server_room_system import PayloadError
from server_room_system.rooms.control import RoomEnded, RoomUpdated

from .fakes import Bench, Diary


def test_metadata_is_reported_and_a_copy() -> None:
    room = Diary()
    bench = Bench(room)
    bench.join()
    with bench.out.turn():
        room.metadata = {"map": "desert"}
    assert isinstance(report := bench.reported(RoomUpdated)[-1], RoomUpdated)
    assert report.metadata == {"map": "desert"}
    room.metadata["map"] = "forest"
    assert room.metadata == {"map": "desert"}
    with pytest.raises(PayloadError, match=r"metadata is a map, like .*, not \[1\]"):
        room.metadata = [1]  # type: ignore[assignment]  # as a client may have sent it
    assert room.metadata == {"map": "desert"}


def test_what_a_room_is_like_is_reported_only_while_it_is_open() -> None:
    class Early(Diary):
        def on_create(self, options: dict[str, Any]) -> Any:
            self.metadata = {"map": "desert"}
            self.lock()

        def on_dispose(self) -> Any:
            self.metadata = {}

    room = Early()
    bench = Bench(room)
    assert bench.out.reports == []
    assert (room.metadata, room.locked) == ({"map": "desert"}, True)
    with bench.out.turn():
        room.close()
    assert bench.out.reports == [RoomEnded("r1")]


@pytest.mark.parametrize("metadata", [{"map": object()}, {"map": "x" * 5000}, {1: "x"}])
def test_metadata_that_cannot_be_sent_is_refused(metadata: dict[str, Any]) -> None:
    room = Diary()
    bench = Bench(room)
    bench.join()
    with bench.out.turn():
        room.metadata = {"map": "desert"}
        with pytest.raises(PayloadError):
            room.metadata = metadata
    assert room.metadata == {"map": "desert"}
