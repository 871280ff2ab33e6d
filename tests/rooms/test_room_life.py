"""The life of a room, as a table."""

from random import Random

import pytest

from server_room_system import IllegalTransition
from server_room_system.protocol import step
from server_room_system.rooms.life import ROOM, RoomEvent, RoomState

from .fakes import Bench, Diary

ALLOWED = {
    (RoomState.CREATING, RoomEvent.OPEN): RoomState.OPEN,
    (RoomState.CREATING, RoomEvent.FAIL): RoomState.DISPOSED,
    (RoomState.OPEN, RoomEvent.CLOSE): RoomState.CLOSING,
    (RoomState.CLOSING, RoomEvent.DISPOSE): RoomState.DISPOSED,
}


@pytest.mark.parametrize("state", RoomState)
@pytest.mark.parametrize("event", RoomEvent)
def test_the_table_of_rooms(state: RoomState, event: RoomEvent) -> None:
    if (state, event) in ALLOWED:
        assert step(ROOM, state, event) is ALLOWED[state, event]
        return
    with pytest.raises(IllegalTransition) as refused:
        step(ROOM, state, event)
    assert (refused.value.state, refused.value.event) == (state.value, event.value)


def test_every_room_ends() -> None:
    reached = {RoomState.DISPOSED}
    for _ in RoomState:
        reached |= {state for state, events in ROOM.items() if reached & set(events.values())}
    assert reached == set(RoomState)
    assert not ROOM[RoomState.DISPOSED]


def test_each_life_of_a_room_has_an_epoch_of_its_own() -> None:
    entropy = Random(1).randbytes
    epochs = {Bench(Diary(), entropy=entropy).runner.fanout.epoch for _ in range(20)}
    assert len(epochs) == 20
