"""Server: what users subclass and run. One life of a running server is a ``Host``."""

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..protocol.errors import ConfigError, ServerRoomError, UnknownRoomType
from ..protocol.limits import AddressLimits, Limits
from ..protocol.names import ClientData, Protocol
from ..protocol.rulesets import RuleSet
from ..rooms.room import Room
from ..rooms.uplink import MOST_REFUSALS
from ..transport.network import Network
from .auth import Peer
from .broker import BrokerLimits
from .console import Console
from .host import Host
from .matchmaking import MatchMaker
from .options import RunOptions, host_options
from .placement import Placement
from .process import stop_signals, tuned_collector
from .queues import MatchQueue
from .sessions import Session

__all__ = ["Server"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".server")

_MOST_WORKERS = 256


class Server:
    """A whole system: clients connect to it, are matched, and talk in rooms.

    Making one has no side effects; ``run`` and ``listen`` have. Subclass it to
    handle what clients who are in no room send.

    Args:
        match_maker: makes the rooms for rulesets that name no room type.
        rooms: Room classes by the name that clients ask for.
        limits: what each peer may do.
        broker_limits: how much the server takes on as a whole.
        address_limits: what all clients of one IP address may do together.
        workers: worker processes that ``run`` starts and supervises to host the
            rooms. 0: only workers that join from elsewhere host rooms. None:
            rooms live in this process, on one port.
        placement: chooses the worker of each new room.
        queues: MatchQueue classes by the name that clients enter them with. Each is made once, when the server runs.

    Raises:
        ConfigError: something else was given.
    """

    def __init__(
        self,
        match_maker: MatchMaker | None = None,
        rooms: Mapping[str, type[Room]] | None = None,
        *,
        limits: Limits | None = None,
        broker_limits: BrokerLimits | None = None,
        address_limits: AddressLimits | None = None,
        workers: int | None = None,
        placement: Placement | None = None,
        queues: Mapping[str, type[MatchQueue]] | None = None,
    ) -> None:
        self.match_maker = match_maker or MatchMaker()
        for what, given, example in (("rooms", rooms, "{'duel': Duel}"), ("queues", queues, "{'ranked': Ranked}")):
            if given is not None and not isinstance(given, Mapping):
                raise ConfigError(f"{what} is a mapping of names to classes, like {example}, not {given!r:.60}")
        self.rooms = dict(rooms or {})
        self.queues = dict(queues or {})
        self.limits = limits or Limits()
        if self.limits.unacked > MOST_REFUSALS:  # one that is forgotten would seem to be applied
            raise ConfigError(f"Limits.unacked is at most {MOST_REFUSALS}, not {self.limits.unacked}")
        self.broker_limits = broker_limits or BrokerLimits()
        self.address_limits = address_limits or AddressLimits()
        self.workers = workers
        self.placement = placement or Placement()
        self._host: Host | None = None
        if not isinstance(self.match_maker, MatchMaker):
            raise ConfigError(f"match_maker is a MatchMaker, not {match_maker!r:.60}. Did you forget the brackets?")
        if workers is not None and (type(workers) is not int or not 0 <= workers <= _MOST_WORKERS):
            raise ConfigError(f"workers is a number of processes, 0 to {_MOST_WORKERS}, or None, not {workers!r:.40}")
        if not isinstance(self.placement, Placement):
            raise ConfigError(f"placement is a Placement, not {placement!r:.60}. Did you forget the brackets?")
        for name, room_class in self.rooms.items():
            if not isinstance(name, str) or not 1 <= len(name) <= 64:
                raise ConfigError(f"a room type's name has 1 to 64 characters, not {name!r:.60}")
            if not (isinstance(room_class, type) and issubclass(room_class, Room)):
                raise ConfigError(f"rooms[{name!r}] is a subclass of Room, not {room_class!r:.60}")
        for name, queue in self.queues.items():
            if not isinstance(name, str) or not 1 <= len(name) <= 64:
                raise ConfigError(f"a queue's name has 1 to 64 characters, not {name!r:.60}")
            if not (isinstance(queue, type) and issubclass(queue, MatchQueue)):
                raise ConfigError(f"queues[{name!r}] is a subclass of MatchQueue, not {queue!r:.60}")
            if queue.room is not None and queue.room not in self.rooms:
                known = ", ".join(sorted(self.rooms)) or "none"
                raise ConfigError(f"queue {name!r} is for room type {queue.room!r}; registered are: {known}")
            seats = self.rooms[queue.room].max_clients if queue.room is not None else None
            if seats is not None and queue.shape.sizes[0] > seats:
                raise ConfigError(
                    f"queue {name!r} makes matches of up to {queue.shape.sizes[0]} players, and a {queue.room} has "
                    f"{seats} seats (max_clients)"
                )

    # Hooks. Override them. They run in the broker's process, on its loop, one at a time.

    def handle_response(self, protocol: str, data: Any, sender: Session, client_data: ClientData) -> Any:
        """A client who is in no room (waiting for a match, perhaps) sent something. May be async.

        Args:
            protocol: the message's type; ``Protocol.Response.MESSAGE`` for plain messages.
            data: what it sent.
            sender: stands for its connection, and has ``send``.
            client_data: its ``ID`` and ``ADDRESS``.
        """

    def on_auth(self, credentials: Any, peer: Peer) -> Any:
        """Say who a client is, before its session is opened. May be async. Unless overridden, nobody is asked.

        Runs in the broker's process for each new session: async ones side by side,
        in tasks of their own; a plain one holds everybody up while it runs. A
        session that is resumed is not asked again, unless its broker was started
        anew and knows nothing of it.

        Args:
            credentials: what the client gave as ``credentials=``: any value, or None. Never log it.
            peer: the ``address`` that it comes from, and its CURVE ``key``.

        Returns:
            Who this is: any value that msgpack knows, at most 4 KiB of it. Hooks find it as ``client.auth``,
            and ``client_data.AUTH``, here and in rooms, on workers as well; clients never see it.

        Raises:
            AuthRefused: the client does not get in, and is told your sentence. What else is raised, and what
                takes longer than ``BrokerLimits.auth_timeout``, is logged; the client is told to come back later.
        """

    def on_error(self, hook: str, error: BaseException) -> Any:
        """A hook of the server raised. It is logged already."""

    @property
    def asks(self) -> bool:
        """Whether newcomers are asked who they are: whether there is an ``on_auth``."""
        return getattr(self.on_auth, "__func__", None) is not Server.on_auth

    # What a server can do, while it runs.

    @property
    def clients(self) -> list[Session]:
        """The clients who are in no room."""
        return [session for session in self._running.broker.sessions if not session.rooms]

    def broadcast(self, type: str, data: Any = None, *, everyone: bool = False) -> None:  # noqa: A002
        """Send to all clients who are in no room. Rooms stay isolated unless ``everyone`` is asked for.

        Args:
            type: the message type, at most 64 characters.
            data: what msgpack can encode, at most 256 KiB.
            everyone: reach those in rooms as well, beside what their rooms say.

        Raises:
            PayloadError: data can't be encoded or is too large; nothing was sent.
            ConfigError: the server does not run.
        """
        for session in list(self._running.broker.sessions) if everyone else self.clients:
            session.send(type, data)

    def broadcast_message(self, text: Any, *, everyone: bool = False) -> None:
        """Broadcast as ``Protocol.Response.MESSAGE``, see ``broadcast``."""
        self.broadcast(Protocol.Response.MESSAGE, text, everyone=everyone)

    def broadcast_command(self, command: str, *, everyone: bool = False) -> None:
        """Broadcast as ``Protocol.Response.COMMAND``, see ``broadcast``. ``close`` ends a ``Client``."""
        self.broadcast(Protocol.Response.COMMAND, command, everyone=everyone)

    def stop(self) -> None:
        """Begin to stop: rooms close, clients are told, then ``run`` returns."""
        self._running.stop_soon()

    # Running.

    def listen(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        network: Network | None = None,
        keys: str | Path | None = None,
        authorised: str | Path | None = None,
        plain: str | Path | None = None,
        insecure: bool = False,
    ) -> Host:
        """Run inside a program of your own, on its event loop.

        ::

            async with server.listen("127.0.0.1", 0) as host:
                print(host.address)

        Args:
            host: the address to listen on.
            port: 0 takes a free one; ``host.address`` tells which.
            network: real sockets, unless tests give another one.
            keys, authorised, plain, insecure: see ``run``.

        Raises:
            ConfigError: one of the files can't be read, or holds something else.

        Raises (on entering):
            AddressInUse, ConfigError: the address can't be had, or should not be opened like this.
        """
        secured = _secured(RunOptions(), keys, authorised, plain, insecure=insecure)
        options = host_options(self, port, secured)
        if self.workers is None:  # the program around it may be many things: it leaves nothing on the disk
            options = replace(options, keep_state=False, key=None)
        return Host(self, host, port, network, options=options)

    def run(
        self,
        host: str = "127.0.0.1",
        port: int = 1234,
        *,
        keys: str | Path | None = None,
        authorised: str | Path | None = None,
        plain: str | Path | None = None,
        insecure: bool = False,
        options: RunOptions | None = None,
    ) -> None:
        """Run until SIGINT, SIGTERM, SIGHUP, ``stop()``, or the word ``close`` on the console. Rooms close first.

        Exits the program with a line or two on stderr and status 1 where the
        address can't be had, or should not be opened like this: one that other
        machines reach needs an ``on_auth``, or authorised keys, or ``insecure``.

        Args:
            host: the address to listen on.
            port: 0 takes a free one.
            keys: the server's key file (``srs keys make --server``): everything is encrypted, and clients need its
                public key.
            authorised: the file of keys of clients that may connect (``srs keys authorise``); without it, any.
            plain: the file of names and passwords that clients have to give (``srs password``). They are sent as
                they are, for whoever can read along.
            insecure: listen where others can come from, also if nobody asks who they are.
            options: how, in more detail; ``srs serve`` makes them.
        """
        secured = _secured(options or RunOptions(), keys, authorised, plain, insecure=insecure)
        try:
            with tuned_collector():
                asyncio.run(self._run(host, port, secured))
        except ServerRoomError as error:
            logger.debug("the server could not start", exc_info=error)
            sys.exit(f"error: {error}")

    async def _run(self, host: str, port: int, options: RunOptions) -> None:
        running = Host(self, host, port, options=host_options(self, port, options))
        # Around the host, not inside: a second signal finds the first at work.
        with stop_signals(running.stop_soon):
            async with running:
                with Console(running.stop_soon):
                    gc.collect()
                    gc.freeze()
                    print(f"listening on {running.address}; type close, or press Ctrl-C, to stop", flush=True)  # noqa: T201
                    await running.stopped()
                with contextlib.suppress(OSError):  # the terminal may be closed, and that is why it stops
                    print("stopping: closing rooms", flush=True)  # noqa: T201

    @property
    def _running(self) -> Host:
        if self._host is None:
            raise ConfigError("the server does not run: do this in a hook, or after run() or listen()")
        return self._host

    # What the host calls.

    def bind(self, host: Host | None) -> None:
        """The server runs in this host, or in none any more."""
        if host is not None and self._host is not None:
            raise ConfigError("this server runs already")
        self._host = host

    def make_room(self, ruleset: RuleSet) -> tuple[str, Room]:
        """The room for a ruleset, and the name of its type.

        Raises:
            UnknownRoomType: no room type is registered under the ruleset's name.
            ConfigError: ``create_room`` returned something else.
        """
        if ruleset.room is not None:
            room_class = self.rooms.get(ruleset.room)
            if room_class is None:
                known = ", ".join(sorted(self.rooms)) or "none"
                raise UnknownRoomType(f"no room type is named {ruleset.room!r}; there are: {known}")
            return ruleset.room, room_class(ruleset)
        room = self.match_maker.create_room(ruleset)
        if room is None:
            if len(self.rooms) != 1:
                raise UnknownRoomType(f"name a room type: {', '.join(sorted(self.rooms)) or 'none is registered'}")
            name, room_class = next(iter(self.rooms.items()))
            return name, room_class(ruleset)
        if not isinstance(room, Room):
            raise ConfigError(f"create_room returns a Room, not {room!r:.60}")
        names = [name for name, registered in self.rooms.items() if registered is type(room)]
        return (names or [type(room).__name__])[0], room


def _secured(
    options: RunOptions,
    keys: str | Path | None,
    authorised: str | Path | None,
    plain: str | Path | None,
    *,
    insecure: bool,
) -> RunOptions:
    """The options, and what was given beside them."""
    return replace(
        options,
        keys=options.keys if keys is None else Path(keys),
        authorised=options.authorised if authorised is None else Path(authorised),
        plain=options.plain if plain is None else Path(plain),
        insecure=insecure or options.insecure,
    )
