"""What the client's core writes to: all that has to happen outside of it."""

from typing import Any, Protocol

from ..protocol.errors import RemoteError, ServerRoomError
from ..protocol.messages import Rooms
from ..transport.network import Sent
from .membership import Membership

__all__ = ["ClientOutbox"]


class ClientOutbox(Protocol):
    """Where the core writes what must happen."""

    def dial(self) -> None:
        """Make a connection; tell ``up``, ``receive`` and ``down``."""

    def hang_up(self) -> None:
        """Close the connection; ``down`` is not told."""

    def transmit(self, frame: bytes) -> Sent:
        """Send a frame on the connection."""
        ...

    def opened(self, resumed: bool) -> None:
        """The session is open, or open again."""

    def interrupted(self, reason: str) -> None:
        """The connection is lost; the core tries to come back."""

    def answered(self, ask: int, answer: Rooms | Membership | RemoteError) -> None:
        """A request has its answer."""

    def replied(self, membership: Membership, number: int, reply: Any, error: RemoteError | None) -> None:
        """A room answered the request that has this number."""

    def refused(self, membership: Membership, number: int, error: RemoteError) -> None:
        """A message was not applied. Number 0: it is not known which."""

    def progressed(self, membership: Membership) -> None:
        """Something came, messages were acknowledged, or the membership is joined, away or ended."""

    def misrouted(self, epoch: int) -> None:
        """A bundle of a stream that is not ours came; it was dropped."""

    def ended(self, error: ServerRoomError | None) -> None:
        """The client is closed: by its own wish (None), or by this error."""
