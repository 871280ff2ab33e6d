"""A table: what it says of itself, and what its owner may change."""

from collections.abc import Mapping
from typing import Any

from server_room_system import Code, Member, Protocol, RequestRefused, Room, on_request

__all__ = ["LobbyTable", "is_line"]


def is_line(text: object, longest: int) -> bool:
    """Whether this is fit to be shown on everybody's terminal."""
    return isinstance(text, str) and 1 <= len(text) <= longest and text.isprintable() and text == text.strip()


class LobbyTable(Room):
    """Four seats. Whoever came first owns it; whoever owns it says what it is, and who comes in.

    What it says of itself is its ``metadata``: lists show that, and filters look
    at it. The owner's password never leaves the room.
    """

    max_clients = 4
    reconnect_grace = 20.0

    def on_create(self, options: dict[str, Any]) -> None:
        self.owner = 0
        self.metadata = described(options, {"title": "a table", "game": "chess", "level": 1, "owner": ""})

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        self.broadcast_message(f"* {client.auth} sits down")
        if len(self.clients) == 1:
            self.belongs_to(client)

    def on_leave(self, client: Member, reason: Code) -> None:
        self.broadcast_message(f"* {client.auth} has left")
        if self.clients and self.owner == client.id:
            self.belongs_to(self.clients[0])

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: Any) -> None:
        if protocol == Protocol.Response.MESSAGE and is_line(data, 500):
            self.broadcast_message(f"{sender.auth}: {data}")

    @on_request("who")
    def who(self, client: Member, data: Any) -> list[str]:
        """Who sits here."""
        return [member.auth for member in self.clients]

    @on_request("describe")
    def describe(self, client: Member, data: dict[str, Any]) -> dict[str, Any]:
        """The owner says what the table is; what it says of itself then."""
        self.check_owner(client)
        self.metadata = described(data, self.metadata)
        return self.metadata

    @on_request("lock")
    def lock_or_unlock(self, client: Member, data: bool) -> None:
        """The owner lets nobody in any more, or again."""
        self.check_owner(client)
        if data:
            self.lock()
        else:
            self.unlock()

    @on_request("password")
    def set_or_lift_password(self, client: Member, data: str) -> None:
        """The owner wants this password of whoever comes; empty: none."""
        self.check_owner(client)
        self.password = data or None

    def check_owner(self, client: Member) -> None:
        """Raise RequestRefused where it is not the owner."""
        if self.owner != client.id:
            raise RequestRefused(f"{self.metadata['owner']} owns this table")

    def belongs_to(self, owner: Member) -> None:
        """It has another owner."""
        self.owner = owner.id
        self.metadata = {**self.metadata, "owner": owner.auth}
        self.broadcast_message(f"* {owner.auth} owns the table")


def described(wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What a table says of itself when somebody wants this of it. Raises RequestRefused, and says what is allowed."""
    unknown = set(wanted) - {"title", "game", "level"}
    if unknown:
        raise RequestRefused(f"a table has title, game and level, and no {', '.join(sorted(unknown))}")
    about = {**before, **wanted}
    if not (is_line(about["title"], 40) and is_line(about["game"], 20)):
        raise RequestRefused("a title has 1 to 40 letters, a game 1 to 20")
    if type(about["level"]) is not int or not 1 <= about["level"] <= 9:
        raise RequestRefused("a level is a number from 1 to 9")
    return about
