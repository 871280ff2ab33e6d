"""Sessions: who a client is, across its connections.

    online ──drop──▶ offline ──resume──▶ online
      │  ▲──resume (another connection: the older one is displaced)
     end                │ end, or the grace period runs out
      ▼                 ▼
    ended             ended

A session is taken back with its id and resume token. Every resume makes a new
token; the one that was shown stays good until the client has confirmed the new
one, because the answer that carried it may be lost with the connection. A
broker that has just started knows no session: it takes one back from what its
token says, or from a worker that has it as a member.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Protocol

from ..protocol.errors import CapacityReached, NotAMember, SessionUnknown
from ..protocol.ids import Entropy, new_id
from ..protocol.lifecycle import Table, step
from ..protocol.limits import AddressLimits
from ..protocol.names import ClientData
from ..protocol.rates import TokenBucket
from ..protocol.recent import Recent
from ..rooms.addresses import AddressBook
from ..rooms.lines import Line
from ..rooms.uplink import ClientFace, Uplink
from ..transport.locks import NOBODY, Vouched
from .tokens import TokenMint

__all__ = ["SESSION", "Session", "SessionEvent", "SessionState", "Sessions"]

_LATE = 300.0
"""Seconds for which a worker may still tell of a session that has ended: it is late by a lease, and by a hook."""


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

    def dismiss(self, session: "Session", text: str) -> None:
        """It is to end, and its client to be told why."""


class Session(Uplink, ClientFace):
    """A client of this server, in a room or not.

    ``Server.handle_response`` gets it as ``sender``.
    """

    __slots__ = (
        "_desk",
        "_previous_serial",
        "adopted",
        "data",
        "enters",
        "grace_until",
        "inherited",
        "line",
        "lost_rooms",
        "rooms",
        "serial",
        "state",
        "token",
        "user_data",
        "vouched",
        "waits",
    )

    def __init__(self, desk: Desk, session: str, client: ClientData, bucket: TokenBucket) -> None:
        super().__init__(session, bucket)
        self.data = client
        self.user_data: Any = None
        """Yours: whatever the server wants to remember of this client."""
        self.vouched = NOBODY
        """Who its client is, as far as the handshake of its connection has proved it."""
        self.state = SessionState.ONLINE
        self.token = b""
        self.serial = 0
        """Of its token; 0: a worker told us of it, and we do not know which tokens it had."""
        self.adopted = False
        """It is of a broker before us, and its client knows of no other: its numbers begin anew."""
        self.inherited = False
        """It was opened by a broker before us."""
        self.grace_until = 0.0
        """Until when it is kept while it is offline, monotonic seconds."""
        self.waits = 0
        """How often it was kept for longer since then, because this process was late."""
        self.enters = False
        """Its client takes JOINED for an answer, where its seat can be taken at once."""
        self.line = Line(client.ID, 0)
        self.rooms: set[str] = set()
        self.lost_rooms: list[str] = []
        """Rooms that were lost with their worker while it was away, at most as many as it may be in."""
        self._desk = desk
        self._previous_serial = 0

    def send(self, type: str, data: Any = None) -> None:  # noqa: A002  # the wire's word
        """Send a message to this client, whether it is in a room or not.

        Args:
            type: the message type, at most 64 characters.
            data: what msgpack can encode, at most 256 KiB.

        Raises:
            PayloadError: data can't be encoded or is too large; nothing was sent.
        """
        self._desk.direct(self, type, data)

    def end(self, text: str = "") -> None:
        """End this client's session: it leaves its rooms, and is told code 3004 and ``text``.

        For those whom the server does not want any more: what ``on_auth`` accepted
        is not asked again while the session lives, whatever has expired since.
        """
        self._desk.dismiss(self, text)

    def __repr__(self) -> str:
        return f"<Session of client {self.id}, {self.state.value}>"

    def accepts(self, serial: int, *, of_this_life: bool) -> bool:
        """Whether the token with this serial is good."""
        if not self.serial or (serial > 0 and serial == self._previous_serial):
            return True
        # One of an earlier life of the broker counts if it is newer than what we know: who shows an old one first,
        # stolen perhaps, must not keep its owner out.
        return serial == self.serial if of_this_life else serial > self.serial

    def rotate(self, mint: TokenMint, shown: int) -> None:
        """Make a new token; the one that was shown for it (its serial) stays good until ``confirmed``."""
        self._previous_serial = shown
        self.serial = max(self.serial, shown) + 1
        self.token = mint.make(self.session, self.data.ID, self.serial, _bearer(self.vouched))

    # The receiving end, see Uplink.

    def take(self, name: str, data: Any) -> None:
        self._desk.message(self, name, data)

    def take_request(self, name: str, data: Any) -> None:
        self._desk.request(self)

    def acknowledge(self) -> None:
        self._desk.acknowledge(self)

    def confirmed(self) -> None:
        self._previous_serial = 0

    def on_leave(self) -> None:
        raise NotAMember  # one leaves rooms; a session ends with GOODBYE

    def on_lost(self) -> None:
        self._desk.lost(self)


class Sessions:
    """The table of sessions.

    Args:
        most: how many there may be.
        entropy: where ids come from.
        mint: makes and reads resume tokens.
        first_client: the first client's number.
        book: counts them for each address.
    """

    def __init__(
        self,
        most: int,
        entropy: Entropy,
        mint: TokenMint,
        first_client: int = 1,
        book: AddressBook | None = None,
    ) -> None:
        self._most = most
        self._book = book or AddressBook(AddressLimits())
        self._entropy = entropy
        self._mint = mint
        self._by_id: dict[str, Session] = {}
        self._clients: dict[int, Session] = {}
        """By their clients' numbers."""
        self._buried: Recent[str, None] = Recent(most)
        """Inherited sessions that have ended: a token of the broker before us would bring them back."""
        self._closed: Recent[str, None] = Recent(most, _LATE)
        """Sessions of our own that have ended: a worker that is late could tell of them as members."""
        self.next_client = first_client
        """The number that the next new client gets."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_id.values()))

    def get(self, session: str) -> Session | None:
        """The session with this id, if it has not ended."""
        return self._by_id.get(session)

    def has_ended(self, session: str) -> bool:
        """Whether there was a session with this id and it has ended, as far as that is kept."""
        return session in self._buried or session in self._closed

    def of_client(self, client: int) -> Session | None:
        """The session of the client with this number, if it has not ended."""
        return self._clients.get(client)

    def open(
        self,
        make: Callable[[str, ClientData], Session],
        address: str,
        vouched: Vouched = NOBODY,
        who: Any = None,
    ) -> Session:
        """A new session, online.

        Args:
            make: makes it.
            address: where its client comes from.
            vouched: who that is, as far as the handshake has proved it; nobody else can take it back.
            who: who that is, as far as the server's owner says it.

        Raises:
            CapacityReached: there are as many as there may be.
        """
        self.check_room(address)
        session = self._add(make(new_id(self._entropy), ClientData(self.next_client, address, who)))
        session.vouched = vouched
        session.rotate(self._mint, 0)
        return session

    def adopt(self, make: Callable[[str, ClientData], Session], session_id: str, client: ClientData) -> Session:
        """A session of a broker before us, offline. If its client's number is taken, it gets another.

        Raises:
            CapacityReached: there are as many as there may be.
        """
        self.check_room()
        if client.ID in self._clients or client.ID < 1:
            client = client._replace(ID=self.next_client)
        session = self._add(make(session_id, client))
        session.state = step(SESSION, session.state, SessionEvent.DROP)
        session.adopted = session.inherited = True
        return session

    def is_strange(self, session_id: str, token: bytes, vouched: Vouched = NOBODY) -> bool:
        """Whether we know nothing of a session but that its token is good: it is of a broker before us."""
        content = self._mint.read(session_id, token, _bearer(vouched))
        known = session_id in self._by_id or session_id in self._buried
        return content is not None and not known and content.life != self._mint.life

    def resume(
        self,
        session_id: str,
        token: bytes,
        make: Callable[[str, ClientData], Session],
        address: str,
        vouched: Vouched = NOBODY,
        who: Any = None,
    ) -> Session:
        """Take a session back; its token is replaced. ``who`` counts for one that is strange.

        Raises:
            SessionUnknown: this is no token of this session, or not one that is good, or it was another's who
                opened it.
            CapacityReached: it is a session of a broker before us, and there are as many as there may be.
        """
        content = self._mint.read(session_id, token, _bearer(vouched))
        if content is None:
            raise SessionUnknown
        session, older = self._by_id.get(session_id), content.life != self._mint.life
        if session is None and older and session_id not in self._buried:
            session = self.adopt(make, session_id, ClientData(content.client_id, address, who))
        if session is None or not session.accepts(content.serial, of_this_life=not older):
            raise SessionUnknown
        session.adopted = older
        session.state = step(SESSION, session.state, SessionEvent.RESUME)
        session.vouched = vouched  # the same as ever, or the token would not be good
        session.rotate(self._mint, content.serial)
        return session

    def drop(self, session: Session) -> None:
        """The connection is lost."""
        session.state = step(SESSION, session.state, SessionEvent.DROP)

    def end(self, session: Session, now: float) -> None:
        """The session is over; ``now``: monotonic seconds."""
        session.state = step(SESSION, session.state, SessionEvent.END)
        del self._by_id[session.session]
        self._book.session_ended(session.data.ADDRESS)
        self._clients.pop(session.data.ID, None)
        # Apart, so that those of our own do not crowd out the others, whose tokens are good until then.
        kept = self._buried if session.inherited else self._closed
        kept.put(session.session, None, now)

    def check_room(self, address: str | None = None) -> None:
        """Raises CapacityReached: there are as many as there may be, or as many from that address."""
        if len(self._by_id) >= self._most:
            raise CapacityReached(f"the server has its {self._most} clients")
        if address is not None and not self._book.has_room(address):
            raise CapacityReached(f"the server has as many clients of one address as it takes: {address}")

    def _add(self, session: Session) -> Session:
        self._by_id[session.session] = session
        self._book.session_began(session.data.ADDRESS)
        self._clients[session.data.ID] = session
        self.next_client = max(self.next_client, session.data.ID + 1)
        return session


def _bearer(vouched: Vouched) -> bytes:
    """What a token is bound to."""
    if vouched.key is not None:
        return b"key" + vouched.key
    return b"user" + vouched.user.encode() if vouched.user is not None else b""
