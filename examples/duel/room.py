"""Rock, paper, scissors: the rules. The room knows nothing of sockets, and the players decide nothing."""

from typing import Any, Literal

import msgspec

from server_room_system import Code, Member, Room, on_message, on_request

__all__ = ["Duel", "Hand", "Throw"]

Hand = Literal["rock", "paper", "scissors"]

BEATS = {"rock": "scissors", "scissors": "paper", "paper": "rock"}
TO_WIN = 3


class Throw(msgspec.Struct):
    """What a player shows in a round. Anything else is refused before it reaches the room."""

    round: int
    hand: Hand


class Duel(Room):
    """Two players; who wins three rounds first wins.

    A player who loses the connection keeps the seat for ``reconnect_grace``
    seconds, and the other one is told to wait. What is said meanwhile is kept for
    the one who is away, and comes in order when it is back.
    """

    max_clients = 2
    reconnect_grace = 20.0

    def on_create(self, options: dict[str, Any]) -> None:
        self.round = 0
        self.hands: dict[int, Hand] = {}
        self.points: dict[int, int] = {}

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        self.points[client.id] = 0

    def ready(self) -> None:
        """Both are here."""
        self.next_round()

    @on_message("throw")
    def throw(self, client: Member, data: Throw) -> None:
        """A player has chosen. The other one learns what only when both have."""
        if data.round != self.round or client.id in self.hands:
            client.send("notice", "that does not count")
            return
        self.hands[client.id] = data.hand
        if len(self.hands) == 2:
            self.judge()

    @on_request("points")
    def tell_points(self, client: Member, data: Any) -> list[int]:
        """Own points, then the opponent's."""
        return [self.points[client.id], self.points[self.opponent_of(client).id]]

    def on_drop(self, client: Member) -> None:
        grace = f"{self.reconnect_grace:g}"
        self.opponent_of(client).send("notice", f"your opponent lost the connection and has {grace} seconds to return")

    def on_reconnect(self, client: Member) -> None:
        self.opponent_of(client).send("notice", "your opponent is back")

    def on_leave(self, client: Member, reason: Code) -> None:
        if reason is Code.ROOM_CLOSED:
            return  # we closed it ourselves: everything is said
        for winner in self.clients:
            if winner is not client:
                winner.send("over", {"won": True, "why": "your opponent is gone"})
                self.close("one player is gone")

    def next_round(self) -> None:
        """Ask both for a hand."""
        self.round += 1
        self.hands.clear()
        self.broadcast("round", self.round)

    def judge(self) -> None:
        """Both hands are there."""
        for player in self.clients:
            mine, theirs = self.hands[player.id], self.hands[self.opponent_of(player).id]
            won = BEATS[mine] == theirs
            self.points[player.id] += won
            outcome = "won" if won else "draw" if mine == theirs else "lost"
            player.send("result", {"mine": mine, "theirs": theirs, "outcome": outcome})
        if max(self.points.values()) < TO_WIN:
            self.next_round()
            return
        for player in self.clients:
            won = self.points[player.id] == TO_WIN
            player.send("over", {"won": won, "why": f"{max(self.points.values())} to {min(self.points.values())}"})
        self.close("the duel is over")

    def opponent_of(self, player: Member) -> Member:
        """The other player."""
        return next(member for member in self.clients if member is not player)
