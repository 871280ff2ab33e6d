"""The network in memory, with a cable for each client that can be pulled."""

import asyncio
import weakref
from contextvars import Context
from typing import Any, TypeVar

from ..protocol.errors import ConfigError
from ..transport.locks import Key, Lock
from ..transport.memory import MemoryNetwork
from ..transport.memory_wires import Wire
from ..transport.network import Link, LinkSink, Listener, ListenerSink, Publisher, PublisherSink, Subscription
from .clock import Process

__all__ = ["Cable", "FaultyNetwork"]

T = TypeVar("T")


_HEARTBEAT = 15.0
"""Seconds of silence after which ZeroMQ ends a connection that has its heartbeat."""


class FaultyNetwork(MemoryNetwork):
    """A ``MemoryNetwork`` whose connections can be cut and stalled one by one, or all those of a process."""

    def __init__(self, seed: int = 0, latency: tuple[float, float] = (0.0005, 0.002)) -> None:
        super().__init__(seed, latency)
        self.spread = 0.0
        """Seconds that one connection may be slower than another, all its life."""
        self._cables: list[Cable] = []
        self._wire_of: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def cable(self) -> "Cable":
        """A new way into this network, for one client."""
        cable = Cable(self, len(self._cables))
        self._cables.append(cable)
        return cable

    def cut(self, link: Link | Subscription) -> None:
        """Cut a connection, if it stands; of what is on its way, a random prefix arrives."""
        wire = self._wire_of.get(link)
        if wire is not None:
            wire.cut()

    def stall(self, link: Link | Subscription) -> None:
        """Let a connection go silent both ways, without a word, for good."""
        wire = self._wire_of.get(link)
        if wire is not None:
            wire.stall()

    def lose(self, process: Process) -> None:
        """Cut all connections of a process: it has ended. What was on its way from it is lost behind a prefix."""
        for wire in self._of(process):
            wire.cut()

    def stands_still(self, process: Process) -> None:
        """A process stands still: whoever has a heartbeat with it gives it up after a while."""

        def give_up() -> None:
            if process.stopped:
                for wire in self._of(process):
                    if wire.beats:
                        wire.lose()

        asyncio.get_running_loop().call_later(_HEARTBEAT, give_up)

    def absent(self, context: Context) -> bool:
        """See ``MemoryNetwork.absent``: a process that stands still hears nothing."""
        process = Process.of(context)
        return process is not None and process.stopped

    def _of(self, process: Process) -> list[Wire]:
        return [
            wire
            for wire in self.standing
            if Process.of(wire.near_context) is process or Process.of(wire.far_context) is process
        ]

    # What links and subscriptions ask for, when they connect.

    def find(self, address: str) -> Any:
        """See ``MemoryNetwork.find``. Nobody is found through a cable that is pulled."""
        where, _, number = address.partition("#")
        return super().find(where) if not number or self._cables[int(number)].plugged else None

    def wire(self, near: Any, far: Any) -> Any:
        """See ``MemoryNetwork.wire``."""
        wire = self._wire_of[near] = super().wire(near, far)
        wire.lag = self.random.uniform(0.0, self.spread)
        return wire


class Cable:
    """One client's way into a network: a network itself. ``FaultyNetwork.cable`` makes it."""

    def __init__(self, network: FaultyNetwork, number: int) -> None:
        self.plugged = True
        """Whether new connections reach anybody."""
        self._network = network
        self._number = number
        self._made: list[Any] = []
        """The links and subscriptions that are not over, oldest first."""

    def cut(self) -> None:
        """Cut the connections, if there are any."""
        for made in self._made:
            self._network.cut(made)

    def stall(self) -> None:
        """Let the connections go silent, if there are any."""
        for made in self._made:
            self._network.stall(made)

    def listen(self, host: str, port: int, sink: ListenerSink, largest: int, lock: Lock | None = None) -> Listener:
        """Refuse: clients do not listen."""
        raise ConfigError("this is the network of a client: it does not listen")

    def publish(self, host: str, port: int, sink: PublisherSink, largest: int, lock: Lock | None = None) -> Publisher:
        """Refuse: clients do not publish."""
        raise ConfigError("this is the network of a client: it does not publish")

    def connect(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Link:
        """See ``Network.connect``."""
        return self._keep(self._network.connect(f"{address}#{self._number}", sink, largest, key))

    def subscribe(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Subscription:
        """See ``Network.subscribe``."""
        return self._keep(self._network.subscribe(f"{address}#{self._number}", sink, largest, key))

    def close(self) -> None:
        """See ``Network.close``."""

    def _keep(self, made: T) -> T:
        self._made = [other for other in self._made if not other.over]
        self._made.append(made)
        return made
