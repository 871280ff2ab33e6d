"""The client's end of one conversation: what it sent and is not acknowledged, and where it stands.

    joining ──joined──▶ joined ──lost──▶ away ──joined──▶ joined
       │                  │               │
       └─────ended────────┴─────ended─────┘──▶ ended

A room has one, and the session itself has one for what is said outside of rooms.
"""

import struct
from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

from ..protocol.codec import pack_payload
from ..protocol.errors import Backpressure, BadMessage, RemoteError, error_for
from ..protocol.ids import mark_of
from ..protocol.lifecycle import Table, step
from ..protocol.limits import Limits
from ..protocol.messages import Item, Kind
from ..protocol.streams import Position, StreamReader
from .contact import Contact
from .inbox import Inbox
from .received import Received

__all__ = ["MEMBERSHIP", "Membership", "MembershipEvent", "MembershipState"]

# [kind, ref, number, ...] with the widths of uint32 and uint64: the rest is encoded once.
_HEAD = struct.Struct(">BBBIBQ")


class MembershipState(Enum):
    """Where a membership is in its life."""

    JOINING = "joining"
    JOINED = "joined"
    AWAY = "away"
    ENDED = "ended"


class MembershipEvent(Enum):
    """What happens to a membership."""

    JOINED = "joined"
    LOST = "lost"
    ENDED = "ended"


MEMBERSHIP: Table[MembershipState, MembershipEvent] = {
    MembershipState.JOINING: {
        MembershipEvent.JOINED: MembershipState.JOINED,
        MembershipEvent.LOST: MembershipState.JOINING,
        MembershipEvent.ENDED: MembershipState.ENDED,
    },
    MembershipState.JOINED: {
        MembershipEvent.JOINED: MembershipState.JOINED,
        MembershipEvent.LOST: MembershipState.AWAY,
        MembershipEvent.ENDED: MembershipState.ENDED,
    },
    MembershipState.AWAY: {
        MembershipEvent.JOINED: MembershipState.JOINED,
        MembershipEvent.LOST: MembershipState.AWAY,
        MembershipEvent.ENDED: MembershipState.ENDED,
    },
    MembershipState.ENDED: {},
}


class _Sent(NamedTuple):
    number: int
    kind: int
    body: bytes


class Membership:
    """Numbers what is sent, keeps it until it is acknowledged, and reads what comes.

    Args:
        room: the room's id; empty for the session.
        contact: the server that has it.
        limits: the server's.
        most: messages that may wait to be read.
    """

    def __init__(self, room: str, contact: Contact, limits: Limits, most: int) -> None:
        self.room = room
        self.contact = contact
        self.inbox = Inbox(most)
        self.state = MembershipState.JOINING
        self.ref = 0
        self.token = b""
        self.reservation = b""
        self.type = ""
        self.info: dict[str, Any] = {}
        self.members: set[int] = set()
        """Numbers of the members, in rooms that show presence."""
        self.reader = StreamReader(Position(0, 0, 0))
        self.recovering = False
        """A RECOVER is under way: what comes before its answer does not count."""
        self.recover_ask = 0
        """The number of the RECOVER that is under way, or was last."""
        self.downlink: list[Any] | None = None
        """Port and token of the connection that its stream comes down on; None: the same as all else."""
        self.leaving = False
        """We asked to leave: it is asked again after a reconnect."""
        self.ending: RemoteError | None = None
        """It is over, and not all that was said before is here yet."""
        self.end: tuple[int, int] = (0, 0)
        """When it is over: the last offset, and the last direct number."""
        self.over = False
        """What comes now is the rest, and behind it the end."""
        self.acked = 0
        """The other side has applied everything up to this number, but for what it refused."""
        self.error: RemoteError | None = None
        """Why it ended, if not by our own wish."""
        self._limits = limits
        self._unacked: deque[_Sent] = deque()
        self._transmitted = 0
        self._last = 0

    def step(self, event: MembershipEvent) -> None:
        """Move on in the life cycle."""
        self.state = step(MEMBERSHIP, self.state, event)

    # Sending.

    @property
    def unacked(self) -> int:
        """Messages that are sent, or wait to be, and are not acknowledged."""
        return len(self._unacked)

    @property
    def full(self) -> bool:
        """Whether no more messages are taken until some are acknowledged."""
        return len(self._unacked) >= self._limits.unacked

    def add(self, kind: Kind, name: str, data: Any) -> int:
        """Take a message to be sent; its number.

        Raises:
            PayloadError: it can't be encoded, or is over a limit.
            Backpressure: too many are not acknowledged.
        """
        if self.full:
            raise Backpressure(len(self._unacked))
        body = pack_payload((name, data), self._limits.upload - _HEAD.size, self._limits.nesting + 1, self._limits)
        self._last += 1
        self._unacked.append(_Sent(self._last, int(kind), body[1:]))  # without the head of the pair
        return self._last

    def untransmitted(self) -> Iterator[tuple[int, bytes]]:
        """Number and frame of what is not handed to the connection yet; call ``transmitted`` for each that is."""
        for number, kind, body in list(self._unacked):
            if number > self._transmitted:
                yield number, _HEAD.pack(0x95, kind, 0xCE, self.ref, 0xCF, number) + body

    def transmitted(self, number: int) -> None:
        """This message and those before it are handed to the connection."""
        self._transmitted = number

    def acknowledged(self, number: int) -> None:
        """The other side has applied everything up to this number, but for what it refused."""
        self.acked = max(self.acked, number)
        while self._unacked and self._unacked[0].number <= number:
            self._unacked.popleft()

    def repeat_from(self, number: int) -> None:
        """Send again what has this number or a higher one."""
        self._transmitted = min(self._transmitted, number - 1)

    def restart(self, position: Position) -> list[int]:
        """The other side has forgotten the conversation: begin it anew.

        Returns:
            The numbers of the messages of which nobody knows whether they were applied.
        """
        unknown = [sent.number for sent in self._unacked]
        self._unacked.clear()
        self.acked = self._last = self._transmitted = 0
        self.reader = StreamReader(position)
        return unknown

    def answered(self, number: int) -> bool:
        """It is known what became of this one message: it was refused, or is a request that has its reply.

        Returns:
            Whether that is news.
        """
        before = len(self._unacked)
        if before and self._unacked[0].number == number:
            self._unacked.popleft()
        else:
            self._unacked = deque(sent for sent in self._unacked if sent.number != number)
        return len(self._unacked) < before

    # Receiving.

    def read(self, offset: int, items: list[Any]) -> Iterator[tuple[int, Any, RemoteError | None]]:
        """Take the new items of a bundle: messages into the inbox.

        Yields:
            Of each reply: the number of its request, the reply, or the error.

        Raises:
            Gap, BadMessage: see ``StreamReader.read``.
        """
        name = mark_of(self.downlink[1]) if self.downlink is not None else 0
        for item, position in self.reader.read(offset, items, name):
            kind, fields = item[0], item[1:]
            if kind == Item.BROADCAST and len(fields) == 2 and type(fields[0]) is str:
                self.inbox.put(Received(fields[0], fields[1], position, "broadcast"))
            elif kind == Item.DIRECT and len(fields) == 3 and type(fields[1]) is str:
                self.inbox.put(Received(fields[1], fields[2], position, "direct"))
            elif kind == Item.PRESENCE and len(fields) == 2 and [type(one) for one in fields] == [str, int]:
                event, client = fields
                (self.members.discard if event == "leave" else self.members.add)(client)
                self.inbox.put(Received(event, client, position, "presence"))
            elif kind == Item.REPLY and len(fields) == 3 and type(fields[1]) is int:
                yield fields[1], fields[2], None
            elif kind == Item.FAILURE and len(fields) == 5 and [type(one) for one in fields[1:4]] == [int, int, str]:
                yield fields[1], None, error_for(*fields[2:])
            else:
                raise BadMessage("an item's fields are too few, too many or of wrong types")

    @property
    def complete(self) -> bool:
        """When it is over: whether all that was said before is here."""
        offset, direct = self.end
        return self.reader.offset >= offset and self.reader.direct >= direct

    def reset(self, position: Position, snapshot: Any) -> None:
        """Go on from here: what was missed is gone."""
        self.reader = StreamReader(position)
        self.inbox.put(Received("reset", snapshot, position, "reset"))
