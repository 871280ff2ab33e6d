"""The server of the built-in scenarios: what ``srs bench`` loads when it is told of no other."""

from typing import Any

from ..broker import Server
from ..rooms import Member, Room, on_message

__all__ = ["Echoing", "Passing", "server"]


class Passing(Room):
    """Passes on what its members say to all of them."""

    message_rate = None

    def ready(self) -> None:
        """Say nothing: only what is measured is sent."""

    @on_message("say")
    def say(self, client: Member, data: Any) -> None:
        """Broadcast it, to its sender as well."""
        self.broadcast("said", data)


class Echoing(Passing):
    """Says to each member what that member said."""

    @on_message("say")
    def say(self, client: Member, data: Any) -> None:
        """Send it back."""
        client.send("said", data)


server = Server(rooms={"passing": Passing, "echoing": Echoing})
