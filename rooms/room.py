"""Room: the contract between a room's owner and the framework. The machinery is in ``runner.py``."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..protocol.errors import Code, ConfigError
from ..protocol.names import ClientData, Protocol
from ..protocol.rulesets import RuleSet
from ..protocol.streams import HistoryLimits
from .handlers import HandlerTable, find_handlers
from .member import Member
from .seeking import Seeker

if TYPE_CHECKING:
    from .runner import Runner
    from .timers import Timer

__all__ = ["Room"]

_FANOUTS = ("auto", "unicast", "topic")
_POLICIES = ("recover", "latest", "close")
_MOST_UNICAST = 128
"""Seats up to which ``fanout = "auto"`` sends to each member: beyond, that would hold up the loop."""
_SETTINGS: dict[str, tuple[float, bool]] = {
    "max_clients": (1, True),
    "max_spectators": (0, False),
    "min_clients": (0, False),
    "reconnect_grace": (0, False),
    "reservation_time": (0.001, False),
    "message_rate": (1e-6, True),
    "message_burst": (1, False),
    "tick_rate": (1e-6, True),
    "most_lag": (0.1, False),
}
"""The least that each setting may be, and whether it may be None."""


def _check_settings(room_class: type["Room"]) -> None:
    labels = room_class.requires
    if not isinstance(labels, (set, frozenset)) or not all(isinstance(label, str) and label for label in labels):
        raise ConfigError(f"{room_class.__name__}.requires is a set of labels like {{'gpu'}}, not {labels!r:.60}")
    if not isinstance(room_class.isolated, bool):
        raise ConfigError(f"{room_class.__name__}.isolated is True or False, not {room_class.isolated!r:.40}")
    if room_class.fanout not in _FANOUTS:
        raise ConfigError(f"{room_class.__name__}.fanout is {', '.join(_FANOUTS)}, not {room_class.fanout!r:.40}")
    if room_class.slow_members not in _POLICIES:
        policies = ", ".join(_POLICIES)
        raise ConfigError(f"{room_class.__name__}.slow_members is {policies}, not {room_class.slow_members!r:.40}")
    for name, (least, optional) in _SETTINGS.items():
        value = getattr(room_class, name)
        if isinstance(value, property) or (value is None and optional):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
            or_none = " or None" if optional else ""
            raise ConfigError(
                f"{room_class.__name__}.{name} is a number of at least {least:g}{or_none}, not {value!r:.40}"
            )


class Room:
    """A room: an isolated group of clients, and what happens in it.

    Subclass it and write the hooks that you need. All hooks run in the process
    that hosts the room, on its event loop, one at a time and in order for each
    room. A hook is ``def`` or ``async def``; while an async hook waits, this
    room's next events wait with it and other rooms go on. A ``def`` hook that
    takes long holds everybody up; a watchdog names it in the log.

    What a hook raises costs that one event: it is logged with room, hook and
    traceback, and given to ``on_error``. Only ``on_create`` and ``on_join`` mean
    more: see there.
    """

    max_clients: int | None = None
    """Seats. None: as many as the ruleset asks for."""
    max_spectators: int = 0
    """Seats besides, for those who only look on: they hear what members hear, and may send what handlers take that are
    declared with ``spectators=True``. They come in while the room is locked, and nothing waits for them."""
    min_clients: int = 1
    """The room closes when, once it is ready, fewer members than this have a seat. 0: it stays open when empty."""
    reconnect_grace: float = 15.0
    """Seconds that a member whose connection is lost keeps its seat."""
    reservation_time: float = 15.0
    """Seconds that a seat is held for somebody who was assigned to it."""
    message_rate: float | None = 60.0
    """Messages a second that each member may send. None lifts the limit."""
    message_burst: int = 120
    """Messages that each member may send at once."""
    tick_rate: float | None = None
    """How often ``on_tick`` runs each second. None: never."""
    presence: bool = False
    """Whether members are told who joins, drops, reconnects and leaves."""
    history: HistoryLimits = HistoryLimits()
    """What is kept for members who come back."""
    requires: ClassVar[frozenset[str] | set[str]] = frozenset()
    """Labels that a worker must have to host such rooms, like ``{"gpu"}``."""
    isolated: ClassVar[bool] = False
    """Whether each such room gets a worker process for itself."""
    fanout: ClassVar[str] = "auto"
    """How broadcasts reach members: ``unicast``, a send to each; ``topic``, one publish to all; ``auto``: topic
    above 128 seats."""
    slow_members: ClassVar[str] = "recover"
    """What members get who lag, or come back: ``recover``, all that the history holds, or one reset; ``latest``, the
    same, but of messages with a ``key`` only the newest of each; ``close``: who lags by more than ``most_lag`` is
    removed. See docs/slow-members.md."""
    most_lag: float = 10.0
    """Seconds that a member may lag in a room that closes slow members: the age of the first thing that it misses."""

    @classmethod
    def is_topic(cls, seats: int) -> bool:
        """Whether a room of this type with so many seats is a topic: then each member has a second connection."""
        return cls.fanout == "topic" or (cls.fanout == "auto" and seats > _MOST_UNICAST)

    handlers: ClassVar[HandlerTable] = HandlerTable({}, {})

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _check_settings(cls)
        cls.handlers = find_handlers(cls)

    # On the class, because a subclass may define __init__ without calling ours.
    _runner: "Runner | None" = None
    _ruleset: RuleSet | None = None

    def __init__(self, ruleset: RuleSet | None = None) -> None:
        self._ruleset = ruleset

    # Hooks. Override them.

    def on_create(self, options: dict[str, Any]) -> Any:
        """The room begins. Raise to refuse: it is never born, and who asked for it gets RoomFailed.

        Args:
            options: the ruleset's criteria, and over them the options of who created it.
        """

    def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        """A client takes its seat; it hears nothing before this returns. Raise JoinRefused to refuse.

        Args:
            client: the new member; it is in ``clients`` already, or in ``spectators`` if ``client.spectator``.
            options: what the client gave with its request and its join.
        """

    def ready(self) -> Any:
        """Everybody who was expected is here, for the first time. Tells them ``room ready!`` unless overridden."""
        self.broadcast_command("room ready!")

    def on_drop(self, client: Member) -> Any:
        """A member's connection is lost. It keeps its seat for ``reconnect_grace`` seconds."""

    def on_reconnect(self, client: Member) -> Any:
        """A member is back within the grace period, and will get what it missed."""

    def on_leave(self, client: Member, reason: Code) -> Any:
        """A member is gone: LEFT, KICKED, GRACE_EXPIRED, or the code that the room closed with."""

    def on_tick(self, dt: float) -> Any:
        """Runs ``tick_rate`` times a second while the room is open; ``dt``: seconds since the last time."""

    def on_drain(self, seconds: float) -> Any:
        """The worker is taken out of service; the members were told (COMMAND ``draining``). End things, then ``close``.

        Args:
            seconds: after these the room is closed with code 2103, whatever it is at.
        """

    def on_dispose(self) -> Any:
        """The room ends. Runs once, last, and has 5 s."""

    def on_error(self, hook: str, error: BaseException) -> Any:
        """A hook raised. It is logged already."""

    def handle_response(self, protocol: str, data: Any, sender: Member, client_data: ClientData) -> Any:
        """A member sent something that no ``@on_message`` handles.

        Args:
            protocol: the message's type; ``Protocol.Response.MESSAGE`` for plain messages.
            data: what it sent.
            sender: stands for its connection, and has ``send``.
            client_data: its ``ID`` and ``ADDRESS``.
        """

    def snapshot(self) -> Any:
        """What a member gets that was away for longer than the history reaches. Not async."""
        return None

    # What a room can do.

    @property
    def id(self) -> str:
        """The room's id, unique in the life of the server."""
        return self._running.id

    @property
    def ruleset(self) -> RuleSet:
        """What the clients of this room asked for."""
        if self._ruleset is None:
            raise ConfigError("this room has no ruleset yet: use it from on_create on")
        return self._ruleset

    @property
    def match(self) -> dict[str, Any]:
        """What the queue says that made this room: ``queue``, ``region``, ``teams`` (numbers of clients by team) and
        ``bots`` (places by team that nobody takes). Empty where no queue did. A copy."""
        return dict(self._running.match)

    @property
    def clients(self) -> list[Member]:
        """The members, dropped ones included, in the order of joining, without those who only look on. A copy."""
        members = self._running.members.values()
        return [one for one in members if not one.spectator] if self.max_spectators else list(members)

    @property
    def spectators(self) -> list[Member]:
        """Those who only look on, dropped ones included, in the order of joining. A copy."""
        return [one for one in self._running.members.values() if one.spectator]

    @property
    def locked(self) -> bool:
        """Whether new members are refused. Reservations made before stay good."""
        return self._running.seats.locked

    @property
    def private(self) -> bool:
        """Whether only those come in who have its id: it is not listed, nobody is sent here. Assign to change it."""
        return self._running.privacy.private

    @private.setter
    def private(self, value: bool) -> None:
        self._running.reports.set_private(value)

    @property
    def unlisted(self) -> bool:
        """Whether lists leave it out; ``join_or_create`` and ``join`` find it all the same. Assign to change it."""
        return self._running.privacy.unlisted

    @unlisted.setter
    def unlisted(self, value: bool) -> None:
        self._running.reports.set_unlisted(value)

    @property
    def password(self) -> bool:
        """Whether there is one: then only those come in who show it to ``join_by_id``, and nobody is sent here.

        Assign a text of at most 128 characters, or None for no password. It is kept as a salted hash: it can't be read.
        """
        return self._running.privacy.has_password

    @password.setter
    def password(self, value: str | None) -> None:
        self._running.reports.set_password(value)

    @property
    def metadata(self) -> dict[str, Any]:
        """What lists of rooms show of this one. A copy: assign to change it."""
        return dict(self._running.reports.metadata)

    @metadata.setter
    def metadata(self, value: dict[str, Any]) -> None:
        self._running.reports.set_metadata(value)

    def broadcast(
        self,
        type: str,  # noqa: A002  # the wire's word
        data: Any = None,
        *,
        except_: Member | Iterable[Member] | None = None,
        key: str | int | None = None,
    ) -> None:
        """Send to all members, in one order that all see.

        Args:
            type: the message type, at most 64 characters.
            data: what msgpack can encode, at most 256 KiB.
            except_: a member, or several, who do not get it.
            key: whose newest value this is, like the number of a player: where ``slow_members`` is ``latest``, a
                member that lags is spared the older broadcasts of this type and key. Elsewhere it means nothing.
                At most 64 characters.

        Raises:
            PayloadError: data can't be encoded or is too large, or the key is none; nothing was sent.
        """
        (self._runner or self._running).broadcast(type, data, except_, key)

    def broadcast_message(self, text: Any) -> None:
        """Broadcast as ``Protocol.Response.MESSAGE``: clients show it unless they override ``handle_response``."""
        self._running.broadcast(Protocol.Response.MESSAGE, text, None)

    def broadcast_command(self, command: str) -> None:
        """Broadcast as ``Protocol.Response.COMMAND``. ``close`` ends a ``Client``."""
        self._running.broadcast(Protocol.Response.COMMAND, command, None)

    def lock(self) -> None:
        """Take no new members."""
        self._running.reports.set_locked(True)

    def unlock(self) -> None:
        """Take new members again, as far as there are seats."""
        self._running.reports.set_locked(False)

    def invite(self, client: int, seconds: float = 60.0) -> None:
        """Keep a seat for one client: it comes in by ``join_by_id``, also while the room is locked or private, and
        without its password. Invited once more, its time begins anew.

        Args:
            client: its number, ``AsyncClient.id`` or ``Member.id``.
            seconds: how long; then the seat is anybody's.

        Raises:
            RoomFull: no seat is free; those that are kept for others count as taken.
            ConfigError: that is no number of a client, or no time.
        """
        if type(client) is not int or client < 0:
            raise ConfigError(f"a client is invited by its number, not by {client!r:.60}")
        if type(seconds) not in (int, float) or not 0 < seconds < float("inf"):
            raise ConfigError(f"an invitation lasts for some seconds, not {seconds!r:.40}")
        self._running.invite(client, float(seconds))

    def uninvite(self, client: int) -> None:
        """Keep no seat for that client any more. Nothing happens if none was."""
        self._running.invite(client, None)

    def backfill(
        self,
        queue: str,
        vacancies: int | Mapping[str, int | Mapping[str, int]],
        *,
        rating: float | None = None,
        criteria: Mapping[str, Any] | None = None,
        region: str | None = None,
    ) -> None:
        """Seek members from a queue: those that it finds come in, also while the room is locked.

        What is sought shrinks as seats are held, and grows again by seats that
        were not taken. Called again, what is said now counts.

        Args:
            queue: its name.
            vacancies: how many are missing; or of each team; or of each role of each team.
            rating: of those who are in: who comes has to be near it. None: anybody will do.
            criteria: what is played here, by the names that are ``hard`` in the queue.
            region: where the room runs, if regions matter in the queue.

        Raises:
            ConfigError: these are no vacancies. What the queue does not know is logged by the broker.
        """
        about = {"rating": rating, "criteria": dict(criteria or {}), "region": region}
        self._running.reports.seek(Seeker(queue, vacancies, about))

    def stop_backfill(self) -> None:
        """Seek nobody any more. Who has a seat held already may still come."""
        self._running.reports.seek(None)

    def close(self, text: str = "") -> None:
        """End the room: members are told code 2100 and ``text``, ``on_leave`` and ``on_dispose`` run."""
        self._running.close(Code.ROOM_CLOSED, text)

    def every(self, interval: float, function: Callable[[], Any]) -> "Timer":
        """Run a function each ``interval`` seconds, as an event of this room, until the room ends.

        A turn that comes while the one before still waits is left out.

        Returns:
            A timer with ``cancel()``.
        """
        return self._running.timers.every(interval, function)

    def call_later(self, delay: float, function: Callable[[], Any]) -> "Timer":
        """Run a function once, ``delay`` seconds from now, as an event of this room, unless the room ends before."""
        return self._running.timers.call_later(delay, function)

    @property
    def _running(self) -> "Runner":
        if self._runner is None:
            raise ConfigError("the room is not open yet: do this in on_create or later, not in __init__")
        return self._runner

    def _bind(self, runner: "Runner", ruleset: RuleSet) -> None:
        self._runner = runner
        self._ruleset = ruleset
