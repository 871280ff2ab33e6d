"""The downlinks of one worker: which publisher carries whom, and what each token is worth.

Clients of topic rooms get a port and a secret token with JOINED, connect there
and show it; the publisher asks us, and we say which topics it is worth. Each
publisher carries a bounded number of connections: there are as many as needed.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from ..protocol.ids import Entropy, mark_of, new_token
from ..transport.locks import NOBODY, Vouched
from ..transport.network import Publisher, PublisherSink
from ..transport.roll import MOST_CONNECTIONS
from .lines import Downlink

__all__ = ["DownlinkHolder", "Downlinks"]


class DownlinkHolder(Protocol):
    """Whom a token was given to."""

    def topics(self) -> tuple[bytes, bytes]:
        """The room's topic, and its own."""
        ...

    @property
    def owner(self) -> bytes | None:
        """The public key of its client, which the connection that shows the token must have proved to have."""
        ...

    def granted(self, downlink: Downlink) -> None:
        """Its downlink stands."""

    def ungranted(self, downlink: Downlink) -> None:
        """Its downlink is lost."""


class _Offer:
    __slots__ = ("downlink", "holder", "shard")

    def __init__(self, holder: DownlinkHolder, shard: int) -> None:
        self.holder = holder
        self.shard = shard
        self.downlink: Downlink | None = None


class Downlinks:
    """Offers, grants and takes back.

    Args:
        open_publisher: binds one more publisher.
        entropy: where tokens come from.
        later: has a turn soon; ``settle`` is called in it.
    """

    def __init__(
        self, open_publisher: Callable[[PublisherSink], Publisher], entropy: Entropy, later: Callable[[], None]
    ) -> None:
        self._open = open_publisher
        self._entropy = entropy
        self._later = later
        self._publishers: list[Publisher] = []
        self._offers: dict[bytes, _Offer] = {}
        self._offered: list[int] = []
        """Tokens that are out, for each publisher."""
        self._news: list[tuple[Callable[[Downlink], None], Downlink]] = []

    def offer(self, holder: DownlinkHolder) -> tuple[int, bytes]:
        """Port and token for a new downlink.

        Raises:
            AddressInUse, ConfigError: there is no port for one more publisher.
        """
        shard = next((n for n, offered in enumerate(self._offered) if offered < MOST_CONNECTIONS), None)
        if shard is None:
            shard = len(self._publishers)
            self._publishers.append(self._open(self))
            self._offered.append(0)
        token = new_token(self._entropy)
        self._offers[token] = _Offer(holder, shard)
        self._offered[shard] += 1
        return int(self._publishers[shard].address.rpartition(":")[2]), token

    def revoke(self, token: bytes) -> bool:
        """A token is worth nothing any more, and its connection is closed.

        Returns:
            False if the connection could not be closed: its topics must be given up.
        """
        offer = self._offers.pop(token, None)
        if offer is None:
            return True
        self._offered[offer.shard] -= 1
        return offer.downlink is None or self._publishers[offer.shard].cut(offer.downlink.peer)

    def publish(self, shard: int, topic: bytes, frame: bytes) -> None:
        """See ``Publisher.publish``."""
        self._publishers[shard].publish(topic, frame)

    def pump(self) -> None:
        """Answer what was presented, and tell holders what became of it. At the beginning of each turn."""
        for publisher in self._publishers:
            publisher.pump()
        news, self._news = self._news, []
        for tell, downlink in news:
            tell(downlink)

    def close(self) -> None:
        """Close every publisher."""
        for publisher in self._publishers:
            publisher.close()
        self._publishers.clear()

    # The sink of the publishers.

    def presented(self, token: bytes, peer: int, vouched: Vouched = NOBODY) -> Sequence[bytes]:
        """See ``PublisherSink.presented``. One token is good for one connection at a time."""
        offer = self._offers.get(token)
        if offer is None or (offer.downlink is not None and offer.downlink.peer != peer):
            return ()
        if offer.holder.owner != vouched.key:
            return ()  # stolen
        topics = offer.holder.topics()
        if offer.downlink is None:
            offer.downlink = Downlink(offer.shard, peer, topics[1], mark_of(token))
            # Not at once: what is published now would come before the grant.
            self._news.append((offer.holder.granted, offer.downlink))
            self._later()
        return topics

    def gone(self, token: bytes, peer: int) -> None:
        """See ``PublisherSink.gone``."""
        offer = self._offers.get(token)
        if offer is not None and offer.downlink is not None and offer.downlink.peer == peer:
            self._news.append((offer.holder.ungranted, offer.downlink))
            offer.downlink = None
            self._later()
