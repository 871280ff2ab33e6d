"""Calls the server's ``on_auth``: a plain one in place, async ones side by side in tasks of their own."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ..protocol.errors import AuthRefused, AuthUnavailable, PayloadError
from ..rooms.mailbox import HookRunner, Mailbox
from .auth import Admission, Asking, Peer

__all__ = ["AuthHook"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".server")

_MOST_UNENDED = 2
"""How many tasks there may be for each one that may wait: a hook may go on though it was cancelled."""
_LOG_EVERY = 1.0
"""Seconds between two tracebacks of a hook that raises: strangers choose how often it is called."""


class AuthHook:
    """Runs ``on_auth`` for an admission.

    Args:
        hook: the server's.
        admission: what gets the answers.
        names: where the watchdog looks who holds the loop up.
        begin: called before the answer of an async hook is handled: it may change what clients are told.
        on_error: called with what a hook raised that is no refusal.
    """

    def __init__(
        self,
        hook: Callable[[Any, Peer], Any],
        admission: Admission,
        names: HookRunner,
        begin: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._admission = admission
        self._hook = hook
        self._names = names
        self._begin = begin
        self._on_error = on_error
        self._name = Mailbox("", names, _nothing)
        self._name.hook = "on_auth"
        self._tasks: dict[Asking, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._logged_at = -_LOG_EVERY
        self._unlogged = 0

    def start(self, asking: Asking) -> None:
        """See ``AdmissionOutbox.check_credentials``."""
        if len(self._tasks) >= _MOST_UNENDED * self._admission.most:
            self._failed(asking, AuthUnavailable("too many answers are still under way that nobody waits for"))
            return
        self._names.current = self._name
        try:
            answer = self._hook(asking.credentials, asking.peer)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a hook may raise anything
            self._failed(asking, error)
            return
        if answer is not None and inspect.isawaitable(answer):
            self._tasks[asking] = self._loop.create_task(self._await(asking, answer))
        else:
            self._answered(asking, answer)

    def stop(self, asking: Asking) -> None:
        """See ``AdmissionOutbox.stop_checking``."""
        task = self._tasks.get(asking)
        if task is not None:
            self._loop.call_soon(task.cancel)  # before its first step, it would never begin, nor be forgotten

    async def close(self) -> None:
        """Stop all of them, and wait until they have ended: for a second, since a hook may refuse to."""
        tasks = list(self._tasks.values())
        for task in tasks:
            self._loop.call_soon(task.cancel)
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    async def _await(self, asking: Asking, answer: Awaitable[Any]) -> None:
        try:
            who = await answer
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a hook may raise anything
            self._begin()
            self._failed(asking, error)
        else:
            self._begin()
            self._answered(asking, who)
        finally:
            self._tasks.pop(asking, None)

    def _answered(self, asking: Asking, who: Any) -> None:
        try:
            self._admission.answered(asking, who)
        except PayloadError as error:
            self._log(error)

    def _failed(self, asking: Asking, error: BaseException) -> None:
        self._admission.failed(asking, error)
        if not isinstance(error, AuthRefused):
            self._log(error)

    def _log(self, error: BaseException) -> None:
        now = self._loop.time()
        if now - self._logged_at < _LOG_EVERY:
            self._unlogged += 1
            return
        more = f" (and {self._unlogged} more times)" if self._unlogged else ""
        logger.error("the server: on_auth raised %s%s", type(error).__name__, more, exc_info=error)
        self._logged_at, self._unlogged = now, 0
        self._on_error(error)


def _nothing(hook: str, error: BaseException) -> None:
    pass
