"""When to try again to send to a member whose queue was full, and how."""

__all__ = ["SHORTEST_PAUSE", "Patience"]

SHORTEST_PAUSE = 0.02
"""Seconds after which it is tried for the first time."""
_LONGEST_PAUSE = 0.16
"""Twice as long each time, up to this."""


class Patience:
    """The pauses between attempts to bring one member up, and what each begins with.

    To put together what a member missed, or a snapshot, is work, and in vain while
    its queue is full. So an attempt begins with a trial: a frame that costs nothing.
    """

    __slots__ = ("_again", "_on_trial", "_pause")

    def __init__(self) -> None:
        self._again = 0.0
        self._pause = 0.0
        self._on_trial = False

    def is_due(self, now: float) -> bool:
        """Whether it is time for an attempt, at ``now`` in monotonic seconds."""
        return now >= self._again

    def begin(self) -> bool:
        """Begin an attempt; whether with a trial.

        Not twice in a row: a queue that has room for one frame at a time would be given nothing else.
        """
        self._on_trial = self._pause > 0.0 and not self._on_trial
        return self._on_trial

    def end(self, now: float, *, stuck: bool, trial_failed: bool) -> None:
        """End it.

        Args:
            now: monotonic seconds.
            stuck: whether nothing was taken of what the member missed.
            trial_failed: whether not even the trial was.
        """
        if trial_failed:
            self._on_trial = False
        self._pause = min(max(2 * self._pause, SHORTEST_PAUSE), _LONGEST_PAUSE) if stuck else 0.0
        self._again = now + self._pause
