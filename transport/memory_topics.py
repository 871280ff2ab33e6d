"""Publishers and subscriptions of the network in memory.

Who is granted what is decided by the same ``Roll`` as on real sockets. The
connections of this network have no descriptors: their numbers stand for them.
"""

import asyncio
from collections import deque
from contextvars import copy_context
from random import Random
from typing import TYPE_CHECKING

from ..protocol.ids import TOPIC_SIZE
from .locks import Key, Lock, Vouched
from .memory_wires import FarEnd, Wire, open_port
from .network import Failure, LinkSink, PublisherSink
from .roll import MOST_SAID, Attached, Roll, Said
from .tokens import Tokens

if TYPE_CHECKING:
    from .memory import MemoryNetwork

__all__ = ["MemoryPublisher", "MemorySubscription"]


class MemoryPublisher:
    """A bound port that topics are published on."""

    largest = MOST_SAID

    heartbeat: float | None = 15.0

    def __init__(self, network: "MemoryNetwork", address: str, sink: PublisherSink, largest: int, lock: Lock) -> None:
        self.address = address
        self.lock = lock
        self.context = copy_context()
        self._network = network
        self._sink = sink
        self._most = largest
        self._roll = Roll()
        self._wires: dict[int, Wire] = {}
        self._vouched: dict[int, Vouched] = {}
        self._topics: dict[bytes, dict[int, None]] = {}
        """Which connections were granted it, in the order of granting."""
        self._inbox: deque[tuple[int, bytes | None]] = deque()  # None: the end
        self._scheduled = False
        self._closed = False
        self._overdue: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def connections(self) -> int:
        """See ``Publisher.connections``."""
        return len(self._roll)

    def publish(self, topic: bytes, frame: bytes) -> None:
        """See ``Publisher.publish``."""
        assert len(topic) == TOPIC_SIZE
        assert len(frame) <= self._most
        for number in self._topics.get(topic, ()):
            wire = self._wires.get(number)
            if wire is not None:
                wire.down.send(topic + frame)  # whose queue is full misses it

    def cut(self, peer: int) -> bool:
        """See ``Publisher.cut``."""
        attached = self._roll.named(peer)
        if attached is not None and not attached.cut:
            self._cut(attached)
        return True

    def pump(self) -> None:
        """See ``Publisher.pump``."""
        for _ in range(len(self._inbox)):
            number, message = self._inbox.popleft()
            if message is None:
                self._forget(number)
            else:
                self._hear(number, message)

    def close(self) -> None:
        """See ``Publisher.close``."""
        if self._closed:
            return
        self._closed = True
        if self._overdue is not None:
            self._overdue.cancel()
        self._network.forget(self.address)
        for wire in list(self._wires.values()):
            wire.far_closed()
        self._wires.clear()
        self._topics.clear()

    def misgrant(self, random: Random) -> bool:
        """Grant a random connection a topic of another one's, if there are such."""
        wrong = [
            (topic, number)
            for topic, granted in self._topics.items()
            for number in self._wires
            if number not in granted and not granted.keys().isdisjoint(self._wires)
        ]
        if not wrong:
            return False
        topic, number = random.choice(wrong)
        self._topics[topic][number] = None
        return True

    # What wires tell.

    def accepted(self, wire: Wire, vouched: Vouched) -> None:
        """A connection stands."""
        number = _number(wire.name)
        self._wires[number] = wire
        self._vouched[number] = vouched
        self._roll.accepted(number, self._loop.time())
        self._watch_strangers()

    def arrived(self, peer: bytes, frame: bytes) -> None:
        """A subscriber said something."""
        self._inbox.append((_number(peer), frame))
        self._wake()

    def lost(self, peer: bytes) -> None:
        """A connection is lost."""
        self._wires.pop(_number(peer), None)
        self._inbox.append((_number(peer), None))
        self._wake()

    def _hear(self, number: int, message: bytes) -> None:
        attached = self._roll.at(number)
        if attached is None or attached.cut:
            return
        said = attached.say(message, self._loop.time())
        if said is Said.HOSTILE:
            self._cut(attached)
        elif said is Said.TOKEN:
            topics = self._sink.presented(message[1:], attached.peer, self._vouched[number])
            for topic in topics:
                assert len(topic) == TOPIC_SIZE
                self._topics.setdefault(topic, {})[number] = None
            if topics:
                self._roll.granted(attached, message[1:])

    def _cut(self, attached: Attached) -> None:
        attached.cut = True
        wire = self._wires.pop(attached.fd, None)
        if wire is not None:
            wire.far_closed()
            self.lost(wire.name)

    def _forget(self, number: int) -> None:
        attached = self._roll.lost(number)
        self._vouched.pop(number, None)
        self._roll.settled((number,))  # here, numbers are given once
        for topic in [topic for topic, granted in self._topics.items() if number in granted]:
            del self._topics[topic][number]
            if not self._topics[topic]:
                del self._topics[topic]
        if attached is not None:
            for token in attached.granted:
                self._sink.gone(token, attached.peer)

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn, context=self.context)

    def _turn(self) -> None:
        self._scheduled = False
        if not self._closed:
            self.pump()

    def _watch_strangers(self) -> None:
        if self._overdue is None and (when := self._roll.next_overdue()) is not None:
            self._overdue = self._loop.call_at(when, self._cut_strangers, context=self.context)

    def _cut_strangers(self) -> None:
        self._overdue = None
        for attached in self._roll.overdue(self._loop.time()):
            self._cut(attached)
        self._watch_strangers()


class MemorySubscription:
    """One life of one connection to a publisher."""

    def __init__(self, network: "MemoryNetwork", address: str, sink: LinkSink, largest: int, key: Key | None) -> None:
        self.largest = TOPIC_SIZE + largest
        self.failure: Failure | None = None
        self._key = key
        self.context = copy_context()
        self._network = network
        self._sink: LinkSink | None = sink
        self._wire: Wire | None = None
        self._tokens = Tokens(self._show)
        network.reach(address, self._answered)

    @property
    def over(self) -> bool:
        """Whether it was closed or lost."""
        return self._sink is None

    def present(self, token: bytes) -> None:
        """See ``Subscription.present``."""
        if self._wire is not None:
            self._tokens.present(token)

    def close(self) -> None:
        """See ``Subscription.close``."""
        wire, self._wire, self._sink = self._wire, None, None
        self._tokens.end()
        if wire is not None:
            wire.near_closed()

    # What wires tell.

    def opened(self, wire: Wire) -> None:
        """The connection stands."""
        self._wire = wire
        if self._sink is not None:
            self._sink.up()

    def arrived(self, frame: bytes) -> None:
        """Something was published."""
        self._tokens.heard(frame[:TOPIC_SIZE])
        if self._sink is not None:
            self._sink.receive(frame[TOPIC_SIZE:])

    def lost(self, reason: str) -> None:
        """The connection is lost."""
        sink, self._sink, self._wire = self._sink, None, None
        self._tokens.end()
        if sink is not None:
            sink.down(reason)

    def _answered(self, port: FarEnd | None, why_not: str) -> None:
        open_port(self._network, self, self._key, port, why_not, MemoryPublisher)

    def _show(self, token: bytes) -> None:
        if self._wire is not None:
            self._wire.up.send(b"\1" + token)


def _number(name: bytes) -> int:
    return int.from_bytes(name, "big")
