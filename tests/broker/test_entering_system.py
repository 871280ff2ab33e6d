"""Seats that are taken at once, in a whole system on the virtual clock: whatever rooms do with who comes in."""

import asyncio
from typing import Any

from server_room_system import JoinRefused, Member, Placement, Room, RoomNeeds, RuleSet, Server, WorkerView
from server_room_system.testing import run, system


class Hall(Room):
    max_clients = 4


class Closed(Room):
    """Lets nobody in."""

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        raise JoinRefused("not today")


class OneAtATime(Placement):
    """Has rooms wait for each other."""

    def choose(self, workers: Any, needs: RoomNeeds) -> WorkerView | None:
        (only,) = workers
        return None if only.rooms else only


def test_rooms_that_wait_for_each_other_are_not_made_inside_of_each_other() -> None:
    async def main() -> None:
        async with system(Server(rooms={"hall": Hall, "closed": Closed}, placement=OneAtATime())) as s:
            first, *others = [await s.client() for _ in range(61)]
            hall = await first.create(RuleSet(4, room="hall"))
            waiting = [asyncio.create_task(one.create(RuleSet(1, room="closed"))) for one in others]
            await s.sleep(1.0)
            await hall.leave()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert {(type(outcome), str(outcome)) for outcome in outcomes} == {(JoinRefused, "not today")}
            assert s.rooms == []

    run(main())
