# pyright: reportArgumentType=false, reportAssignmentType=false, reportOperatorIssue=false
# (msgpack has no types: what packb returns is unknown.)
"""Many from one address, strangers who stay, those who guess: they may do little, and others notice nothing."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from .target import SERVER, Target, under_attack
from .wire import (
    ERROR,
    GOODBYE,
    HELLO,
    LIST,
    MORE,
    PATIENCE,
    PING,
    PONG,
    RESUME,
    WELCOME,
    Gone,
    Peer,
    Zmtp,
    framed,
    greeting,
    peer,
    ready,
)

CONNECTIONS, RATE, SESSIONS, STRANGER_TIME = 40, 50.0, 60, 2.0
GRACE = 3.0
"""Seconds more that a busy machine may take."""
ENQUIRE, CHALLENGE, ADMIT, DENIED, COMMAND = 80, 65, 81, 68, 83
AUTH_UNAVAILABLE, AUTH_REFUSED, CAPACITY_REACHED, WRONG_KEY = 2002, 3008, 1008, 3005

LIMITED = SERVER.replace(
    "broker_limits=",
    f"address_limits=AddressLimits(connections={CONNECTIONS}, connection_rate={RATE}, hello_rate={RATE}, "
    f"sessions={SESSIONS}, stranger_time={STRANGER_TIME}, exempt=('127.0.0.1/32',)), broker_limits=",
).replace(
    "class Lobby(Server):",
    """class Lobby(Server):
    def on_auth(self, credentials, peer):
        if credentials == "wrong":
            raise AuthRefused("no")
""",
)
"""The honest clients come from 127.0.0.1; each test has addresses of its own."""


@pytest.fixture(scope="module")
def the_server() -> Iterator[Target]:
    assert "AddressLimits(" in LIMITED
    assert "on_auth" in LIMITED
    with under_attack(LIMITED) as target:
        yield target


def stays(address: str, source: str) -> bool:
    """Whether somebody from there is let in, and served."""
    try:
        with peer(address, source=source) as one:
            one.say(PING, 1)
            return one.hear() == [PONG, 1]
    except Gone:
        return False


def refused_at_the_door(target: Target) -> int:
    """How many connections were cut for where they came from."""
    counts = target.stats()["counts"]
    reasons = ("too many connections of an address", "connections of an address too fast")
    return sum(counts.get(reason, 0) for reason in reasons)


def let_in_again(address: str, source: str) -> float:
    """Seconds until somebody from there is served."""
    began = time.monotonic()
    while not stays(address, source):
        assert time.monotonic() < began + PATIENCE, "it is never let in again"
        time.sleep(0.1)
    return time.monotonic() - began


def test_a_flood_of_connections_takes_an_address_its_share_and_no_more(target: Target) -> None:
    descriptors = target.descriptors()
    before = target.stats()["connections"]
    with target.watched(), ExitStack() as stack:
        standing: list[Peer] = []
        for _ in range(5 * CONNECTIONS):
            with suppress(Gone):
                standing.append(stack.enter_context(peer(target.address, source="127.0.2.1")))
                standing[-1].say(HELLO, 1, [1], "flood", {})
        target.has_at_most(before + CONNECTIONS)
        assert target.descriptors() <= descriptors + CONNECTIONS + 2
        assert stays(target.address, "127.0.2.2"), "another address pays for it"
        served = 0
        for one in standing:
            with suppress(Gone):
                one.wait(WELCOME)
                served += 1
        assert CONNECTIONS / 2 <= served <= CONNECTIONS
    target.settles()
    let_in_again(target.address, "127.0.2.1")


def test_connections_that_come_and_go_have_a_rate(target: Target) -> None:
    with target.watched():
        before = refused_at_the_door(target)
        for number in range(40):  # fewer at once than there may be
            links: list[Zmtp] = []
            for _ in range(30):
                with suppress(Gone):
                    links.append(Zmtp(target.address, shake=False, source="127.0.2.3"))
            target.stats()
            for link in links:
                link.close(reset=number % 2 == 0)
            # A busy server hears of some only when they are over, and they do not count.
            if refused_at_the_door(target) - before > 4 * CONNECTIONS:
                break
        else:
            pytest.fail("nearly all got in")
    let_in_again(target.address, "127.0.2.3")


def test_sessions_of_one_address_are_bounded_and_end_with_their_connections(target: Target) -> None:
    with target.watched():
        with peer(target.address, source="127.0.2.4") as one, peer(target.address, source="127.0.2.5") as other:
            welcomed = 0
            refused: list[int] = []
            deadline = time.monotonic() + PATIENCE
            while not refused or CAPACITY_REACHED not in refused:
                assert time.monotonic() < deadline
                one.say(HELLO, welcomed + len(refused), [1], "many", {})
                answer = one.wait(WELCOME, ERROR)
                welcomed += answer[0] == WELCOME
                refused += [answer[3]] * (answer[0] == ERROR)
                time.sleep(0.02)
            assert welcomed == SESSIONS
            assert set(refused) <= {CAPACITY_REACHED, AUTH_UNAVAILABLE, 1003}
            assert other.hello().ask(LIST, None, {})[0] != ERROR
        target.settles()
        with peer(target.address, source="127.0.2.4") as one:
            assert one.hello().ask(LIST, None, {})[0] != ERROR


def test_who_guesses_credentials_is_slowed_and_its_neighbours_get_in_when_it_stops(target: Target) -> None:
    with target.watched():
        refused, slowed = 0, 0
        for _ in range(30):
            try:
                with peer(target.address, source="127.0.2.6") as one:
                    one.say(HELLO, 1, [1], "guess", {"credentials": "wrong"})
                    code = one.wait(ERROR, GOODBYE)
                    refused += AUTH_REFUSED in code
            except Gone:
                slowed += 1
        assert 5 <= refused <= 8
        assert slowed + refused >= 25
        assert stays(target.address, "127.0.2.7")
        assert let_in_again(target.address, "127.0.2.6") < 3.0 + GRACE
    assert target.stats()["counts"].get("failed authentication", 0) > 0


def test_who_guesses_the_cluster_key_is_slowed_and_orders_nothing(target: Target) -> None:
    with target.watched():
        denied = 0
        for _ in range(12):
            with suppress(Gone), peer(target.address, source="127.0.2.8") as one:
                one.say(COMMAND, 1, "close", {"room": target.vault})
                assert one.wait(ERROR)[3] == WRONG_KEY
                one.say(ENQUIRE, os.urandom(16))
                one.wait(CHALLENGE)
                one.say(COMMAND, 2, "workers", {})
                assert one.wait(ERROR)[3] == WRONG_KEY
                one.say(ADMIT, os.urandom(32))
                denied += one.wait(DENIED)[1] == WRONG_KEY
        assert 5 <= denied <= 8
        assert target.stats()["rooms"] == 1
    let_in_again(target.address, "127.0.2.8")


def test_who_only_pings_or_only_asks_is_cut(target: Target) -> None:
    target.settles()
    with target.watched(), ExitStack() as stack:
        pinging, asking, enquiring, resuming = (stack.enter_context(peer(target.address)) for _ in range(4))
        honest = stack.enter_context(peer(target.address)).hello()
        began = time.monotonic()
        cut: dict[str, float] = {}
        strangers = {"pings": pinging, "asks": asking, "enquires": enquiring, "resumes": resuming}
        while len(cut) < len(strangers):
            assert time.monotonic() - began < STRANGER_TIME + 1.0 + GRACE, cut
            for name, one in strangers.items():
                if name in cut:
                    continue
                try:
                    one.say(PING, 1)
                    if name == "asks":
                        one.say(LIST, 5, 1, None, {})
                    elif name == "enquires":
                        one.say(ENQUIRE, os.urandom(16))
                    elif name == "resumes":
                        one.say(RESUME, 1, [1], "0" * 32, os.urandom(16), 0, {})
                    while one.hear(0.01) is not None:
                        pass
                except Gone:
                    cut[name] = time.monotonic() - began
            honest.say(PING, 1)
            assert honest.hear() == [PONG, 1]
            time.sleep(0.1)
        assert all(seconds > STRANGER_TIME - 0.2 for seconds in cut.values()), cut
        assert honest.ask(LIST, None, {})[0] != ERROR
    assert target.counted("stranger") >= 4
    target.settles()


def test_a_flooder_is_not_let_in_again_at_once(target: Target) -> None:
    with target.watched():
        with peer(target.address, source="127.0.2.9") as one, suppress(Gone):
            assert isinstance(one.link, Zmtp)
            one.hello()
            while True:
                one.link.raw(framed(b"", MORE) * 5000)
        assert not stays(target.address, "127.0.2.9")
        assert let_in_again(target.address, "127.0.2.9") < 2.0 + GRACE


def test_hundreds_of_handshakes_that_never_end_are_cut_in_time(target: Target) -> None:
    target.settles()
    descriptors = target.descriptors()
    whole = greeting() + ready()
    with target.watched(), ExitStack() as stack:
        began = time.monotonic()
        slow = [stack.enter_context(Zmtp(target.address, shake=False)) for _ in range(300)]
        cut: set[int] = set()
        for byte in range(len(whole) - 1):  # a byte now and then, each time the next one
            for number in set(range(len(slow))) - cut:
                try:
                    slow[number].raw(whole[byte : byte + 1])
                except Gone:
                    cut.add(number)
            if byte == 5:
                with peer(target.address) as one:  # among them, honest ones are served
                    assert one.hello().ask(LIST, None, {})[0] != ERROR
            if len(cut) == len(slow):
                break
            time.sleep(0.15)
        assert len(cut) == len(slow)
        assert time.monotonic() - began < 3.0 + 2 * GRACE
    target.settles()
    assert target.descriptors() <= descriptors + 2


@pytest.mark.parametrize(
    "opening",
    [b"\x01\x00", b"\x06\x00peer!", b"\xff" + bytes(8) + b"\x7f\x01\x05", b"\xff" + bytes(8) + b"\x7f\x00", b"\x00"],
    ids=["ZMTP 1.0", "ZMTP 1.0 with a name", "ZMTP 2.0", "ZMTP 2.0, version 0", "ZMTP 1.0, nonsense"],
)
def test_peers_of_old_versions_are_cut_unheard(target: Target, opening: bytes) -> None:
    target.settles()
    with target.watched(), Zmtp(target.address, shake=False) as old:
        # No one is asked about them who could judge where they come from: so they get nothing.
        with suppress(Gone):
            for _ in range(20):
                old.raw(opening + b"\x00\x00" + framed(b"\x95\x01\x01\x91\x01\xa1x\x80"))
                opening = b""
                time.sleep(0.01)
        assert target.stats()["connections"] == 3
        assert target.stats()["sessions"] == 3
        assert old.is_cut()


def test_peers_of_zmtp_3_0_are_served(target: Target) -> None:
    with target.watched(), Zmtp(target.address, shake=False) as link:
        link.raw(greeting(3, 0) + ready())
        link._take(64, PATIENCE)
        link.frame(PATIENCE)
        assert Peer(link).hello().ask(LIST, None, {})[0] != ERROR


def test_connections_that_close_halfway_are_closed(target: Target) -> None:
    target.settles()
    with target.watched(), ExitStack() as stack:
        for what in (b"", greeting()[:20], greeting() + ready()):
            half = stack.enter_context(Zmtp(target.address, shake=False))
            half.raw(what)
            half.socket.shutdown(socket.SHUT_WR)
            assert half.is_cut(STRANGER_TIME)
        one = stack.enter_context(peer(target.address)).hello()
        assert isinstance(one.link, Zmtp)
        one.link.socket.shutdown(socket.SHUT_WR)
        assert one.link.is_cut(STRANGER_TIME)
        target.settles()
