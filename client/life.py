"""The life of a client's connection.

idle ──open──▶ dialing ──up──▶ opening ──welcome──▶ online
                 ▲  │             │                   │
                 │  └────lost─────┴───────lost────────┘
               retry                     ▼
                 └──────────────────── waiting
any state ──close──▶ closed
"""

from enum import Enum

from ..protocol.lifecycle import Table

__all__ = ["CLIENT", "ClientEvent", "ClientState"]


class ClientState(Enum):
    """Where a client is in its life."""

    IDLE = "idle"
    DIALING = "dialing"
    OPENING = "opening"
    ONLINE = "online"
    WAITING = "waiting"
    CLOSED = "closed"


class ClientEvent(Enum):
    """What happens to a client."""

    OPEN = "open"
    UP = "up"
    WELCOME = "welcome"
    LOST = "lost"
    RETRY = "retry"
    CLOSE = "close"


CLIENT: Table[ClientState, ClientEvent] = {
    ClientState.IDLE: {ClientEvent.OPEN: ClientState.DIALING, ClientEvent.CLOSE: ClientState.CLOSED},
    ClientState.DIALING: {
        ClientEvent.UP: ClientState.OPENING,
        ClientEvent.LOST: ClientState.WAITING,
        ClientEvent.CLOSE: ClientState.CLOSED,
    },
    ClientState.OPENING: {
        ClientEvent.WELCOME: ClientState.ONLINE,
        ClientEvent.LOST: ClientState.WAITING,
        ClientEvent.CLOSE: ClientState.CLOSED,
    },
    ClientState.ONLINE: {ClientEvent.LOST: ClientState.WAITING, ClientEvent.CLOSE: ClientState.CLOSED},
    ClientState.WAITING: {ClientEvent.RETRY: ClientState.DIALING, ClientEvent.CLOSE: ClientState.CLOSED},
    ClientState.CLOSED: {},
}
