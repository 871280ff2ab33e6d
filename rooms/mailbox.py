"""One event at a time: the mailbox of a room, and how its hooks are called.

    def hook:        called, and over
    async def hook:  called, and the room is busy until it is done

While a hook runs or waits, what happens to the room queues up behind it. What a
hook raises is contained here.
"""

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ..protocol.errors import RequestError

__all__ = ["HookRunner", "Mailbox", "Sender", "Then"]

logger = logging.getLogger(__name__.partition(".rooms")[0] + ".rooms")

Then = Callable[[Any, BaseException | None], None]
"""What follows a hook: gets what it returned, or what it raised."""


_MOST_EVENTS = 1024
"""Messages that wait while an async hook runs; more are refused as ROOM_BUSY."""


class HookRunner(Protocol):
    """What a mailbox needs from the shell."""

    current: "Mailbox | None"
    """Whose hook runs now: what the watchdog names when the loop is held up."""

    def run(self, mailbox: "Mailbox", waiting: Awaitable[Any], then: Then) -> None:
        """Await a hook in a task of its own, then call ``mailbox.finished(then, result, error)``."""


class Sender(Protocol):
    """Whose message a hook handles."""

    def refuse(self, error: RequestError, number: int) -> None:
        """The hook did not take it, and said why."""


class Mailbox:
    """The events of one room, and the hook that is being called.

    Args:
        name: the room's id, for the log. Empty for what is no room's, but the server's.
        out: runs async hooks.
        on_error: called with hook and error for what a hook raised.
    """

    __slots__ = ("_draining", "_events", "_number", "_on_error", "_out", "_sender", "busy", "hook", "name")

    def __init__(self, name: str, out: HookRunner, on_error: Callable[[str, BaseException], Any]) -> None:
        self.name = name
        self.busy = False
        self.hook = ""
        self._out = out
        self._on_error = on_error
        self._draining = False
        self._sender: Sender | None = None
        self._number = 0
        self._events: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def full(self) -> bool:
        """Whether no message may wait any more."""
        return len(self._events) >= _MOST_EVENTS

    @property
    def whose(self) -> str:
        """Whose hooks these are, for the log."""
        return f"room {self.name}" if self.name else "the server"

    @property
    def fields(self) -> dict[str, str]:
        """The fields of log records about it."""
        return {"room": self.name} if self.name else {}

    def post(self, event: Callable[..., None], *args: Any) -> None:
        """Handle an event now, or after those that are waiting while a hook is at work.

        What an event posts while it is handled follows from it, and comes before those that waited behind it.
        """
        if self.busy:
            self._events.append((event, args))
        else:
            event(*args)

    def post_last(self, event: Callable[..., None], *args: Any) -> None:
        """Handle an event when all that was posted before is handled, whoever asks for it."""
        self._events.append((event, args))
        if not self.busy:
            self._drain()

    def call(
        self,
        hook: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        then: Then | None = None,
        sender: Sender | None = None,
        number: int = 0,
    ) -> None:
        """Call a hook. Only while not busy.

        Args:
            hook: its name, for the log.
            function: the hook.
            args: what it is called with.
            then: what follows it.
            sender: whose message it handles: is told if the hook raises a RequestError.
            number: that of the message.
        """
        self.busy = True
        self.hook = hook
        self._sender, self._number = sender, number
        self._out.current = self
        try:
            result = function(*args)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a hook may raise anything: it must not end the worker
            self.finished(then, None, error)
            return
        if result is not None and inspect.isawaitable(result):
            self._out.run(self, result, then or _nothing)
            return
        if then is not None:
            self._follow(then, result, None)
        self.busy = False
        if self._events:
            self._drain()

    def finished(self, then: Then | None, result: Any, error: BaseException | None) -> None:
        """A hook is over."""
        if error is not None:
            if self._sender is not None and isinstance(error, RequestError):
                self._sender.refuse(error, self._number)
            self.failed(self.hook, error)
        if then is not None:
            self._follow(then, result, error)
        self.busy = False
        self._drain()

    def _follow(self, then: Then, result: Any, error: BaseException | None) -> None:
        # Still busy: what follows from a hook must not overtake what happened while it ran.
        try:
            then(result, error)
        except BaseException:
            self.busy = False
            raise

    def _drain(self) -> None:
        if self._draining:
            return  # the loop below, further up the stack, goes on
        self._draining = True
        try:
            while self._events and not self.busy:
                event, args = self._events.popleft()
                event(*args)
        finally:
            self._draining = False

    def forget(self) -> None:
        """Nothing happens any more: let go of whom errors were told to. Only while nothing waits."""
        self._on_error = _nobody

    def failed(self, hook: str, error: BaseException) -> None:
        """Log what a hook raised, and tell ``on_error``."""
        if isinstance(error, RequestError):  # said on purpose, in words for the client
            logger.info("%s: %s refused: %s", self.whose, hook, error, extra=self.fields)
        else:
            logger.error("%s: %s raised %s", self.whose, hook, type(error).__name__, exc_info=error, extra=self.fields)
        if hook == "on_error":
            return
        # Its own error goes to the log alone; an async on_error holds the room up like any hook.
        self._events.appendleft((self.call, ("on_error", self._on_error, (hook, error))))


def _nobody(hook: str, error: BaseException) -> None:
    pass


def _nothing(result: Any, error: BaseException | None) -> None:
    pass
