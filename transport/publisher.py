"""A port that topics are published on: an XPUB whose topics are granted one by one."""

import asyncio
from functools import partial
from time import perf_counter

import zmq

from ..protocol.ids import TOPIC_SIZE
from .locks import Lock
from .network import PublisherSink
from .pump import TopicPump
from .sockets import NOBLOCK, BareSocket, always_set, beat, bind, open_socket
from .watch import ByteWatch
from .zap import Gatekeeper

__all__ = ["ZmqPublisher"]

_SENDING = 0.0009
"""Seconds of sending after which the pump has its turn again. A send lets libzmq look at its mailbox once in
3,000,000 ticks of the processor's clock, 1 ms at 3 GHz; from one look to the next, everything is to be read."""


class ZmqPublisher:
    """An XPUB in manual mode. ``TopicPump`` reads it; this sends, and sees to it that the pump gets its turns."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        gate: Gatekeeper,
        watch: ByteWatch,
        host: str,
        port: int,
        sink: PublisherSink,
        largest: int,
        lock: Lock,
    ) -> None:
        self._gate = gate
        self._largest = largest
        self._scheduled = False
        self._overdue: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._socket = socket = open_socket(context, zmq.XPUB)
        domain = ""
        try:
            always_set(socket, largest)
            beat(socket)  # subscribers say nothing of their own
            domain = gate.install(socket, lock)
            socket.set(zmq.BACKLOG, 1024)
            self._pump = TopicPump(socket, lock, sink, self._wake, watch)
            bind(socket, host, port)
        except BaseException:
            if hasattr(self, "_pump"):
                self._pump.close()
            socket.close()
            if domain:
                gate.remove(domain)
            raise
        self._domain = domain
        # The bare method skips options that we never use, and is a third faster.
        self._send = partial(BareSocket.send, socket)
        self._pump_at = 0.0
        self._fd = socket.fileno()
        self._loop.add_reader(self._fd, self._turn)
        self._wake()

    @property
    def address(self) -> str:
        return self._socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")

    @property
    def connections(self) -> int:
        return len(self._pump.roll)

    def publish(self, topic: bytes, frame: bytes) -> None:
        assert len(topic) == TOPIC_SIZE
        assert len(frame) <= self._largest
        now = perf_counter()
        if now >= self._pump_at:
            self._pump.read()
            self._pump_at = now + _SENDING
        if not self._scheduled:
            self._wake()  # sending may swallow the edge that tells of arrivals
        self._send(topic + frame, NOBLOCK)

    def cut(self, peer: int) -> bool:
        attached = self._pump.roll.named(peer)
        return attached is None or self._pump.cut(attached)

    def pump(self) -> None:
        self._pump.pump()
        self._pump_at = perf_counter() + _SENDING
        self._watch_strangers()

    def close(self) -> None:
        if self._socket.closed:
            return
        if self._overdue is not None:
            self._overdue.cancel()
        self._loop.remove_reader(self._fd)
        self._pump.close()
        self._socket.close()
        self._gate.remove(self._domain)

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if self._socket.closed:
            return
        self._scheduled = False
        self.pump()

    def _watch_strangers(self) -> None:
        if self._overdue is None and (when := self._pump.roll.next_overdue()) is not None:
            self._overdue = self._loop.call_at(when, self._cut_strangers)

    def _cut_strangers(self) -> None:
        self._overdue = None
        for attached in self._pump.roll.overdue(self._loop.time()):
            self._pump.cut(attached)
        self._wake()
