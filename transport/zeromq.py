"""The network on ZeroMQ sockets: plain pyzmq, drained on asyncio's loop.

The facts behind the options are libzmq 4.3.5's; each stands beside its line.
``zmq.asyncio`` is not used: it costs four times as much a message.
"""

import asyncio
import ctypes
import errno
import itertools
import os
import socket as sockets
import struct
from collections.abc import Callable, Sequence
from functools import partial

import zmq
from zmq.backend import Socket as BareSocket

from ..protocol.errors import AddressInUse, ConfigError
from .network import Link, LinkSink, Listener, ListenerSink, PeerSink, Sent

__all__ = ["ZmqNetwork"]

# pyzmq converts its enum flags on every call; plain ints don't need it.
_NOBLOCK = int(zmq.NOBLOCK)
_HEAD = int(zmq.NOBLOCK | zmq.SNDMORE)
_POLLIN = int(zmq.POLLIN)
_EVENTS = int(zmq.EVENTS)

_MOST_A_TURN = 2048
"""Frames drained in one turn: enough to coalesce under load; other tasks run in between."""
_QUEUED_FRAMES = 256
"""High-water mark for each peer, in frames. A frame is a whole bundle: up to 256 KiB."""
_REMEMBERED_DEAD = 4096
_LINGER_MS = 500
_MONITOR_NAMES = itertools.count(1)
_MONITOR_EVENT = struct.Struct("=HI")


def _seed_routing_ids() -> None:
    # libzmq numbers its peers from an unseeded rand(): the first id is the same
    # in every process, and a peer that claims the next one makes it abort.
    ctypes.CDLL(None).srand(int.from_bytes(os.urandom(4), "little"))


class ZmqNetwork:
    """Listeners and links over TCP. One libzmq context, made when it is first needed."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None

    def listen(self, host: str, port: int, sink: ListenerSink, largest: int) -> Listener:
        """See ``Network.listen``."""
        return _ZmqListener(self._open(), host, port, sink, largest)

    def connect(self, address: str, sink: LinkSink, largest: int) -> Link:
        """See ``Network.connect``."""
        return _ZmqLink(self._open(), address, sink, largest)

    def close(self) -> None:
        """End the context and its threads; waits up to 0.5 s for frames that are leaving."""
        if self._context is not None:
            self._context.term()
            self._context = None

    def _open(self) -> "zmq.Context[zmq.Socket[bytes]]":
        if self._context is None:
            _seed_routing_ids()
            self._context = zmq.Context()
            self._context.set(zmq.MAX_SOCKETS, 65_536)
        return self._context


def _always_set(socket: "zmq.Socket[bytes]", largest: int) -> None:
    socket.set(zmq.LINGER, _LINGER_MS)  # the default waits forever at the end
    socket.set(zmq.MAXMSGSIZE, largest)  # unlimited by default; drops the peer before memory is taken
    socket.set(zmq.HANDSHAKE_IVL, 3_000)  # by default a slow handshake may hold a connection for 30 s
    socket.set(zmq.HEARTBEAT_IVL, 5_000)
    socket.set(zmq.HEARTBEAT_TIMEOUT, 15_000)
    socket.set(zmq.SNDHWM, _QUEUED_FRAMES)
    socket.set(zmq.RCVHWM, 1_000)


class _Monitor:
    """A socket's connection events, read on the loop's thread."""

    def __init__(self, socket: "zmq.Socket[bytes]", events: int, on_event: Callable[[int, int], None]) -> None:
        name = f"inproc://monitor-{os.getpid()}-{next(_MONITOR_NAMES)}"
        self._socket = socket
        self._on_event = on_event
        socket.monitor(name, events)
        self._pair: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
        self._pair.set(zmq.LINGER, 0)
        self._pair.set(zmq.RCVHWM, 0)  # at a limit, libzmq's I/O thread would wait for us
        self._pair.connect(name)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pair.fileno(), self.pump)
        self._loop.call_soon(self.pump)

    def pump(self) -> None:
        """Handle every event that has been posted."""
        # Asking EVENTS costs a third of what a receive in vain does.
        while not self._pair.closed and int(self._pair.get(_EVENTS)) & _POLLIN:
            head, _ = self._pair.recv_multipart(_NOBLOCK)
            event, value = _MONITOR_EVENT.unpack(head)
            self._on_event(event, value)

    def close(self) -> None:
        if not self._pair.closed:
            self._loop.remove_reader(self._pair.fileno())
            self._socket.disable_monitor()
            self._pair.close()


class _Deaf:
    """In the place of a peer that was cut: what it still says is not heard."""

    def __init__(self, sink: PeerSink) -> None:
        self.gone = sink.gone

    def receive(self, frame: bytes) -> None:
        pass

    def violated(self, rule: str) -> None:
        pass


class _ZmqListener:
    """A ROUTER, drained in turns.

    Routing ids are addresses, never proof of who speaks: peers whose id libzmq
    did not make are not heard, and a peer is forgotten when its connection
    closes, so that nobody can take its place by claiming its id.
    """

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", host: str, port: int, sink: ListenerSink, largest: int
    ) -> None:
        self._sink = sink
        self._peers: dict[bytes, PeerSink] = {}
        self._fd_of: dict[bytes, int] = {}
        self._peer_at: dict[int, bytes] = {}
        self._dying: list[int] = []
        self._dead: dict[bytes, None] = {}
        self._in_turn = False
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        self._socket = socket = context.socket(zmq.ROUTER)
        try:
            _always_set(socket, largest)
            socket.set(zmq.ROUTER_MANDATORY, 1)  # say who is slow or gone, instead of dropping in silence
            socket.set(zmq.ROUTER_HANDOVER, 0)  # with it, a thief takes another's messages
            socket.set(zmq.BACKLOG, 1024)
            self._monitor = _Monitor(socket, zmq.EVENT_DISCONNECTED, self._on_event)
            self._bind(host, port)
        except BaseException:
            if hasattr(self, "_monitor"):
                self._monitor.close()
            socket.close()
            raise
        # The bare method skips options that we never use, and is a third faster.
        self._send = partial(BareSocket.send, socket)
        self._fd = socket.fileno()
        self._loop.add_reader(self._fd, self._turn)
        self.wake()

    def _bind(self, host: str, port: int) -> None:
        where = f"tcp://{host}:{port}" if port else f"tcp://{host}:*"
        try:
            self._socket.bind(where)
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(where) from error
            raise ConfigError(f"can't listen on {where}: {error.strerror}. Give an address of this machine.") from error

    @property
    def address(self) -> str:
        return self._socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def send(self, peer: bytes, frame: bytes) -> Sent:
        if not self._in_turn:
            self.wake()  # sending may swallow the edge that tells of arrivals
        try:
            self._send(peer, _HEAD)
            self._send(frame, _NOBLOCK)
        except zmq.Again:
            return Sent.FULL
        except zmq.ZMQError as error:
            if error.errno == errno.EHOSTUNREACH:
                return Sent.GONE
            raise
        return Sent.TAKEN

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]:
        send, head, last = self._send, _HEAD, _NOBLOCK
        failed: list[tuple[bytes, Sent]] = []
        for peer in peers:
            try:
                send(peer, head)
                send(frame, last)
            except zmq.Again:
                failed.append((peer, Sent.FULL))
            except zmq.ZMQError as error:
                if error.errno != errno.EHOSTUNREACH:
                    raise
                failed.append((peer, Sent.GONE))
        if not self._in_turn:
            self.wake()
        return failed

    def cut(self, peer: bytes) -> None:
        self._monitor.pump()
        fd = self._fd_of.get(peer)
        if fd is None or fd in self._dying:
            return
        self._peers[peer] = _Deaf(self._peers[peer])
        # There is no call to drop a peer. Shutting a copy of its descriptor down
        # lets libzmq see the end of the stream and clean up by itself.
        try:
            copy = sockets.socket(fileno=os.dup(fd))
        except OSError:
            return  # closed just now, by the I/O thread
        with copy:
            try:
                copy.shutdown(sockets.SHUT_RDWR)
            except OSError as error:
                if error.errno != errno.ENOTCONN:
                    raise

    def wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def close(self) -> None:
        if self._socket.closed:
            return
        self._loop.remove_reader(self._fd)
        self._monitor.close()
        self._socket.close()
        self._peers.clear()

    def _turn(self) -> None:
        if self._socket.closed:
            return
        self._scheduled = False
        self._in_turn = full_turn = True
        try:
            dying = len(self._dying)
            self._sink.begin(self._loop.time())
            full_turn = self._drain()
            if not full_turn:  # all that they said before they died has been heard
                for fd in self._dying[:dying]:
                    self._bury(fd)
                del self._dying[:dying]
            self._sink.flush()
        finally:
            self._in_turn = False
            # The descriptor is edge-triggered: after receiving and sending, only
            # EVENTS tells whether more has come meanwhile.
            if not self._socket.closed and (full_turn or int(self._socket.get(_EVENTS)) & _POLLIN):
                self.wake()

    def _drain(self) -> bool:
        receive = self._socket.recv
        peers = self._peers
        for _ in range(_MOST_A_TURN):
            try:
                peer = receive(_NOBLOCK)
            except zmq.Again:
                return False
            frame = receive(_NOBLOCK, False)
            if frame.more:
                self._several_frames(peer)
                continue
            known = peers.get(peer) or self._accept(peer, frame)
            if known is not None:
                known.receive(frame.bytes)
        return True

    def _accept(self, peer: bytes, frame: zmq.Frame) -> PeerSink | None:
        if len(peer) != 5 or peer[0] != 0 or peer in self._dead:
            return None  # an id of the peer's own choice, or a late word of one who is buried
        # Deaths that were posted up to now are of earlier connections: read them
        # before this descriptor number is given to a new one.
        self._monitor.pump()
        fd = int(frame.get("__fd"))
        if fd in self._dying:
            self._dying.remove(fd)
        self._bury(fd)
        known = self._peers[peer] = self._sink.accept(peer, str(frame.get("Peer-Address")))
        self._fd_of[peer] = fd
        self._peer_at[fd] = peer
        return known

    def _several_frames(self, peer: bytes) -> None:
        while self._socket.recv(_NOBLOCK, False).more:
            pass  # bounded by what one message holds; the watch on bytes is above us
        known = self._peers.get(peer)
        if known is not None:
            known.violated("a message of more than one frame")

    def _on_event(self, event: int, fd: int) -> None:
        self._dying.append(fd)
        self.wake()

    def _bury(self, fd: int) -> None:
        peer = self._peer_at.pop(fd, None)
        if peer is None:
            return
        del self._fd_of[peer]
        self._dead[peer] = None
        if len(self._dead) > _REMEMBERED_DEAD:
            del self._dead[next(iter(self._dead))]
        self._peers.pop(peer).gone()


class _ZmqLink:
    """A DEALER that connects once."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: str, sink: LinkSink, largest: int) -> None:
        self._sink = sink
        self._up = False
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        self._socket = socket = context.socket(zmq.DEALER)
        try:
            _always_set(socket, largest)
            # Messages for a dead server must not reach whoever binds the port next.
            socket.set(zmq.IMMEDIATE, 1)
            # libzmq's own reconnecting has no jitter and ends without a word after
            # some errors: whoever owns a link makes a new one instead.
            socket.set(zmq.RECONNECT_IVL, -1)
            self._monitor = _Monitor(
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

    def send(self, frame: bytes) -> Sent:
        if not self._up:
            return Sent.GONE
        self._wake()
        try:
            self._socket.send(frame, _NOBLOCK)
        except zmq.Again:
            return Sent.FULL
        return Sent.TAKEN

    def close(self) -> None:
        if self._socket.closed:
            return
        self._up = False
        self._loop.remove_reader(self._fd)
        self._monitor.close()
        self._socket.close()

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        for _ in range(_MOST_A_TURN):
            if self._socket.closed:
                return
            try:
                frame = self._socket.recv(_NOBLOCK, False)
            except zmq.Again:
                break
            if frame.more:
                while self._socket.recv(_NOBLOCK, False).more:
                    pass
                self._fail("the server sent a message of more than one frame")
                return
            self._sink.receive(frame.bytes)
        if not self._socket.closed and int(self._socket.get(_EVENTS)) & _POLLIN:
            self._wake()

    def _on_event(self, event: int, value: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._up = True
            self._sink.up()
        elif event in (zmq.EVENT_CLOSED, zmq.EVENT_DISCONNECTED):
            self._turn()  # what came before the end
            self._fail("the connection was lost" if self._up else "nobody listens there")
        else:
            self._fail("the handshake failed")

    def _fail(self, reason: str) -> None:
        if not self._socket.closed:
            self.close()
            self._sink.down(reason)
