"""Hooks that are stopped in the turn that they were called in, before their tasks have taken a step."""

import pytest

from server_room_system import Code, RuleSet
from server_room_system.rooms.control import CloseRoom, OpenRoom, Refused

from .fakes import Gate
from .test_worker import Factory, Slow


@pytest.mark.parametrize("waits", [True, False])
def test_a_room_that_is_closed_in_the_turn_that_it_is_asked_for_in_is_not_born(waits: bool) -> None:
    """A task that is cancelled before it begins never does: its room waited for it for ever, and was never over."""
    room = Slow()
    room.birth = Gate() if waits else None
    factory = Factory(lambda ruleset: room)
    factory.port.begin(factory.loop.now)
    factory.worker.order(OpenRoom(1, "r1", RuleSet(4), {}, False, []))
    factory.worker.order(CloseRoom("r1", int(Code.ROOM_CLOSED), ""))
    factory.port.flush()
    factory.loop.settle()
    assert [type(report) for report in factory.reports] == [Refused]
    assert factory.worker.rooms == {}
    assert len(factory.worker._hooks) == 0
    assert factory.worker._hooks._stopped == set()
