"""What happened lately: as long as it was promised, and not much longer."""

from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import Recent

steps = st.lists(st.tuples(st.integers(0, 30), st.sampled_from((0.0, 0.5, 3.0, 40.0))), max_size=80)


@given(steps, st.integers(1, 6), st.sampled_from((inf, 1.0, 10.0)))
@settings(max_examples=300, deadline=None)
def test_what_is_kept_and_what_is_not(script: list[tuple[int, float]], most: int, seconds: float) -> None:
    recent: Recent[int, int] = Recent(most, seconds)
    put: list[tuple[int, int, float]] = []
    now = 100.0
    for value, (key, later) in enumerate(script):
        now += later
        recent.put(key, value, now)
        put.append((key, value, now))
        newest = {each: (content, when, place) for place, (each, content, when) in enumerate(put)}
        kept = [each for each in newest if each in recent]
        assert len(kept) <= 2 * most
        assert recent.forgot or len(kept) == len(newest)
        for each, (content, when, place) in newest.items():
            after = len(put) - 1 - place
            if after < most and (now - when < seconds):
                assert recent.get(each) == content
            elif each not in recent:
                assert recent.get(each) is None


def test_what_is_old_goes_though_little_comes_after_it() -> None:
    recent: Recent[str, None] = Recent(1000, 60.0)
    for minute in range(10):
        recent.put(f"at {minute}", None, minute * 60.0)
    assert [minute for minute in range(10) if f"at {minute}" in recent] == [8, 9]
    assert recent.forgot


def test_nothing_is_forgotten_while_little_is_put_in() -> None:
    recent: Recent[str, int] = Recent(2)
    assert "a" not in recent
    for number, key in enumerate("abcd"):
        recent.put(key, number, number * 1e6)
    assert [recent.get(key) for key in "abcd"] == [0, 1, 2, 3]
    assert not recent.forgot
    recent.put("e", 4, 5e6)
    assert [key for key in "abcde" if key in recent] == ["c", "d", "e"]
    assert recent.forgot


def test_all_of_it_can_be_forgotten() -> None:
    recent: Recent[str, int] = Recent(1)
    recent.put("a", 1, 0.0)
    recent.put("b", 2, 0.0)
    recent.clear()
    assert recent.get("a") is recent.get("b") is None
