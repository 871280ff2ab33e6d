"""Where the contract is tested: a network of either kind, and sinks that write down what they hear.

The network in memory runs on a virtual clock; real sockets run on a real loop,
and whatever is waited for has a time limit.
"""

import asyncio
import functools
import itertools
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import zmq

from server_room_system.testing import run
from server_room_system.transport import (
    Key,
    Link,
    Listener,
    Lock,
    MemoryNetwork,
    Network,
    Publisher,
    Sent,
    Subscription,
    Vouched,
    ZmqNetwork,
)
from server_room_system.transport.memory_topics import MemorySubscription
from server_room_system.transport.subscription import ZmqSubscription

__all__ = ["LARGEST", "Ear", "Gate", "Ground", "Mouth", "Voice", "on_both", "on_memory", "on_zeromq", "shout"]

LARGEST = 64 * 1024
PATIENCE = 10.0
"""Seconds that anything may take."""
HOST = "127.0.0.1"
PROBE = b"heard this? "


class Voice:
    """A peer, as a listener hears it."""

    def __init__(self, ear: "Ear", peer: bytes, address: str, vouched: Vouched) -> None:
        self.peer = peer
        self.address = address
        self.vouched = vouched
        self.frames: list[bytes] = []
        self.rules: list[str] = []
        self.deaths = 0
        self.on_frame: Callable[[bytes], None] = lambda frame: None
        self._ear = ear

    def receive(self, frame: bytes) -> None:
        self._ear.expect_turn("receive")
        if self.deaths:
            self._ear.mistakes.append("receive after gone")
        self.frames.append(frame)
        self.on_frame(frame)

    def violated(self, rule: str) -> None:
        self._ear.expect_turn("violated")
        self.rules.append(rule)

    def gone(self) -> None:
        self._ear.expect_turn("gone")
        self.deaths += 1
        if self.deaths > 1:
            self._ear.mistakes.append("gone twice")


class Ear:
    """The sink of a listener."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.voices: list[Voice] = []
        self.turns = 0
        self.mistakes: list[str] = []
        """What broke the rule that turns are begin, anything, flush."""
        self.on_flush: Callable[[], None] = lambda: None
        self._in_turn = False
        self._last = 0.0
        self._changed = changed

    def begin(self, now: float) -> None:
        if self._in_turn:
            self.mistakes.append("begin within a turn")
        if now < self._last:
            self.mistakes.append("time ran backwards")
        self._in_turn = True
        self._last = now

    def accept(self, peer: bytes, address: str, vouched: Vouched) -> Voice:
        self.expect_turn("accept")
        if any(voice.peer == peer for voice in self.voices):
            self.mistakes.append("two peers of one name")
        voice = Voice(self, peer, address, vouched)
        self.voices.append(voice)
        return voice

    def flush(self) -> None:
        self.expect_turn("flush")
        self.on_flush()
        self._in_turn = False
        self.turns += 1
        self._changed.set()

    def expect_turn(self, what: str) -> None:
        if not self._in_turn:
            self.mistakes.append(f"{what} outside of a turn")

    def voice_of(self, first: bytes) -> Voice | None:
        """The peer whose first frame was this."""
        return next((voice for voice in self.voices if voice.frames[:1] == [first]), None)


class Mouth:
    """The sink of a link."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.ups = 0
        self.frames: list[bytes] = []
        self.probes: set[bytes] = set()
        """Frames of ``Ground.heard_on``, which are not the test's."""
        self.reasons: list[str] = []
        """Why it went down, for each time that it did."""
        self.on_frame: Callable[[bytes], None] = lambda frame: None
        self._changed = changed

    def up(self) -> None:
        self.ups += 1
        self._changed.set()

    def receive(self, frame: bytes) -> None:
        if frame.startswith(PROBE):
            self.probes.add(frame)
        else:
            self.frames.append(frame)
            self.on_frame(frame)
        self._changed.set()

    def down(self, reason: str) -> None:
        self.reasons.append(reason)
        self._changed.set()


class Gate:
    """The sink of a publisher: who may have what, and who came and went."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.topics: dict[bytes, list[bytes]] = {}
        """What a token is good for."""
        self.shown: list[tuple[bytes, int]] = []
        self.vouched: list[Vouched] = []
        self.granted: list[tuple[bytes, int]] = []
        self.lost: list[tuple[bytes, int]] = []
        self.on_shown: Callable[[], None] = lambda: None
        self._changed = changed

    def presented(self, token: bytes, peer: int, vouched: Vouched) -> list[bytes]:
        topics = self.topics.get(token, [])
        self.shown.append((token, peer))
        self.vouched.append(vouched)
        self.on_shown()
        if topics and (token, peer) not in self.granted:
            self.granted.append((token, peer))
        self._changed.set()
        return topics

    def gone(self, token: bytes, peer: int) -> None:
        self.lost.append((token, peer))
        self._changed.set()

    def peer_of(self, token: bytes) -> int | None:
        """The connection that was granted topics for a token last."""
        return next((peer for granted, peer in reversed(self.granted) if granted == token), None)


def shout(subscription: Subscription, message: bytes) -> None:
    """Have a subscription say what none of ours says."""
    if isinstance(subscription, MemorySubscription):
        assert subscription._wire is not None
        subscription._wire.up.send(message)
    else:
        assert isinstance(subscription, ZmqSubscription)
        subscription._socket.send(message, zmq.NOBLOCK)


class Ground:
    """A network, and what is needed to try it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.network: Network
        self.mouths: list[Mouth] = []
        self._ears: list[Ear] = []
        self._listeners: list[Listener] = []
        self._links: list[Link | Subscription] = []
        self._gates: list[Gate] = []
        self._publishers: list[Publisher] = []
        self._names = itertools.count(1)

    def run(self, test: Callable[["Ground"], Coroutine[Any, Any, None]]) -> None:
        """Run a test on this network, and see that its sinks were treated as they should be."""
        if self.kind == "memory":
            run(self._life(test), seed=1)
        else:
            asyncio.run(self._life(test))

    async def _life(self, test: Callable[["Ground"], Coroutine[Any, Any, None]]) -> None:
        self._changed = asyncio.Event()
        self.network = MemoryNetwork(1) if self.kind == "memory" else ZmqNetwork()
        try:
            async with asyncio.timeout(3 * PATIENCE):
                await test(self)
        finally:
            for link in self._links:
                link.close()
            for listener in self._listeners:
                listener.close()
            for publisher in self._publishers:
                publisher.close()
            self.network.close()
        assert [mistake for ear in self._ears for mistake in ear.mistakes] == []
        for gate in self._gates:
            assert len(gate.lost) == len(set(gate.lost)), "gone twice"
            assert set(gate.lost) <= set(gate.granted), "gone, and was never granted anything"
        assert all(mouth.ups <= 1 and len(mouth.reasons) <= 1 for mouth in self.mouths)
        if isinstance(self.network, MemoryNetwork):
            assert self.network.connections == 0

    def listen(self, port: int = 0, largest: int = LARGEST, lock: Lock | None = None) -> tuple[Listener, Ear]:
        ear = Ear(self._changed)
        listener = self.network.listen(HOST, port, ear, largest, lock)
        self._ears.append(ear)
        self._listeners.append(listener)
        return listener, ear

    def connect(self, address: str, largest: int = LARGEST, key: Key | None = None) -> tuple[Link, Mouth]:
        mouth = Mouth(self._changed)
        link = self.network.connect(address, mouth, largest, key)
        self.mouths.append(mouth)
        self._links.append(link)
        return link, mouth

    def publish(self, port: int = 0, largest: int = LARGEST, lock: Lock | None = None) -> tuple[Publisher, Gate]:
        gate = Gate(self._changed)
        publisher = self.network.publish(HOST, port, gate, largest, lock)
        self._gates.append(gate)
        self._publishers.append(publisher)
        return publisher, gate

    def subscribe(self, address: str, largest: int = LARGEST, key: Key | None = None) -> tuple[Subscription, Mouth]:
        mouth = Mouth(self._changed)
        subscription = self.network.subscribe(address, mouth, largest, key)
        self.mouths.append(mouth)
        self._links.append(subscription)
        return subscription, mouth

    def made_by(self, mouth: Mouth) -> Any:
        """The link or subscription that this sink listens to."""
        return self._links[self.mouths.index(mouth)]

    async def attach(self, publisher: Publisher, largest: int = LARGEST) -> tuple[Subscription, Mouth]:
        """A subscription that is up."""
        subscription, mouth = self.subscribe(publisher.address, largest)
        await self.until(lambda: mouth.ups == 1)
        return subscription, mouth

    async def admit(
        self, publisher: Publisher, gate: Gate, token: bytes, *topics: bytes
    ) -> tuple[Subscription, Mouth, int]:
        """A subscription that was granted topics, and gets what is published on them; and the name of its peer."""
        gate.topics[token] = list(topics)
        subscription, mouth = await self.attach(publisher)
        before = len(gate.granted)
        subscription.present(token)
        await self.until(lambda: token in (granted for granted, _ in gate.granted[before:]))
        for topic in topics:
            await self.heard_on(publisher, topic, mouth)
        peer = gate.peer_of(token)
        assert peer is not None
        return subscription, mouth, peer

    async def heard_on(self, publisher: Publisher, topic: bytes, mouth: Mouth) -> None:
        """What was published before, on any topic of this one's, has come or will not."""
        frame = PROBE + b"%d" % next(self._names)
        publisher.publish(topic, frame)
        await self.until(lambda: frame in mouth.probes)

    async def dial(self, listener: Listener, largest: int = LARGEST) -> tuple[Link, Mouth]:
        """A link that is up."""
        link, mouth = self.connect(listener.address, largest)
        await self.until(lambda: mouth.ups == 1)
        return link, mouth

    async def pair(self, listener: Listener, ear: Ear, largest: int = LARGEST) -> tuple[Link, Mouth, Voice]:
        """A link that is up, and was heard once."""
        link, mouth = await self.dial(listener, largest)
        first = b"I am %d" % next(self._names)
        assert link.send(first) is Sent.TAKEN
        await self.until(lambda: ear.voice_of(first) is not None)
        voice = ear.voice_of(first)
        assert voice is not None
        voice.frames.clear()
        return link, mouth, voice

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that a sink hears."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def eventually(self, condition: Callable[[], object]) -> None:
        """Wait for something that no sink hears."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.002)

    async def round_trip(self, link: Link, voice: Voice) -> None:
        """What was sent before on this link, and on others a while ago, has been heard."""
        frame = b"round trip %d" % next(self._names)
        assert link.send(frame) is Sent.TAKEN
        await self.until(lambda: frame in voice.frames)
        voice.frames.remove(frame)

    async def quiet(self) -> None:
        """Time for what should not come."""
        await asyncio.sleep(1.0 if self.kind == "memory" else 0.05)

    def fill(self, send: Callable[[int], Sent]) -> int:
        """Hand frames over, while nobody reads, until no more are taken; how many were."""
        taken = refused = 0
        while refused < 3:
            sent = send(taken)
            if sent is Sent.TAKEN:
                taken, refused = taken + 1, 0
            else:
                assert sent is Sent.FULL
                refused += 1
                if self.kind == "zeromq":
                    time.sleep(0.05)  # libzmq's thread moves on what the peer's queue and the kernel take
            assert taken < 20_000
        return taken


Test = Callable[[Ground], Coroutine[Any, Any, None]]


def _on(kinds: list[str], test: Test) -> Callable[[str], None]:
    @pytest.mark.parametrize("kind", kinds)
    @functools.wraps(test)
    def on_ground(kind: str) -> None:
        Ground(kind).run(test)

    del on_ground.__dict__["__wrapped__"]  # pytest is to see this function's argument
    return on_ground


def on_both(test: Test) -> Callable[[str], None]:
    """Run an async test over each network."""
    return _on(["memory", "zeromq"], test)


def on_memory(test: Test) -> Callable[[str], None]:
    """Run an async test over the network in memory."""
    return _on(["memory"], test)


def on_zeromq(test: Test) -> Callable[[str], None]:
    """Run an async test over real sockets."""
    return _on(["zeromq"], test)
