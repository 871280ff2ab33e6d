"""The receiving end of what one client says to one room, or to the server: each message once, in order."""

from typing import Any, Protocol

from ..protocol.codec import pack_payload
from ..protocol.errors import (
    BadMessage,
    NotAMember,
    PayloadError,
    RateLimited,
    RemoteError,
    RequestError,
    RequestRefused,
    UplinkGap,
    error_for,
)
from ..protocol.messages import Ack, Error, Message
from ..protocol.names import ClientData
from ..protocol.rates import TokenBucket
from ..transport.locks import Vouched

__all__ = ["MOST_REFUSALS", "Caller", "ClientFace", "Uplink"]

_ACK_MASK = 31
"""Every 32nd message is acknowledged unasked."""
_LONGEST_NAME = 64
MOST_REFUSALS = 256
"""Refusals that are remembered: an honest client has no more messages under way (``Limits.unacked``)."""
_MOST_DETAILS = 1024
"""Bytes of what a refusal says besides its text."""
_NESTING = 16


class Caller(Protocol):
    """A connection, as those who speak on it see it."""

    sessions: frozenset[str]
    """The ids of the sessions that it carries."""

    @property
    def address(self) -> str:
        """The IP address that it comes from; empty if unknown."""
        ...

    @property
    def vouched(self) -> Vouched:
        """Who it is, as far as the handshake has proved it."""
        ...

    @property
    def peer(self) -> bytes:
        """Where frames for it go."""
        ...

    @property
    def refs(self) -> "dict[int, Uplink]":
        """Who speaks on it, by reference."""
        ...

    @property
    def clogged(self) -> bool:
        """Whether messages wait because its queue is full: bundles must not overtake them."""
        ...

    @property
    def now(self) -> float:
        """The time of this turn, monotonic seconds."""
        ...

    def add(self, uplink: "Uplink") -> int:
        """Give somebody a reference on it."""
        ...

    def say(self, message: Message) -> None:
        """Send one message."""

    def say_frame(self, frame: bytes) -> None:
        """Send a frame that is encoded already."""

    def refuse(self, error: RemoteError, ref: int = 0, ask: int = 0) -> None:
        """Answer with an error."""

    def hang_up(self) -> None:
        """Close it, when what was said has left."""


class ClientFace:
    """Who a client is, in the words that hooks use: for what stands for one."""

    __slots__ = ()

    data: ClientData
    """The client's number and address."""
    connection: Caller | None

    @property
    def id(self) -> int:
        """The client's number, unique in the life of the server."""
        return self.data.ID

    ID = id

    @property
    def ADDRESS(self) -> str:  # noqa: N802  # the name that programs already use
        """Where the client's connection comes from."""
        return self.data.ADDRESS

    @property
    def auth(self) -> Any:
        """Who the client is: what ``Server.on_auth`` returned when its session was opened. Don't change it."""
        return self.data.AUTH

    @property
    def connected(self) -> bool:
        """Whether there is a connection now. Without one, what is sent waits in the history."""
        return self.connection is not None


class Uplink:
    """Numbers, rate and connection of one sender. What it stands for is a subclass's.

    Args:
        session: the id of the sender's session.
        bucket: how often it may send; None lifts the limit.
    """

    __slots__ = (
        "_bucket",
        "_due",
        "_due_again",
        "_refusals",
        "_refused_elsewhere",
        "connection",
        "ref",
        "session",
        "uplink",
    )

    def __init__(self, session: str, bucket: TokenBucket | None) -> None:
        self.session = session
        self.uplink = 0
        """The number of the last message that was taken."""
        self.ref = 0
        self.connection: Caller | None = None
        self._bucket = bucket
        self._due = -1
        """The number whose acknowledgement is to be said as soon as all up to it is applied; -1: none is."""
        self._due_again = False
        """Whether a later one is to be said after that."""
        self._refusals: dict[int, Error] | None = None
        """What was refused, by number, until the client confirms that it knows."""
        self._refused_elsewhere = False
        """Whether some of that was said on an older connection, and may be lost with it."""

    # A subclass says what these mean.

    def take(self, name: str, data: Any) -> None:
        """A message, numbered ``uplink``."""
        raise NotImplementedError

    def take_request(self, name: str, data: Any) -> None:
        """A request, numbered ``uplink``."""
        raise NotImplementedError

    def acknowledge(self) -> None:
        """Say ``say_acknowledged(uplink)`` as soon as all up to it is applied."""
        raise NotImplementedError

    def confirmed(self) -> None:
        """The client has got what it was answered last."""
        raise NotImplementedError

    def on_leave(self) -> None:
        """The client gives this up."""
        raise NotImplementedError

    def on_lost(self) -> None:
        """The connection is gone."""
        raise NotImplementedError

    # What the port calls.

    def on_send(self, message: list[Any]) -> None:
        """Take a SEND: once, in its turn, within the rate."""
        if len(message) != 5:
            self._on_send_several(message)
            return
        _, _, number, name, data = message
        if type(number) is not int or number != self.uplink + 1 or type(name) is not str or len(name) > _LONGEST_NAME:
            self._misshapen(number)
            return
        self.uplink += 1
        connection = self.connection
        if self._bucket is not None and connection is not None and not self._bucket.allow(connection.now):
            self.refuse(RateLimited(), self.uplink)
        else:
            self.take(name, data)
        if not self.uplink & _ACK_MASK:
            self._acknowledge_soon()

    def on_request(self, message: list[Any]) -> None:
        """Take a REQUEST; its reply is an item of a later bundle."""
        _, _, number, name, data = message
        if type(number) is not int or number != self.uplink + 1 or type(name) is not str or len(name) > _LONGEST_NAME:
            self._misshapen(number)
            return
        self.uplink += 1
        connection = self.connection
        if self._bucket is not None and connection is not None and not self._bucket.allow(connection.now):
            self.refuse(RateLimited(), self.uplink)
        else:
            self.take_request(name, data)
        if not self.uplink & _ACK_MASK:
            self._acknowledge_soon()

    def on_ack(self, number: int) -> None:
        """The client asks how far its messages are applied. It knows what became of those up to ``number``."""
        self.confirmed()
        if self._refusals:
            self._refusals = {refused: error for refused, error in self._refusals.items() if refused > number}
        self._refuse_again()
        self._acknowledge_soon()

    def lost(self) -> None:
        """The connection is gone."""
        if self.connection is not None:
            self.connection = None
            self.on_lost()

    # What the subclass calls.

    def attach(self, connection: Caller) -> None:
        """Take a connection, and leave the one before."""
        self.detach()
        self.connection = connection
        self.ref = connection.add(self)
        self._refused_elsewhere = bool(self._refusals)

    def detach(self) -> None:
        """Leave the connection; messages with the old reference find nobody."""
        if self.connection is not None:
            self.connection.refs.pop(self.ref, None)
            self.connection = None

    def say(self, message: Message) -> None:
        """Tell the client something, if it is connected."""
        if self.connection is not None:
            self.connection.say(message)

    def say_frame(self, frame: bytes) -> None:
        """Tell the client something that is encoded already, if it is connected."""
        if self.connection is not None:
            self.connection.say_frame(frame)

    def say_acknowledged(self, number: int) -> None:
        """Tell the client up to which of its messages all are applied, but for those that were refused."""
        self._due = -1
        self._refuse_again()  # ahead of the acknowledgement, which counts for all but these
        self.say(Ack(self.ref, number))
        if self._due_again:
            self._due_again = False
            self._acknowledge_soon()

    def refuse(self, error: RequestError, number: int) -> None:
        """Tell the client that this message was not applied, and why.

        It is said again on the next connection: a client that never heard of it
        would take the message for applied once it is acknowledged.
        """
        if number:
            error = _sendable(error)
            if self._refusals is None:
                self._refusals = {}
            self._refusals[number] = Error(0, number, int(error.code), error.text[:512], error.data)
            if len(self._refusals) > MOST_REFUSALS:
                del self._refusals[next(iter(self._refusals))]
        if self.connection is None:
            self._refused_elsewhere = True
        else:
            self.connection.refuse(error, self.ref, number)

    def _acknowledge_soon(self) -> None:
        # One at a time: whatever a client asks or sends, they must not pile up behind a hook that waits.
        if self._due < 0:
            self._due = self.uplink
            self.acknowledge()
        elif self._due != self.uplink:
            self._due_again = True

    def _refuse_again(self) -> None:
        if self._refused_elsewhere and self.connection is not None:
            self._refused_elsewhere = False
            for refusal in (self._refusals or {}).values():
                self.say(refusal._replace(ref=self.ref))

    def _on_send_several(self, message: list[Any]) -> None:
        if len(message) < 5 or len(message) % 2 == 0 or type(message[2]) is not int:
            self.refuse(BadMessage("SEND is [kind, ref, number, type, data, type, data, ...]"), 0)
            return
        for index in range(3, len(message), 2):
            if self.connection is None:
                return  # cut, or gone, because of one before
            number = message[2] + (index - 3) // 2
            self.on_send([message[0], message[1], number, message[index], message[index + 1]])

    def _misshapen(self, number: Any) -> None:
        if type(number) is not int or number < 1:
            self.refuse(BadMessage("a message's number is a positive integer"), 0)
        elif number > self.uplink + 1:
            self.refuse(UplinkGap("", self.uplink + 1), 0)
        elif number == self.uplink + 1:
            self.uplink += 1  # it will not get better by being sent again
            self.refuse(BadMessage(f"a message's type is a string of at most {_LONGEST_NAME} characters"), number)
        # A number that was taken already: sent again after a reconnect. Once is enough.


def _sendable(error: RequestError) -> RequestError:
    """The error as it is, or what of it can be sent: a hook may raise anything."""
    if isinstance(error, NotAMember | UplinkGap):  # to a client, these say something else than that it was refused
        return RequestRefused(error.text)
    if error.data is not None:
        try:
            pack_payload(error.data, _MOST_DETAILS, _NESTING)
        except PayloadError:
            plain = error_for(int(error.code), error.text)
            assert isinstance(plain, RequestError)
            return plain
    return error
