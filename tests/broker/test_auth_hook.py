"""Calling ``on_auth``: whatever a hook does, its client gets an answer, and no more tasks stand than may."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from server_room_system import AuthRefused, Code, MatchQueue
from server_room_system.broker.auth import Admission, Asking
from server_room_system.broker.auth_hook import AuthHook
from server_room_system.broker.queues.tickets import Entrant, Ticket
from server_room_system.broker.ticket_hook import TicketHook
from server_room_system.protocol import Error
from server_room_system.rooms.mailbox import Mailbox, Then

from .fakes import FakeCaller, FakeOutbox


class Door(FakeOutbox):
    """An admission, and the hook that it asks."""

    def __init__(self, hook: Callable[..., Any], most: int = 4) -> None:
        super().__init__()
        self.current: Mailbox | None = None
        self.errors: list[BaseException] = []
        self.let_in: list[Any] = []
        self.admission = Admission(self, 4.0, most, most)
        self.hook = AuthHook(hook, self.admission, self, lambda: None, self.errors.append)

    def run(self, mailbox: Mailbox, waiting: Awaitable[Any], then: Then) -> None:
        raise AssertionError("on_auth is no room's")

    def check_credentials(self, asking: Asking) -> None:
        self.hook.start(asking)

    def stop_checking(self, asking: Asking) -> None:
        self.hook.stop(asking)

    def knock(self) -> FakeCaller:
        caller = FakeCaller(self)
        self.admission.ask(caller, 7, "shown", self.let_in.append)
        return caller


def codes(caller: FakeCaller) -> list[int]:
    return [message.code for message in caller.heard() if isinstance(message, Error)]


@pytest.mark.parametrize(
    "text",
    [404, b"\xff", "half of one: \ud83d", ("no", None)],
    ids=["a number", "bytes", "half a character", "several"],
)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_a_refusal_whose_text_can_not_be_sent_is_a_refusal(text: Any, later: bool) -> None:
    def at_once(*args: object) -> None:
        raise AuthRefused(text)

    async def in_time(*args: object) -> None:
        raise AuthRefused(text)

    async def test() -> None:
        door = Door(in_time if later else at_once)
        caller = door.knock()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert codes(caller) == [Code.AUTH_REFUSED]
        assert door.errors == []

    asyncio.run(test())


def test_a_hook_that_refuses_to_end_can_not_pile_up() -> None:
    go, begun = asyncio.Event(), 0

    async def stubborn(*args: object) -> None:
        nonlocal begun
        begun += 1
        while not go.is_set():
            with suppress(asyncio.CancelledError):
                await go.wait()

    async def test() -> None:
        door = Door(stubborn, most=4)
        answers: list[list[int]] = []
        for _ in range(20):
            caller = door.knock()
            await asyncio.sleep(0)
            answers.append(codes(caller))
            caller.lose()
        assert begun == 8
        assert answers == [[]] * 8 + [[Code.AUTH_UNAVAILABLE]] * 12
        go.set()
        await door.hook.close()
        caller = door.knock()
        assert codes(caller) == []
        await door.hook.close()
        caller.lose()
        assert len(door.admission) == 0

    asyncio.run(test())


def test_of_those_who_are_gone_in_the_turn_in_which_they_came_nothing_is_left() -> None:
    async def never(*args: object) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        door = Door(never)
        for _ in range(20):
            door.knock().lose()
            await asyncio.sleep(0)
        await door.hook.close()
        assert not door.hook._tasks
        door.knock()
        await door.hook.close()
        assert not door.hook._tasks

    asyncio.run(test())


def test_of_tickets_that_are_given_up_in_the_turn_in_which_they_came_nothing_is_left() -> None:
    class Slow(MatchQueue):
        least = most = 2

        async def on_ticket(self, ticket: Ticket) -> None:
            await asyncio.Event().wait()

    async def test() -> None:
        hook = TicketHook(lambda ticket, error: None, lambda: None, lambda queue, error: None)
        queue = Slow()
        for number in range(20):
            ticket = Ticket(number, (Entrant(f"s{number}", number),), 0.0)
            hook.start(queue, ticket)
            hook.stop(ticket)
            await asyncio.sleep(0)
        await hook.close()
        assert not hook._tasks

    asyncio.run(test())
