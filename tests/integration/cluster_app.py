"""The server that the tests of worker processes run."""

import os
from typing import Any

from server_room_system import Member, Room, Server, on_message, on_request


class Hall(Room):
    """Says to all what one says, and tells who hosts it."""

    max_clients = 8
    min_clients = 0
    message_rate = None
    reconnect_grace = 20.0

    def on_create(self, options: dict[str, Any]) -> None:
        self.applied: list[Any] = []
        self.kept: list[bytes] = []

    @on_message("say")
    def say(self, client: Member, data: Any) -> None:
        if data == "ghost":
            print("a ghost was heard", flush=True)  # noqa: T201  # for the log: nobody can ask any more
        self.applied.append([client.id, data])
        self.broadcast("said", [client.id, data])

    @on_message("kick")
    def kick(self, client: Member, number: int) -> None:
        for member in self.clients:
            if member.id == number:
                member.kick("go")

    @on_message("close")
    def end(self, client: Member, data: Any) -> None:
        self.close("the end")

    @on_message("spin")
    def spin(self, client: Member, data: Any) -> None:
        while True:
            pass

    @on_message("hog")
    def hog(self, client: Member, data: Any) -> None:
        self.every(0.01, lambda: self.kept.append(b"x" * 4_000_000))

    @on_request("pid")
    def pid(self, client: Member, data: Any) -> int:
        return os.getpid()

    @on_request("count")
    def count(self, client: Member, data: Any) -> int:
        return len(self.clients)

    @on_request("applied")
    def tell(self, client: Member, data: Any) -> list[Any]:
        return self.applied


class Stage(Hall):
    """The same as a topic."""

    fanout = "topic"


class Brief(Hall):
    """Ends by itself, when its worker is taken out of service."""

    def on_drain(self, seconds: float) -> None:
        self.broadcast("drain", seconds)
        self.close("brief enough")


class Alone(Hall):
    """Has a process for itself."""

    isolated = True


class Lit(Hall):
    """Needs a worker with a label."""

    requires = frozenset({"gpu"})


server = Server(rooms={"hall": Hall, "stage": Stage, "brief": Brief, "alone": Alone, "lit": Lit})
