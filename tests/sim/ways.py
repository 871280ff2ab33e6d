"""Rooms that are found in other ways than by their ids, and what has to hold of whoever comes there."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from server_room_system import ClientData, Member, RuleSet

from .rooms import Recorder, visit_of

__all__ = ["MAPS", "Lounge", "Way", "quick"]

MAPS = ("cave", "lake")


@dataclass(slots=True)
class Way:
    """How a client wants to come into a lounge."""

    kind: str
    """``quick``, ``type``, ``id`` or ``create``."""
    where: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the room's metadata has to be like."""
    ruleset: RuleSet | None = None
    """What the room has to be made of; None: anything."""
    password: str | None = None
    """The one that it shows, or gives the room that it makes."""

    def fits(self, level: str, metadata: Mapping[str, Any]) -> bool:
        """Whether such a room is what it wants."""
        return self.where.get("map") in (None, metadata["map"]) and self.where.get("level") in (None, level)


def quick(level: str, place: str) -> RuleSet:
    """What players ask for who want any room."""
    return RuleSet(4, room="lounge", map=place, level=level)


class Lounge(Recorder):
    """For four who find it by its map and level, unless it is closed. How warm it is changes all the time."""

    max_clients = 4

    closed: str = ""
    """``password``, ``private``, ``unlisted``, or nothing."""
    secret: str | None = None
    maker: int | None = None
    """The visit that had it made."""

    def on_create(self, options: dict[str, Any]) -> None:
        super().on_create(options)
        self.closed, self.secret = options.get("closed", ""), options.get("secret")
        self.maker = options["visit"]
        self.metadata = {"map": options["map"], "level": options["level"], "warmth": 0}
        if options.get("quick"):
            self.ledger.counts["rooms made for whoever asks"] += 1

    def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        super().on_join(client, options)
        visit = visit_of(client)
        way = visit.way
        if way is None or way.kind == "id":
            if self.closed == "password" and (way is None or way.password != self.secret):
                self.ledger.mistake(f"visit {visit.number} is in {self.id} without its password: {way}")
            if self.closed in ("private", "unlisted") and way is None:
                self.ledger.mistake(f"visit {visit.number} has found {self.id}, which is {self.closed}, in a list")
        elif way.kind == "create":
            if visit.number != self.maker:
                self.ledger.mistake(f"visit {visit.number} wanted a room of its own, and is in that of {self.maker}")
        else:
            self._is_sent(visit.number, way)
        self.ledger.counts[f"came by {way.kind if way is not None else 'list'}"] += 1

    def _is_sent(self, number: int, way: Way) -> None:
        if self.closed in ("private", "password"):
            self.ledger.mistake(f"visit {number} was sent to {self.id}, which has a {self.closed}")
        if not way.fits(str(self.ruleset.criteria["level"]), self.metadata):
            self.ledger.mistake(f"visit {number} wanted {way} and got {self.metadata}")
        if way.ruleset is not None and way.ruleset != self.ruleset:
            self.ledger.mistake(f"visit {number} asked for {way.ruleset} and got {self.ruleset}")

    async def handle_response(self, protocol: str, data: Any, sender: Member, client_data: ClientData) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.05)))
        super().handle_response(protocol, data, sender, client_data)

    def beat(self) -> None:
        super().beat()
        if not self.calm and self.random.random() < 0.5:
            self.metadata = {**self.metadata, "warmth": self.random.randint(0, 9)}
