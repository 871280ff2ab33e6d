"""The shell of an asynchronous client: link, timer, and everybody who waits for something."""

import asyncio
import inspect
import logging
import random
from collections.abc import Callable
from typing import Any

from ..protocol.codec import pack_payload
from ..protocol.errors import (
    ClientClosedError,
    ConfigError,
    CredentialsError,
    NotInRoomError,
    RemoteError,
    ServerRoomError,
    TimedOut,
)
from ..protocol.limits import Limits
from ..protocol.messages import Kind, Message
from ..protocol.queue_messages import Found, Progress
from ..protocol.room_messages import Listed
from ..transport.network import Network, Sent
from .access import Access
from .contact import Contact
from .core import ClientCore
from .life import ClientState
from .links import Links
from .membership import Membership, MembershipState
from .outbox import Answer
from .received import Received
from .shared_network import SharedNetwork

__all__ = ["Shell"]

logger = logging.getLogger(__name__.partition(".client")[0] + ".client")

_SOFTWARE = "server-room-system"
_HELLO_SIZE = 512
"""Bytes of HELLO or RESUME besides the credentials, at most."""


def _check_credentials(credentials: Any) -> None:
    """Raises PayloadError: no server with the usual limits takes these."""
    limits = Limits()
    pack_payload(credentials, limits.control - _HELLO_SIZE, limits.nesting - 1, limits)


class Shell:
    """Runs a core on the event loop, and is its outbox.

    Args: see ``connect``.
    """

    def __init__(
        self,
        address: str,
        network: Network | None,
        connect_timeout: float,
        reconnect_timeout: float,
        inbox: int,
        jitter: Callable[[], float] | None,
        credentials: Any = None,
        access: Access | None = None,
    ) -> None:
        self._give: Callable[[], Any] | None = credentials if callable(credentials) else None
        if self._give is None:
            _check_credentials(credentials)
        self.core = ClientCore(
            address,
            self,
            jitter or random.SystemRandom().random,
            connect_timeout,
            reconnect_timeout,
            _SOFTWARE,
            inbox,
            None if self._give is not None else credentials,
            fetches=self._give is not None,
        )
        self._fetching: asyncio.Task[None] | None = None
        self.error: ServerRoomError | None = None
        self.misrouted_bundles = 0
        self._address = address
        self._access = access or Access()
        self._network = network
        self._shared: SharedNetwork | None = None
        self._connect_timeout = connect_timeout
        self._links: Links | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.on_party: Callable[[dict[str, Any]], None] = lambda party: None
        """Called when our party has changed."""
        self.party_code = ""
        """Of the party that we are in; empty: none."""
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._told: dict[int, Callable[[Any], None]] = {}
        self._replies: dict[tuple[Membership, int], asyncio.Future[Any]] = {}
        self._refusals: dict[tuple[Membership, int], RemoteError | None] = {}
        self._waiters: dict[asyncio.Future[None], None] = {}  # in the order of waiting: a run can be repeated

    @property
    def closed(self) -> bool:
        """Whether the session is over."""
        return self.core.state is ClientState.CLOSED

    async def open(self) -> None:
        """Connect. Raises BrokerUnreachable, or what the server said."""
        self._loop = asyncio.get_running_loop()
        if self._network is None:
            self._shared = SharedNetwork.acquire()
            self._network = self._shared.network
        self._links = Links(self.core, self._network, self._access, self._tick)
        self.core.open(self._loop.time())
        self._tick()
        await self.wait_until(
            lambda: self.core.state is ClientState.ONLINE or self.closed, self._connect_timeout + 5.0, "answer"
        )
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        """End the session and leave nothing behind."""
        self.core.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
            self._fetching = None
        if self._shared is not None:
            shared, self._shared = self._shared, None
            await shared.release()

    # What the client and its rooms ask for.

    async def send(self, membership: Membership, kind: Kind, name: str, data: Any, timeout: float, *, ack: bool) -> int:
        """Send a message in a conversation, with backpressure; its number."""
        deadline = self._loop.time() + timeout
        self._check_open(membership)
        if membership.full:
            self.core.ask_ack(membership)
            await self.wait_until(lambda: not membership.full or self._is_over(membership), timeout, "acknowledgement")
            self._check_open(membership)
        number = self.core.send(membership, kind, name, data)
        if not ack:
            return number
        key = (membership, number)
        self._refusals[key] = None
        try:
            self.core.ask_ack(membership)
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

    async def request(self, membership: Membership, name: str, data: Any, timeout: float) -> Any:
        """Send a request in a room and wait for its reply."""
        number = await self.send(membership, Kind.REQUEST, name, data, timeout, ack=False)
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
        self.core.leave(membership)
        await self.wait_until(lambda: self._is_over(membership), timeout, "answer to leaving the room")

    async def next_message(self, membership: Membership, timeout: float | None) -> Received:
        """The next message of a conversation. Raises TimedOut, or NotInRoomError when there will be none."""
        inbox = membership.inbox
        await self.wait_until(lambda: bool(inbox) or self._is_over(membership), timeout, "message")
        if not inbox:
            raise NotInRoomError(str(membership.error or "the room is left"))
        message, fetch = inbox.take()
        if fetch:
            self.core.read_on(membership, self._loop.time())
        return message

    async def wait_until(self, condition: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait for a condition that changes with what comes. Raises TimedOut."""
        if condition():
            return
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    waiter = self._loop.create_future()
                    self._waiters[waiter] = None
                    try:
                        await waiter
                    finally:
                        self._waiters.pop(waiter, None)
        except TimeoutError as error:
            raise TimedOut(what, timeout or 0.0) from error

    def _is_over(self, membership: Membership) -> bool:
        return membership.state is MembershipState.ENDED or self.closed

    def _check_open(self, membership: Membership) -> None:
        if self.closed:
            raise self.error or ClientClosedError("the client is closed")
        if membership.state is MembershipState.ENDED:
            raise NotInRoomError(str(membership.error or "the room is left"))

    async def enter(self, make: Callable[[int], Message], timeout: float) -> Membership:
        """Ask for a seat and take it."""
        answer = await self.ask(make, timeout)
        assert isinstance(answer, Membership)
        return answer

    def begin(
        self, make: Callable[[int], Message], told: Callable[[Any], None]
    ) -> "tuple[int, asyncio.Future[Answer]]":
        """Ask the broker something that takes long; its number, and what will be the answer.

        Args:
            make: makes the request.
            told: called with what comes before the answer.

        Raises:
            UsageError: the broker would not take it.
        """
        self._check_ready()
        self.core.requests.check(make, self.core.limits)
        ask = self.core.requests.ask(make)
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._answers[ask], self._told[ask] = answer, told
        answer.add_done_callback(lambda _: self._conclude(ask))
        return ask, answer

    def _conclude(self, ask: int) -> None:
        self._told.pop(ask, None)
        answer = self._answers.pop(ask)
        if not answer.cancelled():
            answer.exception()  # who never asks for it was not interested
        self._wake()

    async def ask(self, make: Callable[[int], Message], timeout: float) -> Answer:
        """Ask the broker; its answer. Raises UsageError, what it refuses with, or TimedOut."""
        self._check_ready()
        self.core.requests.check(make, self.core.limits)
        ask = self.core.requests.ask(make)
        answer = self._answers[ask] = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                result: Answer = await answer
                return result
        except BaseException as error:
            # In one turn with the end of our patience, as after a process was stopped, the answer may have come too.
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                self._give_back(answer.result())
            if isinstance(error, TimeoutError):
                raise TimedOut("answer", timeout) from error
            raise
        finally:
            del self._answers[ask]
            self.core.requests.forget(ask)

    def _check_ready(self) -> None:
        if self.closed:
            raise self.error or ClientClosedError("the client is closed")
        if self.core.state is ClientState.IDLE:
            raise ConfigError("the client is not connected: use it with 'async with'")

    def _give_back(self, answer: Answer) -> None:
        """Nobody takes this answer any more: leave the room that it may be."""
        if isinstance(answer, Membership):
            self.core.leave(answer)

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = self.core.tick(self._loop.time())
        if when is not None and not self.closed:
            self._timer = self._loop.call_at(when, self._tick)

    @property
    def _fields(self) -> dict[str, int]:
        """Of the log records about this client."""
        return {"client": self.core.data.ID}

    # The outbox of the core.

    def dial(self, contact: Contact) -> None:
        assert self._links is not None
        self._links.dial(contact)

    def hang_up(self, contact: Contact) -> None:
        if self._links is not None:
            self._links.hang_up(contact)

    def transmit(self, contact: Contact, frame: bytes) -> Sent:
        return self._links.transmit(contact, frame) if self._links is not None else Sent.GONE

    def open_downlink(self, membership: Membership, port: int, token: bytes) -> None:
        assert self._links is not None
        self._links.open_downlink(membership, port, token)

    def close_downlink(self, membership: Membership) -> None:
        if self._links is not None:
            self._links.close_downlink(membership)

    def fetch_credentials(self, ask: int) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
        self._fetching = self._loop.create_task(self._fetch_credentials(ask))

    async def _fetch_credentials(self, ask: int) -> None:
        assert self._give is not None
        try:
            given = self._give()
            if inspect.isawaitable(given):
                given = await given
            _check_credentials(given)
        except Exception as cause:  # noqa: BLE001  # the application's own; what it says may hold secrets
            error = CredentialsError(f"the credentials for {self._address} could not be had: {type(cause).__name__}")
            error.__cause__ = cause
            self.core.not_introduced(ask, error, self._loop.time())
        else:
            self.core.introduce(ask, given)
        self._tick()

    def opened(self, resumed: bool) -> None:
        self._tick()
        self._wake()

    def interrupted(self, reason: str) -> None:
        logger.info("client %d: %s; connecting again", self.core.data.ID, reason, extra=self._fields)
        self._loop.call_soon(self._tick)  # the next attempt may be due before what the timer was set for
        self._wake()

    def told(self, ask: int, message: Progress | Found | Listed) -> None:
        told = self._told.get(ask)
        if told is not None:
            told(message)
            self._wake()

    def party_changed(self, party: dict[str, Any]) -> None:
        self.on_party(party)
        self._wake()

    def answered(self, ask: int, answer: Answer | RemoteError) -> None:
        future = self._answers.get(ask)
        if future is None or future.done():
            if not isinstance(answer, RemoteError):
                self._loop.call_soon(self._give_back, answer)
            return
        if isinstance(answer, RemoteError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def replied(self, membership: Membership, number: int, reply: Any, error: RemoteError | None) -> None:
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
            logger.warning(
                "client %d: message %d was refused: %s", self.core.data.ID, number, error, extra=self._fields
            )
        self._wake()

    def progressed(self, membership: Membership) -> None:
        if membership.state is MembershipState.ENDED:
            error = NotInRoomError(str(membership.error or "the room is left"))
            self._fail([future for (where, _), future in self._replies.items() if where is membership], error)
        self._wake()

    def misrouted(self, epoch: int) -> None:
        self.misrouted_bundles += 1
        logger.warning(
            "client %d: dropped a bundle of another stream (epoch %d)", self.core.data.ID, epoch, extra=self._fields
        )

    def ended(self, error: ServerRoomError | None) -> None:
        self.error = error
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
