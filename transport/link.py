"""A connection to a listener on a DEALER socket, for one life."""

import zmq

from .dial import Dial
from .locks import Key
from .network import LinkSink, Sent
from .sockets import NOBLOCK

__all__ = ["ZmqLink"]


class ZmqLink(Dial):
    """A DEALER that connects once."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        address: str,
        sink: LinkSink,
        largest: int,
        key: Key | None,
    ) -> None:
        super().__init__(context, zmq.DEALER, address, sink, largest, key)

    def send(self, frame: bytes) -> Sent:
        if not self._up:
            return Sent.GONE
        self._wake()
        try:
            self._socket.send(frame, NOBLOCK)
        except zmq.Again:
            return Sent.FULL
        return Sent.TAKEN

    def _take(self, frame: bytes) -> None:
        self._sink.receive(frame)
