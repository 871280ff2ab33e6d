"""An event loop that never waits: when nothing is ready, its clock jumps to the next timer.

Programs on it take no real time, and the same seed gives the same course of
events. What a test would wait for in vain is an error instead of a hang.
"""

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from random import Random
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

__all__ = ["Deadlock", "VirtualLoop", "run"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Deadlock(AssertionError):
    """The test waits for something that will not happen."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own, which begins at 0.

    Real sockets are never ready on it: time runs away from them. Work that is
    given to threads (``asyncio.to_thread``) takes no time: the clock stands still
    until it is done.

    Args:
        seed: of ``random``.
        limit: seconds after which a test that still runs is given up: a server
            that runs always has a timer, so that its clock could go on forever.
    """

    def __init__(self, seed: int = 0, limit: float = 3600.0) -> None:
        self.random = Random(seed)
        """For whatever in a simulation is up to chance."""
        self._now = 0.0
        self._limit = limit
        self._give_up_at = limit
        self._in_threads = 0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now

    def jump(self, seconds: float | None) -> None:
        """Nobody has anything to do for so long, or, with None, ever again."""
        if seconds is None:
            self._give_up("deadlock: everybody waits and no timer is set")
        self._now += seconds
        if self._now > self._give_up_at:
            self._give_up(f"{self._limit:.0f} s have passed and the test is not over; run(..., limit=) allows more")

    @property
    def waits_for_threads(self) -> bool:
        """Whether work that was given to threads is not done."""
        return self._in_threads > 0

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """See ``asyncio.loop.run_in_executor``; the clock stands still meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._back_from_thread)
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """See ``asyncio.loop.shutdown_default_executor``; the clock stands still meanwhile."""
        self._in_threads += 1
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self._in_threads -= 1

    def _back_from_thread(self, future: object) -> None:
        self._in_threads -= 1

    def _give_up(self, why: str) -> NoReturn:
        self._give_up_at = self._now + self._limit  # what closes things down has as long again
        waiting = sorted(f"  {_where(task)}" for task in asyncio.all_tasks(self))
        raise Deadlock("\n".join([f"{why}, at {self._now:.3f} s. Who waits, and where:", *waiting]))


class _Jumping(selectors.DefaultSelector):
    """In the place of waiting for descriptors: there are none, except for the one that wakes the loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return []
        if self._loop.waits_for_threads:
            return super().select()
        self._loop.jump(timeout)
        return []


def _where(task: "asyncio.Task[Any]") -> str:
    frames = task.get_stack()
    place = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "not begun"
    return f"{task.get_name()}, {getattr(task.get_coro(), '__qualname__', 'a coroutine')}, {place}"


def run(
    main: "Callable[[], Coroutine[Any, Any, T]] | Coroutine[Any, Any, T]", *, seed: int = 0, limit: float = 3600.0
) -> T:
    """Run a coroutine on a virtual clock, as ``asyncio.run`` would on a real one.

    Args:
        main: an ``async def`` function without arguments, or what calling one gave.
        seed: decides latencies, faults, ids and jitter, and what the module
            ``random`` gives meanwhile. A failure carries it as a note.
        limit: seconds of virtual time that it may take.

    Returns:
        What the coroutine returns.

    Raises:
        Deadlock: everybody waits for somebody else, or it took longer than ``limit``.
    """
    before = random.getstate()
    random.seed(seed)
    try:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed, limit)) as runner:
            return runner.run(main() if callable(main) else main)
    except BaseException as error:
        error.add_note(f"on a virtual clock with seed {seed}")
        raise
    finally:
        random.setstate(before)
