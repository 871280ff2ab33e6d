"""Calls a queue's ``on_ticket``: a plain one in place, async ones side by side in tasks of their own."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

from ..protocol.errors import TicketError
from .queues import MatchQueue, Ticket

__all__ = ["TicketHook"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".server")

_LONGEST = 5.0
"""Seconds that an async ``on_ticket`` may take."""


class TicketHook:
    """Runs ``on_ticket`` for the tickets of all queues.

    Args:
        rated: called with the ticket and what the hook raised, or None.
        begin: called before the answer of an async hook is handled: it may change what clients are told.
        failed: called with the queue's class and what a hook raised that is no refusal.
    """

    def __init__(
        self,
        rated: Callable[[Ticket, BaseException | None], None],
        begin: Callable[[], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._rated = rated
        self._begin = begin
        self._failed = failed
        self._tasks: dict[Ticket, asyncio.Task[None]] = {}

    def start(self, queue: MatchQueue, ticket: Ticket) -> None:
        """See ``TicketsOutbox.rate``."""
        try:
            waiting = queue.on_ticket(ticket)
        except Exception as error:  # noqa: BLE001  # a hook may raise anything
            self._answer(queue, ticket, error)
            return
        if inspect.isawaitable(waiting):
            self._tasks[ticket] = asyncio.get_running_loop().create_task(self._await(queue, ticket, waiting))
        else:
            self._answer(queue, ticket, None)

    def stop(self, ticket: Ticket) -> None:
        """See ``TicketsOutbox.stop_rating``."""
        task = self._tasks.get(ticket)
        if task is not None:  # before its first step, it would never begin, nor be forgotten
            asyncio.get_running_loop().call_soon(task.cancel)

    async def close(self) -> None:
        """Stop all of them, and wait until they have ended: for a second, since a hook may refuse to."""
        tasks = list(self._tasks.values())
        for task in tasks:
            asyncio.get_running_loop().call_soon(task.cancel)
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    async def _await(self, queue: MatchQueue, ticket: Ticket, waiting: Awaitable[None]) -> None:
        failure: BaseException | None = None
        try:
            async with asyncio.timeout(_LONGEST):
                await waiting
        except Exception as error:  # noqa: BLE001  # a hook may raise anything
            failure = error
        finally:
            self._tasks.pop(ticket, None)
        self._begin()
        self._answer(queue, ticket, failure)

    def _answer(self, queue: MatchQueue, ticket: Ticket, failure: BaseException | None) -> None:
        if failure is not None and not isinstance(failure, TicketError):
            self._failed(type(queue).__name__, failure)
        self._rated(ticket, failure)
