"""What a network gives to those above it.

Listeners are ports that many peers reach, each with a link of its own.
Publishers are ports that give what is published on a topic to all that were
granted it, each over a subscription of its own.

Two networks keep this contract, and one suite of tests runs over both:
``ZmqNetwork`` on real sockets, ``MemoryNetwork`` in memory for simulations.
Everything here runs on one thread, the one that owns the event loop.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from .locks import Key, Lock, Vouched

__all__ = [
    "Failure",
    "Link",
    "LinkSink",
    "Listener",
    "ListenerSink",
    "Network",
    "PeerSink",
    "Publisher",
    "PublisherSink",
    "Sent",
    "Subscription",
]


class Sent(Enum):
    """What became of a frame that was handed to the network."""

    TAKEN = "taken"
    """It is in the peer's queue. It may still be lost with the connection."""
    FULL = "full"
    """The peer's queue is at its high-water mark: this peer is slow. Nothing was queued."""
    GONE = "gone"
    """There is no such peer (any more)."""


class Failure(Enum):
    """Why a port that is there could not be connected to."""

    LOCKED = "locked"
    """It has a lock that our key does not fit, or seems not to; or we have a key, and it has no lock."""
    REFUSED = "refused"
    """It does not let us in with this key, today or tomorrow."""


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

    def accept(self, peer: bytes, address: str, vouched: Vouched) -> PeerSink:
        """A peer that was not heard before sent its first frame.

        Args:
            peer: names it for as long as its connection lives.
            address: the IP address that it comes from.
            vouched: who it is, as far as the port's lock has had it proved.
        """
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

    def together(self, work: Callable[[], None]) -> None:
        """Do work that hands over many frames, outside of the turns of what arrives: it costs less than one by one."""

    def cut(self, peer: bytes) -> None:
        """Close the connection of a peer, if it is there. Nothing more is heard of it but ``gone``, in a later turn."""

    def cut_silent(self, before: float) -> None:
        """Close the connections that were made before that time, monotonic seconds, and never said anything."""

    def wake(self) -> None:
        """Have a turn soon, even if nothing comes: there is something to flush."""

    def close(self) -> None:
        """Unbind and drop every peer. What was handed over gets up to 0.5 s to leave."""


class PublisherSink(Protocol):
    """Says who gets which topics. ``peer`` names one connection for as long as it lives, and none after it."""

    def presented(self, token: bytes, peer: int, vouched: Vouched) -> Sequence[bytes]:
        """A connection showed a token of 16 bytes; it may do so several times. ``vouched``: see ``ListenerSink``.

        Answer from a table and do nothing else: whoever asks is in the middle of a
        receive or of a ``publish``. What follows from a grant is for a later turn.

        Returns:
            The topics to grant it, of ``TOPIC_SIZE`` bytes each. With none it is
            refused: nothing happens and nothing is said.
        """
        ...

    def gone(self, token: bytes, peer: int) -> None:
        """The connection that was granted topics for this token is lost. Once, however often they were granted."""


class Publisher(Protocol):
    """A bound port that topics are published on. It carries up to ``MOST_CONNECTIONS`` connections well."""

    @property
    def address(self) -> str:
        """Where clients reach it, with the port that was really bound."""
        ...

    @property
    def connections(self) -> int:
        """How many connections it carries now, granted anything or not."""
        ...

    def publish(self, topic: bytes, frame: bytes) -> None:
        """Hand over one frame for all that were granted the topic. Never blocks: who is slow misses it."""

    def cut(self, peer: int) -> bool:
        """Close a connection, if it is there: the only way to take topics back.

        Returns:
            False if it could not be done: then the topics that it was granted must be given up.
        """
        ...

    def pump(self) -> None:
        """Answer what was presented. The owner calls it at the beginning of each of its turns."""

    def close(self) -> None:
        """Unbind and drop every connection; nothing more is told. What was handed over gets up to 0.5 s to leave."""


class LinkSink(Protocol):
    """Takes what happens on a link or a subscription."""

    def up(self) -> None:
        """The connection stands."""

    def receive(self, frame: bytes) -> None:
        """A frame came."""

    def down(self, reason: str) -> None:
        """The connection failed or is lost. The last call."""


class Link(Protocol):
    """One life of one connection to a listener. It never reconnects: its owner makes a new one."""

    @property
    def failure(self) -> Failure | None:
        """When it is down: what the port's lock has to do with it; None: nothing."""
        ...

    def send(self, frame: bytes) -> Sent:
        """Hand over one frame. Never blocks."""
        ...

    def close(self) -> None:
        """Close; ``down`` is not called. What was handed over gets up to 0.5 s to leave."""


class Subscription(Protocol):
    """One life of one connection to a publisher. It never reconnects: its owner makes a new one.

    Its sink gets frames as they were published, without their topic.
    """

    @property
    def failure(self) -> Failure | None:
        """See ``Link.failure``."""
        ...

    def present(self, token: bytes) -> None:
        """Show a token of 16 bytes for topics. Only once the connection stands.

        It is shown again after 0.25 s and then ever less often, at least each 4 s,
        until a frame comes on a topic that is new to this connection. A connection
        can show two tokens in its life; the third costs it.
        """

    def close(self) -> None:
        """Close; ``down`` is not called. It gives back whatever it was granted."""


class Network(Protocol):
    """Makes listeners and links, publishers and subscriptions."""

    def listen(self, host: str, port: int, sink: ListenerSink, largest: int, lock: Lock | None = None) -> Listener:
        """Bind a port; 0 takes a free one. Frames over ``largest`` bytes cost their sender the connection.

        ``lock``: what it asks of those who connect. None: nothing, and everybody may.

        Raises:
            AddressInUse: another program holds the port.
            ConfigError: the host can't be bound.
        """
        ...

    def connect(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Link:
        """Begin to connect, to a port with a lock that ``key`` opens. ``sink`` hears the outcome.

        Raises:
            ConfigError: the address can't be one.
        """
        ...

    def publish(self, host: str, port: int, sink: PublisherSink, largest: int, lock: Lock | None = None) -> Publisher:
        """Bind a port for topics; 0 takes a free one. ``largest``: bytes of a frame that may be published.

        ``lock``: see ``listen``.

        Raises:
            AddressInUse: another program holds the port.
            ConfigError: the host can't be bound.
        """
        ...

    def subscribe(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Subscription:
        """Begin to connect to a publisher. A frame over ``largest`` bytes costs the connection.

        ``key``: see ``connect``.

        Raises:
            ConfigError: the address can't be one.
        """
        ...

    def close(self) -> None:
        """Release what the network itself holds. All that it made is closed before."""
