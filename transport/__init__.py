"""How frames get from one process to another: on ZeroMQ sockets, or in memory."""

from .entropy import EntropyPool
from .memory import MemoryNetwork
from .network import Link, LinkSink, Listener, ListenerSink, Network, PeerSink, Sent
from .zeromq import ZmqNetwork

__all__ = [
    "EntropyPool",
    "Link",
    "LinkSink",
    "Listener",
    "ListenerSink",
    "MemoryNetwork",
    "Network",
    "PeerSink",
    "Sent",
    "ZmqNetwork",
]
