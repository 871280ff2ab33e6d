"""A room that ticks: it moves everything twenty times a second and tells everybody where everything is."""

import random
from typing import Any

import msgspec

from server_room_system import Member, Room, on_message

__all__ = ["SIZE", "Steer", "Swarm"]

SIZE = 100.0
FASTEST = 20.0


class Steer(msgspec.Struct):
    """Where a bot wants to go: a velocity, in steps a second."""

    dx: float
    dy: float


class Body:
    """What the room knows of a bot."""

    def __init__(self) -> None:
        self.x, self.y = random.uniform(0, SIZE), random.uniform(0, SIZE)
        self.dx = self.dy = 0.0

    def move(self, dt: float) -> None:
        """Go on for ``dt`` seconds, not over the edge."""
        self.x = min(SIZE, max(0.0, self.x + self.dx * dt))
        self.y = min(SIZE, max(0.0, self.y + self.dy * dt))


class Swarm(Room):
    """A square in which bots move. The room decides where they are; they only steer."""

    tick_rate = 20.0

    def on_create(self, options: dict[str, Any]) -> None:
        self.tick = 0

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        client.user_data = Body()

    @on_message("steer")
    def steer(self, client: Member, data: Steer) -> None:
        """Take a bot's wish, as far as bots can go."""
        client.user_data.dx = min(FASTEST, max(-FASTEST, data.dx))
        client.user_data.dy = min(FASTEST, max(-FASTEST, data.dy))

    def on_tick(self, dt: float) -> None:
        self.tick += 1
        places: list[list[float]] = []
        for member in self.clients:
            member.user_data.move(dt)
            places.append([member.id, round(member.user_data.x, 2), round(member.user_data.y, 2)])
        self.broadcast("places", {"tick": self.tick, "places": places})
