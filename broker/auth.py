"""Admission: who may open a session, as the server's ``on_auth`` says.

A HELLO whose server asks who its clients are waits here for the answer:

    HELLO ──▶ asked ──on_auth returned──▶ the session is opened, with what it returned
                │ ├──on_auth raised AuthRefused──▶ ERROR 3008
                │ └──it raised something else, or took too long──▶ ERROR 2002: come back later
                └──the connection is lost──▶ nothing is left

How many wait at once is bounded, for all and for each address, so that one who
sends HELLOs to a slow hook keeps neither memory nor the others' turn.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ..protocol.alarms import AlarmClock
from ..protocol.codec import pack_payload
from ..protocol.errors import AuthRefused, AuthUnavailable, NotAMember, PayloadError, RemoteError
from ..rooms.uplink import Caller, Uplink
from ..transport.locks import key_to_text

__all__ = ["LONGEST_AUTH", "Admission", "AdmissionOutbox", "Asking", "Peer"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".server")

LONGEST_AUTH = 4096
"""Bytes of what ``on_auth`` returns, in msgpack: it goes to the worker with every seat."""
_DEEPEST_AUTH = 8


class Peer(NamedTuple):
    """The other end of a connection, as ``Server.on_auth`` gets it."""

    address: str
    """Its IP address; empty if unknown. Behind a gateway or NAT, many clients share one."""
    key: str | None = None
    """Its public CURVE key, 40 characters as ``srs keys show`` prints them; None without CURVE."""
    user: str | None = None
    """The name that went with the right password; None without PLAIN."""


class AdmissionOutbox(AlarmClock, Protocol):
    """Where the admission writes what must happen."""

    def check_credentials(self, asking: "Asking") -> None:
        """Ask ``on_auth``; its answer goes to ``answered`` or ``failed``, at once or later."""

    def stop_checking(self, asking: "Asking") -> None:
        """The answer is not wanted any more."""

    def auth_refused(self, address: str) -> None:
        """Somebody at this address has shown credentials that are not good."""


class Asking(Uplink):
    """One HELLO or RESUME that waits. It stands on its connection, and so it hears when that is lost."""

    __slots__ = ("_admission", "ask", "credentials", "peer", "then")

    def __init__(
        self, admission: "Admission", ask: int, credentials: Any, peer: Peer, then: Callable[[Any], None]
    ) -> None:
        super().__init__("", None)
        self.ask = ask
        self.credentials = credentials
        """What the client has shown. Never to be logged."""
        self.peer = peer
        self.then = then
        self._admission = admission

    def on_send(self, message: list[Any]) -> None:
        self.refuse(NotAMember(), 0)  # nobody was told its reference

    def on_request(self, message: list[Any]) -> None:
        self.refuse(NotAMember(), 0)

    def on_ack(self, number: int) -> None:
        raise NotAMember

    def on_leave(self) -> None:
        raise NotAMember

    def on_lost(self) -> None:
        self._admission.gone(self)


class Admission:
    """Asks ``on_auth`` for each newcomer, and waits for the answers within bounds.

    Args:
        out: where to write.
        timeout: seconds that one answer may take.
        most: how many may wait at once.
        most_of_an_address: how many of one IP address.
    """

    def __init__(self, out: AdmissionOutbox, timeout: float, most: int, most_of_an_address: int) -> None:
        self._out = out
        self._timeout = timeout
        self.most = most
        """How many may wait at once."""
        self._most_of_an_address = most_of_an_address
        self._waiting: set[Asking] = set()
        self._of_address: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def ask(self, connection: Caller, ask: int, credentials: Any, then: Callable[[Any], None]) -> None:
        """Have it checked who this is.

        Args:
            connection: where the question came from, and the answer goes.
            ask: the number that errors are answered under.
            credentials: what was shown; nil if nothing.
            then: called with what ``on_auth`` returned. May raise a RemoteError, which the client is told.

        Raises:
            AuthUnavailable: too many wait already.
        """
        address = connection.address
        if len(self._waiting) >= self.most or self._of_address[address] >= self._most_of_an_address:
            raise AuthUnavailable("too many clients are being checked just now")
        vouched = connection.vouched
        key = key_to_text(vouched.key) if vouched.key is not None else None
        asking = Asking(self, ask, credentials, Peer(address, key, vouched.user), then)
        asking.attach(connection)
        self._waiting.add(asking)
        self._of_address[address] += 1
        self._out.alarm(self._out.now + self._timeout, self._too_late, asking)
        self._out.check_credentials(asking)

    def answered(self, asking: Asking, who: Any) -> None:
        """``on_auth`` has returned who this is.

        Raises:
            PayloadError: rooms could not be told so; the client is told to come back later.
        """
        connection = self._conclude(asking)
        if connection is None:
            return
        try:
            pack_payload(who, LONGEST_AUTH, _DEEPEST_AUTH)
        except PayloadError:
            self._refuse(connection, asking, AuthUnavailable())
            raise
        try:
            asking.then(who)
        except RemoteError as error:
            connection.refuse(error, 0, asking.ask)

    def failed(self, asking: Asking, error: BaseException) -> None:
        """``on_auth`` has raised."""
        connection = self._conclude(asking)
        if connection is None:
            return
        if not isinstance(error, AuthRefused):
            self._refuse(connection, asking, AuthUnavailable())
            return
        logger.info("a client at %s was refused: %s", asking.peer.address, error.text)
        self._out.auth_refused(asking.peer.address)
        self._refuse(connection, asking, AuthRefused(error.text))

    def gone(self, asking: Asking) -> None:
        """Its connection is lost."""
        self._forget(asking)
        self._out.stop_checking(asking)

    def _too_late(self, asking: Asking) -> None:
        connection = self._conclude(asking)
        if connection is not None:
            logger.warning("on_auth took longer than %.1f s for a client at %s", self._timeout, asking.peer.address)
            self._out.stop_checking(asking)
            self._refuse(connection, asking, AuthUnavailable())

    def _conclude(self, asking: Asking) -> Caller | None:
        """It waits no more. None: it did not wait, because its connection was lost or its time was over."""
        connection = asking.connection
        if asking not in self._waiting:
            return None
        asking.detach()
        self._forget(asking)
        return connection

    def _forget(self, asking: Asking) -> None:
        self._waiting.discard(asking)
        self._out.clear_alarm(self._too_late, asking)
        address = asking.peer.address
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    def _refuse(self, connection: Caller, asking: Asking, error: AuthRefused | AuthUnavailable) -> None:
        connection.refuse(error, 0, asking.ask)
        if not connection.sessions:  # whoever comes back does so on another one
            connection.hang_up()
