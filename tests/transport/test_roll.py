"""Who is connected to a publisher, by descriptors that are used again."""

import pytest

from server_room_system.transport.roll import Attached, Roll, Said

TOKEN = b"a token, 16 long"


def joined(roll: Roll, fd: int, now: float = 0.0) -> Attached:
    roll.accepted(fd, now)
    attached = roll.at(fd)
    assert attached is not None
    return attached


def test_a_connection_has_its_name_for_good_and_its_number_for_a_while() -> None:
    roll = Roll()
    first = joined(roll, 7)
    assert (roll.named(first.peer), roll.stands(first), len(roll)) == (first, True, 1)
    assert roll.lost(7) is first
    assert (roll.named(first.peer), roll.stands(first), len(roll)) == (None, False, 0)
    roll.settled(roll.doubtful)
    second = joined(roll, 7)
    assert second.peer != first.peer
    assert not roll.stands(first)


def test_a_number_is_in_doubt_until_what_came_before_the_loss_was_read() -> None:
    roll = Roll()
    other = joined(roll, 8)
    joined(roll, 7)
    before = roll.doubtful
    roll.lost(7)
    roll.accepted(7, 0.0)
    assert roll.at(7) is None
    roll.settled(before)
    assert roll.at(7) is None, "what is read now may be older than the loss"
    roll.settled(roll.doubtful)
    assert roll.at(7) is not None
    assert roll.at(8) is other


def test_a_loss_of_nobody_is_none() -> None:
    roll = Roll()
    assert roll.lost(7) is None
    assert roll.at(9) is None


def test_strangers_are_named_once_when_they_are_overdue_and_members_never() -> None:
    roll = Roll()
    assert roll.next_overdue() is None
    member, early, gone, late = joined(roll, 1, 0.0), joined(roll, 2, 1.0), joined(roll, 3, 1.0), joined(roll, 4, 2.0)
    roll.granted(member, TOKEN)
    roll.lost(gone.fd)
    assert roll.next_overdue() == 6.0
    assert roll.overdue(5.9) == []
    assert roll.overdue(6.0) == [early]
    assert roll.next_overdue() == 7.0
    assert roll.overdue(100.0) == [late]
    assert roll.next_overdue() is None


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"\1" + TOKEN, Said.TOKEN),
        (b"\1" + TOKEN + b"x", Said.NOTHING),
        (b"\1" + TOKEN[:-1], Said.NOTHING),
        (b"\1", Said.NOTHING),
        (b"\0" + TOKEN, Said.NOTHING),
        (b"\0", Said.NOTHING),
        (b"", Said.HOSTILE),
        (b"\2" + TOKEN, Said.HOSTILE),
        (TOKEN, Said.HOSTILE),
    ],
)
def test_what_a_subscriber_says_is_a_token_or_nothing_or_hostile(message: bytes, said: Said) -> None:
    assert joined(Roll(), 1).say(message, 0.0) is said


def test_a_third_subscription_is_hostile_and_the_same_one_again_is_not() -> None:
    attached = joined(Roll(), 1)
    assert [attached.say(b"\1" + TOKEN, now) for now in (0.0, 1.0, 2.0)] == [Said.TOKEN] * 3
    assert attached.say(b"\1any topic", 3.0) is Said.NOTHING
    assert attached.say(b"\1" + TOKEN, 3.0) is Said.TOKEN
    assert attached.say(b"\1" + TOKEN[::-1], 3.0) is Said.HOSTILE


def test_two_tokens_may_be_shown_as_often_as_subscriptions_do_and_not_all_the_time() -> None:
    patient, hasty = joined(Roll(), 1), joined(Roll(), 2)
    for shown in (0.0, 0.25, 0.75, 1.75, 3.75, 7.75, 11.75, 15.75):
        for token in (TOKEN, TOKEN[::-1]):
            assert patient.say(b"\1" + token, 100 + shown) is Said.TOKEN
    assert [hasty.say(b"\1" + TOKEN, 100.0) for _ in range(17)] == [Said.TOKEN] * 16 + [Said.HOSTILE]
    assert hasty.say(b"\0" + TOKEN, 100.0) is Said.HOSTILE
