"""More than a hundred runs of the whole system, each with faults of its own."""

import pytest

from server_room_system.testing import run

from .world import World

SEEDS = range(75)


def simulate(seed: int, fanout: str = "unicast", workers: int | None = None) -> World:
    """One run, checked. A failure names its seed; the same seed fails in the same way."""
    worlds: list[World] = []

    async def play() -> None:
        worlds.append(World(seed, fanout=fanout, workers=workers))
        await worlds[0].run()

    run(play, seed=seed)
    return worlds[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_crosses_rooms_is_lost_doubled_oversold_or_left(seed: int) -> None:
    simulate(seed)


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_topic_rooms_keep_the_same_promises(seed: int) -> None:
    simulate(seed, fanout="topic")


@pytest.mark.parametrize("seed", SEEDS[:6])
@pytest.mark.parametrize("fanout", ["unicast", "topic"])
def test_rooms_on_workers_keep_the_same_promises(seed: int, fanout: str) -> None:
    simulate(seed, fanout, workers=2)


def test_one_seed_is_one_course_of_events() -> None:
    first = simulate(3).trace
    elsewhere = [object() for _ in range(100_000)]  # the second one lives at other addresses
    assert simulate(3).trace == first
    assert simulate(4).trace != first
    del elsewhere


def test_the_runs_get_to_what_they_are_for() -> None:
    worlds = [simulate(seed) for seed in range(10)]
    visits = [visit for world in worlds for visit in world.ledger.visits]
    entries = [entry for world in worlds for stream in world.ledger.streams.values() for entry in stream.entries]
    assert sum(len(world.ledger.streams) for world in worlds) > 100
    assert sum(visit.entered for visit in visits) > 300
    assert sum(visit.wish is not None and visit.entered for visit in visits) > 50
    assert sum(visit.resets for visit in visits) > 3
    assert sum(map(len, (visit.acknowledged for visit in visits))) > 1000
    assert sum(map(len, (visit.refused for visit in visits))) > 50
    assert sum(entry.to is not None for entry in entries) > 1000
    assert sum(bool(entry.excepted) for entry in entries) > 500
    assert sum(len(world.trace) for world in worlds) > 10_000
    assert sum(world.cuts for world in worlds) > 100
    assert sum(world.stalls for world in worlds) > 20
