"""When a subscription shows its tokens."""

import asyncio
from collections import deque
from collections.abc import Callable

from ..protocol.ids import TOKEN_SIZE

__all__ = ["Tokens"]

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 4.0
_TOPICS = 8
"""Topics that a connection remembers: two tokens for two topics each, and a room that once moved to new ones."""


class Tokens:
    """Shows tokens again and again, until something comes for them.

    A publisher may let a token pass unanswered when it is not certain who showed
    it, and says nothing to those who have no right to any topic.

    Args:
        show: puts a token on the wire.
    """

    def __init__(self, show: Callable[[bytes], None]) -> None:
        self._show = show
        self._waiting: dict[bytes, asyncio.TimerHandle] = {}
        self._topics: deque[bytes] = deque(maxlen=_TOPICS)
        self._loop = asyncio.get_running_loop()

    def present(self, token: bytes) -> None:
        """See ``Subscription.present``."""
        assert len(token) == TOKEN_SIZE
        self._stop(token)
        self._present(token, _FIRST_PAUSE)

    def heard(self, topic: bytes) -> None:
        """A frame came on this topic."""
        if topic not in self._topics:
            self._topics.append(topic)
            self.end()

    def end(self) -> None:
        """Show none any more."""
        for token in list(self._waiting):
            self._stop(token)

    def _present(self, token: bytes, pause: float) -> None:
        self._waiting[token] = self._loop.call_later(pause, self._present, token, min(2 * pause, _LONGEST_PAUSE))
        self._show(token)

    def _stop(self, token: bytes) -> None:
        waiting = self._waiting.pop(token, None)
        if waiting is not None:
            waiting.cancel()
