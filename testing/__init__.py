"""Test your rooms without sockets and without waiting: the whole system in memory, on a clock that jumps.

Twenty seconds pass as soon as nobody has anything left to do before they are
over, and one seed is one course of events, faults included::

    import asyncio

    from server_room_system import Room, RuleSet, Server, on_message
    from server_room_system.testing import run, system


    class Duel(Room):
        reconnect_grace = 20.0

        @on_message("move")
        def move(self, client, data):
            self.broadcast("moved", data, except_=client)

        def on_leave(self, client, reason):
            self.broadcast("left alone")


    async def a_move_is_kept_for_who_is_away_but_not_for_ever():
        async with system(Server(rooms={"duel": Duel})) as s:
            ann, bob = await s.client(), await s.client()
            at_ann, at_bob = await asyncio.gather(ann.match(RuleSet(2)), bob.match(RuleSet(2)))
            assert (await at_ann.receive()).data == (await at_bob.receive()).data == "room ready!"

            s.unplug(bob)
            await at_ann.send("move", {"x": 1}, ack=True)
            await s.sleep(15)
            s.plug(bob)
            assert (await at_bob.receive()).data == {"x": 1}

            s.unplug(bob)
            await s.sleep(45)
            assert (await at_ann.receive()).type == "left alone"


    def test_a_move_is_kept_for_who_is_away_but_not_for_ever():
        run(a_move_is_kept_for_who_is_away_but_not_for_ever, seed=1)
"""

from .clock import Deadlock, Process, VirtualLoop, run
from .faults import FaultyNetwork
from .system import InMemorySystem, system

__all__ = ["Deadlock", "FaultyNetwork", "InMemorySystem", "Process", "VirtualLoop", "run", "system"]
