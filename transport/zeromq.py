"""The network on ZeroMQ sockets: plain pyzmq, drained on asyncio's loop.

``zmq.asyncio`` is not used: it costs four times as much a message.
"""

import asyncio
import ctypes
import os

import zmq

from .link import ZmqLink
from .listener import ZmqListener
from .locks import Key, Lock
from .network import Link, LinkSink, Listener, ListenerSink, Publisher, PublisherSink, Subscription
from .publisher import ZmqPublisher
from .subscription import ZmqSubscription
from .watch import ByteWatch
from .zap import Gatekeeper

__all__ = ["ZmqNetwork"]


def _seed_routing_ids() -> None:
    # libzmq numbers its peers from an unseeded rand(): the first id is the same
    # in every process, and a peer that claims the next one makes it abort.
    ctypes.CDLL(None).srand(int.from_bytes(os.urandom(4), "little"))


class ZmqNetwork:
    """Listeners and links, publishers and subscriptions over TCP. One libzmq context, made when it is first needed."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._gate: Gatekeeper | None = None
        self._watch: ByteWatch | None = None

    def listen(self, host: str, port: int, sink: ListenerSink, largest: int, lock: Lock | None = None) -> Listener:
        """See ``Network.listen``."""
        return ZmqListener(
            self._open(), self._gatekeeper(), self._watching(), host, port, sink, largest, lock or Lock()
        )

    def connect(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Link:
        """See ``Network.connect``."""
        return ZmqLink(self._open(), address, sink, largest, key)

    def publish(self, host: str, port: int, sink: PublisherSink, largest: int, lock: Lock | None = None) -> Publisher:
        """See ``Network.publish``."""
        return ZmqPublisher(
            self._open(), self._gatekeeper(), self._watching(), host, port, sink, largest, lock or Lock()
        )

    def subscribe(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Subscription:
        """See ``Network.subscribe``."""
        return ZmqSubscription(self._open(), address, sink, largest, key)

    def close(self) -> None:
        """End the context and its threads; waits up to 0.5 s for frames that are leaving."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._context is not None:
            self._context.term()
            self._context = self._gate = None

    async def end(self) -> None:
        """The same without holding the loop up, and behind the last judgement about who may connect."""
        if self._gate is not None:
            await self._gate.ended()
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    def _gatekeeper(self) -> Gatekeeper:
        if self._gate is None:
            self._gate = Gatekeeper(self._open())
        return self._gate

    def _watching(self) -> ByteWatch:
        if self._watch is None:
            self._watch = ByteWatch()
        return self._watch

    def _open(self) -> "zmq.Context[zmq.Socket[bytes]]":
        if self._context is None:
            _seed_routing_ids()
            self._context = zmq.Context()
            self._context.set(zmq.MAX_SOCKETS, 65_536)
        return self._context
