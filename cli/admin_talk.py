"""The administrator's end of the admin conversation, decided: who is on the other side, and what it answers.

    dialing ──up──▶ enquiring ──challenge──▶ proving ──admitted──▶ trusted
       │               │                        │                     │
       └─────lose──────┴──────────lose──────────┴────────lose─────────┘──▶ over
                       └─────────refuse─────────┘

Both sides prove that they have the cluster key, and neither sends it. We prove
second: whoever does not have the key learns nothing from us.
"""

from enum import Enum
from typing import Any, Protocol

from ..protocol.cluster import (
    Admit,
    Admitted,
    Challenge,
    ClusterMessage,
    Command,
    Denied,
    Enquire,
    Result,
)
from ..protocol.errors import RemoteError, UnknownKind, WrongKey, error_for
from ..protocol.ids import Entropy, new_token, same_secret
from ..protocol.lifecycle import Table, step
from ..protocol.messages import Error, Goodbye, Message
from ..protocol.proof import prove

__all__ = ["ADMIN", "AdminEvent", "AdminOutbox", "AdminState", "AdminTalk"]

_OTHER_KEY = "the broker has another cluster key: give --key-file the one that it was started with."
_TOO_OLD = "the server knows no administrators: is it the broker's port for clients, and is it as new as this srs?"


class AdminState(Enum):
    """Where a conversation is."""

    DIALING = "dialing"
    ENQUIRING = "enquiring"
    PROVING = "proving"
    TRUSTED = "trusted"
    OVER = "over"


class AdminEvent(Enum):
    """What happens to it."""

    UP = "up"
    CHALLENGE = "challenge"
    ADMITTED = "admitted"
    REFUSE = "refuse"
    LOSE = "lose"


ADMIN: Table[AdminState, AdminEvent] = {
    AdminState.DIALING: {AdminEvent.UP: AdminState.ENQUIRING, AdminEvent.LOSE: AdminState.OVER},
    AdminState.ENQUIRING: {
        AdminEvent.CHALLENGE: AdminState.PROVING,
        AdminEvent.REFUSE: AdminState.OVER,
        AdminEvent.LOSE: AdminState.OVER,
    },
    AdminState.PROVING: {
        AdminEvent.ADMITTED: AdminState.TRUSTED,
        AdminEvent.REFUSE: AdminState.OVER,
        AdminEvent.LOSE: AdminState.OVER,
    },
    AdminState.TRUSTED: {AdminEvent.REFUSE: AdminState.OVER, AdminEvent.LOSE: AdminState.OVER},
    AdminState.OVER: {},
}


class AdminOutbox(Protocol):
    """Where it writes what must happen."""

    def transmit(self, message: ClusterMessage) -> None:
        """Send it to the broker."""

    def admitted(self, software: str) -> None:
        """The broker hears our commands from now on."""

    def answered(self, ask: int, answer: Any) -> None:
        """What became of a command: its data, or the RemoteError that it was refused with."""

    def refused(self, error: RemoteError) -> None:
        """The broker, or who is in its place, will not do, and will not another time."""


class AdminTalk:
    """One conversation, on one connection.

    Args:
        key: the cluster key.
        out: where to write.
        entropy: where the nonce comes from.
    """

    def __init__(self, key: bytes, out: AdminOutbox, entropy: Entropy) -> None:
        self.state = AdminState.DIALING
        self._key = key
        self._out = out
        self._nonce = new_token(entropy)
        self._next_ask = 1

    def up(self) -> None:
        """The connection stands."""
        self._step(AdminEvent.UP)
        self._out.transmit(Enquire(self._nonce))

    def lost(self) -> None:
        """The connection is lost. Nothing more comes."""
        if self.state is not AdminState.OVER:
            self._step(AdminEvent.LOSE)

    def command(self, name: str, arguments: dict[str, Any]) -> int:
        """Say a command; the number under which ``answered`` is called. Only while trusted."""
        ask, self._next_ask = self._next_ask, self._next_ask + 1
        self._out.transmit(Command(ask, name, arguments))
        return ask

    def receive(self, message: ClusterMessage | Message) -> None:
        """The broker says something. What has no place in the conversation ends it."""
        state = self.state
        if isinstance(message, Challenge) and state is AdminState.ENQUIRING:
            self._challenged(message)
        elif isinstance(message, Admitted) and state is AdminState.PROVING:
            self._step(AdminEvent.ADMITTED)
            self._out.admitted(message.software)
        elif isinstance(message, Result) and state is AdminState.TRUSTED:
            self._out.answered(message.ask, message.data)
        elif isinstance(message, Error) and message.ask and state is AdminState.TRUSTED:
            self._out.answered(message.ask, error_for(message.code, message.text, message.data))
        elif isinstance(message, Denied | Error | Goodbye):
            error = error_for(message.code, message.text)
            self._refuse(UnknownKind(_TOO_OLD) if isinstance(error, UnknownKind) else error)
        else:
            self._refuse(UnknownKind(_TOO_OLD))

    def _challenged(self, said: Challenge) -> None:
        wanted = prove(self._key, "broker", self._nonce, said.nonce, b"admin")
        if not same_secret(said.proof, wanted):
            self._refuse(WrongKey(_OTHER_KEY))
            return
        self._step(AdminEvent.CHALLENGE)
        self._out.transmit(Admit(prove(self._key, "admin", said.nonce, self._nonce)))

    def _refuse(self, error: RemoteError) -> None:
        if self.state is not AdminState.OVER:
            self._step(AdminEvent.REFUSE)
            self._out.refused(error)

    def _step(self, event: AdminEvent) -> None:
        self.state = step(ADMIN, self.state, event)
