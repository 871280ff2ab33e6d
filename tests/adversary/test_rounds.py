# pyright: reportArgumentType=false, reportAssignmentType=false, reportOperatorIssue=false
# (msgpack has no types: what packb returns is unknown.)
"""The same attacks again and again: what one leaves behind shows as growth."""

import random
import struct
import time
from contextlib import ExitStack, suppress

import msgpack

from .target import SERVER, Process, Target
from .wire import (
    CREATE,
    DELIVER,
    HELLO,
    JOIN,
    JOIN_BY_ID,
    MATCH,
    MORE,
    PING,
    RECOVER,
    REQUEST,
    RESUME,
    SEND,
    Gone,
    Zmtp,
    framed,
    greeting,
    peer,
    ready,
)

MEBIBYTE = 1024 * 1024
FORGOTTEN = 0.5
"""Seconds after which nothing is kept any more for those who are gone, where the server under attack has 0.3."""


def packed(*fields: object) -> bytes:
    data: bytes = msgpack.packb(fields)
    return data


def attack(target: Target, rng: random.Random) -> None:
    """A bit of everything that should leave nothing."""
    for number in range(20):
        with peer(target.address) as one:  # rooms, seats and tickets that are left without a word
            yard = one.hello().create("yard")
            one.say(CREATE, one.ref, 1, [4, "yard", {"x": rng.random()}], {"x": rng.randbytes(2000)}, {})
            one.say(MATCH, one.ref, 2, [4, "yard", {"x": rng.random()}], {}, 100.0)
            one.say(SEND, yard.ref, 1, "message", rng.randbytes(10_000))
            one.say(SEND, yard.ref, 2, {"not": "a name"}, 1)
            one.say(REQUEST, yard.ref, 3, "wait", 0.01)
            one.say(JOIN, 3, yard.room, rng.randbytes(16), {})
            one.say(RECOVER, 4, yard.room, rng.randbytes(16), 2**53 - 1, 2**53 - 1, 2**53 - 1)
            one.say(RECOVER, 5, yard.room, yard.token, 2**53 - 1, 2**53 - 1, 2**53 - 1)
            one.say(JOIN_BY_ID, one.ref, 6, rng.randbytes(16).hex(), {}, {})
            one.say(RESUME, 7, [1], one.session, rng.randbytes(16), 0, {})
            if number % 2:
                one.all()
    for _ in range(5):
        with peer(target.address) as one:
            assert isinstance(one.link, Zmtp)
            try:
                one.link.raw(b"".join(framed(rng.randbytes(rng.randrange(100))) for _ in range(400)))
                one.link.raw(b"".join(framed(packed(HELLO, ask, [1], "x", {})) for ask in range(1, 100)))
                one.all()
            except Gone:
                pass
        with peer(target.address) as one:
            assert isinstance(one.link, Zmtp)
            one.link.raw(b"\x02" + struct.pack(">Q", 2**40) + bytes(60_000))
        with peer(target.address) as one:
            assert isinstance(one.link, Zmtp)
            one.hello()
            one.link.raw(framed(bytes(60_000), MORE) * 10 + framed(b""))
        with peer(target.address, rng.randbytes(20)) as one:
            one.say(HELLO, 1, [1], "x", {})
    for _ in range(50):
        link = Zmtp(target.address, shake=False)
        link.raw((greeting() + ready() + framed(packed(PING, 1)))[: rng.randrange(1, 100)])
        link.close(reset=rng.random() < 0.5)


def test_memory_and_descriptors_stay_flat_over_rounds(target: Target) -> None:
    rng = random.Random(11)
    with target.watched():
        for _ in range(3):  # what pools and caches take once
            attack(target, rng)
        target.settles()
        time.sleep(FORGOTTEN)
        memory, descriptors = target.memory(), target.descriptors()
        for _ in range(8):
            attack(target, rng)
            target.settles()
        time.sleep(FORGOTTEN)
    # A round sends 8 MB; keeping a hundredth of it, or one KiB for each connection, would show.
    assert target.memory() - memory < 3 * MEBIBYTE
    assert target.descriptors() <= descriptors


def test_what_rooms_said_to_those_who_left_is_not_kept_for_long(target: Target) -> None:
    with target.watched():
        grown = []
        memory = target.memory()
        for _ in range(6):
            with peer(target.address) as one:
                yard = one.hello().create("yard")
                yard.send("blob", {"count": 100, "size": 30_000})  # three MB, within the history
                heard = 0
                while heard < 100:
                    heard += len(one.wait(DELIVER)[4])
            target.settles()
            time.sleep(FORGOTTEN)
            grown.append(target.memory() - memory)
    assert grown[-1] - grown[1] < 4 * MEBIBYTE, grown


def test_a_message_that_never_ends_takes_little_memory_however_much_is_sent() -> None:
    with Process(SERVER) as server:
        address = server.answer()["address"]
        with peer(address) as one:
            one.hello()
            before = most = resident(server.process.pid)
            assert isinstance(one.link, Zmtp)
            parts = framed(b"", MORE) * 50_000
            cut = False
            try:
                for _ in range(400):  # 40 MB, which would take 1.3 GB
                    one.link.raw(parts)
                    most = max(most, resident(server.process.pid))
            except Gone:
                cut = True
            assert cut
        assert server.ask("stats")["counts"]["ProtocolViolation"] == 1
        assert server.ask("stats")["escaped"] == []
    assert most - before < 64 * MEBIBYTE


def test_many_messages_that_never_end_take_little_memory_together() -> None:
    with Process(SERVER) as server, ExitStack() as stack:
        address = server.answer()["address"]
        honest = stack.enter_context(peer(address)).hello()
        before = most = resident(server.process.pid)
        parts = framed(b"", MORE) * 60_000  # less than one connection may have, but 4 MB each
        for _ in range(80):
            one = stack.enter_context(peer(address))
            assert isinstance(one.link, Zmtp)
            with suppress(Gone):
                one.link.raw(parts)
            most = max(most, resident(server.process.pid))
            honest.all()
        assert server.ask("stats")["counts"].get("bytes that are no messages", 0) > 20
    assert most - before < 192 * MEBIBYTE  # of 320


def resident(pid: int) -> int:
    """Bytes that a process has in memory."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096
