"""What the client's core writes to: all that has to happen outside of it."""

from typing import Any, Protocol

from ..protocol.errors import RemoteError, ServerRoomError
from ..protocol.messages import Endpoints, Rooms
from ..protocol.queue_messages import Found, PartyState, Progress, Reasons
from ..protocol.room_messages import Listed
from .contact import ContactOutbox
from .membership import Membership

__all__ = ["Answer", "ClientOutbox"]

Answer = Rooms | Endpoints | Reasons | PartyState | Membership
"""What answers a request."""


class ClientOutbox(ContactOutbox, Protocol):
    """Where the core writes what must happen."""

    def open_downlink(self, membership: Membership, port: int, token: bytes) -> None:
        """Open the downlink of a membership at its server's host; tell ``downlink_received`` and ``downlink_lost``."""

    def close_downlink(self, membership: Membership) -> None:
        """Close it, if it has one; ``downlink_lost`` is not told."""

    def fetch_credentials(self, ask: int) -> None:
        """Have the application say who it is; its answer goes to ``introduce`` or ``not_introduced``."""

    def opened(self, resumed: bool) -> None:
        """The session is open, or open again."""

    def interrupted(self, reason: str) -> None:
        """The connection is lost; the core tries to come back."""

    def answered(self, ask: int, answer: "Answer | RemoteError") -> None:
        """A request has its answer."""

    def told(self, ask: int, message: Progress | Found | Listed) -> None:
        """How a ticket stands that waits in a queue, or what has changed in a list of rooms."""

    def party_changed(self, party: dict[str, Any]) -> None:
        """Our party has changed."""

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
