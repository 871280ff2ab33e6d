"""AsyncClient: the client for asyncio programs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..protocol.errors import ClientClosedError, NotInRoomError, RuleSetError, ServerRoomError
from ..protocol.messages import Create, Endpoints, JoinById, Kind, ListEndpoints, ListRooms, Match, Message, Rooms
from ..protocol.names import ClientData
from ..protocol.queue_messages import Enqueue, Rematch
from ..protocol.room_messages import JoinOrCreate, JoinWhere
from ..protocol.rulesets import RuleSet
from ..transport.network import Network
from .access import Access
from .life import ClientState
from .received import Received
from .room import ClientRoom
from .room_list import RoomList
from .shell import Shell
from .ticket import ClientParty, QueueTicket, ask_party

__all__ = ["AsyncClient", "connect"]


def connect(
    address: str,
    *,
    network: Network | None = None,
    connect_timeout: float = 5.0,
    reconnect_timeout: float = 60.0,
    inbox: int = 4096,
    jitter: Callable[[], float] | None = None,
    credentials: Any = None,
    server_key: str | None = None,
    key_file: str | Path | None = None,
    user: str | None = None,
    password: str | None = None,
) -> "AsyncClient":
    """A client of the server at ``address``, to be used with ``async with``.

    ::

        async with connect("tcp://127.0.0.1:1234") as client:
            room = await client.match(RuleSet(2), timeout=30)

    Args:
        address: ``tcp://host:port``.
        network: real sockets, unless tests give another one.
        connect_timeout: seconds to reach the server.
        reconnect_timeout: seconds to reach it again after the connection is lost.
        inbox: messages of each room that may wait to be read. What does not fit
            is fetched again from the room's history.
        jitter: a float in [0, 1) for the delays between attempts to connect;
            the system's randomness, unless tests give a seeded one.
        credentials: shown to the server's ``on_auth``: any value that msgpack knows, at most 15 KiB of it. Or a
            function that returns them, ``def`` or ``async def``, called on this loop for each new session, so that
            each gets a fresh token; its time counts as part of ``connect_timeout``.
        server_key: the server's public key, 40 characters (``srs keys show server.pub``): everything is encrypted, and
            nobody else can be taken for the server. Needed where the server has keys.
        key_file: our own keys (``srs keys make``), where the server lets only certain ones in; None: one for this
            client alone.
        user: our name, where the server asks for one at the handshake (``srs serve --plain``).
        password: and its password, sent for everybody to read.

    Raises (on entering):
        BrokerUnreachable: nobody answered.
        ConfigError: the address can't be one.
        AuthRefused: the server does not take the credentials, the key or the password.
        AuthUnavailable: it could not check them within ``connect_timeout``.
        CredentialsError: the function raised.

    Raises (at once):
        PayloadError: the credentials can't be encoded or are too large.
        ConfigError: these are no keys, or make no sense together.
    """
    return AsyncClient(
        address,
        network=network,
        connect_timeout=connect_timeout,
        reconnect_timeout=reconnect_timeout,
        inbox=inbox,
        jitter=jitter,
        credentials=credentials,
        server_key=server_key,
        key_file=key_file,
        user=user,
        password=password,
    )


class AsyncClient:
    """A client on an event loop. ``connect()`` makes it; its arguments are the same.

    A connection that is lost is replaced by itself: the session is resumed, the
    rooms are recovered, and what was missed comes in order. All waits have
    timeouts.
    """

    def __init__(
        self,
        address: str,
        *,
        network: Network | None = None,
        connect_timeout: float = 5.0,
        reconnect_timeout: float = 60.0,
        inbox: int = 4096,
        jitter: Callable[[], float] | None = None,
        credentials: Any = None,
        server_key: str | None = None,
        key_file: str | Path | None = None,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        self.address = address
        access = Access(server_key, key_file, user, password)
        self._shell = Shell(address, network, connect_timeout, reconnect_timeout, inbox, jitter, credentials, access)

    # Life.

    async def __aenter__(self) -> "AsyncClient":
        try:
            await self._shell.open()
        except BaseException:
            await self._shell.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the session: leave all rooms, hang up. Nothing of this client is left after."""
        await self._shell.close()

    @property
    def closed(self) -> bool:
        """Whether the session is over: closed, or lost for good."""
        return self._shell.closed

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now."""
        return self._shell.core.state is ClientState.ONLINE

    @property
    def id(self) -> int:
        """This client's number, unique in the life of the server."""
        return self._shell.core.data.ID

    @property
    def data(self) -> ClientData:
        """This client's number and address, as the server sees them."""
        return self._shell.core.data

    @property
    def error(self) -> ServerRoomError | None:
        """Why the session is over, if not by our own wish."""
        return self._shell.error

    @property
    def misrouted_bundles(self) -> int:
        """Bundles of streams that are not ours. They were dropped; there should be none."""
        return self._shell.misrouted_bundles

    # Ways into a room.

    async def match(
        self, ruleset: RuleSet, *, options: dict[str, Any] | None = None, timeout: float = 60.0
    ) -> ClientRoom:
        """Wait to be put together with clients who ask for the same.

        Args:
            ruleset: what we want.
            options: for the room's ``on_join``.
            timeout: seconds to wait at most. Cancelling the call cancels the ticket.

        Raises:
            MatchExpired: nobody came in time.
            AlreadyWaiting: this client waits already.
            UnknownRoomType, RoomFailed, JoinRefused, CapacityReached: the server's answer.
        """
        wanted = _wire(ruleset)
        return await self._enter(lambda ask: Match(self._ref, ask, wanted, options or {}, timeout), _patience(timeout))

    async def join_or_create(
        self,
        ruleset: RuleSet | str,
        *,
        where: Mapping[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> ClientRoom:
        """Take a seat in an open room of the same ruleset, or in a new one. Those who ask at once meet in one room.

        Args:
            ruleset: seats, room type and criteria; or the name of a room type that declares its ``max_clients``.
            where: what the metadata of a room that is there must be like: see ``rooms``.
            options: for the room's ``on_join``, and for ``on_create`` if it is made for us.
            timeout: seconds to wait at most.

        Raises:
            UnknownRoomType, RoomFailed, JoinRefused, CapacityReached, BadFilter: the server's answer.
            TimedOut: none came.
        """
        wanted = _wire(RuleSet(1, ruleset) if isinstance(ruleset, str) else ruleset)
        return await self._enter(lambda ask: JoinOrCreate(self._ref, ask, wanted, _map(where), options or {}), timeout)

    async def join(
        self,
        type: str,  # noqa: A002  # the wire's word
        *,
        where: Mapping[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> ClientRoom:
        """Take a seat in an open room of this type, whatever its ruleset.

        Args:
            type: the room type.
            where: what its metadata must be like: see ``rooms``.
            options: for the room's ``on_join``.
            timeout: seconds to wait at most.

        Raises:
            RoomNotFound: none is open, or none fits.
            UnknownRoomType, JoinRefused, BadFilter: the server's answer.
            TimedOut: none came.
        """
        return await self._enter(lambda ask: JoinWhere(self._ref, ask, type, _map(where), options or {}), timeout)

    async def create(
        self,
        ruleset: RuleSet,
        *,
        password: str | None = None,
        private: bool = False,
        unlisted: bool = False,
        options: dict[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> ClientRoom:
        """Make a room and be its first member. Others can ``join_by_id``, and find it unless it is closed to strangers.

        Args:
            ruleset: seats, room type and criteria of the room.
            password: only who shows it to ``join_by_id`` comes in; at most 128 characters.
            private: only who has its id comes in: it is not listed, and nobody is sent there.
            unlisted: lists leave it out.
            options: for the room's ``on_create`` and ``on_join``.
            timeout: seconds to wait at most.

        Raises:
            UnknownRoomType, RoomFailed, JoinRefused, CapacityReached: the server's answer.
            TimedOut: none came.
        """
        access = {"password": password, "private": private, "unlisted": unlisted}
        closed = {name: value for name, value in access.items() if value}
        wanted = _wire(ruleset)
        return await self._enter(lambda ask: Create(self._ref, ask, wanted, options or {}, closed), timeout)

    async def join_by_id(
        self,
        room_id: str,
        *,
        password: str | None = None,
        spectate: bool = False,
        options: dict[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> ClientRoom:
        """Take a seat in a room that is there.

        Args:
            room_id: its id.
            password: where it has one; who is invited needs none.
            spectate: only look on: from the seats that the room has for that (``Room.max_spectators``), also while
                it is locked. It hears what members hear.
            options: for the room's ``on_join``.
            timeout: seconds to wait at most.

        Raises:
            RoomNotFound, RoomFull, RoomLocked, WrongPassword, JoinRefused, RateLimited: the server's answer.
            TimedOut: none came.
        """
        access: dict[str, Any] = {"password": password} if password is not None else {}
        if spectate:
            access["spectate"] = True
        return await self._enter(lambda ask: JoinById(self._ref, ask, room_id, options or {}, access), timeout)

    async def enqueue(
        self,
        queue: str,
        criteria: Mapping[str, Any] | None = None,
        *,
        roles: Sequence[str] = (),
        regions: Mapping[str, float] | None = None,
        options: dict[str, Any] | None = None,
        timeout: float = 60.0,
    ) -> QueueTicket:
        """Wait in a queue of the server's. The leader of a party enters for all; the others come along.

        ::

            ticket = await client.enqueue("ranked", {"mode": "ctf", "map": ["dust", "mill"]})
            room = await ticket.room()

        Args:
            queue: its name.
            criteria: what the match is to be: a value for each name, or a list of those that will do.
            roles: that we play; none: any.
            regions: seconds of a round trip to each region, as we have measured them.
            options: for the room's ``on_join``.
            timeout: seconds until the ticket expires; the server may have it shorter.

        Returns:
            The ticket; what the queue thinks of it shows there.
        """
        wishes = (
            _map(criteria),
            list(roles),
            _map(regions),
            options or {},
            timeout,
            self._shell.party_code,
        )
        return QueueTicket(self._shell, lambda ask: Enqueue(self._ref, ask, queue, *wishes))

    async def party(self, *, timeout: float = 10.0) -> ClientParty:
        """Make a party and lead it; give its ``code`` to those who are to join.

        Raises:
            AlreadyWaiting: we are in one.
            TimedOut: no answer.
        """
        return ClientParty(self._shell, await ask_party(self._shell, "make", None, timeout))

    async def join_party(self, code: str, *, timeout: float = 10.0) -> ClientParty:
        """Join the party that has this code.

        Raises:
            PartyNotFound, PartyFull, AlreadyWaiting, RateLimited: the server's answer.
            TimedOut: no answer.
        """
        return ClientParty(self._shell, await ask_party(self._shell, "join", code, timeout))

    async def rematch(
        self, room_id: str, *, options: dict[str, Any] | None = None, timeout: float = 30.0
    ) -> ClientRoom:
        """Play again with those who were in this room: waits until they want it too.

        Args:
            room_id: the room that we are in, or have left within a minute.
            options: for the new room's ``on_join``.
            timeout: seconds to wait at most; then those who want it play, if they are at least two.

        Raises:
            RoomNotFound: we were not in that room lately.
            MatchExpired: nobody else wanted it.
        """
        return await self._enter(
            lambda ask: Rematch(self._ref, ask, room_id, options or {}, timeout), _patience(timeout)
        )

    async def rooms(
        self,
        type: str | None = None,  # noqa: A002  # the wire's word
        *,
        where: Mapping[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> list[dict[str, Any]]:
        """The rooms of one type, or of all: ``room``, ``type``, ``clients``, ``max_clients``, ``locked``, ``password``
        (whether there is one), ``spectators``, ``max_spectators``, ``metadata``.

        Args:
            type: a room type; None: all.
            where: for names of the metadata what each must be like: a value that is equal; a list, one of which is;
                ``{"min": 3, "max": 5}``, or one of the two; ``{"prefix": "ab"}``. At most eight names.
            timeout: seconds to wait at most.

        Raises:
            BadFilter: the server does not take ``where``.
            TimedOut: no answer.
        """
        answer = await self._shell.ask(lambda ask: ListRooms(self._ref, ask, type, _map(where)), timeout)
        assert isinstance(answer, Rooms)
        return answer.rooms

    async def watch_rooms(
        self,
        type: str | None = None,  # noqa: A002  # the wire's word
        *,
        where: Mapping[str, Any] | None = None,
        timeout: float = 10.0,
    ) -> RoomList:
        """Watch the rooms of one type, or of all, as they come, change and go.

        ::

            async with await client.watch_rooms("duel", where={"level": {"min": 3}}) as rooms:
                show(rooms.rooms)
                async for change in rooms:
                    show(rooms.rooms)

        Args: see ``rooms``.

        Raises:
            BadFilter, CapacityReached: the server's answer.
            TimedOut: no answer.
        """
        return await RoomList(self._shell, type, _map(where)).ready(timeout)

    async def endpoints(self, *, timeout: float = 10.0) -> list[str]:
        """Where the workers are that a room may be on; empty where the broker hosts the rooms itself.

        Raises:
            TimedOut: no answer.
        """
        answer = await self._shell.ask(lambda ask: ListEndpoints(self._ref, ask), timeout)
        assert isinstance(answer, Endpoints)
        return answer.endpoints

    # Outside of rooms.

    async def send(self, type: str, data: Any = None, *, ack: bool = False, timeout: float = 10.0) -> None:  # noqa: A002
        """Send a message to the server itself, while in no room: ``Server.handle_response`` gets it.

        Arguments and errors are those of ``ClientRoom.send``; InRoom with ``ack`` while in a room.
        """
        await self._shell.send(self._shell.core.home, Kind.SEND, type, data, timeout, ack=ack)

    async def receive(self, timeout: float | None = 10.0) -> Received:
        """The next message from the server itself.

        Raises:
            TimedOut: there was none in time.
            NotInRoomError: the client is closed.
        """
        return await self._shell.next_message(self._shell.core.home, timeout)

    def __aiter__(self) -> "AsyncClient":
        return self

    async def __anext__(self) -> Received:
        try:
            return await self._shell.next_message(self._shell.core.home, None)
        except (NotInRoomError, ClientClosedError):
            raise StopAsyncIteration from None

    async def _enter(self, make: Callable[[int], Message], timeout: float) -> ClientRoom:
        return ClientRoom(self._shell, await self._shell.enter(make, timeout))

    @property
    def _ref(self) -> int:
        # Looked up when a request is made, and made anew after each reconnect.
        return self._shell.core.home.ref


def _wire(ruleset: object) -> list[object]:
    if not isinstance(ruleset, RuleSet):
        raise RuleSetError(f"a ruleset is wanted here, like RuleSet(2, room='duel'), not {ruleset!r:.60}")
    return ruleset.to_wire()


def _map(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is no map is left to the check of the message, which names the field."""
    return dict(given) if isinstance(given, Mapping) else (given or {})


def _patience(timeout: float) -> float:
    """The broker ends what waits after ``timeout``; we wait a little longer for its word. What is no number is left to
    the check of the message."""
    return timeout + 10.0 if isinstance(timeout, int | float) else 10.0
