"""Opening a session, and taking it back: what is said of who we are, and what a refusal means."""

from typing import Any

from ..protocol.errors import BrokerUnreachable, CredentialsWanted, RemoteError, ServerRoomError
from ..protocol.messages import VERSION, Hello, Resume
from .asks import Asks
from .contact import Contact
from .life import ClientState
from .memberships import Memberships
from .outbox import ClientOutbox

__all__ = ["Opening"]

_OPTIONS: dict[str, Any] = {"enter": True}
"""Said with each opening: where our seat can be taken at once, JOINED is answer enough."""


class Opening:
    """The session, as far as it is ours to show, on one connection after another.

    Args:
        broker: who has the session.
        asks: numbers what is asked.
        memberships: they know what was heard last outside of rooms.
        out: where to write.
        software: what to call ourselves in HELLO.
        credentials: what to show of who this is; None: nothing.
        fetches: ask for them instead, each time that they are needed.
    """

    def __init__(
        self,
        broker: Contact,
        asks: Asks,
        memberships: Memberships,
        out: ClientOutbox,
        software: str,
        credentials: Any,
        *,
        fetches: bool,
    ) -> None:
        self.unwelcome: ServerRoomError | None = None
        """Why the last one failed, if somebody answered."""
        self.locked_out = ""
        """Why the last connection was not made, if that has to do with keys."""
        self._broker = broker
        self._asks = asks
        self._memberships = memberships
        self._out = out
        self._software = software[:64]
        self._credentials = credentials
        self._fetches = fetches
        self._session = ""
        self._token = b""
        self._ask = 0

    @property
    def has_session(self) -> bool:
        """Whether there is one to be taken back."""
        return bool(self._session)

    def begin(self) -> None:
        """The connection stands: take the session back, or open one."""
        self.locked_out = ""
        self._ask = self._asks.number()
        if self._session:
            self._resume(_OPTIONS)
        else:
            self._identify()

    def introduce(self, ask: int, credentials: Any) -> None:
        """This is what the application shows of who it is. Too late, if that opening is over."""
        if not self.waits_for(ask):
            return
        if self._session:
            self._resume({"credentials": credentials, **_OPTIONS})
        else:
            options = _OPTIONS if credentials is None else {"credentials": credentials, **_OPTIONS}
            self._broker.say(Hello(ask, [VERSION], self._software, options))

    def waits_for(self, ask: int) -> bool:
        """Whether this is the opening that is under way."""
        return ask == self._ask and self._broker.state is ClientState.OPENING

    def is_about(self, ask: int) -> bool:
        """Whether this is the number of the last one."""
        return ask == self._ask

    def shows_more(self, error: RemoteError) -> bool:
        """It is refused. Whether it goes on all the same: the broker wants credentials with a session that we have."""
        if not (isinstance(error, CredentialsWanted) and self._session):
            return False
        self._ask = self._asks.number()
        self._identify()
        return True

    def done(self, session: str, token: bytes) -> None:
        """The session is open; the token takes it back once."""
        self._session, self._token = session, token

    def failure(self, waited: float) -> ServerRoomError:
        """Why there is no session, after so many seconds."""
        attempts = max(1, self._broker.backoff.attempts - self.has_session)
        return self.unwelcome or BrokerUnreachable(self._broker.address, waited, attempts, self.locked_out)

    def _resume(self, options: dict[str, Any]) -> None:
        last = self._memberships.home.reader.direct
        self._broker.say(Resume(self._ask, [VERSION], self._session, self._token, last, options))

    def _identify(self) -> None:
        if self._fetches:
            self._out.fetch_credentials(self._ask)
        else:
            self.introduce(self._ask, self._credentials)
