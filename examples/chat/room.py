"""The rules of a chat room: everybody has a name of its own, and what one says, all see."""

from typing import Any

from server_room_system import ClientData, Code, Member, Protocol, RequestRefused, Room, on_request

__all__ = ["ChatRoom"]


class ChatRoom(Room):
    """A room to talk in. Names are kept in ``client.user_data``, which is ours to use."""

    reconnect_grace = 30.0

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        client.user_data = f"guest {client.id}"

    @on_request("name")
    def name(self, client: Member, data: str) -> str:
        """Take a name. Whoever asks for a name that is taken gets the reason as an error."""
        name = " ".join(data.split())
        if not 1 <= len(name) <= 20 or not name.isprintable():
            raise RequestRefused("a name has 1 to 20 letters")
        if name in self.names():
            raise RequestRefused(f"{name} is taken")
        self.broadcast_message(f"* {client.user_data} is {name}")
        client.user_data = name
        return name

    @on_request("who")
    def who(self, client: Member, data: Any) -> list[str]:
        """Who is here."""
        return self.names()

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: ClientData) -> None:
        if protocol == Protocol.Response.MESSAGE and isinstance(data, str):
            self.broadcast_message(f"{sender.user_data}: {data[:500]}")

    def on_drop(self, client: Member) -> None:
        self.broadcast_message(f"* {client.user_data} lost the connection")

    def on_reconnect(self, client: Member) -> None:
        self.broadcast_message(f"* {client.user_data} is back")

    def on_leave(self, client: Member, reason: Code) -> None:
        self.broadcast_message(f"* {client.user_data} has left")

    def names(self) -> list[str]:
        """The names of all members."""
        return [member.user_data for member in self.clients]
