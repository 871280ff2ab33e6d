"""The schedule: the same for one seed, of every kind, and harmless to those whom it does not name."""

from itertools import islice
from random import Random

from .faults import Cast, blip, schedule

CAST = Cast(("b0", "b1"), ("w1", "w2"))


def test_a_seed_says_everything() -> None:
    first, again = (list(islice(schedule(Random(5), CAST), 50)) for _ in range(2))
    assert first == again
    assert first != list(islice(schedule(Random(6), CAST), 50))


def test_everything_that_can_break_does() -> None:
    drawn = list(islice(schedule(Random(1), CAST), 1000))
    processes = {"broker", *CAST.bots, *CAST.workers}
    assert {fault.target for fault in drawn if fault.what == "kill"} == processes
    assert {fault.target for fault in drawn if fault.what == "stop"} == processes
    links = {fault.target for fault in drawn} - processes
    assert links == {"control b0", "control b1", "rooms w1", "rooms w2", "lease w1", "lease w2"}
    names = {"kill broker", "kill w", "kill b", "stop broker", "reset rooms", "stall down lease", "corrupt control"}
    assert names <= {fault.name for fault in drawn}


def test_rooms_have_no_excuse_when_the_broker_dies_or_hangs_for_a_moment() -> None:
    for fault in islice(schedule(Random(2), CAST), 1000):
        if fault.target == "broker":
            hangs = fault.what == "stop" and fault.seconds > 2.0
            assert fault.suffers == (CAST.workers if hangs else ())
        elif fault.target in CAST.bots:
            assert set(fault.suffers) <= {fault.target}
        else:
            assert set(fault.suffers) <= {fault.target.rpartition(" ")[2]}


def test_members_whose_connections_are_reset_need_no_excuse() -> None:
    drawn = list(islice(schedule(Random(3), CAST), 1000))
    resets = [fault for fault in drawn if fault.what == "reset" and fault.target.startswith("rooms")]
    assert resets
    assert {fault.suffers for fault in [*resets, blip(Random(1), CAST)]} == {()}
