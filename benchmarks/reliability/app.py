"""The server of these measurements: rooms that number what they say, and keep account of what they are told.

Run it with ``python -m benchmarks.reliability.app PORT``.
"""

import sys
import time
from typing import Any

from server_room_system import MatchMaker, Member, Room, Server, on_message, on_request

__all__ = ["main", "server"]


class Fed(Room):
    """Speaks at a fixed rate, to all and now and then to one, and says which room it is and when it spoke."""

    max_clients = 10
    min_clients = 1
    tick_rate = 20
    message_rate = None
    words = 1
    """Broadcasts a tick."""
    reconnects = 0
    """Of all rooms of this process."""

    def on_create(self, options: dict[str, Any]) -> None:
        self.said = 0
        self.told: dict[int, int] = {}
        self.applied: dict[int, int] = {}
        self.doubled = 0
        self.skipped = 0

    def on_tick(self, dt: float) -> None:
        for _ in range(self.words):
            self.said += 1
            self.broadcast("word", [self.id, self.said, time.monotonic_ns()])
        members = self.clients
        if members:
            self._tell(members[self.said % len(members)])

    def _tell(self, member: Member) -> None:
        count = self.told[member.id] = self.told.get(member.id, 0) + 1
        member.send("aside", [self.id, member.id, count])

    def on_reconnect(self, client: Member) -> None:
        Fed.reconnects += 1

    @on_message("note")
    def note(self, client: Member, number: int) -> None:
        last = self.applied.get(client.id, 0)
        self.doubled += number <= last
        self.skipped += max(0, number - last - 1)
        self.applied[client.id] = max(last, number)

    @on_request("account")
    def account(self, client: Member, nothing: None) -> dict[str, int]:
        return {
            "applied": self.applied.get(client.id, 0),
            "doubled": self.doubled,
            "skipped": self.skipped,
            "reconnects": Fed.reconnects,
        }


class Topic(Fed):
    """The same, as a topic."""

    fanout = "topic"


class Busy(Fed):
    """Says much, to many."""

    max_clients = 20
    words = 10


class BusyTopic(Busy):
    """The same, as a topic."""

    fanout = "topic"


class Swift(Fed):
    """Speaks often enough to see how soon somebody is back."""

    max_clients = 2
    tick_rate = 200


class Fifty(Fed):
    """An audience of which one member stops."""

    max_clients = 50


ROOMS: dict[str, type[Room]] = {
    "fed": Fed, "topic": Topic, "busy": Busy, "busy-topic": BusyTopic, "swift": Swift, "fifty": Fifty,
}  # fmt: skip

server = Server(MatchMaker(), rooms=ROOMS)


def main() -> None:
    """Serve on the port of the first argument until the process is ended."""
    server.run("127.0.0.1", int(sys.argv[1]))


if __name__ == "__main__":
    main()
