"""Our system under the same load, with rooms as a user would write them.

Run it with ``python -m benchmarks.server PORT``, or ``... PORT WORKERS`` with
rooms on worker processes: so many that it starts itself, at 0 those that join
at the port after.
"""

import os
import sys
import time
from typing import Any

from server_room_system import MatchMaker, Room, RunOptions, Server, on_message

__all__ = ["main", "server"]


_EIGHT_BYTES = 1 << 40
"""Makes a number so large that msgpack takes eight bytes for it: the load finds it without decoding."""


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
    """A room with a large audience, each of whom is sent what is said."""

    max_clients = 1000
    fanout = "unicast"


class Audience(Echo):
    """A room with a large audience, and one publish for all of them."""

    max_clients = 1000
    fanout = "topic"


class Ticking(Room):
    """Speaks at a fixed rate, and says when it spoke."""

    max_clients = 4
    tick_rate = 20

    def on_tick(self, dt: float) -> None:
        self.broadcast("tick", {"t": time.monotonic_ns()})


class Speech(Room):
    """Speaks to a large audience at a fixed rate, and says how much this process's loop has computed."""

    max_clients = 1000
    tick_rate = 20
    fanout = "unicast"

    def on_tick(self, dt: float) -> None:
        loop = time.thread_time_ns() + _EIGHT_BYTES
        self.broadcast("tick", {"t": time.monotonic_ns(), "loop": loop, "text": "x" * 64})


class TopicSpeech(Speech):
    """The same with one publish for all."""

    fanout = "topic"


class Idle(Room):
    """Stays open without anybody in it."""

    max_clients = 4
    min_clients = 0


class IdleTopic(Idle):
    """The same as a topic."""

    fanout = "topic"


class Doomed(Room):
    """Tells its members which process it is in."""

    max_clients = 4

    def on_join(self, client: Any, options: dict[str, Any]) -> None:
        client.send("process", os.getpid())


ROOMS: dict[str, type[Room]] = {
    "four": Echo, "single": Single, "hundred": Hundred, "thousand": Thousand, "audience": Audience,
    "ticking": Ticking, "speech": Speech, "topic-speech": TopicSpeech,
    "idle": Idle, "idle-topic": IdleTopic, "doomed": Doomed,
}  # fmt: skip


server = Server(MatchMaker(), rooms=ROOMS)


def main() -> None:
    """Serve on the port of the first argument until the process is ended."""
    port, workers = int(sys.argv[1]), [int(argument) for argument in sys.argv[2:]]
    if not workers:
        server.run("127.0.0.1", port)
        return
    address = ("127.0.0.1", port + 1)
    options = RunOptions(workers=workers[0], worker_address=address, target="benchmarks.server:server")
    server.run("127.0.0.1", port, options=options)


if __name__ == "__main__":
    main()
