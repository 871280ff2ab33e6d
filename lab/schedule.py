"""When each bot acts. All times are fixed before the load begins, and nothing that happens moves them.

This is what *open loop* means: a server that stands still for a while delays the
messages that were due meanwhile, and as each is measured from the time when it
was due, the pause shows in the percentiles. Bots that send the next message when
the last one is back would send none during the pause, and measure one slow
message where a hundred people would have waited (Gil Tene's "coordinated omission").
"""

from collections.abc import Iterator

__all__ = ["SECOND", "due_times", "join_times"]

_GOLDEN = 0.6180339887498949
SECOND = 1_000_000_000
"""Nanoseconds."""


def due_times(bot: int, rate: float, start: int, until: int) -> Iterator[int]:
    """When a bot acts.

    The bots' times interleave evenly however many there are: each begins at the
    next multiple of the golden ratio within its first interval.

    Args:
        bot: its number.
        rate: acts a second; 0 for none.
        start, until: monotonic nanoseconds; ``until`` itself is not reached.
    """
    if rate <= 0:
        return
    phase = bot * _GOLDEN % 1.0
    count = 0
    while (due := start + int((phase + count) / rate * SECOND)) < until:
        yield due
        count += 1


def join_times(bots: range, rate: float, start: int) -> list[tuple[int, int]]:
    """Number of each bot and when it comes: all bots together are ``rate`` a second, in the order of their numbers."""
    return [(bot, start + int(bot / rate * SECOND)) for bot in bots]
