"""The loop that does not wait: time jumps, nothing hangs, one seed is one course of events."""

import asyncio
import random
import threading
import time

import pytest

from server_room_system import BrokerUnreachable, connect
from server_room_system.testing import Deadlock, VirtualLoop, run


def test_time_jumps_to_the_next_timer_and_takes_none() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        for seconds in (0.25, 0.0, 20.0, 86_400.0):
            await asyncio.sleep(seconds)
            times.append(loop.time())
        return times

    began = time.perf_counter()
    assert run(main, limit=100_000) == [0.0, 0.25, 0.25, 20.25, 86_420.25]
    assert time.perf_counter() - began < 5.0


def test_timers_run_in_order_and_what_is_ready_runs_before_time_goes_on() -> None:
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(seconds)
        for _ in range(3):
            await asyncio.sleep(0)
        seen.append((name, loop.time()))

    async def main() -> None:
        await asyncio.gather(sleeper("c", 3.0), sleeper("a", 1.0), sleeper("b", 1.5))

    run(main)
    assert seen == [("a", 1.0), ("b", 1.5), ("c", 3.0)]


def test_run_takes_a_function_or_what_it_gave_and_returns_its_result() -> None:
    async def main() -> int:
        return 7

    assert run(main) == run(main()) == 7


def test_timeouts_are_of_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(main) == 30.0


def test_waiting_for_nothing_is_an_error_that_says_who_waits_and_where(watched_loops: list[str]) -> None:
    async def waits_in_vain() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.sleep(2.5)
        await waits_in_vain()

    with pytest.raises(Deadlock, match=r"deadlock: everybody waits and no timer is set, at 2\.500 s") as raised:
        run(main, seed=5)
    assert "main" in str(raised.value)
    assert f"{__file__}:" in str(raised.value)
    assert raised.value.__notes__ == ["on a virtual clock with seed 5"]
    watched_loops.clear()  # it complains of the task that was given up


def test_what_is_given_up_is_still_closed_down_in_virtual_time(watched_loops: list[str]) -> None:
    closed: list[float] = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(10)
            closed.append(asyncio.get_running_loop().time())

    with pytest.raises(Deadlock):
        run(main)
    assert closed == [10.0]
    watched_loops.clear()


def test_time_that_goes_on_forever_is_given_up(watched_loops: list[str]) -> None:
    async def tick() -> None:
        while True:
            await asyncio.sleep(1)

    async def main() -> None:
        ticking = asyncio.ensure_future(tick())
        try:
            await asyncio.Event().wait()
        finally:
            ticking.cancel()

    with pytest.raises(Deadlock, match="100 s have passed"):
        run(main, limit=100)
    watched_loops.clear()


def test_a_failure_carries_its_seed() -> None:
    async def main() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as raised:
        run(main, seed=42)
    assert raised.value.__notes__ == ["on a virtual clock with seed 42"]


def test_the_seed_is_of_the_loops_randomness_and_of_the_modules() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop.random.random(), random.random()

    random.seed(99)
    expected = random.random()
    random.seed(99)
    assert run(main, seed=1) == run(main, seed=1) != run(main, seed=2)
    assert random.random() == expected  # outside of the run nothing has changed


def test_the_clock_stands_still_while_a_thread_works() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        release = threading.Event()
        ticks = asyncio.ensure_future(asyncio.sleep(1000))
        work = asyncio.ensure_future(asyncio.to_thread(release.wait, 10.0))
        for _ in range(5):
            await asyncio.sleep(0)
        assert loop.time() == 0.0
        release.set()
        assert await work
        assert loop.time() == 0.0
        await asyncio.sleep(5)
        assert loop.time() == 5.0
        ticks.cancel()
        await asyncio.gather(ticks, return_exceptions=True)

    run(main)


def test_a_client_on_real_sockets_finds_nobody_and_leaves_nothing() -> None:
    async def main() -> None:
        async with connect("tcp://127.0.0.1:1"):
            pass

    with pytest.raises(BrokerUnreachable):
        run(main)
