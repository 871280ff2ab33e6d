"""Many deadlines, one timer: what decides asks for a call at a time, and the shell keeps them all."""

import heapq
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["AlarmClock", "Alarms"]

K = TypeVar("K", bound=Hashable)


class AlarmClock(Protocol):
    """Calls back at a time."""

    @property
    def now(self) -> float:
        """The time of this turn, monotonic seconds."""
        ...

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        """Call back at that time, and not at any set before for the same callback and arguments."""

    def clear_alarm(self, callback: Callable[..., None], *args: Hashable) -> None:
        """Do not call back."""


class Alarms(Generic[K]):
    """At most one deadline for each key, earliest first.

    A heap with lazy deletion: setting a key again or clearing it leaves a stale
    entry that is passed over when its time comes. Stale entries never outnumber
    the live ones by more than twice: then the heap is built anew.
    """

    __slots__ = ("_heap", "_live", "_serial")

    def __init__(self) -> None:
        self._live: dict[K, tuple[float, int, K]] = {}
        """The entry of each key that counts; all others in the heap are stale."""
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._live)

    def set(self, key: K, when: float) -> None:
        """Wake ``key`` at ``when`` (monotonic seconds), and not at any time set before."""
        self._serial += 1
        entry = self._live[key] = (when, self._serial, key)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 3 * len(self._live) + 64:
            self._heap = list(self._live.values())
            heapq.heapify(self._heap)

    def clear(self, key: K) -> None:
        """Forget ``key``, if it is set."""
        self._live.pop(key, None)

    def next(self) -> float | None:
        """The earliest deadline, or None."""
        heap = self._heap
        while heap:
            entry = heap[0]
            if self._live.get(entry[2]) is entry:
                return entry[0]
            heapq.heappop(heap)
        return None

    def due(self, now: float) -> Iterator[K]:
        """Take the keys whose time has come, earliest first. What is set meanwhile waits for the next call.

        Otherwise one that finds itself called a little early, and sets itself again, would never let this end.
        """
        last, live = self._serial, self._live
        later: list[tuple[float, int, K]] = []
        try:
            while self._heap and self._heap[0][0] <= now:
                entry = heapq.heappop(self._heap)
                key = entry[2]
                if live.get(key) is not entry:
                    continue
                if entry[1] > last:
                    later.append(entry)
                else:
                    del live[key]
                    yield key
        finally:
            for entry in later:
                heapq.heappush(self._heap, entry)
