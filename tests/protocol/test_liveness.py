"""When a peer is asked for a sign of life, and when it is given up."""

from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import Limits, Liveness


def test_silence_leads_to_a_question_and_then_to_the_end() -> None:
    live = Liveness(5.0, 15.0, now=100.0)
    assert not live.should_ping(104.999)
    assert live.should_ping(105.0)
    assert not live.is_dead(114.999)
    assert live.is_dead(115.0)


def test_a_question_is_repeated_each_interval_and_is_no_sign_of_life() -> None:
    live = Liveness(5.0, 15.0, now=0.0)
    live.pinged(5.0)
    assert not live.should_ping(9.999)
    assert live.should_ping(10.0)
    live.pinged(10.0)
    assert live.is_dead(15.0)


def test_any_frame_is_a_sign_of_life() -> None:
    live = Liveness(5.0, 15.0, now=0.0)
    live.pinged(5.0)
    live.heard(7.0)
    assert not live.should_ping(11.999)
    assert live.should_ping(12.0)
    assert not live.is_dead(21.999)
    assert live.is_dead(22.0)


def test_a_question_asked_before_the_last_sign_does_not_put_the_next_one_off() -> None:
    live = Liveness(5.0, 15.0, now=0.0)
    live.heard(8.0)
    live.pinged(6.0)
    assert live.should_ping(13.0)


def test_the_announced_limits_leave_room_for_a_lost_question() -> None:
    limits = Limits()
    assert limits.ping_timeout >= 2 * limits.ping_interval


@given(st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["heard", "pinged", "nothing"])), max_size=30))
@settings(max_examples=200, deadline=None)
def test_liveness_is_its_definition(script: list[tuple[int, str]]) -> None:
    live, now = Liveness(10.0, 30.0, now=0.0), 0.0
    heard, pinged = [0.0], [0.0]
    for seconds, event in script:
        now += seconds
        if event == "heard":
            live.heard(now)
            heard.append(now)
        elif event == "pinged":
            live.pinged(now)
            pinged.append(now)
        assert live.should_ping(now) == (now - heard[-1] >= 10.0 and now - pinged[-1] >= 10.0)
        assert live.is_dead(now) == (now - heard[-1] >= 30.0)
