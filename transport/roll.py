"""Who is connected to a publisher, what they may say, and what they were granted: decided without sockets.

Connections are told apart by descriptors, whose numbers are used again at once.
So a number whose connection was lost is in doubt until everything has been read
that came before the loss was known: what is read meanwhile may be from the dead
one as well as from who has the number now, and nothing is granted for it.
"""

import itertools
from collections.abc import Collection
from enum import Enum

from ..protocol.ids import TOKEN_SIZE
from ..protocol.rates import TokenBucket

__all__ = ["MOST_CONNECTIONS", "MOST_SAID", "Attached", "Roll", "Said"]

MOST_CONNECTIONS = 256
"""Connections that one publisher should carry. libzmq looks at all of them when one is lost (measured: 0.1 ms
at 100, 2.3 ms at 1,600), so that a mass drop costs their number squared: a worker has several publishers."""
MOST_SAID = 64
"""Bytes of the largest message that a subscriber may send: a token with what ZeroMQ puts around it."""

_PATIENCE = 5.0
"""Seconds after which a connection that was granted nothing is cut, so that strangers can't fill a publisher."""
_MOST_TOKENS = 2
_RATE, _BURST = 4.0, 16
"""How often a connection may present: twice what two tokens take that are repeated as ``Subscription`` does."""


class Said(Enum):
    """What a message of a subscriber is."""

    TOKEN = "token"
    """A token is presented."""
    NOTHING = "nothing"
    """Nothing follows from it."""
    HOSTILE = "hostile"
    """No client of ours says this: the connection is to be cut."""


class Attached:
    """One connection.

    ``peer`` names it for good, ``fd`` while it stands.
    """

    __slots__ = ("_bucket", "_presented", "cut", "fd", "granted", "heard", "peer", "since")

    def __init__(self, fd: int, peer: int, since: float) -> None:
        self.fd = fd
        self.peer = peer
        self.since = since
        self.cut = False
        """Whether it is being cut: it is granted nothing more."""
        self.granted: dict[bytes, None] = {}
        """The tokens that topics were granted for."""
        self.heard = 0
        """Bytes of its messages."""
        self._presented: set[bytes] = set()
        self._bucket = TokenBucket(_RATE, _BURST)

    def say(self, message: bytes, now: float) -> Said:
        """Judge a message as libzmq hands it over: a subscription is ``1`` and a topic, a cancellation ``0`` and one.

        A cancellation means nothing, and must not: it does not take granted topics back.
        """
        if message[:1] not in (b"\0", b"\1"):
            return Said.HOSTILE  # a user message: see the pump
        if len(message) > MOST_SAID:
            return Said.HOSTILE  # ports with locks have to let it pass
        if not self._bucket.allow(now):
            return Said.HOSTILE
        if message[0] == 0:
            return Said.NOTHING
        self._presented.add(message[1:])
        if len(self._presented) > _MOST_TOKENS:
            return Said.HOSTILE
        return Said.TOKEN if len(message) == 1 + TOKEN_SIZE else Said.NOTHING


class Roll:
    """The connections of one publisher."""

    def __init__(self) -> None:
        self._at: dict[int, Attached] = {}
        self._named: dict[int, Attached] = {}
        self._strangers: dict[Attached, None] = {}
        self._doubtful: set[int] = set()
        self._peers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._at)

    def accepted(self, fd: int, now: float) -> None:
        """A connection stands; it is granted nothing yet."""
        attached = Attached(fd, next(self._peers), now)
        self._at[fd] = self._named[attached.peer] = attached
        self._strangers[attached] = None

    def lost(self, fd: int) -> Attached | None:
        """A connection is over. From now on its number is in doubt."""
        self._doubtful.add(fd)
        attached = self._at.pop(fd, None)
        if attached is not None:
            del self._named[attached.peer]
            self._strangers.pop(attached, None)
        return attached

    def granted(self, attached: Attached, token: bytes) -> None:
        """A connection was granted topics for a token."""
        attached.granted[token] = None
        self._strangers.pop(attached, None)

    def at(self, fd: int) -> Attached | None:
        """Whose message it is that came over this descriptor; None if it can't be told for certain."""
        return None if fd in self._doubtful else self._at.get(fd)

    def named(self, peer: int) -> Attached | None:
        """The connection with this name, if it stands."""
        return self._named.get(peer)

    def stands(self, attached: Attached) -> bool:
        """Whether that connection is not lost, as far as is known."""
        return self._named.get(attached.peer) is attached

    @property
    def doubtful(self) -> Collection[int]:
        """The numbers that are in doubt now."""
        return tuple(self._doubtful)

    def settled(self, doubtful: Collection[int]) -> None:
        """Everything was read that had come before these numbers fell in doubt."""
        self._doubtful.difference_update(doubtful)

    def next_overdue(self) -> float | None:
        """When the next connection has been a stranger for too long."""
        for attached in self._strangers:
            return attached.since + _PATIENCE
        return None

    def overdue(self, now: float) -> list[Attached]:
        """Those that have been strangers for too long. Each is named once."""
        found: list[Attached] = []
        for attached in self._strangers:
            if attached.since + _PATIENCE > now:
                break
            found.append(attached)
        for attached in found:
            del self._strangers[attached]
        return found
