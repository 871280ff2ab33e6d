"""What only the network in memory does: faults on order, the same for the same seed."""

import asyncio

from server_room_system.testing import FaultyNetwork, run
from server_room_system.transport import MemoryNetwork, Sent

from .ground import HOST, LARGEST, Ear, Ground, Mouth, on_memory


def network_of(ground: Ground) -> MemoryNetwork:
    assert isinstance(ground.network, MemoryNetwork)
    return ground.network


@on_memory
async def test_a_cut_connection_loses_what_is_behind_a_prefix(ground: Ground) -> None:
    listener, ear = ground.listen()
    lost = set()
    for _ in range(40):
        link, mouth, voice = await ground.pair(listener, ear)
        for number in range(10):
            link.send(b"%d" % number)
            listener.send(voice.peer, b"%d" % number)
        assert network_of(ground).cut_one()
        await ground.until(lambda voice=voice, mouth=mouth: voice.deaths and mouth.reasons)  # type: ignore[misc]
        for heard in (voice.frames, mouth.frames):
            assert heard == [b"%d" % number for number in range(len(heard))]
            lost.add(10 - len(heard))
        assert network_of(ground).connections == 0
    assert {0, 10} < lost  # everything, nothing, and something in between
    assert not network_of(ground).cut_one()


@on_memory
async def test_a_stalled_connection_is_silent_both_ways_until_it_is_closed(ground: Ground) -> None:
    listener, ear = ground.listen()
    link, mouth, voice = await ground.pair(listener, ear)
    assert network_of(ground).stall_one()
    assert not network_of(ground).stall_one()
    assert link.send(b"x") is Sent.TAKEN
    assert listener.send(voice.peer, b"x") is Sent.TAKEN
    await ground.quiet()
    assert (voice.frames, voice.deaths, mouth.frames, mouth.reasons) == ([], 0, [], [])
    assert ground.fill(lambda number: link.send(b"%d" % number)) == 255
    link.close()
    await ground.quiet()
    assert voice.deaths == 0  # nothing comes through, not even the end
    listener.cut(voice.peer)
    await ground.until(lambda: voice.deaths)
    assert network_of(ground).connections == 0


def test_the_same_seed_is_the_same_course_of_events() -> None:
    async def course(seed: int) -> list[tuple[float, bytes]]:
        heard: list[tuple[float, bytes]] = []
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        network = FaultyNetwork(seed)
        ear = Ear(changed)
        listener = network.listen(HOST, 0, ear, LARGEST)
        mouths = [Mouth(changed) for _ in range(5)]
        links = [network.connect(listener.address, mouth, LARGEST) for mouth in mouths]
        await asyncio.sleep(1)
        for number in range(20):
            for which, link in enumerate(links):
                link.send(b"%d of %d" % (number, which))
        ear.on_flush = lambda: heard.append((loop.time(), b" ".join(voice.frames[-1] for voice in ear.voices)))
        network.cut_one()
        await asyncio.sleep(1)
        listener.close()
        network.close()
        return heard

    courses = [run(course(seed), seed=seed) for seed in (1, 1, 2)]
    assert courses[0] == courses[1]
    assert courses[0] != courses[2]
