"""An event loop that never waits: when nothing is ready, its clock jumps to the next timer.

Programs on it take no real time, and the same seed gives the same course of
events. What a test would wait for in vain is an error instead of a hang. What
would be several processes shares the loop: each is a ``Process``, which can be
stopped as SIGSTOP stops one, and go on later.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from random import Random
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

__all__ = ["Deadlock", "Process", "VirtualLoop", "run"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


_PROCESS: "ContextVar[Process | None]" = ContextVar("process", default=None)
"""Whose callback this is: what it schedules is its own."""


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
        self.events = 0
        """How many callbacks have run: what came over a connection, timers, and steps of tasks."""
        self.on_event: Callable[[], None] | None = None
        """Called after each of them."""
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_made = 0
        self._now = 0.0
        self._limit = limit
        self._give_up_at = limit
        self._in_threads = 0
        super().__init__()

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See ``asyncio.loop.call_at``; timers of one time ring in the order in which they were set."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers_made += 1
        heappush(self._timers, (when, self._timers_made, timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See ``asyncio.loop.call_later``."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def release(self, process: "Process") -> None:
        """What was held back of a process is ready, in the order in which it was due."""
        self._ready.extend(process.held)  # type: ignore[attr-defined]  # the queue of call_soon
        process.held.clear()

    def _run_once(self) -> None:
        # In the place of asyncio's, which asks the system for descriptors that are ready, and for the time.
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]  # the queue of call_soon
        while timers and timers[0][2].cancelled():
            heappop(timers)
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if self._in_threads:
                self._process_events(self._selector.select())  # type: ignore[attr-defined]
            else:
                self._jump(timers[0][0] if timers else None)
        while timers and timers[0][0] <= self._now:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            process = handle._context.get(_PROCESS)  # noqa: SLF001  # as a loop may
            if process is not None and process.stopped:
                process.held.append(handle)
                continue
            self.events += 1
            handle._run()  # noqa: SLF001
            if self.on_event is not None:
                self.on_event()

    def _jump(self, when: float | None) -> None:
        if when is None:
            self._give_up("deadlock: everybody waits and no timer is set")
        self._now = max(self._now, when)
        if self._now > self._give_up_at:
            self._give_up(f"{self._limit:.0f} s have passed and the test is not over; run(..., limit=) allows more")

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


class Process:
    """A part of the simulation that would be a process of its own.

    What is begun in it, and all that follows from that, belongs to it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopped = False
        """Whether it stands still."""
        self.held: deque[asyncio.Handle] = deque()
        """What waits for it to go on."""
        self.context = copy_context()
        """Callbacks with this context are its own."""
        self.context.run(_PROCESS.set, self)

    @staticmethod
    def current() -> "Process | None":
        """The one that this is called in."""
        return _PROCESS.get()

    @staticmethod
    def of(context: Context) -> "Process | None":
        """The one that callbacks with this context belong to."""
        return context.get(_PROCESS)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in it; what that returns."""
        return await asyncio.get_running_loop().create_task(work, context=self.context)

    def stop(self) -> None:
        """Stand still, as on SIGSTOP: nothing of it runs. What comes for it waits, as far as queues take it."""
        self.stopped = True

    def go_on(self) -> None:
        """Go on, as on SIGCONT: the clock has jumped, all timers of meanwhile are late, and what came is there."""
        if self.stopped:
            self.stopped = False
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.release(self)


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
