"""What came and is not read yet."""

from collections import deque

from .received import Received

__all__ = ["Inbox"]

_MOST_REST = 64 * 1024 * 1024
"""Bytes that may come when there is no limit any more: no server of ours keeps more of what is over."""


class Inbox:
    """A bounded queue of messages.

    When it is full, nothing more is taken; what was left out is fetched again
    from the sender's history as soon as half of it is read.

    Args:
        most: messages that may wait. One bundle may go over it.
    """

    def __init__(self, most: int) -> None:
        self._most: int | None = most
        self._messages: deque[Received] = deque()
        self._left_out = False
        self._spare = 0

    def __len__(self) -> int:
        return len(self._messages)

    def has_room(self) -> bool:
        """Whether another bundle is taken. Once one was left out, none is until it is fetched.

        The offsets of a later bundle do not show that direct messages are missing.
        """
        if self._most is not None and len(self._messages) >= self._most:
            self._left_out = True
        return not self._left_out

    def lift(self) -> bool:
        """Nothing more comes but a bounded rest: take all of it.

        Returns:
            Whether something was left out, and has to be fetched.
        """
        left_out, self._left_out = self._left_out, False
        if self._most is not None:
            self._most, self._spare = None, _MOST_REST
        return left_out

    def bears(self, size: int) -> bool:
        """Count a bundle of so many bytes. False: this is no rest any more."""
        if self._most is None:
            self._spare -= size
        return self._spare >= 0

    def put(self, message: Received) -> None:
        """Take a message. Of resets that follow each other, the newest stands for all."""
        if message.kind == "reset" and self._messages and self._messages[-1].kind == "reset":
            self._messages.pop()
        self._messages.append(message)

    def take(self) -> tuple[Received, bool]:
        """The next message, and whether it is time to fetch what was left out."""
        message = self._messages.popleft()
        if self._left_out and self._most is not None and len(self._messages) <= self._most // 2:
            self._left_out = False
            return message, True
        return message, False
