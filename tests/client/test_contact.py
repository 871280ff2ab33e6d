"""One server that a client talks to: attempts, silence, and what waits to be said."""

import math

import pytest

from server_room_system.client.contact import Contact
from server_room_system.client.life import ClientEvent, ClientState
from server_room_system.protocol import Limits, Ping

from .fakes import START, FakeOutbox

LIMITS = Limits(ping_interval=5.0, ping_timeout=15.0)


def online(out: FakeOutbox) -> Contact:
    contact = Contact("tcp://10.0.0.2:7001", out, lambda: 0.5, START)
    contact.step(ClientEvent.OPEN)
    contact.dial(START, 30.0)
    contact.up(START, 30.0, LIMITS)
    contact.opened(LIMITS, START)
    return contact


def test_an_attempt_has_five_seconds_and_the_last_one_what_is_left() -> None:
    out = FakeOutbox()
    contact = Contact("tcp://10.0.0.2:7001", out, lambda: 0.5, START)
    contact.step(ClientEvent.OPEN)
    contact.dial(START, 30.0)
    assert (contact.deadline, out.dials) == (START + 5.0, [contact])
    contact.dial(START + 28.0, 30.0)
    assert contact.deadline == START + 30.0


def test_attempts_are_further_and_further_apart_until_one_succeeds() -> None:
    contact = online(FakeOutbox())
    pauses: list[float] = []
    now = START
    for _ in range(6):
        contact.lost(now)
        assert contact.try_again(now, math.inf)
        pauses.append(contact.deadline - now)
        contact.step(ClientEvent.RETRY)
    assert pauses == sorted(pauses)
    assert pauses[-1] > 2 * pauses[0]
    contact.up(now, 30.0, LIMITS)
    contact.opened(LIMITS, now)
    contact.lost(now)
    assert contact.try_again(now, math.inf)
    assert contact.deadline - now == pauses[0]


@pytest.mark.parametrize("patience", [0.7, 5.0, 60.0])
def test_who_is_patient_for_some_seconds_gets_attempts_until_they_are_over(patience: float) -> None:
    contact = online(FakeOutbox())
    now, attempts = START, 0
    contact.lost(now)
    while contact.try_again(now, patience):
        assert now < contact.deadline < START + patience
        attempts, now = attempts + 1, contact.deadline
        contact.step(ClientEvent.RETRY)
        contact.lost(now)
    assert patience - 0.05 < now - START < patience
    assert contact.deadline > now, "it is not called again at once, given up or not"
    assert 3 <= attempts < 40


def test_it_is_gone_since_it_was_lost_and_not_since_the_last_attempt() -> None:
    contact = online(FakeOutbox())
    contact.lost(START + 10.0)
    contact.step(ClientEvent.RETRY)
    contact.lost(START + 20.0)
    assert contact.gone_since == START + 10.0
    assert contact.state is ClientState.WAITING


def test_however_often_the_server_wants_it_signs_of_life_are_asked_for_ten_times_a_second() -> None:
    out = FakeOutbox()
    contact = online(out)
    contact.heard_with(Limits(ping_interval=1e-300, ping_timeout=15.0), START)
    assert contact.ping_at == START + 0.1
    assert contact.wrong(START + 0.1) is None
    assert out.heard() == [Ping(1)]
    assert contact.ping_at == START + 0.2


def test_signs_of_life_are_asked_for_and_waited_for() -> None:
    out = FakeOutbox()
    contact = online(out)
    assert contact.wrong(START + 4.9) is None
    assert out.heard() == []
    assert contact.wrong(START + 5.0) is None
    assert out.heard() == [Ping(1)]
    assert contact.ping_at == START + 10.0
    contact.heard(START + 6.0)
    assert contact.wrong(START + 20.9) is None
    assert contact.wrong(START + 21.0) == "nothing was heard for too long"


def test_what_is_said_waits_for_room_and_goes_in_order() -> None:
    out = FakeOutbox()
    contact = online(out)
    out.room_for = 1
    for number in range(3):
        contact.say(Ping(number))
    assert not contact.say_unsaid()
    assert out.heard() == [Ping(0)]
    out.room_for = None
    assert contact.say_unsaid()
    assert out.heard() == [Ping(1), Ping(2)]


def test_a_server_that_takes_nothing_is_given_up() -> None:
    out = FakeOutbox()
    contact = online(out)
    out.room_for = 0
    for number in range(257):
        assert contact.wrong(START + 1.0) is None
        contact.say(Ping(number))
    assert contact.wrong(START + 1.0) == "the server takes nothing"


def test_what_waits_to_be_said_ends_with_the_connection() -> None:
    out = FakeOutbox()
    contact = online(out)
    out.room_for = 0
    contact.say(Ping(1))
    contact.lost(START + 1.0)
    out.room_for = None
    assert contact.say_unsaid()
    assert out.heard() == []
