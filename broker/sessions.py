"""Sessions: who a client is, across its connections.

    online ──drop──▶ offline ──resume──▶ online
      │  ▲──resume (another connection: the older one is displaced)
     end                │ end, or the grace period runs out
      ▼                 ▼
    ended             ended

A session is taken back with its id and resume token. Every resume makes a new
token; the one that was shown stays good until the client has confirmed the new
one, because the answer that carried it may be lost with the connection.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Protocol

from ..protocol.errors import CapacityReached, NotAMember, SessionUnknown
from ..protocol.ids import Entropy, new_id, new_token, same_secret
from ..protocol.lifecycle import Table, step
from ..protocol.names import ClientData
from ..protocol.rates import TokenBucket
from ..rooms.fanout import Line
from ..rooms.uplink import ClientFace, Uplink

__all__ = ["SESSION", "Session", "SessionEvent", "SessionState", "Sessions"]


class SessionState(Enum):
    """Where a session is in its life."""

    ONLINE = "online"
    OFFLINE = "offline"
    ENDED = "ended"


class SessionEvent(Enum):
    """What happens to a session."""

    DROP = "drop"
    RESUME = "resume"
    END = "end"


SESSION: Table[SessionState, SessionEvent] = {
    SessionState.ONLINE: {
        SessionEvent.DROP: SessionState.OFFLINE,
        SessionEvent.RESUME: SessionState.ONLINE,
        SessionEvent.END: SessionState.ENDED,
    },
    SessionState.OFFLINE: {SessionEvent.RESUME: SessionState.ONLINE, SessionEvent.END: SessionState.ENDED},
    SessionState.ENDED: {},
}


class Desk(Protocol):
    """Who answers for sessions."""

    def message(self, session: "Session", name: str, data: Any) -> None:
        """It sent a message, numbered ``session.uplink``."""

    def request(self, session: "Session") -> None:
        """It sent a request, numbered ``session.uplink``."""

    def acknowledge(self, session: "Session") -> None:
        """It asks how far its messages are applied."""

    def direct(self, session: "Session", name: str, data: Any) -> None:
        """Something is to be sent to it."""

    def lost(self, session: "Session") -> None:
        """Its connection is gone."""


class Session(Uplink, ClientFace):
    """A client of this server, in a room or not.

    ``Server.handle_response`` gets it as ``sender``.
    """

    __slots__ = (
        "_desk",
        "_previous_token",
        "data",
        "line",
        "rooms",
        "state",
        "token",
        "user_data",
    )

    def __init__(self, desk: Desk, session: str, client: ClientData, bucket: TokenBucket) -> None:
        super().__init__(session, bucket)
        self.data = client
        self.user_data: Any = None
        """Yours: whatever the server wants to remember of this client."""
        self.state = SessionState.ONLINE
        self.token = b""
        self.line = Line(client.ID, 0)
        self.rooms: set[str] = set()
        self._desk = desk
        self._previous_token: bytes | None = None

    def send(self, type: str, data: Any = None) -> None:  # noqa: A002  # the wire's word
        """Send a message to this client, whether it is in a room or not.

        Args:
            type: the message type, at most 64 characters.
            data: what msgpack can encode, at most 256 KiB.

        Raises:
            PayloadError: data can't be encoded or is too large; nothing was sent.
        """
        self._desk.direct(self, type, data)

    def __repr__(self) -> str:
        return f"<Session of client {self.id}, {self.state.value}>"

    def accepts(self, token: bytes) -> bool:
        """Whether this is a resume token that is good."""
        current = same_secret(token, self.token)
        previous = self._previous_token is not None and same_secret(token, self._previous_token)
        return current or previous

    def rotate(self, entropy: Entropy, shown: bytes | None) -> None:
        """Make a new token; the one that was shown for it stays good until ``confirmed``."""
        self._previous_token = shown
        self.token = new_token(entropy)

    # The receiving end, see Uplink.

    def take(self, name: str, data: Any) -> None:
        self._desk.message(self, name, data)

    def take_request(self, name: str, data: Any) -> None:
        self._desk.request(self)

    def acknowledge(self) -> None:
        self._desk.acknowledge(self)

    def confirmed(self) -> None:
        self._previous_token = None

    def on_leave(self) -> None:
        raise NotAMember  # one leaves rooms; a session ends with GOODBYE

    def on_lost(self) -> None:
        self._desk.lost(self)


class Sessions:
    """The table of sessions.

    Args:
        most: how many there may be.
        entropy: where ids and tokens come from.
    """

    def __init__(self, most: int, entropy: Entropy) -> None:
        self._most = most
        self._entropy = entropy
        self._by_id: dict[str, Session] = {}
        self._next_client = 1

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_id.values()))

    def get(self, session: str) -> Session | None:
        """The session with this id, if it has not ended."""
        return self._by_id.get(session)

    def open(self, make: Callable[[str, ClientData], Session], address: str) -> Session:
        """A new session, online.

        Raises:
            CapacityReached: there are as many as there may be.
        """
        if len(self._by_id) >= self._most:
            raise CapacityReached(f"the server has its {self._most} clients")
        session = make(new_id(self._entropy), ClientData(self._next_client, address))
        session.rotate(self._entropy, None)
        self._next_client += 1
        self._by_id[session.session] = session
        return session

    def resume(self, session_id: str, token: bytes) -> Session:
        """Take a session back; its token is replaced.

        Raises:
            SessionUnknown: there is no such session, or this is not its token.
        """
        session = self._by_id.get(session_id)
        if session is None or not session.accepts(token):
            raise SessionUnknown
        session.state = step(SESSION, session.state, SessionEvent.RESUME)
        session.rotate(self._entropy, token)
        return session

    def drop(self, session: Session) -> None:
        """The connection is lost."""
        session.state = step(SESSION, session.state, SessionEvent.DROP)

    def end(self, session: Session) -> None:
        """The session is over."""
        session.state = step(SESSION, session.state, SessionEvent.END)
        del self._by_id[session.session]
