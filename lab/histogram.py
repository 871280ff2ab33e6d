"""Counts of times, in buckets whose width grows with the time.

The layout is that of HdrHistogram (Gil Tene, http://hdrhistogram.org): each
doubling is cut into equal parts, here 128, so that what is read back is at most
0.8 % too high, from nanoseconds to hours, in a few hundred integers. The library
itself comes as compiled wheels for some platforms only.
"""

from collections.abc import Iterable

__all__ = ["Histogram"]

_PARTS = 128
_BITS = 8
"""Bits of a number whose bucket has a width of one: two times ``_PARTS``."""


class Histogram:
    """Counts of times in whole nanoseconds. Percentiles are read in seconds."""

    __slots__ = ("_counts", "count")

    def __init__(self, counts: Iterable[tuple[int, int]] = ()) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        """How many times were counted."""
        for bucket, count in counts:
            self._counts[bucket] = self._counts.get(bucket, 0) + count
            self.count += count

    def add(self, nanoseconds: int) -> None:
        """Count one time. One below zero counts as zero."""
        shift = max(0, nanoseconds.bit_length() - _BITS)
        bucket = shift * _PARTS + (nanoseconds >> shift) if nanoseconds > 0 else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1

    def merge(self, other: "Histogram") -> None:
        """Add another one's counts."""
        for bucket, count in other._counts.items():  # noqa: SLF001  # our own kind
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count

    def percentile(self, percent: float) -> float | None:
        """The time in seconds that so many per cent of all do not exceed; None when nothing was counted."""
        if not self.count:
            return None
        wanted = self.count * percent / 100
        reached = 0
        for bucket in sorted(self._counts):
            reached += self._counts[bucket]
            if reached >= wanted:
                return _highest(bucket) / 1e9
        raise AssertionError("the counts add up to less than their count")

    def counts(self) -> list[tuple[int, int]]:
        """Buckets and their counts, to be sent to another process."""
        return sorted(self._counts.items())


def _highest(bucket: int) -> int:
    shift = max(0, bucket // _PARTS - 1)
    return ((bucket - shift * _PARTS + 1) << shift) - 1
