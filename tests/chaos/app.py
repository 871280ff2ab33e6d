"""The server of a run: rooms that say much, to all, to some and to one, and tell the oracle before they do."""

import os
import random
from pathlib import Path
from typing import Any, ClassVar

from server_room_system import (
    ClientData,
    Code,
    HistoryLimits,
    Limits,
    Member,
    RequestRefused,
    Room,
    Server,
    on_request,
)

from .events import Event
from .trace import Trace

__all__ = ["FOLDER", "NAME", "Brief", "Crowd", "Race", "Recorder", "Trio", "server"]

FOLDER = "SRS_CHAOS_FOLDER"
"""The environment's name for where the oracle looks."""
NAME = "SRS_CHAOS_NAME"
"""The environment's name for this process's name."""
PRESENCE_EVENTS = 60
"""Places of a history that presence may have taken: more than happen within one absence."""
LIFE = 45.0
"""Seconds after which a room ends, so that nothing grows."""

_traces: list[Trace] = []
_random = random.Random(os.getpid())  # not seeded by the run: what comes when is up to the system anyhow


def _trace() -> Trace:
    # Made with the first room: the broker loads this module as well, and hosts none.
    if not _traces:
        _traces.append(Trace(Path(os.environ[FOLDER]), "worker", os.environ[NAME]).await_reader())
    return _traces[0]


class Recorder(Room):
    """What all rooms of a run do."""

    max_clients: int | None = 6
    reconnect_grace = 12.0
    reservation_time = 5.0
    message_rate: float | None = None
    unseen: ClassVar[int] = 0

    said: int

    def on_create(self, options: dict[str, Any]) -> None:
        self.said = 0
        self.tell = _trace().write
        seats = self.max_clients if self.max_clients is not None else self.ruleset.clients
        unseen = PRESENCE_EVENTS if self.presence else 0
        self.tell(Event.OPEN, self.id, seats, self.history.count, self.history.age, unseen)
        self.call_later(LIFE, self.close)

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        client.user_data = options["visit"]
        self.tell(Event.JOIN, self.id, client.user_data, client.id, options["seats"])
        self.say_to(client)
        self.say()

    def ready(self) -> None:
        self.say()

    def on_drop(self, client: Member) -> None:
        self.tell(Event.DROP, self.id, client.user_data)
        self.say()

    def on_reconnect(self, client: Member) -> None:
        self.tell(Event.BACK, self.id, client.user_data)
        self.say()

    def on_leave(self, client: Member, reason: Code) -> None:
        self.tell(Event.LEAVE, self.id, client.user_data, int(reason))
        self.say()

    def on_dispose(self) -> None:
        self.tell(Event.DISPOSE, self.id)

    def snapshot(self) -> int:
        return self.said

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: ClientData) -> None:
        room, number = data
        self.tell(Event.APPLY, self.id, sender.user_data, number, room)
        if protocol == "close":
            self.close("somebody wished so")
        elif protocol == "kick":
            _random.choice(self.clients).kick()
        elif protocol == "burst":
            for _ in range(_random.randint(10, 80)):
                self.say()
        else:
            self.say()

    @on_request("ask")
    def answer(self, client: Member, data: list[Any]) -> Any:
        room, number = data
        if number % 7 == 0:
            self.tell(Event.TURN_AWAY, self.id, client.user_data, number)
            raise RequestRefused("no sevens", number)
        self.tell(Event.APPLY, self.id, client.user_data, number, room)
        self.say()
        return [self.id, number]

    def say(self) -> None:
        """Something, to some."""
        what, present, key = _random.random(), self.clients, self.key()
        if what < 0.7 or not present:
            self.broadcast("said", self._serial(0, [], key), key=key or None)
        elif what < 0.85:
            excepted = _random.sample(present, _random.randint(1, len(present)))
            numbers = [member.user_data for member in excepted]
            self.broadcast("said", self._serial(0, numbers, key), except_=excepted, key=key or None)
        else:
            for member in _random.sample(present, _random.randint(1, len(present))):
                self.say_to(member)

    def say_to(self, member: Member) -> None:
        """Something to one."""
        key = self.key()
        member.send("said", self._serial(member.user_data, [], key), key=key or None)

    def key(self) -> int:
        """Whose newest value the next message is, or 0."""
        return 0

    def _serial(self, to: int, excepted: list[int], key: int) -> list[Any]:
        self.tell(Event.SAY, self.id, self.said, to, excepted, key)
        self.said += 1
        return [self.id, self.said - 1]


class Trio(Recorder):
    """For three who are matched."""

    max_clients = None
    min_clients = 2


class Brief(Recorder):
    """Remembers little, and shows who is there."""

    history = HistoryLimits(count=PRESENCE_EVENTS + 40, age=5.0)
    presence = True


class Crowd(Recorder):
    """A topic."""

    max_clients = 12
    fanout = "topic"


class Race(Recorder):
    """Tells those who lag, or come back, the newest of each key alone."""

    slow_members = "latest"

    def key(self) -> int:
        return _random.randint(0, 3)


server = Server(
    rooms={"trio": Trio, "open": Recorder, "brief": Brief, "crowd": Crowd, "race": Race},
    limits=Limits(ping_interval=1.0, ping_timeout=4.0, control_rate=200.0, control_burst=500),
)
