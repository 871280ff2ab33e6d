"""The tasks of async hooks: one for each room whose hook waits for something."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from .mailbox import Mailbox, Then

__all__ = ["HookTasks"]

_END = 1.0
"""Seconds that hooks have to end which are stopped with the worker."""


class HookTasks:
    """Those of one worker.

    Args:
        begin: called when a hook has ended, before what follows from that.
        end: called after that.
    """

    def __init__(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._begin = begin
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[Mailbox, asyncio.Task[None]] = {}
        self._stopped: set[Mailbox] = set()
        """Whose hooks are about to be cancelled."""
        self._over = False

    def __len__(self) -> int:
        return len(self._tasks)

    def run(self, mailbox: Mailbox, waiting: Awaitable[Any], then: Then) -> None:
        """See ``HookRunner.run``."""
        self._tasks[mailbox] = self._loop.create_task(self._await(mailbox, waiting, then))

    def stop(self, mailbox: Mailbox) -> None:
        """See ``RoomOutbox.stop_hook``."""
        task = self._tasks.get(mailbox)
        if task is not None:
            self._stopped.add(mailbox)
            self._loop.call_soon(self._cancel, mailbox, task)  # before its first step, it would never begin nor end

    async def close(self) -> None:
        """End those that still wait; nothing follows from that any more."""
        self._over = True
        tasks = list(self._tasks.values())
        for task in tasks:
            self._loop.call_soon(task.cancel)  # see stop
        if tasks:
            await asyncio.wait(tasks, timeout=_END)

    def _cancel(self, mailbox: Mailbox, task: "asyncio.Task[None]") -> None:
        self._stopped.discard(mailbox)
        task.cancel()

    async def _await(self, mailbox: Mailbox, waiting: Awaitable[Any], then: Then) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = await waiting
        except asyncio.CancelledError as cancelled:  # by stop or by the hook itself
            error = cancelled
        except (Exception, SystemExit) as raised:  # noqa: BLE001  # a hook may raise anything
            error = raised
        finally:
            self._tasks.pop(mailbox, None)
            if mailbox in self._stopped:
                self._stopped.discard(mailbox)
                error = error or asyncio.CancelledError()  # over with its first step, before it could be cancelled
        if self._over:
            return
        self._begin()
        try:
            mailbox.finished(then, result, error)
        finally:
            del error  # its traceback is of this very frame
        self._end()
