# pyright: reportArgumentType=false, reportAssignmentType=false, reportOperatorIssue=false
# (msgpack has no types: what packb returns is unknown.)
"""More than the limits allow: each refusal names its message, and who does not stop is cut."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgpack
import pytest

from .target import SECRET, SERVER, Process, Target
from .wire import (
    ACK,
    CANCEL,
    CREATE,
    DELIVER,
    ERROR,
    GOODBYE,
    HELLO,
    JOIN,
    JOIN_BY_ID,
    JOINED,
    LIST,
    MATCH,
    PING,
    PONG,
    RECOVER,
    REQUEST,
    RESUME,
    SEND,
    WELCOME,
    Gone,
    Peer,
    Zmtp,
    framed,
    peer,
)

BAD_MESSAGE, RATE_LIMITED, CAPACITY_REACHED, RESERVATION_REFUSED = 1000, 1003, 1008, 1015
SESSION_UNKNOWN, PROTOCOL_VIOLATION = 3001, 3003

YARD_BURST = 50
CONTROL_BURST = 60
REFUSALS = 200
"""How often a connection that is over the control rate is still answered."""
REFILL = 60
"""What the buckets may let through beside their burst while a flood lasts: 20 a second for some seconds."""


def flood(one: Peer, frames: list[bytes], at_once: int = 50) -> list[list[Any]]:
    """Send frames as fast as they are answered; what came until the server hung up, or had answered them all."""
    heard: list[list[Any]] = []
    first = len(one.heard)
    try:
        for start in range(0, len(frames), at_once):  # who does not read is cut for that already
            assert isinstance(one.link, Zmtp)
            one.link.raw(b"".join(map(framed, frames[start : start + at_once])))
            heard += one.all()
    except Gone:
        heard = [msgpack.unpackb(frame) for frame in one.heard[first:]]
        heard = [message for message in heard if message[0] != PONG] + [["gone"]]
    return heard


def packed(*fields: Any) -> bytes:
    data: bytes = msgpack.packb(fields)
    return data


@contextmanager
def cut_for_it(target: Target) -> Iterator[list[list[Any]]]:
    """What is heard in here ends with the connection, because of a violation, and nothing is left of it."""
    target.settles()
    before = target.counted("ProtocolViolation")
    heard: list[list[Any]] = []
    with target.watched():
        yield heard
    assert heard[-1] == ["gone"]
    assert target.counted("ProtocolViolation") == before + 1
    # GOODBYE is said, but the connection is shut down at once: it may not get there.
    last_words = [message for message in heard if message[0] == GOODBYE and message[2] != SESSION_UNKNOWN]
    assert [message[1:3] for message in last_words] in ([], [[0, PROTOCOL_VIOLATION]])
    assert last_words in ([], heard[-2:-1])
    target.settles()


@pytest.mark.parametrize("in_one_frame", [1, 7])
def test_a_member_that_floods_its_room_is_told_each_number_and_then_cut(target: Target, in_one_frame: int) -> None:
    before = target.counted("RateLimited")
    with cut_for_it(target) as heard, peer(target.address) as one, peer(target.address) as two:
        yard = one.hello().create("yard")
        target.stats()  # behind the turn in which the room was made, others know of it
        two.hello().enter(yard.room)
        frames = []
        for first in range(1, 901, in_one_frame):
            pairs = [part for number in range(first, min(first + in_one_frame, 901)) for part in ("count", number)]
            frames.append(packed(SEND, yard.ref, first, *pairs))
        heard.extend(flood(one, frames, 14 // in_one_frame))
        refusals = [message for message in heard if message[0] == ERROR]
        assert {(message[1], message[3]) for message in refusals} == {(yard.ref, RATE_LIMITED)}
        refused = [message[2] for message in refusals]
        # The bucket of the room lets a burst through; refusals beyond the bucket for those are answered 200 times.
        assert len(refused) <= CONTROL_BURST + REFUSALS + REFILL
        counted = target.counted("RateLimited") - before
        assert CONTROL_BURST - 5 + REFUSALS < counted <= CONTROL_BURST + REFUSALS + REFILL
        two.wait(DELIVER)
        heard_by_two = [msgpack.unpackb(two.heard[-1]), *two.all(), *two.all()]
        applied = [item[2] for message in heard_by_two if message[0] == DELIVER for item in message[4]]
        # Each is applied or refused, never both, in order, and without a hole.
        assert applied == sorted(applied)
        assert refused == sorted(refused)
        taken = [number for number in applied if number < refused[-1]]
        assert sorted(taken + refused) == list(range(1, refused[-1] + 1))
        assert YARD_BURST <= len(applied) <= YARD_BURST + 5 * REFILL
        assert SECRET not in b"".join(one.heard + two.heard)


def test_a_flood_in_one_frame_is_a_flood_as_well(target: Target) -> None:
    before = target.counted("RateLimited")
    with cut_for_it(target) as heard, peer(target.address) as one:
        yard = one.hello().create("yard")
        pairs = [part for number in range(1, 500) for part in ("count", number)]
        heard.extend(flood(one, [packed(SEND, yard.ref, 1, *pairs)]))
    counted = target.counted("RateLimited") - before
    assert CONTROL_BURST - 5 + REFUSALS < counted < 499 - YARD_BURST, "it goes on behind the end of the connection"


def test_requests_count_like_messages(target: Target) -> None:
    with target.watched(), peer(target.address) as one:
        yard = one.hello().create("yard")
        heard = flood(one, [packed(REQUEST, yard.ref, number, "echo", number) for number in range(1, 151)])
        heard += one.all()  # a bundle leaves at the end of its turn, behind what is said at once
        refused = [message[2] for message in heard if message[0] == ERROR]
        assert {message[3] for message in heard if message[0] == ERROR} == {RATE_LIMITED}
        replied = [item[2:] for message in heard if message[0] == DELIVER for item in message[4]]
        assert all(number == data for number, data in replied)
        assert sorted([number for number, _ in replied] + refused) == list(range(1, 151))
        assert len(replied) >= YARD_BURST
        assert len(refused) >= 20  # 150 at once, 50 allowed; it is not cut for that
        one.say(SEND, yard.ref, 151, "count", "after")
        one.say(ACK, yard.ref, 151)
        while one.wait(ACK)[2] != 151:
            pass


REQUESTS: dict[str, tuple[int, tuple[Any, ...]]] = {
    "LIST": (LIST, (None, {})),
    "MATCH": (MATCH, ([2, "nowhere", {"flood": 1}], {}, 30.0)),
    "CREATE": (CREATE, ([2, "nowhere", {}], {}, {})),
    "JOIN_BY_ID": (JOIN_BY_ID, ("0" * 32, {}, {})),
    "CANCEL": (CANCEL, ()),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_too_many_requests_are_refused_by_number_and_then_cut(target: Target, name: str) -> None:
    kind, rest = REQUESTS[name]
    counted = target.counted("RateLimited")
    with cut_for_it(target) as heard, peer(target.address) as one:
        one.hello()
        heard.extend(flood(one, [packed(kind, one.ref, ask, *rest) for ask in range(1, 501)]))
        refused = [message[2] for message in heard if message[0] == ERROR and message[3] == RATE_LIMITED]
        assert {message[1] for message in heard if message[0] == ERROR and message[3] == RATE_LIMITED} == {one.ref}
        assert refused == sorted(set(refused))
        assert set(refused) <= set(range(1, 501))
        assert 100 <= len(refused) <= REFUSALS + REFILL
    assert target.counted("RateLimited") - counted >= len(refused)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", BAD_MESSAGE),
        (b"\xc1", BAD_MESSAGE),
        (packed(99), 1001),
        (packed(SEND, 5, 1, "message", "nobody"), 1004),
        (packed(ACK, 5, 1), 1004),
        (packed(JOIN, 1, "0" * 32, bytes(16), {}), 1011),
        (packed(RECOVER, 1, "0" * 32, bytes(16), 1, 0, 0), 2102),
    ],
    ids=["nothing", "no value", "unknown kind", "SEND", "ACK", "JOIN", "RECOVER"],
)
def test_what_has_to_be_refused_again_and_again_costs_the_connection(target: Target, frame: bytes, code: int) -> None:
    with cut_for_it(target) as heard, peer(target.address) as one:
        heard.extend(flood(one, [frame] * 500))
        codes = [message[3] for message in heard if message[0] == ERROR]
        assert codes[0] == code
        assert set(codes) <= {code, RATE_LIMITED}
        assert REFUSALS <= len(codes) <= CONTROL_BURST + REFUSALS + REFILL


def test_guessing_tokens_is_slow_and_costs_the_connection(target: Target) -> None:
    with cut_for_it(target) as heard, peer(target.address) as victim, peer(target.address) as thief:
        victim.hello()
        guesses = [packed(RESUME, ask, [1], victim.session, ask.to_bytes(16), 0, {}) for ask in range(1, 501)]
        heard.extend(flood(thief, guesses))
        refusals = [message for message in heard if message[0] == GOODBYE and message[2] == SESSION_UNKNOWN]
        assert CONTROL_BURST <= len(refusals) <= CONTROL_BURST + REFILL
        assert WELCOME not in [message[0] for message in heard]
        victim.say(SEND, victim.ref, 1, "message", "still mine")
        assert victim.wait(DELIVER)[4][0][3] == "still mine"


def test_signs_of_life_are_free_and_each_is_answered(target: Target) -> None:
    with target.watched(), peer(target.address) as one:
        heard = flood(one, [packed(PING, number) for number in range(3000)])
        assert heard == [[PONG, number] for number in range(3000)]
        yard = one.hello().create("yard")
        heard = flood(one, [packed(ACK, yard.ref, number) for number in range(3000)])
        assert heard
        assert all(message == [ACK, yard.ref, 0] for message in heard)
        assert len(heard) <= 3000


def test_who_asks_for_ever_and_never_reads_is_cut(target: Target) -> None:
    target.settles()
    memory = target.memory()
    with target.watched(), peer(target.address) as one:
        assert isinstance(one.link, Zmtp)
        one.link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or the kernel takes megabytes of PONGs
        pings = framed(packed(PING, 2**50)) * 5000
        slow = target.counted("too slow")
        with suppress(Gone, TimeoutError):
            one.link.raw(pings * 160)
        target.counts_more("too slow", slow)
        assert one.link.is_cut()
    target.settles()
    # How many of them lie unread at once is a matter of how busy the machine is; each takes 64 bytes then.
    assert target.memory() - memory < 800_000 * 64 + 16 * 1024 * 1024


def test_hundreds_of_hellos_at_once_make_a_burst_of_sessions_that_end_with_the_connection(target: Target) -> None:
    with cut_for_it(target) as heard, peer(target.address) as one:
        heard.extend(flood(one, [packed(HELLO, ask, [1], "flood", {}) for ask in range(1, 601)]))
        welcomes = [message for message in heard if message[0] == WELCOME]
        assert CONTROL_BURST <= len(welcomes) <= CONTROL_BURST + REFILL
        for field in (1, 3, 4, 5, 6):  # ask, ref, session, token, client id: no two have one in common
            assert len({message[field] for message in welcomes}) == len(welcomes)
        refused = [message[2] for message in heard if message[0] == ERROR]
        assert not set(refused) & {message[1] for message in welcomes}


@contextmanager
def a_server(**limits: float) -> Iterator[tuple[str, Process]]:
    """A server with other limits, and nobody on it."""
    given = "".join(f", {name}={value!r}" for name, value in limits.items())
    source = SERVER.replace("ping_timeout=3.0", "ping_timeout=3.0" + given)
    assert given in source
    with Process(source) as server:
        yield server.answer()["address"], server


def test_a_connection_carries_256_sessions_and_not_one_more() -> None:
    with a_server(control_rate=100_000.0, control_burst=5000) as (address, server), peer(address) as one:
        heard = flood(one, [packed(HELLO, ask, [1], "flood", {}) for ask in range(1, 401)])
        assert [message[0] for message in heard] == [WELCOME] * 256 + [ERROR] * 144
        assert [message[2:4] for message in heard[256:]] == [[ask, CAPACITY_REACHED] for ask in range(257, 401)]
        assert server.ask("stats")["sessions"] == 256
        one.say(GOODBYE, heard[0][3], 3004, "")
        one.say(HELLO, 500, [1], "there is a place again", {})
        assert one.wait(WELCOME, ERROR)[:2] == [WELCOME, 500]


def test_one_reservation_tried_a_thousand_times_seats_one() -> None:
    with a_server(control_rate=100_000.0, control_burst=5000) as (address, server), peer(address) as one:
        assigned = one.hello().ask(CREATE, [4, "yard", {}], {}, {})
        room, reservation = assigned[3], assigned[5]
        # JOINED is not confirmed meanwhile: that makes the reservation good again after a drop, and not before.
        heard = flood(one, [packed(JOIN, ask, room, reservation, {}) for ask in range(1, 1001)])
        assert [message[:2] for message in heard if message[0] != ERROR] == [[JOINED, 1]]
        refused = [message[1:4] for message in heard if message[0] == ERROR]
        assert refused == [[0, ask, RESERVATION_REFUSED] for ask in range(2, 1001)]
        listed = one.ask(LIST, None, {})[3]
        assert [room["clients"] for room in listed] == [1]
        assert server.ask("stats")["rooms"] == 1
