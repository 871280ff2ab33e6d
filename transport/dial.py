"""Connecting once: what a link and a subscription have in common."""

import asyncio
import re

import zmq

from ..protocol.errors import ConfigError
from .locks import SEALED, CurveKey, Key, PlainKey, why_broken, why_mismatched, why_refused
from .network import Failure, LinkSink
from .sockets import EVENTS, LAST_PORT, MOST_A_TURN, NOBLOCK, POLLIN, Monitor, ZmqSocket, always_set, beat, open_socket

__all__ = ["Dial"]

_NEVER_MS = 3_600_000
_MISMATCH = 0x11000002
"""ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH"""
_COME_LATER = 300
_ADDRESS = re.compile(r"tcp://(?:[^\s\[\]:/\0]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


class Dial:
    """A socket that connects once, and is closed when that connection ends.

    Args:
        context: where the socket is made.
        kind: of the socket.
        address: where to connect to.
        sink: hears what happens.
        largest: bytes of the largest frame that is taken.
        key: what to open the port with.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        kind: int,
        address: str,
        sink: LinkSink,
        largest: int,
        key: Key | None,
    ) -> None:
        found = _ADDRESS.fullmatch(address)
        if found is None or not 1 <= int(found[1]) <= LAST_PORT:
            raise ConfigError(f"{address!r} is no address: write tcp://host:port")
        self._sink = sink
        self._key = key
        self.failure: Failure | None = None
        """See ``Link.failure``."""
        self._up = False
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        self._socket = socket = open_socket(context, kind)
        try:
            always_set(socket, largest + (SEALED if isinstance(key, CurveKey) else 0))
            beat(socket)
            _hold(socket, key)
            # libzmq's own reconnecting has no jitter and ends without a word after
            # some errors: whoever owns a link makes a new one instead, long before
            # this time. Neither "never" (-1) nor IMMEDIATE will do: with either of
            # them libzmq throws the last words of the server away when its
            # connection ends. What IMMEDIATE is for (no message for a dead server
            # may reach whoever binds the port next) holds because we close the
            # socket at the end of its first connection, and send only while it stands.
            socket.set(zmq.RECONNECT_IVL, _NEVER_MS)
            self._monitor = Monitor(
                socket,
                zmq.EVENT_HANDSHAKE_SUCCEEDED
                | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
                | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
                | zmq.EVENT_HANDSHAKE_FAILED_AUTH
                | zmq.EVENT_CLOSED
                | zmq.EVENT_DISCONNECTED,
                self._on_event,
            )
            socket.connect(address)
        except BaseException as error:
            if hasattr(self, "_monitor"):
                self._monitor.close()
            socket.close()
            if isinstance(error, zmq.ZMQError):
                raise ConfigError(f"{address!r} is no address: write tcp://host:port") from error
            raise
        self._fd = socket.fileno()
        self._loop.add_reader(self._fd, self._turn)

    def close(self) -> None:
        """See ``Link.close`` and ``Subscription.close``."""
        if self._socket.closed:
            return
        if not self._up:
            self._socket.set(zmq.LINGER, 0)
        self._up = False
        self._loop.remove_reader(self._fd)
        self._monitor.close()
        self._socket.close()

    def _take(self, frame: bytes) -> None:
        """A frame came."""
        raise NotImplementedError

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        for _ in range(MOST_A_TURN):
            if self._socket.closed:
                return
            try:
                frame = self._socket.recv(NOBLOCK, False)
            except zmq.Again:
                break
            if frame.more:
                while self._socket.recv(NOBLOCK, False).more:
                    pass
                self._fail("the server sent a message of more than one frame")
                return
            self._take(frame.bytes)
        if not self._socket.closed and int(self._socket.get(EVENTS)) & POLLIN:
            self._wake()

    def _on_event(self, event: int, value: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._up = True
            self._sink.up()
        elif event in (zmq.EVENT_CLOSED, zmq.EVENT_DISCONNECTED):
            self._turn()  # what came before the end
            self._fail("the connection was lost" if self._up else "nobody listens there")
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH and value > _COME_LATER:
            self.failure = Failure.REFUSED
            self._fail(why_refused(self._key))
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == _MISMATCH:
            self.failure = Failure.LOCKED
            self._fail(why_mismatched(self._key))
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL or isinstance(self._key, CurveKey):
            self.failure = Failure.LOCKED
            self._fail(why_broken(self._key))
        else:
            self._fail("the handshake failed")

    def _fail(self, reason: str) -> None:
        if not self._socket.closed:
            self._socket.set(zmq.LINGER, 0)  # there is nobody to send it to
            self.close()
            self._sink.down(reason)


def _hold(socket: ZmqSocket, key: Key | None) -> None:
    if isinstance(key, CurveKey):
        socket.set(zmq.CURVE_SERVERKEY, key.server)
        socket.set(zmq.CURVE_PUBLICKEY, key.keys.public)
        socket.set(zmq.CURVE_SECRETKEY, key.keys.secret)
    elif isinstance(key, PlainKey):
        socket.set(zmq.PLAIN_USERNAME, key.user.encode())
        socket.set(zmq.PLAIN_PASSWORD, key.password.encode("utf-8", "surrogateescape"))
