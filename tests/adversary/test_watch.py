"""Bytes that never become messages: who sends them is cut, and nobody else."""

import asyncio
import logging
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from server_room_system.transport import ZmqNetwork, watch
from server_room_system.transport.curve import make_pair
from server_room_system.transport.locks import CurveKey, KeyPair, Lock, Vouched
from server_room_system.transport.network import Link, Sent
from server_room_system.transport.watch import Account

from .cluster import Subscriber
from .wire import COMMAND, MORE, Gone, Zmtp, framed, greeting, ready

PATIENCE = 10.0
LARGEST = 64 * 1024
HOST = "127.0.0.1"
PING = framed(b"\x04PING\x00\x64context", COMMAND)
"""What ZeroMQ answers by itself."""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="no other system tells what a connection has sent")


class Peer:
    def __init__(self, sink: "Sink", peer: bytes) -> None:
        self.sink = sink
        self.peer = peer

    def receive(self, frame: bytes) -> None:
        self.sink.bytes += len(frame)

    def violated(self, rule: str) -> None:
        self.sink.rules.append(rule)

    def gone(self) -> None:
        self.sink.deaths += 1


class Sink:
    """Of a listener and of a publisher."""

    def __init__(self) -> None:
        self.bytes = 0
        self.rules: list[str] = []
        self.deaths = 0
        self.accepted = 0
        self.topics: dict[bytes, list[bytes]] = {}

    def begin(self, now: float) -> None:
        pass

    def flush(self) -> None:
        pass

    def accept(self, peer: bytes, address: str, vouched: Vouched) -> Peer:
        self.accepted += 1
        return Peer(self, peer)

    def presented(self, token: bytes, peer: int, vouched: Vouched) -> list[bytes]:
        return self.topics.get(token, [])

    def gone(self, token: bytes, peer: int) -> None:
        self.deaths += 1


class Mouth:
    def __init__(self) -> None:
        self.is_up = False
        self.reasons: list[str] = []

    def up(self) -> None:
        self.is_up = True

    def receive(self, frame: bytes) -> None:
        pass

    def down(self, reason: str) -> None:
        self.reasons.append(reason)

    refused = down


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def send_until_cut(link: Zmtp, what: bytes) -> int:
    """How many bytes went out until the connection was reset."""
    sent = 0
    deadline = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline:
            link.raw(what)
            sent += len(what)
    except Gone:
        return sent
    raise AssertionError("it was not cut")


@on_linux
@pytest.mark.parametrize("known", [True, False], ids=["a peer", "a stranger"])
@pytest.mark.parametrize(
    "what",
    [framed(b"", MORE) * 5000, framed(bytes(1000), MORE) * 20, PING * 1000],
    ids=["empty parts", "parts", "heartbeats"],
)
def test_who_floods_a_listener_is_cut_soon(what: bytes, known: bool) -> None:
    async def main() -> None:
        network, sink = ZmqNetwork(), Sink()
        listener = network.listen(HOST, 0, sink, LARGEST)
        mouth = Mouth()
        honest = network.connect(listener.address, mouth, LARGEST)
        await until(lambda: mouth.is_up)

        def attack() -> None:
            with Zmtp(listener.address) as link:
                if known:
                    link.send(b"a message")
                send_until_cut(link, what)

        began = time.monotonic()
        await asyncio.to_thread(attack)
        assert time.monotonic() - began < PATIENCE / 2
        await until(lambda: sink.deaths == known)
        assert sink.rules == ["bytes that are no messages"] * known
        assert honest.send(b"I am here") is Sent.TAKEN
        await until(lambda: sink.accepted == 1 + known)
        assert mouth.reasons == []
        honest.close()
        listener.close()
        network.close()

    asyncio.run(main())


@on_linux
@pytest.mark.parametrize("what", [framed(b"x", MORE) * 500, PING * 500], ids=["parts", "heartbeats"])
def test_who_floods_a_publisher_is_cut_soon_and_subscribers_are_not(what: bytes) -> None:
    async def main() -> None:
        network, sink = ZmqNetwork(), Sink()
        token, topic = bytes(15) + b"1", bytes(17)
        sink.topics[token] = [topic]
        publisher = network.publish(HOST, 0, sink, LARGEST)
        mouth = Mouth()
        subscription = network.subscribe(publisher.address, mouth, LARGEST)
        await until(lambda: mouth.is_up)
        subscription.present(token)

        def attack() -> None:
            with Zmtp(publisher.address, shake=False) as link:
                link.raw(greeting() + ready(b"SUB"))
                send_until_cut(link, what)

        await asyncio.to_thread(attack)
        assert mouth.reasons == []
        assert sink.deaths == 0
        subscription.close()
        publisher.close()
        network.close()

    asyncio.run(main())


@on_linux
@pytest.mark.parametrize("keys", [None, make_pair()], ids=["NULL", "CURVE"])
def test_whole_messages_are_counted_exactly_and_a_backlog_of_them_is_no_flood(
    monkeypatch: pytest.MonkeyPatch, keys: KeyPair | None
) -> None:
    monkeypatch.setattr(watch, "_ROUND", watch._TICK)  # everybody, each time

    async def main() -> None:
        network, sink = ZmqNetwork(), Sink()
        listener = network.listen(HOST, 0, sink, LARGEST, Lock(keys=keys))
        key = CurveKey(keys.public, make_pair()) if keys is not None else None
        mouths = [Mouth() for _ in range(4)]
        links = [network.connect(listener.address, mouth, LARGEST, key) for mouth in mouths]
        await until(lambda: all(mouth.is_up for mouth in mouths))
        rng, sent, account = random.Random(5), 0, Account(0.0)
        for _ in range(4):
            for link in links:
                sent += push(link, rng)
            time.sleep(0.1)  # noqa: ASYNC251  # a hook that holds the loop up, while libzmq's thread goes on
            await asyncio.sleep(0)
        await until(lambda: sink.bytes == sent)
        for fd in list(listener._live):  # type: ignore[attr-defined]  # as the watch sees it
            arrived, heard = watch._arrived(fd), listener.heard(fd)  # type: ignore[attr-defined]
            assert arrived is not None
            # Beside messages, there is the handshake alone.
            assert 64 < arrived - heard < 1000
            assert account.look(arrived, heard, 0.0) < 1000
        assert [mouth.reasons for mouth in mouths] == [[]] * 4
        for link in links:
            link.close()
        listener.close()
        network.close()

    asyncio.run(main())


def push(link: Link, rng: random.Random) -> int:
    """Send as much as is taken, of all sizes around where ZMTP's frames change; how much it was."""
    sent = 0
    for _ in range(200):
        frame = bytes(rng.choice([0, 1, 221, 222, 223, 254, 255, 256, LARGEST]))
        if link.send(frame) is Sent.TAKEN:
            sent += len(frame)
    return sent


@on_linux
def test_a_frame_of_the_largest_size_may_take_its_time() -> None:
    async def main() -> None:
        network, sink = ZmqNetwork(), Sink()
        listener = network.listen(HOST, 0, sink, LARGEST)

        def slow() -> None:
            with Zmtp(listener.address) as link:
                whole = framed(bytes(LARGEST))
                for start in range(0, len(whole), 3000):
                    link.raw(whole[start : start + 3000])
                    time.sleep(0.02)
                deadline = time.monotonic() + PATIENCE
                while sink.bytes < LARGEST:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)

        await asyncio.to_thread(slow)
        assert sink.rules == []
        listener.close()
        network.close()

    asyncio.run(main())


def test_it_leaves_nothing_behind_and_watches_only_what_stands() -> None:
    async def main() -> None:
        network, sink = ZmqNetwork(), Sink()
        listener = network.listen(HOST, 0, sink, LARGEST)
        looker = network._watch
        assert looker is not None
        assert looker._timer is None
        link = network.connect(listener.address, Mouth(), LARGEST)
        await until(lambda: looker._standing)
        assert looker._timer is not None
        link.close()
        await until(lambda: not looker._standing and looker._timer is None)
        link = network.connect(listener.address, Mouth(), LARGEST)
        await until(lambda: looker._standing)
        listener.close()
        assert not looker._standing
        link.close()
        network.close()
        assert looker._timer is None

    asyncio.run(main())


def test_a_system_that_does_not_tell_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    async def main() -> None:
        network, sink = ZmqNetwork(), Sink()
        listeners = [network.listen(HOST, 0, sink, LARGEST) for _ in range(2)]
        mouth = Mouth()
        link = network.connect(listeners[0].address, mouth, LARGEST)
        await until(lambda: mouth.is_up)
        link.send(b"hello")
        await until(lambda: sink.bytes == 5)
        link.close()
        for listener in listeners:
            listener.close()
        network.close()

    asyncio.run(main())
    said = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert "silence" in said[0].getMessage()


@on_linux
@pytest.mark.parametrize("kind", ["listener", "publisher"])
def test_nobody_is_judged_by_a_descriptor_that_was_given_up_while_the_loop_was_held_up(kind: str) -> None:
    async def main() -> None:
        network, sink, known = ZmqNetwork(), Sink(), list[bool]()
        port: Any = (network.listen if kind == "listener" else network.publish)(HOST, 0, sink, LARGEST)
        watched = port if kind == "listener" else port._pump
        assert network._watch is not None
        standing = network._watch._standing
        with await asyncio.to_thread(Zmtp if kind == "listener" else Subscriber, port.address):
            await until(lambda: standing)
            ((_, fd),) = standing
        hold_up_until_closed(fd)
        watched.when_read(lambda: known.append((watched, fd) in standing))
        port._turn()
        assert known == [False]
        port.close()
        network.close()

    asyncio.run(main())


def hold_up_until_closed(fd: int) -> None:
    """Nothing of ours runs meanwhile."""
    deadline = time.monotonic() + PATIENCE
    with suppress(OSError):
        while os.fstat(fd):
            assert time.monotonic() < deadline
            time.sleep(0.001)
