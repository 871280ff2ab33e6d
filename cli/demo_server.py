"""The server of ``srs demo``, in a process of its own: ``python -m server_room_system.cli.demo_server``."""

import asyncio
from typing import Any

from ..broker import Server
from ..protocol.errors import Code
from ..rooms import Member, Room, on_message
from .children import be_child, tell

__all__ = ["Table", "main"]


class Table(Room):
    """Some who talk with each other."""

    def on_create(self, options: dict[str, Any]) -> None:
        tell("opened", room=self.id)

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        client.user_data = options.get("name", "?")

    @on_message("say")
    def say(self, client: Member, data: dict[str, Any]) -> None:
        """Pass on what a member says, with its name."""
        self.broadcast("said", {"by": client.user_data, **data})

    def on_leave(self, client: Member, reason: Code) -> None:
        if reason is Code.LEFT:
            self.broadcast("gone", client.user_data)

    def on_dispose(self) -> None:
        tell("closed", room=self.id)


async def main(commands: asyncio.Queue[str]) -> None:
    """Serve on a free port until told to close."""
    async with Server(rooms={"table": Table}).listen("127.0.0.1", 0) as host:
        tell("listening", address=host.address)
        while await commands.get() != "close":
            pass
    tell("stopped")


if __name__ == "__main__":
    be_child(main)
