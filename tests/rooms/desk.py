"""A room that has a handler for each kind of message and request."""

from typing import Any

from server_room_system import Member, RequestRefused, on_message, on_request

from .fakes import Diary, Gate

__all__ = ["Desk"]


class Desk(Diary):
    """Has a handler for each kind of message."""

    message_rate = None

    def __init__(self) -> None:
        super().__init__()
        self.gate: Gate | None = None

    @on_message("move")
    def move(self, client: Member, data: int) -> None:
        self.events.append(("move", client.id, data))

    @on_message("wait")
    async def wait(self, client: Member, data: Any) -> None:
        assert self.gate is not None
        await self.gate
        self.events.append(("waited", client.id, data))

    @on_message("break")
    def fail(self, client: Member, data: Any) -> None:
        raise LookupError("a secret")

    @on_request("double")
    def double(self, client: Member, data: int) -> int:
        return 2 * data

    @on_request("slow double")
    async def slow_double(self, client: Member, data: int) -> int:
        assert self.gate is not None
        await self.gate
        return 2 * data

    @on_request("refuse")
    def refuse(self, client: Member, data: Any) -> None:
        raise RequestRefused("too poor", data)

    @on_request("break request")
    def fail_request(self, client: Member, data: Any) -> None:
        raise LookupError("a secret")

    @on_request("nonsense")
    def nonsense(self, client: Member, data: Any) -> object:
        return object()
