# pyright: reportArgumentType=false, reportAssignmentType=false, reportOperatorIssue=false
# (msgpack has no types: what packb returns is unknown.)
"""Connections that never become a client's: half a handshake, another protocol, silence."""

import random
import struct
import time
from contextlib import ExitStack, suppress

import msgpack

from .target import Target
from .wire import (
    COMMAND,
    ERROR,
    GOODBYE,
    HELLO,
    LIST,
    MORE,
    PING,
    PONG,
    WELCOME,
    Gone,
    Zmtp,
    framed,
    greeting,
    peer,
    ready,
)

HANDSHAKE, SILENCE, SWEEP = 3.0, 3.0, 1.0
"""Seconds: for a handshake, of silence (what the server under attack allows), and between two looks."""
GRACE = 2.0
"""Seconds more that a busy machine may take."""

HALF = {
    "nothing": b"",
    "one byte": b"\xff",
    "half a greeting": greeting()[:10],
    "a greeting less one byte": greeting()[:-1],
    "a greeting": greeting(),
    "half of READY": greeting() + ready()[:9],
    "READY that announces more": greeting() + bytes((COMMAND, 200)) + ready()[2:],
}
"""What a slow peer might have sent so far."""

WRONG = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"x" * 100,
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(200),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n" + b"x" * 100,
    "0xff": b"\xff" * 200,
    "zeros": bytes(200),
    "CURVE": greeting(mechanism=b"CURVE") + ready(),
    "PLAIN": greeting(mechanism=b"PLAIN") + ready(),
    "an unknown mechanism": greeting(mechanism=b"X" * 20) + ready(),
    "no mechanism": greeting(mechanism=b"") + ready(),
    "a PUB": greeting() + ready(b"PUB"),
    "a SUB": greeting() + ready(b"SUB"),
    "a PULL": greeting() + ready(b"PULL"),
    "no such socket type": greeting() + ready(b"X" * 300),
    "an empty socket type": greeting() + ready(b""),
    "READY twice over": greeting() + framed(b"\x05READY" * 2, COMMAND),
    "READY with a property that is cut off": greeting() + framed(b"\x05READY\x0bSocket-Type\xff\xff\xff\xff", COMMAND),
    "READY with no name": greeting() + framed(b"\x05READY\x00\x00\x00\x00\x00", COMMAND),
    "an unknown command": greeting() + framed(b"\x05HELLO" + bytes(100), COMMAND),
    "a command without a name": greeting() + framed(b"", COMMAND),
    "a message before READY": greeting() + framed(msgpack.packb((PING, 1))),
    "an ERROR command": greeting() + framed(b"\x05ERROR\x03bad", COMMAND),
    "a huge READY": greeting() + bytes((COMMAND | 2,)) + struct.pack(">Q", 2**63) + bytes(1000),
    "flags that are none": greeting() + bytes((0xF8, 5)) + bytes(5),
}
"""What no peer of ours says. Each is cut at once or after the time for a handshake."""


def assert_all_cut(links: dict[str, Zmtp], within: float) -> None:
    deadline = time.monotonic() + within
    left = {name for name, link in links.items() if not link.is_cut(max(0.05, deadline - time.monotonic()))}
    assert left == set()


def test_half_a_handshake_and_wrong_ones_are_cut_in_time(target: Target) -> None:
    target.settles()
    descriptors = target.descriptors()
    rng = random.Random(7)
    noise = {f"noise {number}": greeting()[: rng.randrange(11)] + rng.randbytes(150) for number in range(30)}
    with target.watched(), ExitStack() as stack:
        links: dict[str, Zmtp] = {}
        for name, data in {**HALF, **WRONG, **noise}.items():
            links[name] = stack.enter_context(Zmtp(target.address, shake=False))
            with suppress(Gone):  # so soon
                links[name].raw(data)
        assert target.stats()["connections"] == 3, "nobody of these is a client"
        assert not links["nothing"].is_cut(0.5), "honest peers get the time for a handshake"
        assert_all_cut(links, max(HANDSHAKE, SILENCE + SWEEP) + GRACE)
        with peer(target.address) as one:
            assert one.hello().ask(LIST, None, {})[0] != ERROR
    target.settles()
    assert target.descriptors() <= descriptors


def test_who_never_speaks_or_falls_silent_is_cut_and_who_pings_is_not(target: Target) -> None:
    target.settles()
    descriptors = target.descriptors()
    with target.watched(), ExitStack() as stack:
        mute = {f"mute {number}": stack.enter_context(Zmtp(target.address)) for number in range(100)}
        for link in list(mute.values())[:20]:  # a first message of several frames is not heard
            hello = msgpack.packb((HELLO, 1, [1], "adversary", {}))
            link.raw(framed(hello, MORE) + framed(hello))
        alive = stack.enter_context(peer(target.address)).hello()
        silent = stack.enter_context(peer(target.address)).hello()
        # ZeroMQ's own heartbeats prove that a connection stands, not that the program behind it runs.
        beating = stack.enter_context(Zmtp(target.address))
        talked = stack.enter_context(peer(target.address)).hello()
        since = time.monotonic()
        assert isinstance(talked.link, Zmtp)
        cut: dict[str, float] = {}
        last_words: list[list[object]] = []
        while time.monotonic() - since < SILENCE + SWEEP + GRACE and len(cut) < 3:
            alive.say(PING, 1)
            assert alive.hear(1.0) == [PONG, 1]
            for name, link in (("beating", beating), ("talked", talked.link)):
                if name not in cut:
                    try:
                        link.raw(framed(b"\x04PING\x00\x64" + b"context", COMMAND))
                        link.receive(0.01)
                    except Gone:
                        cut[name] = time.monotonic() - since
            if "silent" not in cut:
                try:
                    if (message := silent.hear(0.05)) is not None:
                        last_words.append(message)
                except Gone:
                    cut["silent"] = time.monotonic() - since
        assert target.stats()["connections"] <= 3 + 1, "those who are cut, or were never heard, are no clients"
        assert set(cut) == {"beating", "talked", "silent"}
        assert all(seconds > SILENCE - 0.5 for seconds in cut.values()), cut
        # They are said, but the connection is shut down at once: they may not get there.
        assert [message[:3] for message in last_words if message[0] == GOODBYE] in ([], [[GOODBYE, 0, 2001]])
        assert_all_cut(mute, GRACE)
        alive.say(PING, 2)
        assert alive.hear() == [PONG, 2]
    target.settles()
    assert target.descriptors() <= descriptors


def test_hundreds_of_connections_that_break_off_leave_nothing(target: Target) -> None:
    target.settles()
    descriptors = target.descriptors()
    with target.watched():
        for number in range(400):
            link = Zmtp(target.address, shake=False)
            data = greeting() + ready() + framed(msgpack.packb((HELLO, 1, [1], "adversary", {})))
            try:
                link.raw(data[: number % (len(data) + 1)])
            finally:
                link.close(reset=number % 2 == 0)
        for number in range(100):
            with peer(target.address) as one:
                one.say(HELLO, 1, [1], "adversary", {})
                if number % 2:
                    one.wait(WELCOME)
    target.settles()
    deadline = time.monotonic() + GRACE
    while target.descriptors() > descriptors and time.monotonic() < deadline:
        time.sleep(0.02)
    assert target.descriptors() <= descriptors


def test_claims_of_ids_of_all_lengths_are_survived(target: Target) -> None:
    with target.watched():
        for length in range(1, 256, 7):
            for first in (b"\0", b"\1", b"\xff"):
                with peer(target.address, first * length) as one:
                    one.say(PING, 1)
        with peer(target.address, b"\1" * 5) as one:
            one.say(PING, 1)
            assert one.hear(0.3) is None
    target.settles()
