"""Bytes that never become messages, decided without sockets: see also ``tests/adversary/test_watch.py``."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.transport import watch as module
from server_room_system.transport.watch import Account, ByteWatch


def test_what_was_heard_is_no_excess() -> None:
    account = Account(0.0)
    assert account.look(0, 0, 0.0) == 0
    assert account.look(1000, 1000, 1.0) == 0
    assert account.look(101_000, 1000, 1.0) == 100_000
    assert account.look(101_000, 101_000, 1.0) == 0


def test_heartbeats_are_forgiven_and_floods_are_not() -> None:
    account, arrived = Account(0.0), 0
    for second in range(1, 100_000, 5):
        arrived += 82  # PING and PONG under CURVE
        assert account.look(arrived, 0, float(second)) < 100
    account, arrived, excess = Account(0.0), 0, 0.0
    for second in range(1, 200):
        arrived += 1000
        excess = account.look(arrived, 0, float(second))
    assert excess > 190_000


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0.0, 1.0)), max_size=50))
@settings(max_examples=100, deadline=None)
def test_more_heard_than_sent_gives_no_credit(looks: list[tuple[int, int, float]]) -> None:
    account, arrived, heard, now = Account(0.0), 0, 0, 0.0
    for sent, listened, pause in looks:
        arrived, heard, now = arrived + sent, heard + listened, now + pause
        account.look(arrived, heard, now)
    assert account.look(arrived + 1_000_000, heard, now) >= 1_000_000


def test_a_later_count_of_what_was_heard_forgives_nothing() -> None:
    account = Account(0.0)
    assert account.look(50_000, 0, 0.0) == 50_000
    assert account.excess(50_000, 90_000) == 0  # more has come since, and was heard
    assert account.look(90_000, 90_000, 0.0) == 0


class Port:
    """A port whose connections send what is no message, and which is about to read."""

    def __init__(self) -> None:
        self.to_judge: list[Callable[[], None]] = []
        self.cut: list[int] = []

    def heard(self, fd: int) -> int:
        return 0

    def largest(self, fd: int) -> int:
        return 64

    def when_read(self, then: Callable[[], None]) -> None:
        self.to_judge.append(then)

    def flooded(self, fd: int) -> None:
        self.cut.append(fd)


@pytest.fixture
def suspected(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[ByteWatch, Port], None]], None]:
    """Looks at two connections that have sent too much, and does something before they are judged."""
    monkeypatch.setattr(module, "_arrived", lambda fd: 1_000_000)
    monkeypatch.setattr(module, "_unread", lambda fd: 0)

    def look(meanwhile: Callable[[ByteWatch, Port], None]) -> None:
        async def test() -> None:
            watch, port = ByteWatch(), Port()
            watch._can = True
            for fd in (5, 6):
                watch.opened(port, fd, 0.0)
                watch._look_at_next(1.0)
            assert len(watch._suspects) == len(port.to_judge) == 2
            meanwhile(watch, port)
            watch.close()
            assert not watch._suspects

        asyncio.run(test())

    return look


def test_a_suspect_is_cut_and_who_has_its_descriptor_by_then_is_not(
    suspected: Callable[[Callable[[ByteWatch, Port], None]], None],
) -> None:
    def judge(watch: ByteWatch, port: Port) -> None:
        watch.closed(port, 5)
        watch.opened(port, 5, 1.0)
        assert len(watch._suspects) == 1
        for judge in port.to_judge:
            judge()
        assert port.cut == [6]
        assert not watch._suspects

    suspected(judge)


def test_of_suspects_whose_port_is_closed_before_it_has_read_nothing_is_left(
    suspected: Callable[[Callable[[ByteWatch, Port], None]], None],
) -> None:
    def close(watch: ByteWatch, port: Port) -> None:
        watch.forget(port)
        assert not watch._suspects

    suspected(close)
