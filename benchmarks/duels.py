"""A server with a queue for two by rating, and no room that needs a second connection for each member.

Run it with ``python -m benchmarks.duels PORT RATINGS``.
"""

import sys
from typing import Any

from benchmarks.server import Echo
from server_room_system import MatchQueue, Server, Window

__all__ = ["main"]


class Pair(Echo):
    """Where two meet."""

    max_clients = 2


class Duel(MatchQueue):
    """The number of the client says how strong it is: only who has the same rating is near."""

    window = Window(10, 0.1, 20)
    ratings = 1
    """How many there are, 50 apart: so many clients can wait for one who fits."""

    def on_ticket(self, ticket: Any) -> None:
        for entrant in ticket.entrants:
            entrant.rating = 50.0 * (entrant.client % self.ratings)


def main() -> None:
    """Serve on the port of the first argument until the process is ended; the second is how many ratings there are."""
    Duel.ratings = int(sys.argv[2])
    Server(rooms={"pair": Pair}, queues={"duel": Duel}).run("127.0.0.1", int(sys.argv[1]))


if __name__ == "__main__":
    main()
