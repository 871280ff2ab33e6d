"""What each address may do, on a clock of the test's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system import ConfigError
from server_room_system.protocol.limits import AddressLimits
from server_room_system.rooms import addresses
from server_room_system.rooms.addresses import AddressBook

HOME, OFFICE = "192.0.2.1", "198.51.100.7"
SMALL = AddressLimits(connections=3, connection_rate=1.0, hello_rate=1.0, sessions=2, longest_refusal=60.0)


def test_an_address_has_so_many_connections_and_another_one_as_many() -> None:
    book = AddressBook(AddressLimits(connections=3, connection_rate=1000.0))
    assert [book.connected(HOME, 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert book.connected(OFFICE, 0.0)
    for _ in range(2):  # those that were refused are closed
        book.disconnected(HOME)
    assert not book.connected(HOME, 1.0)
    book.disconnected(HOME)
    book.disconnected(HOME)
    assert book.connected(HOME, 1.0)


def test_new_connections_come_in_a_burst_and_then_at_a_rate() -> None:
    book = AddressBook(SMALL)

    def come(now: float) -> bool:
        let_in = book.connected(HOME, now)
        book.disconnected(HOME)
        return let_in

    assert [come(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert [come(1.0), come(1.0)] == [True, False]
    assert [come(60.0) for _ in range(4)] == [True, True, True, False]
    assert book.counts == {addresses.CONNECTION_RATE: 4}


def test_sessions_are_opened_at_a_rate_and_so_many_at_once() -> None:
    book = AddressBook(SMALL)
    assert [book.may_enter(HOME, 0.0) for _ in range(4)] == [True, True, True, False]
    for _ in range(2):
        assert book.has_room(HOME)
        book.session_began(HOME)
    assert not book.has_room(HOME)
    assert book.has_room(OFFICE)
    book.session_ended(HOME)
    assert book.has_room(HOME)
    assert book.counts == {addresses.HELLO_RATE: 1, addresses.SESSIONS: 1}


def test_failures_slow_an_address_down_for_a_time_that_doubles() -> None:
    book, now, waits = AddressBook(AddressLimits()), 1000.0, []
    for _ in range(5):
        book.failed(HOME, now)
        assert book.connected(HOME, now), "everybody mistypes now and then"
    for _ in range(9):
        book.failed(HOME, now)
        assert not book.connected(HOME, now)
        assert not book.may_enter(HOME, now)
        assert book.connected(OFFICE, now)
        began = now
        while not book.may_enter(HOME, now):
            now += 0.25
        waits.append(now - began)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_what_was_on_its_way_when_an_address_was_slowed_makes_it_no_slower() -> None:
    book = AddressBook(AddressLimits())
    for _ in range(1000):
        book.failed(HOME, 0.0)
    assert not book.connected(HOME, 0.9)
    assert book.connected(HOME, 1.1)


def test_innocence_is_earned_back() -> None:
    book = AddressBook(AddressLimits())
    for _ in range(6):
        book.failed(HOME, 0.0)
    assert not book.connected(HOME, 0.5)
    book.failed(HOME, 1.0 + 60.0)
    assert book.connected(HOME, 61.0), "a minute of innocence makes up for six failures"
    for number in range(100):  # who mistypes each ten seconds is never slowed
        book.failed(OFFICE, 10.0 * number)
        assert book.connected(OFFICE, 10.0 * number)


@pytest.mark.parametrize("now", [0.0, 1000.0])
def test_a_flood_of_bytes_slows_at_once(now: float) -> None:
    book = AddressBook(AddressLimits())
    book.flooded(HOME, now)
    assert not book.connected(HOME, now + 0.5)
    assert book.connected(HOME, now + 1.5)
    assert book.counts == {addresses.FLOODED: 1, addresses.SLOWED: 1}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("64:ff9b::192.0.2.1", "192.0.2.1", True),
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    book = AddressBook(AddressLimits(connections=1))
    assert book.connected(one, 0.0)
    assert book.connected(other, 0.0) is not same
    assert (addresses.counts_as(one) == addresses.counts_as(other)) is same


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "", "no address"])
def test_loopback_and_what_is_no_address_are_exempt(address: str) -> None:
    book = AddressBook(SMALL)
    for _ in range(20):
        book.failed(address, 0.0)
        assert book.connected(address, 0.0)
        assert book.may_enter(address, 0.0)
        assert book.has_room(address)
        book.session_began(address)
    assert len(book._pages) == 0


def test_networks_can_be_exempted_and_loopback_not() -> None:
    book = AddressBook(AddressLimits(connections=1, exempt=("192.0.2.0/24",)))
    assert [book.connected(HOME, 0.0) for _ in range(3)] == [True] * 3
    assert [book.connected("127.0.0.1", 0.0) for _ in range(2)] == [True, False]


def test_the_book_is_bounded_and_forgets_nobody_who_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_MOST_KEPT", 200)
    book = AddressBook(AddressLimits(connections=1))
    assert book.connected(HOME, 0.0)
    book.session_began(OFFICE)
    for number in range(3 * addresses._MOST_KEPT):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        book.connected(address, 0.0)
        book.disconnected(address)
    assert len(book._pages) <= addresses._MOST_KEPT + 2
    assert len(book._keys) <= addresses._MOST_KEPT + 1
    assert not book.connected(HOME, 0.0)
    assert book._pages[OFFICE].sessions == 1


def test_refusals_are_logged_seldom(caplog: pytest.LogCaptureFixture) -> None:
    book = AddressBook(AddressLimits(connections=1, connection_rate=1000.0))
    for number in range(50_000):
        book.connected(HOME, number / 1000)
    assert len(caplog.records) == 5
    assert HOME in caplog.text


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["connected", "disconnected", "failed", "flooded"]),
            st.sampled_from([HOME, OFFICE]),
            st.floats(0.0, 100.0),
        ),
        max_size=60,
    )
)
@settings(max_examples=100, deadline=None)
def test_whatever_happened_an_address_is_let_in_again_within_the_longest_refusal(
    events: list[tuple[str, str, float]],
) -> None:
    book, now, connected = AddressBook(AddressLimits()), 0.0, {HOME: 0, OFFICE: 0}
    for event, address, pause in events:
        now += pause
        if event == "connected":
            book.connected(address, now)
            connected[address] += 1
        elif event == "disconnected":
            if connected[address]:
                book.disconnected(address)
                connected[address] -= 1
        else:
            getattr(book, event)(address, now)
    for address in (HOME, OFFICE):
        assert book.connected(address, now + 60.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"connections": 0},
        {"connections": "many"},
        {"hello_rate": -1.0},
        {"sessions": True},
        {"longest_refusal": float("nan")},
        {"longest_refusal": float("inf")},
        {"exempt": ("192.0.2.1/24",)},
        {"exempt": ("localhost",)},
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AddressLimits(**wrong)  # type: ignore[arg-type]  # that is the point
