"""A member, as the room's hooks see it."""

from typing import Any, Protocol

from ..protocol.errors import Code
from ..protocol.messages import LeftRoom
from ..protocol.names import ClientData
from ..protocol.rates import TokenBucket
from ..protocol.streams import Position
from .lines import Line
from .replies import Replies
from .seats import Seat
from .uplink import Caller, ClientFace, Uplink

__all__ = ["Keeper", "Member"]


class Keeper(Protocol):
    """The room, as its members need it."""

    id: str

    def direct(self, member: "Member", name: str, data: Any, key: str | int | None) -> None:
        """Something is to be sent to it."""

    def message(self, member: "Member", name: str, data: Any) -> None:
        """It sent a message, numbered ``member.uplink``."""

    def request(self, member: "Member", number: int, name: str, data: Any) -> None:
        """It sent a request."""

    def acknowledge(self, member: "Member") -> None:
        """It asks how far its messages are applied."""

    def confirm(self, member: "Member") -> None:
        """It has got its token."""

    def remove(self, member: "Member", code: Code, text: str) -> None:
        """It goes, or is made to."""

    def lost(self, member: "Member") -> None:
        """Its connection is gone."""


class Member(Uplink, ClientFace):
    """A client in a room.

    Hooks get it as ``client`` (``sender`` in ``handle_response``). It stays the
    same object while the client drops and reconnects.
    """

    __slots__ = ("_keeper", "admitted", "line", "replies", "seat", "since", "user_data")

    def __init__(self, keeper: Keeper, seat: Seat, line: Line, bucket: TokenBucket | None) -> None:
        super().__init__(seat.session, bucket)
        self.user_data: Any = None
        """Yours: whatever the room wants to remember of this client."""
        self.seat = seat
        self.line = line
        self.admitted = False
        self.replies: Replies | None = None
        """What its requests were answered, made when it is first needed."""
        self.since = 0.0
        self._keeper = keeper

    @property
    def data(self) -> ClientData:  # type: ignore[override]  # the seat's
        """The client's number and address."""
        return self.seat.client

    @property
    def team(self) -> str:
        """The team that a queue has put it into; empty where there are no teams."""
        return self.seat.place[0] if self.seat.place is not None else ""

    @property
    def spectator(self) -> bool:
        """Whether it only looks on."""
        return self.seat.spectator

    @property
    def role(self) -> str:
        """The role that a queue gave it; empty where there are no roles, or any will do."""
        return self.seat.place[1] if self.seat.place is not None else ""

    @property
    def lagging(self) -> bool:
        """Whether it is connected, and what is said waits in the history, because it takes nothing just now.

        In topic rooms nobody sees a member's queue: there it says whether its
        downlink has still to be opened.
        """
        return self.line.behind and self.admitted and self.connection is not None

    def send(self, type: str, data: Any = None, *, key: str | int | None = None) -> None:  # noqa: A002  # the wire's word
        """Send a direct message: to this member alone, in order with the room's broadcasts.

        Args:
            type: the message type, at most 64 characters.
            data: what msgpack can encode, at most 256 KiB.
            key: see ``Room.broadcast``. It stands apart from the keys of broadcasts.

        Raises:
            PayloadError: data can't be encoded or is too large, or the key is none; nothing was sent.
        """
        self._keeper.direct(self, type, data, key)

    def kick(self, text: str = "") -> None:
        """Remove the member from the room. It is told code 3101 and ``text``; ``on_leave`` runs."""
        self._keeper.remove(self, Code.KICKED, text)

    def __repr__(self) -> str:
        return f"<Member {self.id} {self.seat.state.value} in {self._keeper.id}>"

    # The receiving end, see Uplink.

    def attach(self, connection: Caller) -> None:
        """See ``Uplink.attach``. ``since``, the time that it has this connection for, begins with a new one."""
        if self.connection is not connection:
            self.since = connection.now
        super().attach(connection)

    def take(self, name: str, data: Any) -> None:
        self._keeper.message(self, name, data)

    def take_request(self, name: str, data: Any) -> None:
        self._keeper.request(self, self.uplink, name, data)

    def acknowledge(self) -> None:
        self._keeper.acknowledge(self)

    def confirmed(self) -> None:
        self._keeper.confirm(self)

    def on_leave(self) -> None:
        self._keeper.remove(self, Code.LEFT, "")

    def on_lost(self) -> None:
        self._keeper.lost(self)

    def remember(self, request: int, direct: int, item: bytes) -> None:
        """A request was answered: see ``Replies.add``."""
        if self.replies is None:
            self.replies = Replies()
        self.replies.add(request, direct, item)

    def say_left(self, code: Code, text: str, end: Position) -> None:
        """Tell the client that it is no member any more, and where what was said to it ends."""
        self.say(LeftRoom(self.ref, int(code), text[:512], end.offset, end.direct))
