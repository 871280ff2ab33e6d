"""The only safe way to grant topics on an XPUB: the pump.

In manual mode a subscription does nothing by itself: whoever reads it says
which topics it stands for. But ``setsockopt(SUBSCRIBE)`` names no connection. It
acts on the pipe of the (un)subscription that was read last, and libzmq 4.3.5
keeps these pipes as raw pointers in a queue *beside* what is to be read. Where
the two get out of step, somebody gets another's topics. (With a reader that
looks only every 200 ms, 28 % of the newcomers got a stranger's topics.) The
rules that keep them in step stand beside the lines that follow them. The last
one, rule 7, is the clients': they drop what is not of their room and its epoch.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import zmq

from ..protocol.ids import TOPIC_SIZE
from .descriptors import is_spare
from .doorway import Doorway
from .locks import SEALED, Lock
from .network import PublisherSink
from .roll import MOST_SAID, Attached, Roll, Said
from .sockets import EVENTS, MOST_A_TURN, NOBLOCK, POLLIN, Monitor, ZmqSocket, never_stop_reading, shut_down, turn_away
from .watch import ByteWatch, on_the_wire
from .zap import vouched

__all__ = ["TopicPump"]

_SURE = 99
"""Receives after an EAGAIN within which libzmq does not look at its mailbox: it does so at each hundredth. There it
learns of lost connections and of new ones, which may be given the very memory of a lost one that is still queued."""
_HANDSHAKE = 1024
"""Bytes: the longest part of a handshake has some 600."""
_KERNEL_BUFFER = 4096
_SUBSCRIBE = int(zmq.SUBSCRIBE)


class TopicPump:
    """Reads what subscribers say and grants them topics.

    Rule 1: one plain socket, used by one thread. What receives on another schedule,
    as ``zmq.asyncio`` does, breaks the rules below.

    Args:
        socket: an XPUB that is not bound yet.
        lock: what it asks of those who connect.
        sink: says who gets what.
        wake: is called when a connection was lost, so that ``pump`` is called soon.
        watch: told of connections.
    """

    def __init__(
        self, socket: ZmqSocket, lock: Lock, sink: PublisherSink, wake: Callable[[], None], watch: ByteWatch
    ) -> None:
        self.roll = Roll()
        self._watch = watch
        self._doorway = Doorway(lock.porter)
        self._when_read: list[Callable[[], None]] = []
        self._socket = socket
        self._lock = lock
        self._sink = sink
        self._wake = wake
        self._lost: list[Attached] = []
        self._received = 0
        """Since the last EAGAIN."""
        self._in_step = True
        self._loop = asyncio.get_running_loop()
        socket.set(zmq.XPUB_MANUAL, 1)
        # XPUB_NODROP stays off: with it, one slow subscriber holds up all.
        never_stop_reading(socket)
        # Of a flood, no more comes than this after the connection is cut (2.7 s of work without it, 0.05 s with it).
        socket.set(zmq.RCVBUF, _KERNEL_BUFFER)
        # Rule 5: what is read while it is in step must be little.
        # What ZeroMQ says itself in a handshake with keys or passwords counts as well, and is longer.
        socket.set(zmq.MAXMSGSIZE, MOST_SAID if lock.keys is None and not lock.plain else _HANDSHAKE)
        self._monitor = Monitor(socket, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED, self._on_event)

    def pump(self) -> None:
        """Read, grant, and tell who is gone."""
        self.read()
        if not self._received:
            if self._when_read:
                self._monitor.pump()  # while the loop was held up, others may have got the descriptors
            when_read, self._when_read = self._when_read, []
            for then in when_read:
                then()
        lost, self._lost = self._lost, []
        for attached in lost:
            for token in attached.granted:
                self._sink.gone(token, attached.peer)

    def read(self) -> None:
        """Read and grant, and tell nobody what else happened: for the middle of something.

        Rule 2: this comes first whenever there is something to do, before anything
        sends: each call lets libzmq look at its mailbox, and it must not do so twice
        while anything lies unread. So what EVENTS finds is read at once, and always
        all there is; where it finds nothing, nothing lies unread. (Asking costs a
        fifth of a receive in vain.)
        """
        doubtful = self.roll.doubtful
        if not self._received and not int(self._socket.get(EVENTS)) & POLLIN:
            self.roll.settled(doubtful)
            return
        receive = self._socket.recv
        for _ in range(MOST_A_TURN):
            try:
                frame = receive(NOBLOCK, False)
            except zmq.Again:
                self._received, self._in_step = 0, True
                self.roll.settled(doubtful)
                return
            self._received += 1
            self._hear(frame)
        self._wake()  # somebody floods us, and will be cut; meanwhile others have their turn

    def cut(self, attached: Attached) -> bool:
        """Close a connection; False if that could not be done."""
        attached.cut = True
        return shut_down(attached.fd, partial(self._stands, attached))

    def close(self) -> None:
        """Listen to the socket's events no more."""
        self._watch.forget(self)
        self._doorway.close()
        self._monitor.close()

    def _hear(self, frame: zmq.Frame) -> None:
        message = frame.bytes
        if message[:1] not in (b"\0", b"\1"):
            # Rule 4: a user message has no entry in the queue of pipes, but takes
            # one out: from here on each subscription is taken for that of the next.
            # Only when both queues are empty are they in step again.
            self._in_step = False
        fd = _descriptor(frame)
        if fd is None:
            return  # libzmq's own word for a lost connection: it names the token, but not whose; the monitor does
        # The monitor hears of a loss before libzmq frees what the queue points to.
        # So whoever is not lost and not in doubt now is who the queue points to.
        self._monitor.pump()
        attached = self.roll.at(fd)
        if attached is None or attached.cut:
            return
        attached.heard += on_the_wire(len(message) + (SEALED if self._lock.keys is not None else 0))
        said = attached.say(message, self._loop.time())
        if said is Said.HOSTILE:
            self.cut(attached)
        elif said is Said.TOKEN and self._in_step and self._received <= _SURE:
            self._grant(attached, message[1:], frame)
        # Rule 4, once more: who is granted nothing presents its token again.

    def _grant(self, attached: Attached, token: bytes, frame: zmq.Frame) -> None:
        # Rule 3: since the receive nothing has touched the socket, nor does the sink.
        topics = self._sink.presented(token, attached.peer, vouched(self._lock, frame))
        for topic in topics:
            assert len(topic) == TOPIC_SIZE, "rule 5: of two sizes, one topic could be the beginning of another"
            self._socket.set(_SUBSCRIBE, topic)
        if topics:
            # Rule 6: who is here is known by token *and* connection. Cancelling a
            # subscription does not take what was granted for it: only closing does.
            self.roll.granted(attached, token)

    def _stands(self, attached: Attached) -> bool:
        self._monitor.pump()
        return self.roll.stands(attached)

    def _on_event(self, event: int, fd: int) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self.roll.accepted(fd, self._loop.time())
            self._watch.opened(self, fd, self._loop.time())
            if not self._doorway.opened(fd, self._loop.time()) or is_spare(fd):
                turn_away(fd)
            self._wake()
            return
        self._watch.closed(self, fd)
        self._doorway.closed(fd)
        attached = self.roll.lost(fd)
        if attached is not None and attached.granted:
            self._lost.append(attached)
        self._wake()

    # For the watch, see ``Watched``.

    def heard(self, fd: int) -> int:
        attached = self.roll.at(fd)
        return attached.heard if attached is not None else 0

    def largest(self, fd: int) -> int:
        return MOST_SAID

    def when_read(self, then: Callable[[], None]) -> None:
        self._when_read.append(then)
        self._wake()

    def flooded(self, fd: int) -> None:
        attached = self.roll.at(fd)
        if attached is not None:
            self._doorway.flooded(fd, self._loop.time())
            attached.cut = True
            shut_down(fd, partial(self._stands, attached), reset=True)


def _descriptor(frame: zmq.Frame) -> int | None:
    try:
        return int(frame.get("__fd"))
    except zmq.ZMQError:
        return None
