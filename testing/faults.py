"""The network in memory, with a cable for each client that can be pulled."""

import weakref
from typing import Any

from ..protocol.errors import ConfigError
from ..transport.memory import MemoryNetwork
from ..transport.network import Link, LinkSink, Listener, ListenerSink

__all__ = ["Cable", "FaultyNetwork"]


class FaultyNetwork(MemoryNetwork):
    """A ``MemoryNetwork`` whose connections can be cut and stalled one by one."""

    def __init__(self, seed: int = 0, latency: tuple[float, float] = (0.0005, 0.002)) -> None:
        super().__init__(seed, latency)
        self._cables: list[Cable] = []
        self._wire_of: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def cable(self) -> "Cable":
        """A new way into this network, for one client."""
        cable = Cable(self, len(self._cables))
        self._cables.append(cable)
        return cable

    def cut(self, link: Link) -> None:
        """Cut the connection of a link, if it stands; of what is on its way, a random prefix arrives."""
        wire = self._wire_of.get(link)
        if wire is not None:
            wire.cut()

    def stall(self, link: Link) -> None:
        """Let the connection of a link go silent both ways, without a word, for good."""
        wire = self._wire_of.get(link)
        if wire is not None:
            wire.stalled = True

    # What links ask for, when they connect.

    def find(self, address: str) -> Any:
        """See ``MemoryNetwork.find``. Nobody is found through a cable that is pulled."""
        where, _, number = address.partition("#")
        return super().find(where) if not number or self._cables[int(number)].plugged else None

    def wire(self, link: Any, listener: Any) -> Any:
        """See ``MemoryNetwork.wire``."""
        wire = self._wire_of[link] = super().wire(link, listener)
        return wire


class Cable:
    """One client's way into a network: a network itself. ``FaultyNetwork.cable`` makes it."""

    def __init__(self, network: FaultyNetwork, number: int) -> None:
        self.plugged = True
        """Whether new connections reach anybody."""
        self._network = network
        self._number = number
        self._link: Link | None = None

    def cut(self) -> None:
        """Cut the connection, if there is one."""
        if self._link is not None:
            self._network.cut(self._link)

    def stall(self) -> None:
        """Let the connection go silent, if there is one."""
        if self._link is not None:
            self._network.stall(self._link)

    def listen(self, host: str, port: int, sink: ListenerSink, largest: int) -> Listener:
        """Refuse: clients do not listen."""
        raise ConfigError("this is the network of a client: it does not listen")

    def connect(self, address: str, sink: LinkSink, largest: int) -> Link:
        """See ``Network.connect``."""
        self._link = self._network.connect(f"{address}#{self._number}", sink, largest)
        return self._link

    def close(self) -> None:
        """See ``Network.close``."""
