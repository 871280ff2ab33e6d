"""Names the room and the hook that hold the event loop up, while they do."""

import asyncio
import logging
import sys
import threading
import traceback

from .worker import Worker

__all__ = ["Watchdog"]

logger = logging.getLogger(__name__.partition(".rooms")[0] + ".watchdog")


class Watchdog:
    """A thread that asks the loop for a sign of life, and logs where it is stuck.

    Args:
        worker: whose hooks are watched.
        patience: seconds without a sign after which it is logged.
    """

    def __init__(self, worker: Worker, patience: float = 0.5) -> None:
        self._worker = worker
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._stop = threading.Event()
        self._alive = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="server-room-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._alive.set()
        self._thread.join()

    def _watch(self) -> None:
        # It asks more often than it is patient: otherwise it sleeps through half of what holds the loop up.
        while not self._stop.wait(self._patience / 5):
            self._alive.clear()
            if self._stop.is_set():
                return  # the loop waits for this thread now, and gives no sign
            self._loop.call_soon_threadsafe(self._alive.set)
            if self._alive.wait(self._patience):
                continue
            self._report()
            self._alive.wait()  # once for each time that it is stuck

    def _report(self) -> None:
        mailbox = self._worker.current
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  # the only way to see another thread
        where = "".join(traceback.format_stack(frame)[-1:]).strip() if frame is not None else "unknown"
        if mailbox is not None and mailbox.busy:
            logger.warning(
                "%s: %s has held up every room of this process for %.1f s. "
                "Make it async, or move the work to a thread. It is at %s",
                mailbox.whose,
                mailbox.hook,
                self._patience,
                where,
                extra=mailbox.fields,
            )
        else:
            logger.warning("the event loop has been held up for %.1f s, at %s", self._patience, where)
