"""A room, as the client who is in it sees it."""

from typing import Any

from ..protocol.errors import ClientClosedError, NotInRoomError, RemoteError
from ..protocol.messages import Kind
from .membership import Membership, MembershipState
from .received import Received
from .shell import Shell

__all__ = ["ClientRoom"]


class ClientRoom:
    """A room that this client is in. ``AsyncClient.match`` and its like make them.

    ::

        await room.send("move", {"x": 1})
        receipt = await room.request("buy", "sword", timeout=2)
        async for message in room:
            print(message.type, message.data)

    The iteration ends when the room is left or closed; ``error`` tells why.
    """

    def __init__(self, shell: Shell, membership: Membership) -> None:
        self._shell = shell
        self._membership = membership

    @property
    def id(self) -> str:
        """The room's id; others can ``join_by_id`` it."""
        return self._membership.room

    @property
    def type(self) -> str:
        """The room type's name."""
        return self._membership.type

    @property
    def spectator(self) -> bool:
        """Whether we only look on."""
        return self._membership.info.get("spectator") is True

    @property
    def info(self) -> dict[str, Any]:
        """What the room told when we joined: ``max_clients``, ``min_clients``, ``metadata``."""
        return dict(self._membership.info)

    @property
    def members(self) -> set[int]:
        """Numbers of the members, in rooms that show presence; empty in others. A copy."""
        return set(self._membership.members)

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
            RateLimited, RoomBusy, BadPayload, RequestRefused: with ``ack``, the room refused it.
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
        return await self._shell.next_message(self._membership, timeout)

    async def leave(self, timeout: float = 5.0) -> None:
        """Leave the room. Returns when the room knows; at once if it is over."""
        await self._shell.leave(self._membership, timeout)

    def __aiter__(self) -> "ClientRoom":
        return self

    async def __anext__(self) -> Received:
        try:
            return await self._shell.next_message(self._membership, None)
        except (NotInRoomError, ClientClosedError):
            raise StopAsyncIteration from None

    def __repr__(self) -> str:
        return f"<ClientRoom {self.type} {self.id} {self._membership.state.value}>"
