"""A connection to a publisher on an XSUB socket, for one life."""

import zmq

from ..protocol.ids import TOPIC_SIZE
from .dial import Dial
from .locks import Key
from .network import LinkSink
from .sockets import NOBLOCK
from .tokens import Tokens

__all__ = ["ZmqSubscription"]


class ZmqSubscription(Dial):
    """An XSUB that connects once."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        address: str,
        sink: LinkSink,
        largest: int,
        key: Key | None,
    ) -> None:
        super().__init__(context, zmq.XSUB, address, sink, TOPIC_SIZE + largest, key)
        self._tokens = Tokens(self._show)

    def present(self, token: bytes) -> None:
        if self._up:
            self._tokens.present(token)

    def close(self) -> None:
        self._tokens.end()
        if not self._socket.closed:
            self._socket.set(zmq.LINGER, 0)  # it has nothing to say at the end
        super().close()

    def _show(self, token: bytes) -> None:
        self._wake()
        self._socket.send(b"\1" + token, NOBLOCK)

    def _take(self, frame: bytes) -> None:
        if len(frame) < TOPIC_SIZE:
            self._fail("the server published something without a topic")
            return
        self._tokens.heard(frame[:TOPIC_SIZE])
        self._sink.receive(frame[TOPIC_SIZE:])
