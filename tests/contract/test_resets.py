"""A connection that is reset while its messages lie unread must not end the process, whatever lies behind them.

libzmq 4.3.5 aborts where a receive queue is full then: so each port is tried in
a process of its own.
"""

import asyncio
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from server_room_system.transport import Listener, Publisher, Vouched, ZmqNetwork

TESTS = Path(__file__).parents[1]


class Ear:
    """Hears nothing of interest."""

    def begin(self, now: float) -> None: ...

    def accept(self, peer: bytes, address: str, vouched: Vouched) -> "Voice":
        return Voice()

    def flush(self) -> None: ...

    def presented(self, token: bytes, peer: int, vouched: Vouched) -> tuple[()]:
        return ()

    def gone(self, token: bytes, peer: int) -> None: ...


class Voice:
    """A peer of no interest."""

    def receive(self, frame: bytes) -> None: ...

    def violated(self, rule: str) -> None: ...

    def gone(self) -> None: ...


def attack(address: str, kind: bytes, message: bytes, count: int) -> socket.socket:
    """A connection on which much is said by ZMTP 3.1 that nobody has read."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    peer = socket.create_connection((host, int(port)), 5.0)
    ready = b"\5READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    peer.sendall(b"\xff" + bytes(8) + b"\x7f\3\1NULL" + bytes(48) + bytes((4, len(ready))) + ready)
    heard = 0
    while heard < 64 + len(ready):  # a greeting, and a READY that is no shorter
        heard += len(peer.recv(256))
    peer.sendall(message * count + b"\4\7\4PING\0\0" + message)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return peer


async def attacked(kind: str) -> None:
    """A port that is attacked, and goes on."""
    network, ear = ZmqNetwork(), Ear()
    port: Listener | Publisher
    if kind == "ROUTER":
        port = network.listen("127.0.0.1", 0, ear, 65_536)
        peers, message = b"DEALER", b"\0\1x"
    else:
        port = network.publish("127.0.0.1", 0, ear, 64)
        peers, message = b"XSUB", b"\0\2\1x"
    for count in (1, 3, 1001):
        peer = await asyncio.to_thread(attack, port.address, peers, message, count)
        time.sleep(0.05)  # noqa: ASYNC251  # nobody reads
        peer.close()
        time.sleep(0.05)  # noqa: ASYNC251
        await asyncio.sleep(0.1)
    print("goes on")  # noqa: T201
    port.close()
    network.close()


@pytest.mark.parametrize("kind", ["ROUTER", "XPUB"])
def test_a_reset_behind_unread_messages_does_not_end_the_process(kind: str) -> None:
    """Two subscriptions, a PING of ZeroMQ's and a reset were enough to end a publisher's process."""
    code = f"import asyncio; from contract.test_resets import attacked; asyncio.run(attacked({kind!r}))"
    ended = subprocess.run(
        [sys.executable, "-uc", code], cwd=TESTS, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "goes on\n", "")
