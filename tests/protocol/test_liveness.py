"""When a peer is given up."""

from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import Limits, Liveness


def test_silence_leads_to_the_end() -> None:
    live = Liveness(15.0, now=100.0)
    assert not live.is_dead(114.999)
    assert live.is_dead(115.0)


def test_any_frame_is_a_sign_of_life() -> None:
    live = Liveness(15.0, now=0.0)
    live.heard(7.0)
    assert not live.is_dead(21.999)
    assert live.is_dead(22.0)


def test_the_announced_limits_leave_room_for_a_lost_question() -> None:
    limits = Limits()
    assert limits.ping_timeout >= 2 * limits.ping_interval


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=30))
@settings(max_examples=200, deadline=None)
def test_liveness_is_its_definition(script: list[tuple[int, bool]]) -> None:
    live, now = Liveness(30.0, now=0.0), 0.0
    heard = [0.0]
    for seconds, speaks in script:
        now += seconds
        if speaks:
            live.heard(now)
            heard.append(now)
        assert live.is_dead(now) == (now - heard[-1] >= 30.0)
