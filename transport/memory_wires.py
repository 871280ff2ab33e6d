"""Connections of the network in memory: what is on its way, and what becomes of it."""

import asyncio
from collections import deque
from contextvars import Context
from random import Random
from typing import Protocol

from .locks import Key, Lock, Vouched
from .memory_locks import Knocking, knock
from .network import Sent

__all__ = ["HERE", "FarEnd", "NearEnd", "Opening", "Wire", "WireOwner", "open_port"]

HERE = "127.0.0.1"
"""Where everybody connects from."""


class NearEnd(Protocol):
    """The end of a connection that began it."""

    largest: int

    @property
    def context(self) -> Context:
        """Where it hears what comes."""
        ...

    def arrived(self, frame: bytes) -> None: ...

    def lost(self, reason: str) -> None: ...


class Opening(NearEnd, Knocking, Protocol):
    """A link or subscription whose connection is being made."""

    @property
    def over(self) -> bool:
        """Whether it was closed meanwhile."""
        ...

    def opened(self, wire: "Wire") -> None:
        """The connection stands."""


class FarEnd(Protocol):
    """The end of a connection that was bound."""

    heartbeat: float | None
    """Seconds after which ZeroMQ ends a connection that has gone silent; None: the ends find out themselves."""

    address: str
    largest: int
    lock: Lock

    @property
    def context(self) -> Context:
        """Where it hears what comes."""
        ...

    def accepted(self, wire: "Wire", vouched: Vouched) -> None: ...

    def arrived(self, peer: bytes, frame: bytes) -> None: ...

    def lost(self, peer: bytes) -> None: ...


class WireOwner(Protocol):
    """The network that a connection is of."""

    random: Random
    mark: int
    parting: tuple[float, float]

    def delay(self) -> float:
        """Seconds that the next frame takes."""
        ...

    def find(self, address: str) -> FarEnd | None:
        """Who is bound there now."""
        ...

    def wire(self, near: NearEnd, far: FarEnd) -> "Wire":
        """A new connection."""
        ...

    def unwire(self, wire: "Wire") -> None:
        """Both ends know that it is over."""


def open_port(
    network: WireOwner, near: Opening, key: Key | None, port: FarEnd | None, why_not: str, kind: type[FarEnd]
) -> None:
    """Make a connection with what has answered: either ``near.opened`` is called, or ``near.lost``.

    Args:
        network: whose ends they are.
        near: who wants in.
        key: what it has.
        port: what answered; None: nothing.
        why_not: why nothing did.
        kind: what it has to be.
    """
    if near.over:
        return
    if not isinstance(port, kind):
        near.lost(why_not if port is None else "the handshake failed")
        return

    def welcome(vouched: Vouched) -> None:
        if near.over:
            return
        if network.find(port.address) is not port:
            near.lost("the handshake failed")
            return
        wire = network.wire(near, port)
        port.accepted(wire, vouched)
        near.opened(wire)

    knock(near, port.lock, key, HERE, welcome, port.context)


class _Way:
    """One direction of a connection."""

    def __init__(self, wire: "Wire", network: WireOwner, context: Context) -> None:
        self.stalled = False
        self._wire = wire
        self._network = network
        self._context = context
        """Of who hears."""
        self._loop = asyncio.get_running_loop()
        self._last_arrival = 0.0
        self._full = False
        self.on_the_way: deque[bytes | None] = deque()  # None: the end

    def send(self, frame: bytes | None, late: float = 0.0) -> Sent:
        if frame is not None:
            queued = len(self.on_the_way)
            # libzmq tells the writer of what was read in steps of half the mark: who is full stays so for a while.
            if queued >= self._network.mark or (self._full and queued > self._network.mark // 2):
                self._full = True
                return Sent.FULL
            self._full = False
        self.on_the_way.append(frame)
        arrival = self._loop.time() + self._network.delay() + self._wire.lag + late
        self._last_arrival = max(self._last_arrival, arrival)
        self._loop.call_at(self._last_arrival, self._arrive, context=self._context)
        return Sent.TAKEN

    def _arrive(self) -> None:
        if self.stalled or not self.on_the_way:
            return
        self._wire.arrived(self, self.on_the_way.popleft())

    def lose_behind_a_prefix(self, random: Random) -> None:
        kept = random.randint(0, len(self.on_the_way))
        while len(self.on_the_way) > kept:
            self.on_the_way.pop()


class Wire:
    """One connection: two ways, the one who began it at one end, the one who was bound at the other."""

    def __init__(self, network: WireOwner, name: bytes, near: NearEnd, far: FarEnd) -> None:
        self.name = name
        self.lag = 0.0
        """Seconds that frames take longer on it than the network's latency."""
        self.near_context, self.far_context = near.context, far.context
        self.up = _Way(self, network, far.context)
        self.down = _Way(self, network, near.context)
        self._network = network
        self._near: NearEnd | None = near
        self._far: FarEnd | None = far
        self._patience = far.heartbeat

    @property
    def stalled(self) -> bool:
        """Whether nothing arrives any more, one way at least."""
        return self.up.stalled or self.down.stalled

    @property
    def beats(self) -> bool:
        """Whether ZeroMQ's heartbeat ends it when it is silent."""
        return self._patience is not None

    @property
    def queued(self) -> int:
        """Frames on the longer one of its queues."""
        return max(len(self.up.on_the_way), len(self.down.on_the_way))

    def arrived(self, way: _Way, frame: bytes | None) -> None:
        if way is self.up and self._far is not None:
            if frame is None or len(frame) > self._far.largest:
                self._far.lost(self.name)
                self._far = None
                self.down.send(None)
            else:
                self._far.arrived(self.name, frame)
        elif way is self.down and self._near is not None:
            if frame is None or len(frame) > self._near.largest:
                near, self._near = self._near, None
                self._say_end()
                near.lost("the connection was lost")
            else:
                self._near.arrived(frame)
        self._unwire_if_over()

    def stall(self, *, up: bool = True, down: bool = True) -> None:
        """Go silent, both ways or one: what is sent does not arrive, and nobody says so.

        Whose ends have no life signs of their own has ZeroMQ's heartbeat to end it.
        """
        first = not self.stalled
        self.up.stalled |= up
        self.down.stalled |= down
        if first and self._patience is not None:
            asyncio.get_running_loop().call_later(self._patience, self.lose)

    def cut(self) -> None:
        self.up.lose_behind_a_prefix(self._network.random)
        self.down.lose_behind_a_prefix(self._network.random)
        self._say_end()
        self.down.send(None)

    def lose(self) -> None:
        """Each end learns that it is over, as soon as it hears anything."""
        loop = asyncio.get_running_loop()
        loop.call_soon(self._lose_far, context=self.far_context)
        loop.call_soon(self._lose_near, context=self.near_context)

    def sever(self) -> None:
        """Both ends at once, now."""
        self._lose_far()
        self._lose_near()

    def near_closed(self) -> None:
        self._near = None
        self._say_end()
        self._unwire_if_over()

    def far_closed(self) -> None:
        self._far = None
        self.down.send(None)
        self._unwire_if_over()

    def _say_end(self) -> None:
        late = self._network.random.uniform(*self._network.parting) if self._patience is not None else 0.0
        self.up.send(None, late)

    def _lose_far(self) -> None:
        far, self._far = self._far, None
        self._unwire_if_over()
        if far is not None:
            far.lost(self.name)

    def _lose_near(self) -> None:
        near, self._near = self._near, None
        self._unwire_if_over()
        if near is not None:
            near.lost("the connection was lost")

    def _unwire_if_over(self) -> None:
        if self._near is None and self._far is None:
            self._network.unwire(self)
