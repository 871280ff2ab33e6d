"""A room, as the client who is in it sees it."""

from collections import deque
from typing import TYPE_CHECKING, Any

from ..protocol.errors import ClientClosedError, NotInRoomError, RemoteError
from ..protocol.messages import Kind
from .membership import Membership, MembershipState, Received

if TYPE_CHECKING:
    from .shell import Shell

__all__ = ["ClientRoom", "Inbox"]


class Inbox:
    """What came and is not read yet: bounded, and whoever waits for it.

    When it is full, nothing more is taken; what was left out is fetched again
    from the sender's history as soon as half of it is read.
    """

    def __init__(self, shell: "Shell", membership: Membership, most: int) -> None:
        self._shell = shell
        self._membership = membership
        self._most = most
        self._messages: deque[Received] = deque()
        self._left_out = False

    def has_room(self) -> bool:
        """Whether another bundle is taken."""
        if len(self._messages) < self._most:
            return True
        self._left_out = True
        return False

    def put(self, message: Received) -> None:
        """Take a message."""
        self._messages.append(message)

    async def get(self, timeout: float | None) -> Received:
        """The next message.

        Raises:
            TimedOut: there was none in time.
            NotInRoomError: there will be none any more.
        """
        await self._shell.wait_until(lambda: bool(self._messages) or self._is_over(), timeout, "message")
        if not self._messages:
            raise NotInRoomError(str(self._membership.error or "the room is left"))
        message = self._messages.popleft()
        if self._left_out and len(self._messages) <= self._most // 2:
            self._left_out = False
            self._shell.read_on(self._membership)
        return message

    def _is_over(self) -> bool:
        return self._membership.state is MembershipState.ENDED or self._shell.closed


class ClientRoom:
    """A room that this client is in. ``AsyncClient.match`` and its like make them.

    ::

        await room.send("move", {"x": 1})
        receipt = await room.request("buy", "sword", timeout=2)
        async for message in room:
            print(message.type, message.data)

    The iteration ends when the room is left or closed; ``error`` tells why.
    """

    def __init__(self, shell: "Shell", membership: Membership, most: int) -> None:
        self._shell = shell
        self._membership = membership
        self.inbox = Inbox(shell, membership, most)
        self.members: set[int] = set(membership.info.get("members", ()))
        """Numbers of the members, in rooms that show presence; empty in others."""

    @property
    def id(self) -> str:
        """The room's id; others can ``join_by_id`` it."""
        return self._membership.room

    @property
    def type(self) -> str:
        """The room type's name."""
        return self._membership.type

    @property
    def info(self) -> dict[str, Any]:
        """What the room told when we joined: ``max_clients``, ``min_clients``, ``metadata``."""
        return dict(self._membership.info)

    @property
    def joined(self) -> bool:
        """Whether we are a member: joined, or away and coming back."""
        return self._membership.state is not MembershipState.ENDED and not self._shell.closed

    @property
    def connected(self) -> bool:
        """Whether messages flow right now."""
        return self._membership.state is MembershipState.JOINED

    @property
    def error(self) -> RemoteError | None:
        """Why the room ended for us: Left, Kicked, RoomClosed, … None while it has not."""
        return self._membership.error

    async def send(self, type: str, data: Any = None, *, ack: bool = False, timeout: float = 10.0) -> None:  # noqa: A002
        """Send a message to the room's owner code.

        It is applied at most once, also across reconnects. Without ``ack`` this
        returns at once, unless too many messages are not acknowledged yet: then
        it waits for the room.

        Args:
            type: the message type, at most 64 characters.
            data: what msgpack can encode, at most 64 KiB.
            ack: wait until the room has applied it: then exactly once.
            timeout: seconds to wait at most.

        Raises:
            PayloadError: data can't be encoded or is over a limit.
            NotInRoomError: the room is left or closed.
            TimedOut: no acknowledgement in time; it may still be applied.
            RateLimited, RoomBusy, BadPayload: with ``ack``, the room refused it.
        """
        await self._shell.send(self._membership, Kind.SEND, type, data, timeout, ack=ack)

    async def request(self, type: str, data: Any = None, *, timeout: float = 10.0) -> Any:  # noqa: A002
        """Ask the room something; what its ``@on_request`` handler returns.

        Raises:
            RequestRefused, BadPayload, NoHandler, HandlerFailed: the room's answer.
            PayloadError: data can't be encoded or is over a limit.
            NotInRoomError: the room is left or closed.
            TimedOut: no reply in time; the request may still be handled.
        """
        return await self._shell.request(self._membership, type, data, timeout)

    async def receive(self, timeout: float | None = 10.0) -> Received:
        """The next message.

        Raises:
            TimedOut: there was none in ``timeout`` seconds.
            NotInRoomError: the room is left or closed, and everything is read.
        """
        return await self.inbox.get(timeout)

    async def leave(self, timeout: float = 5.0) -> None:
        """Leave the room. Returns when the room knows; at once if it is over."""
        await self._shell.leave(self._membership, timeout)

    def __aiter__(self) -> "ClientRoom":
        return self

    async def __anext__(self) -> Received:
        try:
            return await self.inbox.get(None)
        except (NotInRoomError, ClientClosedError):
            raise StopAsyncIteration from None

    def __repr__(self) -> str:
        return f"<ClientRoom {self.type} {self.id} {self._membership.state.value}>"

    def took(self, message: Received) -> None:
        """Take a message that came."""
        if message.kind == "presence":
            if message.type == "leave":
                self.members.discard(message.data)
            else:
                self.members.add(message.data)
        self.inbox.put(message)
