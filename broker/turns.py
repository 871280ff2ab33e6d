"""Turns at what few may do at once: each address has one after the other, however many of one address wait."""

import asyncio
from collections import deque

from ..rooms.addresses import counts_as

__all__ = ["Turns"]


class Turns:
    """Lets some in at once. Of those who wait, the addresses take turns; within one, they come in order.

    Args:
        most: how many are in at once.
    """

    def __init__(self, most: int) -> None:
        self.loop = asyncio.get_running_loop()
        """Whose tasks wait here."""
        self._free = most
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def enter(self, address: str) -> None:
        """Wait for a turn; ``leave`` ends it. Whoever is cancelled meanwhile has none."""
        if self._free:
            self._free -= 1
            return
        # As connections are counted: who has a whole IPv6 network is no crowd.
        place, turn = counts_as(address), self.loop.create_future()
        self._waiting.setdefault(place, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._give_up(place, turn)
            else:
                self.leave()
            raise

    def leave(self) -> None:
        """A turn is over: the next address has one."""
        while self._waiting:
            place = next(iter(self._waiting))
            queue = self._waiting.pop(place)
            turn = queue.popleft()
            if queue:
                self._waiting[place] = queue  # behind the others
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _give_up(self, place: str, turn: "asyncio.Future[None]") -> None:
        queue = self._waiting.get(place)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[place]
