"""A connection to a broker for who administers it: connect, prove, command."""

import asyncio
import contextlib
import random
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..protocol.backoff import Backoff
from ..protocol.cluster import ClusterKind, ClusterMessage, encode_cluster, parse_cluster
from ..protocol.codec import decoder
from ..protocol.errors import BadMessage, BrokerUnreachable, RemoteError, TimedOut, UnknownKind, WrongKey
from ..protocol.messages import Message, parse
from ..transport.curve import cluster_pair
from ..transport.entropy import EntropyPool
from ..transport.keys import find_key, find_server_key
from ..transport.locks import CurveKey
from ..transport.network import Failure, Link, Network, Sent
from ..transport.zeromq import ZmqNetwork
from .admin_talk import AdminState, AdminTalk

__all__ = ["AdminClient", "BrokerPass", "ask_broker", "broker_pass"]

_LARGEST = 64 * 1024 * 1024
"""Bytes of one answer, from a broker that has proved who it is."""
_LARGEST_UNPROVED = 4096
_NESTING = 64
_NOT_IN = "the broker does not let us in: give --key-file the cluster key that it was started with"
_LONGEST_PAUSE = 0.5
_FIRST_CLUSTER_KIND = int(min(ClusterKind))

T = TypeVar("T")

_decode = decoder(_LARGEST, _LARGEST, _NESTING, _LARGEST)


@dataclass(frozen=True, slots=True)
class BrokerPass:
    """What lets somebody administer a broker."""

    cluster: bytes = field(repr=False)
    """The cluster key."""
    server: bytes | None = None
    """The public key of the broker's port, if that encrypts."""

    def key(self) -> CurveKey | None:
        """What opens the broker's port."""
        return CurveKey(self.server, cluster_pair(self.cluster)) if self.server is not None else None


def broker_pass(address: str, key_file: Path | None, server_key: bytes | None) -> BrokerPass:
    """The keys for the broker at this address: those that are given, or those of a broker of this machine.

    Args:
        address: the broker's, for clients.
        key_file: holds the cluster key; None: the environment does, or it is the local broker's.
        server_key: the public key of the broker's port; None: it has none, or it is the local broker's.

    Raises:
        ConfigError: there is no cluster key; says where it looked.
    """
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    local = int(port) if _is_here(host.strip("[]")) else None
    if server_key is None and local is not None:
        server_key = find_server_key(local)
    return BrokerPass(find_key(local, key_file), server_key)


def ask_broker(address: str, key: BrokerPass, timeout: float, do: "Callable[[AdminClient], Awaitable[T]]") -> T:
    """Connect, let ``do`` say its commands, and hang up. For a command without a loop of its own.

    Raises:
        BrokerUnreachable, TimedOut, WrongKey, RemoteError: see ``AdminClient``.
    """

    async def ask() -> T:
        async with AdminClient(address, key, timeout) as client:
            return await do(client)

    return asyncio.run(ask())


class AdminClient:
    """An administrator of one broker, on an event loop. Use it with ``async with``.

    It does not reconnect: when the connection is lost, make another.

    Args:
        address: the broker's address for clients, ``tcp://host:port``.
        key: the keys for it.
        timeout: seconds to connect, and seconds for each answer.
        network: real sockets, unless tests give another one.

    Raises (on entering):
        BrokerUnreachable: nobody answered as a broker.
        WrongKey: the broker has another key.
        RemoteError: it refuses for another reason.
        ConfigError: the address can't be one.
    """

    def __init__(self, address: str, key: BrokerPass, timeout: float = 5.0, network: Network | None = None) -> None:
        self.address = address
        self.software = ""
        """What the broker calls itself."""
        self._key = key
        self._timeout = timeout
        self._network = network
        self._own_network: ZmqNetwork | None = None
        self._line: _Line | None = None

    async def __aenter__(self) -> "AdminClient":
        if self._network is None:
            self._network = self._own_network = ZmqNetwork()
        try:
            await self._open(self._network)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._close()

    async def command(self, name: str, **arguments: Any) -> Any:
        """Have the broker do or tell something; what it answers.

        Raises:
            RequestError: the broker says why not.
            TimedOut: no answer came; it may do it still.
            BrokerUnreachable: the connection was lost meanwhile; it may have done it.
        """
        line = self._line
        if line is None:
            raise BrokerUnreachable(self.address, 0.0, 0)
        return await line.ask(name, arguments, self._timeout)

    async def _open(self, network: Network) -> None:
        backoff = Backoff(random.SystemRandom().random, _LONGEST_PAUSE)
        reason = ""
        try:
            async with asyncio.timeout(self._timeout):
                while self._line is None:
                    line = _Line(self.address, self._key, network)
                    try:
                        self.software = await line.admission
                        self._line = line
                    except BrokerUnreachable as error:
                        reason = error.reason
                        await asyncio.sleep(backoff.next())
                    finally:
                        if self._line is None:
                            line.close()
        except TimeoutError:
            raise BrokerUnreachable(self.address, self._timeout, backoff.attempts + 1, reason) from None

    async def _close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._own_network is not None:
            await self._own_network.end()
            self._own_network = None


class _Line:
    """One connection: the sink of its link, and the outbox of its conversation."""

    def __init__(self, address: str, key: BrokerPass, network: Network) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self.admission: asyncio.Future[str] = self._loop.create_future()
        """Done when the broker hears us: what it calls itself, or the error that it refuses with."""
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._since = self._loop.time()
        self._talk = AdminTalk(key.cluster, self, EntropyPool())
        self._link: Link | None = network.connect(address, self, _LARGEST, key.key())

    async def ask(self, name: str, arguments: dict[str, Any], timeout: float) -> Any:
        if self._talk.state is not AdminState.TRUSTED:
            raise self._lost()
        ask = self._talk.command(name, arguments)
        answer = self._answers[ask] = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise TimedOut(f"answer from {self._address}", timeout) from None
        finally:
            del self._answers[ask]

    def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self.admission.cancel()

    # The sink of the link.

    def up(self) -> None:
        self._talk.up()

    def receive(self, frame: bytes) -> None:
        if self._talk.state is AdminState.OVER:
            return
        try:
            if self._talk.state is not AdminState.TRUSTED and len(frame) > _LARGEST_UNPROVED:
                raise BadMessage("too long for who has proved nothing")
            self._talk.receive(_read(_decode(frame)))
        except (BadMessage, UnknownKind) as error:
            self.refused(error)

    def down(self, reason: str) -> None:
        link, self._link = self._link, None
        self._talk.lost()
        failure = link.failure if link is not None else None
        if failure is Failure.REFUSED:
            self._fail(WrongKey(_NOT_IN))
        else:
            self._fail(self._lost("" if failure is None else reason))

    # The outbox of the conversation.

    def transmit(self, message: ClusterMessage) -> None:
        if self._link is not None and self._link.send(encode_cluster(message)) is not Sent.TAKEN:
            self.close()
            self.down("it took nothing")

    def admitted(self, software: str) -> None:
        if not self.admission.done():
            self.admission.set_result(software)

    def answered(self, ask: int, answer: Any) -> None:
        future = self._answers.get(ask)
        if future is None or future.done():
            return
        if isinstance(answer, RemoteError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def refused(self, error: RemoteError) -> None:
        self._fail(error)

    def _lost(self, reason: str = "") -> BrokerUnreachable:
        return BrokerUnreachable(self._address, self._loop.time() - self._since, 1, reason)

    def _fail(self, error: Exception) -> None:
        for future in (self.admission, *self._answers.values()):
            if not future.done():
                future.set_exception(error)


def _read(value: Any) -> ClusterMessage | Message:
    if type(value) is list and value and type(value[0]) is int and value[0] >= _FIRST_CLUSTER_KIND:
        return parse_cluster(value)
    return parse(value)


def _is_here(host: str) -> bool:
    """Whether an address is one of this machine's: then its broker's key may lie here."""
    with contextlib.suppress(OSError):
        for family, kind, protocol, _, where in socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM):
            with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as trial:
                trial.bind(where)
                return True
    return False
