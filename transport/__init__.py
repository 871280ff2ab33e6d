"""How frames get from one process to another: on ZeroMQ sockets, or in memory."""

from .entropy import EntropyPool
from .memory import MemoryNetwork
from .network import (
    Link,
    LinkSink,
    Listener,
    ListenerSink,
    Network,
    PeerSink,
    Publisher,
    PublisherSink,
    Sent,
    Subscription,
)
from .roll import MOST_CONNECTIONS
from .zeromq import ZmqNetwork

__all__ = [
    "MOST_CONNECTIONS",
    "EntropyPool",
    "Link",
    "LinkSink",
    "Listener",
    "ListenerSink",
    "MemoryNetwork",
    "Network",
    "PeerSink",
    "Publisher",
    "PublisherSink",
    "Sent",
    "Subscription",
    "ZmqNetwork",
]
