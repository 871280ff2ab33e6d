"""A stadium: one reporter, and as many spectators as there are seats. What the reporter says reaches all."""

from typing import Any

from server_room_system import JoinRefused, Member, RequestRefused, Room, on_message, on_request

__all__ = ["Stadium"]


class Stadium(Room):
    """Who makes the room reports; everybody else watches and cheers.

    With so many seats ``fanout = "auto"`` makes it a topic: what is said leaves
    the server once, and not once for each spectator.
    """

    max_clients = 2000
    min_clients = 0
    reconnect_grace = 10.0
    message_rate = None  # the reporter may be quick; spectators send nothing but cheers, which are counted

    def on_create(self, options: dict[str, Any]) -> None:
        self.reporter = 0
        self.cheers = 0
        self.events = 0
        self.metadata = {"match": str(options.get("match", "a match"))[:40]}
        self.every(1.0, self.show_cheers)

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        if options.get("reporter"):
            if self.reporter:
                raise JoinRefused("there is a reporter already")
            self.reporter = client.id

    @on_message("event")
    def event(self, client: Member, data: str) -> None:
        if client.id == self.reporter:
            self.events += 1
            self.broadcast("event", {"number": self.events, "text": data[:200]})

    @on_message("cheer")
    def cheer(self, client: Member, data: Any) -> None:
        self.cheers += 1

    @on_request("score")
    def score(self, client: Member, data: Any) -> dict[str, int]:
        if client.id == self.reporter:
            raise RequestRefused("you should know")
        return {"events": self.events, "spectators": len(self.clients) - 1}

    def show_cheers(self) -> None:
        if self.cheers:
            self.broadcast("cheers", self.cheers)
            self.cheers = 0

    def on_leave(self, client: Member, reason: Any) -> None:
        if client.id == self.reporter:
            self.close("the match is over")

    def on_drain(self, seconds: float) -> None:
        # The worker is taken out of service: let everybody move now, while the match can go on elsewhere.
        self.close("this stadium closes for maintenance")
