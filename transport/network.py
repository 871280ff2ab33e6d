"""What a network gives to those above it: ports that many peers reach, and links to one port.

Two networks keep this contract, and one suite of tests runs over both:
``ZmqNetwork`` on real sockets, ``MemoryNetwork`` in memory for simulations.
Everything here runs on one thread, the one that owns the event loop.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

__all__ = ["Link", "LinkSink", "Listener", "ListenerSink", "Network", "PeerSink", "Sent"]


class Sent(Enum):
    """What became of a frame that was handed to the network."""

    TAKEN = "taken"
    """It is in the peer's queue. It may still be lost with the connection."""
    FULL = "full"
    """The peer's queue is at its high-water mark: this peer is slow. Nothing was queued."""
    GONE = "gone"
    """There is no such peer (any more)."""


class PeerSink(Protocol):
    """Takes what one peer of a listener sends."""

    def receive(self, frame: bytes) -> None:
        """A message of exactly one frame came."""

    def violated(self, rule: str) -> None:
        """The peer broke a rule below the level of messages, such as a second frame."""

    def gone(self) -> None:
        """The connection is lost; nothing more comes from this peer."""


class ListenerSink(Protocol):
    """Takes what comes to a listener, in turns: begin, any number of frames, flush."""

    def begin(self, now: float) -> None:
        """A turn begins at ``now``, monotonic seconds."""

    def accept(self, peer: bytes, address: str) -> PeerSink:
        """A peer that was not heard before sent its first frame, from the IP address ``address``."""
        ...

    def flush(self) -> None:
        """The turn ends: hand over what is to be sent."""


class Listener(Protocol):
    """A bound port."""

    @property
    def address(self) -> str:
        """Where clients reach it, with the port that was really bound."""
        ...

    def send(self, peer: bytes, frame: bytes) -> Sent:
        """Hand over one frame for one peer. Never blocks."""
        ...

    def send_all(self, peers: Sequence[bytes], frame: bytes) -> list[tuple[bytes, Sent]]:
        """Hand over one frame for each of many peers.

        Returns:
            Those that did not take it, with the reason.
        """
        ...

    def cut(self, peer: bytes) -> None:
        """Close the connection of a peer, if it is there. Nothing more is heard of it but ``gone``, in a later turn."""

    def cut_silent(self, before: float) -> None:
        """Close the connections that were made before that time, monotonic seconds, and never said anything."""

    def wake(self) -> None:
        """Have a turn soon, even if nothing comes: there is something to flush."""

    def close(self) -> None:
        """Unbind and drop every peer. What was handed over gets up to 0.5 s to leave."""


class LinkSink(Protocol):
    """Takes what happens on a link."""

    def up(self) -> None:
        """The connection stands."""

    def receive(self, frame: bytes) -> None:
        """A frame came."""

    def down(self, reason: str) -> None:
        """The connection failed or is lost. The last call."""


class Link(Protocol):
    """One life of one connection to a listener. It never reconnects: its owner makes a new one."""

    def send(self, frame: bytes) -> Sent:
        """Hand over one frame. Never blocks."""
        ...

    def close(self) -> None:
        """Close; ``down`` is not called. What was handed over gets up to 0.5 s to leave."""


class Network(Protocol):
    """Makes listeners and links."""

    def listen(self, host: str, port: int, sink: ListenerSink, largest: int) -> Listener:
        """Bind a port; 0 takes a free one. Frames over ``largest`` bytes cost their sender the connection.

        Raises:
            AddressInUse: another program holds the port.
            ConfigError: the host can't be bound.
        """
        ...

    def connect(self, address: str, sink: LinkSink, largest: int) -> Link:
        """Begin to connect. ``sink`` hears the outcome.

        Raises:
            ConfigError: the address can't be one.
        """
        ...

    def close(self) -> None:
        """Release what the network itself holds. Listeners and links are closed before."""
