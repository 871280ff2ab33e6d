"""Our system under the same load, with rooms as a user would write them.

Run it with ``python -m benchmarks.server PORT``.
"""

import sys
import time
from typing import Any

from server_room_system import MatchMaker, Room, Server, on_message


class Echo(Room):
    """Says to all members what one of them said."""

    max_clients = 4
    message_rate = None

    @on_message("say")
    def say(self, client: Any, data: Any) -> None:
        self.broadcast("say", data)


class Single(Echo):
    """A room for the round trip of one client."""

    max_clients = 1


class Hundred(Echo):
    """A room with an audience."""

    max_clients = 100


class Thousand(Echo):
    """A room with a large audience."""

    max_clients = 1000


class Ticking(Room):
    """Speaks at a fixed rate, and says when it spoke."""

    max_clients = 4
    tick_rate = 20

    def on_tick(self, dt: float) -> None:
        self.broadcast("tick", {"t": time.monotonic_ns()})


ROOMS: dict[str, type[Room]] = {
    "four": Echo, "single": Single, "hundred": Hundred, "thousand": Thousand, "ticking": Ticking,
}  # fmt: skip


def main() -> None:
    """Serve on the port of the first argument until the process is ended."""
    Server(MatchMaker(), rooms=ROOMS).run("127.0.0.1", int(sys.argv[1]))


if __name__ == "__main__":
    main()
