"""Where a worker publishes: at the ports after its own, so that a firewall can be told."""

from collections.abc import Mapping

from ..protocol.errors import AddressInUse
from ..protocol.limits import Limits
from ..transport.locks import Lock
from ..transport.network import Network, Publisher, PublisherSink
from .room import Room

__all__ = ["descriptors_each", "open_beside"]

_PORTS = 128
"""How many ports after a worker's own are tried."""


def open_beside(network: Network, host: str, port: int, sink: PublisherSink, limits: Limits, lock: Lock) -> Publisher:
    """Bind one more publisher.

    Args:
        network: where.
        host: the address that the worker listens on.
        port: the port that it was told to listen on: the first free one after it is taken. 0: any free one.
        sink: answers what is presented.
        limits: how large its frames are.
        lock: what it asks of those who connect.

    Raises:
        AddressInUse: none of the ports after it is free.
        ConfigError: the host can't be bound.
    """
    if not port:
        return network.publish(host, 0, sink, limits.download, lock)
    last = min(port + _PORTS, 65_535)
    for candidate in range(port + 1, last):
        try:
            return network.publish(host, candidate, sink, limits.download, lock)
        except AddressInUse:
            continue
    return network.publish(host, last, sink, limits.download, lock)


def descriptors_each(rooms: Mapping[str, type[Room]]) -> int:
    """How many descriptors a client takes at most, if all are in rooms of these types."""
    return 2 if any(room.is_topic((room.max_clients or 0) + room.max_spectators) for room in rooms.values()) else 1
