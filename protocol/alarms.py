"""Many deadlines, one timer."""

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

__all__ = ["Alarms"]

K = TypeVar("K", bound=Hashable)


class Alarms(Generic[K]):
    """At most one deadline for each key, earliest first.

    A heap with lazy deletion: setting a key again or clearing it leaves a stale
    entry that is passed over when its time comes. Stale entries never outnumber
    the live ones by more than twice: then the heap is built anew.
    """

    __slots__ = ("_heap", "_live", "_serial")

    def __init__(self) -> None:
        self._live: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._live)

    def set(self, key: K, when: float) -> None:
        """Wake ``key`` at ``when`` (monotonic seconds), and not at any time set before."""
        self._serial += 1
        self._live[key] = (when, self._serial)
        heapq.heappush(self._heap, (when, self._serial, key))
        if len(self._heap) > 3 * len(self._live) + 64:
            self._heap = [(at, serial, name) for name, (at, serial) in self._live.items()]
            heapq.heapify(self._heap)

    def clear(self, key: K) -> None:
        """Forget ``key``, if it is set."""
        self._live.pop(key, None)

    def next(self) -> float | None:
        """The earliest deadline, or None."""
        heap = self._heap
        while heap:
            when, serial, key = heap[0]
            if self._live.get(key) == (when, serial):
                return when
            heapq.heappop(heap)
        return None

    def due(self, now: float) -> Iterator[K]:
        """Take the keys whose time has come, earliest first. What is set meanwhile waits for the next call.

        Otherwise one that finds itself called a little early, and sets itself again, would never let this end.
        """
        last = self._serial
        later: list[tuple[float, int, K]] = []
        try:
            while (when := self.next()) is not None and when <= now:
                entry = heapq.heappop(self._heap)
                if entry[1] > last:
                    later.append(entry)
                else:
                    del self._live[entry[2]]
                    yield entry[2]
        finally:
            for entry in later:
                heapq.heappush(self._heap, entry)
