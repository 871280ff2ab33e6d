"""One network for all clients of an event loop."""

import asyncio
import weakref

from ..transport.zeromq import ZmqNetwork

__all__ = ["SharedNetwork"]


class SharedNetwork:
    """One ZmqNetwork for all clients of an event loop: its threads are not free."""

    def __init__(self) -> None:
        self.network = ZmqNetwork()
        self._users = 0

    @classmethod
    def acquire(cls) -> "SharedNetwork":
        """The network of the running loop; ``release`` it once."""
        loop = asyncio.get_running_loop()
        shared = _networks.get(loop)
        if shared is None:
            shared = _networks[loop] = cls()
        shared._users += 1
        return shared

    async def release(self) -> None:
        """Give it back. The last one closes it."""
        self._users -= 1
        if self._users == 0:
            loop = asyncio.get_running_loop()
            _networks.pop(loop, None)
            await self.network.end()


_networks: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, SharedNetwork]" = weakref.WeakKeyDictionary()
