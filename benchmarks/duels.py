"""A server with a queue for two by rating, and no room that needs a second connection for each member.

Run it with ``python -m benchmarks.duels PORT``.
"""

import sys
from typing import Any

from benchmarks.server import Echo
from server_room_system import MatchQueue, Server, Window

__all__ = ["main", "server"]

_RATINGS = 10_000
"""So many may wait, and nobody fits anybody."""


class Duel(MatchQueue):
    """The number of the client says how strong it is: only who has the same rating is near."""

    window = Window(10, 0.1, 20)

    def on_ticket(self, ticket: Any) -> None:
        for entrant in ticket.entrants:
            entrant.rating = 50.0 * (entrant.client % _RATINGS)


server = Server(rooms={"four": Echo}, queues={"duel": Duel})


def main() -> None:
    """Serve on the port of the first argument until the process is ended."""
    server.run("127.0.0.1", int(sys.argv[1]))


if __name__ == "__main__":
    main()
