"""What the simulator has found, each as small as it can be."""

import asyncio
from typing import Any

import pytest

from server_room_system import Member, Room, RuleSet, Server
from server_room_system.testing import VirtualLoop, run, system

from .faults import Faults
from .ledger import Ledger
from .script import Fault
from .watch import Watch


class Welcoming(Room):
    """Takes its time over everybody who comes."""

    max_clients = 3
    min_clients = 0

    async def on_join(self, client: Member, options: dict[str, Any]) -> None:
        await asyncio.sleep(1.0)


def test_a_room_that_is_given_up_ends_though_somebody_waits_to_be_let_in(caplog: pytest.LogCaptureFixture) -> None:
    """Whose turn came after that left its seat a second time, which ended the room's mailbox and not the room."""

    async def play() -> None:
        async with system(Server(rooms={"welcoming": Welcoming}), workers=1) as s:
            clients = [await s.client() for _ in range(3)]
            wish = RuleSet(3, room="welcoming")
            waiting = [asyncio.ensure_future(client.match(wish, timeout=20.0)) for client in clients]
            await s.sleep(0.5)
            (room,) = s.rooms
            s.freeze("w1")
            await s.sleep(8.0)  # longer than its lease
            s.thaw("w1")
            await s.sleep(5.0)
            assert room not in s.rooms
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    run(play)
    assert "Illegal" not in caplog.text


def test_who_was_frozen_is_not_late_when_it_goes_on() -> None:
    """Between two looks of the watch it had been frozen and thawed, and its tickets were taken for forgotten."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        ledger = Ledger(loop.time)
        async with system(Server()) as s:
            faults = Faults(s, [], lambda process: None, lambda: None)
            watch = Watch(loop, s, ledger, [], faults.awake)
            client = await s.client()
            waiting = asyncio.ensure_future(client.match(RuleSet(2), timeout=1.0))
            await s.sleep(0.5)
            await faults.happen(Fault(0, 0.5, "freeze the broker", share=0.0, lasts=9.0))
            await s.sleep(4.0)
            await faults.heal()
            watch.look()
            assert not ledger.mistakes
            await asyncio.gather(waiting, return_exceptions=True)
            faults.end()

    run(play)


class Open(Room):
    """Anybody may come, and stay away."""

    max_clients = 3
    min_clients = 0


@pytest.mark.parametrize("given_up", ["before", "after"])
def test_a_room_that_was_entered_as_the_wish_for_it_was_given_up_is_left(
    given_up: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that was stopped found its patience over and the answer there at once, and was in a room unknowingly."""

    async def play() -> None:
        async with system(Server(rooms={"open": Open})) as s:
            client = await s.client()
            shell = client._shell
            answered = shell.answered

            def answered_and_given_up(*args: Any) -> None:
                answered(*args)
                if given_up == "after":
                    entering.cancel()

            def given_up_and_answered(*args: Any) -> None:
                shell._answers[args[0]].cancel()
                answered(*args)

            change = answered_and_given_up if given_up == "after" else given_up_and_answered
            monkeypatch.setattr(shell, "answered", change)
            entering = asyncio.ensure_future(client.create(RuleSet(3)))
            await asyncio.gather(entering, return_exceptions=True)
            assert entering.cancelled()
            await s.sleep(1.0)
            assert [room.clients for room in s.rooms] in ([], [[]])

    run(play)
