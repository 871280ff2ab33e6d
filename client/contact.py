"""One server process that a client talks to, the broker or a worker, over one connection after another."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from ..protocol.backoff import Backoff
from ..protocol.lifecycle import step
from ..protocol.limits import Limits
from ..protocol.liveness import Liveness
from ..protocol.messages import Message, Ping, encode
from ..transport.network import Sent
from .life import CLIENT, ClientEvent, ClientState

__all__ = ["Contact", "ContactOutbox"]

_OPENING_TIME = 5.0
_LAST_MOMENT = 0.05
"""Seconds in which nobody begins another attempt."""
_MOST_UNSAID = 256
_SHORTEST_INTERVAL = 0.1
"""Seconds between two PINGs at least, whatever the server announces: it could keep its clients busy with them."""


class ContactOutbox(Protocol):
    """Where a contact writes what must happen."""

    def dial(self, contact: "Contact") -> None:
        """Make a connection; tell ``up``, ``receive`` and ``down``."""

    def hang_up(self, contact: "Contact") -> None:
        """Close the connection; ``down`` is not told."""

    def transmit(self, contact: "Contact", frame: bytes) -> Sent:
        """Send a frame on the connection."""
        ...


class Contact:
    """Connecting, being silent too long, connecting again: the same for every server.

    Args:
        address: where it listens.
        out: where to write.
        random: a float in [0, 1), for jitter.
        now: monotonic seconds.
    """

    def __init__(self, address: str, out: ContactOutbox, random: Callable[[], float], now: float = 0.0) -> None:
        self.address = address
        self.state = ClientState.IDLE
        self.backoff = Backoff(random)
        self.gone_since = now
        """Since when there is no connection, if there is none."""
        self.deadline = 0.0
        """When the attempt that is under way counts as failed, or the next one is due."""
        self._out = out
        self._liveness = Liveness(0.0, 0.0)
        self._ping_interval = 0.0
        self._ping_at = 0.0
        self._pings = 0
        self._unsaid: deque[bytes] = deque()
        """Frames that wait for room in the connection's queue."""

    @property
    def online(self) -> bool:
        """Whether the other side hears us now."""
        return self.state is ClientState.ONLINE

    def step(self, event: ClientEvent) -> None:
        """Move on in the life cycle."""
        self.state = step(CLIENT, self.state, event)

    def dial(self, now: float, patience: float) -> None:
        """Begin an attempt; ``patience``: seconds without a connection after which it is the last."""
        self.deadline = min(now + _OPENING_TIME, self.gone_since + patience)
        self._out.dial(self)

    def up(self, now: float, patience: float, limits: Limits) -> None:
        """The connection stands."""
        self.step(ClientEvent.UP)
        self.deadline = min(now + _OPENING_TIME, self.gone_since + patience)
        self.heard_with(limits, now)

    def opened(self, limits: Limits, now: float) -> None:
        """The other side hears us."""
        self.step(ClientEvent.WELCOME)
        self.backoff.reset()
        self.heard_with(limits, now)

    def heard_with(self, limits: Limits, now: float) -> None:
        """Begin to watch for silence, with the server's limits."""
        self._liveness = Liveness(limits.ping_timeout, now)
        self._ping_interval = max(limits.ping_interval, _SHORTEST_INTERVAL)
        self._ping_at = now + self._ping_interval

    def heard(self, now: float) -> None:
        """Something came."""
        self._liveness.heard(now)

    def lost(self, now: float) -> None:
        """The connection is gone."""
        if self.online:
            self.gone_since = now
        self.step(ClientEvent.LOST)
        self._unsaid.clear()

    def try_again(self, now: float, patience: float) -> bool:
        """Another attempt is due after a jittered delay. False: patience is over before there could be one."""
        left, delay = self.gone_since + patience - now, self.backoff.next()
        if delay >= left >= _LAST_MOMENT:
            delay = left / 2  # who asked for so many seconds gets them
        self.deadline = now + delay
        return delay < left

    def wrong(self, now: float) -> str | None:
        """Why the connection must be given up now, if it must; sends PING when it is time."""
        if self._liveness.is_dead(now):
            return "nothing was heard for too long"
        # That we hear the server does not mean that it hears us: it would give up a client that only listens.
        if now >= self._ping_at:
            self._pings += 1
            self._ping_at = now + self._ping_interval
            self.say(Ping(self._pings))
        if len(self._unsaid) > _MOST_UNSAID:
            return "the server takes nothing"
        return None

    @property
    def ping_at(self) -> float:
        """When the next PING is due."""
        return self._ping_at

    def say(self, message: Message) -> None:
        """Say something, as soon as the connection takes it."""
        self._unsaid.append(encode(message))
        self.say_unsaid()

    def say_unsaid(self) -> bool:
        """Say what waits; False if the connection takes no more now."""
        while self._unsaid:
            if self._out.transmit(self, self._unsaid[0]) is Sent.FULL:
                return False
            self._unsaid.popleft()
        return True

    def transmit(self, frame: bytes) -> bool:
        """Send a frame at once; False if the connection does not take it."""
        return self._out.transmit(self, frame) is Sent.TAKEN

    def hang_up(self) -> None:
        """Close the connection."""
        self._out.hang_up(self)
