"""The server of ``srs bench``, in a process of its own: ``python -m server_room_system.cli.bench_server``."""

import asyncio
import time
from typing import Any

from ..broker import Server
from ..rooms import Member, Room, on_message, on_request
from .children import be_child, tell

__all__ = ["Measured", "main"]


class Measured(Room):
    """Passes on what its members say, as fast as it can."""

    message_rate = None

    def ready(self) -> None:
        """Say nothing: only what is measured is sent."""

    @on_message("say")
    def say(self, client: Member, data: Any) -> None:
        """Broadcast it, to its sender as well."""
        self.broadcast("said", data)

    @on_request("cpu")
    def cpu(self, client: Member, data: Any) -> float:
        """Seconds of CPU that this process has used, all threads."""
        return time.process_time()


async def main(commands: asyncio.Queue[str]) -> None:
    """Serve on a free port until told to close."""
    async with Server(rooms={"measured": Measured}).listen("127.0.0.1", 0) as host:
        tell("listening", address=host.address)
        while await commands.get() != "close":
            pass


if __name__ == "__main__":
    be_child(main)
