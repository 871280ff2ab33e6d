"""A watch on bytes that never become messages.

libzmq bounds how large a frame is and how many messages wait, but not how many
parts an unfinished message has: each takes 64 bytes of memory, two bytes on the
wire. Commands, such as ZeroMQ's own PING, it answers without telling anybody.
So whatever a connection has sent, as the kernel counts it (TCP_INFO), is
compared with the messages that were read from it.

Measured on a busy machine (AMD EPYC, two cores): a look at one connection takes 5 µs,
so that 1,000 connections that stand cost 0.6 % of a core, in slices of 0.25 ms; and
0.4 % goes for noticing 20 times a second whether memory has grown, while anybody is
connected, half of it for the timer. A message costs 0.1 µs more, to be counted.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import socket as sockets
import struct
import sys
import termios
from collections.abc import Callable
from typing import Protocol

from .descriptors import borrow

__all__ = ["Account", "ByteWatch", "Watched", "on_the_wire"]

logger = logging.getLogger(__name__.partition(".transport")[0] + ".transport")

_ROUND = 1.0
"""Seconds in which every connection is looked at once."""
_TICK = 0.05
_GROWN = 4 * 1024 * 1024
"""Bytes that this process may grow by before all connections are looked at soon."""
_OPENED = 64 * 1024
"""Bytes that each connection that is made may let it grow by besides: its queues, a session, a seat."""
_PRESSING = 64 * 1024 * 1024
"""Bytes that this process may grow by within a round, or while anybody has sent much that is no message: from there on
nobody is allowed more than the slack. Many connections may each send a little less than one may."""
_HASTY = 400
"""Looks in one tick then: about 1.5 ms."""
_SLACK = 16 * 1024
"""Bytes: a handshake, and what libzmq's thread has read (8 KiB at once) and not yet handed over."""
_BEATS = 32.0
"""Bytes a second that are forgiven: ZeroMQ's heartbeats, PING and PONG each 5 s, take 17 of them under CURVE."""


_BYTES_RECEIVED = struct.Struct("=128xQ")
"""tcpi_bytes_received in Linux's struct tcp_info, include/uapi/linux/tcp.h."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


def on_the_wire(size: int) -> int:
    """Bytes that a message of this size takes with its ZMTP frame (ZeroMQ RFC 23)."""
    return size + (2 if size < 256 else 9)


class Watched(Protocol):
    """A bound socket whose connections are watched."""

    def heard(self, fd: int) -> int:
        """Bytes of the messages that were read from this connection, with what ZeroMQ put around them."""
        ...

    def largest(self, fd: int) -> int:
        """Bytes of the largest message that this connection may send."""
        ...

    def when_read(self, then: Callable[[], None]) -> None:
        """Call back, in a turn, as soon as everything that has arrived by now has been read, and every end is known."""

    def flooded(self, fd: int) -> None:
        """This connection has sent too much that is no message: cut it at once."""


class Account:
    """What one connection has sent and nobody has heard, decided without sockets or clocks.

    Args:
        since: when the connection began, monotonic seconds.
    """

    __slots__ = ("_at", "_forgiven")

    def __init__(self, since: float) -> None:
        self._at = since
        self._forgiven = 0.0

    def look(self, arrived: int, heard: int, now: float) -> float:
        """How many bytes of ``arrived`` are not part of the messages heard, less what is forgiven by now.

        More heard than arrived is no credit: what ZeroMQ puts around a message is only estimated.
        """
        unheard = arrived - heard - self._forgiven
        spare = (now - self._at) * _BEATS
        self._at = now
        self._forgiven += min(unheard, spare)
        return max(unheard - spare, 0.0)

    def excess(self, arrived: int, heard: int) -> float:
        """The same, of an earlier count of what had arrived. Nothing more is forgiven."""
        return max(arrived - heard - self._forgiven, 0.0)


class ByteWatch:
    """Looks at all connections of one process.

    Everyone is looked at once a second; and all soon after this process has
    grown, because what floods it then is 32 times as large as what is sent.
    """

    def __init__(self) -> None:
        self._standing: dict[tuple[Watched, int], Account] = {}
        self._round: list[tuple[Watched, int, Account]] = []
        self._suspects: set[Account] = set()
        self._hasty = 0
        """Looks that are to be made at once."""
        self._size = 0
        self._calm = 0
        """The size of this process at the end of the last round in which nobody had sent more than the slack."""
        self._pressed = False
        self._rising = False
        """Whether somebody had, in this round."""
        self._timer: asyncio.TimerHandle | None = None
        self._statm: int | None = None
        self._can = sys.platform == "linux"
        if not self._can:
            logger.warning(
                "this system does not tell what connections have sent: "
                "one that sends bytes which are no messages is only cut for its silence"
            )
            return
        with contextlib.suppress(OSError):  # without /proc, every second has to do
            self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def opened(self, port: Watched, fd: int, now: float) -> None:
        """A connection stands."""
        if not self._can:
            return
        self._standing[port, fd] = Account(now)
        self._size += _OPENED
        if self._timer is None:
            self._size = self._calm = self._resident()
            self._arm()

    def closed(self, port: Watched, fd: int) -> None:
        """A connection is over."""
        account = self._standing.pop((port, fd), None)
        if account is not None:
            self._suspects.discard(account)

    def forget(self, port: Watched) -> None:
        """A port is closed."""
        for standing in [standing for standing in self._standing if standing[0] is port]:
            self.closed(*standing)

    def close(self) -> None:
        """Watch no more."""
        self._standing.clear()
        self._round.clear()
        self._suspects.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._statm is not None:
            os.close(self._statm)
            self._statm = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._standing:
            return
        self._arm()
        size = self._resident()
        if size > self._size + _GROWN:
            self._size, self._hasty = size, len(self._standing)
        self._pressed = size > self._calm + _PRESSING
        now = asyncio.get_running_loop().time()
        count = -int(-len(self._standing) * _TICK // _ROUND)
        if self._hasty:
            count = min(self._hasty, _HASTY)
            self._hasty -= count
        for _ in range(count):
            self._look_at_next(now)

    def _look_at_next(self, now: float) -> None:
        if not self._round:
            self._round = [(port, fd, account) for (port, fd), account in self._standing.items()]
            self._size = self._resident()
            if not self._rising:
                self._calm = self._size
            self._rising = False
        if not self._round:
            return
        port, fd, account = self._round.pop()
        if self._standing.get((port, fd)) is not account or account in self._suspects:
            return
        arrived = _arrived(fd)
        if arrived is None or (excess := account.look(arrived, port.heard(fd), now)) <= _SLACK:
            return
        self._rising = True
        if excess <= self._allowed(port, fd):
            return
        # What lies unread in the kernel is no message yet, and harmless: it has its bound there.
        arrived -= _unread(fd)
        if account.excess(arrived, port.heard(fd)) <= self._allowed(port, fd):
            return
        # Whole messages may wait to be read, when hooks hold us up: they are to be counted first.
        self._suspects.add(account)
        port.when_read(lambda: self._judge(port, fd, account, arrived))

    def _judge(self, port: Watched, fd: int, account: Account, arrived: int) -> None:
        self._suspects.discard(account)
        still = self._standing.get((port, fd)) is account
        if still and account.excess(arrived, port.heard(fd)) > self._allowed(port, fd):
            port.flooded(fd)

    def _allowed(self, port: Watched, fd: int) -> int:
        return _SLACK if self._pressed else 2 * port.largest(fd) + _SLACK

    def _resident(self) -> int:
        return int(os.pread(self._statm, 64, 0).split()[1]) * _PAGE if self._statm is not None else 0


def _arrived(fd: int) -> int | None:
    """Bytes that have come on a connection; None if it is no more."""
    try:
        borrowed = borrow(fd)
    except OSError:
        return None
    try:
        info = borrowed.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _BYTES_RECEIVED.size)
    except OSError:
        return None
    finally:
        borrowed.detach()  # it is libzmq's
    if len(info) < _BYTES_RECEIVED.size:  # a kernel before 4.1
        return None
    (received,) = _BYTES_RECEIVED.unpack(info)
    return int(received)


def _unread(fd: int) -> int:
    """Bytes of it that nobody has taken from the kernel."""
    waiting = bytearray(4)
    try:
        fcntl.ioctl(fd, termios.FIONREAD, waiting)
    except OSError:
        return 0
    return int.from_bytes(waiting, sys.byteorder)
