"""A worker's registration with its broker, decided: the challenge, the lease, and what follows from their loss.

    away ──up──▶ proving ──registered──▶ serving ──lost──▶ away, rooms go on
     ▲              │  ╲                   │ ──expire──▶ away, rooms are closed
     └────lost──────┘   denied ──▶ over    │ ──stop──▶ over
     └───expire (with rooms, and denied as stale)

Two things can go wrong, and they are different. **The connection ends**: the
broker's process is gone or hung up. Nobody can give our rooms away meanwhile,
so they go on for as long as it takes, and a broker that comes up takes them as
they are. **The connection stands and is silent**, or our own clock has jumped
(this process was stopped): the broker may have ended our lease already and
told our members so. Then we stop serving before the lease ends, by our own
clock, and register anew with empty hands.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, Protocol

from ..protocol.cluster import (
    CLUSTER_VERSION,
    Challenge,
    ClusterMessage,
    Denied,
    Leased,
    Orders,
    Prove,
    Register,
    Registered,
    Renew,
    Reports,
)
from ..protocol.errors import Code, RemoteError, WorkerRefused, WrongKey, error_for
from ..protocol.ids import Entropy, new_token, same_secret
from ..protocol.lifecycle import Table, step
from ..protocol.proof import prove

__all__ = [
    "REGISTRATION",
    "Registration",
    "RegistrationEvent",
    "RegistrationOutbox",
    "RegistrationState",
    "WorkerDescription",
]

_RENEW_EVERY = 1.0
_MARGIN = 0.5
"""Seconds before the end of the lease at which a worker that could not renew stops serving."""
_PROVING_TIME = 5.0
_MOST_IN_FLIGHT = 16
"""Renewals without an answer whose times are remembered."""


class RegistrationState(Enum):
    """Where a worker stands with its broker."""

    AWAY = "away"
    PROVING = "proving"
    SERVING = "serving"
    OVER = "over"


class RegistrationEvent(Enum):
    """What happens to a registration."""

    UP = "up"
    REGISTERED = "registered"
    LOST = "lost"
    EXPIRE = "expire"
    DENIED = "denied"
    STOP = "stop"


REGISTRATION: Table[RegistrationState, RegistrationEvent] = {
    RegistrationState.AWAY: {
        RegistrationEvent.UP: RegistrationState.PROVING,
        RegistrationEvent.STOP: RegistrationState.OVER,
    },
    RegistrationState.PROVING: {
        RegistrationEvent.REGISTERED: RegistrationState.SERVING,
        RegistrationEvent.LOST: RegistrationState.AWAY,
        RegistrationEvent.EXPIRE: RegistrationState.AWAY,
        RegistrationEvent.DENIED: RegistrationState.OVER,
        RegistrationEvent.STOP: RegistrationState.OVER,
    },
    RegistrationState.SERVING: {
        RegistrationEvent.LOST: RegistrationState.AWAY,
        RegistrationEvent.EXPIRE: RegistrationState.AWAY,
        RegistrationEvent.STOP: RegistrationState.OVER,
    },
    RegistrationState.OVER: {},
}


class WorkerDescription(NamedTuple):
    """What a worker says of itself when it registers."""

    types: list[str]
    """The room types that it hosts."""
    labels: list[str]
    """What it has that a room type may require."""
    max_rooms: int
    isolated: bool
    """It takes one room, and ends with it."""
    pid: int
    host: str
    """The name of its machine, for people."""


class RegistrationOutbox(Protocol):
    """Where a registration writes what must happen."""

    def dial_later(self) -> None:
        """Connect to the broker, soon, with a growing delay."""

    def hang_up(self) -> None:
        """Close the connection."""

    def transmit(self, message: ClusterMessage) -> None:
        """Say something to the broker."""

    def obey(self, items: list[Any]) -> None:
        """The broker's orders."""

    def serving(self, keep: bool) -> None:
        """We serve; ``keep``: with the rooms that we have, which are to be reported now."""

    def drop_rooms(self) -> None:
        """Our lease is over: end every room at once, and tell its members code 2102."""

    def over(self, error: RemoteError) -> None:
        """The broker will not have us."""


class Registration:
    """One worker's standing with its broker.

    Args:
        name: unique among the broker's workers.
        key: the cluster key.
        endpoint: where clients reach our rooms.
        describe: what to say of ourselves.
        load: what to say with each renewal.
        out: where to write.
        entropy: where nonces come from.
    """

    def __init__(
        self,
        name: str,
        key: bytes,
        endpoint: str,
        describe: Callable[[], WorkerDescription],
        load: Callable[[], dict[str, Any]],
        out: RegistrationOutbox,
        entropy: Entropy,
    ) -> None:
        self.name = name
        self.state = RegistrationState.AWAY
        self.generation = 0
        """Of the registration whose rooms are here."""
        self._key = key
        self._endpoint = endpoint
        self._describe = describe
        self._load = load
        self._out = out
        self._entropy = entropy
        self._nonce = b""
        self._lease = 0.0
        self._lease_until = 0.0
        self._deadline = 0.0
        self._proved_at = 0.0
        self._renew_at = 0.0
        self._number = 0
        self._sent_at: dict[int, float] = {}

    # What the shell tells.

    def up(self, now: float) -> None:
        """The connection to the broker stands."""
        self._step(RegistrationEvent.UP)
        self._deadline = now + _PROVING_TIME
        self._nonce = new_token(self._entropy)
        self._out.transmit(Register([CLUSTER_VERSION], self.name, self._nonce))

    def down(self, now: float) -> None:
        """The connection failed, or has ended."""
        if self.state is RegistrationState.OVER:
            return
        if self.check(now) and self.state is not RegistrationState.AWAY:
            self._step(RegistrationEvent.LOST)
        self._out.dial_later()

    def receive(self, message: ClusterMessage, now: float) -> None:
        """The broker says something."""
        if isinstance(message, Leased) and self.state is RegistrationState.SERVING:
            sent = self._sent_at.pop(message.number, None)
            if sent is not None and message.generation == self.generation:
                self._lease_until = max(self._lease_until, sent + self._lease - _MARGIN)
        if not self.check(now):
            return  # it was said before we stopped to serve
        if isinstance(message, Challenge) and self.state is RegistrationState.PROVING:
            self._answer(message, now)
        elif isinstance(message, Registered) and self.state is RegistrationState.PROVING:
            self._registered(message, now)
        elif isinstance(message, Orders) and self.state is RegistrationState.SERVING:
            if message.generation == self.generation:
                self._out.obey(message.items)
        elif isinstance(message, Denied):
            self._denied(message)

    def garbled(self) -> bool:
        """What came can't be read. Whether that is the end: nobody here ever spoke with workers."""
        if self.state is not RegistrationState.PROVING or self.generation:
            return False
        self._refuse(
            WorkerRefused(
                "what answers there does not speak with workers. Is it the address for clients? "
                "The one for workers is that of 'srs serve --worker-address', or the next port."
            )
        )
        return True

    def check(self, now: float) -> bool:
        """Whether we may serve at ``now``. To be asked before anything that a client says is heard.

        Where not, and we served until now, the rooms are dropped.
        """
        if self.state is RegistrationState.SERVING and now >= self._lease_until:
            self._step(RegistrationEvent.EXPIRE)
            self._drop()
            self._out.hang_up()
            self._out.dial_later()
            return False
        return True

    def tick(self, now: float) -> float | None:
        """Do what is due; when to call again at the latest, or None."""
        if self.state is RegistrationState.PROVING:
            if now >= self._deadline:
                self._begin_anew()
                return None
            return self._deadline
        if self.state is not RegistrationState.SERVING or not self.check(now):
            return None
        if now >= self._renew_at:
            self._renew_at = now + _RENEW_EVERY
            self._number += 1
            if len(self._sent_at) >= _MOST_IN_FLIGHT:
                del self._sent_at[next(iter(self._sent_at))]
            self._sent_at[self._number] = now
            self._out.transmit(Renew(self.generation, self._number, self._load()))
        return min(self._renew_at, self._lease_until)

    def report(self, items: list[Any]) -> bool:
        """Tell the broker what happened. False while there is no lease: it is told when there is one."""
        if self.state is not RegistrationState.SERVING:
            return False
        self._out.transmit(Reports(self.generation, items))
        return True

    def stop(self) -> None:
        """We end by our own wish."""
        if self.state is not RegistrationState.OVER:
            self._step(RegistrationEvent.STOP)

    # Inside.

    def _answer(self, challenge: Challenge, now: float) -> None:
        name = self.name.encode()
        if not same_secret(challenge.proof, prove(self._key, "broker", self._nonce, challenge.nonce, name)):
            self._refuse(WrongKey("whoever answers there does not have our cluster key: give --key-file the broker's"))
            return
        proof = prove(self._key, "worker", challenge.nonce, self._nonce, name, self._endpoint.encode())
        self._proved_at = now
        self._out.transmit(Prove(proof, self._endpoint, self.generation, self._describe()._asdict()))

    def _registered(self, message: Registered, now: float) -> None:
        # The broker counts from when it said this, which we do not know: it was after we had asked for it.
        lease_until = self._proved_at + message.lease - _MARGIN
        if now >= lease_until:
            self._begin_anew()
            return
        self._step(RegistrationEvent.REGISTERED)
        if not message.keep and self.generation:
            self._drop()
        self.generation = message.generation
        self._lease = message.lease
        self._lease_until = lease_until
        self._sent_at.clear()
        self._renew_at = now
        self._out.serving(message.keep)

    def _denied(self, message: Denied) -> None:
        if message.code == Code.STALE_GENERATION:
            if self.state not in (RegistrationState.PROVING, RegistrationState.SERVING):
                return
            self._step(RegistrationEvent.EXPIRE)
            self._drop()
            self._out.hang_up()
            self._out.dial_later()
        elif self.state is RegistrationState.PROVING:
            self._refuse(error_for(message.code, message.text))

    def _refuse(self, error: RemoteError) -> None:
        self._step(RegistrationEvent.DENIED)
        self._out.hang_up()
        self._out.over(error)

    def _begin_anew(self) -> None:
        """The answer has taken too long: ask again on another connection. Rooms go on."""
        self._step(RegistrationEvent.LOST)
        self._out.hang_up()
        self._out.dial_later()

    def _drop(self) -> None:
        self.generation = 0
        self._out.drop_rooms()

    def _step(self, event: RegistrationEvent) -> None:
        self.state = step(REGISTRATION, self.state, event)
