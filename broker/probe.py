"""Asking who is at an endpoint: one connection, one question, one answer, within two seconds."""

import asyncio
from collections.abc import Callable

from ..protocol.cluster import Probe, Probed, encode_cluster, parse_cluster
from ..protocol.codec import download_decoder
from ..protocol.errors import BadMessage, ConfigError, UnknownKind
from ..protocol.limits import Limits
from ..transport.locks import CurveKey, KeyPair, split_endpoint
from ..transport.network import Link, Network

__all__ = ["PROBE_TIME", "ask_endpoint"]

PROBE_TIME = 2.0
"""Seconds that an answer may take."""

_decode = download_decoder(Limits())


def ask_endpoint(
    network: Network, endpoint: str, keys: KeyPair | None, nonce: bytes, then: Callable[[Probed | None], None]
) -> "EndpointProbe":
    """Ask; ``then`` gets the answer, or None if none came in time. Once, unless the probe is closed before.

    Args:
        network: where to connect.
        endpoint: whom to ask.
        keys: our own, for endpoints that encrypt.
        nonce: what the answer has to be proved for.
        then: what follows.
    """
    return EndpointProbe(network, endpoint, keys, nonce, then)


class EndpointProbe:
    """A question that is under way. The sink of its link."""

    def __init__(
        self,
        network: Network,
        endpoint: str,
        keys: KeyPair | None,
        nonce: bytes,
        then: Callable[[Probed | None], None],
    ) -> None:
        self._nonce = nonce
        self._then: Callable[[Probed | None], None] | None = then
        self._link: Link | None = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(PROBE_TIME, self._finish, None)
        try:
            address, server = split_endpoint(endpoint)
            key = CurveKey(server, keys) if server is not None and keys is not None else None
            self._link = network.connect(address, self, Limits().download, key)
        except ConfigError:
            loop.call_soon(self._finish, None)

    def up(self) -> None:
        """See ``LinkSink.up``."""
        assert self._link is not None
        self._link.send(encode_cluster(Probe(self._nonce)))

    def receive(self, frame: bytes) -> None:
        """See ``LinkSink.receive``. Anything else than the answer is none."""
        try:
            message = parse_cluster(_decode(frame))
        except (BadMessage, UnknownKind):
            message = None
        self._finish(message if isinstance(message, Probed) else None)

    def down(self, reason: str) -> None:
        """See ``LinkSink.down``."""
        self._link = None
        self._finish(None)

    def close(self) -> None:
        """The answer is not wanted any more."""
        self._then = None
        self._finish(None)

    def _finish(self, answer: Probed | None) -> None:
        self._timer.cancel()
        link, self._link = self._link, None
        if link is not None:
            link.close()
        then, self._then = self._then, None
        if then is not None:
            then(answer)
