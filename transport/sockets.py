"""What all our sockets have in common: the options that we always set, binding, events, and cutting a peer.

The facts behind the options are libzmq 4.3.5's; each stands beside its line.
"""

import asyncio
import contextlib
import errno
import itertools
import os
import socket as sockets
import struct
from collections.abc import Callable

import zmq
from zmq.backend import Socket as BareSocket

from ..protocol.errors import AddressInUse, ConfigError

__all__ = [
    "EVENTS",
    "HEAD",
    "LAST_PORT",
    "MOST_A_TURN",
    "NOBLOCK",
    "POLLIN",
    "RCVMORE",
    "BareSocket",
    "Monitor",
    "ZmqSocket",
    "always_set",
    "beat",
    "bind",
    "never_stop_reading",
    "open_socket",
    "shut_down",
    "turn_away",
]

ZmqSocket = zmq.Socket[bytes]

# pyzmq converts its enum flags on every call; plain ints don't need it.
NOBLOCK = int(zmq.NOBLOCK)
HEAD = int(zmq.NOBLOCK | zmq.SNDMORE)
POLLIN = int(zmq.POLLIN)
EVENTS = int(zmq.EVENTS)
RCVMORE = int(zmq.RCVMORE)

MOST_A_TURN = 2048
"""Frames drained in one turn: enough to coalesce under load; other tasks run in between."""
LAST_PORT = 65_535
_QUEUED_FRAMES = 256
"""High-water mark for each peer, in frames. A frame is a whole bundle: up to 256 KiB."""
_LINGER_MS = 500
_MONITOR_NAMES = itertools.count(1)
_MONITOR_EVENT = struct.Struct("=HI")


def open_socket(context: "zmq.Context[ZmqSocket]", kind: int) -> ZmqSocket:
    """Make a socket. Raises ConfigError where there are no descriptors left for it."""
    try:
        return context.socket(kind)
    except zmq.ZMQError as error:
        raise ConfigError(f"no more sockets can be made: {error.strerror}. Raise the limit (ulimit -n).") from error


def always_set(socket: ZmqSocket, largest: int) -> None:
    """Set what every socket of ours has; ``largest``: bytes of one frame."""
    socket.set(zmq.LINGER, _LINGER_MS)  # the default waits forever at the end
    socket.set(zmq.MAXMSGSIZE, largest)  # unlimited by default; drops the peer before memory is taken
    socket.set(zmq.HANDSHAKE_IVL, 3_000)  # by default a slow handshake may hold a connection for 30 s
    socket.set(zmq.SNDHWM, _QUEUED_FRAMES)
    socket.set(zmq.RCVHWM, 1_000)


def beat(socket: ZmqSocket) -> None:
    """Let ZeroMQ's heartbeat end dead connections of this socket.

    Not for a ROUTER, which judges each of its connections by what is said on it. To end
    a timer, libzmq walks over those that are due before (``poller_base_t::cancel_timer``,
    a multimap), and each answer to a PING ends one: with n connections that is a walk over
    n timers, n times in five seconds. At 12,500 it took two thirds of a core.
    """
    socket.set(zmq.HEARTBEAT_IVL, 5_000)
    socket.set(zmq.HEARTBEAT_TIMEOUT, 15_000)


def never_stop_reading(socket: ZmqSocket) -> None:
    """Let a port's queues of what peers say have no limit: at one, a peer could end this process.

    Where such a queue is full, libzmq stops to read from the connection. If that
    is reset meanwhile, and a PING of ZeroMQ's own lies behind what was read, or a
    heartbeat of ours is due, an assertion of libzmq 4.3.5 fails (``!_io_error``,
    stream_engine_base.cpp). Who fills a queue is cut: by its rate when it is
    read, and by the watch.
    """
    socket.set(zmq.RCVHWM, 0)


def bind(socket: ZmqSocket, host: str, port: int) -> None:
    """Bind; port 0 takes a free one.

    Raises:
        AddressInUse: another program holds the port.
        ConfigError: the host can't be bound.
    """
    where = f"tcp://{host}:{port}" if port else f"tcp://{host}:*"
    if not 0 <= port <= LAST_PORT:  # libzmq would take it modulo 65,536
        raise ConfigError(f"can't listen on {where}: ports are 0 to {LAST_PORT}")
    try:
        socket.bind(where)
    except zmq.ZMQError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(where) from error
        raise ConfigError(f"can't listen on {where}: {error.strerror}. Give an address of this machine.") from error


_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with which a connection ends at once, and leaves nothing in the kernel either."""


def shut_down(fd: int, stands: Callable[[], bool], *, reset: bool = False) -> bool:
    """Cut the peer whose connection has this descriptor.

    Args:
        fd: the descriptor's number.
        stands: whether that connection still has it, as far as has been heard by now.
        reset: what was said to it last may be lost as well.

    Returns:
        False if the connection may go on standing, because there is no descriptor left to do it with.
    """
    # There is no call to drop a peer. Shutting a copy of its descriptor down
    # lets libzmq see the end of the stream and clean up by itself. The death of a
    # connection is told before its number is free again: if it still stands
    # when the copy has been made, the copy is of its descriptor and no other's.
    try:
        copied = os.dup(fd)
    except OSError as error:
        return error.errno == errno.EBADF  # closed just now, by the I/O thread
    if not stands():
        os.close(copied)
        return True
    with sockets.socket(fileno=copied) as copy:
        try:
            if reset:
                copy.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET)
            copy.shutdown(sockets.SHUT_RDWR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
    return True


def turn_away(fd: int) -> None:
    """Cut a connection that has just been accepted, because there are no descriptors left for it.

    Anybody can connect and stay. At the limit libzmq's listeners turn in
    circles, and it ends the process when it needs a descriptor to bind or to
    connect.
    """
    # None may be left to make a copy with. If its number went to another connection within this moment, that one is
    # just as new, and comes again.
    with contextlib.suppress(OSError):
        newcomer = sockets.socket(fileno=fd)
        try:
            newcomer.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET)
            newcomer.shutdown(sockets.SHUT_RDWR)
        finally:
            newcomer.detach()


class Monitor:
    """A socket's connection events, read on the loop's thread."""

    def __init__(self, socket: ZmqSocket, events: int, on_event: Callable[[int, int], None]) -> None:
        name = f"inproc://monitor-{os.getpid()}-{next(_MONITOR_NAMES)}"
        self._socket = socket
        self._on_event = on_event
        try:
            socket.monitor(name, events)
        except zmq.ZMQError as error:
            raise ConfigError(f"no more sockets can be made: {error.strerror}. Raise the limit (ulimit -n).") from error
        self._pair = open_socket(socket.context, zmq.PAIR)
        self._pair.set(zmq.LINGER, 0)
        self._pair.set(zmq.RCVHWM, 0)  # at a limit, libzmq's I/O thread would wait for us
        self._pair.connect(name)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pair.fileno(), self.pump)
        self._loop.call_soon(self.pump)

    def pump(self) -> None:
        """Handle every event that has been posted."""
        # Asking EVENTS costs a third of what a receive in vain does.
        while not self._pair.closed and int(self._pair.get(EVENTS)) & POLLIN:
            event, value = _MONITOR_EVENT.unpack(BareSocket.recv(self._pair, NOBLOCK))
            BareSocket.recv(self._pair, NOBLOCK)  # the endpoint
            self._on_event(event, value)

    def close(self) -> None:
        if not self._pair.closed:
            self._loop.remove_reader(self._pair.fileno())
            self._socket.disable_monitor()
            self._pair.close()
            self._on_event = _unheard  # its owner has us as well: it would wait for the cyclic collector


def _unheard(event: int, value: int) -> None:
    """Whoever was told has closed."""
