"""What administrators may ask of a broker, decided: who is let in, and what each command does."""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from ..protocol.alarms import AlarmClock
from ..protocol.cluster import (
    Admit,
    Admitted,
    Challenge,
    ClusterMessage,
    Command,
    Denied,
    Enquire,
    Result,
    encode_cluster,
)
from ..protocol.errors import (
    BadMessage,
    Code,
    NotAMember,
    RemoteError,
    RequestError,
    RoomNotFound,
    UnknownKind,
    WorkerLost,
    WrongKey,
    error_for,
)
from ..protocol.ids import Entropy, new_token, same_secret
from ..protocol.messages import Error, encode
from ..protocol.proof import prove
from ..rooms.control import CloseRoom, Drain, Failed, Inspect, Inspected, Kick
from .broker import Broker
from .directory import RoomEntry
from .placement import Load
from .workers import LOCAL, WorkerRecord

__all__ = ["AdminDesk", "Administration", "AdministrationOutbox"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".admin")

_PAGE = 400
"""Rooms in one answer."""
_ANSWER_TIME = 3.0
_MOST_QUESTIONS = 1024
_SHORTEST_BEGINNING = 4
"""Characters of a room's id that stand for the whole, if no other begins with them."""


class AdminConnection(Protocol):
    """A connection on which an administrator speaks."""

    @property
    def address(self) -> str:
        """The IP address that it comes from."""
        ...

    def say_frame(self, frame: bytes) -> None:
        """Send a frame, as soon as its queue takes it."""

    def hang_up(self) -> None:
        """Close it, when what was said has left."""


class AdministrationOutbox(AlarmClock, Protocol):
    """Where it writes what must happen."""

    @property
    def load(self) -> Load:
        """How much the broker's own process has to do."""
        ...

    def auth_refused(self, address: str) -> None:
        """Somebody from there has shown that it does not have the cluster key."""


class AdminDesk:
    """One connection on which somebody wants to administer."""

    __slots__ = ("broker_nonce", "connection", "nonce", "trusted")

    def __init__(self, connection: AdminConnection) -> None:
        self.connection = connection
        self.trusted = False
        """Whether it has proved that it has the cluster key."""
        self.nonce = b""
        self.broker_nonce = b""

    def say(self, message: ClusterMessage) -> None:
        """Say something to the administrator."""
        self.connection.say_frame(encode_cluster(message))

    def refuse(self, ask: int, error: RemoteError) -> None:
        """Answer a command with an error."""
        self.connection.say_frame(encode(Error(0, ask, int(error.code), error.text[:512], None)))

    def lost(self) -> None:
        """The connection is gone. Nothing depends on it."""


class Administration:
    """Lets administrators in, and does what they command.

    Args:
        key: the cluster key.
        broker: whose rooms and workers it is about.
        out: where to write.
        entropy: where nonces come from.
        software: what we call ourselves.
    """

    def __init__(self, key: bytes, broker: Broker, out: AdministrationOutbox, entropy: Entropy, software: str) -> None:
        self._key = key
        self._broker = broker
        self._out = out
        self._entropy = entropy
        self._software = software
        self._since = out.now
        self._questions: dict[int, tuple[AdminDesk, int, str]] = {}
        """Which command waits for the answer of which worker."""
        self._next_ask = 1
        self._commands: dict[str, Callable[[AdminDesk, Command], Any]] = {
            "workers": self._workers,
            "rooms": self._rooms,
            "inspect": self._inspect,
            "why": self._why,
            "kick": self._kick,
            "close": self._close,
            "drain": self._drain,
        }

    def on_message(self, desk: AdminDesk, message: ClusterMessage) -> None:
        """Handle what an administrator says. Raises the RemoteError that it is told."""
        if isinstance(message, Enquire):
            desk.trusted = False
            desk.nonce, desk.broker_nonce = message.nonce, new_token(self._entropy)
            desk.say(Challenge(desk.broker_nonce, prove(self._key, "broker", desk.nonce, desk.broker_nonce, b"admin")))
        elif isinstance(message, Admit):
            self._admit(desk, message)
        elif isinstance(message, Command) and desk.trusted:
            self._command(desk, message)
        elif isinstance(message, Command):
            raise WrongKey("prove that you have the cluster key first")
        else:
            raise UnknownKind("workers register at another address")

    def _admit(self, desk: AdminDesk, message: Admit) -> None:
        wanted = prove(self._key, "admin", desk.broker_nonce, desk.nonce)
        if not desk.broker_nonce or not same_secret(message.proof, wanted):
            logger.warning("administrator from %s refused: wrong cluster key", desk.connection.address)
            self._out.auth_refused(desk.connection.address)
            desk.say(Denied(int(Code.WRONG_KEY), WrongKey.meaning))
            desk.connection.hang_up()
            return
        desk.trusted, desk.broker_nonce = True, b""
        logger.info("administrator from %s let in", desk.connection.address)
        desk.say(Admitted(self._software))

    def _command(self, desk: AdminDesk, command: Command) -> None:
        do = self._commands.get(command.name)
        try:
            if do is None:
                raise BadMessage(f"no command {command.name!r:.80}; there are {', '.join(self._commands)}")
            result = do(desk, command)
        except RequestError as error:
            desk.refuse(command.ask, error)
            return
        if result is not None:
            desk.say(Result(command.ask, result))

    # The commands. None: the answer comes later.

    def _workers(self, desk: AdminDesk, command: Command) -> Any:
        broker, load = self._broker, self._out.load
        return {
            "software": self._software,
            "up": self._out.now - self._since,
            "broker": {"lag": load.lag, "cpu": load.cpu, "rss": load.rss, "messages": load.messages},
            "sessions": len(broker.sessions),
            "rooms": len(broker.directory),
            "tickets": len(broker.queues) + len(broker.tickets),
            "workers": [_worker(record, self._out.now) for record in broker.workers],
        }

    def _rooms(self, desk: AdminDesk, command: Command) -> Any:
        arguments = command.arguments
        kind, after = arguments.get("type"), arguments.get("after", 0)
        if type(after) is not int or after < 0:
            raise BadMessage("after: how many rooms to leave out, 0 or more")
        found = [
            {
                "room": entry.report.room,
                "type": entry.report.type,
                "worker": entry.worker.name,
                "clients": entry.report.clients,
                "max_clients": entry.report.max_clients,
                "locked": entry.report.locked,
                "metadata": entry.report.metadata,
            }
            for entry in self._broker.directory
            if kind in (None, entry.report.type)
        ]
        return {"rooms": found[after : after + _PAGE], "all": len(found)}

    def _inspect(self, desk: AdminDesk, command: Command) -> None:
        entry = self._find(command)
        if len(self._questions) >= _MOST_QUESTIONS:
            raise BadMessage("too many questions are not answered yet")
        ask, self._next_ask = self._next_ask, (self._next_ask + 1) & 0xFFFFFFFF
        self._questions[ask] = (desk, command.ask, entry.worker.name)
        self._out.alarm(self._out.now + _ANSWER_TIME, self._no_answer, ask)
        assert entry.worker.desk is not None
        entry.worker.desk.order(Inspect(ask, entry.report.room))

    def _why(self, desk: AdminDesk, command: Command) -> Any:
        number = command.arguments.get("ticket")
        told = self._broker.tickets.why_number(number) if type(number) is int else None
        if told is None:
            raise NotAMember(f"no ticket {number!r:.40} waits in a queue: it was matched, cancelled, or has expired")
        return told

    def inspected(self, report: Inspected | Failed) -> None:
        """A worker has answered a question."""
        waiting = self._questions.pop(report.ask, None)
        if waiting is None:
            return
        self._out.clear_alarm(self._no_answer, report.ask)
        desk, ask, worker = waiting
        if isinstance(report, Inspected):
            desk.say(Result(ask, {"worker": worker, **report.data}))
        else:
            desk.refuse(ask, error_for(report.code, report.text))

    def _no_answer(self, ask: int) -> None:
        waiting = self._questions.pop(ask, None)
        if waiting is not None:
            waiting[0].refuse(
                waiting[1], RoomNotFound(f"its worker {waiting[2]} has not answered within {_ANSWER_TIME:.0f} s")
            )

    def _kick(self, desk: AdminDesk, command: Command) -> Any:
        client, text = command.arguments.get("client"), command.arguments.get("text", "")
        if type(client) is not int or client < 0 or type(text) is not str:
            raise BadMessage("kick takes room, client (a number) and text")
        entry = self._find(command)
        room, members = entry.report.room, map(self._broker.sessions.get, entry.sessions)
        meant = [member for member in members if member is not None and client == member.data.ID]
        if not meant:
            raise NotAMember(f"client {client} is not in room {room}")
        assert entry.worker.desk is not None
        logger.info(
            "room %s: client %d kicked by an administrator", room, client, extra={"room": room, "client": client}
        )
        kick = Kick(room, client, text[:512])
        entry.worker.to_go.update(((room, member.session), kick) for member in meant)
        entry.worker.desk.order(kick)
        return {"room": room, "client": client}

    def _close(self, desk: AdminDesk, command: Command) -> Any:
        text = command.arguments.get("text", "")
        if type(text) is not str:
            raise BadMessage("close takes room and text")
        entry = self._find(command)
        room = entry.report.room
        assert entry.worker.desk is not None
        logger.info("room %s: closed by an administrator", room, extra={"room": room})
        order = entry.worker.to_go[room, ""] = CloseRoom(room, int(Code.ROOM_CLOSED), text[:512])
        entry.worker.desk.order(order)
        return {"room": room}

    def _drain(self, desk: AdminDesk, command: Command) -> Any:
        name, within = command.arguments.get("worker"), command.arguments.get("within", 30.0)
        if type(name) is not str or type(within) not in (int, float) or not 0 < within <= 86_400:
            raise BadMessage("drain takes worker (a name) and within (seconds, up to a day)")
        record = self._broker.workers.get(name)
        if name == LOCAL and record is not None:
            raise BadMessage("the broker hosts the rooms itself: stop it, and it closes them first")
        if record is None or record.endpoint is None:
            names = ", ".join(sorted(one.name for one in self._broker.workers if one.endpoint)) or "none"
            raise BadMessage(f"no worker is named {name!r:.80}; there are: {names}")
        if record.desk is None:
            raise BadMessage(f"worker {name!r} is not connected right now")
        record.draining, record.drain_until = True, self._out.now + within
        logger.info("worker %s: drained by an administrator", name, extra={"worker": name})
        record.desk.order(Drain(float(within), int(Code.WORKER_DRAINED)))
        return {"worker": name, "generation": record.generation, "rooms": len(record.rooms)}

    def _find(self, command: Command) -> RoomEntry:
        """The room that a command names, by its id or how that begins, on a worker that can be reached."""
        room = command.arguments.get("room")
        entry = self._broker.directory.get(room) if type(room) is str else None
        if entry is None and type(room) is str and len(room) >= _SHORTEST_BEGINNING:
            found = [one for one in self._broker.directory if one.report.room.startswith(room)]
            if len(found) > 1:
                raise BadMessage(f"{len(found)} rooms have an id that begins with {room!r:.80}: write more of it")
            entry = found[0] if found else None
        if entry is None:
            raise RoomNotFound(f"no room has the id {room!r:.80}, nor one that begins so")
        if entry.worker.desk is None:
            raise RoomNotFound(WorkerLost.meaning)
        return entry


def _worker(record: WorkerRecord, now: float) -> dict[str, Any]:
    described, load = record.description, record.load
    return {
        "name": record.name,
        "state": "draining" if record.draining else record.state.value,
        "endpoint": record.endpoint,
        "generation": record.generation,
        "pid": described.pid,
        "host": described.host,
        "labels": list(described.labels),
        "types": list(described.types),
        "isolated": described.isolated,
        "rooms": len(record.rooms),
        "max_rooms": described.max_rooms,
        "seats": record.taken,
        "lag": load.lag,
        "cpu": load.cpu,
        "rss": load.rss,
        "messages": load.messages,
        "up": now - record.since,
    }
