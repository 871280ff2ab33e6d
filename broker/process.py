"""What a process that serves sets for itself: how its memory is collected, and what its signals mean."""

import asyncio
import gc
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["stop_signals", "tuned_collector"]


@contextmanager
def tuned_collector() -> Generator[None, None, None]:
    """Let the cyclic collector look less often while this lasts."""
    # It walks every live object again and again: with a thousand connections
    # that can be half of a server's time. The path of a message makes no
    # cycles, so it may look less often, and never at what was there before the
    # first client, which is frozen.
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def stop_signals(stop: Callable[[], None]) -> Generator[None, None, None]:
    """Call ``stop`` at SIGINT and SIGTERM while this lasts, and at SIGHUP: its terminal is closed.

    Under nohup, SIGHUP stays ignored. In threads other than the main one: nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    names = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        names.append(signal.SIGHUP)
    for name in names:
        loop.add_signal_handler(name, stop)
    try:
        yield
    finally:
        for name in names:
            loop.remove_signal_handler(name)
