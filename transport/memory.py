"""The network in memory: same contract, virtual time, seeded faults.

Frames take a random time between ``latency`` bounds and stay in order on each
connection, and on each alone. A connection can be cut, which loses what is on
its way behind a random prefix, as TCP does; or stalled, both ways or one, so
that it is silent without being closed. Queues have the same high-water mark as
the real ones, and take more again as those do: when half of it was read.

Whatever an end hears, it hears in the context in which it was made: where the
ends are processes of a simulation, each has its own.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from random import Random

from ..protocol.errors import AddressInUse, ConfigError
from .locks import Key, Lock, Vouched
from .memory_topics import MemoryPublisher, MemorySubscription
from .memory_wires import HERE, FarEnd, NearEnd, Wire, open_port
from .network import (
    Failure,
    Link,
    LinkSink,
    Listener,
    ListenerSink,
    PeerSink,
    Publisher,
    PublisherSink,
    Sent,
    Subscription,
)

__all__ = ["MemoryNetwork"]

_HANDSHAKE = 3.0
"""Seconds that a handshake may take."""
_LOOK_AGAIN = 0.1


class MemoryNetwork:
    """Listeners and links, publishers and subscriptions inside one process, on the running event loop.

    Args:
        seed: decides latencies and what is lost; the same seed runs the same.
        latency: shortest and longest time of a frame on its way, in seconds.
    """

    def __init__(self, seed: int = 0, latency: tuple[float, float] = (0.0005, 0.002)) -> None:
        self.random = Random(seed)
        self.latency = latency
        self.mark = 256
        """Frames that one way of a connection takes before it is full."""
        self.handshake = (0.0, 0.0)
        """Shortest and longest time of a handshake, besides the way of its frames. None takes more than 3 s."""
        self.parting = (0.0, 0.0)
        """Shortest and longest time in which a publisher learns that a subscriber is gone, besides the way."""
        self._bound: dict[str, FarEnd] = {}
        self._wires: dict[Wire, None] = {}
        self._ports = itertools.count(40_001)
        self._names = itertools.count(1)

    def listen(self, host: str, port: int, sink: ListenerSink, largest: int, lock: Lock | None = None) -> Listener:
        """See ``Network.listen``."""
        listener = _MemoryListener(self, self._free(host, port), sink, largest, lock or Lock())
        self._bound[listener.address] = listener
        return listener

    def connect(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Link:
        """See ``Network.connect``."""
        _check(address)
        return _MemoryLink(self, address, sink, largest, key)

    def publish(self, host: str, port: int, sink: PublisherSink, largest: int, lock: Lock | None = None) -> Publisher:
        """See ``Network.publish``."""
        publisher = MemoryPublisher(self, self._free(host, port), sink, largest, lock or Lock())
        self._bound[publisher.address] = publisher
        return publisher

    def subscribe(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Subscription:
        """See ``Network.subscribe``."""
        _check(address)
        return MemorySubscription(self, address, sink, largest, key)

    def close(self) -> None:
        """Cut what is left."""
        for wire in list(self._wires):
            wire.sever()

    @property
    def connections(self) -> int:
        """How many connections stand."""
        return len(self._wires)

    @property
    def standing(self) -> list[Wire]:
        """The connections that stand, oldest first."""
        return list(self._wires)

    def cut_one(self) -> bool:
        """Cut a random connection; its frames on the way are lost behind a random prefix.

        Returns:
            Whether there was one to cut.
        """
        if not self._wires:
            return False
        self.random.choice(list(self._wires)).cut()
        return True

    def stall_one(self) -> bool:
        """Let a random connection go silent both ways, without a word, for good."""
        standing = [wire for wire in self._wires if not wire.stalled]
        if not standing:
            return False
        self.random.choice(standing).stall()
        return True

    def misgrant_one(self) -> bool:
        """Grant a random subscriber a topic of another one's, as a fault of libzmq could.

        Returns:
            Whether there was somebody who had a topic that somebody else had not.
        """
        publishers = [bound for bound in self._bound.values() if isinstance(bound, MemoryPublisher)]
        self.random.shuffle(publishers)
        return any(publisher.misgrant(self.random) for publisher in publishers)

    def find(self, address: str) -> FarEnd | None:
        return self._bound.get(address)

    def forget(self, address: str) -> None:
        self._bound.pop(address, None)

    def wire(self, near: NearEnd, far: FarEnd) -> "Wire":
        name = b"\0" + next(self._names).to_bytes(4, "big")
        wire = Wire(self, name, near, far)
        self._wires[wire] = None
        return wire

    def unwire(self, wire: "Wire") -> None:
        self._wires.pop(wire, None)

    def delay(self) -> float:
        return self.random.uniform(*self.latency)

    def reach(self, address: str, answered: Callable[[FarEnd | None, str], None]) -> None:
        """Tell who is bound there, when it has answered, or why nobody has."""
        loop = asyncio.get_running_loop()
        takes = 2 * self.delay() + self.random.uniform(*self.handshake)
        loop.call_later(takes, self._reached, address, answered, loop.time())

    def _reached(self, address: str, answered: Callable[[FarEnd | None, str], None], began: float) -> None:
        bound, loop = self.find(address), asyncio.get_running_loop()
        if bound is None:
            answered(None, "nobody listens there")
        elif loop.time() - began > _HANDSHAKE:
            answered(None, "the handshake took too long")
        elif self.absent(bound.context):
            loop.call_later(_LOOK_AGAIN, self._reached, address, answered, began)
        else:
            answered(bound, "")

    def absent(self, context: Context) -> bool:
        """Whether nobody hears anything in this context now, though it comes. Here, everybody does."""
        return False

    def _free(self, host: str, port: int) -> str:
        address = f"tcp://{host}:{port or next(self._ports)}"
        if address in self._bound:
            raise AddressInUse(address)
        return address


def _check(address: str) -> None:
    if not address.startswith("tcp://") or ":" not in address.removeprefix("tcp://"):
        raise ConfigError(f"{address!r} is no address: write tcp://host:port")


class _MemoryListener:
    heartbeat: float | None = None

    def __init__(self, network: MemoryNetwork, address: str, sink: ListenerSink, largest: int, lock: Lock) -> None:
        self.address = address
        self.largest = largest
        self.lock = lock
        self.context = copy_context()
        self._network = network
        self._sink = sink
        self._wires: dict[bytes, Wire] = {}
        self._silent: dict[bytes, float] = {}
        self._vouched: dict[bytes, Vouched] = {}
        self._peers: dict[bytes, PeerSink] = {}
        self._inbox: deque[tuple[bytes, bytes | None]] = deque()
        self._scheduled = False
        self._closed = False
        self._loop = asyncio.get_running_loop()

    def accepted(self, wire: Wire, vouched: Vouched) -> None:
        self._wires[wire.name] = wire
        self._vouched[wire.name] = vouched
        self._silent[wire.name] = self._loop.time()

    def arrived(self, peer: bytes, frame: bytes) -> None:
        self._inbox.append((peer, frame))
        self.wake()

    def lost(self, peer: bytes) -> None:
        self._wires.pop(peer, None)
        self._silent.pop(peer, None)
        self._inbox.append((peer, None))
        self.wake()

    def send(self, peer: bytes, frame: bytes) -> Sent:
        wire = self._wires.get(peer)
        return wire.down.send(frame) if wire is not None else Sent.GONE

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]:
        outcomes = [(peer, self.send(peer, frame)) for peer in peers]
        return [(peer, sent) for peer, sent in outcomes if sent is not Sent.TAKEN]

    def cut(self, peer: bytes) -> None:
        wire = self._wires.pop(peer, None)
        self._silent.pop(peer, None)
        if wire is not None:
            wire.far_closed()
            self._inbox = deque(waiting for waiting in self._inbox if waiting[0] != peer)
            self._inbox.append((peer, None))
            self.wake()

    def cut_silent(self, before: float) -> None:
        for peer in [peer for peer, since in self._silent.items() if since < before]:
            self.cut(peer)

    def together(self, work: Callable[[], None]) -> None:
        work()

    def wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn, context=self.context)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._network.forget(self.address)
        for wire in list(self._wires.values()):
            wire.far_closed()
        self._wires.clear()
        self._peers.clear()

    def _turn(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        self._sink.begin(self._loop.time())
        for _ in range(len(self._inbox)):
            if not self._inbox:
                break  # a peer was cut meanwhile
            peer, frame = self._inbox.popleft()
            known = self._peers.get(peer)
            if frame is None:
                self._vouched.pop(peer, None)
                if known is not None:
                    del self._peers[peer]
                    known.gone()
                continue
            if known is None:
                self._silent.pop(peer, None)
                known = self._peers[peer] = self._sink.accept(peer, HERE, self._vouched.pop(peer))
            known.receive(frame)
        self._sink.flush()


class _MemoryLink:
    def __init__(self, network: MemoryNetwork, address: str, sink: LinkSink, largest: int, key: Key | None) -> None:
        self.largest = largest
        self.failure: Failure | None = None
        self._key = key
        self.context = copy_context()
        self._network = network
        self._sink: LinkSink | None = sink
        self._wire: Wire | None = None
        network.reach(address, self._answered)

    def _answered(self, port: FarEnd | None, why_not: str) -> None:
        open_port(self._network, self, self._key, port, why_not, _MemoryListener)

    def opened(self, wire: Wire) -> None:
        self._wire = wire
        if self._sink is not None:
            self._sink.up()

    @property
    def over(self) -> bool:
        return self._sink is None

    def arrived(self, frame: bytes) -> None:
        if self._sink is not None:
            self._sink.receive(frame)

    def lost(self, reason: str) -> None:
        sink, self._sink, self._wire = self._sink, None, None
        if sink is not None:
            sink.down(reason)

    def send(self, frame: bytes) -> Sent:
        return self._wire.up.send(frame) if self._wire is not None else Sent.GONE

    def close(self) -> None:
        wire, self._wire, self._sink = self._wire, None, None
        if wire is not None:
            wire.near_closed()
