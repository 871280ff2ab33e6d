"""Matches that no room has the seats for, in a whole system on the virtual clock."""

import asyncio

import pytest

from server_room_system import Room, RoomFull, RuleSet, Server
from server_room_system.testing import run, system


class Arena(Room):
    max_clients = 2


def test_a_match_of_more_than_its_rooms_have_seats_is_refused_at_once() -> None:
    async def main() -> None:
        async with system(Server(rooms={"arena": Arena})) as s:
            ann, bob = [await s.client() for _ in range(2)]
            with pytest.raises(RoomFull, match="'arena' has 2 seats: no match of 3 fits in"):
                await ann.match(RuleSet(3, room="arena"))
            one, other = await asyncio.gather(*(client.match(RuleSet(2, room="arena")) for client in (ann, bob)))
            assert one.id == other.id

    run(main())
