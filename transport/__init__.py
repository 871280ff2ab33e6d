"""How frames get from one process to another: on ZeroMQ sockets, or in memory."""

from .entropy import EntropyPool
from .locks import Caller, CurveKey, Key, KeyPair, Lock, PlainKey, Verdict, Vouched
from .memory import MemoryNetwork
from .network import (
    Failure,
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
    "Caller",
    "CurveKey",
    "EntropyPool",
    "Failure",
    "Key",
    "KeyPair",
    "Link",
    "LinkSink",
    "Listener",
    "ListenerSink",
    "Lock",
    "MemoryNetwork",
    "Network",
    "PeerSink",
    "PlainKey",
    "Publisher",
    "PublisherSink",
    "Sent",
    "Subscription",
    "Verdict",
    "Vouched",
    "ZmqNetwork",
]
