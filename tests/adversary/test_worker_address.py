# pyright: reportArgumentType=false, reportAssignmentType=false, reportOperatorIssue=false
# (msgpack has no types: what packb returns is unknown.)
"""Hostile peers on the address for workers and on the ports of publishers: the cluster goes on and tells nothing."""

import contextlib
import os
import random
import socket
import time
from typing import Any

import msgpack
import pytest

from .cluster import Subscriber, generation, worker_address
from .target import SECRET, Target
from .wire import (
    CREATE,
    ERROR,
    HELLO,
    JOIN_BY_ID,
    LIST,
    MATCH,
    MORE,
    PATIENCE,
    PING,
    PONG,
    SEND,
    Dealer,
    Gone,
    Peer,
    Zmtp,
    framed,
    greeting,
    peer,
    ready,
)

REGISTER, CHALLENGE, PROVE, REGISTERED, DENIED, RENEW, LEASED, REPORTS, ORDERS = *range(64, 69), *range(70, 74)
PROBE, PROBED = 76, 77
ADMIT, COMMAND = 81, 83
WRONG_KEY, WORKER_REFUSED, STALE_GENERATION = 3005, 3006, 3007


@pytest.fixture
def target(cluster: Target) -> Target:
    return cluster


def register(one: Peer, name: str = "eve") -> list[Any]:
    """Apply as a worker; the challenge."""
    one.say(REGISTER, [1], name, os.urandom(16))
    return one.wait(CHALLENGE)


def denied(one: Peer) -> int:
    """The code of DENIED; the connection ends with it."""
    code: int = one.wait(DENIED)[1]
    assert isinstance(one.link, Zmtp)
    assert one.link.is_cut()
    return code


DESCRIPTION = {"types": ["vault"], "labels": [], "max_rooms": 9, "isolated": False, "pid": 1, "host": "eve"}


def test_bytes_that_are_no_zeromq_are_cut_and_cost_nothing(target: Target) -> None:
    noise = random.Random(7)
    address = worker_address(target)
    with target.watched():
        for opening in (b"", b"GET / HTTP/1.1\r\n\r\n", greeting(), greeting() + ready()[:5], greeting(mechanism=b"X")):
            with Zmtp(address, shake=False) as link:
                with contextlib.suppress(Gone):
                    link.raw(opening + noise.randbytes(5000))
                assert link.is_cut()
        for _ in range(50):
            with Zmtp(address, shake=False) as link, contextlib.suppress(Gone):
                link.raw(noise.randbytes(noise.randrange(1, 3000)))


def test_clients_are_not_served_at_the_address_for_workers(target: Target) -> None:
    with target.watched(), peer(worker_address(target)) as one:
        one.say(HELLO, 1, [1], "adversary", {})
        assert one.error() == 1001
        messages: list[tuple[Any, ...]] = [
            (LIST, 1, 2, None, {}),
            (CREATE, 1, 2, [2, "vault", {}], {}, {}),
            (JOIN_BY_ID, 1, 2, target.vault, {}, {}),
        ]
        for message in messages:
            one.say(*message)
            assert one.error() in (1001, 1004)
        one.say(MATCH, 1, 3, [2, "vault", {}], {}, 5.0)
        one.say(SEND, 1, 1, "message", "hello")
        one.say(PING, 4)
        assert one.wait(PONG)[1] == 4
        assert SECRET not in b"".join(one.heard)
    assert target.stats()["sessions"] == 3


@pytest.mark.parametrize("kind", [RENEW, REPORTS])
def test_who_has_not_registered_reports_nothing(target: Target, kind: int) -> None:
    number = generation(target)
    reports = [[6, target.vault], [5, target.vault, "0" * 32], [9], [3, target.vault, "vault", 0, 4, 4, False, {}]]
    said = [number, reports] if kind == REPORTS else [number, 1, {"lag": 0.0}]
    with target.watched():
        for registered in (False, True):
            with peer(worker_address(target)) as one:
                if registered:
                    register(one)
                one.say(kind, *said)
                assert denied(one) == WRONG_KEY
    assert target.stats()["rooms"] == 1


def test_what_only_brokers_say_is_refused(target: Target) -> None:
    number = generation(target)
    with target.watched():
        for message in (
            [ORDERS, number, [[4, target.vault, 2100, "close"]]],
            [REGISTERED, number, 5.0, True],
            [LEASED, number, 1],
            [DENIED, WRONG_KEY, "go"],
            [PROBE, os.urandom(16)],
            [PROBED, "w1", os.urandom(32)],
            [ADMIT, os.urandom(32)],
            [COMMAND, 1, "close", {"room": target.vault}],
        ):
            with peer(worker_address(target)) as one:
                one.say(*message)
                assert denied(one) == WORKER_REFUSED


def test_a_proof_without_the_key_is_refused_whatever_it_is(target: Target) -> None:
    with target.watched():
        for proof in (bytes(32), os.urandom(32), b"\xff" * 32):
            with peer(worker_address(target)) as one:
                register(one)
                one.say(PROVE, proof, "tcp://127.0.0.1:9", 0, DESCRIPTION)
                assert denied(one) == WRONG_KEY
        # Its own proof, given back to it; and before any challenge.
        with peer(worker_address(target)) as one:
            _, _, proof = register(one, "w1")
            one.say(PROVE, proof, "tcp://127.0.0.1:9", 0, DESCRIPTION)
            assert denied(one) == WRONG_KEY
        with peer(worker_address(target)) as one:
            one.say(PROVE, bytes(32), "tcp://127.0.0.1:9", 0, DESCRIPTION)
            assert denied(one) == WRONG_KEY
        with peer(worker_address(target)) as one:
            register(one)
            one.say(REGISTER, [1], "mallory", os.urandom(16))
            assert denied(one) == WORKER_REFUSED


def test_two_challenges_are_never_alike(target: Target) -> None:
    said: set[bytes] = set()
    for _ in range(5):
        with peer(worker_address(target)) as one:
            _, nonce, proof = register(one)
            said |= {nonce, proof}
    assert len(said) == 10


def test_nonsense_of_every_kind_is_refused_and_nothing_escapes(target: Target) -> None:
    noise = random.Random(11)
    values: list[Any] = [
        None,
        True,
        -1,
        0,
        1 << 63,
        1.5,
        float("nan"),
        "",
        "x" * 300,
        b"",
        os.urandom(16),
        [],
        [[]],
        {},
    ]
    with target.watched():
        for kind in range(60, 90):
            with Zmtp(worker_address(target)) as link, contextlib.suppress(Gone):
                for _ in range(20):
                    fields = [noise.choice(values) for _ in range(noise.randrange(6))]
                    link.send(msgpack.packb([kind, *fields]))
                for junk in (b"", b"\xc1", b"\x91" * 200, msgpack.packb({"a": 1}), b"\xdd\xff\xff\xff\xff"):
                    link.send(junk)
                Peer(link).all()
    target.stats()


def test_frames_that_are_too_large_are_cut_or_refused(target: Target) -> None:
    before = target.memory()
    with target.watched():
        with peer(worker_address(target)) as one:
            register(one)
            one.say(REPORTS, 1, ["x" * 200_000])
            assert one.wait(ERROR)[3] == 1002
        for _ in range(5):
            with Zmtp(worker_address(target)) as link:
                with contextlib.suppress(Gone):
                    link.raw(framed(bytes(6 << 20)))
                assert link.is_cut()
    assert target.memory() < before + (64 << 20)


def test_a_message_of_many_frames_is_cut(target: Target) -> None:
    with target.watched():
        with Zmtp(worker_address(target)) as link:
            link.raw(framed(msgpack.packb([PING, 1]), MORE) + framed(b"more"))
            assert link.is_cut()
        with Zmtp(worker_address(target)) as link:  # and one that never ends is cut as one who says nothing
            deadline = time.monotonic() + PATIENCE
            with contextlib.suppress(Gone):
                while time.monotonic() < deadline:
                    link.raw(framed(b"x", MORE))
                    time.sleep(0.02)
            assert time.monotonic() < deadline


def test_a_flood_of_applications_is_cut(target: Target) -> None:
    with target.watched(), peer(worker_address(target)) as one:
        with contextlib.suppress(Gone):
            for _ in range(200):
                for _ in range(10):
                    one.say(PROVE, b"short")
                one.all()
        assert isinstance(one.link, Zmtp)
        assert one.link.is_cut()


def test_a_thousand_silent_connections_are_gone_soon_and_the_worker_keeps_its_lease(target: Target) -> None:
    host, _, port = worker_address(target).removeprefix("tcp://").rpartition(":")
    descriptors = target.descriptors()
    with target.watched(), contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection((host, int(port)), PATIENCE)).sendall(greeting())
        with Dealer(worker_address(target)) as dealer:  # among them, one who shakes hands is still heard
            dealer.send(msgpack.packb([PING, 9]))
            assert dealer.receive() == msgpack.packb([PONG, 9])
        deadline = time.monotonic() + PATIENCE
        while target.descriptors() > descriptors + 2:
            assert time.monotonic() < deadline, "they still hold the broker's descriptors"
            time.sleep(0.1)


# The port of a worker, and those of its publishers.


def test_a_worker_tells_strangers_its_name_and_nothing_else(target: Target) -> None:
    with peer(target.address) as one:
        one.hello()
        seat = one.ask(CREATE, [2, "yard", {}], {}, {})
    with target.watched(), peer(seat[4]) as one:
        one.say(HELLO, 1, [1], "adversary", {})
        assert one.error() == 1001
        one.say(ORDERS, generation(target), [[4, target.vault, 2100, "close"]])
        assert one.error() == 1001
        one.say(REGISTER, [1], "w1", bytes(16))
        assert one.error() == 1001
        one.say(PROBE, bytes(16))
        _, name, proof = one.wait(PROBED)
        assert (name, len(proof)) == ("w1", 32)


def test_what_subscribers_say_disturbs_nobody(target: Target) -> None:
    noise = random.Random(13)
    with contextlib.ExitStack() as stack:
        member = Peer(stack.enter_context(Zmtp(target.address)))
        member.hello()
        seat = member.ask(CREATE, [2, "yard", {}], {}, {})
        worker = Peer(stack.enter_context(Zmtp(seat[4])))
        yard = worker.take(seat)
        assert yard.downlink is not None
        port, token = yard.downlink
        host = seat[4].rpartition(":")[0]
        with target.watched():
            strangers = [stack.enter_context(Subscriber(f"{host}:{port}")) for _ in range(30)]
            for _ in range(20):
                for stranger in strangers:
                    with contextlib.suppress(Gone):
                        stranger.raw(
                            framed(noise.choice([b"\x01", b"\x00", b"\x02", b"", b"\x01\x10"]) + noise.randbytes(16))
                        )
                time.sleep(0.01)
            with Subscriber(f"{host}:{port}") as large, contextlib.suppress(Gone):
                large.raw(framed(b"\x01" + bytes(100_000)))
            for stranger in strangers:
                assert stranger.is_cut()
            assert SECRET not in b"".join(stranger._data for stranger in strangers)
        # The token is good for its own member alone: of the yard it hears, of the vault nothing.
        mine = stack.enter_context(Subscriber(f"{host}:{port}"))
        mine.raw(framed(b"\x01" + token))
        time.sleep(0.2)
        yard.send("message", "in the yard")
        frame = mine.receive()
        assert frame is not None
        while b"in the yard" not in frame:
            frame = mine.receive()
            assert frame is not None
            assert SECRET not in frame
