"""What came and is not read yet."""

from collections import deque

from .received import Received

__all__ = ["Inbox"]


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
        self._most = None
        return left_out

    def put(self, message: Received) -> None:
        """Take a message."""
        self._messages.append(message)

    def take(self) -> tuple[Received, bool]:
        """The next message, and whether it is time to fetch what was left out."""
        message = self._messages.popleft()
        if self._left_out and self._most is not None and len(self._messages) <= self._most // 2:
            self._left_out = False
            return message, True
        return message, False
