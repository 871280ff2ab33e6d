"""AsyncClient: the client for asyncio programs, around the pure core."""

import asyncio
import logging
import random
import weakref
from collections.abc import Callable
from typing import Any

from ..protocol.errors import (
    ClientClosedError,
    ConfigError,
    NotInRoomError,
    RemoteError,
    ServerRoomError,
    TimedOut,
)
from ..protocol.messages import Create, JoinById, Kind, ListRooms, Match, Message, Rooms
from ..protocol.names import ClientData
from ..protocol.rulesets import RuleSet
from ..transport.network import Link, Network, Sent
from ..transport.zeromq import ZmqNetwork
from .core import ClientCore, ClientState
from .membership import Membership, MembershipState, Received
from .room import ClientRoom, Inbox

__all__ = ["AsyncClient", "connect"]

logger = logging.getLogger(__name__.partition(".client")[0] + ".client")

_SOFTWARE = "server-room-system"


class _SharedNetwork:
    """One ZmqNetwork for all clients of an event loop: its threads are not free."""

    _of_loop: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _SharedNetwork]" = weakref.WeakKeyDictionary()

    def __init__(self) -> None:
        self.network = ZmqNetwork()
        self._users = 0

    @classmethod
    def acquire(cls) -> "_SharedNetwork":
        loop = asyncio.get_running_loop()
        shared = cls._of_loop.get(loop)
        if shared is None:
            shared = cls._of_loop[loop] = cls()
        shared._users += 1
        return shared

    async def release(self) -> None:
        self._users -= 1
        if self._users == 0:
            loop = asyncio.get_running_loop()
            self._of_loop.pop(loop, None)
            await loop.run_in_executor(None, self.network.close)


def connect(
    address: str,
    *,
    network: Network | None = None,
    connect_timeout: float = 5.0,
    reconnect_timeout: float = 30.0,
    inbox: int = 4096,
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

    Raises (on entering):
        BrokerUnreachable: nobody answered.
        ConfigError: the address can't be one.
    """
    return AsyncClient(
        address, network=network, connect_timeout=connect_timeout, reconnect_timeout=reconnect_timeout, inbox=inbox
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
        reconnect_timeout: float = 30.0,
        inbox: int = 4096,
    ) -> None:
        self.address = address
        self.misrouted_bundles = 0
        """Bundles that named a stream that is not ours. They were dropped; there should be none."""
        self._given_network = network
        self._shared: _SharedNetwork | None = None
        self._connect_timeout = connect_timeout
        self._most = inbox
        self._core = ClientCore(
            address, self, random.SystemRandom().random, connect_timeout, reconnect_timeout, _SOFTWARE
        )
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: ServerRoomError | None = None
        self._answers: dict[int, asyncio.Future[Rooms | Membership]] = {}
        self._replies: dict[tuple[Membership, int], asyncio.Future[Any]] = {}
        self._refusals: dict[tuple[Membership, int], RemoteError | None] = {}
        self._rooms: dict[Membership, ClientRoom] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        self._home = Inbox(self, self._core.home, inbox)

    # Life.

    async def __aenter__(self) -> "AsyncClient":
        self._loop = asyncio.get_running_loop()
        if self._given_network is None:
            self._shared = _SharedNetwork.acquire()
        self._network = self._given_network or self._shared.network  # type: ignore[union-attr]  # one of the two is there
        try:
            self._core.open(self._loop.time())
            self._tick()
            await self.wait_until(
                lambda: self._core.state is ClientState.ONLINE or self.closed, self._connect_timeout + 5.0, "answer"
            )
            if self._error is not None:
                raise self._error
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the session: leave all rooms, hang up. Nothing of this client is left after."""
        self._core.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._shared is not None:
            shared, self._shared = self._shared, None
            await shared.release()

    @property
    def closed(self) -> bool:
        """Whether the session is over: closed, or lost for good."""
        return self._core.state is ClientState.CLOSED

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now."""
        return self._core.state is ClientState.ONLINE

    @property
    def id(self) -> int:
        """This client's number, unique in the life of the server."""
        return self._core.data.ID

    @property
    def data(self) -> ClientData:
        """This client's number and address, as the server sees them."""
        return self._core.data

    @property
    def error(self) -> ServerRoomError | None:
        """Why the session is over, if not by our own wish."""
        return self._error

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
        return await self._enter(
            lambda ask: Match(self._core.home.ref, ask, ruleset.to_wire(), options or {}, timeout), timeout + 10.0
        )

    async def create(
        self, ruleset: RuleSet, *, options: dict[str, Any] | None = None, timeout: float = 10.0
    ) -> ClientRoom:
        """Make a room and be its first member. Others can ``join_by_id``.

        Args:
            ruleset: seats, room type and criteria of the room.
            options: for the room's ``on_create`` and ``on_join``.
            timeout: seconds to wait at most.

        Raises:
            UnknownRoomType, RoomFailed, JoinRefused, CapacityReached: the server's answer.
            TimedOut: none came.
        """
        return await self._enter(
            lambda ask: Create(self._core.home.ref, ask, ruleset.to_wire(), options or {}), timeout
        )

    async def join_by_id(
        self, room_id: str, *, options: dict[str, Any] | None = None, timeout: float = 10.0
    ) -> ClientRoom:
        """Take a seat in a room that is there.

        Raises:
            RoomNotFound, RoomFull, RoomLocked, JoinRefused: the server's answer.
            TimedOut: none came.
        """
        return await self._enter(lambda ask: JoinById(self._core.home.ref, ask, room_id, options or {}), timeout)

    async def rooms(self, type: str | None = None, *, timeout: float = 10.0) -> list[dict[str, Any]]:  # noqa: A002
        """The rooms of one type, or of all: ``room``, ``type``, ``clients``, ``max_clients``, ``locked``, ``metadata``.

        Raises:
            TimedOut: no answer.
        """
        answer = await self._ask(lambda ask: ListRooms(self._core.home.ref, ask, type), timeout)
        assert isinstance(answer, Rooms)
        return answer.rooms

    # Outside of rooms.

    async def send(self, type: str, data: Any = None, *, ack: bool = False, timeout: float = 10.0) -> None:  # noqa: A002
        """Send a message to the server itself, while in no room: ``Server.handle_response`` gets it.

        Arguments and errors are those of ``ClientRoom.send``; InRoom with ``ack`` while in a room.
        """
        await self.send_in(self._core.home, Kind.SEND, type, data, timeout, ack=ack)

    async def receive(self, timeout: float | None = 10.0) -> Received:
        """The next message from the server itself.

        Raises:
            TimedOut: there was none in time.
            NotInRoomError: the client is closed.
        """
        return await self._home.get(timeout)

    def __aiter__(self) -> "AsyncClient":
        return self

    async def __anext__(self) -> Received:
        try:
            return await self._home.get(None)
        except (NotInRoomError, ClientClosedError):
            raise StopAsyncIteration from None

    # What rooms and inboxes call.

    async def send_in(
        self, membership: Membership, kind: Kind, name: str, data: Any, timeout: float, *, ack: bool
    ) -> int:
        """Send a message in a conversation, with backpressure; its number."""
        deadline = self._loop.time() + timeout
        self._check_open(membership)
        if membership.full:
            self._core.ask_ack(membership)
            await self.wait_until(
                lambda: not membership.full or self._is_over(membership), timeout, "acknowledgement"
            )
            self._check_open(membership)
        number = self._core.send(membership, kind, name, data)
        if not ack:
            return number
        key = (membership, number)
        self._refusals[key] = None
        try:
            self._core.ask_ack(membership)
            await self.wait_until(
                lambda: membership.acked >= number or self._refusals[key] is not None or self._is_over(membership),
                deadline - self._loop.time(),
                "acknowledgement",
            )
            refusal = self._refusals[key]
            if refusal is not None:
                raise refusal
            if membership.acked < number:
                self._check_open(membership)
        finally:
            del self._refusals[key]
        return number

    async def request_in(self, membership: Membership, name: str, data: Any, timeout: float) -> Any:
        """Send a request in a room and wait for its reply."""
        number = await self.send_in(membership, Kind.REQUEST, name, data, timeout, ack=False)
        key = (membership, number)
        reply = self._replies[key] = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                return await reply
        except TimeoutError as error:
            raise TimedOut(f"reply to {name!r}", timeout) from error
        finally:
            del self._replies[key]

    async def leave(self, membership: Membership, timeout: float) -> None:
        """Leave a room."""
        self._core.leave(membership)
        await self.wait_until(lambda: self._is_over(membership), timeout, "answer to leaving the room")

    def read_on(self, membership: Membership) -> None:
        """An inbox has space again."""
        self._core.read_on(membership, self._loop.time())

    async def wait_until(self, condition: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait for a condition that changes with what comes. Raises TimedOut."""
        if condition():
            return
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    waiter = self._loop.create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
        except TimeoutError as error:
            raise TimedOut(what, timeout or 0.0) from error

    def _is_over(self, membership: Membership) -> bool:
        return membership.state is MembershipState.ENDED or self.closed

    def _check_open(self, membership: Membership) -> None:
        if self.closed:
            raise self._error or ClientClosedError("the client is closed")
        if membership.state is MembershipState.ENDED:
            raise NotInRoomError(str(membership.error or "the room is left"))

    async def _enter(self, make: Callable[[int], Message], timeout: float) -> ClientRoom:
        answer = await self._ask(make, timeout)
        assert isinstance(answer, Membership)
        return self._rooms[answer]

    async def _ask(self, make: Callable[[int], Message], timeout: float) -> Rooms | Membership:
        if self.closed:
            raise self._error or ClientClosedError("the client is closed")
        if self._core.state is ClientState.IDLE:
            raise ConfigError("the client is not connected: use it with 'async with'")
        ask = self._core.ask(make)
        answer = self._answers[ask] = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError as error:
            raise TimedOut("answer", timeout) from error
        finally:
            del self._answers[ask]
            self._core.forget(ask)

    # The link's sink.

    def up(self) -> None:
        self._core.up(self._loop.time())
        self._tick()

    def receive_frame(self, frame: bytes) -> None:
        self._core.receive(frame, self._loop.time())

    def down(self, reason: str) -> None:
        self._link = None
        self._core.down(reason, self._loop.time())
        self._tick()

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = self._core.tick(self._loop.time())
        if when is not None and not self.closed:
            self._timer = self._loop.call_at(when, self._tick)

    # The outbox of the core.

    def dial(self) -> None:
        self._link = self._network.connect(self.address, _LinkSink(self), self._core.limits.download)

    def hang_up(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def transmit(self, frame: bytes) -> Sent:
        return self._link.send(frame) if self._link is not None else Sent.GONE

    def opened(self, resumed: bool) -> None:
        if not resumed:
            self._home = Inbox(self, self._core.home, self._most)
        self._tick()
        self._wake()

    def interrupted(self, reason: str) -> None:
        logger.info("client %d: %s; connecting again", self.id, reason)
        self._wake()

    def answered(self, ask: int, answer: Rooms | Membership | RemoteError) -> None:
        if isinstance(answer, Membership):
            self._rooms[answer] = ClientRoom(self, answer, self._most)
        future = self._answers.get(ask)
        if future is None or future.done():
            return
        if isinstance(answer, RemoteError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def replied(self, membership: Membership, number: int, reply: Any, error: RemoteError | None) -> None:
        membership.acknowledged(number)
        future = self._replies.get((membership, number))
        if future is not None and not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(reply)
        self._wake()

    def refused(self, membership: Membership, number: int, error: RemoteError) -> None:
        key = (membership, number)
        reply = self._replies.get(key)
        if reply is not None and not reply.done():
            reply.set_exception(error)
        elif key in self._refusals:
            self._refusals[key] = error
        else:
            logger.warning("client %d: message %d was refused: %s", self.id, number, error)
        self._wake()

    def received(self, membership: Membership, message: Received) -> None:
        if membership is self._core.home:
            self._home.put(message)
        else:
            self._rooms[membership].took(message)
        self._wake()

    def has_room(self, membership: Membership) -> bool:
        if membership is self._core.home:
            return self._home.has_room()
        return self._rooms[membership].inbox.has_room()

    def progressed(self, membership: Membership) -> None:
        if membership.state is MembershipState.ENDED:
            self._rooms.pop(membership, None)
            error = NotInRoomError(str(membership.error or "the room is left"))
            self._fail([future for (where, _), future in self._replies.items() if where is membership], error)
        self._wake()

    def misrouted(self, epoch: int) -> None:
        self.misrouted_bundles += 1
        logger.warning("client %d: dropped a bundle of another stream (epoch %d)", self.id, epoch)

    def ended(self, error: ServerRoomError | None) -> None:
        self._error = error
        closed = error or ClientClosedError("the client is closed")
        self._fail([*self._answers.values(), *self._replies.values()], closed)
        self._wake()

    def _fail(self, futures: "list[asyncio.Future[Any]]", error: ServerRoomError) -> None:
        for future in futures:
            if not future.done():
                future.set_exception(error)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class _LinkSink:
    """Tells the client of its link. (The client's own ``receive`` is for its users.)"""

    def __init__(self, client: AsyncClient) -> None:
        self.up = client.up
        self.receive = client.receive_frame
        self.down = client.down
