"""Many deadlines, one timer: against a model that sorts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from server_room_system.protocol import Alarms

operations = st.lists(
    st.tuples(st.just("set"), st.integers(0, 5), st.integers(0, 30))
    | st.tuples(st.just("clear"), st.integers(0, 5), st.just(0))
    | st.tuples(st.just("due"), st.just(0), st.integers(0, 40)),
    max_size=60,
)


@given(operations)
@settings(max_examples=300, deadline=None)
def test_alarms_are_their_naive_model(script: list[tuple[str, int, int]]) -> None:
    alarms: Alarms[int] = Alarms()
    naive: dict[int, tuple[int, int]] = {}  # key: when, and in which order it was set
    for order, (operation, key, when) in enumerate(script):
        if operation == "set":
            alarms.set(key, when)
            naive[key] = (when, order)
        elif operation == "clear":
            alarms.clear(key)
            naive.pop(key, None)
        else:
            due = sorted((at, key) for key, at in naive.items() if at[0] <= when)
            assert list(alarms.due(when)) == [key for _, key in due]
            for _, gone in due:
                del naive[gone]
        assert len(alarms) == len(naive)
        assert alarms.next() == min((at for at, _ in naive.values()), default=None)


def test_a_new_deadline_replaces_the_old_one_earlier_or_later() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("a", 10.0)
    alarms.set("a", 20.0)
    assert list(alarms.due(15.0)) == []
    alarms.set("a", 5.0)
    assert list(alarms.due(15.0)) == ["a"]
    assert list(alarms.due(100.0)) == []


def test_a_deadline_is_due_at_its_very_time() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("a", 10.0)
    assert list(alarms.due(9.999)) == []
    assert list(alarms.due(10.0)) == ["a"]


def test_setting_the_same_time_again_wakes_once() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("a", 10.0)
    alarms.set("a", 10.0)
    assert list(alarms.due(10.0)) == ["a"]


def test_clearing_what_is_not_set_is_fine() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.clear("a")
    assert alarms.next() is None


def test_keys_may_be_set_and_cleared_while_the_due_are_taken() -> None:
    alarms: Alarms[str] = Alarms()
    for key, when in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
        alarms.set(key, when)
    taken = []
    for key in alarms.due(3.0):
        taken.append(key)
        if taken == ["a"]:
            alarms.clear("b")
            alarms.set("a", 2.5)
            for other in range(200):  # enough for the heap to be built anew
                alarms.set("later", 100.0 + other)
    assert taken == ["a", "c"]
    assert list(alarms.due(3.0)) == ["a"]
    assert alarms.next() == 299.0


def test_keys_that_cannot_be_compared_are_fine() -> None:
    alarms: Alarms[object] = Alarms()
    keys = [object() for _ in range(5)]
    for key in keys:
        alarms.set(key, 1.0)
    assert list(alarms.due(1.0)) == keys


def test_a_deadline_that_moves_for_ever_stays_small() -> None:
    """What every connection does with its liveness: stale entries must not pile up."""
    alarms: Alarms[int] = Alarms()
    for turn in range(20_000):
        alarms.set(turn % 10, 1000.0 + turn)
        assert len(alarms._heap) <= 3 * len(alarms) + 64 + 1
    for key in range(10):
        alarms.clear(key)
    assert alarms.next() is None
    assert not alarms._heap


def test_what_is_set_while_others_are_taken_waits_for_the_next_time() -> None:
    alarms: Alarms[str] = Alarms()
    for key, when in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
        alarms.set(key, when)
    taken: list[str] = []
    for key in alarms.due(3.0):
        taken.append(key)
        alarms.set(key, 1.5)  # called early, it comes again: endlessly, if that were now
        alarms.set("d", 0.5)
    assert taken == ["a", "b", "c"]
    assert alarms.next() == 0.5
    assert list(alarms.due(3.0)) == ["d", "a", "b", "c"]
    assert list(alarms.due(9.0)) == []


def test_what_is_cleared_while_others_are_taken_is_not_taken() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("a", 1.0)
    alarms.set("b", 2.0)
    taken: list[str] = []
    for key in alarms.due(3.0):
        taken.append(key)
        alarms.set("a", 1.0)
        alarms.clear("b")
        alarms.clear("a")
    assert taken == ["a"]
    assert (len(alarms), alarms.next()) == (0, None)
