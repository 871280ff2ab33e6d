"""Rooms that write down all that they do, and the server around them."""

import asyncio
from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Any, ClassVar

from server_room_system import (
    ClientData,
    Code,
    HistoryLimits,
    JoinRefused,
    Limits,
    MatchQueue,
    Member,
    RequestRefused,
    Room,
    Server,
    Session,
    on_request,
)
from server_room_system.broker import BrokerLimits

from .ledger import Ledger, Stream, Visit

__all__ = ["ROOM_TYPES", "Recorder", "RecordingServer", "visit_of"]

PRESENCE_EVENTS = 60
"""Places of a history that presence may have taken: more than happen within one absence."""


class Recorder(Room):
    """Says much, to all, to all but some, and to one; to whom is up to chance."""

    max_clients = 3
    min_clients = 0
    reconnect_grace = 6.0
    reservation_time = 4.0
    message_rate: float | None = None

    ledger: ClassVar[Ledger]
    seed: ClassVar[int]
    calm: ClassVar[bool]
    stream: Stream
    random: Random

    def on_create(self, options: dict[str, Any]) -> None:
        assert self.max_clients is not None
        self.random = Random(f"{self.seed} room {len(self.ledger.streams)}")
        self.stream = self.ledger.opens(
            Stream(
                self.ledger,
                self.id,
                self.history,
                self.max_clients,
                takes_all=self.message_rate is None,
                unseen=PRESENCE_EVENTS if self.presence else 1,  # that the worker drains
                overtaken=self.fanout == "topic",
            )
        )
        self.every(0.5, self.beat)

    def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        if options.get("unwelcome"):
            raise JoinRefused("not you")
        visit = client.user_data = self.stream.joins(options["visit"], client.id)
        if visit.wish is not None and visit.wish != self.ruleset:
            self.ledger.mistake(f"visit {visit.number} asked for {visit.wish} and got {self.ruleset}")
        client.send("said", self.stream.says(visit))
        self.say()

    def ready(self) -> None:
        self.say()

    def on_drop(self, client: Member) -> None:
        visit_of(client).dropped = self.ledger.now()
        self.ledger.drops += 1
        self.say()

    def on_reconnect(self, client: Member) -> None:
        visit_of(client).dropped = None
        self.ledger.reconnects += 1
        self.say(visit_of(client))

    def on_leave(self, client: Member, reason: Code) -> None:
        visit_of(client).dropped = None
        self.stream.leaves(visit_of(client))
        self.say()

    def on_dispose(self) -> None:
        if self.stream.present and self.ledger.abandoned(self.stream.process):
            self.stream.dies()
        if self.stream.present:
            self.ledger.mistake(f"{self.id} ended with {len(self.stream.present)} members")

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: ClientData) -> Any:
        room, number = data
        visit = visit_of(sender)
        if visit.client != client_data.ID:
            self.ledger.mistake(f"visit {visit.number} of client {visit.client} spoke as {client_data.ID}")
        self.stream.applies(visit, room, number)
        if protocol == "close":
            self.close("somebody wished so")
        elif protocol == "kick":
            self.random.choice(self.clients).kick()
        elif protocol == "burst":
            for _ in range(self.random.randint(5, 60)):
                self.say(visit)
        else:
            self.say(visit)

    @on_request("ask")
    def answer(self, client: Member, data: list[Any]) -> Any:
        room, number = data
        visit = visit_of(client)
        if number % 7 == 0:
            visit.turned_away.append(number)
            raise RequestRefused("no sevens", number)
        self.stream.applies(visit, room, number)
        self.say(visit)
        return [self.id, number]

    def snapshot(self) -> int:
        return len(self.stream.entries)

    def beat(self) -> None:
        if not self.calm:
            self.say()

    def say(self, about: Visit | None = None) -> None:
        """Something, to some."""
        present = [member for member in self.clients if member.user_data is not None]
        what = self.random.random()
        if what < 0.6 or not present:
            self.broadcast("said", self.stream.says())
        elif what < 0.8:
            excepted = self.random.sample(present, self.random.randint(1, len(present)))
            numbers = frozenset(visit_of(member).number for member in excepted)
            self.broadcast("said", self.stream.says(excepted=numbers), except_=excepted)
        else:
            for member in self.random.sample(present, self.random.randint(1, len(present))):
                member.send("said", self.stream.says(visit_of(member)))


class Pair(Recorder):
    """For two; ends when one of them goes."""

    max_clients = 2
    min_clients = 2
    reconnect_grace = 3.0


class Forgetful(Recorder):
    """Remembers little, and takes little."""

    history = HistoryLimits(count=12, age=3.0)
    message_rate = 8.0
    message_burst = 6


class Thoughtful(Recorder):
    """Takes its time over everything, and shows who is there."""

    history = HistoryLimits(count=2000)
    presence = True

    async def on_join(self, client: Member, options: dict[str, Any]) -> None:
        super().on_join(client, options)
        await asyncio.sleep(self.random.uniform(0.0, 0.3))

    async def on_leave(self, client: Member, reason: Code) -> None:  # type: ignore[override]  # hooks may be async
        super().on_leave(client, reason)
        await asyncio.sleep(self.random.uniform(0.0, 0.1))

    async def handle_response(self, protocol: str, data: Any, sender: Member, client_data: ClientData) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.05)))
        super().handle_response(protocol, data, sender, client_data)


ROOM_TYPES: dict[str, type[Recorder]] = {
    "pair": Pair,
    "plain": Recorder,
    "forgetful": Forgetful,
    "thoughtful": Thoughtful,
}
"""Without the one that queues lead to."""


class RecordingServer(Server):
    """Tells each of its clients in order what it said to it, and notes what they say."""

    def __init__(
        self,
        ledger: Ledger,
        seed: int,
        fanout: str,
        more: Mapping[str, type[Recorder]] = MappingProxyType({}),
        queues: Mapping[str, type[MatchQueue]] = MappingProxyType({}),
    ) -> None:
        bound = {"ledger": ledger, "seed": seed, "calm": False, "fanout": fanout}
        rooms = {name: type(kind.__name__, (kind,), dict(bound)) for name, kind in {**ROOM_TYPES, **more}.items()}
        super().__init__(
            rooms=rooms,
            queues={name: type(kind.__name__, (kind,), {"ledger": ledger}) for name, kind in queues.items()},
            limits=Limits(ping_interval=1.0, ping_timeout=3.0, control_rate=200.0, control_burst=500),
            broker_limits=BrokerLimits(session_grace=8.0),
        )
        self.life = 0
        """How many brokers there were before this one: each forgets what it said."""
        self.told: dict[int, int] = {}
        """The last serial that was said to each client."""
        self.heard: dict[int, int] = {}
        self._ledger = ledger

    def handle_response(self, protocol: str, data: Any, sender: Session, client_data: ClientData) -> None:
        client, number = data
        if client != client_data.ID or number <= self.heard.get(client, 0):
            self._ledger.mistake(f"client {client_data.ID} said {number} after {self.heard.get(client)} as {client}")
        self.heard[client_data.ID] = number
        for session in self.clients:
            self.tell(session)

    def tell(self, session: Session) -> None:
        """Say the next thing to a client."""
        serial = self.told[session.id] = self.told.get(session.id, 0) + 1
        session.send("told", [self.life, session.id, serial])

    def start_anew(self) -> None:
        """Another broker takes over, and knows nothing of what was said outside of rooms."""
        self.life += 1
        self.told.clear()
        self.heard.clear()

    def calm_down(self) -> None:
        """Rooms say nothing more by themselves."""
        for kind in self.rooms.values():
            kind.calm = True  # type: ignore[attr-defined]  # all of them are Recorders


def visit_of(member: Member) -> Visit:
    """What is known of a member."""
    visit = member.user_data
    assert isinstance(visit, Visit)
    return visit
